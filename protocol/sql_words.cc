#include "protocol/sql_words.h"

#include <array>
#include <cstdint>

namespace pgweir::protocol {

namespace {

enum Class : std::uint8_t { kOther, kSpace, kWord, kDigit };

constexpr std::array<std::uint8_t, 256> make_classes() {
  std::array<std::uint8_t, 256> classes{};
  for (const char c : {' ', '\t', '\n', '\r', '\f', '\v'}) classes[static_cast<unsigned char>(c)] = kSpace;
  for (int c = 'a'; c <= 'z'; ++c) classes[static_cast<std::size_t>(c)] = kWord;
  for (int c = 'A'; c <= 'Z'; ++c) classes[static_cast<std::size_t>(c)] = kWord;
  for (int c = 128; c < 256; ++c) classes[static_cast<std::size_t>(c)] = kWord;
  classes['_'] = kWord;
  for (int c = '0'; c <= '9'; ++c) classes[static_cast<std::size_t>(c)] = kDigit;
  return classes;
}
constexpr auto kClasses = make_classes();
constexpr std::array<bool, 256> make_in_word() {
  std::array<bool, 256> in_word{};
  for (std::size_t c = 0; c < in_word.size(); ++c) in_word[c] = kClasses[c] == kWord || kClasses[c] == kDigit;
  in_word['$'] = true;
  return in_word;
}
constexpr auto kInWord = make_in_word();
std::uint8_t class_of(char c) { return kClasses[static_cast<unsigned char>(c)]; }

char lower(char c) { return c >= 'A' && c <= 'Z' ? static_cast<char>(c | 0x20) : c; }

bool equals(Bytes word, Bytes lower_word) {
  if (word.size() != lower_word.size()) return false;
  for (std::size_t i = 0; i < word.size(); ++i)
    if (lower(word[i]) != lower_word[i]) return false;
  return true;
}
bool starts(Bytes word, Bytes lower_prefix) {
  return word.size() >= lower_prefix.size() && equals(word.substr(0, lower_prefix.size()), lower_prefix);
}

// Words that change the session when a statement begins with them.
bool opens_trouble(Bytes word) {
  switch (lower(word[0])) {
    case 'r': return equals(word, "reset");
    case 'd':
      return equals(word, "discard") || equals(word, "deallocate") || equals(word, "declare") ||
             equals(word, "do");
    case 'l': return equals(word, "listen") || equals(word, "load");
    case 'u': return equals(word, "unlisten");
    case 'p': return equals(word, "prepare");
    case 'e': return equals(word, "execute");
    case 'c': return equals(word, "call");
    default: return false;
  }
}

// Words that do so wherever they stand.
bool is_trouble(Bytes word) {
  switch (lower(word[0])) {
    case 't': return equals(word, "temp") || equals(word, "temporary") || equals(word, "ts_stat");
    case 's': return equals(word, "set_config") || equals(word, "setseed") || equals(word, "set_limit");
    case 'p':
      return starts(word, "pg_advisory") || starts(word, "pg_try_advisory") || starts(word, "pg_temp") ||
             starts(word, "pg_replication_origin") || equals(word, "pg_settings");
    case 'd': return starts(word, "dblink");
    case 'q': return starts(word, "query_to_xml");
    case 'c': return starts(word, "cursor_to_xml");
    default: return false;
  }
}

class Scanner {
 public:
  explicit Scanner(Bytes sql) : sql_(sql) {}

  bool found() {
    while (at_ < sql_.size()) {
      const char c = sql_[at_];
      switch (class_of(c)) {
        case kSpace: ++at_; continue;
        case kDigit: skip_number(); continue;
        case kWord:
          if (word_is_trouble(take_word())) return true;
          continue;
        default: break;
      }
      if (c == '-' && next_is('-')) {
        skip_line();
        continue;
      }
      if (c == '/' && next_is('*')) {
        skip_comment();
        continue;
      }
      // What follows SET or SET LOCAL must be a name, or it is not what it looks like ("set local.name = 1").
      if (place_ == Place::Set || (place_ == Place::SetOnce && c != '"')) return true;
      if (c == ';') {
        place_ = Place::Start;
        ++at_;
        continue;
      }
      if (c == '\'') {
        skip_string(Backslash::Plain);
      } else if (c == '"') {
        const std::size_t begin = ++at_;
        while (at_ < sql_.size() && sql_[at_] != '"') ++at_;
        if (at_ > begin && is_trouble(sql_.substr(begin, at_ - begin))) return true;
        if (at_ < sql_.size()) ++at_;
      } else if (c == '$') {
        skip_dollar();
      } else {
        ++at_;
        if (c == '(') continue;
      }
      leave_start();
    }
    return place_ == Place::Set;
  }

