// pooler/scheduler.h - who is next when there are fewer servers than are wanted: weighted fair queueing over
// the server time that each has used. Rules only: no clock, no I/O.
//
// Two things queue by it: the tenants that share a group, for its servers; and the groups of a backend, for
// its connections. Whoever is below his floor goes first, then whoever has used least server time for his
// weight, then who has come first. Nobody saves up: who comes back is taken to have used about as much as the
// others, whatever he did or left undone while he did not wait.
//
// Where many come now and then for a little, as groups do for a connection, those who have used the least
// would go on passing who has used a little more, for seconds: there, to have waited counts as a part of
// having used less, so that the time that one waits longer than others has a bound.
#pragma once

#include <cstdint>
#include <optional>
#include <set>

#include "pooler/base/time.h"

namespace pgweir {

enum class Rank : std::uint8_t { BelowFloor, AboveFloor, AtCeiling };
Rank rank_of(std::uint32_t held, std::uint32_t floor, std::uint32_t ceiling);

// What one has used. What is taken is charged at once with what it usually comes to, so that several that are
// taken together count before the first is given back.
class Share {
 public:
  Duration take() {
    unbilled_ += typical_;
    return typical_;
  }
  // `charged`: what take() said.
  void give_back(Duration charged, Duration used) {
    unbilled_ += used - charged;
    typical_ += (used - typical_) / 8;
  }
  void use(Duration used) { unbilled_ += used; }
  void set_weight(std::uint32_t weight);  // what was used before is billed by the old one
  std::uint32_t weight() const { return weight_; }
  bool queued() const { return place_.has_value(); }
  Rank rank() const { return place_ ? (*place_)->rank : Rank::AtCeiling; }
  // Server time per weight.
  std::int64_t virtual_time() { return bill(); }
  // By which it is queued.
  std::int64_t turn() const { return place_ ? (*place_)->turn : INT64_MAX; }

 private:
  friend class FairQueue;
  struct Place {
    // These change only where the order stays: see FairQueue::update.
    mutable Rank rank;
    mutable std::int64_t turn;  // the virtual time, and what has been gained by waiting taken from it
    std::uint64_t order;
    Share* share;
    bool operator<(const Place& other) const;
  };
  std::int64_t bill();

  Duration unbilled_{}, typical_{};
  std::int64_t virtual_time_ = 0;
  std::int64_t late_ = 0;  // virtual time that whoever came before it has gained on it by waiting
  std::uint32_t weight_ = 1;
  bool known_ = false;  // has queued before
  std::optional<std::set<Place>::iterator> place_;
};

class FairQueue {
 public:
  // Server time, used or left unused, that is remembered of one who did not queue for a while.
  static constexpr Duration kRemembered = std::chrono::seconds(1);

  // Who has used a second more, for his weight, waits so many seconds longer at most: more of them, and
  // shares follow weights sooner; fewer, and the longest waits are shorter.
  static constexpr std::int64_t kWaitedPerUsed = 16;
  // Who was neither in line nor in use for as long has been away.
  static constexpr Duration kAway = std::chrono::milliseconds(100);
  // Who has not been may be so far behind the others, since whoever is heavier waits less.
  static constexpr Duration kBehind = std::chrono::seconds(10);
  // What stands beside the virtual time of who is in line since then.
  static std::int64_t late(Time since);

  bool empty() const { return places_.empty(); }
  std::size_t size() const { return places_.size(); }
  void enter(Share& share, Rank rank);
  // The same where waiting counts, for all who queue there. `seen`: when he was in line or in use last; what
  // he has used more than others is forgotten as fast as if he had waited since.
  void enter(Share& share, Rank rank, Time now, Time seen);
  void leave(Share& share);
  // His rank, or what he has used, is another now.
  void update(Share& share, Rank rank);
  // Null: nobody waits who may be given one.
  Share* first() const;
  // The one behind, in the same order; null: none who may be given one.
  Share* after(const Share& share) const;
  // He was given one, and stays until he leaves.
  void served(Share& share);

 private:
  void put(Share& share, Rank rank, Duration credit);
  Share* at(std::set<Share::Place>::iterator place) const;

  std::set<Share::Place> places_;
  std::int64_t clock_ = 0;  // virtual time of whoever is served
  std::uint64_t order_ = 0;
};

// A server that was won from others goes on serving those who wait for it for a short run, since the next
// owner has to connect anew.
struct Run {
  static constexpr Duration kLongest = std::chrono::milliseconds(100);
  static constexpr std::uint32_t kTransactions = 100;
  Time since{};
  std::uint32_t transactions = 0;
  bool over(Time now) const { return now - since >= kLongest || transactions >= kTransactions; }
};

// Whether one who holds a connection that has just come free gives it up for `first` of those who wait.
// `without`: the rank that he has without it. `turn`: what he would be queued by. `wanted`: his own clients
// wait for it.
bool gives_up(Rank without, std::int64_t turn, bool wanted, bool run_over, const Share& first);

}  // namespace pgweir
