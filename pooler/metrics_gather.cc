#include "pooler/metrics_gather.h"

#include <algorithm>
#include <memory>
#include <unordered_map>
#include <utility>

#include "pooler/console_report.h"
#include "pooler/walk.h"
#include "pooler/worker.h"

namespace pgweir::metrics {

namespace {

// One worker's sample, a step at a time on its own thread: first the tenants, so that it is known which of
// them stand alone, then those, then the pools.
class Collection : public std::enable_shared_from_this<Collection> {
 public:
  Collection(Worker& worker, std::size_t most, std::function<void(Sample)> done)
      : worker_(worker), done_(std::move(done)), top_(most) {
    worker.charge_servers();
  }

  void step() {
    switch (stage_) {
      case Stage::Tenants:
        if (walk_tenants()) stage_ = Stage::Top;
        break;
      case Stage::Top:
        if (add_top()) stage_ = Stage::Pools;
        break;
      case Stage::Pools:
        if (walk_groups()) return finish();
        break;
    }
    worker_.loop().post([self = shared_from_this()] { self->step(); });
  }

 private:
  enum class Stage : std::uint8_t { Tenants, Top, Pools };

  // True: that was all of them.
  bool walk_tenants() {
    const Walked walked = tenants_.step(worker_.tenants().map(), [this](const auto& entry) {
      Tenant& tenant = *entry.second;
      tenant.settle_accounts();
      TierSample& tier = sample_.tiers[tenant.record.limits.name];
      ++tier.tenants;
      if (tenant.pins.pinned() > 0)
        tier.pins.add({{}, {}, tenant.pins.pinned(), 0, tenant.pins.reasons(), {}});
      top_.add({tenant.period.busy_us(tenant.traffic), tenant.clients, tenant.record.name});
    });
    if (walked == Walked::Again) {
      for (auto& [name, tier] : sample_.tiers) {
        tier.tenants = 0;
        tier.pins = {};
      }
      top_.clear();
    }
    if (walked != Walked::All) return false;
    names_ = top_.take();
    return true;
  }
  // One that has been forgotten since is missing.
  bool add_top() {
    const Time now = worker_.loop().now();
    for (std::size_t added = 0; added < kTopAtOnce && !names_.empty(); ++added) {
      if (Tenant* const tenant = worker_.tenants().find(names_.back())) add(*tenant, now);
      names_.pop_back();
    }
    if (!names_.empty()) return false;
    // Behind the tenants, whose accounts are part of them. A tier may have none any more.
    for (const auto& [name, meter] : worker_.tenants().meters()) sample_.tiers[name].meter = meter;
    for (const auto& [tier, refused] : worker_.refused_logins())
      (tier.empty() ? sample_.refused_nameless : sample_.tiers[tier].refused_logins) = refused;
    for (TenantSample& tenant : sample_.top) places_[tenant.name] = &tenant;
    return true;
  }
  void add(Tenant& tenant, Time now) {
    tenant.settle_accounts();
    TenantSample& one = sample_.top.emplace_back();
    one.name = tenant.record.name;
    one.tier = tenant.record.limits.name;
    one.busy_us = tenant.period.busy_us(tenant.traffic);
    one.queries_per_minute = tenant.period.queries_per_minute(tenant.traffic, now);
    one.uptime_s = static_cast<double>((now - tenant.since()).count()) / 1e6;
    one.total = tenant.traffic;
    one.breaker = worker_.breaker_of(tenant.record);
    one.database = console::database_row(worker_.snapshot(), tenant.record);
    one.database.clients = tenant.clients;
    one.database.paused = tenant.is_paused();
    one.database.disabled = tenant.disabled;
  }
  bool walk_groups() {
    const Walked walked = groups_.step(
        worker_.groups(), [this](const Group& group) { visit(group); },
        [this](const Group& group, const Tenant& tenant, std::uint32_t sessions) {
          console::PoolRow& row = row_of(tenant, group);
          row.clients += sessions;
          ++sample_.pools;
          for_throttled(tenant, group, [&](const Session& session) {
            console::add_waiting(row, session, worker_.loop().now());
            ++waiting_;
          });
        });
    return walked == Walked::All;
  }
  void visit(const Group& group) {
    const Time now = worker_.loop().now();
    for (const Session* session = group.waiters().front(); session; session = List<Session>::next(*session)) {
      console::add_waiting(row_of(session->tenant(), group), *session, now);
    }
    for (const auto& [id, server] : group.servers())
      console::count(row_of(console::tenant_of(group, *server), group), *server);
    const Server* const listener = group.listener().server();
    if (listener) console::count(row_of(group.shown_tenant(), group), *listener);
    servers_ += group.servers().size() + (listener ? 1 : 0);
    waiting_ += group.waiters().size();
  }
  console::PoolRow& row_of(const Tenant& tenant, const Group& group) {
    const auto alone = places_.find(tenant.record.name);
    return alone == places_.end() ? sample_.tiers[tenant.record.limits.name].rest
                                  : alone->second->pool_of(group.key().user);
  }
  console::PoolRow& row_of(const std::string& name, const Group& group) {
    if (const Tenant* tenant = worker_.tenants().find(name)) return row_of(*tenant, group);
    // Its last client has gone, and then it was forgotten; its servers are idle still.
    const auto record = worker_.snapshot().tenant(name);
    return sample_.tiers[record ? record->limits.name : worker_.config().default_tier].rest;
  }
  void finish() {
    for (TenantSample& tenant : sample_.top) tenant.database.current_connections = tenant.pool().servers();
    console::WorkerRow& row = sample_.workers.emplace_back();
    row.worker = worker_.index();
    row.tenants = worker_.tenants().size();
    row.groups = worker_.groups().size();
    row.clients = worker_.sessions().size();
    row.waiting = waiting_;
    row.logins = worker_.login_count();
    row.consoles = worker_.consoles().size();
    row.servers = servers_;
    places_.clear();
    done_(std::move(sample_));
  }

  static constexpr std::size_t kTopAtOnce = 50;

  Worker& worker_;
  std::function<void(Sample)> done_;
  Stage stage_ = Stage::Tenants;
  Top top_;
  std::vector<std::string> names_;  // of the top, still to be added
  Sample sample_;
  std::unordered_map<std::string, TenantSample*> places_;  // in sample_.top
  std::uint64_t servers_ = 0, waiting_ = 0;
  BucketWalk tenants_;
  GroupWalk groups_;
};

}  // namespace

void gather(Worker& asking, std::size_t most, std::function<void(std::vector<Sample>)> done) {
  auto parts = std::make_shared<std::vector<Sample>>();  // touched on the asking worker's thread only
  const auto all = [&asking, parts, done = std::move(done)](std::shared_ptr<Sample> part) {
    asking.loop().post([&asking, parts, done, part] {
      parts->push_back(std::move(*part));
      if (parts->size() == asking.shared().workers.size()) done(std::move(*parts));
    });
  };
  for (Worker* worker : asking.shared().workers)
    worker->loop().post([worker, most, all] {
      const auto done_here = [all](Sample part) { all(std::make_shared<Sample>(std::move(part))); };
      std::make_shared<Collection>(*worker, most, done_here)->step();
    });
}

}  // namespace pgweir::metrics
