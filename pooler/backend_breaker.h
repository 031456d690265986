// pooler/backend_breaker.h - the breakers where they are kept: that of a backend, which all workers share,
// and those of its databases and users, which live with their group on one worker.
//
// One for all workers, because the tenants of a backend are spread over them: counted apart, each of them
// would have to see Postgres fail often enough, and each would send a probe of its own. Making a connection
// and its end take a lock; whether connections are rationed is an atomic, and asked only when no server is
// idle.
#pragma once

#include <atomic>
#include <cstdint>
#include <map>
#include <memory>
#include <mutex>
#include <optional>
#include <set>
#include <string>
#include <utility>

#include "conf/config.h"
#include "pooler/base/error.h"
#include "pooler/breaker.h"

namespace pgweir {

// Of the backend's own and those of its databases and users, which open when all of their servers die.
Breaker::Rules breaker_rules(const conf::Backend& backend, conf::milliseconds shortest_retry);

// A breaker at one moment.
struct BreakerView {
  Breaker::State state = Breaker::State::Closed;
  Breaker::Order ordered = Breaker::Order::Auto;
  std::uint32_t failures = 0, volume = 0;  // in the window
  std::uint64_t opened = 0, failed = 0;    // since the start
  std::uint64_t rejected = 0;              // of a backend: those of its databases and users are among them
  Time next_try{};                         // for who fails fast; kNever: when ordered
  std::string last_error;
  std::uint32_t opening_failures = 0, opening_volume = 0;  // what opened it last, if no order did
};

// A breaker and the last thing that has failed.
struct NotedBreaker {
  explicit NotedBreaker(std::uint64_t seed) : core(seed) {}
  // The state that this has brought about, if it is another.
  std::optional<Breaker::State> note(Breaker::Outcome outcome, Time now, const std::string& error);
  BreakerView view(Time now) const;

  Breaker core;
  std::string last_error;
  std::uint32_t opening_failures = 0, opening_volume = 0;
  std::uint64_t rejected = 0;
};

// Of a backend; any thread may ask.
class BackendBreaker {
 public:
  using Change = std::optional<Breaker::State>;

  explicit BackendBreaker(std::uint64_t seed) : noted_(seed) {}
  void set_rules(const Breaker::Rules& rules);

  // Connections are made as they are needed.
  bool closed() const { return closed_.load(std::memory_order_relaxed); }
  Time try_at(Time now, Breaker::Patience patience) const;
  bool probes_early() const;
  // Whether a connection may be tried.
  std::pair<bool, Change> begin(Time now, Breaker::Patience patience);
  Change note(Breaker::Outcome outcome, Time now, const std::string& error);
  // A server of this database has died. Until a login to the backend works they are one witness, whoever's
  // they were: nobody opens the breaker of others by killing the servers of his own database.
  Change died(const std::string& database, Time now, const std::string& error);
  Change order(Breaker::Order order, Time now);
  Change begin_anew(Time now);  // unless an order holds
  void count_rejected() { rejected_.fetch_add(1, std::memory_order_relaxed); }
  BreakerView view(Time now) const;

 private:
  template <class Step>
  Change change(Step step);

  mutable std::mutex mutex_;  // of both
  NotedBreaker noted_;
  std::set<std::string> died_;  // databases that have told of a death
  std::atomic<bool> closed_{true};
  std::atomic<std::uint64_t> rejected_{0};
};

// Orders for the breakers of all users of one database, as they are given for its tenant. They hold for
// groups that come later, too.
class BreakerOrders {
 public:
  using Database = std::pair<std::string, std::string>;  // of a backend

  void give(const std::string& backend, const std::string& database, Breaker::Order order) {
    if (order == Breaker::Order::Auto)
      given_.erase({backend, database});
    else
      given_[{backend, database}] = order;
  }
  Breaker::Order of(const std::string& backend, const std::string& database) const {
    const auto place = given_.find({backend, database});
    return place == given_.end() ? Breaker::Order::Auto : place->second;
  }
  const std::map<Database, Breaker::Order>& given() const { return given_; }

 private:
  std::map<Database, Breaker::Order> given_;  // never Auto
};

// Those of the groups of one worker that have met with trouble lately. A group is often there for one login
// only: who knocks anew finds the breaker that the last one has left.
template <class Key>
class BreakerBook {
 public:
  using Ref = std::shared_ptr<NotedBreaker>;

  // As it was kept; null: none was.
  Ref find(const Key& key) const {
    const auto place = kept_.find(key);
    return place == kept_.end() ? nullptr : place->second;
  }
  void keep(const Key& key, const Ref& breaker, Time now) {
    if (!kept_.emplace(key, breaker).second || kept_.size() < sweep_at_) return;
    std::erase_if(kept_, [now](const auto& entry) { return entry.second->core.quiet(now); });
    sweep_at_ = std::max(kLeast, 2 * kept_.size());
  }
  const std::map<Key, Ref>& kept() const { return kept_; }

 private:
  static constexpr std::size_t kLeast = 64;
  std::map<Key, Ref> kept_;
  std::size_t sweep_at_ = kLeast;
};

}  // namespace pgweir
