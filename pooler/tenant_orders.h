// pooler/tenant_orders.h - changes of tenants' rows that somebody orders. Each row is asked for before it is
// written, so that one that the store has lost comes back whole, and checked as one that comes is, so that
// what was ordered holds. Lives on the control loop.
//
//   Reading --its row--> (its tier is not known: Tier --row of the tier-->) Writing --> over
#pragma once

#include <functional>
#include <string>
#include <unordered_map>
#include <vector>

#include "pooler/base/log.h"
#include "pooler/tier_store.h"
#include "tiers/catalog.h"

namespace pgweir {

class TenantOrders {
 public:
  // What went wrong, if anything: a sentence and what to do.
  using Done = std::function<void(const Expected<void>&)>;
  using Of = TierStore::Of;

  TenantOrders(tiers::Catalog& catalog, TierStore& store, Log& log)
      : catalog_(catalog), store_(store), log_(log) {}

  // `done` is called once, maybe before this returns.
  void begin(const std::string& tenant, tiers::Change change, Done done);
  // Of every answer of the store, once the catalog has it.
  void on_row(Of of, const std::string& name, const Expected<tiers::Fields>& fields, Time now);
  void on_failed(Of of, const std::string& name);

 private:
  struct Order {
    std::string tenant;
    tiers::Change change;
    Done done;
    tiers::Fields whole;  // its row with the change, once that was read
    bool gone = false;    // the store has no row any more
  };
  using Orders = std::unordered_map<std::string, std::vector<Order>>;
  static std::vector<Order> take(Orders& from, const std::string& name);
  void read(Order order, const Expected<tiers::Fields>& fields, Time now);
  void write(const Order& order, Time now);

  tiers::Catalog& catalog_;
  TierStore& store_;
  Log& log_;
  Orders reading_;     // by tenant
  Orders tier_asked_;  // by tier
};

}  // namespace pgweir
