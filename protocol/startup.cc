#include "protocol/startup.h"

#include <algorithm>
#include <iterator>
#include <set>

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

struct Switch {
  char letter;
  const char* setting;
};
// Switches of the server's command line that take a value and stand for a setting a session may change.
constexpr Switch kSwitches[] = {{'S', "work_mem"}};

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
    return fail(sqlstate::kProtocolViolation, "invalid length of startup packet");
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
    Bytes assignment;
    if (word[1] == '-') {
      assignment = Bytes(word).substr(2);
    } else if (word[1] == 'c') {
      if (word.size() == 2 && i + 1 == words.size()) return tl::unexpected(bad_options(word));
      assignment = word.size() > 2 ? Bytes(word).substr(2) : Bytes(words[++i]);
    } else {
      const auto* known = std::find_if(std::begin(kSwitches), std::end(kSwitches),
                                       [&word](const Switch& s) { return s.letter == word[1]; });
      if (known == std::end(kSwitches) || (word.size() == 2 && i + 1 == words.size()))
        return tl::unexpected(bad_options(word));
      settings.emplace_back(known->setting, word.size() > 2 ? word.substr(2) : words[++i]);
      continue;
    }
    auto setting = name_and_value(assignment, word);
    if (!setting) return tl::unexpected(setting.error());
    settings.push_back(std::move(*setting));
  }
  keep_last(settings);
  return settings;
}

}  // namespace pgweir::protocol
