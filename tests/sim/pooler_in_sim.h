// tests/sim/pooler_in_sim.h - the real App on simulated loops, configured by YAML text as in life.
#pragma once

#include <functional>
#include <memory>
#include <string>
#include <vector>

#include "tests/sim/sim_net.h"
#include "tests/sim/stage.h"

namespace pgweir {
class App;
}

namespace pgweir::sim {

inline constexpr int kPoolerPort = 1;

class PoolerInSim {
 public:
  PoolerInSim(World& world, Network& network, const Stage& stage, const net::Endpoint& postgres);
  ~PoolerInSim();
  void start();
  void reload();
  void shutdown();
  bool stopped() const { return stopped_; }
  // After the stop: a stream or timer that is left is a violation.
  void check_nothing_left() const;
  std::uint64_t reloads_done() const { return reloads_done_; }

 private:
  class TraceLog;
  std::string yaml() const;
  World& world_;
  const Stage& stage_;
  net::Endpoint postgres_;
  std::vector<std::unique_ptr<SimLoop>> loops_;
  std::unique_ptr<TraceLog> log_;
  std::unique_ptr<App> app_;
  bool stopped_ = false;
  std::uint64_t reloads_done_ = 0;
};

}  // namespace pgweir::sim
