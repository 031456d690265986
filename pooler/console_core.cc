#include "pooler/console_core.h"

#include <fmt/format.h>

#include <algorithm>
#include <array>
#include <charconv>
#include <optional>
#include <set>
#include <utility>

#include "pooler/base/check.h"
#include "pooler/base/near.h"
#include "pooler/base/quoted.h"
#include "pooler/console_columns.h"

namespace pgweir::console {

namespace {

constexpr Role kStats = Role::Stats;
constexpr Role kAdmin = Role::Admin;
constexpr auto kNone = Argument::None;
constexpr auto kDatabase = Argument::Database;
constexpr auto kOneDatabase = Argument::OneDatabase;
constexpr auto kClient = Argument::Client;

// Without a LIMIT there are so many rows of what there may be 100,000 of; bills are made of all.
constexpr std::uint32_t kManyRows = 1000;
constexpr Keys keyed(std::string_view column) { return {Keys::Kind::Name, column, column}; }

constexpr std::uint32_t kMoveSecondsMost = 3600;
constexpr std::string_view kShow = "SHOW ";
// Never found by their words.
constexpr std::string_view kSetSetting = "SET key = value", kShowSetting = "SHOW setting";

constexpr Command table(std::string_view words, Table table, std::string_view help, Keys keys = {}) {
  return {words, Action::ShowTable, kNone, "SHOW", kStats, help, keys, table};
}

constexpr std::array kCommands{
    table("SHOW ACTIVE_SOCKETS", Table::ActiveSockets, "connections on which something is going on"),
    table("SHOW BACKENDS", Table::Backends,
          "hosts of Postgres, and how many connections each may have and has", keyed("name")),
    table("SHOW BREAKERS", Table::Breakers,
          "circuit breakers of backends, and those of single databases and users that have met trouble",
          keyed("backend/database/user")),
    Command{"SHOW CEILINGS",
            Action::ShowCeilings,
            kDatabase,
            "SHOW",
            kStats,
            "what sessions of each tier, or of one database, may ask Postgres for",
            {Keys::Kind::Name, "parameter", "tier/parameter/kind"}},
    table("SHOW CLIENTS", Table::Clients, "who is connected, and what it waits for"),
    Command{"SHOW CONFIG", Action::ShowConfig, kNone, "SHOW", kStats,
            "every setting in force, secrets masked"},
    table("SHOW DATABASES", Table::Databases, "tenants, their backends and limits"),
    Command{"SHOW DNS_HOSTS", Action::ShowDnsHosts, kNone, "SHOW", kStats,
            "empty: names are looked up for every connection"},
    Command{"SHOW DNS_ZONES", Action::ShowDnsZones, kNone, "SHOW", kStats, "empty, as well"},
    Command{"SHOW HELP", Action::ShowHelp, kNone, "SHOW", kStats, "this list"},
    Command{"SHOW LIMIT", Action::ShowLimit, Argument::Tenant, "SHOW", kStats,
            "what a tenant may have, which rule says so, and why its clients wait", keyed("limit")},
    table("SHOW LISTS", Table::Lists, "how many of each there are"),
    table("SHOW MEM", Table::Mem, "objects that clients and servers take"),
    Command{"SHOW PEER_POOLS", Action::ShowPeerPools, kNone, "SHOW", kStats, "empty: there are no peers"},
    Command{"SHOW PEERS", Action::ShowPeers, kNone, "SHOW", kStats, "empty, as well"},
    table("SHOW PINNED_CLIENTS", Table::PinnedClients, "who keeps a server between transactions, and why",
          {Keys::Kind::Number, "database", "id"}),
    table("SHOW PINS", Table::Pins, "how many clients of each database do, by reason", keyed("database")),
    table("SHOW POOLS", Table::Pools, "clients and servers per database and user"),
    table("SHOW SERVERS", Table::Servers, "connections to Postgres"),
    table("SHOW SOCKETS", Table::Sockets, "clients and servers with what waits to be sent"),
    Command{"SHOW STATE", Action::ShowState, kNone, "SHOW", kStats, "whether the pooler is active or paused"},
    table("SHOW STATEMENTS", Table::Statements,
          "prepared statements by database and user, how often they were used and where they are known",
          {Keys::Kind::Name, "database", "name", kManyRows}),
    table("SHOW STATS", Table::Stats,
          "traffic per database: totals since the start, averages over the last minute"),
    table("SHOW STATS_AVERAGES", Table::StatsAverages, "only the averages of it"),
    table("SHOW STATS_TOTALS", Table::StatsTotals, "only the totals of it"),
    table("SHOW TENANTS", Table::Tenants, "tenants, their tiers and what they use",
          {Keys::Kind::Name, "tenant", "tenant", kManyRows}),
    table("SHOW TIERS", Table::Tiers, "tiers and what each allows", keyed("tier")),
    table("SHOW TOTALS", Table::Totals, "the same, of all databases together"),
    table("SHOW USAGE", Table::Usage, "what each tenant has used since the start, as it is billed",
          keyed("tenant")),
    table("SHOW USERS", Table::Users, "users and their connections"),
    Command{"SHOW VERSION", Action::ShowVersion, kNone, "SHOW", kStats, "the version"},
    table("SHOW WORKERS", Table::Workers, "the threads, and what each carries",
          {Keys::Kind::Number, "worker", "worker"}),
    Command{
        "BREAKER OPEN", Action::BreakerOpen, Argument::Breaker, "BREAKER", kAdmin,
        "make no connection to it, or for the database of this tenant, until the next such order, and close "
        "those that there are as they come free"},
    Command{"BREAKER CLOSE", Action::BreakerClose, Argument::Breaker, "BREAKER", kAdmin,
            "make connections to it whatever becomes of them"},
    Command{"BREAKER AUTO", Action::BreakerAuto, Argument::Breaker, "BREAKER", kAdmin,
            "begin anew, closed, and follow what becomes of them"},
    Command{"DISABLE", Action::Disable, kOneDatabase, "DISABLE", kAdmin,
            "refuse new clients of it; those that there are go on"},
    Command{"ENABLE", Action::Enable, kOneDatabase, "ENABLE", kAdmin, "let them in again"},
    Command{"KILL", Action::Kill, kDatabase, "KILL", kAdmin,
            "drop its clients and servers at once, and pause it until RESUME"},
    Command{"KILL_CLIENT", Action::KillClient, kClient, "KILL_CLIENT", kAdmin,
            "drop one client; SHOW CLIENTS has the ids"},
    Command{"MOVE", Action::Move, Argument::Move, "MOVE", kAdmin,
            "serve a tenant from another backend, where its data must be already: its new transactions wait "
            "until "
            "the running ones have ended, for pool.move_timeout or so many seconds at most"},
    Command{"PAUSE", Action::Pause, kDatabase, "PAUSE", kAdmin,
            "let transactions end, close servers, and make clients wait"},
    Command{"RECONNECT", Action::Reconnect, kDatabase, "RECONNECT", kAdmin,
            "replace server connections as they come free"},
    Command{"WAIT_CLOSE", Action::WaitClose, kDatabase, "WAIT_CLOSE", kAdmin,
            "wait until those that RECONNECT or RELOAD replaces are gone"},
    Command{
        "SUSPEND", Action::Suspend, kNone, "SUSPEND", kAdmin,
        "pass on what was read, then read nothing more from clients and their servers until RESUME, or until "
        "no console is connected"},
    Command{"RESUME", Action::Resume, kDatabase, "RESUME", kAdmin, "let them go on; without a name: all"},
    Command{
        "SET TIER", Action::SetTier, Argument::Tier, "SET", kAdmin,
        "give a tenant another tier: in its store, or, if the configuration has it, until the next reload"},
    Command{"SET OVERRIDE", Action::SetOverride, Argument::OverrideTo, "SET", kAdmin,
            "give a tenant a value of its own instead of its tier's, for any field of a tier; where it is "
            "kept, as SET TIER"},
    Command{"RESET OVERRIDE", Action::ResetOverride, Argument::Override, "RESET", kAdmin,
            "give it its tier's again"},
    Command{
        "SUSPEND_TENANT", Action::SuspendTenant, Argument::Reason, "SUSPEND_TENANT", kAdmin,
        "refuse its clients, and end those that there are with their transactions; 'reason' is told them"},
    Command{"RESUME_TENANT", Action::ResumeTenant, Argument::Tenant, "RESUME_TENANT", kAdmin,
            "serve it again"},
    Command{"RELOAD", Action::Reload, kNone, "RELOAD", kAdmin, "read the configuration again"},
    Command{"SHUTDOWN", Action::Shutdown, kNone, "SHUTDOWN", kAdmin,
            "stop accepting, let transactions end within process.shutdown_timeout, and exit"},
    Command{"SHUTDOWN WAIT_FOR_SERVERS", Action::ShutdownWaitServers, kNone, "SHUTDOWN", kAdmin,
            "the same, however long the transactions take; SIGTERM then ends them at once"},
    Command{"SHUTDOWN WAIT_FOR_CLIENTS", Action::ShutdownWaitClients, kNone, "SHUTDOWN", kAdmin,
            "stop accepting, and exit when the last client has gone, however long that takes"},
    Command{kSetSetting, Action::SetSetting, kNone, "SET", kAdmin,
            "change a setting that a reload can change, in memory: until RELOAD or the next start"},
    Command{"SET", Action::Set, kNone, "SET", kStats, ""},
    Command{kShowSetting, Action::ShowSetting, kNone, "SHOW", kStats,
            "what a driver asks for of its session: client_encoding, DateStyle, TimeZone and their like"},
    Command{"BEGIN", Action::Begin, kNone, "BEGIN", kStats, ""},
    Command{"BEGIN TRANSACTION", Action::Begin, kNone, "BEGIN", kStats, ""},
    Command{"START TRANSACTION", Action::Begin, kNone, "START TRANSACTION", kStats, ""},
    Command{"COMMIT", Action::End, kNone, "COMMIT", kStats, ""},
    Command{"END", Action::End, kNone, "COMMIT", kStats, ""},
    Command{"ROLLBACK", Action::End, kNone, "ROLLBACK", kStats, ""},
    Command{"DEALLOCATE ALL", Action::Deallocate, kNone, "DEALLOCATE ALL", kStats, ""},
    Command{"DISCARD ALL", Action::Deallocate, kNone, "DISCARD ALL", kStats, ""},
    Command{"SELECT 1", Action::SelectOne, kNone, "SELECT 1", kStats, ""},
    Command{"SELECT VERSION ( )", Action::SelectVersion, kNone, "SELECT 1", kStats, ""},
};

// What drivers set on every connection, and ask for. It has no meaning here and does no harm: nothing changes
// but the name, which SHOW CLIENTS has.
struct SessionSetting {
  std::string_view name;
  const char* value;
};
constexpr std::array kSessionSettings{
    SessionSetting{kApplicationName, ""},
    SessionSetting{"bytea_output", "hex"},
    SessionSetting{"client_encoding", "UTF8"},
    SessionSetting{"client_min_messages", "notice"},
    SessionSetting{"datestyle", "ISO"},
    SessionSetting{"default_transaction_deferrable", "off"},
    SessionSetting{"default_transaction_isolation", "read committed"},
    SessionSetting{"default_transaction_read_only", "off"},
    SessionSetting{"extra_float_digits", "1"},
    SessionSetting{"idle_in_transaction_session_timeout", "0"},
    SessionSetting{"intervalstyle", "postgres"},
    SessionSetting{"lock_timeout", "0"},
    SessionSetting{"search_path", ""},
    SessionSetting{"standard_conforming_strings", "on"},
    SessionSetting{"statement_timeout", "0"},
    SessionSetting{"timezone", "UTC"},
    SessionSetting{"transaction_isolation", "read committed"},
};

constexpr std::size_t kStatementsMax = 100;
constexpr std::size_t kColumnsMax = 100;  // that one SHOW selects

struct Token {
  enum class Kind : std::uint8_t { Word, Quoted, String, Symbol, Semicolon };
  Kind kind;
  std::string text;  // words as written
};

bool is_space(char c) { return c == ' ' || (c >= '\t' && c <= '\r'); }
bool is_word(char c) {
  return (c >= '0' && c <= '9') || (c >= 'A' && c <= 'Z') || (c >= 'a' && c <= 'z') || c == '_' || c == '.' ||
         c == '-' || c == '$' || c == '*' || static_cast<unsigned char>(c) >= 0x80;
}
std::string upper(std::string_view text) {
  std::string out(text);
  for (char& c : out)
    if (c >= 'a' && c <= 'z') c = static_cast<char>(c - 'a' + 'A');
  return out;
}

std::string lower(std::string_view text) {
  std::string out(text);
  for (char& c : out)
    if (c >= 'A' && c <= 'Z') c = static_cast<char>(c - 'A' + 'a');
  return out;
}

tl::unexpected<Error> syntax_error(std::string message, std::string hint = {}) {
  return fail(sqlstate::kSyntaxError, std::move(message), std::move(hint));
}

class Lexer {
 public:
  explicit Lexer(std::string_view text) : rest_(text) {}

