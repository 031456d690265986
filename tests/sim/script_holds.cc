// tests/sim/script_holds.cc - Script: what a client sets between savepoints, and what it keeps a server by.
#include <fmt/format.h>

#include "tests/sim/script.h"
#include "tests/sim/script_messages.h"

namespace pgweir::sim {

Phase Script::sometimes_extended(const std::string& sql) {
  return await(world_.chance(20) ? unnamed(sql, false, true) : query(sql));
}

// On whatever server that is by now.
std::vector<Phase> Script::shown() {
  std::vector<Phase> phases;
  if (world_.chance(50))
    phases.push_back({{}, {}, Phase::Then::Pause, world_.between(Duration(100), Duration(50'000))});
  for (const char* name : {"TimeZone", "work_mem", "application_name", "app.mark"})
    phases.push_back(await(query(fmt::format("show {} /* {} */", name, token()))));
  return phases;
}

// An error is taken back by a savepoint, or with all the rest.
std::vector<Phase> Script::savepoints() {
  std::vector<std::string> open;
  unsigned made = 0;
  const auto set = [this] {
    const std::string how = world_.chance(40) ? "set local " : "set ";
    switch (world_.rng().below(4)) {
      case 0: return how + set_zone().substr(4);
      case 1: return fmt::format("{}work_mem = '{}MB'", how, world_.between(1, 3));
      case 2: return fmt::format("{}application_name = '{}'", how, token());
      default: return fmt::format("{}app.mark = '{}'", how, token());
    }
  };
  std::vector<Phase> phases{await(query("begin"))};
  for (std::uint64_t left = world_.between(2, 9); left > 0; --left) {
    const auto kind = world_.rng().below(10);
    if (kind < 4) {
      phases.push_back(sometimes_extended(set()));
    } else if (kind < 6 || open.empty()) {
      open.push_back(fmt::format("s{}", ++made));
      phases.push_back(sometimes_extended("savepoint " + open.back()));
    } else if (kind < 9) {
      if (world_.chance(25)) phases.push_back(sometimes_extended("error 22012 " + token()));
      open.resize(world_.between(1, open.size()));
      phases.push_back(sometimes_extended("rollback to " + open.back()));
    } else {
      phases.push_back(sometimes_extended("release " + open.back()));
      open.pop_back();
    }
    if (world_.chance(30)) phases.push_back(await(query(command())));
    if (world_.chance(10)) phases.push_back(await(query(hold_command())));
  }
  phases.push_back(sometimes_extended(world_.chance(75) ? "commit" : "rollback"));
  for (Phase& phase : shown()) phases.push_back(std::move(phase));
  if (world_.chance(30)) phases.push_back(await(query("discard all")));
  return phases;
}

// The names of cursors are everybody's, the locks are the client's own.
std::string Script::hold_command() {
  const std::string cursor = "own" + std::to_string(world_.rng().below(2));
  const auto key = 10 * client_ + static_cast<int>(world_.rng().below(2));
  switch (world_.rng().below(8)) {
    case 0:
    case 1: return fmt::format("declare {} scroll cursor with hold for values ('{}')", cursor, token());
    case 2: return fmt::format("fetch first from {} /* {} */", cursor, token());
    case 3: return fmt::format("close {} /* {} */", cursor, token());
    case 4:
    case 5:
    case 6: return fmt::format("select pg_advisory_lock({}) /* {} */", key, token());
    default: return fmt::format("select pg_advisory_unlock({}) /* {} */", key, token());
  }
}

// What stays on one server, and is taken away again; it stays gone.
std::vector<Phase> Script::holds() {
  std::vector<Phase> phases;
  const bool block = world_.chance(40);
  if (block) phases.push_back(await(query("begin")));
  for (std::uint64_t left = world_.between(1, 6); left > 0; --left)
    phases.push_back(await(query(hold_command())));
  if (block) phases.push_back(sometimes_extended(world_.chance(75) ? "commit" : "rollback"));
  for (std::uint64_t left = world_.between(0, 3); left > 0; --left)
    phases.push_back(await(query(world_.chance(50) ? command() : hold_command())));
  if (world_.chance(30)) {
    phases.push_back(await(query("discard all")));
  } else {
    phases.push_back(await(query("close all")));
    phases.push_back(await(query("select pg_advisory_unlock_all()")));
  }
  phases.push_back(await(query(command())));
  phases.push_back(await(query("fetch first from own0")));
  phases.push_back(await(query(fmt::format("select pg_advisory_unlock({})", 10 * client_))));
  return phases;
}

}  // namespace pgweir::sim
