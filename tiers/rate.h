// tiers/rate.h - a token bucket: how many transactions of a tenant may begin, by transactions_per_minute and
// burst of its tier.
//
// Pure: the time is passed in and must not go back. Counted in whole numbers, so no token is lost or made by
// rounding, however long it runs.
#pragma once

#include <cstdint>

#include "pooler/base/time.h"

namespace pgweir::tiers {

class Rate {
 public:
  static constexpr std::uint32_t kPerMinuteMost = 10'000'000;

  // Full at first. `per_minute` is at least 1; a burst of 0 is as many as a minute brings.
  Rate(std::uint32_t per_minute, std::uint32_t burst, Time now);

  // From now on. What was spent stays spent, as far as the new burst has room for it.
  void change(std::uint32_t per_minute, std::uint32_t burst, Time now);
  // One transaction may begin; false: there is no token.
  bool take(Time now);
  // Transactions that nobody has asked for have run. They may take up to one burst in advance, so that who
  // pipelines them gains nothing in the long run, and nobody is shut out for ever.
  void charge(std::uint64_t transactions, Time now);
  // When take() will succeed next, if nobody else takes meanwhile: now or later.
  Time next_at(Time now) const;
  // Whole tokens that are there.
  std::uint32_t left(Time now) const;
  // Those that are spent and have not come back, a part of one as well: with what was charged, more than the
  // burst.
  std::uint32_t spent_tokens(Time now) const;

  std::uint32_t per_minute() const { return per_minute_; }
  std::uint32_t burst() const { return burst_; }

 private:
  std::int64_t spent(Time now) const;

  // Units: a token is kToken, and per_minute of them come back with every microsecond.
  std::int64_t spent_ = 0;
  Time at_;
  std::uint32_t per_minute_;
  std::uint32_t burst_;
};

}  // namespace pgweir::tiers
