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
    case 's': return equals(word, "set");
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
    case 't': return equals(word, "temp") || equals(word, "temporary");
    case 's': return equals(word, "set_config") || equals(word, "setseed");
    case 'p':
      return starts(word, "pg_advisory") || starts(word, "pg_try_advisory") || starts(word, "pg_temp") ||
             equals(word, "pg_settings");
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
    bool first = true;  // the next word begins a statement
    while (at_ < sql_.size()) {
      const char c = sql_[at_];
      switch (class_of(c)) {
        case kSpace: ++at_; continue;
        case kDigit: skip_number(); continue;
        case kWord: {
          const Bytes word = take_word();
          if (at_ < sql_.size() && sql_[at_] == '\'' && word.size() == 1 && lower(word[0]) == 'e') {
            skip_quoted('\'', true);
            first = false;
            continue;
          }
          if (at_ + 1 < sql_.size() && sql_[at_] == '&' && equals(word, "u"))
            return true;  // U&"...": escapes
          if ((first && opens_trouble(word)) || is_trouble(word)) return true;
          // EXPLAIN ANALYZE runs what follows it.
          if (!(first && (equals(word, "explain") || equals(word, "analyze") || equals(word, "verbose"))))
            first = false;
          continue;
        }
        default: break;
      }
      if (c == ';') {
        first = true;
        ++at_;
      } else if (c == '\'') {
        skip_quoted('\'', false);
        first = false;
      } else if (c == '"') {
        const std::size_t begin = ++at_;
        while (at_ < sql_.size() && sql_[at_] != '"') ++at_;
        if (at_ > begin && is_trouble(sql_.substr(begin, at_ - begin))) return true;
        if (at_ < sql_.size()) ++at_;
        first = false;
      } else if (c == '-' && next_is('-')) {
        while (at_ < sql_.size() && sql_[at_] != '\n' && sql_[at_] != '\r') ++at_;
      } else if (c == '/' && next_is('*')) {
        skip_comment();
      } else if (c == '$') {
        skip_dollar();
        first = false;
      } else {
        ++at_;
        if (c != '(') first = false;
      }
    }
    return false;
  }

 private:
  bool next_is(char c) const { return at_ + 1 < sql_.size() && sql_[at_ + 1] == c; }

  Bytes take_word() {
    const std::size_t begin = at_;
    while (at_ < sql_.size() &&
           (class_of(sql_[at_]) == kWord || class_of(sql_[at_]) == kDigit || sql_[at_] == '$'))
      ++at_;
    return sql_.substr(begin, at_ - begin);
  }
  // Only digits: in "1set" Postgres 15 reads a number and then a word.
  void skip_number() {
    while (at_ < sql_.size() && class_of(sql_[at_]) == kDigit) ++at_;
  }
  void skip_quoted(char quote, bool backslashes) {
    for (++at_; at_ < sql_.size(); ++at_) {
      if (sql_[at_] == '\\' && backslashes) {
        ++at_;
      } else if (sql_[at_] == quote) {
        if (!next_is(quote)) {
          ++at_;
          return;
        }
        ++at_;
      }
    }
    at_ = sql_.size();
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
};

}  // namespace

bool may_leave_state(Bytes sql) { return Scanner(sql).found(); }

}  // namespace pgweir::protocol
