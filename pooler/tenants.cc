#include "pooler/tenants.h"

#include "pooler/base/check.h"
#include "tiers/record.h"

namespace pgweir {

// Not 57P03, which drivers take for "in a moment".
Error Tenant::why_refused() const {
  return {sqlstate::kInvalidAuthorization,
          "tenant \"" + record.name + "\" is suspended" + (record.reason.empty() ? "" : ": " + record.reason),
          {},
          "Whoever runs this platform can tell more."};
}

Error Tenant::why_ended() const {
  Error why = why_refused();
  why.sqlstate = sqlstate::kAdminShutdown;
  why.message.insert(0, "terminating connection: ");
  return why;
}

Error Tenant::why_surplus(tiers::Limit limit, std::uint32_t count) const {
  const tiers::LimitRow& row = tiers::row_of(limit);
  return {sqlstate::kAdminShutdown,
          "terminating connection: the plan of tenant \"" + record.name + "\" has changed to " +
              record.limits.name,
          std::string(row.key) + " of tier " + record.limits.name + ": " + std::to_string(count) + " of " +
              std::to_string(record.limits.*row.member) + " " + std::string(row.things) +
              " were in use after pool.downgrade_grace.",
          "Use fewer connections, or choose a tier that allows more."};
}

Tenants::~Tenants() {
  while (Tenant* tenant = unused_.front()) unused_.remove(*tenant);
}

Tenant& Tenants::get(const tiers::Tenant& record, Time now, bool all_paused) {
  std::unique_ptr<Tenant>& place = tenants_[record.name];
  if (!place) {
    place = std::make_unique<Tenant>(now, meters_[record.limits.name]);
    place->all_paused = all_paused;
  }
  Tenant& tenant = *place;
  const tiers::Tenant newest = tenant.record;
  tenant.record = record;
  if (record.revision > 0 && record.revision <= tenant.moved_revision && record.backend == tenant.moved_from)
    tenant.record.backend = newest.backend;
  // The tenant store may have told us something newer while this login was under way.
  if (newest.revision > record.revision && record.revision > 0) tiers::follow(tenant.record, newest);
  change(tenant, tenant.record.limits);
  if (unused_.has(tenant)) unused_.remove(tenant);
  forget_oldest();
  settle(tenant);
  return tenant;
}

void Tenants::change(Tenant& tenant, const tiers::Tier& limits) {
  tenant.settle_accounts();
  tenant.record.limits = limits;
  tenant.meter = &meters_[limits.name];
}

void Tenants::settle(Tenant& tenant) {
  if (tenant.clients == 0 && !unused_.has(tenant)) unused_.push_back(tenant);
  if (tenant.clients > 0 && unused_.has(tenant)) unused_.remove(tenant);
}

Tenant* Tenants::find(const std::string& name) const {
  const auto place = tenants_.find(name);
  return place == tenants_.end() ? nullptr : place->second.get();
}

// Makes room for one more.
void Tenants::forget_oldest() {
  const std::size_t size = unused_.size();
  std::size_t surplus = size < unused_max_ ? 0 : size - unused_max_ + 1;
  for (; surplus > 0 && !unused_.empty(); --surplus) forget(*unused_.front());
}

// No client comes and no server is lent that `passed` does not show. So in a silent period no peak rises, and
// what was the most before it still is, but for that a new day begins with what is there then.
std::vector<UsageDelta> Tenants::end_period(std::int64_t day, Time now) {
  const bool new_day = std::exchange(day_, day) != day;
  std::vector<UsageDelta> used = std::exchange(forgotten_usage_, {});
  for (auto& [name, each] : tenants_) {
    each->settle_accounts();
    const Traffic passed = each->traffic - each->period.begin();
    const bool silent = passed == Traffic{};
    if (!silent) used.push_back({name, passed, each->peak_clients.recent(), each->peak_lent.recent()});
    if (!silent || new_day) {
      each->peak_clients.begin(each->clients);
      each->peak_lent.begin(each->lent);
    }
    each->period.roll(each->traffic, now);
  }
  return used;
}

void Tenants::forget(Tenant& tenant) {
  PGWEIR_CHECK(tenant.clients == 0 && tenant.lent == 0 && tenant.pins.pinned() == 0);
  PGWEIR_CHECK(tenant.statements.bytes() == 0);
  unused_.remove(tenant);
  if (tenant.paused || tenant.disabled || tenant.moving) {
    unused_.push_back(tenant);
    return;
  }
  tenant.settle_accounts();
  if (const Traffic passed = tenant.traffic - tenant.period.begin(); passed != Traffic{})
    forgotten_usage_.push_back(
        {tenant.record.name, passed, tenant.peak_clients.recent(), tenant.peak_lent.recent()});
  forgotten_ += tenant.traffic;
  forgotten_pins_ += tenant.pins.totals();
  tenants_.erase(tenants_.find(tenant.record.name));
}

void Tenants::charge_forgotten(const std::string& name, std::uint64_t server_us) {
  Traffic passed;
  passed.server_us = server_us;
  forgotten_usage_.push_back({name, passed, 0, 0});
  forgotten_ += passed;
}

}  // namespace pgweir
