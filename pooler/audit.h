// pooler/audit.h - what one client's requests may have left on its server, and the questions that find out.
//
// The texts tell what may have happened; Postgres tells what did. When a transaction whose texts looked
// suspicious has ended, the server is asked for the values of the settings that they named and whether
// temporary objects, cursors, locks and the like are there. So rollbacks, savepoints, functions and errors
// need no model of ours.
#pragma once

#include <array>
#include <cstdint>
#include <map>
#include <optional>
#include <string>
#include <vector>

#include "pooler/base/bytes.h"
#include "pooler/statements.h"

namespace pgweir {

// Why a client keeps its server between transactions: state that lives on that server only. A set of bits.
using Pins = std::uint16_t;
namespace pin {
inline constexpr Pins kTemp = 1;           // temporary tables, views, functions ...
inline constexpr Pins kCursor = 2;         // WITH HOLD, after its transaction
inline constexpr Pins kLock = 4;           // session-level advisory locks
inline constexpr Pins kListen = 8;         // LISTEN, where nobody else can listen for the client
inline constexpr Pins kStatement = 16;     // PREPARE, of what cannot be kept here
inline constexpr Pins kSettings = 32;      // settings that cannot be named from outside
inline constexpr Pins kSession = 64;       // session mode: for as long as the client stays
inline constexpr Pins kReplication = 128;  // a walsender: the same
inline constexpr Pins kSharing = 256;      // LISTEN, until the shared connection has it: not counted as a pin
inline constexpr Pins kProvable = kTemp | kCursor | kLock | kListen | kStatement;
inline constexpr std::array<Bytes, 8> kNames = {"temp",      "cursor",   "lock",    "listen",
                                                "statement", "settings", "session", "replication"};
// "temp,cursor", in the order above.
std::string names(Pins pins);
}  // namespace pin

struct Question {
  enum class Kind : std::uint8_t {
    Value,       // of a setting
    Origin,      // the same, whether it is the session's own, and whether its user may set it elsewhere, too
    Temp,        // whether there is any
    Cursors,     // the same
    Locks,       // the same
    Listens,     // to which channels
    Statements,  // what PREPARE has made
    Sessions,    // which settings are the session's own, of those that Postgres lists
    Patience,    // no question: those behind it have as much time as in a fresh session
  };
  static constexpr std::size_t kKinds = 9;
  Kind kind;
  std::string name = {};  // of the setting
};

// How a reason to keep a server is looked for.
struct Proof {
  Pins pin;
  Question::Kind question;
};
inline constexpr Proof kProofs[] = {{pin::kTemp, Question::Kind::Temp},
                                    {pin::kCursor, Question::Kind::Cursors},
                                    {pin::kLock, Question::Kind::Locks},
                                    {pin::kListen, Question::Kind::Listens},
                                    {pin::kStatement, Question::Kind::Statements}};

// The statement that a question executes, its name on the server and what a Parse says behind the name.
// Names and operators are qualified: a client's search_path must not answer for Postgres.
Bytes statement_of(Question::Kind kind);
Bytes content_of(Question::Kind kind);

// What the answers say.
struct Findings {
  struct Setting {
    std::string name;
    std::optional<std::string> value;  // none: back at what the server gives a fresh session
  };
  struct Statement {
    std::string name;
    std::vector<std::uint32_t> types;  // of its parameters
    bool from_sql = false;             // made by PREPARE, which is somewhere in the text
    std::string text;
  };
  std::vector<Setting> settings;
  std::vector<std::string> channels;  // at most kChannelsRead, else the pin
  // At most kStatementsRead of kStatementBytesRead, and not those that are too long: else the pin.
  std::vector<Statement> statements;
  std::size_t statement_bytes = 0;
  bool outsized = false;  // more settings than are carried, or a value too long to be read: pinned, too
  Pins pins = 0;

  static constexpr std::size_t kChannelsRead = 1000;
  static constexpr std::size_t kStatementsRead = 1000, kStatementBytesRead = 4 << 20;
  // `row` is the body of a DataRow. False when it does not answer the question.
  bool add(const Question& question, Bytes row);
};

// Settings that are carried from server to server for one client: beyond either it keeps its server.
inline constexpr std::size_t kSettingsMost = 256;
inline constexpr std::size_t kSettingsBytesMost = 64 << 10;

// What the texts of one transaction may have done.
struct Suspicion {
  std::vector<std::string> settings;     // set, or set back
  std::vector<std::string> set_back;     // those to their defaults, which for Postgres are not the client's
  bool all_set_back = false;             // all of the client's may have been
  std::vector<std::string> doubted;      // those of `settings` that others than plain SETs may have set
  bool any_set = false;                  // any setting may have been, by what nobody has read
  bool readings_changed = false;         // how literals are read may have
  bool outsized = false;                 // more settings than are carried may have been: pinned, too
  bool undone = false;                   // some of it has failed or was rolled back
  bool held = false;                     // those that have ceilings may have been set, whatever was named
  std::vector<std::string> hidden;       // those that only a superuser may ask for
  std::vector<Findings::Setting> above;  // found in the open transaction: what they are to be instead
  Pins pins = 0;                         // what may have come or gone
  std::map<std::string, StatementRef> lent;  // the client's statements that the server was given by its names
  bool occupied = false;                     // under some of the others it may have one that does nothing
  // How the literals of what the texts have prepared by those names were read, as SettingsMap::parsing has
  // it; none: nobody knows. Of kStatementsRead names at most: of others nobody knows it then.
  std::map<std::string, std::optional<std::string>> prepared_under;

  // More names than a client may have settings pin it instead.
  void add_setting(const std::string& name);
  // `key`: see setting_key. More of them count as all.
  void add_set_back(std::string key);
  bool may_set_back(Bytes key) const;
  void add_doubted(const std::string& name);
  bool doubts(const std::string& name) const;
};

}  // namespace pgweir
