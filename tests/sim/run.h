// tests/sim/run.h - one seed, one scene: sets the stage, lets it play, and checks what must hold at the end.
//
// What holds in every run: each client gets all its answers or a lawful end; clients are served again once
// the faults have gone; acknowledged rows are in Postgres exactly once; nothing is left when the pooler has
// stopped.
#pragma once

#include <cstdint>
#include <functional>
#include <memory>
#include <optional>
#include <vector>

#include "tests/sim/door.h"
#include "tests/sim/limits_in_force.h"
#include "tests/sim/model_client.h"
#include "tests/sim/model_postgres.h"
#include "tests/sim/oracle.h"
#include "tests/sim/pace.h"
#include "tests/sim/pooler_in_sim.h"
#include "tests/sim/shares.h"
#include "tests/sim/sim_net.h"
#include "tests/sim/stage.h"
#include "tests/sim/world.h"

namespace pgweir::sim {

class Run {
 public:
  enum class Mode : std::uint8_t {
    Pooled,
    Direct
  };  // Direct: clients speak to Postgres; it proves the models
  struct Result {
    std::uint64_t trace_hash = 0;
    std::uint64_t events = 0;
    std::uint64_t answered = 0;
    std::uint64_t rows = 0;
    std::size_t servers_most = 0;  // held by the pooler at a time
  };
  Run(std::uint64_t seed, const Scene& scene, Mode mode, World::Print print);
  ~Run();
  Result play();
  const World& world() const { return world_; }

 private:
  void make_clients();
  ModelClient::Plan plan(int id);
  void misguide(ModelClient::Plan& plan);
  void schedule_faults();
  void make_hosts(const ModelPostgres::Options& options);
  void do_fault(Fault fault);
  void move_primary();
  void promote(ModelPostgres& next, Duration leaderless);
  void freeze_primary(ModelPostgres& next, Duration leaderless);
  bool has(Fault fault) const;
  bool clients_done();
  void check_everybody_served() const;
  void judge_contest();
  void play_load();
  void finish();

  World world_;
  bool judged_ = false;
  std::size_t clients_through_ = 0;  // the first ones of clients_ that are done
  Mode mode_;
  Stage stage_;
  std::unique_ptr<Shares> shares_;
  std::optional<Door> door_;               // where there are more clients than places
  std::optional<Pace> pace_;               // where there is a rate
  std::optional<LimitsInForce> in_force_;  // where limits change
  Network network_;
  Oracle oracle_;
  std::unique_ptr<Notifications> notifications_;
  SimLoop client_loop_;
  std::vector<std::unique_ptr<ModelPostgres>> hosts_;
  ModelPostgres* postgres_ = nullptr;  // that of them which clients work with: the primary
  std::unique_ptr<PoolerInSim> pooler_;
  std::vector<std::unique_ptr<ModelClient>> clients_;
  net::Endpoint pooler_at_{"pgweir.sim", 6432};
  net::Endpoint postgres_at_{"db.sim", 5432};  // the first of the hosts
};

}  // namespace pgweir::sim
