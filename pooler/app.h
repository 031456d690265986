// pooler/app.h - the whole pooler: its workers, what they share, and the orders that reach all of them.
//
// Made of loops that somebody else runs: threads in pgweir, virtual time in the simulator. Every public call
// is made on the first worker's thread.
#pragma once

#include <cstddef>
#include <deque>
#include <functional>
#include <map>
#include <memory>
#include <string>
#include <string_view>
#include <vector>

#include "pooler/base/log.h"
#include "pooler/base/rng.h"
#include "pooler/net/loop.h"
#include "pooler/snapshot.h"
#include "tiers/difference.h"

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
  using SnapshotRef = std::shared_ptr<const Snapshot>;
  using Fresh = tl::expected<SnapshotRef, std::string>;
  using Reload = std::function<Fresh()>;
  using Changed = tl::expected<void, std::string>;
  // What a shutdown waits for: transactions to end, but at most shutdown_timeout; all servers to be given
  // back, or all clients to go by themselves, however long that takes.
  enum class Wait { Transactions, Servers, Clients };

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
  // One setting, until the next reload: as reload(), and `done` is told why not. Files that settings name are
  // read by `read` on a helper thread.
  void let_change(conf::ReadFile read);
  void change(const std::string& key, const std::string& value, std::function<void(const Changed&)> done);
  // The same of a tenant's row in the configuration.
  void change_tenant(const std::string& tenant, const tiers::Change& change,
                     std::function<void(const Changed&)> done);
  // The same of its backend. Reloads keep to it as long as the configuration names the former one, since data
  // has been written to the new one by then.
  void move_tenant(const tiers::Tenant& record, const std::string& to,
                   std::function<void(const Changed&)> done);
  // `told` is called when a shutdown begins, whoever has ordered it.
  void tell_of_shutdown(std::function<void()> told) { on_stopping_ = std::move(told); }
  // Stops accepting, waits, then closes what is left. A second call closes at once.
  void shutdown(Wait wait = Wait::Transactions);
  bool stopping() const { return stopping_; }
  // Transactions that ran when a shutdown could wait no longer.
  std::size_t cut_off() const { return cut_off_; }
  Shared& shared() { return *shared_; }

 private:
  using Answer = std::function<void(const Changed&)>;
  // A configuration to come. It is made on a helper thread of the one that is in force by then.
  struct Reading {
    std::function<Fresh(const Snapshot&)> make;
    std::vector<Answer> answers;
    std::string_view news;  // for the log, when it is in force
    bool whole = false;     // all of it is read again
  };
  void remember_move(const std::string& tenant, const std::string& from, const std::string& to);
  void read(Reading reading);
  void read_next();
  void put_in_force(const Fresh& fresh, std::vector<tiers::Difference> differences);
  void answer(const Changed& changed);
  void out_of_time();
  void close_all();
  void set_budgets(const Snapshot& snapshot);

  std::unique_ptr<Shared> shared_;
  std::vector<std::unique_ptr<Worker>> workers_;
  std::shared_ptr<const Reload> reload_;  // shared with the helper thread that calls it
  std::shared_ptr<const conf::ReadFile> read_file_;
  struct Moved {
    std::string from, to;
  };
  std::map<std::string, Moved> moved_;  // tenants
  std::deque<Reading> readings_;        // the front one is under way
  std::function<void()> on_stopping_ = [] {};
  std::function<void()> on_stopped_;
  net::Timer deadline_;
  bool stopping_ = false;
  std::size_t cut_off_ = 0;
};

}  // namespace pgweir
