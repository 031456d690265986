#include "pooler/console.h"

#include <fmt/format.h>

#include <algorithm>
#include <atomic>
#include <deque>
#include <utility>

#include "pooler/app.h"
#include "pooler/base/check.h"
#include "pooler/console_core.h"
#include "pooler/console_report.h"
#include "pooler/net/wall_clock.h"
#include "pooler/version.h"
#include "pooler/worker.h"
#include "protocol/frame.h"
#include "protocol/messages.h"

namespace pgweir {

using console::Action;
using console::Report;
using console::Request;
using console::Role;

namespace {

// The console that we speak like: tools look at the number.
constexpr const char* kCompatible = "1.25.2";
constexpr std::uint32_t kConsoleIds = 1u << 30;  // sessions have ids below it
constexpr std::chrono::milliseconds kPauseLook{20};
constexpr std::size_t kUnsentMax = 64 << 10;  // the next request waits until the last one's rows are gone

std::string version() { return fmt::format("{}/pgweir-{}", kCompatible, kVersion); }

std::uint32_t message_limit(char type) {
  const std::uint32_t limit = protocol::client_message_limit(type);
  return std::min<std::uint32_t>(limit, ConsoleSession::kQueryMax);
}

bool is_extended(char type) { return Bytes("PBDEC").find(type) != Bytes::npos; }

}  // namespace

bool is_console_database(Bytes name) { return name == "pgweir" || name == "pgbouncer"; }

struct ConsoleSession::State : std::enable_shared_from_this<ConsoleSession::State> {
  State(Worker& w, std::unique_ptr<net::Stream> c, std::string u)
      : worker(w),
        stream(std::move(c)),
        user(std::move(u)),
        connected_at(w.loop().now()),
        id(kConsoleIds | static_cast<std::uint32_t>(w.rng().below(kConsoleIds))),
        pause_timer(this, [](void* self) { static_cast<State*>(self)->look_at_pause(); }) {}

  void greet();
  void pump();
  void message(char type, Bytes body);
  void query(Bytes text);
  void next();
  void run(const Request& request);
  void show(Action action, const Report& report);
  void pause_or_resume(const Request& request);
  void look_at_pause();
  void reload();
  void shut_down();
  void done();
  void failed(const Error& error);
  void end_turn();
  void violation(const char* what);
  void close(const Error& error);
  Role role() const;

  // Runs `then` here, on the console's thread, unless the console is gone by then.
  template <class Then>
  auto if_here(Then then) {
    return [weak = weak_from_this(), then = std::move(then)](auto&&... arguments) {
      if (const auto state = weak.lock(); state && !state->closing)
        then(*state, std::forward<decltype(arguments)>(arguments)...);
    };
  }
  // Calls `task` on every worker's thread, and then `then` on this one.
  void on_all_workers(std::function<void(Worker&)> task, std::function<void()> then);

