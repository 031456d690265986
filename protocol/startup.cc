#include "protocol/startup.h"

#include <algorithm>
#include <charconv>
#include <iterator>
#include <limits>
#include <optional>
#include <set>
#include <span>

#include "protocol/frame.h"

namespace pgweir::protocol {

namespace {

bool is_space(char c) { return c == ' ' || c == '\t' || c == '\n' || c == '\r' || c == '\f' || c == '\v'; }

// Splits as Postgres does (pg_split_opts): white space ends a word, a backslash takes the next byte as it is.
std::vector<std::string> split_words(Bytes text) {
  std::vector<std::string> words;
  std::size_t at = 0;
  while (true) {
    while (at < text.size() && is_space(text[at])) ++at;
    if (at == text.size()) return words;
    std::string word;
    while (at < text.size() && !is_space(text[at])) {
      if (text[at] == '\\' && at + 1 < text.size()) ++at;
      word.push_back(text[at++]);
    }
    words.push_back(std::move(word));
  }
}

constexpr const char* kCannotChangeNow = "55P02";

// Switches of the program postgres, as process_postgres_switches() takes them of a startup packet.
struct Switch {
  enum class Means : std::uint8_t {
    Given,       // the setting, with the value behind the switch
    Fixed,       // the setting, with `value`
    Assignment,  // of the setting that is named
    Plans,       // kinds of plans that are not to be made
    Statistics,
    Debug,
    Nothing,    // of a startup packet
    AtRestart,  // what a server is started with
    AtReload,   // what its configuration file says
  };
  char letter;
  bool has_value;
  Means means;
  Bytes setting{}, value{};
};
using Means = Switch::Means;
constexpr Switch kSwitches[] = {{'-', true, Means::Assignment},
                                {'c', true, Means::Assignment},
                                {'S', true, Means::Given, "work_mem"},
                                {'W', true, Means::Given, "post_auth_delay"},
                                {'e', false, Means::Fixed, "datestyle", "euro"},
                                {'O', false, Means::Fixed, "allow_system_table_mods", "true"},
                                {'P', false, Means::Fixed, "ignore_system_indexes", "true"},
                                {'s', false, Means::Fixed, "log_statement_stats", "true"},
                                {'f', true, Means::Plans},
                                {'t', true, Means::Statistics},
                                {'d', true, Means::Debug},
                                {'b', false, Means::Nothing},
                                {'C', true, Means::Nothing},
                                {'D', true, Means::Nothing},
                                {'E', false, Means::Nothing},
                                {'j', false, Means::Nothing},
                                {'n', false, Means::Nothing},
                                {'r', true, Means::Nothing},
                                {'T', false, Means::Nothing},
                                {'v', true, Means::Nothing},
                                {'B', true, Means::AtRestart, "shared_buffers"},
                                {'N', true, Means::AtRestart, "max_connections"},
                                {'p', true, Means::AtRestart, "port"},
                                {'h', true, Means::AtRestart, "listen_addresses"},
                                {'i', false, Means::AtRestart, "listen_addresses"},
                                {'k', true, Means::AtRestart, "unix_socket_directories"},
                                {'F', false, Means::AtReload, "fsync"},
                                {'l', false, Means::AtReload, "ssl"}};

// What the first letters of a value stand for; nothing: no setting.
struct Letters {
  Bytes begin, setting;
};
constexpr Letters kPlans[] = {{"s", "enable_seqscan"},       {"i", "enable_indexscan"},
                              {"o", "enable_indexonlyscan"}, {"b", "enable_bitmapscan"},
                              {"t", "enable_tidscan"},       {"n", "enable_nestloop"},
                              {"m", "enable_mergejoin"},     {"h", "enable_hashjoin"}};
constexpr Letters kStatistics[] = {
    {"pa", "log_parser_stats"}, {"pl", "log_planner_stats"}, {"e", "log_executor_stats"}};
Bytes named_by(std::span<const Letters> table, Bytes value) {
  for (const Letters& each : table)
    if (value.starts_with(each.begin)) return each.setting;
  return {};
}

// As C's atoi().
int whole_number(Bytes text) {
  while (!text.empty() && is_space(text.front())) text.remove_prefix(1);
  if (text.starts_with('+')) text.remove_prefix(1);
  int number = 0;
  const auto [end, error] = std::from_chars(text.data(), text.data() + text.size(), number);
  if (error != std::errc::result_out_of_range) return number;
  return text.starts_with('-') ? std::numeric_limits<int>::min() : std::numeric_limits<int>::max();
}

// Of each level and those above it.
struct DebugSetting {
  int level;
  Bytes setting, value;
};
constexpr DebugSetting kDebug[] = {{2, "log_statement", "all"},
                                   {3, "debug_print_parse", "true"},
                                   {4, "debug_print_plan", "true"},
                                   {5, "debug_print_rewritten", "true"}};

// The words of a boolean, in any case and cut short as long as they mean one thing only (Postgres,
// parse_bool).
bool begins_word(Bytes value, Bytes word, std::size_t least) {
  return value.size() >= least && value.size() <= word.size() &&
         std::equal(value.begin(), value.end(), word.begin(), [](char given, char letter) {
           return (given >= 'A' && given <= 'Z' ? static_cast<char>(given | 0x20) : given) == letter;
         });
}

Expected<Replication> parse_replication(Bytes value) {
  if (value == "database") return Replication::Logical;
  struct Word {
    Bytes text;
    std::size_t least;  // letters that it may be cut to
    Replication meaning;
  };
  static constexpr Word kWords[] = {{"true", 1, Replication::Physical}, {"false", 1, Replication::None},
                                    {"yes", 1, Replication::Physical},  {"no", 1, Replication::None},
                                    {"on", 2, Replication::Physical},   {"off", 2, Replication::None},
                                    {"1", 1, Replication::Physical},    {"0", 1, Replication::None}};
  for (const Word& word : kWords)
    if (begins_word(value, word.text, word.least)) return word.meaning;
  return tl::unexpected(Error{sqlstate::kInvalidParameterValue,
                              "invalid value for parameter \"replication\": \"" + std::string(value) + '"',
                              {},
                              "Valid values are: \"false\", 0, \"true\", 1, \"database\"."});
}

Error bad_options(std::string what) {
  return Error{sqlstate::kSyntaxError,
               "invalid command-line argument for server process: " + what,
               {},
               "Write options as -c name=value."};
}

Expected<std::pair<std::string, std::string>> name_and_value(Bytes text, const std::string& word) {
  const std::size_t equals = text.find('=');
  if (equals == Bytes::npos || equals == 0) return tl::unexpected(bad_options(word));
  std::string name(text.substr(0, equals));
  std::replace(name.begin(), name.end(), '-', '_');
  return std::pair{std::move(name), std::string(text.substr(equals + 1))};
}

std::optional<Error> add_switch(const Switch& known, Bytes value, const std::string& word,
                                Settings& settings) {
  const auto cannot_change = [&](std::string_view when) {
    return Error{kCannotChangeNow,
                 "parameter \"" + std::string(known.setting) + "\" cannot be changed " + std::string(when),
                 {},
                 "Leave it out of the options."};
  };
  switch (known.means) {
    case Means::Given: settings.emplace_back(known.setting, value); return {};
    case Means::Fixed: settings.emplace_back(known.setting, known.value); return {};
    case Means::Assignment: {
      auto setting = name_and_value(value, word);
      if (!setting) return std::move(setting.error());
      settings.push_back(std::move(*setting));
      return {};
    }
    case Means::Plans:
    case Means::Statistics: {
      const bool plans = known.means == Means::Plans;
      const Bytes setting = named_by(plans ? std::span<const Letters>(kPlans) : kStatistics, value);
      if (setting.empty()) return bad_options(word);
      settings.emplace_back(setting, plans ? "false" : "true");
      return {};
    }
    case Means::Debug: {
      const int level = whole_number(value);
      settings.emplace_back("log_min_messages", level > 0 ? "debug" + std::to_string(level) : "notice");
      for (const DebugSetting& each : kDebug)
        if (level >= each.level) settings.emplace_back(each.setting, each.value);
      return {};
    }
    case Means::Nothing: return {};
    case Means::AtRestart: return cannot_change("without restarting the server");
    case Means::AtReload: return cannot_change("now");
  }
  return {};
}

// Of settings with one name the last stays. A packet may name thousands.
void keep_last(Settings& settings) {
  std::set<Bytes> seen;
  std::vector<bool> later(settings.size());
  for (std::size_t i = settings.size(); i-- > 0;) later[i] = !seen.insert(settings[i].first).second;
  Settings kept;
  for (std::size_t i = 0; i < settings.size(); ++i)
    if (!later[i]) kept.push_back(std::move(settings[i]));
  settings = std::move(kept);
}

Expected<Startup> parse_startup(std::uint32_t version, Reader in) {
  Startup startup;
  if (version >> 16 != 3)
    return fail(sqlstate::kFeatureNotSupported,
                "unsupported frontend protocol " + std::to_string(version >> 16) + "." +
                    std::to_string(version & 0xffff) + ": server supports 3.0 to 3.2");
  const std::uint32_t minor = version & 0xffff;
  startup.version = minor >= 2 ? kVersion32 : kVersion30;
  startup.negotiate = minor != 0 && version != kVersion32;
  Settings from_options;
  bool ended = false;
  while (in.ok() && !in.empty()) {
    const Bytes name = in.c_string();
    if (!in.ok()) break;
    if (name.empty()) {
      ended = true;
      break;
    }
    const Bytes value = in.c_string();
    if (!in.ok()) break;
    if (name == "user") {
      startup.user = value;
    } else if (name == "database") {
      startup.database = value;
    } else if (name == "replication") {
      auto replication = parse_replication(value);
      if (!replication) return tl::unexpected(replication.error());
      startup.replication = *replication;
    } else if (name == "options") {
      auto parsed = parse_options(value);
      if (!parsed) return tl::unexpected(parsed.error());
      from_options = std::move(*parsed);
    } else if (name.substr(0, 5) == "_pq_.") {
      startup.unknown_protocol_options.emplace_back(name);
    } else {
      startup.settings.emplace_back(name, value);
    }
  }
  if (!ended || !in.empty())
    return fail(sqlstate::kProtocolViolation,
                "invalid startup packet layout: expected terminator as last byte");
  if (startup.user.empty())
    return fail(sqlstate::kInvalidAuthorization, "no PostgreSQL user name specified in startup packet");
  if (startup.database.empty()) startup.database = startup.user;
  if (!startup.unknown_protocol_options.empty()) startup.negotiate = true;
  // Postgres applies options before the packet's other parameters, so those win.
  startup.settings.insert(startup.settings.begin(), std::make_move_iterator(from_options.begin()),
                          std::make_move_iterator(from_options.end()));
  keep_last(startup.settings);
  return startup;
}

}  // namespace

Expected<std::size_t> first_packet_size(Bytes in) {
  if (in.size() < 4) return 0;
  const std::uint32_t length = load_u32(in.data());
  if (length < 8 || length > kMaxStartupPacket)
    return fail(sqlstate::kProtocolViolation, "invalid length of startup packet",
                "It is " + std::to_string(length) + " bytes long, at most " +
                    std::to_string(kMaxStartupPacket) +
                    " are taken. This port speaks the Postgres protocol only.");
  return length;
}

Expected<FirstPacket> parse_first_packet(Bytes packet) {
  Reader in(packet);
  const std::uint32_t length = in.u32();
  const std::uint32_t code = in.u32();
  if (!in.ok() || length != packet.size())
    return fail(sqlstate::kProtocolViolation, "invalid length of startup packet");
  if (code == kSslRequestCode || code == kGssRequestCode) {
    if (!in.empty()) return fail(sqlstate::kProtocolViolation, "invalid length of encryption request");
    if (code == kSslRequestCode) return SslRequest{};
    return GssRequest{};
  }
  if (code == kCancelRequestCode) {
    CancelRequest cancel;
    cancel.pid = in.u32();
    cancel.key = in.rest();
    if (!in.ok() || cancel.key.size() < 4 || cancel.key.size() > 256)
      return fail(sqlstate::kProtocolViolation, "invalid length of cancel request");
    return cancel;
  }
  auto startup = parse_startup(code, in);
  if (!startup) return tl::unexpected(startup.error());
  return std::move(*startup);
}

Expected<Settings> parse_options(Bytes options) {
  Settings settings;
  const std::vector<std::string> words = split_words(options);
  for (std::size_t i = 0; i < words.size(); ++i) {
    const std::string& word = words[i];
    if (word.size() < 2 || word[0] != '-') return tl::unexpected(bad_options(word));
    if (word == "--") {  // the end
      if (i + 1 < words.size()) return tl::unexpected(bad_options(words[i + 1]));
      break;
    }
    for (std::size_t at = 1; at < word.size();) {
      const auto* const known = std::find_if(std::begin(kSwitches), std::end(kSwitches),
                                             [&](const Switch& each) { return each.letter == word[at]; });
      ++at;
      if (known == std::end(kSwitches)) return tl::unexpected(bad_options(word));
      Bytes value;
      if (known->has_value) {
        if (at == word.size() && i + 1 == words.size()) return tl::unexpected(bad_options(word));
        value = at < word.size() ? Bytes(word).substr(at) : Bytes(words[++i]);
        at = word.size();
      }
      if (auto error = add_switch(*known, value, word, settings)) return tl::unexpected(std::move(*error));
    }
  }
  keep_last(settings);
  return settings;
}

}  // namespace pgweir::protocol
