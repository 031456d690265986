// pooler/tier_control.h - what workers ask about tenants that come from a store, and what they are told.
//
// Lives on a loop of its own, so that neither Redis nor a flood of its messages takes time from a worker. Any
// thread may call the public functions; answers and changes come back by Loop::post.
#pragma once

#include <functional>
#include <memory>
#include <string>
#include <unordered_map>
#include <vector>

#include "pooler/base/log.h"
#include "pooler/net/loop.h"
#include "pooler/snapshot.h"
#include "pooler/tier_store.h"
#include "tiers/catalog.h"

namespace pgweir {

class TierControl final : TierStore::Listener {
 public:
  using Answer = tiers::Catalog::Answer;
  using MakeStore = std::function<std::unique_ptr<TierStore>(TierStore::Listener&)>;

  // `loop` and the loops of those who ask outlive it, and none of them runs any more when it is destroyed.
  TierControl(net::Loop& loop, Log& log, std::shared_ptr<const Snapshot> snapshot, const MakeStore& make);
  ~TierControl() override;

  // `changed` is called on the control loop, with every new record of a watched tenant.
  void start(std::function<void(const tiers::Tenant&)> changed);

  // `done` runs on `asker`, with anything but Pending.
  void ask(net::Loop& asker, std::string tenant, std::function<void(const Answer&)> done);
  // A tenant's first client has come to a worker, its last one has left it.
  void watch(tiers::Tenant record);
  void unwatch(std::string tenant);
  void take_snapshot(std::shared_ptr<const Snapshot> snapshot);
  struct Figures {
    tiers::Catalog::Totals totals;
    std::size_t known = 0;    // tenants with a row of the store
    std::size_t watched = 0;  // tenants with clients
  };
  // `done` runs on `asker`.
  void figures(net::Loop& asker, std::function<void(const Figures&)> done);

 private:
  static constexpr std::chrono::milliseconds kTick{250};

  void on_row(TierStore::Of of, const std::string& name, const Expected<tiers::Fields>& fields) override;
  void on_failed(TierStore::Of of, const std::string& name) override;
  void on_changed(const std::string& what) override;
  void obey();
  void settle(const std::string& tenant, const Answer& answer);
  void tick();

  struct Asker {
    net::Loop* loop;
    std::function<void(const Answer&)> done;
  };
  net::Loop& loop_;
  Log& log_;
  std::shared_ptr<const Snapshot> snapshot_;
  tiers::Catalog catalog_;
  std::unique_ptr<TierStore> store_;
  std::unordered_map<std::string, std::vector<Asker>> asking_;  // by tenant
  std::function<void(const tiers::Tenant&)> changed_;
  bool obeying_ = false;
  net::Timer timer_;
};

}  // namespace pgweir
