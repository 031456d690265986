// pooler/retry.h - how long after a failure the next try is made, while somebody waits for it to succeed.
//
// After a short outage those who wait are served soon, after a long one Postgres is not stormed. Half of the
// pause is by chance, so that not all come back at once.
#pragma once

#include <algorithm>
#include <chrono>
#include <cstdint>

#include "pooler/base/time.h"

namespace pgweir {

inline constexpr Duration kLongestRetry = std::chrono::seconds(1);
inline constexpr int kRetryPart = 10;  // of the time since the first failure, until the next try

inline Duration retry_pause(Duration down_for, Duration shortest, std::uint64_t dice) {
  const Duration longest =
      std::clamp(down_for / kRetryPart, shortest, std::max(shortest, Duration(kLongestRetry)));
  const auto half = static_cast<std::uint64_t>(longest.count() / 2);
  return longest / 2 + Duration(static_cast<std::int64_t>(dice % (half + 1)));
}

}  // namespace pgweir
