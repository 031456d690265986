// pooler/net/wall_clock.h - the time of day: for people to read, for certificates and tokens that others
// judge by their own, and for the day of a bill. It may be set at any time: what takes time goes by
// Loop::now().
#pragma once

#include <cstdint>
#include <ctime>

namespace pgweir::net {
inline std::int64_t wall_clock_s() {
  return static_cast<std::int64_t>(std::time(nullptr));
}  // since 1970, UTC
inline std::int64_t today() { return wall_clock_s() / (24 * 60 * 60); }  // the same in days
}  // namespace pgweir::net
