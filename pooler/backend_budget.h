// pooler/backend_budget.h - how many server connections one Postgres host has from this process, over all
// workers, how many of them log in at a time, and which group is next when there are no more.
//
// Opening and closing a connection takes a lock; lending and releasing one looks at an atomic only.
#pragma once

#include <atomic>
#include <cstdint>
#include <functional>
#include <mutex>

#include "pooler/scheduler.h"

namespace pgweir {

// What a group is to its backend. Belongs to the group; only BackendBudget touches what is private in it, so
// that a connection can be given to it from any worker.
class Claimant : private Share {
 public:
  // What its tenants may have together.
  struct Entitled {
    std::uint32_t floor = 0;
    std::uint32_t weight = 1;
    // How long connections of the group have been idle, added up, since it began. Whoever wants one of those
    // may have it, so it is not charged.
    Duration idle{};
  };
  // `granted` is called on any thread, with a connection and a login that are its own from then on.
  explicit Claimant(std::function<void()> granted) : granted_(std::move(granted)) {}

 private:
  friend class BackendBudget;
  std::function<void()> granted_;
  std::uint32_t held_ = 0;
  std::uint32_t floor_ = 0;
  Time billed_at_{};
  Duration idle_billed_{};
  Time seen_{};  // in line, or with connections in use
};

class BackendBudget {
 public:
  // At the start and by a reload. What is used beyond a lower limit is shed as it comes free.
  void set_limits(std::uint32_t connections, std::uint32_t logins);

  // One more connection, which is going to log in; or the group is queued, once, until it is granted one or
  // withdraws.
  bool take(Claimant& group, Claimant::Entitled entitled, Time now);
  // False: it was granted one before, of which it will hear.
  bool withdraw(Claimant& group);
  void login_over(Time now);
  void give_back(Claimant& group, Claimant::Entitled entitled, Time now);
  // A connection and a login that were granted to a group that needs none, or that is gone.
  void decline(Claimant& group, Claimant::Entitled entitled, Time now);
  void decline(Time now);

  // A connection that listens stays as long as somebody does, so all of them together may have a quarter of
  // the limit and no more, and only what nobody waits for.
  bool take_listener();
  void give_back_listener(Time now);

  // One connection beyond the limit: whoever is told so closes it.
  bool shed() {
    std::uint32_t surplus = surplus_.load(std::memory_order_relaxed);
    while (surplus > 0)
      if (surplus_.compare_exchange_weak(surplus, surplus - 1)) return true;
    return false;
  }
  // Groups wait because all connections are used.
  bool starved() const { return starved_.load(std::memory_order_relaxed); }
  // Whether a connection that has come free is to be closed for them. Then it is on its way to them.
  bool gives_up(Claimant& group, Claimant::Entitled entitled, bool wanted, bool run_over, Time now);
  // An idle connection is being closed for them.
  void reclaimed();
  // Whether whoever is next is below his floor, so that idle connections within others' floors are his, too.
  bool floor_wanted() const;

  std::uint32_t used() const { return used_.load(); }
  std::uint32_t limit() const { return limit_.load(); }
  // The major version that its last login has told; 0: not known, so it is told only what all versions know.
  int version() const { return version_.load(); }
  void set_version(int version) { version_.store(version); }

 private:
  bool room() const { return used_.load() < limit_.load() && logins_ < logins_most_; }
  // What it has used up to now.
  void bill(Claimant& group);
  void entitle(Claimant& group, Claimant::Entitled entitled);
  void charge(Claimant& group);
  void grant(Claimant& group);
  void one_less();
  void hand_out();

  mutable std::mutex mutex_;  // of all that is no atomic, and of changes to used_
  FairQueue queue_;
  Time now_{};  // the latest that was told: workers' clocks are looked at one after the other
  std::uint32_t logins_ = 0, logins_most_ = 8;
  std::uint32_t coming_ = 0;  // connections that are being closed for those who wait
  std::uint32_t listeners_ = 0;
  std::atomic<std::uint32_t> used_{0};
  std::atomic<std::uint32_t> limit_{0};
  std::atomic<std::uint32_t> surplus_{0};  // to be shed yet
  std::atomic<bool> starved_{false};
  std::atomic<int> version_{0};
};

}  // namespace pgweir
