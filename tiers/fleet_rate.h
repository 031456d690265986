// tiers/fleet_rate.h - a tenant's share, in this process, of a token bucket that all pgweirs of a fleet have
// in common.
//
// Tokens are fetched some at a time and ahead of use, so that no transaction waits for an answer: what begins
// while one is awaited is charged with the next question. What is not used for kKeep goes back. Beside it the
// process has a whole bucket of its own (Rate), which alone holds while the fleet is silent.
//
//   Open --the last question brought too little, and that is spent--> Denied (a pause, then it asks again)
//    ^ |--no answer--> Silent (a pause, then it asks when a transaction begins) --an answer--> Open or Denied
//    |------------------------------------------------------------------------------ tokens ------|
//
// Pure: the time is passed in, questions come out.
#pragma once

#include <cstdint>
#include <optional>

#include "pooler/base/time.h"

namespace pgweir::tiers {

// What the common bucket is asked: `charge` tokens are taken as spent, or given back where negative; of what
// is left then, at most `want` are granted.
struct FleetAsk {
  std::uint32_t per_minute = 0, burst = 0;
  std::int64_t charge = 0;
  std::uint32_t want = 0;
};
struct FleetGrant {
  std::uint32_t granted = 0;
  Duration wait{};  // where nothing was granted: until there is a token
};

class FleetRate {
 public:
  static constexpr std::chrono::seconds kKeep{1};
  static constexpr std::chrono::seconds kRetry{1};
  // Between two questions of one who is denied; at most, because whoever says "in a year" is not believed.
  static constexpr std::chrono::milliseconds kPauseLeast{50}, kPauseMost{1000};
  static constexpr std::uint32_t kBatchLeast = 4, kBatchMost = 1000;
  static constexpr std::uint32_t kBatchesPerMinute = 600;  // so that a question lasts for a tenth of a second

  FleetRate(std::uint32_t per_minute, std::uint32_t burst) { change(per_minute, burst); }
  // A burst of 0 is as many as a minute brings.
  void change(std::uint32_t per_minute, std::uint32_t burst);

  // Whether transactions may begin, as far as the fleet has said.
  bool open() const { return state_ != State::Denied; }
  // Transactions have begun.
  void spend(std::uint64_t transactions, Time now);

  // What is to be asked now, if anything is; answered() or failed() must follow.
  std::optional<FleetAsk> ask(Time now);
  void answered(const FleetGrant& grant, Time now);
  void failed(Time now);
  // When ask() may have something to say though nothing has happened.
  Time ask_at() const;
  // While not open(): when that may change at the earliest.
  Time open_at() const { return until_; }

  std::uint32_t batch() const { return batch_; }

 private:
  enum class State : std::uint8_t { Open, Denied, Silent };

  State state_ = State::Open;
  bool asking_ = false;
  std::uint32_t per_minute_ = 1, burst_ = 1, batch_ = 1;
  std::int64_t stock_ = 0;         // tokens that are here; negative: spent and not charged yet
  std::int64_t charge_ = 0;        // of the question that is under way or the last one
  std::uint32_t wanted_last_ = 0;  // the same
  bool wanted_ = false;            // something was spent since the last question, and little is left
  bool scarce_ = false;            // that brought less than was wanted: no other before until_
  Time used_at_{};
  Time until_{};
};

}  // namespace pgweir::tiers
