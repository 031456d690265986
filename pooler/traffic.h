// pooler/traffic.h - what has passed: of one tenant, of several together, and in the last minute.
#pragma once

#include <array>
#include <chrono>
#include <cstdint>
#include <utility>

#include "pooler/base/time.h"

namespace pgweir {

// Totals since the start, as SHOW STATS names them. Times in microseconds.
struct Traffic {
  std::uint64_t assignments = 0;
  std::uint64_t transactions = 0;
  std::uint64_t queries = 0;
  std::uint64_t received = 0;
  std::uint64_t sent = 0;
  std::uint64_t transaction_us = 0;
  std::uint64_t query_us = 0;
  std::uint64_t wait_us = 0;
  // Of named statements: Parses that clients sent, that servers were sent, and Binds.
  std::uint64_t client_parses = 0;
  std::uint64_t server_parses = 0;
  std::uint64_t binds = 0;
  std::uint64_t errors = 0;

  Traffic& operator+=(const Traffic& other) {
    for (const auto sum : kSums) this->*sum += other.*sum;
    return *this;
  }
  // What has passed since `before`, which was read earlier.
  friend Traffic operator-(Traffic now, const Traffic& before) {
    for (const auto sum : kSums) now.*sum -= before.*sum;
    return now;
  }
  friend bool operator==(const Traffic&, const Traffic&) = default;

  static const std::array<std::uint64_t Traffic::*, 12> kSums;
};
// Every one of them is in the sum.
static_assert(sizeof(Traffic) == 12 * sizeof(std::uint64_t));
inline constexpr std::array<std::uint64_t Traffic::*, 12> Traffic::kSums{
    &Traffic::assignments,   &Traffic::transactions,   &Traffic::queries,  &Traffic::received,
    &Traffic::sent,          &Traffic::transaction_us, &Traffic::query_us, &Traffic::wait_us,
    &Traffic::client_parses, &Traffic::server_parses,  &Traffic::binds,    &Traffic::errors};

// What passed in the last whole period, from which the avg_ figures are made; in the first period, what has
// passed of it.
class TrafficPeriod {
 public:
  static constexpr std::chrono::seconds kLength{60};

  explicit TrafficPeriod(Time now) : began_(now) {}
  void roll(const Traffic& now_total, Time now) {
    last_begin_ = std::exchange(begin_, now_total);
    last_end_ = now_total;
    length_ = now - std::exchange(began_, now);
  }
  struct View {
    Traffic from, to;
    Duration length;
  };
  View view(const Traffic& now_total, Time now) const {
    if (length_.count() > 0) return {last_begin_, last_end_, length_};
    return {begin_, now_total, now - began_};
  }

 private:
  Time began_;
  Traffic begin_, last_begin_, last_end_;
  Duration length_{};
};

}  // namespace pgweir