  Worker& worker;
  std::unique_ptr<net::Stream> stream;
  std::string user;
  Time connected_at;
  std::uint32_t id;
  net::Timer pause_timer;
  std::string held;
  std::deque<Request> requests;  // the front one runs
  std::string pausing;           // the tenant of the PAUSE that runs; empty: all
  char tx_status = 'I';
  bool running = false;    // the front request has not been answered
  bool turn_over = false;  // one has been answered; the loop serves others before the next
  bool reads_paused = false;
  bool skip_to_sync = false;  // an error stands in an extended batch
  bool closing = false;
};

ConsoleSession::ConsoleSession(Worker& worker, std::unique_ptr<net::Stream> stream, std::string user)
    : state_(std::make_shared<State>(worker, std::move(stream), std::move(user))) {
  state_->stream->set_handler(*this);
}

ConsoleSession::~ConsoleSession() = default;

void ConsoleSession::start(Bytes held) {
  state_->greet();
  if (!held.empty()) on_bytes(held);
}

void ConsoleSession::end() {
  state_->close({sqlstate::kAdminShutdown, "terminating connection: the pooler is shutting down", {}, {}});
}

const std::string& ConsoleSession::user() const { return state_->user; }
const net::Stream& ConsoleSession::stream() const { return *state_->stream; }
Time ConsoleSession::connected_at() const { return state_->connected_at; }
std::uint32_t ConsoleSession::id() const { return state_->id; }

void ConsoleSession::on_bytes(Bytes in) {
  if (state_->closing) return;
  state_->held.append(in);
  state_->pump();
}

void ConsoleSession::on_drained() {
  if (!state_->closing) state_->next();
}

void ConsoleSession::on_closed(const net::Closed&) {
  state_->closing = true;
  state_->worker.console_ended(*this);
}

void ConsoleSession::State::greet() {
  std::string out;
  const std::pair<const char*, std::string> parameters[] = {
      {"server_version", version()},
      {"client_encoding", "UTF8"},
      {"server_encoding", "UTF8"},
      {"DateStyle", "ISO"},
      {"TimeZone", "UTC"},
      {"standard_conforming_strings", "on"},
      {"is_superuser", role() == Role::Admin ? "on" : "off"}};
  for (const auto& [name, value] : parameters) protocol::put_parameter_status(out, name, value);
  char key[4];
  worker.rng().fill(key, sizeof key);
  protocol::put_backend_key(out, id, Bytes(key, sizeof key));
  protocol::put_ready(out, tx_status);
  stream->write(out);
}

Role ConsoleSession::State::role() const {
  const Snapshot& snapshot = worker.snapshot();  // a reload may have taken it away
  if (snapshot.is_admin(user)) return Role::Admin;
  return snapshot.is_console_user(user) ? Role::Stats : Role::None;
}

void ConsoleSession::State::pump() {
  std::size_t used = 0;
  while (!closing && !turn_over && requests.empty() && held.size() - used >= protocol::kHeaderBytes) {
    const Bytes rest = Bytes(held).substr(used);
    protocol::Frame frame;
    if (!protocol::read_header(rest, message_limit, frame)) {
      const bool long_query = message_limit(frame.type) == kQueryMax && frame.size > kQueryMax;
      violation(long_query ? "a query of the console has at most 64 kB" : "unknown message or length");
      break;
    }
    if (rest.size() < frame.size) break;
    used += frame.size;
    message(frame.type, rest.substr(protocol::kHeaderBytes, frame.size - protocol::kHeaderBytes));
  }
  held.erase(0, used);
  if (closing || reads_paused == (held.size() > kQueryMax + protocol::kHeaderBytes)) return;
  reads_paused = !reads_paused;
  if (reads_paused)
    stream->pause_reads();
  else
    stream->resume_reads();
}

void ConsoleSession::State::message(char type, Bytes body) {
  std::string out;
  if (type == 'X') {
    closing = true;
    return stream->close();
  }
  if (type == 'S') {
    skip_to_sync = false;
    protocol::put_ready(out, tx_status);
    return stream->write(out);
  }
  if (skip_to_sync || type == 'H') return;
  if (type == 'Q') {
    protocol::Reader reader(body);
    const Bytes text = reader.c_string();
    if (!reader.ok() || !reader.empty()) return violation("malformed Query message");
    return query(text);
  }
  if (!is_extended(type) && type != 'F') return violation("a message that has no place here");
  protocol::put_error(
      out, "ERROR",
      Error{sqlstate::kFeatureNotSupported,
            "the console does not speak the extended query protocol",
            {},
            "Send simple queries; in psycopg use a ClientCursor, in pgjdbc preferQueryMode=simple."});
  skip_to_sync = type != 'F';
  if (!skip_to_sync) protocol::put_ready(out, tx_status);
  stream->write(out);
}

void ConsoleSession::State::query(Bytes text) {
  auto parsed = console::parse(text);
  std::string out;
  if (!parsed) {
    protocol::put_error(out, "ERROR", parsed.error());
  } else if (parsed->empty()) {
    protocol::Writer(out, 'I');  // EmptyQueryResponse
  } else {
    requests.assign(std::make_move_iterator(parsed->begin()), std::make_move_iterator(parsed->end()));
    return next();
  }
  protocol::put_ready(out, tx_status);
  stream->write(out);
}

// Runs the front request, unless one runs already or the client has not taken what there is.
void ConsoleSession::State::next() {
  if (running || turn_over || requests.empty() || stream->unsent() > kUnsentMax) return;
  running = true;
  run(requests.front());
}

void ConsoleSession::State::done() {
  std::string out;
  protocol::put_command_complete(out, requests.front().command->tag);
  requests.pop_front();
  running = false;
  if (requests.empty()) protocol::put_ready(out, tx_status);
  stream->write(out);
  end_turn();
}

void ConsoleSession::State::failed(const Error& error) {
  std::string out;
  protocol::put_error(out, "ERROR", error);
  protocol::put_ready(out, tx_status);
  requests.clear();
  running = false;
  stream->write(out);
  end_turn();
}

void ConsoleSession::State::end_turn() {
  turn_over = true;
  worker.loop().post(if_here([](State& state) {
    state.turn_over = false;
    state.next();
    state.pump();
  }));
}

void ConsoleSession::State::run(const Request& request) {
  const console::Command& command = *request.command;
  if (!console::may(role(), command))
    return failed({sqlstate::kInsufficientPrivilege,
                   fmt::format("user \"{}\" may not use {}", user, command.words),
                   {},
                   "Users named in console.admins may use all commands, those in console.stats only SHOW."});
  std::string out;
  switch (command.action) {
    case Action::ShowConfig:
    case Action::ShowVersion:
    case Action::ShowHelp: return show(command.action, {});
    case Action::ShowClients:
    case Action::ShowDatabases:
    case Action::ShowLists:
    case Action::ShowPinnedClients:
    case Action::ShowPins:
    case Action::ShowPools:
    case Action::ShowServers:
    case Action::ShowState:
    case Action::ShowStats:
    case Action::ShowStatsAverages:
    case Action::ShowStatsTotals:
    case Action::ShowTotals:
      return console::gather(
          worker, command.action,
          if_here([action = command.action](State& state, Report report) { state.show(action, report); }));
    case Action::Pause:
    case Action::Resume: return pause_or_resume(request);
    case Action::Reload: return reload();
    case Action::Shutdown: return shut_down();
    case Action::Set: return done();
    case Action::Begin: tx_status = 'T'; return done();
    case Action::End: tx_status = 'I'; return done();
    case Action::SelectOne: console::put_value(out, "?column?", protocol::kInt4Oid, "1"); break;
    case Action::SelectVersion:
      console::put_value(out, "version", protocol::kTextOid, "PgBouncer " + version());
      break;
  }
  stream->write(out);
  done();
}

void ConsoleSession::State::show(Action action, const Report& report) {
  std::string out;
  switch (action) {
    case Action::ShowClients:
    case Action::ShowServers: console::put_connections(out, report.connections, net::wall_clock_s()); break;
    case Action::ShowConfig: console::put_config(out, conf::show(worker.snapshot().loaded)); break;
    case Action::ShowDatabases: console::put_databases(out, report.databases); break;
    case Action::ShowHelp: protocol::put_notice(out, "Console commands:" + console::help(role())); break;
    case Action::ShowPinnedClients: console::put_pinned_clients(out, report.connections); break;
    case Action::ShowPins: console::put_pins(out, report.pins); break;
    case Action::ShowPools: console::put_pools(out, report.pools); break;
    case Action::ShowStats: console::put_stats(out, report.stats); break;
    case Action::ShowStatsAverages: console::put_stats_averages(out, report.stats); break;
    case Action::ShowStatsTotals: console::put_stats_totals(out, report.stats); break;
    case Action::ShowTotals: console::put_totals(out, report.stats); break;
    case Action::ShowVersion:
      console::put_value(out, "version", protocol::kTextOid, "PgBouncer " + version());
      break;
    case Action::ShowState: {
      const bool paused = worker.all_paused();
      // How much of the clients' SQL was looked at, and how: behind the rows that tools know.
      const auto& [by_words, remembered, parsed] = report.texts;
      const console::KeyValue rows[] = {{"active", paused ? "no" : "yes"},
                                        {"paused", paused ? "yes" : "no"},
                                        {"suspended", "no"},
                                        {"texts_read_by_words", std::to_string(by_words)},
                                        {"texts_remembered", std::to_string(remembered)},
                                        {"texts_parsed", std::to_string(parsed)}};
      console::put_state(out, rows);
      break;
    }
    case Action::ShowLists: {
      // Free ones are none: a connection takes memory when it comes and gives it back when it goes.
      const console::NamedCount rows[] = {{"databases", report.databases.size()},
                                          {"users", worker.snapshot().users.size()},
                                          {"peers"},
                                          {"pools", report.pools.size()},
                                          {"peer_pools"},
                                          {"free_clients"},
                                          {"used_clients", report.clients},
                                          {"login_clients", report.logins},
                                          {"free_servers"},
                                          {"used_servers", report.servers},
                                          {"dns_names"},
                                          {"dns_zones"},
                                          {"dns_queries"},
                                          {"dns_pending"}};
      console::put_lists(out, rows);
      break;
    }
    case Action::Pause:
    case Action::Reload:
    case Action::Resume:
    case Action::Shutdown:
    case Action::Set:
    case Action::Begin:
    case Action::End:
    case Action::SelectOne:
    case Action::SelectVersion: PGWEIR_CHECK(false);
  }
  stream->write(out);
  done();
}

void ConsoleSession::State::on_all_workers(std::function<void(Worker&)> task, std::function<void()> then) {
  auto left = std::make_shared<std::size_t>(worker.shared().workers.size());
  for (Worker* each : worker.shared().workers)
    each->loop().post([each, &home = worker, task, left, then] {
      task(*each);
      home.loop().post([left, then] {
        if (--*left == 0) then();
      });
    });
}

void ConsoleSession::State::pause_or_resume(const Request& request) {
  const bool pause = request.command->action == Action::Pause;
  pausing = request.argument;
  std::optional<tiers::Tenant> record;
  Worker* home = nullptr;
  if (!pausing.empty()) {
    record = worker.snapshot().tenant(pausing);
    if (!record)
      return failed({sqlstate::kInvalidCatalogName,
                     fmt::format("database \"{}\" does not exist", pausing),
                     {},
                     "SHOW DATABASES lists those that do."});
    home = &worker.home_of(*record);
  }
  worker.log().info(pause ? "paused" : "resumed",
                    {{"user", user}, {"tenant", pausing.empty() ? "*" : pausing}});
  on_all_workers(
      [record, home, pause](Worker& each) {
        if (!record) return each.set_paused(nullptr, pause);
        if (&each == home || each.tenants().find(record->name)) each.set_paused(&*record, pause);
      },
      if_here([pause](State& state) {
        if (pause) return state.look_at_pause();
        state.done();
      }));
}

// Asks all workers, again and again, until nothing runs any more for what was paused.
void ConsoleSession::State::look_at_pause() {
  auto settled = std::make_shared<std::atomic<bool>>(true);
  on_all_workers(
      [settled, tenant = pausing](Worker& each) {
        if (!each.pause_settled(tenant.empty() ? nullptr : &tenant)) settled->store(false);
      },
      if_here([settled](State& state) {
        if (settled->load()) return state.done();
        state.worker.loop().arm(state.pause_timer, state.worker.loop().now() + kPauseLook);
      }));
}

void ConsoleSession::State::reload() {
  worker.log().info("reload asked for", {{"user", user}});
  Shared& shared = worker.shared();
  auto answer = if_here([](State& state, bool good) {
    if (good) return state.done();
    state.failed({sqlstate::kConfigFileError, "RELOAD failed, see logs for additional details", {}, {}});
  });
  shared.workers[0]->loop().post([&shared, &home = worker, answer] {
    shared.app->reload([&home, answer](bool good) { home.loop().post([answer, good] { answer(good); }); });
  });
}

void ConsoleSession::State::shut_down() {
  worker.log().info("shutdown asked for", {{"user", user}});
  done();
  Shared& shared = worker.shared();
  shared.workers[0]->loop().post([&shared] { shared.app->shutdown(); });
}

void ConsoleSession::State::violation(const char* what) {
  close({sqlstate::kProtocolViolation, fmt::format("protocol violation: {}", what), {}, {}});
}

void ConsoleSession::State::close(const Error& error) {
  if (closing) return;
  closing = true;
  std::string out;
  protocol::put_error(out, "FATAL", error);
  stream->write(out);
  stream->close();
}

}  // namespace pgweir