  // Nothing at the end of the text.
  Expected<std::optional<Token>> next() {
    if (auto skipped = skip_blanks(); !skipped) return tl::unexpected(std::move(skipped.error()));
    if (rest_.empty()) return std::optional<Token>();
    const char c = rest_[0];
    if (c == ';') return take(Token::Kind::Semicolon, 1);
    if (c == '"') return quoted_text('"', Token::Kind::Quoted);
    if (c == '\'') return quoted_text('\'', Token::Kind::String);
    std::size_t size = 0;
    while (size < rest_.size() && is_word(rest_[size]) && !starts_comment(size)) ++size;
    return size > 0 ? take(Token::Kind::Word, size) : take(Token::Kind::Symbol, 1);
  }

 private:
  bool starts_comment(std::size_t at) const { return rest_.substr(at, 2) == "--"; }
  std::optional<Token> take(Token::Kind kind, std::size_t size) {
    Token token{kind, std::string(rest_.substr(0, size))};
    rest_.remove_prefix(size);
    return token;
  }
  // Of the comment in front, and all that stand in it; 0: it does not end.
  std::size_t comment_size() const {
    std::size_t depth = 0, at = 0;
    do {
      at = rest_.find_first_of("/*", at);
      if (at == std::string_view::npos) return 0;
      const std::string_view two = rest_.substr(at, 2);
      if (two == "/*") ++depth;
      if (two == "*/") --depth;
      at += two == "/*" || two == "*/" ? 2 : 1;
    } while (depth > 0);
    return at;
  }
  Expected<void> skip_blanks() {
    for (;;) {
      if (!rest_.empty() && is_space(rest_[0])) {
        rest_.remove_prefix(1);
      } else if (starts_comment(0)) {
        rest_.remove_prefix(std::min(rest_.find('\n'), rest_.size()));
      } else if (rest_.starts_with("/*")) {
        const std::size_t size = comment_size();
        if (size == 0) return syntax_error("unterminated /* comment");
        rest_.remove_prefix(size);
      } else {
        return {};
      }
    }
  }
  Expected<std::optional<Token>> quoted_text(char quote, Token::Kind kind) {
    Token token{kind, {}};
    for (std::size_t i = 1; i < rest_.size(); ++i) {
      if (rest_[i] != quote) {
        token.text += rest_[i];
      } else if (i + 1 < rest_.size() && rest_[i + 1] == quote) {
        token.text += rest_[i++];
      } else {
        rest_.remove_prefix(i + 1);
        return std::optional<Token>(std::move(token));
      }
    }
    return syntax_error(
        fmt::format("unterminated {} in {}", quote == '"' ? "quoted name" : "string", quoted(rest_)));
  }

