// tests/sim/limits_in_force.h - which limits the pooler went by, and when.
//
// What Postgres sees was decided a while before: a server is judged by the highest limit that held since it
// may have been decided. A lower plan lets run what had begun, so only what begins is judged.
#pragma once

#include <cstddef>
#include <optional>
#include <string>
#include <vector>

#include "pooler/base/time.h"
#include "tests/sim/stage.h"

namespace pgweir::sim {

class LimitsInForce {
 public:
  struct Tenant {
    std::size_t servers = 0;
    bool suspended = false;
    std::string database;  // where who logs in comes to
    friend bool operator==(const Tenant&, const Tenant&) = default;
  };
  using Limits = std::vector<std::optional<Tenant>>;  // nothing: nobody knows him
  explicit LimitsInForce(const Stage& stage) : stage_(stage) {}

  // Since now; called whenever they may have changed.
  void hold(Time now, Limits limits);
  // The highest since then, of a tenant's transactions (0 while he is suspended); nothing: he was not known.
  std::optional<std::size_t> most(unsigned tenant, Time since) const;
  // ... of the connections of all tenants that are `where` to Postgres. Those of a suspended one are closed
  // as others are.
  std::size_t most(const std::string& where, Time since) const;
  // When they were lowered last; the epoch: never.
  Time lowered_at(const std::string& where) const;
  bool suspended(unsigned tenant, Time since) const;
  // At some time since then who logged in may have come to this database.
  bool led_to(unsigned tenant, const std::string& database, Time since) const;

 private:
  struct Held {
    Time since;
    Limits limits;
  };
  std::size_t sum(const Limits& limits, const std::string& where) const;
  template <class Visit>
  void each_since(Time since, Visit visit) const;

  const Stage& stage_;
  std::vector<Held> held_;
};

std::string database_of(const Stage& stage, unsigned tenant);
// "database/user", as Postgres knows it; and the other one, where tenants change their database.
std::string where_of(const Stage& stage, unsigned tenant, const std::string& user);
std::string elsewhere_of(const Stage& stage, unsigned tenant, const std::string& user);

}  // namespace pgweir::sim
