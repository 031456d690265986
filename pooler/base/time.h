// pooler/base/time.h - monotonic time in microseconds. It has no now(): whoever needs the time is given a
// loop.
#pragma once

#include <chrono>

namespace pgweir {

struct MonotonicClock {
  using duration = std::chrono::microseconds;
  using rep = duration::rep;
  using period = duration::period;
  using time_point = std::chrono::time_point<MonotonicClock>;
  static constexpr bool is_steady = true;
};

using Time = MonotonicClock::time_point;
using Duration = MonotonicClock::duration;
inline constexpr Time kNever = Time::max();

}  // namespace pgweir
