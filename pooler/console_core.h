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

// Figures that are gathered from all workers.
enum class Table : std::uint8_t {
  ActiveSockets,
  Backends,
  Breakers,
  Clients,
  Databases,
  Lists,
  Mem,
  PinnedClients,
  Pins,
  Pools,
  Servers,
  Sockets,
  Statements,
  Stats,
  StatsAverages,
  StatsTotals,
  Tenants,
  Tiers,
  Totals,
  Usage,
  Users,
  Workers,
};

enum class Action : std::uint8_t {
  ShowCeilings,
  ShowConfig,
  ShowDnsHosts,
  ShowDnsZones,
  ShowHelp,
  ShowLimit,
  ShowPeerPools,
  ShowPeers,
  ShowSetting,  // of the session, as drivers ask for it: `argument` and, where it never changes, `value`
  ShowState,
  ShowTable,  // Command::table
  ShowVersion,
  BreakerAuto,
  BreakerClose,
  BreakerOpen,
  Disable,
  Enable,
  Kill,
  KillClient,
  Move,
  Pause,
  Reconnect,
  Reload,
  Resume,
  ResetOverride,
  ResumeTenant,
  SetOverride,
  SetSetting,
  SetTier,
  Shutdown,
  ShutdownWaitClients,
  ShutdownWaitServers,
  Suspend,
  SuspendTenant,
  WaitClose,
  // What drivers say on every connection; nothing happens.
  Set,
  Begin,
  End,
  Deallocate,
  SelectOne,
  SelectVersion,
};

enum class Argument : std::uint8_t {
  None,
  Database,     // may be left out: all of them
  OneDatabase,  // must be there
  Breaker,      // backend [TENANT tenant]
  Client,       // an id of SHOW CLIENTS
  Tenant,       // must be there; also one that only the tenant store knows
  Tier,         // tenant tier
  Override,     // tenant field
  OverrideTo,   // tenant field value
  Move,         // tenant TO backend [seconds]
  Reason,       // tenant ['reason']
};

// A part of a list: [LIKE pattern] [LIMIT count] [AFTER key], in any order, behind all else. It comes in the
// order of the keys; whoever wants the next part gives the last one's key. Rows that come or go meanwhile are
// there or not; others are shown once.
struct Page {
  static constexpr std::uint32_t kAll = 0xffffffff;
  std::string like = "%";  // '%' is any text, '_' any letter, '\\' takes a letter as it is
  std::uint32_t limit = kAll;
  std::string after;               // empty: from the first
  std::uint64_t after_number = 0;  // the same, where keys are numbers
  bool everything() const { return like == "%" && limit == kAll && after.empty(); }
  friend bool operator==(const Page&, const Page&) = default;
};
bool matches(std::string_view name, std::string_view like);

// Columns that a page of a list goes by; of several the values with '/' between, without those that are NULL.
struct Keys {
  enum class Kind : std::uint8_t { None, Name, Number } kind = Kind::None;  // None: there are no pages
  std::string_view like{};
  std::string_view after{};          // rows that have the same there are not separated, whatever the limit
  std::uint32_t limit = Page::kAll;  // unless the request says otherwise
};

struct Command {
  std::string_view words;  // upper case, one space between
  Action action;
  Argument argument = Argument::None;
  std::string_view tag;      // of CommandComplete
  Role least = Role::Admin;  // whoever adds a row and says nothing gives it to nobody else
  std::string_view help;     // empty: not told in HELP
  Keys keys{};               // of a SHOW
  Table table{};             // of Action::ShowTable
};

inline constexpr std::string_view kApplicationName = "application_name";

std::span<const Command> commands();
inline bool may(Role role, const Command& command) { return role != Role::None && role >= command.least; }

struct Request {
  const Command* command = nullptr;  // static
  std::string argument{};            // empty: none given
  std::string field{};               // of a tier
  std::string value{};               // what stands behind it: of a setting, a tier, a reason; a page's words
  std::uint32_t client = 0;
  std::uint32_t seconds = 0;  // 0: none given
  Page page{};
  std::vector<std::string> columns{};   // of a SHOW; empty: all
  std::vector<std::uint16_t> places{};  // where they stand in the command's table, see console_columns.h
};

// What a request answers, with or without rows: its first message is the RowDescription, if it has any.
using Shape = std::string (*)(const Request& request);

// All statements of one query text; they are separated by ';', and empty ones are left out. One that is not
// understood makes the whole text an error, before anything of it is done. `shape` says which columns there
// are.
Expected<std::vector<Request>> parse(std::string_view text, Shape shape);

// The list for SHOW HELP and for the hint of an error.
std::string help(Role role);

}  // namespace pgweir::console
