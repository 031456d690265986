// pooler/app.h - the whole pooler: its workers, what they share, and the orders that reach all of them.
//
// Made of loops that somebody else runs: threads in pgweir, virtual time in the simulator. Every public call
// is made on the first worker's thread.
#pragma once

#include <functional>
#include <memory>
#include <vector>

#include "pooler/base/log.h"
#include "pooler/base/rng.h"
#include "pooler/net/loop.h"
#include "pooler/snapshot.h"

namespace pgweir {

class TierControl;
class Worker;
struct Shared;

class App {
 public:
  struct WorkerParts {
    net::Loop& loop;
    Rng& rng;
  };
  using Reload = std::function<tl::expected<std::shared_ptr<const Snapshot>, std::string>()>;

  // `reload` reads the configuration again for RELOAD and SIGHUP. It is called on a helper thread, one call
  // at a time, and must stay good until the first loop is gone: a shutdown does not wait for it.
  // `on_stopped` is called once, when a shutdown is done.
  App(const std::vector<WorkerParts>& workers, Log& log, std::shared_ptr<const Snapshot> snapshot,
      Reload reload, std::function<void()> on_stopped);
  ~App();  // only after on_stopped, and with the loops no longer running
  App(const App&) = delete;
  App& operator=(const App&) = delete;

  // Tenants come from this store, too, which outlives the App. Before listen().
  void use(TierControl& tiers);
  // What each worker accepts from: fds[i] are the sockets of worker i, its own from now on (several workers
  // share a port by dup() of its socket).
  void listen(const std::vector<std::vector<int>>& fds);
  // True when the new configuration is in force on all workers. `done` comes later, or never when a shutdown
  // is done first. Files may change while they are read: who asks meanwhile is answered by one more reading.
  void reload(std::function<void(bool)> done);
  // Stops accepting, lets transactions end for at most shutdown_timeout, then closes what is left. A second
  // call closes at once.
  void shutdown();
  Shared& shared() { return *shared_; }

 private:
  using Answer = std::function<void(bool)>;
  using Fresh = tl::expected<std::shared_ptr<const Snapshot>, std::string>;
  void close_all();
  void read_again();
  void put_in_force(const Fresh& fresh);
  void reloaded(bool good);
  void set_budgets(const Snapshot& snapshot);

  std::unique_ptr<Shared> shared_;
  std::vector<std::unique_ptr<Worker>> workers_;
  std::shared_ptr<const Reload> reload_;  // shared with the helper thread that calls it
  std::vector<Answer> reload_asked_;      // wait for the next reading
  std::vector<Answer> reloading_;         // wait for the one under way; empty: there is none
  std::function<void()> on_stopped_;
  net::Timer deadline_;
  bool stopping_ = false;
};

}  // namespace pgweir
