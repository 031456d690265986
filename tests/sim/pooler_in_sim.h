// tests/sim/pooler_in_sim.h - the real App on simulated loops.
#pragma once

#include <memory>
#include <vector>

#include "tests/sim/limits_in_force.h"
#include "tests/sim/sim_net.h"
#include "tests/sim/stage.h"

namespace pgweir {
class App;
class TierControl;
}  // namespace pgweir

namespace pgweir::sim {

inline constexpr int kPoolerPort = 1;

class PoolerInSim {
 public:
  PoolerInSim(World& world, Network& network, const Stage& stage, std::vector<net::Endpoint> hosts);
  ~PoolerInSim();
  void start();
  void reload();
  void suspend(Duration how_long);
  void shutdown();
  bool stopped() const { return stopped_; }
  // What it goes by now.
  LimitsInForce::Limits limits() const;
  // After the stop: destroys the pooler; a stream or timer that is left is a violation.
  void tear_down();

 private:
  class TraceLog;
  World& world_;
  const Stage& stage_;
  std::vector<net::Endpoint> hosts_;
  std::vector<std::unique_ptr<SimLoop>> loops_;
  std::unique_ptr<TraceLog> log_;
  std::unique_ptr<SimLoop> control_loop_;  // where there is a store
  std::unique_ptr<TierControl> tiers_;
  std::unique_ptr<App> app_;
  bool stopped_ = false;
  unsigned rounds_ = 0;
};

}  // namespace pgweir::sim
