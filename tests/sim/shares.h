// tests/sim/shares.h - what each tenant has of the servers' time while tenants want more than there is, as
// Postgres sees it; and whether that is what they are promised.
#pragma once

#include <chrono>
#include <vector>

#include "tests/sim/stage.h"
#include "tests/sim/world.h"

namespace pgweir::sim {

inline unsigned weight_of(unsigned tenant) { return 1U << tenant; }

class Shares {
 public:
  // The stretch that is judged.
  static constexpr Time kFrom{std::chrono::seconds(3)}, kUntil{std::chrono::seconds(13)};

  Shares(World& world, const Stage& stage) : world_(world), stage_(stage), had_(stage.tenants) {}
  void worked(unsigned tenant, Time since);  // until now
  // At kUntil; what still runs then does not count.
  void judge() const;

 private:
  void judge_weights() const;
  void judge_alone() const;

  World& world_;
  const Stage& stage_;
  std::vector<Duration> had_;
};

}  // namespace pgweir::sim
