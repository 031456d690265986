#include "tiers/limit.h"

#include <catch2/catch.hpp>

using namespace pgweir;
using namespace pgweir::tiers;
using namespace std::chrono_literals;

namespace {

Directory some_tiers() {
  Directory tiers;
  struct Row {
    const char* name;
    std::uint32_t clients, per_minute;
  };
  for (const Row& row : {Row{"free", 20, 100}, Row{"large", 500, 0}, Row{"starter", 50, 500}}) {
    Tier tier;
    tier.name = row.name;
    tier.max_clients = row.clients;
    tier.transactions_per_minute = row.per_minute;
    REQUIRE(tiers.add_tier(tier));
  }
  return tiers;
}

Tenant tenant_of(const Directory& tiers, const char* tier) {
  Tenant tenant;
  tenant.name = "acme";
  tenant.limits = *tiers.tier(tier);
  return tenant;
}

}  // namespace

TEST_CASE("whoever may not even wait is told of how many do") {
  Directory directory;
  Tenant tenant;
  tenant.name = "acme";
  tenant.limits.name = "free";
  tenant.limits.max_waiting_clients = 3;
  const Error error = too_many_waiting(tenant, 3, directory);
  CHECK(error.sqlstate == std::string(sqlstate::kTooManyConnections));
  CHECK(error.message == "too many clients of tenant \"acme\" wait already");
  CHECK(error.detail ==
        "max_waiting_clients of tier free: 3 of 3 clients wait for a server or for their turn.");
  CHECK(error.hint == "Try again later, or shorten transactions.");
}

TEST_CASE("the rows of limits stand in the order of their names") {
  for (const LimitRow& row : kLimits) CHECK(row_of(row.limit).key == row.key);
}

TEST_CASE("the next tier is the one that allows least of those that allow more") {
  const Directory tiers = some_tiers();
  CHECK(who_allows_more(tiers, Limit::Clients, 20) == "; starter allows 50");
  CHECK(who_allows_more(tiers, Limit::Clients, 50) == "; large allows 500");
  CHECK(who_allows_more(tiers, Limit::Clients, 10) == "; free allows 20");  // a tenant's own, lower value
  CHECK(who_allows_more(tiers, Limit::Clients, 500).empty());
  CHECK(who_allows_more(tiers, Limit::Rate, 500) == "; large allows any number");
  CHECK(who_allows_more(tiers, Limit::Rate, 0).empty());
}

TEST_CASE("a tenant with a value of its own is not sent to another tier") {
  const Directory tiers = some_tiers();
  Tenant tenant = tenant_of(tiers, "free");
  tenant.limits.max_clients = 10;
  tenant.overrides = {"max_clients", "pool_size"};
  CHECK(
      too_many_clients(tenant, 10, tiers).hint ==
      "Close connections that are not needed, or have max_clients raised, of which the tenant has a value of "
      "its own.");
  // Another limit is that of its tier.
  CHECK(too_many_transactions(tenant, 20, 120ms, tiers).hint ==
        "Send fewer transactions, or larger ones, or choose a tier that allows more; starter allows 500.");
  // While the store is silent, what it has is the default tier's.
  tenant.stale = true;
  CHECK(too_many_clients(tenant, 10, tiers).hint ==
        "Close connections that are not needed, or choose a tier that allows more; free allows 20.");
}

TEST_CASE("a refusal names tenant, tier, limit, what is used and allowed, and the way out") {
  const Directory tiers = some_tiers();
  const Error clients = too_many_clients(tenant_of(tiers, "free"), 20, tiers);
  CHECK(std::string(clients.sqlstate) == "53300");
  CHECK(clients.message == "too many connections for tenant \"acme\"");
  CHECK(clients.detail == "max_clients of tier free: 20 of 20 connections are in use.");
  CHECK(clients.hint ==
        "Close connections that are not needed, or choose a tier that allows more; starter allows 50.");
  CHECK(too_many_clients(tenant_of(tiers, "large"), 500, tiers).hint ==
        "Close connections that are not needed.");

  const Error rate = too_many_transactions(tenant_of(tiers, "starter"), 500, 120ms, tiers);
  CHECK(std::string(rate.sqlstate) == "53400");
  CHECK(rate.message == "too many transactions of tenant \"acme\"");
  CHECK(rate.detail ==
        "transactions_per_minute of tier starter: 500 are allowed, and 500 of the 500 that may begin at once "
        "have begun; the next may in 0.1s.");
  CHECK(rate.hint ==
        "Send fewer transactions, or larger ones, or choose a tier that allows more; large allows any "
        "number.");
}
