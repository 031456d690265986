// protocol/sql_lexer.h - cuts a SQL text into tokens as Postgres does, without looking up any word.
//
// All is inline: the word filter runs it over every text of every client. Never fails: what is not closed
// runs to the end of the text, and a byte that means nothing is a symbol. Needs standard_conforming_strings =
// on. Two strings that Postgres would join over a line break are two tokens here, unless the first has
// escapes.
#pragma once

#include <array>
#include <cstddef>
#include <cstdint>

#include "pooler/base/bytes.h"

namespace pgweir::protocol {

struct SqlToken {
  enum class Kind : std::uint8_t {
    End,
    Word,     // a name or keyword as it stands, in any case
    Quoted,   // "..." with its quotes
    Unicode,  // U&"..." or U&'...', and what begins like it
    String,   // '...' with its quotes, E'...' from its E on, $tag$...$tag$
    Number,
    Parameter,  // $1
    Symbol,     // one byte
  };
  Kind kind = Kind::End;
  std::size_t at = 0;
  std::size_t size = 0;
};

// What a byte may begin.
namespace sql_bytes {
enum class Class : std::uint8_t { Symbol, Space, Letter, Digit, Minus, Slash, Quote, DoubleQuote, Dollar };

struct Tables {
  std::array<Class, 256> classes{};
  std::array<bool, 256> in_word{};
};
constexpr Tables make_tables() {
  Tables t;
  for (const char c : {' ', '\t', '\n', '\r', '\f', '\v'})
    t.classes[static_cast<std::size_t>(c)] = Class::Space;
  for (std::size_t c = 'a'; c <= 'z'; ++c) t.classes[c] = t.classes[c - 0x20] = Class::Letter;
  for (std::size_t c = 128; c < 256; ++c) t.classes[c] = Class::Letter;
  t.classes['_'] = Class::Letter;
  for (std::size_t c = '0'; c <= '9'; ++c) t.classes[c] = Class::Digit;
  t.classes['-'] = Class::Minus;
  t.classes['/'] = Class::Slash;
  t.classes['\''] = Class::Quote;
  t.classes['"'] = Class::DoubleQuote;
  t.classes['$'] = Class::Dollar;
  for (std::size_t c = 0; c < 256; ++c)
    t.in_word[c] = t.classes[c] == Class::Letter || t.classes[c] == Class::Digit || c == '$';
  return t;
}
inline constexpr Tables kTables = make_tables();
}  // namespace sql_bytes

class SqlLexer {
 public:
  // The text must outlive the lexer.
  explicit SqlLexer(Bytes sql, std::size_t at = 0) : sql_(sql), at_(at) {}

  SqlToken next() {
    while (at_ < sql_.size()) {
      const std::size_t begin = at_;
      switch (class_of(begin)) {
        case Class::Space: ++at_; continue;
        case Class::Letter: return after_word(begin);
        case Class::Digit: skip_number(); return token(SqlToken::Kind::Number, begin);
        case Class::Minus:
          if (!is('-', begin + 1)) return symbol();
          skip_line();
          continue;
        case Class::Slash:
          if (!is('*', begin + 1)) return symbol();
          skip_comment();
          continue;
        case Class::Quote: skip_quoted('\''); return token(SqlToken::Kind::String, begin);
        case Class::DoubleQuote: skip_quoted('"'); return token(SqlToken::Kind::Quoted, begin);
        case Class::Dollar: return dollar();
        case Class::Symbol: return symbol();
      }
    }
    return SqlToken{SqlToken::Kind::End, sql_.size(), 0};
  }

  Bytes text_of(SqlToken token) const { return Bytes(sql_.data() + token.at, token.size); }

 private:
  using Class = sql_bytes::Class;

  Class class_of(std::size_t at) const {
    return sql_bytes::kTables.classes[static_cast<unsigned char>(sql_[at])];
  }
  bool is(char c, std::size_t at) const { return at < sql_.size() && sql_[at] == c; }
  bool is_digit(std::size_t at) const { return at < sql_.size() && class_of(at) == Class::Digit; }

