#include "pooler/tenant_orders.h"

#include <utility>

#include "pooler/base/quoted.h"

namespace pgweir {

namespace {

constexpr const char* kMend = "Mend its row in the store first.";

tl::unexpected<Error> refuse(const char* code, const std::string& why, std::string hint = {}) {
  return fail(code, "the tenant store was not changed: " + why, std::move(hint));
}

}  // namespace

void TenantOrders::begin(const std::string& tenant, tiers::Change change, Done done) {
  if (const auto good = tiers::Row::of_tenant(change.set); !good)
    return done(refuse(sqlstate::kInvalidParameterValue, good.error().message));
  reading_[tenant].push_back({tenant, std::move(change), std::move(done), {}});
  store_.fetch(Of::Tenant, tenant);
}

std::vector<TenantOrders::Order> TenantOrders::take(Orders& from, const std::string& name) {
  const auto place = from.find(name);
  if (place == from.end()) return {};
  std::vector<Order> all = std::move(place->second);
  from.erase(place);
  return all;
}

void TenantOrders::on_row(Of of, const std::string& name, const Expected<tiers::Fields>& fields, Time now) {
  if (of == Of::Tier)
    for (const Order& order : take(tier_asked_, name)) write(order, now);
  else
    for (Order& order : take(reading_, name)) read(std::move(order), fields, now);
}

void TenantOrders::on_failed(Of of, const std::string& name) {
  for (const Order& order : take(of == Of::Tier ? tier_asked_ : reading_, name))
    order.done(refuse(sqlstate::kCannotConnectNow, "it does not answer"));
}

void TenantOrders::read(Order order, const Expected<tiers::Fields>& fields, Time now) {
  if (!fields) return order.done(refuse(sqlstate::kNotInState, "its row " + fields.error().message, kMend));
  order.gone = fields->empty();
  const tiers::Fields has = order.gone ? catalog_.last_row(order.tenant) : *fields;
  if (has.empty())
    return order.done(refuse(sqlstate::kUndefinedObject, "it has no row of " + quoted(order.tenant),
                             "Write its whole row to the store."));
  const tiers::Change exact = tiers::spelled(has, order.change);
  if (exact.drop.empty() && !order.change.drop.empty())
    return order.done(tl::unexpected(tiers::no_override(order.tenant, order.change.drop[0], has)));
  order.change = exact;
  order.whole = tiers::with(has, order.change);
  // A row without fields would be none.
  if (order.whole.empty()) order.whole = order.change.set = {{"state", "active"}};
  const auto row = tiers::Row::of_tenant(order.whole);
  if (!row) return write(order, now);  // which says why not
  const std::string tier(catalog_.tier_of(*row));
  if (catalog_.has_tier(tier, now) || !catalog_.ask_tier(tier)) return write(order, now);
  tier_asked_[tier].push_back(std::move(order));
}

void TenantOrders::write(const Order& order, Time now) {
  for (const auto& [key, value] : order.change.set)
    if (key == "tier" && !catalog_.has_tier(value, now))
      return order.done(tl::unexpected(catalog_.no_tier(value, now)));
  if (const auto good = catalog_.takes(order.tenant, order.whole, now); !good)
    return order.done(
        refuse(sqlstate::kNotInState, "its row would be refused: " + good.error().message, kMend));
  store_.set(order.tenant, order.change, order.whole, [&log = log_, order](const std::string& error) {
    if (!error.empty()) return order.done(refuse(sqlstate::kCannotConnectNow, error));
    if (order.gone) log.warn("row of the tenant store was gone", {{"tenant", quoted(order.tenant)}});
    order.done({});
  });
}

}  // namespace pgweir
