#include "pooler/console.h"

#include <fmt/format.h>

#include <algorithm>
#include <atomic>
#include <deque>
#include <optional>
#include <utility>

#include "conf/change.h"
#include "pooler/app.h"
#include "pooler/console_commands.h"
#include "pooler/console_core.h"
#include "pooler/console_portals.h"
#include "pooler/console_report.h"
#include "pooler/console_show.h"
#include "pooler/version.h"
#include "pooler/worker.h"
#include "protocol/frame.h"
#include "protocol/messages.h"

namespace pgweir {

using console::Action;
using console::Request;
using console::Role;

namespace {

// The console that we speak like: tools look at the number.
constexpr const char* kCompatible = "1.25.2";
constexpr std::uint32_t kConsoleIds = 1u << 30;  // sessions have ids below it
constexpr std::chrono::milliseconds kPauseLook{20};
constexpr std::size_t kUnsentMax = 64 << 10;  // the next request waits until the last one's rows are gone

std::string version() { return fmt::format("{}/pgweir-{}", kCompatible, kVersion); }

// For the log.
std::string told_argument(const Request& request) {
  if (request.command->action != Action::SetSetting) return request.argument;
  return fmt::format("{} = {}", request.argument, conf::shown_value(request.argument, request.value));
}

std::uint32_t message_limit(char type) {
  const std::uint32_t limit = protocol::client_message_limit(type);
  return std::min<std::uint32_t>(limit, ConsoleSession::kQueryMax);
}

}  // namespace

bool is_console_database(Bytes name) { return name == "pgweir" || name == "pgbouncer"; }

struct ConsoleSession::State : std::enable_shared_from_this<ConsoleSession::State> {
  State(Worker& w, std::unique_ptr<net::Stream> c, std::string u)
      : worker(w),
        stream(std::move(c)),
        user(std::move(u)),
        connected_at(w.loop().now()),
        id(kConsoleIds | static_cast<std::uint32_t>(w.rng().below(kConsoleIds))),
        pause_timer(this, [](void* self) { static_cast<State*>(self)->look_again(); }) {}