  std::string_view rest_;
};

using Tokens = std::span<const Token>;

bool is_name(const Token& token) {
  return (token.kind == Token::Kind::Word || token.kind == Token::Kind::Quoted) && !token.text.empty();
}

enum class Spelling : std::uint8_t { Upper, AsWritten };

// One space between words; strings and quoted names, which may be secrets, only as a sign.
std::string in_words(Tokens tokens, Spelling spelling = Spelling::Upper) {
  std::string words;
  for (const Token& token : tokens) {
    if (!words.empty()) words += ' ';
    if (token.kind == Token::Kind::Quoted || token.kind == Token::Kind::String)
      words += "'...'";
    else
      words += spelling == Spelling::Upper ? upper(token.text) : token.text;
  }
  return words;
}

std::string allowed_commands() {
  std::string list;
  for (const Command& command : kCommands) {
    if (command.help.empty()) continue;
    if (!list.empty()) list += ", ";
    list += command.words;
  }
  return list;
}

// A word that is wrong behind SHOW is compared with what may stand there, not with SHOW and all.
std::string suggestion(std::string_view words) {
  const bool show = words.starts_with(kShow);
  std::vector<std::string_view> names;
  for (const Command& command : kCommands) {
    if (command.help.empty() || command.words.starts_with(kShow) != show) continue;
    names.push_back(show ? command.words.substr(kShow.size()) : command.words);
  }
  if (!show) names.push_back("SHOW");
  std::string_view wrong = words.substr(show ? kShow.size() : 0);
  wrong = wrong.substr(0, wrong.find(' '));
  const std::string_view near = nearest(wrong, names);
  return near.empty() || near == words ? std::string()
                                       : fmt::format("; did you mean {}{}?", show ? kShow : "", near);
}

tl::unexpected<Error> unknown(Tokens tokens) {
  const std::string written = in_words(tokens, Spelling::AsWritten);
  return syntax_error(fmt::format("unknown command {}{}", quoted(written), suggestion(in_words(tokens))),
                      "The console knows " + allowed_commands() + ".");
}

const Command* find(std::string_view words) {
  const auto place =
      std::find_if(kCommands.begin(), kCommands.end(), [&](const Command& c) { return c.words == words; });
  return place == kCommands.end() ? nullptr : &*place;
}

const SessionSetting* session_setting(std::string_view name) {
  const auto place = std::find_if(kSessionSettings.begin(), kSessionSettings.end(),
                                  [&](const SessionSetting& setting) { return setting.name == name; });
  return place == kSessionSettings.end() ? nullptr : &*place;
}

// SHOW name, SHOW TIME ZONE, SHOW TRANSACTION ISOLATION LEVEL.
const SessionSetting* shown_setting(Tokens tokens) {
  const std::string words = in_words(tokens);
  if (words == "SHOW TIME ZONE") return session_setting("timezone");
  if (words == "SHOW TRANSACTION ISOLATION LEVEL") return session_setting("transaction_isolation");
  const bool shows = tokens.size() == 2 && upper(tokens[0].text) == "SHOW" && is_name(tokens[1]);
  return shows ? session_setting(lower(tokens[1].text)) : nullptr;
}

bool is_assignment(Tokens behind_name) {
  return behind_name.size() > 1 && (behind_name[0].text == "=" || upper(behind_name[0].text) == "TO");
}

// SET [SESSION | LOCAL] name {= | TO} value, SET TIME ZONE value, SET SESSION CHARACTERISTICS ... of drivers;
// and SET key {= | TO} value of administrators.
Expected<Request> parse_set(Tokens tokens) {
  Tokens rest = tokens.subspan(1);
  if (rest.empty()) return unknown(tokens);
  const std::string first = upper(rest[0].text);
  const Tokens session = rest.subspan(rest.size() > 1 && (first == "SESSION" || first == "LOCAL") ? 1 : 0);
  const std::string name = lower(session[0].text);
  const Tokens behind = session.subspan(1);
  if (session_setting(name)) {
    if (!is_assignment(behind)) return syntax_error(fmt::format("SET {} takes '=' and a value", name));
    if (name != kApplicationName) return Request{.command = find("SET")};
    return Request{.command = find("SET"), .argument = name, .value = behind[1].text};
  }
  const bool phrase = name == "names" || name == "time" || name == "characteristics" || name == "transaction";
  const std::size_t least = name == "time" ? 2 : 1;  // TIME ZONE, and then its value
  if (phrase && behind.size() >= least) return Request{.command = find("SET")};
  if (!is_assignment(rest.subspan(1)) || rest.size() != 3 || rest[2].kind == Token::Kind::Symbol)
    return syntax_error("SET takes the key of a setting, '=' and one value",
                        "A value with unusual letters stands in single quotes: SET http.allow = "
                        "'10.0.0.0/8, ::1'. SHOW CONFIG has the keys.");
  return Request{.command = find(kSetSetting), .argument = lower(rest[0].text), .value = rest[2].text};
}

// All digits, and not too many.
template <class Number>
bool read_number(std::string_view text, Number& number) {
  const auto [end, error] = std::from_chars(text.data(), text.data() + text.size(), number);
  return error == std::errc() && end == text.data() + text.size();
}

Expected<Request> parse_client(const Command& command, Tokens rest) {
  Request request{.command = &command, .argument = rest.empty() ? "" : rest[0].text};
  if (rest.size() == 1 && read_number(request.argument, request.client)) return request;
  return syntax_error(fmt::format("{} takes the id of one client", command.words),
                      "SHOW CLIENTS has it in the column id.");
}

std::string pages_of(const Command& command) {
  return fmt::format("LIKE is compared with the column {}, and AFTER takes the {} of the last row before.",
                     command.keys.like, command.keys.after);
}

Expected<void> parse_page(const Command& command, Tokens rest, Page& page) {
  std::set<std::string> given;
  for (page.limit = command.keys.limit; !rest.empty(); rest = rest.subspan(2)) {
    const std::string word = upper(rest[0].text);
    if (!given.insert(word).second && rest.size() > 1)
      return syntax_error(fmt::format("{} is given twice", word), pages_of(command));
    const bool value = rest.size() > 1 && rest[0].kind == Token::Kind::Word;
    const bool text = value && rest[1].kind != Token::Kind::Symbol;
    if (word == "LIKE" && text) {
      page.like = rest[1].text;
    } else if (word == "AFTER" && text) {
      page.after = rest[1].text;
      if (command.keys.kind == Keys::Kind::Number && !page.after.empty() &&
          !read_number(page.after, page.after_number))
        return syntax_error(fmt::format("AFTER takes a number here, not {}", quoted(page.after)),
                            pages_of(command));
    } else if (word == "LIMIT" && value) {
      if (!read_number(rest[1].text, page.limit))
        return syntax_error(fmt::format("LIMIT takes a whole number, not {}", quoted(rest[1].text)),
                            "It is how many rows are shown at most.");
    } else {
      return syntax_error(
          fmt::format("{} takes names of columns, LIKE 'pattern', LIMIT count and AFTER 'key'",
                      command.words),
          pages_of(command));
    }
  }
  return {};
}

std::string_view usage_of(Argument argument) {
  switch (argument) {
    case Argument::None: return "";
    case Argument::Database: return " [database]";
    case Argument::OneDatabase: return " database";
    case Argument::Breaker: return " backend [TENANT tenant]";
    case Argument::Client: return " id";
    case Argument::Tenant: return " tenant";
    case Argument::Tier: return " tenant tier";
    case Argument::Override: return " tenant field";
    case Argument::OverrideTo: return " tenant field value";
    case Argument::Move: return " tenant TO backend [seconds]";
    case Argument::Reason: return " tenant ['reason']";
  }
  return "";
}

Expected<Request> parse_tenant(const Command& command, Tokens rest) {
  const bool text = rest.size() > 1 && rest[1].kind == Token::Kind::String;
  bool good = !rest.empty() && is_name(rest[0]);
  if (command.argument == Argument::Tenant) good = good && rest.size() == 1;
  if (command.argument == Argument::Tier) good = good && rest.size() == 2 && is_name(rest[1]);
  if (command.argument == Argument::Reason) good = good && (rest.size() == 1 || (rest.size() == 2 && text));
  if (!good)
    return syntax_error(fmt::format("{} takes{}", command.words, usage_of(command.argument)),
                        "A name with unusual letters stands in double quotes, a reason in single ones.");
  return Request{.command = &command, .argument = rest[0].text, .value = rest.size() > 1 ? rest[1].text : ""};
}

// Fields are written in small letters, like settings.
Expected<Request> parse_override(const Command& command, Tokens rest) {
  const bool to = command.argument == Argument::OverrideTo;
  if (rest.size() != (to ? 3 : 2) || !is_name(rest[0]) || !is_name(rest[1]) ||
      (to && rest[2].kind == Token::Kind::Symbol))
    return syntax_error(
        fmt::format("{} takes{}", command.words, usage_of(command.argument)),
        "A name with unusual letters stands in double quotes, such a value in single ones: SET OVERRIDE acme "
        "ceiling.jit 'on|off'. SHOW LIMIT has the fields.");
  return Request{.command = &command,
                 .argument = rest[0].text,
                 .field = rest[1].kind == Token::Kind::Quoted ? rest[1].text : lower(rest[1].text),
                 .value = to ? rest[2].text : ""};
}

Expected<Request> parse_move(const Command& command, Tokens rest) {
  Request request{.command = &command};
  bool good = (rest.size() == 3 || rest.size() == 4) && is_name(rest[0]) &&
              rest[1].kind == Token::Kind::Word && upper(rest[1].text) == "TO" && is_name(rest[2]);
  if (good && rest.size() == 4)
    good = read_number(rest[3].text, request.seconds) && request.seconds >= 1 &&
           request.seconds <= kMoveSecondsMost;
  if (!good)
    return syntax_error(
        fmt::format("{} takes{}", command.words, usage_of(command.argument)),
        fmt::format("A name with unusual letters stands in double quotes; seconds lie between 1 "
                    "and {}.",
                    kMoveSecondsMost));
  request.argument = rest[0].text;
  request.value = rest[2].text;
  return request;
}

Expected<Request> parse_breaker(const Command& command, Tokens rest) {
  const bool tenant = rest.size() == 3 && upper(rest[1].text) == "TENANT" &&
                      rest[1].kind == Token::Kind::Word && is_name(rest[2]);
  if (rest.empty() || !is_name(rest[0]) || (rest.size() > 1 && !tenant))
    return syntax_error(fmt::format("{} takes{}", command.words, usage_of(command.argument)),
                        "A name with unusual letters stands in double quotes.");
  return Request{.command = &command, .argument = rest[0].text, .value = tenant ? rest[2].text : ""};
}

Expected<Request> parse_name(const Command& command, Tokens rest) {
  if (rest.empty() && command.argument == Argument::Database) return Request{.command = &command};
  if (rest.size() != 1 || !is_name(rest[0]))
    return syntax_error(fmt::format("{} takes the name of one database", command.words),
                        "A name with unusual letters stands in double quotes.");
  return Request{.command = &command,
                 .argument = rest[0].text};  // in the case it is written, as PgBouncer does
}

// The command whose words stand in front, and how many they are; of several the longest.
std::pair<const Command*, std::size_t> find_in_front(Tokens tokens) {
  for (std::size_t size = std::min<std::size_t>(tokens.size(), 2); size > 0; --size)
    if (const Command* command = find(in_words(tokens.first(size)))) return {command, size};
  return {nullptr, 0};
}

Expected<Request> parse_arguments(const Command& command, Tokens rest) {
  switch (command.argument) {
    case Argument::None: break;
    case Argument::Client: return parse_client(command, rest);
    case Argument::Tenant:
    case Argument::Tier:
    case Argument::Reason: return parse_tenant(command, rest);
    case Argument::Override:
    case Argument::OverrideTo: return parse_override(command, rest);
    case Argument::Move: return parse_move(command, rest);
    case Argument::Database:
    case Argument::OneDatabase: return parse_name(command, rest);
    case Argument::Breaker: return parse_breaker(command, rest);
  }
  return Request{.command = &command};
}

bool is_comma(const Token& token) { return token.kind == Token::Kind::Symbol && token.text == ","; }
// Whether a page begins with this: a column may be called the same, and has a comma behind it or nothing.
bool begins_page(const Command& command, Tokens rest) {
  const std::string word = rest[0].kind == Token::Kind::Word ? upper(rest[0].text) : "";
  if (word != "LIKE" && word != "LIMIT" && word != "AFTER") return false;
  return lower(word) != command.keys.after || (rest.size() > 1 && !is_comma(rest[1]));
}

// Where the names of columns stand: behind a name. One name alone is not a column's.
std::size_t columns_begin(const Command& command, Tokens rest) {
  switch (command.argument) {
    case Argument::None: return 0;
    case Argument::Database:
      return rest.empty() || begins_page(command, rest) || (rest.size() > 1 && is_comma(rest[1])) ? 0 : 1;
    case Argument::Tenant:
    case Argument::OneDatabase:
    case Argument::Client: return std::min<std::size_t>(rest.size(), 1);
    case Argument::Tier:
    case Argument::Override:
    case Argument::OverrideTo:
    case Argument::Move:
    case Argument::Breaker:
    case Argument::Reason: break;
  }
  PGWEIR_CHECK(false);  // no SHOW takes these
}

// SHOW what [argument] [column, ...] [page].
Expected<Request> parse_show(const Command& command, Tokens rest) {
  const std::size_t begin = columns_begin(command, rest);
  const bool paged = command.keys.kind != Keys::Kind::None;
  std::vector<std::string> columns;
  std::size_t at = begin;
  for (bool more = at < rest.size() && !(paged && begins_page(command, rest.subspan(at))); more; ++at) {
    if (at == rest.size() || !is_name(rest[at]))
      return syntax_error(fmt::format("{} takes names of its columns, with commas between", command.words),
                          "A name with unusual letters stands in double quotes.");
    if (columns.size() == kColumnsMax)
      return fail(sqlstate::kProgramLimit, fmt::format("more than {} columns in one SHOW", kColumnsMax));
    columns.push_back(rest[at].kind == Token::Kind::Quoted ? rest[at].text : lower(rest[at].text));
    more = at + 1 < rest.size() && is_comma(rest[at + 1]);
    if (more) ++at;
  }
  if (at < rest.size() && !paged)
    return syntax_error(fmt::format("{} takes no argument such as {}", command.words, quoted(rest[at].text)),
                        "Names of its columns may stand there, with commas between; SHOW HELP tells what "
                        "takes LIKE, LIMIT and AFTER.");
  auto request = parse_arguments(command, rest.first(begin));
  if (!request) return request;
  request->columns = std::move(columns);
  if (!paged) return request;
  const Tokens page = rest.subspan(at);
  if (auto read = parse_page(command, page, request->page); !read)
    return tl::unexpected(std::move(read.error()));
  request->value = in_words(page);
  return request;
}

Expected<Request> parse_one(Tokens tokens) {
  if (const SessionSetting* setting = shown_setting(tokens))
    return Request{
        .command = find(kShowSetting), .argument = std::string(setting->name), .value = setting->value};
  if (const auto [command, size] = find_in_front(tokens); command) {
    if (command->words.starts_with(kShow)) return parse_show(*command, tokens.subspan(size));
    if (command->argument != Argument::None) return parse_arguments(*command, tokens.subspan(size));
  }
  if (tokens[0].kind == Token::Kind::Word && upper(tokens[0].text) == "SET") return parse_set(tokens);
  if (const Command* command = find(in_words(tokens))) return Request{.command = command};
  const Command* command = tokens[0].kind == Token::Kind::Word ? find(upper(tokens[0].text)) : nullptr;
  if (!command || command->action == Action::Begin || command->action == Action::End) {
    // BEGIN ISOLATION LEVEL ..., COMMIT WORK: the same to us.
    if (command) return Request{.command = command};
    return unknown(tokens);
  }
  PGWEIR_CHECK(command->argument == Argument::None);  // others have been found in front
  return syntax_error(fmt::format("{} takes no argument such as {}", command->words, quoted(tokens[1].text)));
}

}  // namespace

std::span<const Command> commands() { return kCommands; }

Expected<std::vector<Request>> parse(std::string_view text, Shape shape) {
  std::vector<Request> statements;
  std::vector<Token> tokens;
  Lexer lexer(text);
  for (bool more = true; more;) {
    auto token = lexer.next();
    if (!token) return tl::unexpected(std::move(token.error()));
    more = token->has_value();
    if (more && (*token)->kind != Token::Kind::Semicolon) {
      tokens.push_back(std::move(**token));
      continue;
    }
    if (tokens.empty()) continue;
    if (statements.size() == kStatementsMax)
      return fail(sqlstate::kProgramLimit,
                  fmt::format("more than {} statements in one text", kStatementsMax));
    auto statement = parse_one(tokens);
    if (!statement) return tl::unexpected(std::move(statement.error()));
    if (!statement->columns.empty())
      if (auto found = find_columns(*statement, shape(*statement)); !found)
        return tl::unexpected(std::move(found.error()));
    statements.push_back(std::move(*statement));
    tokens.clear();
  }
  return statements;
}

bool matches(std::string_view name, std::string_view like) {
  // Where the last '%' stood, and how much of the name it has taken: more is tried when the rest fails.
  std::size_t any = std::string_view::npos, taken = 0, n = 0, l = 0;
  while (n < name.size()) {
    const bool literal = l + 1 < like.size() && like[l] == '\\';
    if (!literal && l < like.size() && like[l] == '%') {
      any = l++;
      taken = n;
    } else if (l < like.size() && (literal ? like[l + 1] == name[n] : like[l] == '_' || like[l] == name[n])) {
      l += literal ? 2 : 1;
      ++n;
    } else if (any != std::string_view::npos) {
      l = any + 1;
      n = ++taken;
    } else {
      return false;
    }
  }
  while (l < like.size() && like[l] == '%') ++l;
  return l == like.size();
}

std::string help(Role role) {
  std::string text;
  for (const Command& command : kCommands) {
    if (command.help.empty() || !may(role, command)) continue;
    const bool paged = command.keys.kind != Keys::Kind::None;
    const std::string usage =
        fmt::format("{}{}{}", command.words, usage_of(command.argument), paged ? " ..." : "");
    text += fmt::format("\n{:<20}  {}", usage, command.help);
  }
  if (text.empty()) return text;
  text += "\nSHOW ... column, ...   only these columns, of any of them: SHOW CLIENTS user, state";
  std::vector<std::string> keys;
  for (const Command& command : kCommands)
    if (command.keys.kind != Keys::Kind::None && may(role, command))
      keys.push_back(fmt::format("{} {}", command.words.substr(kShow.size()), command.keys.after));
  text += fmt::format(
      "\nSHOW ... LIKE 'a%' LIMIT 100 AFTER 'acme'   a part of those with ..., behind all else; AFTER takes "
      "of "
      "the last row before: {}",
      fmt::join(keys, ", "));
  return text;
}

}  // namespace pgweir::console
