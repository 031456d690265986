// pooler/traffic.h - what has passed: of one tenant, of several together, and in the last minute.
#pragma once

#include <algorithm>
#include <array>
#include <chrono>
#include <cstdint>
#include <utility>

#include "pooler/base/time.h"
#include "tiers/limit.h"

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
  std::uint64_t connections = 0;  // of clients
  std::uint64_t server_us = 0;    // connections to Postgres, each as long as it was open
  std::uint64_t pinned = 0;       // clients that came to keep a server
  std::uint64_t unpinned = 0;     // ... and gave it back
  // Times that a limit was hit, by tiers::Limit.
  std::uint64_t client_hits = 0;
  std::uint64_t server_hits = 0;
  std::uint64_t rate_hits = 0;
  std::uint64_t pin_hits = 0;
  std::uint64_t waiting_hits = 0;
  std::uint64_t statement_hits = 0;
  std::uint64_t statement_byte_hits = 0;

  std::uint64_t limit_hits() const {
    return client_hits + server_hits + rate_hits + pin_hits + waiting_hits + statement_hits +
           statement_byte_hits;
  }

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

  static const std::array<std::uint64_t Traffic::*, 23> kSums;
};
// Every one of them is in the sum.
static_assert(sizeof(Traffic) == 23 * sizeof(std::uint64_t));
inline constexpr std::array<std::uint64_t Traffic::*, 23> Traffic::kSums{&Traffic::assignments,
                                                                         &Traffic::transactions,
                                                                         &Traffic::queries,
                                                                         &Traffic::received,
                                                                         &Traffic::sent,
                                                                         &Traffic::transaction_us,
                                                                         &Traffic::query_us,
                                                                         &Traffic::wait_us,
                                                                         &Traffic::client_parses,
                                                                         &Traffic::server_parses,
                                                                         &Traffic::binds,
                                                                         &Traffic::errors,
                                                                         &Traffic::connections,
                                                                         &Traffic::server_us,
                                                                         &Traffic::pinned,
                                                                         &Traffic::unpinned,
                                                                         &Traffic::client_hits,
                                                                         &Traffic::server_hits,
                                                                         &Traffic::rate_hits,
                                                                         &Traffic::pin_hits,
                                                                         &Traffic::waiting_hits,
                                                                         &Traffic::statement_hits,
                                                                         &Traffic::statement_byte_hits};

constexpr std::uint64_t Traffic::*hits_of(tiers::Limit limit) {
  switch (limit) {
    case tiers::Limit::Clients: return &Traffic::client_hits;
    case tiers::Limit::Servers: return &Traffic::server_hits;
    case tiers::Limit::Rate: return &Traffic::rate_hits;
    case tiers::Limit::Pins: return &Traffic::pin_hits;
    case tiers::Limit::Waiting: return &Traffic::waiting_hits;
    case tiers::Limit::Statements: return &Traffic::statement_hits;
    case tiers::Limit::StatementBytes: return &Traffic::statement_byte_hits;
  }
  return nullptr;
}

// What passed in the last whole period, from which the avg_ figures are made; in the first period, what has
// passed of it. The periods of all tenants of a worker end together, so the first of a tenant may be a few
// milliseconds: rates are of kLength at least, or one query would be told as a thousand a minute.
class TrafficPeriod {
 public:
  static constexpr std::chrono::seconds kLength{60};

  explicit TrafficPeriod(Time now) : began_(now) {}
  void roll(const Traffic& now_total, Time now) {
    last_begin_ = std::exchange(begin_, now_total);
    last_end_ = now_total;
    length_ = now - std::exchange(began_, now);
  }
  // The totals when the period that runs began.
  const Traffic& begin() const { return begin_; }
  struct View {
    Traffic from, to;
    Duration length = kLength;  // or more
  };
  View view(const Traffic& now_total, Time now) const {
    if (length_.count() > 0) return {last_begin_, last_end_, std::max<Duration>(length_, kLength)};
    return {begin_, now_total, std::max<Duration>(now - began_, kLength)};
  }
  double queries_per_minute(const Traffic& now_total, Time now) const {
    const View last = view(now_total, now);
    return static_cast<double>(last.to.queries - last.from.queries) * 60e6 /
           static_cast<double>(last.length.count());
  }
  // Of that, how long its transactions have run or waited.
  std::uint64_t busy_us(const Traffic& now_total) const {
    const auto between = [](const Traffic& from, const Traffic& to) {
      return to.transaction_us - from.transaction_us + to.wait_us - from.wait_us;
    };
    return length_.count() > 0 ? between(last_begin_, last_end_) : between(begin_, now_total);
  }

 private:
  Time began_;
  Traffic begin_, last_begin_, last_end_;
  Duration length_{};
};

}  // namespace pgweir
