// pooler/tier_control.h - what workers ask about tenants that come from a store, and what they are told.
//
// Lives on a loop of its own, so that neither Redis nor a flood of its messages takes time from a worker. Any
// thread may call the public functions; answers and changes come back by Loop::post.
#pragma once

#include <functional>
#include <memory>
#include <optional>
#include <string>
#include <unordered_map>
#include <vector>

#include "pooler/base/log.h"
#include "pooler/net/loop.h"
#include "pooler/snapshot.h"
#include "pooler/tenant_orders.h"
#include "pooler/throttle.h"
#include "pooler/tier_store.h"
#include "pooler/usage.h"
#include "tiers/catalog.h"
#include "tiers/difference.h"

namespace pgweir {

class TierControl final : TierStore::Listener, public Throttle::Fleet {
 public:
  using Answer = tiers::Catalog::Answer;
  using MakeStore = std::function<std::unique_ptr<TierStore>(TierStore::Listener&)>;

  // `loop` and the loops of those who ask outlive it, and none of them runs any more when it is destroyed.
  TierControl(net::Loop& loop, Log& log, std::shared_ptr<const Snapshot> snapshot, const MakeStore& make);
  ~TierControl() override;

  using Tiers = std::shared_ptr<const tiers::Directory>;
  // All are called on the control loop; an empty one is not.
  struct News {
    std::function<void(const tiers::Tenant&)> changed{};      // every new record of a watched tenant
    std::function<void()> answered{};                         // once: the store has, for the first time
    std::function<void(const Tiers&)> tiers{};                // whenever Catalog::tiers() may be different
    std::function<void(const tiers::Difference&)> differs{};  // of rows that were known, watched or not
  };
  void start(News news);

  // `done` runs on `asker`, with anything but Pending.
  void ask(net::Loop& asker, std::string tenant, std::function<void(const Answer&)> done);
  // A tenant's first client has come to a worker, its last one has left it.
  void watch(tiers::Tenant record);
  void unwatch(std::string tenant);
  void take_snapshot(std::shared_ptr<const Snapshot> snapshot);
  // Changes fields of a tenant's row in the store. `done` runs on `asker`.
  void set(net::Loop& asker, std::string tenant, tiers::Change change, TenantOrders::Done done);
  // From now on what tenants have used is kept in the store, under this name of the run. Before start().
  void keep_usage(std::string instance) { usage_.emplace(std::move(instance), loop_.now()); }
  // `done` runs on `asker`, with what went wrong; empty: the store takes usage.
  void try_usage(net::Loop& asker, TierStore::Done done);
  void add_usage(std::vector<UsageDelta> deltas);
  // `done` runs on `asker` when the store has been told all; or when it has taken nothing for kUsageWait, or
  // not all in kUsageWaitMost.
  void finish_usage(net::Loop& asker, std::function<void()> done);
  // Somebody is impatient: kUsageWait is all that there is, now or when it begins.
  void hurry_usage();
  void take_rate(net::Loop& asker, std::string tenant, const tiers::FleetAsk& ask,
                 TierStore::Granted done) override;
  struct Figures {
    tiers::Catalog::Totals totals;
    std::size_t known = 0;      // tenants with a row of the store
    std::size_t watched = 0;    // tenants with clients
    std::size_t suspended = 0;  // see Catalog
    std::size_t stale = 0;      // of those, who is held to the default tier since their rows are too old
    Duration silent{};          // for how long the store has not answered
    std::uint64_t usage_failures = 0;
    Duration usage_late{};  // for how long it lacks usage that it did not take
  };
  // Catalog::suspensions(). `done` runs on `asker`.
  void suspensions(net::Loop& asker, std::string after, std::size_t most,
                   std::function<void(const std::vector<tiers::Tenant>&)> done);
  // `done` runs on `asker`.
  void figures(net::Loop& asker, std::function<void(const Figures&)> done);

 private:
  static constexpr std::chrono::milliseconds kTick{250};
  static constexpr std::chrono::seconds kUsageRetry{5};
  static constexpr std::chrono::milliseconds kUsageRetryAtEnd{500};
  static constexpr std::chrono::seconds kUsageWait{3};
  static constexpr std::chrono::seconds kUsageWaitMost{30};

  void on_row(TierStore::Of of, const std::string& name, const Expected<tiers::Fields>& fields) override;
  void on_no_row(TierStore::Of of, const std::string& name) override;
  void on_failed(TierStore::Of of, const std::string& name) override;
  void on_changed(const std::string& what) override;
  void put_usage();
  void put_usage_soon();
  void usage_written(const std::string& key, const std::string& error);
  void obey();
  void tell_tiers();
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
  TenantOrders orders_;
  std::unordered_map<std::string, std::vector<Asker>> asking_;  // by tenant
  News news_;
  std::uint64_t tiers_told_ = 0;  // the catalog's version of them
  std::optional<UsageBook> usage_;
  std::size_t usage_asked_ = 0;  // rows that the store has not answered
  bool usage_posted_ = false;    // put_usage()
  Time usage_retry_at_{};
  std::string usage_error_;       // of the last row that the store did not take
  Time usage_end_at_ = kNever;    // unless it takes something,
  Time usage_end_most_ = kNever;  // and in any case
  bool usage_hurried_ = false;
  std::function<void()> usage_done_;
  bool obeying_ = false;
  net::Timer timer_;
};

}  // namespace pgweir
