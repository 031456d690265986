#include "protocol/sql_words.h"

#include <algorithm>
#include <array>
#include <cstddef>
#include <cstdint>

#include "protocol/sql_lexer.h"

namespace pgweir::protocol {

namespace {

constexpr char lower(char c) { return c >= 'A' && c <= 'Z' ? static_cast<char>(c | 0x20) : c; }

bool equals(Bytes word, Bytes lower_word) {
  return std::equal(word.begin(), word.end(), lower_word.begin(), lower_word.end(),
                    [](char a, char b) { return lower(a) == b; });
}
template <std::size_t Count>
bool is_one_of(Bytes word, const std::array<Bytes, Count>& words) {
  return std::any_of(words.begin(), words.end(), [&](Bytes each) { return equals(word, each); });
}

// Change the session when a statement begins with them.
constexpr std::array<Bytes, 11> kOpeners = {"reset",    "discard", "deallocate", "declare", "do",  "listen",
                                            "unlisten", "load",    "prepare",    "execute", "call"};
// ... wherever they stand,
constexpr std::array<Bytes, 8> kAnywhere = {"set_config", "setseed",    "set_limit",       "pg_settings",
                                            "ts_stat",    "ts_rewrite", "pg_backup_start", "pg_start_backup"};
// ... with any ending,
constexpr std::array<Bytes, 10> kBeginnings = {
    "pg_advisory", "pg_try_advisory", "pg_temp",      "pg_replication_origin", "pg_create_",
    "pg_copy_",    "dblink",          "query_to_xml", "cursor_to_xml",         "crosstab",
};
// ... behind certain words.
constexpr std::array<Bytes, 3> kBehind = {"temp", "temporary", "execute"};
constexpr std::array<Bytes, 5> kBeforeTemp = {"create", "replace", "local", "global", "into"};

// Which first letter and which length make it worth to look at a word. Longer words count as of 63 bytes.
class Looks {
 public:
  constexpr Looks() {
    for (const Bytes word : kAnywhere) add(word, word.size());
    for (const Bytes word : kBehind) add(word, word.size());
    for (const Bytes word : kBeginnings) add(word, 63);
  }
  bool suspicious(Bytes word) const {
    return (lengths_[static_cast<unsigned char>(word[0])] >> std::min<std::size_t>(word.size(), 63) & 1U) !=
           0;
  }

 private:
  constexpr void add(Bytes word, std::size_t longest) {
    for (std::size_t size = word.size(); size <= longest; ++size) {
      lengths_[static_cast<unsigned char>(word[0])] |= std::uint64_t{1} << size;
      lengths_[static_cast<unsigned char>(word[0]) - 0x20U] |= std::uint64_t{1} << size;
    }
  }

  std::array<std::uint64_t, 256> lengths_{};
};
constexpr Looks kLooks;

enum class Code : std::uint8_t { Sql, Body };

class Scanner {
 public:
  Scanner(Bytes sql, Code code) : lexer_(sql), code_(code) {}

  bool found() {
    for (;;) {
      const SqlToken token = lexer_.next();
      switch (token.kind) {
        case SqlToken::Kind::End: return place_ == Place::Set;
        case SqlToken::Kind::Word:
          if (word_is_trouble(lexer_.text_of(token))) return true;
          continue;
        case SqlToken::Kind::Unicode: return true;  // may spell any name
        case SqlToken::Kind::Quoted:
          if (place_ == Place::Set || name_is_trouble(lexer_.text_of(token))) return true;
          break;
        case SqlToken::Kind::Symbol: {
          const char symbol = lexer_.text_of(token)[0];
          // What follows SET or SET LOCAL must be a name, or it is not what it looks like ("set local.name =
          // 1").
          if (place_ == Place::Set || place_ == Place::SetOnce) return true;
          if (symbol == '(') continue;
          if (symbol == ';') {
            place_ = Place::Start;
            continue;
          }
          break;
        }
        case SqlToken::Kind::String:
        case SqlToken::Kind::Number:
        case SqlToken::Kind::Parameter:
          if (place_ == Place::Set || place_ == Place::SetOnce) return true;
          break;
      }
      if (place_ != Place::Explain) place_ = Place::Inside;
    }
  }

 private:
  enum class Place : std::uint8_t {
    Start,    // the next word begins a statement
    Explain,  // in an EXPLAIN, which may run what it explains
    Set,      // behind SET: of the session, unless a word says otherwise
    SetOnce,  // behind SET LOCAL, SET TRANSACTION, SET CONSTRAINTS: gone with the transaction
    Inside,
  };

  bool word_is_trouble(Bytes word) {
    if (kLooks.suspicious(word) && is_trouble(word)) return true;
    previous_ = word;
    if (place_ != Place::Inside && place_is_trouble(word)) return true;
    if (code_ == Code::Body) {
      if (equals(word, "execute")) return true;
      if (is_one_of(word, kBeforeStatements)) place_ = Place::Start;
    }
    return false;
  }
  static constexpr std::array<Bytes, 4> kBeforeStatements = {"begin", "then", "else", "loop"};

  bool is_trouble(Bytes word) const {
    if (is_one_of(word, kAnywhere)) return true;
    for (const Bytes beginning : kBeginnings)
      if (equals(word.substr(0, beginning.size()), beginning)) return true;
    if (equals(word, "execute")) return equals(previous_, "as");  // CREATE TABLE t AS EXECUTE s
    return (equals(word, "temp") || equals(word, "temporary")) && is_one_of(previous_, kBeforeTemp);
  }
  bool name_is_trouble(Bytes quoted) const {
    Bytes name = quoted.substr(1);
    if (name.ends_with('"')) name.remove_suffix(1);
    if (name.empty()) return false;
    if (place_ == Place::SetOnce && outlives_transaction(name)) return true;
    return kLooks.suspicious(name) && !is_one_of(name, kBehind) && is_trouble(name);
  }
  // What SET LOCAL of these leads to: a new object may be a temporary one, a seed stays.
  static bool outlives_transaction(Bytes setting) {
    return equals(setting, "search_path") || equals(setting, "schema") || equals(setting, "seed");
  }

  bool place_is_trouble(Bytes word) {
    switch (place_) {
      case Place::Start:
        if (equals(word, "set")) {
          place_ = Place::Set;
        } else if (equals(word, "explain")) {
          place_ = Place::Explain;
        } else {
          place_ = Place::Inside;
          if (code_ == Code::Body && equals(word, "declare")) return false;
          return is_one_of(word, kOpeners);
        }
        return false;
      case Place::Explain: return equals(word, "execute");
      case Place::Set:
        place_ = Place::SetOnce;
        return !(equals(word, "local") || equals(word, "transaction") || equals(word, "constraints"));
      case Place::SetOnce: place_ = Place::Inside; return outlives_transaction(word);
      case Place::Inside: return false;
    }
    return true;
  }

  SqlLexer lexer_;
  Code code_;
  Place place_ = Place::Start;
  Bytes previous_;
};

}  // namespace

bool may_leave_state(Bytes sql) { return Scanner(sql, Code::Sql).found(); }
bool body_may_leave_state(Bytes code) { return Scanner(code, Code::Body).found(); }

}  // namespace pgweir::protocol