  void greet();
  void pump();
  void message(char type, Bytes body);
  void query(Bytes text);
  void next();
  void run(const Request& request);
  void gather(const Request& request);
  // Nothing, and the error is sent, where it does not exist.
  std::optional<tiers::Tenant> find_tenant(const std::string& name);
  void act_on_servers(const Request& request);
  void look_at_closing(const std::optional<tiers::Tenant>& record);
  void kill_client(std::uint32_t client);
  void pause_or_resume(const Request& request);
  void disable_or_enable(const Request& request);
  void show_ceilings(const Request& request);
  void look_at_pause();
  void look_again();
  void reload();
  void set(const Request& request);
  void shut_down(App::Wait wait);
  void execute(Bytes body);
  void refuse_call();
  void done(std::string result = {});
  void failed(const Error& error);
  void failed_batch(std::string_view command, const Error& error);
  void audit(std::string_view command, std::string_view argument, std::string_view outcome);
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
  console::Portals portals{console::shape};
  std::string pausing;  // the tenant of the PAUSE that runs; empty: all
  char tx_status = 'I';
  bool extended = false;   // the front request comes from Execute
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
  if (state_->running)
    state_->audit(state_->requests.front().command->words, told_argument(state_->requests.front()),
                  "client gone");
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
    portals.sync(tx_status == 'T');
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
  Expected<void> good;
  switch (type) {
    case 'P': good = portals.parse(body, out); break;
    case 'B': good = portals.bind(body, out); break;
    case 'D': good = portals.describe(body, out); break;
    case 'C': good = portals.close(body, out); break;
    case 'E': return execute(body);
    case 'F': return refuse_call();
    default: return violation("a message that has no place here");
  }
  if (!good) return failed_batch("(unread)", good.error());
  stream->write(out);
}

void ConsoleSession::State::execute(Bytes body) {
  std::string out;
  auto request = portals.execute(body, out);
  if (!request) return failed_batch("(unread)", request.error());
  if (!*request) return stream->write(out);
  extended = true;
  requests.push_back(std::move(**request));
  next();
}

void ConsoleSession::State::refuse_call() {
  std::string out;
  protocol::put_error(out, "ERROR",
                      Error{sqlstate::kFeatureNotSupported, "the console has no functions to call", {}, {}});
  protocol::put_ready(out, tx_status);
  stream->write(out);
}

void ConsoleSession::State::failed_batch(std::string_view command, const Error& error) {
  audit(command, {}, error.sqlstate);
  std::string out;
  protocol::put_error(out, "ERROR", error);
  skip_to_sync = true;
  stream->write(out);
}

void ConsoleSession::State::audit(std::string_view command, std::string_view argument,
                                  std::string_view outcome) {
  worker.log().info(
      "console_command",
      {{"user", user}, {"client", id}, {"command", command}, {"argument", argument}, {"outcome", outcome}});
}

void ConsoleSession::State::query(Bytes text) {
  auto parsed = console::parse(text);
  std::string out;
  if (!parsed) {
    audit("(unread)", {}, parsed.error().sqlstate);
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

// `result`: rows and notices.
void ConsoleSession::State::done(std::string result) {
  const Request request = std::move(requests.front());
  requests.pop_front();
  running = false;
  audit(request.command->words, told_argument(request), "ok");
  std::string out;
  if (std::exchange(extended, false)) {
    portals.ran(std::move(result), out);
  } else {
    out = std::move(result);
    protocol::put_command_complete(out, request.command->tag);
    if (requests.empty()) protocol::put_ready(out, tx_status);
  }
  stream->write(out);
  end_turn();
}

void ConsoleSession::State::failed(const Error& error) {
  const Request request = std::move(requests.front());
  requests.clear();
  running = false;
  if (std::exchange(extended, false)) {
    failed_batch(request.command->words, error);
  } else {
    audit(request.command->words, told_argument(request), error.sqlstate);
    std::string out;
    protocol::put_error(out, "ERROR", error);
    protocol::put_ready(out, tx_status);
    stream->write(out);
  }
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
    case Action::ShowConfig: console::put_config(out, conf::show(worker.snapshot().loaded)); break;
    case Action::ShowVersion:
      console::put_value(out, "version", protocol::kTextOid, "PgBouncer " + version());
      break;
    case Action::ShowHelp: protocol::put_notice(out, "Console commands:" + console::help(role())); break;
    case Action::ShowBackends: console::put_backends(out, console::backends(worker)); break;
    case Action::ShowDnsHosts: console::put_dns_hosts(out); break;
    case Action::ShowDnsZones: console::put_dns_zones(out); break;
    case Action::ShowPeerPools: console::put_peer_pools(out); break;
    case Action::ShowPeers: console::put_peers(out); break;
    case Action::ShowState: {
      const bool paused = worker.all_paused();
      const console::KeyValue rows[] = {
          {"active", paused ? "no" : "yes"}, {"paused", paused ? "yes" : "no"}, {"suspended", "no"}};
      console::put_state(out, rows);
      break;
    }
    case Action::ShowClients:
    case Action::ShowDatabases:
    case Action::ShowLists:
    case Action::ShowPinnedClients:
    case Action::ShowPins:
    case Action::ShowPools:
    case Action::ShowServers:
    case Action::ShowStats:
    case Action::ShowStatsAverages:
    case Action::ShowStatsTotals:
    case Action::ShowTotals:
    case Action::ShowWorkers:
    case Action::ShowActiveSockets:
    case Action::ShowMem:
    case Action::ShowSockets:
    case Action::ShowTenants:
    case Action::ShowTiers:
    case Action::ShowUsers: return gather(request);
    case Action::ShowCeilings: return show_ceilings(request);
    case Action::Disable:
    case Action::Enable: return disable_or_enable(request);
    case Action::Kill:
    case Action::Reconnect:
    case Action::WaitClose: return act_on_servers(request);
    case Action::KillClient: return kill_client(request.client);
    case Action::Pause:
    case Action::Resume: return pause_or_resume(request);
    case Action::Reload: return reload();
    case Action::SetSetting: return set(request);
    case Action::Shutdown: return shut_down(App::Wait::Transactions);
    case Action::ShutdownWait: return shut_down(App::Wait::Clients);
    case Action::Set: return done();
    case Action::Begin: tx_status = 'T'; return done();
    case Action::End: tx_status = 'I'; return done();
    case Action::Deallocate: portals.deallocate_all(); return done();
    case Action::SelectOne: console::put_value(out, "?column?", protocol::kInt4Oid, "1"); break;
    case Action::SelectVersion:
      console::put_value(out, "version", protocol::kTextOid, "PgBouncer " + version());
      break;
  }
  done(std::move(out));
}

void ConsoleSession::State::gather(const Request& request) {
  const Action action = request.command->action;
  console::Beside beside = console::beside(worker.snapshot(), request.page);
  // On a helper thread: values only.
  const auto write = [action, beside = std::move(beside)](const console::Report& report) {
    std::string out;
    console::put_report(out, action, report, beside);
    return out;
  };
  console::gather(worker, action, write,
                  if_here([](State& state, std::string rows) { state.done(std::move(rows)); }));
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

std::optional<tiers::Tenant> ConsoleSession::State::find_tenant(const std::string& name) {
  auto record = worker.snapshot().tenant(name);
  if (!record)
    failed({sqlstate::kInvalidCatalogName,
            fmt::format("database \"{}\" does not exist", name),
            {},
            "SHOW DATABASES lists those that do."});
  return record;
}

void ConsoleSession::State::act_on_servers(const Request& request) {
  const Action action = request.command->action;
  std::optional<tiers::Tenant> record;
  if (!request.argument.empty() && !(record = find_tenant(request.argument))) return;
  if (action == Action::WaitClose) return look_at_closing(record);
  on_all_workers(
      [record, action](Worker& each) {
        if (record && &each.home_of(*record) != &each) return;
        const tiers::Tenant* const only = record ? &*record : nullptr;
        if (action == Action::Kill)
          console::kill(each, only);
        else
          console::reconnect(each, only);
      },
      if_here([](State& state) { state.done(); }));
}

// Asks all workers, again and again.
void ConsoleSession::State::look_at_closing(const std::optional<tiers::Tenant>& record) {
  auto closed = std::make_shared<std::atomic<bool>>(true);
  on_all_workers(
      [closed, record](Worker& each) {
        if (!console::all_closed(each, record ? &*record : nullptr)) closed->store(false);
      },
      if_here([closed](State& state) {
        if (closed->load()) return state.done();
        state.worker.loop().arm(state.pause_timer, state.worker.loop().now() + kPauseLook);
      }));
}

void ConsoleSession::State::kill_client(std::uint32_t client) {
  auto killed = std::make_shared<std::atomic<bool>>(false);
  on_all_workers(
      [killed, client](Worker& each) {
        if (console::kill_client(each, client)) killed->store(true);
      },
      if_here([killed, client](State& state) {
        if (killed->load()) return state.done();
        state.failed({sqlstate::kInvalidParameterValue,
                      fmt::format("there is no client {}", client),
                      {},
                      "SHOW CLIENTS has those that there are in the column id; consoles cannot be killed."});
      }));
}

void ConsoleSession::State::pause_or_resume(const Request& request) {
  const bool pause = request.command->action == Action::Pause;
  pausing = request.argument;
  std::optional<tiers::Tenant> record;
  Worker* home = nullptr;
  if (!pausing.empty()) {
    if (!(record = find_tenant(pausing))) return;
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

void ConsoleSession::State::disable_or_enable(const Request& request) {
  const auto record = find_tenant(request.argument);
  if (!record) return;
  on_all_workers(
      [record, home = &worker.home_of(*record),
       disable = request.command->action == Action::Disable](Worker& each) {
        if (&each == home || each.tenants().find(record->name)) each.set_disabled(*record, disable);
      },
      if_here([](State& state) { state.done(); }));
}

void ConsoleSession::State::show_ceilings(const Request& request) {
  std::vector<console::CeilingRow> rows;
  if (!request.argument.empty()) {
    const auto record = find_tenant(request.argument);
    if (!record) return;
    console::add_ceilings(rows, record->limits);
  } else {
    for (const auto& [name, tier] : worker.snapshot().directory.tiers()) console::add_ceilings(rows, tier);
  }
  std::string out;
  console::put_ceilings(out, rows);
  done(std::move(out));
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

void ConsoleSession::State::look_again() {
  const Request& request = requests.front();
  if (request.command->action == Action::Pause) return look_at_pause();
  look_at_closing(request.argument.empty() ? std::nullopt : worker.snapshot().tenant(request.argument));
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

void ConsoleSession::State::set(const Request& request) {
  Shared& shared = worker.shared();
  auto answer = if_here([](State& state, const tl::expected<void, std::string>& changed) {
    const Request& asked = state.requests.front();
    if (!changed) return state.failed({sqlstate::kInvalidParameterValue, changed.error(), {}, {}});
    std::string out;
    protocol::put_notice(out, fmt::format("{} is changed in memory: RELOAD or the next start takes it from "
                                          "the configuration again",
                                          asked.argument));
    state.done(std::move(out));
  });
  shared.workers[0]->loop().post(
      [&shared, &home = worker, answer, key = request.argument, value = request.value] {
        shared.app->change(key, value, [&home, answer](const tl::expected<void, std::string>& changed) {
          home.loop().post([answer, changed] { answer(changed); });
        });
      });
}

void ConsoleSession::State::shut_down(App::Wait wait) {
  worker.log().info("shutdown asked for", {{"user", user}});
  done();
  Shared& shared = worker.shared();
  shared.workers[0]->loop().post([&shared, wait] { shared.app->shutdown(wait); });
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
