#include "protocol/sql_words.h"

#include <algorithm>
#include <array>
#include <cstddef>
#include <cstdint>

#include "protocol/parsing_settings.h"
#include "protocol/sql_lexer.h"

namespace pgweir::protocol {

namespace {

constexpr char lower(char c) { return c >= 'A' && c <= 'Z' ? static_cast<char>(c | 0x20) : c; }

bool starts(Bytes word, Bytes lower_prefix) {
  if (word.size() < lower_prefix.size()) return false;
  for (std::size_t i = 0; i < lower_prefix.size(); ++i)
    if (lower(word[i]) != lower_prefix[i]) return false;
  return true;
}
bool equals(Bytes word, Bytes lower_word) {
  return word.size() == lower_word.size() && starts(word, lower_word);
}
template <std::size_t Count>
bool is_one_of(Bytes word, const std::array<Bytes, Count>& words) {
  return std::any_of(words.begin(), words.end(), [&](Bytes each) { return equals(word, each); });
}

// Whether the length of a word, its first letter and one other make it worth a look. Longer ones count as of
// 31 bytes.
template <std::size_t kOther>
class Looks {
 public:
  // The words, also with an ending if the longest is longer.
  template <std::size_t Count>
  constexpr Looks& add(const std::array<Bytes, Count>& words, std::size_t longest = 0) {
    for (const Bytes word : words)
      for (std::size_t size = word.size(); size <= std::max(longest, word.size()); ++size)
        lengths_[place(word[0], word[kOther])] |= std::uint32_t{1} << size;
    return *this;
  }
  [[gnu::always_inline]] bool match(Bytes word) const {
    if (word.size() <= kOther) return false;
    const std::size_t size = word.size() < 31 ? word.size() : 31;
    return (lengths_[place(word[0], word[kOther])] >> size & 1U) != 0;
  }

 private:
  // Letters of either case share a place; with what else is there, too, which does no harm.
  static constexpr std::size_t place(char first, char second) {
    return (static_cast<std::size_t>(first) & 31U) << 5U | (static_cast<std::size_t>(second) & 31U);
  }
  std::array<std::uint32_t, 1024> lengths_{};
};

// Change the session when a statement begins with them; SET and EXPLAIN depend on what follows, CREATE and
// ALTER may store values of settings.
constexpr std::array<Bytes, 15> kOpeners = {"reset",  "discard",  "deallocate", "declare", "do",
                                            "listen", "unlisten", "load",       "prepare", "execute",
                                            "call",   "set",      "explain",    "alter",   "create"};
constexpr auto kOpenerLooks = Looks<1>().add(kOpeners);
// ... wherever they stand,
constexpr std::array<Bytes, 22> kAnywhere = {
    "lastval",  "currval",    "set_config",      "setseed",         "set_limit", "pg_settings",
    "ts_stat",  "ts_rewrite", "pg_backup_start", "pg_start_backup", "connectby", "xpath_table",
    "array_in", "array_recv", "domain_in",       "domain_recv",     "record_in", "record_recv",
    "range_in", "range_recv", "multirange_in",   "multirange_recv"};
// ... with any ending,
constexpr std::array<Bytes, 14> kBeginnings = {
    "pg_advisory",     "pg_try_advisory", "pg_temp",      "pg_replication_origin",
    "pg_create_",      "pg_copy_",        "dblink",       "query_to_xml",
    "cursor_to_xml",   "crosstab",        "table_to_xml", "schema_to_xml",
    "database_to_xml", "pg_input_",
};
// ... behind certain words.
constexpr std::array<Bytes, 4> kBehind = {"temp", "temporary", "execute", "database"};
constexpr std::array<Bytes, 3> kBeforeDatabase = {"create", "alter", "drop"};
constexpr std::array<Bytes, 5> kBeforeTemp = {"create", "replace", "local", "global", "into"};
// Few words but those of Postgres itself have an underscore for a third letter.
constexpr auto kLooks = Looks<2>().add(kAnywhere).add(kBehind).add(kBeginnings, 31);

enum class Code : std::uint8_t { Sql, Body };

template <Code code>
class Scanner {
 public:
  SqlWords found(Bytes sql) {
    if (finds_state(sql)) return SqlWords::State;
    return settings_ ? SqlWords::Values : SqlWords::Harmless;
  }

