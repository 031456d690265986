// pooler/console_show.h - reports as the rows that SHOW commands answer.
#pragma once

#include <cstdint>
#include <span>
#include <string>
#include <string_view>
#include <vector>

#include "pooler/console_core.h"
#include "pooler/console_report.h"
#include "pooler/console_tables.h"

namespace pgweir::console {

// What rows have that does not come from the workers. Values only: they are written on another thread.
struct Beside {
  std::vector<std::string> users;
  std::vector<tiers::Tier> tiers;
  Page page;
};
Beside beside(const Worker& worker, const Page& page);

std::vector<TierRow> tier_rows(const Report& report, std::span<const tiers::Tier> tiers);

// Whether processes of Postgres can be ended there, so that a clock holds whatever runs.
enum class SideRole : std::uint8_t { Missing, Set };
// Injected values and defaults are words that somebody has chosen, and may be secrets.
enum class Words : std::uint8_t { Shown, Hidden };
struct CeilingsOf {
  const tiers::Tier& tier;
  std::span<const std::string> overrides;  // tiers::Tenant::overrides
  std::string_view tenant;                 // empty: of the tier alone
  SideRole side_role;
  Words words;
};
// `tally`: what is known of it.
void add_ceilings(std::vector<CeilingRow>& rows, const CeilingsOf& of, const CeilingTally& tally);

// The part of them that is asked for, as a table.
void put_ceilings(std::string& out, std::span<const CeilingRow> rows, const Page& page);
void put_limits(std::string& out, std::span<const LimitView> rows, const Page& page);

// For those actions that gather() has a report of.
void put_report(std::string& out, Table table, const Report& report, const Beside& beside);

// A request's RowDescription; empty where it answers no rows.
std::string shape(const Request& request);

}  // namespace pgweir::console
