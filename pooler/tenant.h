// pooler/tenant.h - one tenant while it is active: its limits and how much of them is in use.
//
// Lives on the worker that is the home of its database, with all of its sessions; plain counters suffice.
#pragma once

#include <chrono>
#include <cstdint>
#include <string>
#include <utility>
#include <vector>

#include "pooler/base/error.h"
#include "pooler/base/list.h"
#include "pooler/base/time.h"
#include "pooler/pins.h"
#include "pooler/startup_settings.h"
#include "tiers/tier.h"

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
    for (const auto sum :
         {&Traffic::assignments, &Traffic::transactions, &Traffic::queries, &Traffic::received,
          &Traffic::sent, &Traffic::transaction_us, &Traffic::query_us, &Traffic::wait_us,
          &Traffic::client_parses, &Traffic::server_parses, &Traffic::binds, &Traffic::errors})
      this->*sum += other.*sum;
    return *this;
  }
  friend bool operator==(const Traffic&, const Traffic&) = default;
};
// Every one of them is in the sum.
static_assert(sizeof(Traffic) == 12 * sizeof(std::uint64_t));

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

class Group;

struct Tenant : ListLink<Tenant> {
  tiers::Tenant record;        // replaced by Worker alone, because of:
  StartupRef startup;          // what servers must have been opened with that it is lent
  std::vector<Group*> groups;  // that its sessions are in: one per user
  std::uint32_t clients = 0;
  std::uint32_t lent = 0;  // servers that its sessions hold
  bool paused = false;     // PAUSE: whoever asks for a server waits
  PinBook pins{record};
  Traffic traffic;
  TrafficPeriod period;

  explicit Tenant(Time now) : period(now) {}
  bool ended() const { return record.state != tiers::TenantState::Active; }
  // What its clients are told then: who logs in, and who is connected.
  Error why_refused() const;
  Error why_ended() const;
  bool may_have_server() const { return !paused && lent < record.limits.max_server_connections; }
};

}  // namespace pgweir