 private:
  bool finds_state(Bytes sql) {
    SqlLexer lexer(sql);
    for (;;) {
      const SqlToken token = lexer.next();
      const Bytes text = lexer.text_of(token);
      switch (token.kind) {
        case SqlToken::Kind::Word:
          if (kLooks.match(text) && is_trouble(text)) return true;
          previous_ = text;
          if (place_ != Place::Inside && place_is_trouble(text)) return true;
          if (code == Code::Body && body_is_trouble(text)) return true;
          continue;
        case SqlToken::Kind::Symbol:
          if (text[0] == ';') {
            if (ends_trouble()) return true;
            place_ = Place::Start;
            continue;
          }
          if (place_ == Place::Inside) continue;
          // What follows SET or SET LOCAL must be a name, or it is not what it looks like ("set local.name =
          // 1").
          if (ends_trouble()) return true;
          if (text[0] != '(') leave_start();
          continue;
        case SqlToken::Kind::Quoted:
          if (name_is_trouble(text)) return true;
          leave_start();
          continue;
        case SqlToken::Kind::String:
        case SqlToken::Kind::Number:
        case SqlToken::Kind::Parameter:
          if (ends_trouble()) return true;
          leave_start();
          continue;
        case SqlToken::Kind::Unicode: return true;  // may spell any name
        case SqlToken::Kind::End: return place_ == Place::Set;
      }
    }
  }

  enum class Place : std::uint8_t {
    Start,    // the next word begins a statement
    Explain,  // in an EXPLAIN, which may run what it explains
    Set,      // behind SET: of the session, unless a word says otherwise
    SetOnce,  // behind SET LOCAL, SET TRANSACTION, SET CONSTRAINTS: gone with the transaction
    Inside,
  };

  void leave_start() {
    if (place_ != Place::Explain) place_ = Place::Inside;
  }
  bool ends_trouble() const { return place_ == Place::Set || place_ == Place::SetOnce; }

  bool body_is_trouble(Bytes word) {
    constexpr std::array<Bytes, 4> kBeforeStatements = {"begin", "then", "else", "loop"};
    if (is_one_of(word, kBeforeStatements)) place_ = Place::Start;
    return equals(word, "execute");
  }
  bool is_trouble(Bytes word) const {
    if (is_one_of(word, kAnywhere)) return true;
    for (const Bytes beginning : kBeginnings)
      if (starts(word, beginning)) return true;
    if (equals(word, "execute")) return equals(previous_, "as");  // CREATE TABLE t AS EXECUTE s
    if (equals(word, "database")) return is_one_of(previous_, kBeforeDatabase);
    return (equals(word, "temp") || equals(word, "temporary")) && is_one_of(previous_, kBeforeTemp);
  }
  bool name_is_trouble(Bytes quoted) {
    if (place_ == Place::Set) return true;
    Bytes name = quoted.substr(1);
    if (name.ends_with('"')) name.remove_suffix(1);
    if (name.empty()) return false;
    if (place_ == Place::SetOnce) settings_ = true;
    if (place_ == Place::SetOnce && outlives_transaction(name)) return true;
    return kLooks.match(name) && !is_one_of(name, kBehind) && is_trouble(name);
  }
  // What SET LOCAL of these leads to: a new object may be a temporary one, a seed stays, and so does what is
  // prepared meanwhile.
  static bool outlives_transaction(Bytes setting) {
    constexpr std::array<Bytes, 5> kSpelled = {"schema", "seed", "time", "names", "session"};
    return is_one_of(setting, kSpelled) || is_one_of(setting, kParsingSettings);
  }

  bool place_is_trouble(Bytes word) {
    switch (place_) {
      case Place::Start:
        place_ = Place::Inside;
        if (!kOpenerLooks.match(word) || !is_one_of(word, kOpeners)) return false;
        if (equals(word, "set")) {
          place_ = Place::Set;
        } else if (equals(word, "explain")) {
          place_ = Place::Explain;
        } else if (equals(word, "alter") || equals(word, "create")) {
          settings_ = true;
        } else {
          // In a body it opens a block.
          return code == Code::Sql || !equals(word, "declare");
        }
        return false;
      case Place::Explain: return equals(word, "execute");
      case Place::Set:
        place_ = Place::SetOnce;
        return !(equals(word, "local") || equals(word, "transaction") || equals(word, "constraints"));
      case Place::SetOnce:
        place_ = Place::Inside;
        settings_ = true;
        // "set local to 1" is of a setting called local.
        return outlives_transaction(word) || equals(word, "to");
      case Place::Inside: return false;
    }
    return true;
  }

  Place place_ = Place::Start;
  bool settings_ = false;
  Bytes previous_;
};

}  // namespace

SqlWords sql_words(Bytes sql) { return Scanner<Code::Sql>().found(sql); }
SqlWords body_words(Bytes code) { return Scanner<Code::Body>().found(code); }
bool body_may_leave_state(Bytes code) { return body_words(code) == SqlWords::State; }

}  // namespace pgweir::protocol
