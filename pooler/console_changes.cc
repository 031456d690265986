// pooler/console_changes.cc - what the console's statements change of tenants: their tiers, their values, and
// where they are.
#include <fmt/format.h>

#include <algorithm>
#include <set>

#include "pooler/base/quoted.h"
#include "pooler/console_state.h"
#include "pooler/tier_control.h"
#include "protocol/messages.h"

namespace pgweir {

using console::Action;
using console::Request;

// Where the tenant comes from decides what is changed: its row in the store, or this process's configuration.
void ConsoleSession::State::change_tenant(const std::string& tenant, const tiers::Change& change) {
  look_up(tenant, [change](State& state, const tiers::Tenant& record, bool stored) {
    state.change_row(record.name, change, stored);
  });
}

// What its limits say of each other is looked at here, too: of the row of a store alone it cannot be seen.
void ConsoleSession::State::change_override(const Request& request) {
  look_up(request.argument, [](State& state, const tiers::Tenant& record, bool stored) {
    const Request& asked = state.requests.front();
    const bool set = asked.command->action == Action::SetOverride;
    const auto good = set ? tiers::check_override(record.limits, asked.field, asked.value)
                          : tiers::check_field(asked.field);
    if (!good) return state.failed({sqlstate::kInvalidParameterValue, good.error().message, {}, {}});
    if (set) return state.change_row(record.name, {{{asked.field, asked.value}}, {}}, stored);
    const std::string name = tiers::field_name(asked.field);
    if (!stored && !std::binary_search(record.overrides.begin(), record.overrides.end(), name)) {
      tiers::Fields own;
      for (const std::string& field : record.overrides) own.emplace_back(field, "");
      return state.failed(tiers::no_override(record.name, name, own));
    }
    state.change_row(record.name, {{}, {asked.field}}, stored);
  });
}

void ConsoleSession::State::change_row(const std::string& tenant, const tiers::Change& change, bool stored) {
  if (!stored) return change_configured(tenant, change);
  auto answer = if_here([](State& here, const Expected<void>& changed) {
    if (changed) return here.done();
    here.failed(changed.error());
  });
  worker.shared().tiers->set(worker.loop(), tenant, change, answer);
}

void ConsoleSession::State::change_configured(const std::string& tenant, const tiers::Change& change) {
  const tiers::Directory& directory = worker.snapshot().directory;
  for (const auto& [key, value] : change.set)
    if (key == "tier" && !directory.tier(value)) {
      std::set<std::string_view> there_are;
      for (const auto& [name, tier] : directory.tiers()) there_are.insert(name);
      return failed(tiers::no_such_tier(value, there_are));
    }
  const auto record = worker.snapshot().tenant(tenant);
  if (!directory.row_name(tenant).empty() || !record) return change_configured(tenant, change, Heard::Of);
  // Served as pool.unknown_tenants says, if anybody comes by that name: orders before that are obeyed.
  auto answer = if_here(
      [tenant, change](State& state, Heard heard) { state.change_configured(tenant, change, heard); });
  Worker& there = worker.home_of(*record);
  there.loop().post([&there, &home = worker, tenant, answer] {
    const Heard heard = there.tenants().find(tenant) ? Heard::Of : Heard::Nothing;
    home.loop().post([answer, heard] { answer(heard); });
  });
}

void ConsoleSession::State::change_configured(const std::string& tenant, const tiers::Change& change,
                                              Heard heard) {
  auto answer = if_here([heard](State& state, const App::Changed& changed) {
    if (!changed)
      return state.failed(
          {sqlstate::kConfigFileError, "the tenant was not changed: " + changed.error(), {}, {}});
    std::string out;
    if (heard == Heard::Nothing)
      protocol::put_notice(out, "no client of that name has connected yet, and no record names it",
                           "If the name is right, this holds for the first who comes; SHOW TENANTS lists the "
                           "others.");
    protocol::put_notice(out,
                         "holds until the next reload: the tenant is of the configuration, not of a store",
                         "Change the configuration file, too.");
    state.done(std::move(out));
  });
  Shared& shared = worker.shared();
  shared.workers[0]->loop().post([&shared, &home = worker, tenant, change, answer] {
    shared.app->change_tenant(tenant, change, [&home, answer](const App::Changed& changed) {
      home.loop().post([answer, changed] { answer(changed); });
    });
  });
}

// The tenant's home moves it; what its record says is changed where it comes from.
void ConsoleSession::State::move(const Request& request) {
  const std::string to = request.value;
  if (!worker.snapshot().backend(to))
    return failed({sqlstate::kUndefinedObject,
                   fmt::format("no backend is named {}", quoted(to)),
                   {},
                   "SHOW BACKENDS lists those that there are."});
  const Duration patience = request.seconds > 0 ? Duration(std::chrono::seconds(request.seconds))
                                                : Duration(worker.config().move_timeout);
  look_up(request.argument, [to, patience](State& state, const tiers::Tenant& record, bool stored) {
    if (record.backend == to)
      return state.failed({sqlstate::kInvalidParameterValue,
                           fmt::format("tenant {} is on backend {} already", quoted(record.name), quoted(to)),
                           {},
                           {}});
    if (state.canceled) return state.failed(canceled_by_user());
    state.worker.log().info("move asked for", {{"user", state.user}, {"tenant", record.name}, {"to", to}});
    auto answer = state.if_here([stored](State& here, const Mover::Outcome& outcome) {
      if (outcome.error) return here.failed(*outcome.error);
      std::string out;
      protocol::put_notice(
          out,
          fmt::format("{} clients go on there; new transactions were held for {}ms", outcome.clients,
                      outcome.held.count() / 1000) +
              (outcome.tried ? "" : "; nobody was connected, so that no login to it was tried"),
          stored
              ? "Its row in the tenant store names that backend now. Clients of other pgweirs of the store "
                "follow when they connect again."
              : "This process remembers it as long as the configuration names the former backend: change "
                "that before the next start.");
      here.done(std::move(out));
    });
    Shared& shared = state.worker.shared();
    Worker& home = state.worker.home_of(record);
    state.moving_home = &home;
    const tiers::Change change{{{"backend", to}}, {}};
    Mover::Commit commit;
    if (stored)
      commit = [&home, &shared, change, name = record.name](std::function<void(const std::string&)> done) {
        shared.tiers->set(home.loop(), name, change, [done = std::move(done)](const Expected<void>& changed) {
          done(changed ? std::string() : changed.error().message);
        });
      };
    else
      commit = [&home, &shared, to, record](std::function<void(const std::string&)> done) {
        shared.workers[0]->loop().post([&home, &shared, to, record, done = std::move(done)] {
          shared.app->move_tenant(record, to, [&home, done](const App::Changed& changed) {
            home.loop().post([done, error = changed ? std::string() : changed.error()] { done(error); });
          });
        });
      };
    home.loop().post([&home, &worker = state.worker, commit, answer,
                      order = Mover::Order{record, to, patience, state.id}] {
      home.move(order, commit, [&worker, answer](const Mover::Outcome& outcome) {
        worker.loop().post([answer, outcome] { answer(outcome); });
      });
    });
  });
}

// One that is over, or about to be, answers for itself.
void ConsoleSession::State::call_off_move() {
  if (!moving_home) return;
  moving_home->loop().post(
      [home = moving_home, console = id] { home->call_off_move(console, canceled_by_user()); });
}

}  // namespace pgweir
