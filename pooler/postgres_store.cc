#include "pooler/postgres_store.h"

#include <algorithm>
#include <iterator>
#include <utility>

#include "pooler/base/quoted.h"

namespace pgweir {

PostgresStore::PostgresStore(net::UvLoop& loop, Rng& rng, Log& log, PostgresSettings settings,
                             Listener& listener)
    : loop_(loop),
      log_(log),
      settings_(std::move(settings)),
      listener_(listener),
      connection_(loop, rng, log, settings_, *this),
      timer_(this, [](void* self) { static_cast<PostgresStore*>(self)->expire(); }) {}

void PostgresStore::fetch(Of of, const std::string& name) {
  if (!tiers::is_postgres_text(name)) return listener_.on_no_row(of, name);
  // While nobody knows when it comes back, nobody should wait for it.
  if (connection_.down()) return listener_.on_failed(of, name);
  waiting_.push_back({of, name, loop_.now() + settings_.timeout});
  arm();
}

void PostgresStore::set(const std::string& tenant, const tiers::Change& change,
                        const tiers::Fields& /*whole*/, Done done) {
  order(tiers::postgres_set(tenant, change), true,
        [this, tenant, done = std::move(done)](const std::string& error) {
          done(error);
          // Postgres tells everybody, and so us; where its trigger is missing, at least we know.
          if (error.empty()) listener_.on_changed(tenant);
        });
}

void PostgresStore::put_usage(const std::string& key, const tiers::Fields& fields, Done done) {
  if (!tiers::is_postgres_text(key)) return done({});  // of a tenant whose name no table can have
  if (connection_.down()) return done("Postgres does not answer");
  usage_.push_back({{key, fields}, loop_.now(), std::move(done)});
}

void PostgresStore::try_usage(Done done) { order(tiers::postgres_try_usage(), false, std::move(done)); }

void PostgresStore::order(tiers::PostgresQuery query, bool must_find, Done done) {
  if (connection_.down()) return done("Postgres does not answer");
  orders_.push_back({std::move(query), loop_.now() + settings_.timeout, must_find, std::move(done)});
  arm();
}

void PostgresStore::flush() {
  if (answering_ || !connection_.free()) return;
  const bool usage_first = usage_is_late() && !usage_went_;
  usage_went_ = false;
  if (!usage_first && !waiting_.empty()) return ask_for_rows();
  if (!usage_first && !orders_.empty()) {
    ordered_ = std::move(orders_.front());
    orders_.pop_front();
    return connection_.ask(ordered_->query);
  }
  if (!usage_.empty()) write_usage();
}

bool PostgresStore::usage_is_late() const {
  return !usage_.empty() && loop_.now() - usage_.front().since >= settings_.timeout;
}

// No row waits for ever: each question has a deadline, and who is not connected in time is down.
void PostgresStore::write_usage() {
  usage_went_ = true;
  std::vector<tiers::PostgresUsage> rows;
  while (!usage_.empty() && rows.size() < usage_together_.is()) {
    rows.push_back(usage_.front().row);
    writing_.push_back(std::move(usage_.front()));
    usage_.pop_front();
  }
  connection_.ask(tiers::postgres_put_usage(rows));
}

void PostgresStore::usage_written(std::vector<Usage> rows, const PostgresAnswer& answer) {
  const bool good = answer.sqlstate.empty();
  if (good) {
    order_refused_ = false;
    usage_together_.good(rows.size());
  } else if (tiers::postgres_was_slow(answer.sqlstate)) {
    usage_together_.too_slow(rows.size());
  } else if (rows.size() > 1) {
    usage_together_.refused(rows.size());
    if (tiers::postgres_refuses_row(answer.sqlstate)) {
      usage_.insert(usage_.begin(), std::make_move_iterator(rows.begin()),
                    std::make_move_iterator(rows.end()));
      return;
    }
  }
  if (!good) complain("tenant store refuses to be changed", order_refused_, answer);
  const std::string error = good ? std::string() : quoted(answer.error);
  for (const Usage& one : rows) one.done(error);
}

// The oldest, and what can go with it.
void PostgresStore::ask_for_rows() {
  const Of of = waiting_.front().of;
  const bool alone = waiting_.front().alone;
  std::vector<std::string> names;
  while (!waiting_.empty() && waiting_.front().of == of && waiting_.front().alone == alone &&
         names.size() < (alone ? 1 : kAtOnceMax)) {
    names.push_back(waiting_.front().name);
    asked_.push_back(std::move(waiting_.front()));
    waiting_.pop_front();
  }
  connection_.ask(tiers::postgres_fetch(
      of == Of::Tier ? tiers::PostgresTable::Tiers : tiers::PostgresTable::Tenants, names));
}

void PostgresStore::on_postgres_up() {
  listener_.on_changed("*");  // what was missed
  flush();
}

void PostgresStore::on_postgres_answer(PostgresAnswer answer) {
  answering_ = true;
  if (!asked_.empty()) {
    fetched(std::exchange(asked_, {}), std::move(answer));
  } else if (!writing_.empty()) {
    usage_written(std::exchange(writing_, {}), answer);
  } else {
    const Order done = *std::exchange(ordered_, {});
    if (answer.sqlstate.empty()) {
      order_refused_ = false;
      done.done(done.must_find && answer.rows.empty() ? "its table has no such tenant" : std::string());
    } else {
      complain("tenant store refuses to be changed", order_refused_, answer);
      done.done(quoted(answer.error));
    }
  }
  answering_ = false;
  flush();
}

void PostgresStore::fetched(std::vector<Fetch> asked, PostgresAnswer answer) {
  if (answer.sqlstate.empty()) {
    refused_ = false;
    std::vector<std::string> names;
    for (const Fetch& one : asked) names.push_back(one.name);
    std::vector<Expected<tiers::Fields>> rows = tiers::postgres_fields(names, std::move(answer.rows));
    for (std::size_t i = 0; i < asked.size(); ++i) listener_.on_row(asked[i].of, asked[i].name, rows[i]);
    return;
  }
  const bool garbage = tiers::postgres_blames_row(answer.sqlstate);
  if (!garbage) complain("tenant store refuses to answer", refused_, answer);
  // Backwards, so that they stand in their order again.
  for (auto one = asked.rbegin(); one != asked.rend(); ++one) {
    if (garbage && asked.size() > 1) {
      one->alone = true;
      waiting_.push_front(std::move(*one));
    } else if (garbage) {
      listener_.on_row(one->of, one->name,
                       fail(sqlstate::kConfigFileError, "is not to be read: " + quoted(answer.error)));
    } else {
      listener_.on_failed(one->of, one->name);
    }
  }
  arm();
}

void PostgresStore::complain(const char* event, bool& complained, const PostgresAnswer& answer) {
  if (!std::exchange(complained, true))
    log_.warn(event, {{"error", quoted(answer.error)},
                      {"sqlstate", answer.sqlstate},
                      {"hint", tiers::postgres_hint(answer.sqlstate)}});
}

void PostgresStore::on_postgres_down() {
  std::vector<Fetch> fetches = std::exchange(asked_, {});
  for (Fetch& one : std::exchange(waiting_, {})) fetches.push_back(std::move(one));
  std::deque<Order> orders = std::exchange(orders_, {});
  if (ordered_) orders.push_front(*std::exchange(ordered_, {}));
  std::vector<Usage> usage = std::exchange(writing_, {});
  if (!usage.empty()) usage_together_.too_slow(usage.size());  // they may have been
  for (Usage& one : std::exchange(usage_, {})) usage.push_back(std::move(one));
  for (const Fetch& one : fetches) listener_.on_failed(one.of, one.name);
  for (const Order& one : orders) one.done("Postgres does not answer");
  for (const Usage& one : usage) one.done("Postgres does not answer");
}

void PostgresStore::arm() {
  Time due = kNever;
  if (!waiting_.empty()) due = waiting_.front().deadline;
  if (!orders_.empty()) due = std::min(due, orders_.front().deadline);
  if (due != kNever && (!timer_.armed() || timer_.at() > due)) loop_.arm(timer_, due);
}

// What could not be asked in time, because much is under way or the login takes long.
void PostgresStore::expire() {
  const Time now = loop_.now();
  while (!waiting_.empty() && waiting_.front().deadline <= now) {
    const Fetch late = std::move(waiting_.front());
    waiting_.pop_front();
    listener_.on_failed(late.of, late.name);
  }
  while (!orders_.empty() && orders_.front().deadline <= now) {
    const Order late = std::move(orders_.front());
    orders_.pop_front();
    late.done("Postgres does not answer");
  }
  arm();
}

}  // namespace pgweir
