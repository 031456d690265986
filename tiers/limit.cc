#include "tiers/limit.h"

#include <algorithm>
#include <cstdio>

namespace pgweir::tiers {
namespace {

std::string seconds(Duration time) {
  char text[32];
  std::snprintf(text, sizeof text, "%.1fs", static_cast<double>(time.count()) / 1e6);
  return text;
}

}  // namespace

std::string who_allows_more(const Directory& tiers, Limit limit, std::uint32_t has) {
  const LimitRow& row = row_of(limit);
  const auto allows = [&row](const Tier& tier) {
    const std::uint32_t value = tier.*row.member;
    return row.zero_is_none && value == 0 ? ~0u : value;
  };
  const std::uint32_t least = row.zero_is_none && has == 0 ? ~0u : has;
  const Tier* next = nullptr;
  for (const auto& [name, tier] : tiers.tiers())
    if (allows(tier) > least && (!next || allows(tier) < allows(*next))) next = &tier;
  if (!next) return {};
  return "; " + next->name + " allows " +
         (allows(*next) == ~0u ? std::string("any number") : std::to_string(allows(*next)));
}

std::string remedy(std::string_view way_out, const Directory& tiers, Limit limit, const Tenant& tenant) {
  const LimitRow& row = row_of(limit);
  const std::uint32_t has = tenant.limits.*row.member;
  if (!tenant.stale && std::binary_search(tenant.overrides.begin(), tenant.overrides.end(), row.key))
    return std::string(way_out) + ", or have " + std::string(row.key) +
           " raised, of which the tenant has a value of its own.";
  const std::string more = who_allows_more(tiers, limit, has);
  // The way out of somebody with the largest tier does not lie in another one.
  return std::string(way_out) + (more.empty() ? "" : ", or choose a tier that allows more" + more) + ".";
}

Error too_many_clients(const Tenant& tenant, std::uint32_t clients, const Directory& tiers) {
  const Tier& tier = tenant.limits;
  return {sqlstate::kTooManyConnections, "too many connections for tenant \"" + tenant.name + "\"",
          "max_clients of tier " + tier.name + ": " + std::to_string(clients) + " of " +
              std::to_string(tier.max_clients) + " connections are in use.",
          remedy("Close connections that are not needed", tiers, Limit::Clients, tenant)};
}

Error too_many_waiting(const Tenant& tenant, std::uint32_t waiting, const Directory& tiers) {
  const Tier& tier = tenant.limits;
  return {sqlstate::kTooManyConnections, "too many clients of tenant \"" + tenant.name + "\" wait already",
          "max_waiting_clients of tier " + tier.name + ": " + std::to_string(waiting) + " of " +
              std::to_string(tier.max_waiting_clients) + " clients wait for a server or for their turn.",
          remedy("Try again later, or shorten transactions", tiers, Limit::Waiting, tenant)};
}

Error too_many_transactions(const Tenant& tenant, std::uint32_t begun, Duration next,
                            const Directory& tiers) {
  const Tier& tier = tenant.limits;
  const std::uint32_t burst = tier.burst > 0 ? tier.burst : tier.transactions_per_minute;
  return {sqlstate::kConfigurationLimit, "too many transactions of tenant \"" + tenant.name + "\"",
          "transactions_per_minute of tier " + tier.name + ": " +
              std::to_string(tier.transactions_per_minute) + " are allowed, and " + std::to_string(begun) +
              " of the " + std::to_string(burst) + " that may begin at once have begun; the next may in " +
              seconds(next) + ".",
          remedy("Send fewer transactions, or larger ones", tiers, Limit::Rate, tenant)};
}

}  // namespace pgweir::tiers
