// pooler/settings.h - the session settings that follow a client from server to server, as shared immutable
// maps.
//
// A map holds what differs from the group's baseline, the values that Postgres reports to a fresh session.
// Equal maps are one object, so "does this server already have what this client wants" is a comparison of
// pointers. A map is proven once a server of the group has accepted all of it; only then may a client be
// welcomed without asking a server.
#pragma once

#include <array>
#include <chrono>
#include <map>
#include <memory>
#include <optional>
#include <set>
#include <string>
#include <utility>
#include <vector>

#include "pooler/audit.h"
#include "pooler/base/bytes.h"
#include "pooler/base/error.h"
#include "protocol/startup.h"

#include "pooler/base/plain_sql.h"
namespace pgweir {

struct SettingsMap {
  using Values = std::map<std::string, std::string, std::less<>>;
  Values values;
  Values reported;  // what Postgres reports for values that it spells differently ("utf8" -> "UTF8")
  bool proven = false;
  bool plain_sql = true;  // see SettingsBook::plain_sql
  // Its idle_session_timeout; 0: none. Nothing: that of the server's start.
  std::optional<std::chrono::milliseconds> idle_most{};
  // Has a timeout of statements under which requests of ours, however quick, may come to their end.
  bool hasty = false;
  // The settings that decide what a text means when it is parsed, in one string; empty: the defaults.
  std::string parsing;

  // Within kSettingsMost and kSettingsBytesMost.
  bool small() const;
  // Its values mean the same in every encoding.
  bool ascii() const;
  // How Postgres reports the value of a setting that the map has.
  const std::string& told(Bytes name) const;
};
using SettingsRef = std::shared_ptr<SettingsMap>;
using SharedValues = std::shared_ptr<const SettingsMap::Values>;  // never null
SharedValues no_values();

// The name as maps have it: names mean the same in any case.
std::string setting_key(Bytes name);

// Settings whose changes Postgres reports and a client may make (Postgres manual, "Asynchronous Operations").
bool is_tracked_setting(Bytes name);

// What ends a statement, and so a request of ours that gives or takes settings, by its time: first taken back
// and last given.
inline constexpr std::array<Bytes, 2> kTimeouts = {"statement_timeout", "transaction_timeout"};
bool is_timeout(Bytes name);

// What the bytes of all other values are written in.
inline constexpr Bytes kClientEncoding = "client_encoding";

// What ends a session that asks for nothing, and how long it lets it be; 0: as long as it likes, or no value.
inline constexpr Bytes kIdleTimeout = "idle_session_timeout";
std::chrono::milliseconds idle_timeout(Bytes value);

// Of which a value may say a part only ("DMY"): the rest stays as it was.
bool may_be_partial(Bytes name);

// Whose session it is. Taking back the session's user takes back its role, too.
inline constexpr std::array<Bytes, 2> kWhoSpeaks = {"role", "session_authorization"};
bool decides_who(Bytes name);

// Whether its value decides what a text means when it is parsed.
bool decides_parsing(Bytes name);
// ... and servers report it.
bool is_reading(Bytes name);
// Whether names of tables and functions mean the same under both, of SettingsMap::parsing.
bool same_path(Bytes parsing, Bytes other);
// Whether it is known how literals are read under it.
bool tells_literals(Bytes parsing);
// Whether a text that was parsed under `then` means the same under `now`, when its literals are read by what
// readings() tells.
bool may_be_read_as(Bytes then, Bytes now);

// Names under one, literals under the other.
std::string with_literals_of(Bytes names, Bytes literals);
bool same_encoding(Bytes parsing, Bytes other);
// But for how literals are read and who speaks.
bool same_but_for_speaker(Bytes parsing, Bytes other);

// What SettingsMap::parsing would be in a transaction that has set some of it, perhaps for itself alone, and
// has not ended.
class ParsingApart {
 public:
  // The transaction has done so. `name` as setting_key() has it, `value` as the text has it.
  void set(const std::string& name, const std::string& value);
  // From here on nobody knows what is set: it equals that of no other transaction. No `mark` is given twice.
  void lose(std::uint64_t mark);
  // The same until the server has answered: what it reports is known then.
  void doubt(std::uint64_t mark);
  // The same, and nothing but how literals are read is in doubt.
  void doubt_literals(std::uint64_t mark);
  void answered();
  // Something of it that is not reported was set, or nobody knows.
  bool differs() const { return !values_.empty(); }
  bool lost() const;
  // With what `map` has of all that was not set. Valid until the next call.
  Bytes parsing(const SettingsRef& map);

