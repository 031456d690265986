// pooler/session_clock.cc - Session: how long things take, and what happens when they take too long.
#include <fmt/format.h>

#include <algorithm>

#include "pooler/group.h"
#include "pooler/server.h"
#include "pooler/session.h"
#include "pooler/slow_transaction.h"
#include "pooler/worker.h"
#include "protocol/messages.h"
#include "tiers/limit.h"

namespace pgweir {

using State = SessionCore::State;

namespace {
// A request that is not allowed to take its database is refused before; Postgres gives others 5 s to leave.
constexpr std::chrono::milliseconds kTaking{300};
constexpr std::chrono::seconds kSilent{1};  // of a server that is asked; most answers are there before

std::string in_seconds(Duration d) { return fmt::format("{:g}s", static_cast<double>(d.count()) / 1e6); }
std::string was_allowed(const char* did, Duration took, Duration limit) {
  return fmt::format("{} {}; {} are allowed.", did, in_seconds(took), in_seconds(limit));
}
Time after(Time since, Duration limit) { return limit.count() > 0 ? since + limit : kNever; }

// Whether any of those that due() asks for is set.
bool limits_time(const conf::Config& config) {
  return (config.client_idle_timeout.count() | config.query_timeout.count() |
          config.transaction_timeout.count() | config.idle_transaction_timeout.count()) != 0;
}
}  // namespace

void Session::follow_slow(Duration waited) {
  if (tenant_.record.limits.slow_transaction.count() > 0 && !core_.trail())
    core_.keep_trail(std::make_unique<RequestTrail>(waited));
}

// The transaction is over, in one way or another.
void Session::tell_slow(const char* outcome) {
  const RequestTrail& trail = *core_.trail();
  const Duration held = worker_.loop().now() - since_;
  const std::chrono::milliseconds most = tenant_.record.limits.slow_transaction;
  if (!trail.empty() && most.count() > 0 && held > most)
    worker_.tell_slow({tenant_.record.name, tenant_.record.limits.name, user(), stream_->peer().host, id_,
                       outcome, held, trail.waited(), trail.requests(), trail.longest_took(),
                       trail.longest()});
  core_.keep_trail(nullptr);
}

void Session::note_time(const Actions& out) {
  Traffic& traffic = tenant_.traffic;
  traffic.queries += out.queries;
  if (out.queries == 0 && out.transactions == 0) {
    if (out.statements > 0) statement_since_ = worker_.loop().now();
    return;
  }
  // Those that came without asking for a server: behind another one, or of a client that keeps it.
  if (tenant_.throttle && out.ends > 0)
    tenant_.throttle->charge(out.ends - (std::exchange(paid_, false) ? 1 : 0));
  const Time now = worker_.loop().now();
  const auto query_us = static_cast<std::uint64_t>((now - busy_since_).count());
  traffic.query_us += query_us;
  if (out.queries > 0) tenant_.meter->query.add(query_us, out.queries);
  if (core_.trail()) core_.trail()->answered(out.queries, Duration(query_us));
  busy_since_ = now;
  if (out.ends > 0) transaction_since_ = now;
  if (out.transactions == 0) return;
  const auto transaction_us = static_cast<std::uint64_t>((now - since_).count());
  traffic.transactions += out.transactions;
  traffic.transaction_us += transaction_us;
  tenant_.meter->transaction.add(transaction_us, out.transactions);
  if (core_.trail()) tell_slow("done");
  since_ = now;
}

// The timer is armed for the earliest deadline that was ever known and asks again when it fires: a
// transaction that begins and ends touches no timer.
void Session::arm() {
  // Nearly always nothing has an end.
  const bool unending = tenant_.nearest_alarm == Duration::max() && !limits_time(worker_.config());
  if (unending && !more_ && core_.state() != State::Waiting) return;
  const Time due = deadline();
  if (due == kNever) return;
  if (!timer_.armed() || timer_.at() > due) worker_.loop().arm(timer_, due);
}

Time Session::deadline() const {
  const Time at_once{};  // what is now would be rounded up to a millisecond
  return more_ && !closing_ && !choked() ? at_once : due();
}

// Whatever it has to go on with.
Time Session::due() const {
  const conf::Config& config = worker_.config();
  const Time at_once{};
  switch (core_.state()) {
    case State::Idle: return after(since_, config.client_idle_timeout);
    case State::Waiting: {
      if (refuses()) return at_once;
      Time due = queue_end();
      if (!noticed_ && !refuse_) due = std::min(due, since_ + tiers::kNoticeAfter);
      return due;
    }
    case State::Linked: {
      if (core_.untimed()) return kNever;
      if (core_.resting()) return after(since_, config.client_idle_timeout);
      const ServerCore& server = *core_.server();
      Time due = after(since_, config.transaction_timeout);
      if (!alarm_is_near()) due = std::min(due, clocks_.due(tenant_.clocks, holding()));
      if (!server.pipeline.empty()) {
        return std::min(due, after(busy_since_, config.query_timeout));
      }
      if (server.tx_status != 'I') return std::min(due, after(busy_since_, config.idle_transaction_timeout));
      return due;
    }
    case State::Closed: return kNever;
  }
  return kNever;
}

// The timer comes in time for all clocks: for those that it was armed for, and for those that have begun
// since.
bool Session::alarm_is_near() const {
  if (tenant_.nearest_alarm == Duration::max()) return true;
  return timer_.armed() && timer_.at() - worker_.loop().now() <= tenant_.nearest_alarm;
}

Holding Session::holding() const {
  const ServerCore& server = *core_.server();
  return {transaction_since_,      busy_since_,
          statement_since_,        !server.pipeline.empty(),
          server.tx_status != 'I', core_.statements_left()};
}

// Of the statement that runs, for a line that tells of it.
protocol::TraceContext Session::trace() const {
  return core_.trail() ? trace_of(core_.trail()->current()) : protocol::TraceContext{};
}

void Session::on_alarm(const Clocks::Alarm& alarm) {
  const ClockRow& row = row_of(alarm.clock);
  const auto index = static_cast<std::size_t>(alarm.clock);
  const Error why = alarm_error(alarm, tenant_.record.limits, tenant_.clocks[index]);
  tenant_.guard.note(
      {.parameter = row.ceiling, .route = alarm.cancel ? CeilingRoute::Canceled : CeilingRoute::Ended});
  count_error();
  const protocol::TraceContext traced = trace();
  worker_.log().info("ceiling_clock", {{"tenant", tenant_.record.name},
                                       {"tier", tenant_.record.limits.name},
                                       {"client", id_},
                                       {"ceiling", row.ceiling},
                                       {"did", alarm.cancel ? "cancel" : "end"},
                                       {"ran_ms", alarm.ran.count() / 1000},
                                       LogField::ours("trace.id", traced.trace_id),
                                       LogField::ours("span.id", traced.span_id)});
  if (AuditStream* audit = worker_.audit())
    audit->record(AuditEvent::CeilingClock, AuditOutcome::Failure,
                  {{AuditKey::User, user()},
                   {AuditKey::Address, stream_->peer().host},
                   {AuditKey::Port, stream_->peer().port},
                   {AuditKey::Tenant, tenant_.record.name},
                   {AuditKey::Tier, tenant_.record.limits.name},
                   {AuditKey::Client, id_},
                   {AuditKey::Parameter, row.ceiling},
                   {AuditKey::Did, alarm.cancel ? "cancel" : "end"},
                   {AuditKey::RanMs, alarm.ran.count() / 1000}});
  if (!alarm.cancel) return end(why);
  core_.canceling(why);
  cancel([] {});
  arm();
}

// Until when it waits for a server, or for its tenant's rate. What it has waited for Postgres to come up is
// not held against it.
Time Session::queue_end() const {
  const conf::Config& config = worker_.config();
  const Duration queue_timeout = tenant_.record.limits.queue_timeout;
  const Time own = throttled_        ? after(since_, queue_timeout)
                   : group_.waking() ? after(since_, config.wake_timeout)
                                     : after(since_ + group_.woken_since(since_), queue_timeout);
  return std::min(after(since_, config.query_wait_timeout), own);
}

void Session::watch_server() {
  if (closing_ || suspended_ || core_.state() != State::Linked || core_.untimed()) return;
  if (server_->core.pipeline.empty()) return;
  const Duration busy = worker_.loop().now() - busy_since_;
  if (busy >= kTaking && !server_->core.database_taken.empty())
    worker_.leave_database(group_.key().backend, std::exchange(server_->core.database_taken, {}));
  if (!server_->watched() && busy >= kSilent) server_->watch(true);
}

void Session::on_timer() {
  if (closing_ || suspended_) return;
  const Time now = worker_.loop().now();
  if (deadline() > now) return arm();
  if (more_ && !choked() && (core_.state() != State::Linked || due() > now)) return go_on();
  const conf::Config& config = worker_.config();
  switch (core_.resting() ? State::Idle : core_.state()) {
    case State::Idle:
      return end({sqlstate::kIdleSessionTimeout, "terminating connection due to client.idle_timeout",
                  was_allowed("The session was idle for", now - since_, config.client_idle_timeout),
                  "Connect again when it is needed, or raise client.idle_timeout."});
    case State::Waiting: {
      const Time full = queue_end();
      const Error why = why_waiting();
      if (now >= full || refuses()) {
        if (!throttled_ && !crowded_ && !core_.walsender()) count_ceiling();  // reached while it waited
        leave_queue();
        return on_refused(why);
      }
      noticed_ = true;
      std::string notice;
      protocol::put_notice(notice,
                           "still waiting for " +
                               std::string(throttled_ ? "its turn: " : "a server connection: ") + why.message,
                           why.hint, why.detail);
      stream_->write(notice);
      return arm();
    }
    case State::Linked: {
      if (const auto alarm =
              clocks_.look(tenant_.clocks, holding(), core_.server()->pipeline.owes_client(), now))
        return on_alarm(*alarm);
      count_error();
      const ServerCore& server = *core_.server();
      if (now >= after(since_, config.transaction_timeout))
        return end({sqlstate::kTransactionTimeout, "terminating connection due to client.transaction_timeout",
                    was_allowed("The transaction ran for", now - since_, config.transaction_timeout),
                    "Make transactions shorter, or raise client.transaction_timeout."});
      if (!server.pipeline.empty())
        return end({sqlstate::kQueryCanceled, "terminating connection due to client.query_timeout",
                    was_allowed("The request ran for", now - busy_since_, config.query_timeout),
                    "Make the query faster, or raise client.query_timeout."});
      return end(
          {sqlstate::kIdleInTransactionTimeout,
           "terminating connection due to client.idle_transaction_timeout",
           was_allowed("The transaction was idle for", now - busy_since_, config.idle_transaction_timeout),
           "End transactions before waiting, or raise client.idle_transaction_timeout."});
    }
    case State::Closed: return;
  }
}

}  // namespace pgweir
