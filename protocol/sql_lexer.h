// protocol/sql_lexer.h - cuts a SQL text into tokens as Postgres does, without looking up any word.
//
// The word filter runs it over every text of every client. Never fails: what is not closed runs to the end of
// the text, and a byte that means nothing is a symbol. Needs standard_conforming_strings = on. Two strings
// that Postgres would join over a line break are two tokens here, unless the first has escapes.
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
    String,   // '...' with its quotes, E'...', B'...' and X'...' from the letter on, $tag$...$tag$
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
inline Class class_of(char c) { return kTables.classes[static_cast<unsigned char>(c)]; }
inline bool in_word(char c) { return kTables.in_word[static_cast<unsigned char>(c)]; }
}  // namespace sql_bytes

class SqlLexer {
 public:
  // The text must outlive the lexer.
  explicit SqlLexer(Bytes sql, std::size_t at = 0) : sql_(sql), at_(at) {}

  [[gnu::always_inline]] SqlToken next() {
    // What is met most stands here; the rest is called, by value, so that at_ can stay in a register.
    const char* const data = sql_.data();
    const std::size_t end = sql_.size();
    std::size_t at = at_;
    while (at < end) {
      const std::size_t begin = at;
      SqlToken::Kind kind = SqlToken::Kind::Symbol;
      switch (sql_bytes::class_of(data[at])) {
        case Class::Space: ++at; continue;
        case Class::Letter: do { ++at;
          } while (at < end && sql_bytes::in_word(data[at]));
          kind = SqlToken::Kind::Word;
          if (at == begin + 1 && at < end && (data[at] == '\'' || data[at] == '&'))
            at = after_prefix(sql_, begin, kind);
          break;
        case Class::Symbol: at = data[at] == '.' ? after_point(sql_, at) : at + 1; break;
        case Class::DoubleQuote:
          at = after_quoted(sql_, at);
          kind = SqlToken::Kind::Quoted;
          break;
        case Class::Quote:
          at = after_quoted(sql_, at);
          kind = SqlToken::Kind::String;
          break;
        case Class::Digit:
          at = after_number(sql_, at);
          kind = SqlToken::Kind::Number;
          break;
        case Class::Dollar: at = after_dollar(sql_, at, kind); break;
        case Class::Minus:
        case Class::Slash:
          at = after_comment(sql_, at);
          if (at != begin) continue;
          ++at;
          break;
      }
      at_ = at;
      return SqlToken{kind, begin, at - begin};
    }
    at_ = end;
    return SqlToken{SqlToken::Kind::End, end, 0};
  }

  [[gnu::always_inline]] Bytes text_of(SqlToken token) const {
    return Bytes(sql_.data() + token.at, token.size);
  }

 private:
  using Class = sql_bytes::Class;

  static bool is(char c, Bytes sql, std::size_t at) { return at < sql.size() && sql[at] == c; }
  static bool is_digit(Bytes sql, std::size_t at) {
    return at < sql.size() && sql_bytes::class_of(sql[at]) == Class::Digit;
  }

  static std::size_t after_quoted(Bytes sql, std::size_t at) {
    const char quote = sql[at];
    do {
      at = sql.find(quote, at + 1);
      if (at == Bytes::npos) return sql.size();
      ++at;
    } while (is(quote, sql, at));
    return at;
  }
  // Behind a letter and what follows it, a quote or an ampersand.
  static std::size_t after_prefix(Bytes sql, std::size_t at, SqlToken::Kind& kind);
  static std::size_t after_escaped(Bytes sql, std::size_t at);
  static std::size_t after_number(Bytes sql, std::size_t at);
  static std::size_t after_point(Bytes sql, std::size_t at);
  static std::size_t after_fraction(Bytes sql, std::size_t at);
  static std::size_t after_exponent(Bytes sql, std::size_t at);
  static std::size_t after_dollar(Bytes sql, std::size_t at, SqlToken::Kind& kind);
  // The same place when there is none.
  static std::size_t after_comment(Bytes sql, std::size_t at);
  static std::size_t after_line(Bytes sql, std::size_t at);

  Bytes sql_;
  std::size_t at_;
};

}  // namespace pgweir::protocol
