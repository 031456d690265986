// tiers/limit.h - the limits of a tier that a client can run into, and what it is told then: which one, of
// which tenant and tier, how much is used and allowed, and which tier allows more.
#pragma once

#include <array>
#include <chrono>
#include <cstddef>
#include <cstdint>
#include <string>
#include <string_view>

#include "pooler/base/error.h"
#include "pooler/base/time.h"
#include "tiers/directory.h"

namespace pgweir::tiers {

enum class Limit : std::uint8_t { Clients, Servers, Rate, Pins, Waiting, Statements, StatementBytes };

struct LimitRow {
  Limit limit;
  std::string_view key;  // of the tier's field
  std::uint32_t Tier::*member;
  bool zero_is_none = false;
  std::string_view things;  // that are counted
};
inline constexpr std::array kLimits{
    LimitRow{Limit::Clients, "max_clients", &Tier::max_clients, false, "connections"},
    LimitRow{Limit::Servers, "max_server_connections", &Tier::max_server_connections, false,
             "server connections"},
    LimitRow{Limit::Rate, "transactions_per_minute", &Tier::transactions_per_minute, true,
             "transactions per minute"},
    LimitRow{Limit::Pins, "max_pinned_clients", &Tier::max_pinned_clients, false, "pinned clients"},
    LimitRow{Limit::Waiting, "max_waiting_clients", &Tier::max_waiting_clients, true, "waiting clients"},
    LimitRow{Limit::Statements, "max_client_statements", &Tier::max_client_statements, true,
             "prepared statements of one client"},
    LimitRow{Limit::StatementBytes, "max_client_statement_bytes", &Tier::max_client_statement_bytes, true,
             "bytes of one client's prepared statements"},
};
constexpr const LimitRow& row_of(Limit limit) { return kLimits[static_cast<std::size_t>(limit)]; }

// Who has waited so long at a limit is told why, once, by a notice.
inline constexpr std::chrono::seconds kNoticeAfter{5};

// "; starter allows 10": the tier that allows least of those that allow more than `has`. Empty: none does.
std::string who_allows_more(const Directory& tiers, Limit limit, std::uint32_t has);

// What to do, and which tier would help: "Close connections that are not needed, or choose a tier that allows
// more; starter allows 50." A tenant with a value of its own would not be helped by one.
std::string remedy(std::string_view way_out, const Directory& tiers, Limit limit, const Tenant& tenant);

// A login beyond max_clients.
Error too_many_clients(const Tenant& tenant, std::uint32_t clients, const Directory& tiers);
// One more client that would have to wait; `waiting`: those who do.
Error too_many_waiting(const Tenant& tenant, std::uint32_t waiting, const Directory& tiers);
// A transaction beyond the rate; `begun`: of the burst those whose tokens have not come back, `next`: when
// one may begin.
Error too_many_transactions(const Tenant& tenant, std::uint32_t begun, Duration next, const Directory& tiers);

}  // namespace pgweir::tiers
