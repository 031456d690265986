// pooler/console_orders.cc - what the console's statements do. Each ends with done() or failed(), perhaps
// later.
#include <fmt/format.h>

#include <algorithm>
#include <atomic>
#include <map>
#include <mutex>
#include <vector>

#include "conf/change.h"
#include "conf/pgbouncer_names.h"
#include "pooler/base/quoted.h"
#include "pooler/console_columns.h"
#include "pooler/console_commands.h"
#include "pooler/console_report.h"
#include "pooler/console_state.h"
#include "pooler/limit_report.h"
#include "pooler/setting_hint.h"
#include "pooler/side_connection.h"
#include "pooler/tenant_lookup.h"
#include "pooler/tier_control.h"
#include "pooler/version.h"
#include "protocol/messages.h"

namespace pgweir {

using console::Action;
using console::Request;

namespace {

// The console that we speak like: tools look at the number.
constexpr const char* kCompatible = "1.25.2";
constexpr std::chrono::milliseconds kPauseLook{20};
constexpr std::chrono::seconds kFlushMost{10};  // that SUSPEND waits for what was read to be passed on

Error not_in_state(std::string message, std::string hint) {
  return {sqlstate::kNotInState, std::move(message), {}, std::move(hint)};
}

// What an order to all has done, that another one finds done. PgBouncer refuses the same.
std::optional<Error> stopped_already(const Worker& worker) {
  const char* const what = worker.suspended() ? "suspended" : worker.all_paused() ? "paused" : nullptr;
  if (!what) return std::nullopt;
  return not_in_state(fmt::format("pgweir is {} already", what), "RESUME comes first.");
}

// Where its clients are, or come to. A change of its record may have moved the one, but not the other.
bool has_or_gets(const Worker& worker, const tiers::Tenant& record) {
  return &worker.home_of(record) == &worker || worker.tenants().find(record.name);
}

bool of_one_tenant(console::Argument argument) {
  using console::Argument;
  switch (argument) {
    case Argument::Tenant:
    case Argument::Tier:
    case Argument::Override:
    case Argument::OverrideTo:
    case Argument::Move:
    case Argument::Reason: return true;
    case Argument::None:
    case Argument::Database:
    case Argument::OneDatabase:
    case Argument::Breaker:
    case Argument::Client: return false;
  }
  return false;
}

}  // namespace

std::string ConsoleSession::State::told_name(const protocol::Startup& startup) {
  for (const auto& [name, value] : startup.settings)
    if (tiers::parameter_name(name) == console::kApplicationName) return value;
  return {};
}

std::string ConsoleSession::State::version() { return fmt::format("{}/pgweir-{}", kCompatible, kVersion); }

void ConsoleSession::State::run(const Request& request) {
  const console::Command& command = *request.command;
  if (!console::may(role(), command))
    return failed({sqlstate::kInsufficientPrivilege,
                   fmt::format("user \"{}\" may not use {}", user, command.words),
                   {},
                   "Users named in console.admins may use all commands, those in console.stats only SHOW."});
  const bool of_database =
      command.argument == console::Argument::Database || command.argument == console::Argument::OneDatabase;
  if (of_database && is_console_database(request.argument))
    return failed({sqlstate::kInvalidParameterValue,
                   fmt::format("{} is for databases of tenants, not for the console", command.words),
                   {},
                   "SHOW DATABASES lists those that there are."});
  if (of_one_tenant(command.argument)) {
    if (is_console_database(request.argument))
      return failed({sqlstate::kInvalidParameterValue,
                     fmt::format("{} is for tenants, not for the console", command.words),
                     {},
                     "SHOW TENANTS lists those that there are."});
    // Among the configuration's it would be one, and so of all whom it fits.
    if (request.argument.find('*') != std::string::npos)
      return failed(
          {sqlstate::kInvalidParameterValue,
           fmt::format("{} takes one tenant, and {} is a pattern", command.words, quoted(request.argument)),
           {},
           "SHOW TENANTS lists those that there are."});
  }
  std::string out;
  switch (command.action) {
    case Action::ShowConfig: {
      std::vector<conf::Shown> rows =
          conf::show(worker.snapshot().loaded,
                     role() == console::Role::Admin ? conf::Reader::Admin : conf::Reader::Stats);
      const std::vector<conf::Shown> theirs = conf::show_pgbouncer(worker.snapshot().config());
      rows.insert(rows.end(), theirs.begin(), theirs.end());
      console::put_config(out, rows);
      break;
    }
    case Action::ShowVersion:
      console::put_value(out, "version", protocol::kTextOid, "PgBouncer " + version());
      break;
    case Action::ShowHelp: protocol::put_notice(out, "Console commands:" + console::help(role())); break;
    case Action::ShowDnsHosts: console::put_dns_hosts(out); break;
    case Action::ShowDnsZones: console::put_dns_zones(out); break;
    case Action::ShowPeerPools: console::put_peer_pools(out); break;
    case Action::ShowPeers: console::put_peers(out); break;
    case Action::ShowState: {
      const auto said = [](bool yes) { return yes ? "yes" : "no"; };
      const bool paused = worker.all_paused(), suspended = worker.suspended();
      const console::KeyValue rows[] = {
          {"active", said(!paused && !suspended)}, {"paused", said(paused)}, {"suspended", said(suspended)}};
      console::put_state(out, rows);
      break;
    }
    case Action::ShowSetting: {
      const bool name = request.argument == console::kApplicationName;
      console::put_value(out, request.argument.c_str(), protocol::kTextOid,
                         name ? application_name : request.value);
      break;
    }
    case Action::ShowTable: return gather(request);
    case Action::ShowLimit: return show_limit(request.argument);
    case Action::ShowCeilings:
      return with_named(request.argument, [](State& state, const std::optional<tiers::Tenant>& record) {
        state.show_ceilings(record);
      });
    case Action::SetTier: return change_tenant(request.argument, {{{"tier", request.value}}, {}});
    case Action::SetOverride:
    case Action::ResetOverride: return change_override(request);
    case Action::SuspendTenant:
      return change_tenant(request.argument, {{{"state", "suspended"}, {"reason", request.value}}, {}});
    case Action::ResumeTenant:
      return change_tenant(request.argument, {{{"state", "active"}, {"reason", ""}}, {}});
    case Action::BreakerAuto:
    case Action::BreakerClose:
    case Action::BreakerOpen: return order_breaker(request);
    case Action::Disable:
    case Action::Enable: return disable_or_enable(request);
    case Action::Kill:
      if (const auto error = stopped_already(worker)) return failed(*error);
      return act_on_servers(request);
    case Action::Reconnect:
    case Action::WaitClose: return act_on_servers(request);
    case Action::KillClient: return kill_client(request.client);
    case Action::Move: return move(request);
    case Action::Pause: return pause(request.argument);
    case Action::Resume: return resume(request.argument);
    case Action::Reload: return reload();
    case Action::Suspend: return suspend();
    case Action::SetSetting: return set(request);
    case Action::Shutdown: return shut_down(App::Wait::Transactions);
    case Action::ShutdownWaitClients: return shut_down(App::Wait::Clients);
    case Action::ShutdownWaitServers: return shut_down(App::Wait::Servers);
    case Action::Set:
      if (request.argument == console::kApplicationName) application_name = request.value;
      return done();
    case Action::Begin: tx_status = 'T'; return done();
    case Action::End: tx_status = 'I'; return done();
    case Action::Deallocate: portals.deallocate_all(); return done();
    case Action::SelectOne: console::put_value(out, "?column?", protocol::kInt4Oid, "1"); break;
    case Action::SelectVersion:
      console::put_value(out, "version", protocol::kTextOid, "PgBouncer " + version());
      break;
  }
  show(std::move(out));
}

void ConsoleSession::State::gather(const Request& request) {
  const console::Table table = request.command->table;
  // On a helper thread: values only.
  const auto write = [table, beside = console::beside(worker, request.page),
                      places = request.places](const console::Report& report) {
    std::string out;
    console::put_report(out, table, report, beside);
    return console::selected(std::move(out), places);
  };
  console::gather(worker, table, request.page, write,
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

void ConsoleSession::State::with_named(
    const std::string& name, std::function<void(State&, const std::optional<tiers::Tenant>&)> then) {
  if (name.empty()) return then(*this, std::nullopt);
  pgweir::look_up(worker, name,
                  if_here([name, then = std::move(then)](State& state, const Expected<FoundTenant>& found) {
                    if (found) return then(state, found->record);
                    // A store that does not answer is no reason not to obey.
                    const auto configured = state.worker.snapshot().tenant(name);
                    if (configured) return then(state, configured);
                    state.failed(found.error());
                  }));
}

void ConsoleSession::State::act_on_servers(const Request& request) {
  with_named(request.argument,
             [action = request.command->action](State& state, const std::optional<tiers::Tenant>& record) {
               if (action == Action::WaitClose) return state.look_at_closing(record);
               state.on_all_workers(
                   [record, action](Worker& each) {
                     if (record && !has_or_gets(each, *record)) return;
                     const tiers::Tenant* const only = record ? &*record : nullptr;
                     if (action == Action::Kill)
                       console::kill(each, only);
                     else
                       console::reconnect(each, only);
                   },
                   state.if_here([](State& here) { here.done(); }));
             });
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
        if (state.canceled) return state.failed(canceled_by_user());
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

void ConsoleSession::State::pause(const std::string& tenant) {
  if (const auto error = stopped_already(worker)) return failed(*error);
  pausing = tenant;
  with_named(tenant, [](State& state, const std::optional<tiers::Tenant>& record) {
    state.worker.log().info("paused", {{"user", state.user}, {"tenant", record ? record->name : "*"}});
    auto was_paused = std::make_shared<std::atomic<bool>>(false);
    state.on_all_workers(
        [was_paused, record](Worker& each) {
          if (record && !has_or_gets(each, *record)) return;
          const Tenant* const known = record ? each.tenants().find(record->name) : nullptr;
          if (known && known->paused) was_paused->store(true);
          each.set_paused(record ? &*record : nullptr, true);
        },
        state.if_here([was_paused](State& here) {
          here.paused_here = !was_paused->load();
          here.look_at_pause();
        }));
  });
}

// What was paused by its name is resumed by its name, what was paused with all, with all.
void ConsoleSession::State::resume(const std::string& tenant) {
  if (!tenant.empty())
    return with_named(tenant, [](State& state, const auto& record) { state.resume(*record); });
  if (!worker.suspended() && !worker.all_paused())
    return failed(not_in_state("pgweir is neither paused nor suspended",
                               "RESUME database ends the PAUSE or KILL of one database."));
  worker.log().info("resumed", {{"user", user}, {"tenant", "*"}});
  worker.shared().suspension.end();
  on_all_workers(
      [](Worker& each) {
        each.set_suspended(false);
        each.set_paused(nullptr, false);
      },
      if_here([](State& state) { state.done(); }));
}

void ConsoleSession::State::resume(const tiers::Tenant& record) {
  auto was_paused = std::make_shared<std::atomic<bool>>(false);
  on_all_workers(
      [was_paused, record](Worker& each) {
        const Tenant* const known = each.tenants().find(record.name);
        if (!known || !known->paused) return;
        was_paused->store(true);
        each.set_paused(&record, false);
      },
      if_here([was_paused, name = record.name](State& state) {
        if (!was_paused->load())
          return state.failed(not_in_state(fmt::format("database {} is not paused by itself", quoted(name)),
                                           "RESUME without a name ends a PAUSE of all."));
        state.worker.log().info("resumed", {{"user", state.user}, {"tenant", name}});
        state.done();
      }));
}

void ConsoleSession::State::suspend() {
  if (const auto error = stopped_already(worker)) return failed(*error);
  auto paused = std::make_shared<std::atomic<bool>>(false);
  on_all_workers(
      [paused](Worker& each) {
        for (const auto& [name, tenant] : each.tenants())
          if (tenant->paused) paused->store(true);
      },
      if_here([paused](State& state) {
        if (paused->load())
          return state.failed(not_in_state("a database is paused: nothing else can be suspended meanwhile",
                                           "SHOW DATABASES tells which; RESUME database ends it."));
        state.worker.log().info("suspended", {{"user", state.user}});
        state.flush_until = state.worker.loop().now() + kFlushMost;
        state.worker.shared().suspension.begin();
        state.on_all_workers([](Worker& each) { each.set_suspended(true); },
                             state.if_here([](State& here) { here.look_at_flush(); }));
      }));
}

// Asks all workers, again and again. Who does not take what was sent to him holds nobody up for ever.
void ConsoleSession::State::look_at_flush() {
  auto flushed = std::make_shared<std::atomic<bool>>(true);
  const bool over = worker.loop().now() >= flush_until;
  on_all_workers(
      [flushed, over](Worker& each) {
        if (over) console::drop_unflushed(each);
        if (!over && !console::all_flushed(each)) flushed->store(false);
      },
      if_here([flushed](State& state) {
        if (flushed->load()) return state.done();
        if (state.canceled) return state.call_off_suspend();
        state.worker.loop().arm(state.pause_timer, state.worker.loop().now() + kPauseLook);
      }));
}

void ConsoleSession::State::order_breaker(const Request& request) {
  const std::string& backend = request.argument;
  if (!worker.snapshot().backend(backend))
    return failed({sqlstate::kUndefinedObject,
                   fmt::format("no backend is named {}", quoted(backend)),
                   {},
                   "SHOW BACKENDS lists those that there are."});
  const Action action = request.command->action;
  const Breaker::Order order = action == Action::BreakerOpen    ? Breaker::Order::Open
                               : action == Action::BreakerClose ? Breaker::Order::Close
                                                                : Breaker::Order::Auto;
  const std::string& tenant = request.value;
  worker.log().info(
      "breaker ordered",
      {{"user", user}, {"backend", backend}, {"tenant", tenant}, {"order", request.command->words}});
  if (!tenant.empty())
    return look_up(tenant, [backend, order](State& state, const tiers::Tenant& record, bool) {
      if (record.backend == backend) return state.order_breakers_of(record, order);
      const std::string& database = record.database.empty() ? record.name : record.database;
      const auto& orders = state.worker.breaker_orders();
      // What was ordered before a MOVE stays where it was ordered, and can be ended there.
      if (order == Breaker::Order::Auto && orders.of(backend, database) != Breaker::Order::Auto) {
        tiers::Tenant before = record;
        before.backend = backend;
        return state.order_breakers_of(before, order);
      }
      state.failed({sqlstate::kInvalidParameterValue,
                    fmt::format("tenant {} is on backend {}, not on {}", quoted(record.name),
                                quoted(record.backend), quoted(backend)),
                    {},
                    "SHOW TENANTS tells on which each is."});
    });
  const auto changed = worker.shared().breaker(backend).order(order, worker.loop().now());
  if (changed) tell_breaker(worker, backend, *changed);
  on_all_workers(
      [backend, order](Worker& each) {
        if (order != Breaker::Order::Open) each.begin_breakers_anew(backend);
        each.breaker_changed(backend);  // also where it was open before, by itself
      },
      if_here([](State& state) { state.done(); }));
}

// What is ordered holds for its database. Where others use that, too, it would be theirs.
void ConsoleSession::State::order_breakers_of(const tiers::Tenant& record, Breaker::Order order) {
  struct Seen {
    std::mutex mutex;
    std::string other;
  };
  auto seen = std::make_shared<Seen>();
  const std::string database = record.database.empty() ? record.name : record.database;
  const auto give = [backend = record.backend, database, order](State& state) {
    state.on_all_workers([=](Worker& each) { each.order_breakers(backend, database, order); },
                         state.if_here([](State& here) { here.done(); }));
  };
  if (order == Breaker::Order::Auto) return give(*this);
  on_all_workers(
      [seen, backend = record.backend, database, name = record.name](Worker& each) {
        for (const auto& [key, group] : each.groups()) {
          if (key.backend != backend || key.database != database) continue;
          for (const auto& [other, member] : group->tenants()) {
            if (other->record.name == name) continue;
            const std::lock_guard<std::mutex> lock(seen->mutex);
            seen->other = other->record.name;
            return;
          }
        }
      },
      if_here([seen, give, name = record.name](State& state) {
        if (seen->other.empty()) return give(state);
        state.failed(
            {sqlstate::kFeatureNotSupported,
             fmt::format("tenant {} has no breaker of its own: clients of tenant {} use the same database",
                         quoted(name), quoted(seen->other)),
             {},
             "SUSPEND_TENANT refuses its clients, PAUSE makes them wait."});
      }));
}

void ConsoleSession::State::disable_or_enable(const Request& request) {
  with_named(request.argument, [disable = request.command->action == Action::Disable](
                                   State& state, const std::optional<tiers::Tenant>& record) {
    state.on_all_workers(
        [record, disable](Worker& each) {
          if (has_or_gets(each, *record)) each.set_disabled(*record, disable);
        },
        state.if_here([](State& here) { here.done(); }));
  });
}

namespace {
// Of one tenant, or of all tiers. Any thread.
std::vector<console::CeilingRow> ceiling_rows(const Snapshot& snapshot, const tiers::Directory& tiers,
                                              const std::optional<tiers::Tenant>& record,
                                              console::Words words,
                                              std::map<std::string, CeilingTally>& counted) {
  using console::SideRole;
  std::vector<console::CeilingRow> rows;
  if (record) {
    const BackendView* const backend = snapshot.backend(record->backend);
    const bool ends = backend && SideConnection::possible(*backend);
    console::add_ceilings(
        rows,
        {record->limits, record->overrides, record->name, ends ? SideRole::Set : SideRole::Missing, words},
        counted[record->limits.name]);
  } else {
    const bool ends =
        std::all_of(snapshot.backends.begin(), snapshot.backends.end(), SideConnection::possible);
    for (const auto& [name, tier] : tiers.tiers())
      console::add_ceilings(rows, {tier, {}, {}, ends ? SideRole::Set : SideRole::Missing, words},
                            counted[name]);
  }
  return rows;
}
}  // namespace

void ConsoleSession::State::show_ceilings(const std::optional<tiers::Tenant>& record) {
  // Of all workers, by tier.
  struct Counted {
    std::mutex mutex;
    std::map<std::string, CeilingTally> tiers;
  };
  auto counted = std::make_shared<Counted>();
  on_all_workers(
      [counted, record](Worker& each) {
        const std::lock_guard<std::mutex> lock(counted->mutex);
        if (!record)
          for (const auto& [name, meter] : each.tenants().meters()) add(counted->tiers[name], meter.ceilings);
        else if (const Tenant* const tenant = each.tenants().find(record->name))
          add(counted->tiers[record->limits.name], tenant->guard.tally());
      },
      if_here([counted, record](State& state) {
        const Request& request = state.requests.front();
        auto text = std::make_shared<std::string>();
        const auto words =
            state.role() == console::Role::Admin ? console::Words::Shown : console::Words::Hidden;
        state.worker.loop().offload(
            [text, counted, record, words, snapshot = state.worker.snapshot_ref(),
             tiers = state.worker.known_tiers_ref(), page = request.page] {
              console::put_ceilings(*text, ceiling_rows(*snapshot, *tiers, record, words, counted->tiers),
                                    page);
            },
            state.if_here([text](State& here) { here.show(std::move(*text)); }));
      }));
}

// Asks all workers, again and again, until nothing runs any more for what was paused.
void ConsoleSession::State::look_at_pause() {
  struct Seen {
    std::atomic<bool> holds{false}, settled{true};
  };
  auto seen = std::make_shared<Seen>();
  on_all_workers(
      [seen, name = pausing](Worker& each) {
        const Tenant* const tenant = each.tenants().find(name);
        if (name.empty() ? each.all_paused() : tenant && tenant->paused) seen->holds.store(true);
        if (!each.pause_settled(name.empty() ? nullptr : &name)) seen->settled.store(false);
      },
      if_here([seen](State& state) {
        if (!seen->holds.load())
          return state.failed(not_in_state("RESUME has called this PAUSE off", "PAUSE again."));
        if (seen->settled.load()) return state.done();
        if (state.canceled) return state.call_off_pause();
        state.worker.loop().arm(state.pause_timer, state.worker.loop().now() + kPauseLook);
      }));
}

// Of databases that are paused by another PAUSE, too, only this one's waiting ends.
void ConsoleSession::State::call_off_pause() {
  if (!paused_here) return failed(canceled_by_user());
  worker.log().info("resumed", {{"user", user}, {"tenant", pausing.empty() ? "*" : pausing}});
  on_all_workers(
      [name = pausing](Worker& each) {
        if (name.empty()) return each.set_paused(nullptr, false);
        const Tenant* const known = each.tenants().find(name);
        if (known && known->paused) each.set_paused(&known->record, false);
      },
      if_here([](State& state) { state.failed(canceled_by_user()); }));
}

void ConsoleSession::State::call_off_suspend() {
  worker.log().info("resumed", {{"user", user}, {"tenant", "*"}});
  worker.shared().suspension.end();
  on_all_workers([](Worker& each) { each.set_suspended(false); },
                 if_here([](State& state) { state.failed(canceled_by_user()); }));
}

void ConsoleSession::State::look_again() {
  const Request& request = requests.front();
  if (request.command->action == Action::Pause) return look_at_pause();
  if (request.command->action == Action::Suspend) return look_at_flush();
  act_on_servers(request);
}

void ConsoleSession::State::look_up(const std::string& tenant,
                                    std::function<void(State&, const tiers::Tenant&, bool)> then) {
  pgweir::look_up(worker, tenant,
                  if_here([then = std::move(then)](State& state, const Expected<FoundTenant>& found) {
                    if (!found) return state.failed(found.error());
                    then(state, found->record, found->stored);
                  }));
}

void ConsoleSession::State::show_limit(const std::string& tenant) {
  console::gather_limits(worker, tenant,
                         if_here([](State& state, const Expected<std::vector<console::LimitView>>& rows) {
                           if (!rows) return state.failed(rows.error());
                           std::string out;
                           console::put_limits(out, *rows, state.requests.front().page);
                           state.show(std::move(out));
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

void ConsoleSession::State::set(const Request& request) {
  Shared& shared = worker.shared();
  auto answer = if_here([](State& state, const tl::expected<void, std::string>& changed) {
    const Request& asked = state.requests.front();
    if (!changed)
      return state.failed(
          {sqlstate::kInvalidParameterValue, changed.error(), {}, console::setting_hint(asked.argument)});
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

}  // namespace pgweir