 private:
  enum class Place : std::uint8_t {
    Start,    // the next word begins a statement
    Explain,  // in an EXPLAIN, which may run what it explains
    Set,      // behind SET: of the session, unless a word says otherwise
    SetOnce,  // behind SET LOCAL, SET TRANSACTION, SET CONSTRAINTS: gone with the transaction
    Inside,
  };
  enum class Backslash : std::uint8_t { Plain, Escapes };

  void leave_start() {
    if (place_ != Place::Explain) place_ = Place::Inside;
  }

  bool word_is_trouble(Bytes word) {
    if (at_ < sql_.size() && sql_[at_] == '\'' && equals(word, "e")) {
      skip_string(Backslash::Escapes);
      leave_start();
      // On another line the string may go on, with escapes, and without another E.
      while (at_ < sql_.size() && (class_of(sql_[at_]) == kSpace || (sql_[at_] == '-' && next_is('-'))))
        class_of(sql_[at_]) == kSpace ? void(++at_) : skip_line();
      return at_ < sql_.size() && sql_[at_] == '\'';
    }
    if (at_ < sql_.size() && sql_[at_] == '&' && equals(word, "u")) return true;  // U&"...": escapes
    if (is_trouble(word)) return true;
    switch (place_) {
      case Place::Start:
        if (equals(word, "set")) {
          place_ = Place::Set;
        } else if (equals(word, "explain")) {
          place_ = Place::Explain;
        } else {
          place_ = Place::Inside;
          return opens_trouble(word);
        }
        return false;
      case Place::Explain: return equals(word, "execute");
      case Place::Set:
        place_ = Place::SetOnce;
        return !(equals(word, "local") || equals(word, "transaction") || equals(word, "constraints"));
      case Place::SetOnce: place_ = Place::Inside; return false;
      case Place::Inside: return false;
    }
    return true;
  }

  bool next_is(char c) const { return at_ + 1 < sql_.size() && sql_[at_ + 1] == c; }

  Bytes take_word() {
    const std::size_t begin = at_;
    while (at_ < sql_.size() && kInWord[static_cast<unsigned char>(sql_[at_])]) ++at_;
    return sql_.substr(begin, at_ - begin);
  }
  // Only digits: in "1set" Postgres 15 reads a number and then a word.
  void skip_number() {
    while (at_ < sql_.size() && class_of(sql_[at_]) == kDigit) ++at_;
  }
  void skip_string(Backslash backslash) {
    for (++at_; at_ < sql_.size(); ++at_) {
      if (sql_[at_] == '\\' && backslash == Backslash::Escapes) {
        ++at_;
      } else if (sql_[at_] == '\'') {
        if (!next_is('\'')) {
          ++at_;
          return;
        }
        ++at_;
      }
    }
    at_ = sql_.size();
  }
  void skip_line() {
    while (at_ < sql_.size() && sql_[at_] != '\n' && sql_[at_] != '\r') ++at_;
  }
  void skip_comment() {
    int depth = 0;
    while (at_ < sql_.size()) {
      if (sql_[at_] == '/' && next_is('*')) {
        ++depth;
        at_ += 2;
      } else if (sql_[at_] == '*' && next_is('/')) {
        at_ += 2;
        if (--depth == 0) return;
      } else {
        ++at_;
      }
    }
  }
  // $1 is a parameter, $tag$ ... $tag$ a string.
  void skip_dollar() {
    std::size_t end = at_ + 1;
    while (end < sql_.size() &&
           (class_of(sql_[end]) == kWord || (end > at_ + 1 && class_of(sql_[end]) == kDigit)))
      ++end;
    if (end >= sql_.size() || sql_[end] != '$') {
      ++at_;
      return;
    }
    const Bytes tag = sql_.substr(at_, end + 1 - at_);
    const std::size_t close = sql_.find(tag, end + 1);
    at_ = close == Bytes::npos ? sql_.size() : close + tag.size();
  }

  Bytes sql_;
  std::size_t at_ = 0;
  Place place_ = Place::Start;
};

}  // namespace

bool may_leave_state(Bytes sql) { return Scanner(sql).found(); }

}  // namespace pgweir::protocol