 private:
  SettingsMap::Values values_;
  std::string doubt_, literals_doubt_;  // their marks; empty: none
  std::string parsing_;
  SettingsRef of_;  // parsing_ was made with this one; null: not made
};
// A setting that decides how the literals of a text are read when it is parsed, and its value then.
struct Reading {
  std::string name, value;
};
// Those by which literals were read otherwise under `then` than they are, or may be, under `now`, on a server
// that began with `fresh`.
std::vector<Reading> readings(Bytes then, Bytes now, const SettingsMap::Values& fresh);

// What a client is told that asks for another value.
Error misread(Bytes name, Bytes value);

class SettingsBook {
 public:
  SettingsBook();

  const SettingsRef& empty() const { return empty_; }
  // Names are taken in any case, as Postgres takes them, and kept as Postgres reports them.
  SettingsRef intern(SettingsMap::Values values);
  // The map that results when a server reports `value` for `name` to a client with `map`.
  SettingsRef changed(const SettingsRef& map, Bytes name, Bytes value);

  // The map that results when a server tells what a client's transaction has left: no value means that of a
  // fresh session, for which `defaults` has some.
  SettingsRef learned(const SettingsRef& map, const std::vector<Findings::Setting>& told,
                      const SettingsMap& defaults);
  // The map in which `name` is what it is in `defaults`, which has it.
  SettingsRef taken_back(const SettingsRef& map, Bytes name, const SettingsMap& defaults);
  // Whether `value` is what servers report for `name` to a fresh session.
  bool is_baseline(Bytes name, Bytes value) const;

  // What RESET ALL makes of `map`, of a client that began with `started`: who speaks remains.
  SettingsRef reset(const SettingsMap& map, const SettingsRef& started);
  // What a fresh server reports; unknown until one has logged in, and again after forget_baseline(). Servers
  // from before that stay with those who have them: what these began with is kept with them.
  bool has_baseline() const { return !baseline_->empty(); }
  void forget_baseline() { baseline_ = no_values(); }
  const SettingsMap::Values& baseline() const { return *baseline_; }
  // What one that logs in reports, which is the baseline if there is none; once for all that report the same.
  SharedValues fresh(SettingsMap::Values reported);
  void mark_proven(const SettingsRef& map);
  // All values of the settings are such that reads_plainly(): those of the map, and of a fresh session's
  // where the map has no other.
  bool plain_sql(const SettingsMap& map) const {
    return map.plain_sql && (baseline_plain_sql_ || !odd_baseline(map));
  }
  // The same of SettingsMap::parsing.
  bool plain_parsing(Bytes parsing) const;
  // One under which texts cannot be read, and its value; of who has no plain_sql().
  struct Odd {
    Bytes name, value;
    bool own;  // the client's; else it is what a fresh session has
  };
  Odd odd_setting(const SettingsMap& map) const;
  // Whether servers are known to take back what a client has set of it; of kReturnedKept names at most.
  bool returns(Bytes name) const;
  void mark_returned(Bytes name);
  static constexpr std::size_t kReturnedKept = 1000;
  // What a client with this map is told at login: the settings that servers report, which vary by version.
  SettingsMap::Values welcome(const SettingsMap& map) const;

 private:
  SettingsRef grown(const SettingsMap& map, SettingsMap::Values values);
  void sweep();
  SharedValues baseline_ = no_values();
  bool baseline_plain_sql_ = true;
  std::map<SettingsMap::Values, std::weak_ptr<SettingsMap>> maps_;
  std::set<std::string, std::less<>> returned_;
  std::vector<SettingsRef> proven_;  // kept alive so that a returning client need not wake a server
  std::size_t sweep_at_ = 64;
  SettingsRef empty_;
  const SettingsMap::Values::value_type* odd_baseline(const SettingsMap& map) const;
};

}  // namespace pgweir
