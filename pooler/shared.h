// pooler/shared.h - the little that all workers of a process share, touched on slow paths only.
#pragma once

#include <array>
#include <atomic>
#include <cstdint>
#include <cstring>
#include <functional>
#include <map>
#include <memory>
#include <mutex>
#include <optional>
#include <string>
#include <string_view>
#include <unordered_map>
#include <vector>

#include "pooler/app.h"
#include "pooler/audit_stream.h"
#include "pooler/backend_breaker.h"
#include "pooler/backend_budget.h"
#include "pooler/backend_hosts.h"
#include "pooler/base/log.h"
#include "pooler/readiness.h"
#include "pooler/suspension.h"
#include "protocol/scram.h"

namespace pgweir {

class TierControl;
class Worker;

struct Shared {
  explicit Shared(Log& l) : log(l) {}

  Log& log;
  AuditStream* audit = nullptr;  // null: none; fixed before the first connection
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
  Suspension suspension;

  std::uint32_t connections() const { return sessions.load() + logins.load(); }
  // A place for one more session; false when `most` are taken. Its worker gives it back.
  bool take_session(std::uint32_t most) {
    std::uint32_t taken = sessions.load();
    while (taken < most)
      if (sessions.compare_exchange_weak(taken, taken + 1)) return true;
    return false;
  }

  // A tenant is held to its limits by one worker: that of its first client, for as long as one is there, or a
  // server that was for it, whatever its record says of a backend and a database from then on. False: another
  // one has it.
  bool claim_home(const std::string& tenant, std::uint32_t worker) {
    const std::lock_guard<std::mutex> lock(homes_mutex_);
    return homes_.try_emplace(tenant, Home{worker}).first->second.worker == worker;
  }
  // By the worker that has claimed it; else nothing.
  void leave_home(const std::string& tenant, std::uint32_t worker) {
    const std::lock_guard<std::mutex> lock(homes_mutex_);
    const auto home = homes_.find(tenant);
    if (home != homes_.end() && home->second.worker == worker && !home->second.kept) homes_.erase(home);
  }
  // One that was moved stays also without clients.
  void keep_home(const std::string& tenant, std::uint32_t worker) {
    const std::lock_guard<std::mutex> lock(homes_mutex_);
    homes_[tenant] = {worker, true};
  }
  std::optional<std::uint32_t> home_claimed(const std::string& tenant) {
    const std::lock_guard<std::mutex> lock(homes_mutex_);
    const auto home = homes_.find(tenant);
    return home == homes_.end() ? std::nullopt : std::optional(home->second.worker);
  }

  // Lives as long as the process; the same object for the same name over reloads.
  BackendBudget& budget(std::string_view backend) {
    const std::lock_guard<std::mutex> lock(budgets_mutex_);
    const auto known = budgets_.find(backend);
    if (known != budgets_.end()) return known->second;
    return budgets_[std::string(backend)];
  }
  // The same of its breaker. Its chance comes from process_secret, which is there before.
  BackendBreaker& breaker(std::string_view backend) {
    const std::lock_guard<std::mutex> lock(budgets_mutex_);
    const auto known = breakers_.find(backend);
    if (known != breakers_.end()) return known->second;
    std::uint64_t seed = 0;
    std::memcpy(&seed, process_secret.data(), sizeof seed);
    return breakers_.try_emplace(std::string(backend), seed ^ std::hash<std::string_view>{}(backend))
        .first->second;
  }

  // And of what its hosts are.
  BackendHosts& hosts(std::string_view backend) {
    const std::lock_guard<std::mutex> lock(budgets_mutex_);
    const auto known = hosts_.find(backend);
    return known != hosts_.end() ? known->second : hosts_[std::string(backend)];
  }

 private:
  struct Home {
    std::uint32_t worker;
    bool kept = false;
  };
  std::mutex homes_mutex_;
  std::unordered_map<std::string, Home> homes_;
  std::mutex budgets_mutex_;  // of the other maps
  std::map<std::string, BackendHosts, std::less<>> hosts_;
  std::map<std::string, BackendBudget, std::less<>> budgets_;
  std::map<std::string, BackendBreaker, std::less<>> breakers_;
};

}  // namespace pgweir
