// pooler/clocks.h - how long one client may hold a server: the time ceilings of its tier, on clocks of our
// own.
//
// Postgres has timers for them, too, and those come first by kPostgresFirst: they fit one statement, and who
// meets one keeps its connection. Ours hold where Postgres's do not run: in COMMIT and Sync, between an
// Execute and a Sync that does not come, while COPY waits for the client or the client does not read, behind
// a Flush, and in functions that catch the cancel.
//
//   Statement          since the request began, or since a statement of it was last seen to end
//   Request            since the request began, until its ReadyForQuery
//   IdleInTransaction  since the last ReadyForQuery, which said 'T' or 'E'
//   Transaction        since the server was lent, or since the last ReadyForQuery that said 'I'
//
// A request may have many statements, each within statement_timeout: a text of several, a batch of thousands
// of inserts. Honest clients send such, and when one of them ends cannot be seen, because Postgres keeps its
// answers back. So the clock of statements gives each that was not seen to end statement_timeout, and what
// bounds a request of many is transaction_timeout, or request_timeout where a tier has that.
//
// The first two ask for a cancel, and end the session when that has not helped within kCancelHelps.
#pragma once

#include <array>
#include <cstddef>
#include <cstdint>
#include <optional>
#include <string_view>

#include "pooler/base/error.h"
#include "pooler/base/time.h"
#include "tiers/tier.h"

namespace pgweir {

enum class Clock : std::uint8_t { Statement, Request, IdleInTransaction, Transaction };

struct ClockRow {
  Clock clock;
  std::string_view ceiling;
  const char* sqlstate;
  bool cancels;
  std::string_view what;  // took too long
  std::string_view way_out;
};
inline constexpr std::array kClocks{
    ClockRow{Clock::Statement, "statement_timeout", sqlstate::kQueryCanceled, true, "statement",
             "Make the statement faster, and read its rows without pauses."},
    ClockRow{Clock::Request, "request_timeout", sqlstate::kQueryCanceled, true, "request",
             "Send fewer statements at once."},
    ClockRow{Clock::IdleInTransaction, "idle_in_transaction_session_timeout",
             sqlstate::kIdleInTransactionTimeout, false, "pause in the transaction",
             "End transactions before waiting for something else."},
    ClockRow{Clock::Transaction, "transaction_timeout", sqlstate::kTransactionTimeout, false, "transaction",
             "Make transactions shorter."},
};
constexpr const ClockRow& row_of(Clock clock) { return kClocks[static_cast<std::size_t>(clock)]; }

using ClockLimits = std::array<Duration, kClocks.size()>;  // by Clock; 0: none
ClockLimits clock_limits(const tiers::Tier& tier);
// No clock that begins now is due sooner than after this; the longest time there is where none runs. So a
// timer that is armed for that time, or a nearer one, need not be looked at when one begins.
Duration nearest_alarm(const ClockLimits& limits);

// How a session holds its server.
struct Holding {
  Time transaction_since{}, request_since{}, statement_since{};  // each the last one that began or ended
  bool request_runs = false;                                     // until its ReadyForQuery
  bool in_transaction = false;                                   // by the last ReadyForQuery
  std::uint32_t statements = 0;  // of the request, that were not seen to end; at most
};

class Clocks {
 public:
  static constexpr Duration kPostgresFirst{500'000};
  static constexpr Duration kCancelHelps{200'000};

  struct Alarm {
    Clock clock;
    bool cancel;  // false: the session is to be ended
    Duration ran;
    std::uint32_t statements;  // that the clock of statements has given time to
  };

  // When to look; kNever where nothing is limited.
  Time due(const ClockLimits& limits, const Holding& holding) const;
  // Of several the one that was due first. A cancel is remembered. `cancelable`: Postgres owes the client an
  // answer; without that there is nothing to cancel.
  std::optional<Alarm> look(const ClockLimits& limits, const Holding& holding, bool cancelable, Time now);

 private:
  Time due(Clock clock, Duration limit, const Holding& holding) const;
  bool canceled_since(Time began) const { return canceled_at_ > began; }

  Time canceled_at_ = Time::min();
};

// What the client is told; `cancel` says of what kind the error is.
Error alarm_error(const Clocks::Alarm& alarm, const tiers::Tier& tier, Duration limit);

}  // namespace pgweir
