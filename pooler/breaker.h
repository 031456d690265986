// pooler/breaker.h - a circuit breaker: whether connections are to be tried, by what became of those before.
//
//   Closed -> Open          of what the window holds too much has failed, and it holds enough to tell
//   Open -> HalfOpen        a probe is under way, one at a time
//   HalfOpen -> Closed      it has worked, or was answered
//   HalfOpen -> Open        it has failed, or ended without telling anything
//
// Who fails fast has the next probe when `open_time` and some jitter are over. Who waits however long it
// takes (for a Postgres that sleeps and is waking up) goes on as without a breaker, by retry_pause(): only
// that it is one probe over all who wait, and not one of each. Where another host may have taken over, the
// requests of those who fail fast make such probes, too: early ones, which nobody is to wait for, since they
// are told at once as ever.
//
// A server that dies counts as a failure until a login works: that shows that it was not Postgres that died.
// Pure: time and chance come from outside.
#pragma once

#include <array>
#include <cstddef>
#include <cstdint>

#include "pooler/base/time.h"

namespace pgweir {

class Breaker {
 public:
  enum class State : std::uint8_t { Closed, HalfOpen, Open };
  static constexpr std::array<const char*, 3> kStateNames{"closed", "half-open", "open"};
  // By hand: Open tries nothing, Close never opens.
  enum class Order : std::uint8_t { Auto, Open, Close };
  enum class Patience : std::uint8_t { Waits, FailsFast };  // of whoever wants a connection
  enum class Outcome : std::uint8_t {
    Worked,    // a login
    Answered,  // refused by somebody who is there: neither counts as a success nor as a failure
    Failed,
    Died,     // a server that had logged in
    Nothing,  // given up by us
  };
  struct Rules {
    std::uint32_t failures_percent = 50;  // of the window; 0: it never opens by itself
    std::uint32_t least_volume = 20;      // in the window
    Duration window = std::chrono::seconds(10);
    Duration open_time = std::chrono::seconds(30);
    Duration shortest_retry = std::chrono::milliseconds(100);
    bool hosts_change = false;
    friend bool operator==(const Rules&, const Rules&) = default;
  };
  static constexpr std::size_t kBuckets = 10;  // of the window
  // A probe that takes longer than this is not waited for by those who wait: the network may have lost it.
  static constexpr Duration kProbePatience = std::chrono::seconds(2);
  static constexpr int kJitterPart = 10;  // of open_time, at most, is added to it

  explicit Breaker(std::uint64_t seed) : chance_(seed) {}
  void set_rules(const Rules& rules);

  // From when on a connection may be tried, `now` or before: at once. kNever: not until an order is given.
  Time try_at(Time now, Patience patience) const;
  // One is going to be tried, and its outcome will be noted. False: it may not.
  bool begin(Time now, Patience patience);
  void note(Outcome outcome, Time now);
  void order(Order order, Time now);

  State state() const;
  // The probe that is under way would have been none without Rules::hosts_change.
  bool probes_early() const { return state_ == State::HalfOpen && early_; }
  static const char* name(State state) { return kStateNames[static_cast<std::size_t>(state)]; }
  Order ordered() const { return order_; }
  // In the window.
  std::uint32_t failures(Time now) const { return count(now).bad; }
  std::uint32_t volume(Time now) const;
  // Since the start.
  std::uint64_t opened() const { return opened_; }
  std::uint64_t failed() const { return failed_; }
  // Nothing is remembered that a new one would not know.
  bool quiet(Time now) const;

 private:
  struct Bucket {
    std::int64_t number = -1;  // of all that have ever been; others than the last kBuckets are stale
    std::uint32_t good = 0, bad = 0, dead = 0;
  };
  Duration bucket_length() const { return rules_.window / static_cast<int>(kBuckets); }
  Bucket& bucket(Time now);
  Bucket count(Time now) const;
  Time patient_try_at() const;  // of who waits; open or half-open
  Time hasty_try_at() const;    // of who fails fast
  void fail(Time now);
  void open(Time now);
  void close();
  std::uint64_t dice();

  Rules rules_;
  std::array<Bucket, kBuckets> buckets_{};
  State state_ = State::Closed;
  Order order_ = Order::Auto;
  Time down_since_ = kNever;  // the first failure since something has worked
  Time waits_until_{};        // Open: then who waits may probe ...
  Time open_until_{};         // ... and who fails fast
  Time probe_at_{};           // HalfOpen: the last one began
  bool early_ = false;        // ... before who fails fast had a right to it
  std::uint64_t opened_ = 0, failed_ = 0;
  std::uint64_t chance_;
};

}  // namespace pgweir
