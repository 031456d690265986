#include "tiers/fleet_rate.h"

#include <algorithm>
#include <utility>

#include "pooler/base/check.h"

namespace pgweir::tiers {

void FleetRate::change(std::uint32_t per_minute, std::uint32_t burst) {
  PGWEIR_CHECK(per_minute > 0);
  per_minute_ = per_minute;
  burst_ = burst > 0 ? burst : per_minute;
  batch_ = std::min(std::clamp(per_minute / kBatchesPerMinute, kBatchLeast, kBatchMost), burst_);
}

// What a long silence owes is bounded, as what the bucket itself is ever charged with.
void FleetRate::spend(std::uint64_t transactions, Time now) {
  const std::int64_t least = -static_cast<std::int64_t>(burst_);
  const auto count =
      static_cast<std::int64_t>(std::min<std::uint64_t>(transactions, 2ULL * burst_ + kBatchMost));
  stock_ = std::max(stock_ - count, std::min(stock_, least));
  used_at_ = now;
  wanted_ = wanted_ || 2 * stock_ <= static_cast<std::int64_t>(batch_);
  if (scarce_ && stock_ <= 0 && state_ == State::Open) state_ = State::Denied;
}

std::optional<FleetAsk> FleetRate::ask(Time now) {
  if (asking_) return {};
  const bool unused = stock_ > 0 && now - used_at_ >= kKeep;
  switch (state_) {
    case State::Open:
      if ((!wanted_ && !unused) || (scarce_ && now < until_)) return {};
      break;
    case State::Denied:
      if (now < until_) return {};
      break;
    case State::Silent:
      if (!wanted_ || now < until_) return {};
      break;
  }
  FleetAsk ask{per_minute_, burst_, 0, 0};
  const bool returns = state_ == State::Open && unused && !wanted_;
  if (returns || stock_ < 0) ask.charge = -std::exchange(stock_, 0);
  if (!returns) ask.want = batch_;
  charge_ = ask.charge;
  wanted_last_ = ask.want;
  asking_ = true;
  wanted_ = false;
  return ask;
}

void FleetRate::answered(const FleetGrant& grant, Time now) {
  PGWEIR_CHECK(asking_);
  asking_ = false;
  const bool returned = charge_ < 0;
  stock_ += grant.granted;
  scarce_ = !returned && grant.granted < wanted_last_;
  if (scarce_) until_ = now + std::clamp<Duration>(grant.wait, kPauseLeast, kPauseMost);
  if (grant.granted > 0) used_at_ = now;
  state_ = scarce_ && stock_ <= 0 ? State::Denied : State::Open;
}

// Whether it was charged is not known. To charge it again may cost the tenant a few tokens, not to would give
// them away.
void FleetRate::failed(Time now) {
  PGWEIR_CHECK(asking_);
  asking_ = false;
  if (charge_ > 0) stock_ = std::max(stock_ - charge_, -static_cast<std::int64_t>(burst_));
  wanted_ = wanted_ || stock_ < 0;
  scarce_ = false;
  state_ = State::Silent;
  until_ = now + kRetry;
}

Time FleetRate::ask_at() const {
  if (asking_) return kNever;
  switch (state_) {
    case State::Open:
      if (wanted_) return scarce_ ? until_ : used_at_;
      return stock_ > 0 ? used_at_ + kKeep : kNever;
    case State::Denied: return until_;
    case State::Silent: break;
  }
  return kNever;
}

}  // namespace pgweir::tiers