  SqlToken token(SqlToken::Kind kind, std::size_t begin) const { return SqlToken{kind, begin, at_ - begin}; }
  SqlToken symbol() { return SqlToken{SqlToken::Kind::Symbol, at_++, 1}; }

  SqlToken after_word(std::size_t begin) {
    const char* const data = sql_.data();
    const std::size_t end = sql_.size();
    std::size_t at = begin + 1;
    while (at < end && sql_bytes::kTables.in_word[static_cast<unsigned char>(data[at])]) ++at;
    at_ = at;
    if (at == begin + 1 && at < end) {
      const char letter = static_cast<char>(data[begin] | 0x20);
      if (letter == 'e' && data[at] == '\'') {
        skip_escaped();
        return token(SqlToken::Kind::String, begin);
      }
      if (letter == 'u' && data[at] == '&' && at + 1 < end && (data[at + 1] == '\'' || data[at + 1] == '"')) {
        ++at_;
        skip_quoted(data[at + 1]);
        return token(SqlToken::Kind::Unicode, begin);
      }
    }
    return token(SqlToken::Kind::Word, begin);
  }

  // "1e5set" is a number and a word (Postgres 14), or an error (15).
  void skip_number() {
    while (is_digit(at_)) ++at_;
    if (is('.', at_)) {
      ++at_;
      while (is_digit(at_)) ++at_;
    }
    if (is('e', at_) || is('E', at_)) {
      const std::size_t digits = is('+', at_ + 1) || is('-', at_ + 1) ? at_ + 2 : at_ + 1;
      if (!is_digit(digits)) return;
      at_ = digits;
      while (is_digit(at_)) ++at_;
    }
  }
  void skip_line() {
    while (at_ < sql_.size() && sql_[at_] != '\n' && sql_[at_] != '\r') ++at_;
  }
  void skip_comment() {
    std::size_t depth = 0;
    while (at_ < sql_.size()) {
      if (is('/', at_) && is('*', at_ + 1)) {
        ++depth;
        at_ += 2;
      } else if (is('*', at_) && is('/', at_ + 1)) {
        at_ += 2;
        if (--depth == 0) return;
      } else {
        ++at_;
      }
    }
  }
  void skip_quoted(char quote) {
    do {
      const std::size_t close = sql_.find(quote, at_ + 1);
      if (close == Bytes::npos) {
        at_ = sql_.size();
        return;
      }
      at_ = close + 1;
    } while (is(quote, at_));
  }
  // On another line such a string goes on, still with escapes, but without another E.
  void skip_escaped() {
    for (;;) {
      ++at_;
      while (at_ < sql_.size() && sql_[at_] != '\'') at_ += sql_[at_] == '\\' ? 2 : 1;
      if (at_ >= sql_.size()) {
        at_ = sql_.size();
        return;
      }
      ++at_;
      if (is('\'', at_)) continue;
      const std::size_t end = at_;
      while (at_ < sql_.size() && (class_of(at_) == Class::Space || (is('-', at_) && is('-', at_ + 1))))
        class_of(at_) == Class::Space ? void(++at_) : skip_line();
      if (!is('\'', at_)) {
        at_ = end;
        return;
      }
    }
  }
  SqlToken dollar() {
    const std::size_t begin = at_;
    std::size_t end = begin + 1;
    if (is_digit(end)) {
      while (is_digit(++at_)) {
      }
      return token(SqlToken::Kind::Parameter, begin);
    }
    while (end < sql_.size() &&
           (class_of(end) == Class::Letter || (end > begin + 1 && class_of(end) == Class::Digit)))
      ++end;
    if (!is('$', end)) return symbol();
    const Bytes tag = sql_.substr(begin, end + 1 - begin);
    const std::size_t close = sql_.find(tag, end + 1);
    at_ = close == Bytes::npos ? sql_.size() : close + tag.size();
    return token(SqlToken::Kind::String, begin);
  }

  Bytes sql_;
  std::size_t at_;
};

}  // namespace pgweir::protocol
