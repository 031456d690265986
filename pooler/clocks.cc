#include "pooler/clocks.h"

#include <fmt/format.h>

#include <algorithm>

#include "pooler/base/planted.h"

namespace pgweir {

namespace {
std::string in_seconds(Duration d) {
  return fmt::format("{:g}s", static_cast<double>(d.count() / 1000) / 1e3);
}

// Since when it runs; nothing: it does not.
std::optional<Time> began(Clock clock, const Holding& holding) {
  switch (clock) {
    case Clock::Statement:
      if (!holding.request_runs) return {};
      return std::max(holding.request_since, holding.statement_since);
    case Clock::Request:
      if (!holding.request_runs) return {};
      return holding.request_since;
    case Clock::IdleInTransaction:
      if (holding.request_runs || !holding.in_transaction) return {};
      return holding.request_since;
    case Clock::Transaction:
      if (!holding.request_runs && !holding.in_transaction) return {};
      return holding.transaction_since;
  }
  return {};
}
}  // namespace

ClockLimits clock_limits(const tiers::Tier& tier) {
  ClockLimits limits{};
  if (!tier.clocks) return limits;
  for (const ClockRow& row : kClocks)
    limits[static_cast<std::size_t>(row.clock)] =
        row.clock == Clock::Request ? tier.request_timeout : tiers::time_limit(*tier.ceilings, row.ceiling);
  return limits;
}

Duration nearest_alarm(const ClockLimits& limits) {
  Duration nearest = Duration::max();
  for (const Duration limit : limits)
    if (limit.count() > 0) nearest = std::min(nearest, limit + Clocks::kPostgresFirst);
  return nearest;
}

Time Clocks::due(Clock clock, Duration limit, const Holding& holding) const {
  if (limit.count() == 0) return kNever;
  const std::optional<Time> since = began(clock, holding);
  if (!since) return kNever;
  if (clock == Clock::Statement) limit *= std::max(holding.statements, 1U);
  const Time due = *since + limit + kPostgresFirst;
  return row_of(clock).cancels && canceled_since(*since) ? std::max(due, canceled_at_ + kCancelHelps) : due;
}

Time Clocks::due(const ClockLimits& limits, const Holding& holding) const {
  Time first = kNever;
  for (const ClockRow& row : kClocks)
    first = std::min(first, due(row.clock, limits[static_cast<std::size_t>(row.clock)], holding));
  return first;
}

std::optional<Clocks::Alarm> Clocks::look(const ClockLimits& limits, const Holding& holding, bool cancelable,
                                          Time now) {
  const ClockRow* alarmed = nullptr;
  Time first = kNever;
  for (const ClockRow& row : kClocks) {
    const Time at = due(row.clock, limits[static_cast<std::size_t>(row.clock)], holding);
    if (at > now || at >= first) continue;
    alarmed = &row;
    first = at;
  }
  if (!alarmed) return {};
  const Time since = *began(alarmed->clock, holding);
  const bool in_vain = canceled_since(since) && !PGWEIR_PLANTED(TRUST_CANCEL);
  const bool cancel = alarmed->cancels && cancelable && !in_vain;
  if (cancel) canceled_at_ = now;
  return Alarm{alarmed->clock, cancel, now - since,
               alarmed->clock == Clock::Statement ? std::max(holding.statements, 1U) : 1};
}

Error alarm_error(const Clocks::Alarm& alarm, const tiers::Tier& tier, Duration limit) {
  const ClockRow& row = row_of(alarm.clock);
  return {
      row.sqlstate,
      fmt::format("{} due to {} of tier \"{}\"",
                  alarm.cancel ? "canceling statement" : "terminating connection", row.ceiling, tier.name),
      fmt::format("The {} took {} by the pooler's clock; {} of tier {} is {}{}.", row.what,
                  in_seconds(alarm.ran), row.ceiling, tier.name, in_seconds(limit),
                  alarm.statements > 1 ? fmt::format(" for each of {}", alarm.statements) : ""),
      std::string(row.way_out)};
}

}  // namespace pgweir
