#include "pooler/tenant_orders.h"

#include <utility>

#include "pooler/base/quoted.h"

namespace pgweir {

namespace {

tl::unexpected<Error> refuse(const char* code, const std::string& why, std::string hint = {}) {
  return fail(code, "the tenant store was not changed: " + why, std::move(hint));
}

}  // namespace

void TenantOrders::begin(const std::string& tenant, tiers::Fields change, Done done) {
  if (const auto good = tiers::Row::of_tenant(change); !good)
    return done(refuse(sqlstate::kInvalidParameterValue, good.error().message));
  reading_[tenant].push_back({tenant, std::move(change), std::move(done)});
  store_.fetch(Of::Tenant, tenant);
}

std::vector<TenantOrders::Order> TenantOrders::take(Of of, const std::string& name) {
  if (of == Of::Tier) return {};
  const auto place = reading_.find(name);
  if (place == reading_.end()) return {};
  std::vector<Order> all = std::move(place->second);
  reading_.erase(place);
  return all;
}

void TenantOrders::on_row(Of of, const std::string& name, const Expected<tiers::Fields>& fields, Time now) {
  for (const Order& order : take(of, name)) write(order, fields, now);
}

void TenantOrders::on_failed(Of of, const std::string& name) {
  for (const Order& order : take(of, name))
    order.done(refuse(sqlstate::kCannotConnectNow, "it does not answer"));
}

void TenantOrders::write(const Order& order, const Expected<tiers::Fields>& fields, Time now) {
  constexpr const char* kMend = "Mend its row in the store first.";
  if (!fields) return order.done(refuse(sqlstate::kNotInState, "its row " + fields.error().message, kMend));
  const bool gone = fields->empty();
  const tiers::Fields has = gone ? catalog_.last_row(order.tenant) : *fields;
  if (has.empty())
    return order.done(refuse(sqlstate::kUndefinedObject, "it has no row of " + quoted(order.tenant),
                             "Write its whole row to the store."));
  const tiers::Fields whole = tiers::with(has, order.change);
  if (const auto good = catalog_.takes(order.tenant, whole, now); !good)
    return order.done(
        refuse(sqlstate::kNotInState, "its row would be refused: " + good.error().message, kMend));
  store_.set(order.tenant, order.change, whole, [gone, &log = log_, order](const std::string& error) {
    if (!error.empty()) return order.done(refuse(sqlstate::kCannotConnectNow, error));
    if (gone) log.warn("row of the tenant store was gone", {{"tenant", quoted(order.tenant)}});
    order.done({});
  });
}

}  // namespace pgweir
