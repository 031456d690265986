// pooler/net/wall_clock.h - the time of day, for people to read. Nothing is decided by it: Loop::now() is for
// that.
#pragma once

#include <cstdint>
#include <ctime>

namespace pgweir::net {
inline std::int64_t wall_clock_s() {
  return static_cast<std::int64_t>(std::time(nullptr));
}  // since 1970, UTC
inline std::int64_t today() { return wall_clock_s() / (24 * 60 * 60); }  // the same in days
}  // namespace pgweir::net
