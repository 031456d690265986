// pooler/console_show.h - reports as the rows that SHOW commands answer.
#pragma once

#include <span>
#include <string>
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
  std::vector<BreakerRow> breakers;  // of backends
};
Beside beside(const Snapshot& snapshot, const Page& page);

std::vector<TierRow> tier_rows(const Report& report, std::span<const tiers::Tier> tiers);

// `base`: the tier as it is without the tenant's own values; `tally`: what is known of it.
void add_ceilings(std::vector<CeilingRow>& rows, const tiers::Tier& tier, const tiers::Tier& base,
                  const CeilingTally& tally);

// For those actions that gather() has a report of.
void put_report(std::string& out, Action action, const Report& report, const Beside& beside);

// A request's RowDescription; empty where it answers no rows.
std::string shape(const Request& request);

}  // namespace pgweir::console
