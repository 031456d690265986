#include "tiers/rate.h"

#include <algorithm>

#include "pooler/base/check.h"

namespace pgweir::tiers {
namespace {
constexpr std::int64_t kToken = 60'000'000;  // microseconds of a minute
}  // namespace

Rate::Rate(std::uint32_t per_minute, std::uint32_t burst, Time now)
    : at_(now), per_minute_(per_minute), burst_(burst > 0 ? burst : per_minute) {
  PGWEIR_CHECK(per_minute > 0 && per_minute <= kPerMinuteMost && burst_ <= kPerMinuteMost);
}

void Rate::change(std::uint32_t per_minute, std::uint32_t burst, Time now) {
  const std::int64_t was = spent(now);
  *this = Rate(per_minute, burst, now);
  spent_ = std::min(was, burst_ * kToken);
}

// The product cannot overflow: time beyond what empties the debt is not multiplied.
std::int64_t Rate::spent(Time now) const {
  const std::int64_t passed_us = (now - at_).count();
  PGWEIR_CHECK(passed_us >= 0);
  return passed_us > spent_ / per_minute_ ? 0 : spent_ - passed_us * per_minute_;
}

bool Rate::take(Time now) {
  const std::int64_t after = spent(now) + kToken;
  if (after > burst_ * kToken) return false;
  spent_ = after;
  at_ = now;
  return true;
}

void Rate::charge(std::uint64_t transactions, Time now) {
  const std::int64_t most = 2 * burst_ * kToken;
  const std::int64_t was = spent(now);
  const auto room = static_cast<std::uint64_t>(std::max<std::int64_t>(most - was, 0) / kToken);
  spent_ = was + static_cast<std::int64_t>(std::min(transactions, room)) * kToken;
  at_ = now;
}

Time Rate::next_at(Time now) const {
  const std::int64_t beyond = spent(now) + kToken - burst_ * kToken;
  if (beyond <= 0) return now;
  return now + Duration((beyond + per_minute_ - 1) / per_minute_);
}

std::uint32_t Rate::left(Time now) const {
  return static_cast<std::uint32_t>(std::max<std::int64_t>(burst_ * kToken - spent(now), 0) / kToken);
}

std::uint32_t Rate::spent_tokens(Time now) const {
  return static_cast<std::uint32_t>((spent(now) + kToken - 1) / kToken);
}

}  // namespace pgweir::tiers
