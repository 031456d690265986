// pooler/console_core.h - the console's language: one row per command, and texts read into commands.
//
// A role may use a command only if the command's row says so (R9). Pure: no socket, no clock.
#pragma once

#include <cstdint>
#include <span>
#include <string>
#include <string_view>
#include <vector>

#include "pooler/base/error.h"

namespace pgweir::console {

enum class Role : std::uint8_t { None, Stats, Admin };  // each may do what the ones before it may

enum class Action : std::uint8_t {
  ShowClients,
  ShowConfig,
  ShowDatabases,
  ShowHelp,
  ShowLists,
  ShowPinnedClients,
  ShowPins,
  ShowPools,
  ShowServers,
  ShowState,
  ShowStats,
  ShowStatsAverages,
  ShowStatsTotals,
  ShowTotals,
  ShowVersion,
  Pause,
  Reload,
  Resume,
  Shutdown,
  // What drivers say on every connection; nothing happens.
  Set,
  Begin,
  End,
  SelectOne,
  SelectVersion,
};

enum class Argument : std::uint8_t { None, Database };  // a database is optional

struct Command {
  std::string_view words;  // upper case, one space between
  Action action;
  Argument argument = Argument::None;
  std::string_view tag;      // of CommandComplete
  Role least = Role::Admin;  // whoever adds a row and says nothing gives it to nobody else
  std::string_view help;     // empty: not told in HELP
};

std::span<const Command> commands();
inline bool may(Role role, const Command& command) { return role != Role::None && role >= command.least; }

struct Request {
  const Command* command = nullptr;  // static
  std::string argument;              // empty: none given
};

// All statements of one query text; they are separated by ';', and empty ones are left out. One that is not
// understood makes the whole text an error, before anything of it is done.
Expected<std::vector<Request>> parse(std::string_view text);

// The list for SHOW HELP and for the hint of an error.
std::string help(Role role);

}  // namespace pgweir::console
