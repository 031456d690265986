#include "tests/sim/limits_in_force.h"

#include <algorithm>
#include <utility>

namespace pgweir::sim {

void LimitsInForce::hold(Time now, Limits limits) {
  if (held_.empty() || held_.back().limits != limits) held_.push_back({now, std::move(limits)});
}

template <class Visit>
void LimitsInForce::each_since(Time since, Visit visit) const {
  for (auto each = held_.rbegin(); each != held_.rend(); ++each) {
    visit(each->limits);
    if (each->since <= since) return;
  }
}

std::size_t LimitsInForce::sum(const Limits& limits, const std::string& where) const {
  const std::string user = where.substr(where.find('/') + 1);
  std::size_t sum = 0;
  for (unsigned i = 0; i < limits.size(); ++i)
    if (where_of(stage_, i, user) == where || elsewhere_of(stage_, i, user) == where)
      sum += limits[i] ? limits[i]->servers : stage_.max_servers;
  return sum;
}

std::optional<std::size_t> LimitsInForce::most(unsigned tenant, Time since) const {
  std::size_t most = 0;
  bool known = !held_.empty();
  each_since(since, [&](const Limits& limits) {
    const auto& his = limits.at(tenant);
    known = known && his;
    if (his && !his->suspended) most = std::max(most, his->servers);
  });
  return known ? std::optional(most) : std::nullopt;
}

std::size_t LimitsInForce::most(const std::string& where, Time since) const {
  std::size_t most = 0;
  each_since(since, [&](const Limits& limits) { most = std::max(most, sum(limits, where)); });
  return most;
}

Time LimitsInForce::lowered_at(const std::string& where) const {
  for (std::size_t i = held_.size(); i-- > 1;)
    if (sum(held_[i].limits, where) < sum(held_[i - 1].limits, where)) return held_[i].since;
  return {};
}

bool LimitsInForce::suspended(unsigned tenant, Time since) const {
  bool always = !held_.empty();
  each_since(since, [&](const Limits& limits) {
    const auto& his = limits.at(tenant);
    always = always && his && his->suspended;
  });
  return always;
}

bool LimitsInForce::led_to(unsigned tenant, const std::string& database, Time since) const {
  bool led = false;
  each_since(since, [&](const Limits& limits) {
    const auto& his = limits.at(tenant);
    led = led || (his && his->database == database);
  });
  return led;
}

std::string database_of(const Stage& stage, unsigned tenant) {
  if (stage.shared_group) return "real";
  return "real" + std::to_string(tenant < stage.tenants - stage.onlookers ? tenant : 0);
}

std::string where_of(const Stage& stage, unsigned tenant, const std::string& user) {
  return database_of(stage, tenant) + "/" + user;
}

std::string elsewhere_of(const Stage& stage, unsigned tenant, const std::string& user) {
  return "other_" + where_of(stage, tenant, user);
}

}  // namespace pgweir::sim
