// pooler/tenants.h - the tenants of one worker that have clients, and of the others those that were used
// last.
//
// A tenant is made by its first login, and anybody may name one where a pattern or pool.unknown_tenants lets
// him, so those without clients are forgotten beyond a bound, longest unused first. What they have done stays
// in one sum, so that no total ever falls.
#pragma once

#include <cstddef>
#include <cstdint>
#include <map>
#include <memory>
#include <string>
#include <unordered_map>
#include <utility>
#include <vector>

#include "pooler/base/list.h"
#include "pooler/tenant.h"
#include "pooler/usage.h"

namespace pgweir {

class Tenants {
 public:
  static constexpr std::size_t kUnusedMax = 10'000;
  using Map = std::unordered_map<std::string, std::unique_ptr<Tenant>>;

  explicit Tenants(std::size_t unused_max = kUnusedMax) : unused_max_(unused_max) {}
  ~Tenants();
  Tenants(const Tenants&) = delete;
  Tenants& operator=(const Tenants&) = delete;

  // Found or made, with this record. It stays as long as it has clients; without any, it may be gone after
  // the next call. Neither a pause nor DISABLE is forgotten: they stay.
  Tenant& get(const tiers::Tenant& record, Time now, bool all_paused);
  // Its tier, or what that allows, is another one now.
  void change(Tenant& tenant, const tiers::Tier& limits);
  // Its first client has come or its last one has gone.
  void settle(Tenant& tenant);

  // What one that is not here any more is still to pay for: the store is told of it, and no total lacks it.
  void charge_forgotten(const std::string& name, std::uint64_t server_us);
  // One without clients; not where it is to be remembered that it was paused, disabled or is being moved.
  void forget(Tenant& tenant);
  Tenant* find(const std::string& name) const;
  Map::const_iterator begin() const { return tenants_.begin(); }
  Map::const_iterator end() const { return tenants_.end(); }
  std::size_t size() const { return tenants_.size(); }
  // By name, of all tiers that tenants had since the start.
  const std::map<std::string, TierMeter>& meters() const { return meters_; }
  // The period of all ends. What those have done in it that have done something, tenants that were forgotten
  // meanwhile among them. `day`: on which it ends, since 1970.
  std::vector<UsageDelta> end_period(std::int64_t day, Time now);
  const Traffic& forgotten() const { return forgotten_; }
  const PinBook::Totals& forgotten_pins() const { return forgotten_pins_; }
  const Map& map() const { return tenants_; }

 private:
  void forget_oldest();

  std::size_t unused_max_;
  std::map<std::string, TierMeter> meters_;  // tenants point into it
  Map tenants_;
  List<Tenant> unused_;  // longest unused first
  Traffic forgotten_;
  std::vector<UsageDelta> forgotten_usage_;
  std::int64_t day_ = 0;  // on which the last period ended
  PinBook::Totals forgotten_pins_;
};

}  // namespace pgweir
