// tests/sim/pace.h - when each tenant's transactions were sent and answered; and whether that is within the
// rate of its tier, and no slower.
//
// A transaction began somewhere between the two. So of those that were sent and answered within any stretch
// of time no more than its burst and what came back meanwhile can have begun; and who is refused would have
// been refused had all that was answered begun as late as it could.
#pragma once

#include <cstdint>
#include <vector>

#include "tests/sim/stage.h"
#include "tests/sim/world.h"

namespace pgweir::sim {

class Pace {
 public:
  Pace(World& world, const Stage& stage) : world_(world), stage_(stage), tenants_(stage.tenants) {}

  void sent(unsigned tenant) { ++tenants_.at(tenant).under_way; }
  void answered(unsigned tenant, Time sent);
  void refused(unsigned tenant);
  // At the end of a stretch in which all tenants always wanted more.
  void judge_saturated(Time from, Time until) const;

 private:
  struct Done {
    Time sent, answered;
  };
  struct Tenant {
    std::vector<Done> done;  // in the order of their answers
    std::size_t under_way = 0;
  };
  double back_in(Duration time) const;  // tokens
  double left(const Tenant& tenant) const;

  World& world_;
  const Stage& stage_;
  std::vector<Tenant> tenants_;
};

}  // namespace pgweir::sim
