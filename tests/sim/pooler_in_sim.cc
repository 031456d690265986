#include "tests/sim/pooler_in_sim.h"

#include "pooler/app.h"
#include "pooler/shared.h"
#include "pooler/tier_control.h"
#include "pooler/worker.h"
#include "tests/sim/model_store.h"
#include "tests/sim/stage_config.h"

namespace pgweir::sim {

class PoolerInSim::TraceLog final : public Log {
 public:
  explicit TraceLog(World& world) : world_(world) {}
  bool enabled(LogLevel) const override { return true; }
  void write(LogLevel, std::string_view event, Fields fields) override {
    std::string text(event);
    for (const LogField& field : fields) text.append(" ").append(field.key).append("=").append(field.value);
    world_.trace("log: {}", text);
  }

 private:
  World& world_;
};

PoolerInSim::PoolerInSim(World& world, Network& network, const Stage& stage, std::vector<net::Endpoint> hosts)
    : world_(world), stage_(stage), hosts_(std::move(hosts)), log_(std::make_unique<TraceLog>(world)) {
  std::vector<App::WorkerParts> parts;
  for (unsigned i = 0; i < stage.workers; ++i) {
    loops_.push_back(std::make_unique<SimLoop>(network, "worker" + std::to_string(i)));
    loops_.back()->allow_unsent(256 << 10);
    parts.push_back({*loops_.back(), world.rng()});
  }
  app_ = std::make_unique<App>(
      parts, *log_, stage_snapshot(stage_, hosts_, 0),
      [this] { return stage_snapshot(stage_, hosts_, ++rounds_); },
      [this] {
        if (stopped_) world_.violation("the pooler says twice that it has stopped");
        stopped_ = true;
      });
  if (!stage_.store) return;
  control_loop_ = std::make_unique<SimLoop>(network, "control");
  tiers_ = std::make_unique<TierControl>(
      *control_loop_, *log_, stage_snapshot(stage_, hosts_, 0), [this](TierStore::Listener& listener) {
        return std::make_unique<ModelStore>(world_, *control_loop_, stage_, listener);
      });
  tiers_->keep_usage("sim");
  app_->use(*tiers_);
}

PoolerInSim::~PoolerInSim() = default;

void PoolerInSim::start() {
  loops_[0]->post([this] { app_->listen(std::vector<std::vector<int>>(loops_.size(), {kPoolerPort})); });
}

void PoolerInSim::reload() {
  loops_[0]->post([this] {
    app_->reload([this](bool good) {
      if (!good) world_.violation("a good configuration was not taken over");
      world_.trace("reloaded");
    });
  });
}

// As the console does it.
void PoolerInSim::suspend(Duration how_long) {
  const auto order = [this](bool suspended) {
    world_.trace("{}", suspended ? "suspended" : "resumed");
    for (Worker* worker : app_->shared().workers)
      worker->loop().post([worker, suspended] { worker->set_suspended(suspended); });
  };
  order(true);
  world_.after(how_long, nullptr, [order] { order(false); });
}

LimitsInForce::Limits PoolerInSim::limits() const {
  LimitsInForce::Limits limits(stage_.tenants);
  for (unsigned i = 0; i < stage_.tenants; ++i) {
    bool has_clients = false;  // elsewhere it may be remembered from before it had another database
    for (const Worker* worker : app_->shared().workers) {
      const Tenant* const tenant = worker->tenants().find("tenant" + std::to_string(i));
      if (!tenant || has_clients) continue;
      has_clients = tenant->clients > 0;
      if (has_clients || !limits[i] || &worker->home_of(tenant->record) == worker)
        limits[i] = {tenant->record.limits.max_server_connections, tenant->ended(), tenant->record.database};
    }
  }
  return limits;
}

void PoolerInSim::shutdown() {
  loops_[0]->post([this] { app_->shutdown(); });
}

void PoolerInSim::tear_down() {
  for (const auto& loop : loops_)
    if (loop->streams() > 0)
      world_.violation(loop->name() + " has " + std::to_string(loop->streams()) + " streams after the stop");
  app_.reset();
  tiers_.reset();
  for (const auto& loop : loops_)
    if (loop->has_timers()) world_.violation(loop->name() + " has timers after the end");
}

}  // namespace pgweir::sim
