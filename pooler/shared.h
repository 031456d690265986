// pooler/shared.h - the little that all workers of a process share, touched on slow paths only.
#pragma once

#include <array>
#include <atomic>
#include <cstdint>
#include <functional>
#include <map>
#include <memory>
#include <mutex>
#include <string>
#include <string_view>
#include <vector>

#include "pooler/app.h"
#include "pooler/base/log.h"
#include "pooler/readiness.h"
#include "protocol/scram.h"

namespace pgweir {

class TierControl;
class Worker;

// How many server connections one Postgres host has from this process, over all workers.
class BackendBudget {
 public:
  // At the start and by a reload. What is used beyond a lower limit is shed as it comes free.
  void set_limit(std::uint32_t limit) {
    limit_.store(limit);
    const std::uint32_t used = used_.load();
    surplus_.store(used > limit ? used - limit : 0);
  }
  bool take() {
    std::uint32_t used = used_.load();
    while (used < limit_.load())
      if (used_.compare_exchange_weak(used, used + 1)) return true;
    starved_.store(true);
    return false;
  }
  // True when somebody was refused since the last time this was said.
  bool give_back() {
    if (used_.fetch_sub(1) <= limit_.load() + 1) surplus_.store(0);
    return starved_.exchange(false);
  }
  // The same for a connection that listens: it stays as long as somebody does, so all of them together may
  // have a quarter of the limit and no more.
  bool take_listener() {
    if (listeners_.fetch_add(1) < limit_.load() / 4 && take()) return true;
    listeners_.fetch_sub(1);
    return false;
  }
  bool give_back_listener() {
    listeners_.fetch_sub(1);
    return give_back();
  }
  // One connection beyond the limit: whoever is told so closes it.
  bool shed() {
    std::uint32_t surplus = surplus_.load(std::memory_order_relaxed);
    while (surplus > 0)
      if (surplus_.compare_exchange_weak(surplus, surplus - 1)) return true;
    return false;
  }
  bool starved() const { return starved_.load(std::memory_order_relaxed); }
  std::uint32_t used() const { return used_.load(); }
  std::uint32_t limit() const { return limit_.load(); }
  // The major version that its last login has told; 0: not known, so it is told only what all versions know.
  int version() const { return version_.load(); }
  void set_version(int version) { version_.store(version); }

 private:
  std::atomic<std::uint32_t> used_{0};
  std::atomic<std::uint32_t> limit_{0};
  std::atomic<std::uint32_t> surplus_{0};  // to be shed yet
  std::atomic<std::uint32_t> listeners_{0};
  std::atomic<bool> starved_{false};
  std::atomic<int> version_{0};
};

struct Shared {
  explicit Shared(Log& l) : log(l) {}

  Log& log;
  std::vector<Worker*> workers;  // fixed before the first connection
  // client.max bounds both together, and some logins more, so that the console can be reached and queries can
  // be cancelled when it is full. Consoles do not count.
  static constexpr std::uint32_t kSpareLogins = 64;
  std::atomic<std::uint32_t> sessions{0};
  std::atomic<std::uint32_t> logins{0};  // under way, of whomever
  protocol::ScramKey process_secret{};   // for stand-in secrets of unknown users
  App* app = nullptr;
  TierControl* tiers = nullptr;  // null: tenants come from the configuration alone
  Readiness readiness;

  std::uint32_t connections() const { return sessions.load() + logins.load(); }
  // A place for one more session; false when `most` are taken. Its worker gives it back.
  bool take_session(std::uint32_t most) {
    std::uint32_t taken = sessions.load();
    while (taken < most)
      if (sessions.compare_exchange_weak(taken, taken + 1)) return true;
    return false;
  }

  // Lives as long as the process; the same object for the same name over reloads.
  BackendBudget& budget(std::string_view backend) {
    const std::lock_guard<std::mutex> lock(budgets_mutex_);
    const auto known = budgets_.find(backend);
    if (known != budgets_.end()) return known->second;
    return budgets_[std::string(backend)];
  }

 private:
  std::mutex budgets_mutex_;
  std::map<std::string, BackendBudget, std::less<>> budgets_;
};

}  // namespace pgweir
