#include "protocol/sql_lexer.h"

#include <algorithm>

namespace pgweir::protocol {

std::size_t SqlLexer::after_prefix(Bytes sql, std::size_t at, SqlToken::Kind& kind) {
  const char letter = static_cast<char>(sql[at] | 0x20);
  const std::size_t quote = at + 1;
  if (sql[quote] == '&') {
    if (letter != 'u' || !(is('\'', sql, quote + 1) || is('"', sql, quote + 1))) return quote;
    kind = SqlToken::Kind::Unicode;
    return after_quoted(sql, quote + 1);
  }
  if (letter == 'e') {
    kind = SqlToken::Kind::String;
    return after_escaped(sql, quote);
  }
  if (letter == 'b' || letter == 'x') {
    kind = SqlToken::Kind::String;
    return std::min(sql.find('\'', quote + 1), sql.size() - 1) + 1;  // here '' is two quotes
  }
  return quote;
}

// On another line such a string goes on, still with escapes, but without another E.
std::size_t SqlLexer::after_escaped(Bytes sql, std::size_t at) {
  for (;;) {
    ++at;
    while (at < sql.size() && sql[at] != '\'') at += sql[at] == '\\' ? 2 : 1;
    if (at >= sql.size()) return sql.size();
    ++at;
    if (is('\'', sql, at)) continue;
    const std::size_t end = at;
    bool line_break = false;
    for (; at < sql.size(); ++at) {
      if (is('-', sql, at) && is('-', sql, at + 1)) at = after_line(sql, at);
      if (at >= sql.size() || sql_bytes::class_of(sql[at]) != Class::Space) break;
      line_break |= sql[at] == '\n' || sql[at] == '\r';
    }
    if (!line_break || !is('\'', sql, at)) return end;
  }
}

// "1e5set" is a number and a word (Postgres 14), or an error (15).
std::size_t SqlLexer::after_number(Bytes sql, std::size_t at) {
  while (is_digit(sql, at)) ++at;
  if (is('.', sql, at) && !is('.', sql, at + 1)) {
    return after_fraction(sql, at + 1);
  }
  return after_exponent(sql, at);
}

// ".5" ends where its digits do: ".5.e3" is a number, a point and a word. ".." is one symbol.
std::size_t SqlLexer::after_point(Bytes sql, std::size_t at) {
  if (is('.', sql, at + 1)) return at + 2;
  return is_digit(sql, at + 1) ? after_fraction(sql, at + 1) : at + 1;
}

std::size_t SqlLexer::after_fraction(Bytes sql, std::size_t at) {
  while (is_digit(sql, at)) ++at;
  return after_exponent(sql, at);
}

std::size_t SqlLexer::after_exponent(Bytes sql, std::size_t at) {
  if (is('e', sql, at) || is('E', sql, at)) {
    std::size_t digits = is('+', sql, at + 1) || is('-', sql, at + 1) ? at + 2 : at + 1;
    if (!is_digit(sql, digits)) return at;
    while (is_digit(sql, digits)) ++digits;
    return digits;
  }
  return at;
}

std::size_t SqlLexer::after_dollar(Bytes sql, std::size_t at, SqlToken::Kind& kind) {
  std::size_t end = at + 1;
  if (is_digit(sql, end)) {
    while (is_digit(sql, end)) ++end;
    kind = SqlToken::Kind::Parameter;
    return end;
  }
  while (end < sql.size() && sql[end] != '$' && sql_bytes::in_word(sql[end])) ++end;
  if (!is('$', sql, end)) return at + 1;
  kind = SqlToken::Kind::String;
  const Bytes tag = sql.substr(at, end + 1 - at);
  const std::size_t close = sql.find(tag, end + 1);
  return close == Bytes::npos ? sql.size() : close + tag.size();
}

std::size_t SqlLexer::after_comment(Bytes sql, std::size_t at) {
  if (sql[at] == '-') return is('-', sql, at + 1) ? after_line(sql, at) : at;
  if (!is('*', sql, at + 1)) return at;
  std::size_t depth = 0;
  while (at < sql.size()) {
    if (is('/', sql, at) && is('*', sql, at + 1)) {
      ++depth;
      at += 2;
    } else if (is('*', sql, at) && is('/', sql, at + 1)) {
      at += 2;
      if (--depth == 0) return at;
    } else {
      ++at;
    }
  }
  return at;
}

std::size_t SqlLexer::after_line(Bytes sql, std::size_t at) {
  while (at < sql.size() && sql[at] != '\n' && sql[at] != '\r') ++at;
  return at;
}

}  // namespace pgweir::protocol
