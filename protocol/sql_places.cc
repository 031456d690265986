#include "protocol/sql_places.h"

#include <algorithm>
#include <optional>
#include <string>

#include "protocol/sql_lexer.h"
#include "protocol/sql_values.h"

namespace pgweir::protocol {

namespace {

using Kind = SqlStatement::Kind;

constexpr std::size_t kNameMax = 63;  // NAMEDATALEN - 1

bool is_word(const SqlLexer& lexer, SqlToken token, Bytes word) {
  return token.kind == SqlToken::Kind::Word && lower(lexer.text_of(token)) == word;
}

// The token that names a prepared statement; of kind End when there is none to be seen.
SqlToken name_of(Kind kind, Bytes sql, std::size_t at) {
  SqlLexer lexer(sql, at);
  SqlToken token = lexer.next();
  if (kind == Kind::Prepare) return lexer.next();
  if (kind == Kind::Deallocate) {
    SqlToken last = lexer.next();
    const SqlToken after = lexer.next();
    return after.kind == SqlToken::Kind::End ? last : after;
  }
  if (is_word(lexer, token, "execute")) return lexer.next();
  if (is_word(lexer, token, "explain")) {
    token = lexer.next();
    if (token.kind == SqlToken::Kind::Symbol) {
      std::size_t depth = 0;
      do {
        if (lexer.text_of(token) == "(") ++depth;
        if (lexer.text_of(token) == ")") --depth;
        token = lexer.next();
      } while (depth > 0 && token.kind != SqlToken::Kind::End);
    }
    while (is_word(lexer, token, "analyze") || is_word(lexer, token, "analyse") ||
           is_word(lexer, token, "verbose"))
      token = lexer.next();
    if (is_word(lexer, token, "execute")) return lexer.next();
  }
  // CREATE TABLE execute AS EXECUTE name: AS is no name for a table.
  bool behind_as = false;
  for (; token.kind != SqlToken::Kind::End; token = lexer.next()) {
    if (behind_as && is_word(lexer, token, "execute")) return lexer.next();
    behind_as = is_word(lexer, token, "as");
  }
  return token;
}

// A name as the server takes it from the text. Nothing for what is no plain or quoted name.
std::optional<std::string> decoded(SqlToken token, Bytes text) {
  std::string name;
  if (token.kind == SqlToken::Kind::Word) {
    name = lower(text);
  } else if (token.kind == SqlToken::Kind::Quoted) {
    for (std::size_t at = 1; at + 1 < text.size(); ++at) {
      name += text[at];
      if (text[at] == '"') ++at;
    }
  } else {
    return {};
  }
  if (name.size() > kNameMax) {
    std::size_t size = kNameMax;
    while (size > 0 && (static_cast<unsigned char>(name[size]) & 0xC0U) == 0x80) --size;
    name.resize(size);
  }
  return name;
}

}  // namespace

bool find_name(Bytes sql, SqlStatement& statement) {
  const SqlToken token = name_of(statement.kind, sql.substr(0, statement.at + statement.size), statement.at);
  const Bytes text = sql.substr(token.at, token.size);
  if (token.kind == SqlToken::Kind::Unicode) return true;  // has no place, with or without its UESCAPE
  if (decoded(token, text) != statement.name) return false;
  statement.name_at = static_cast<std::uint32_t>(token.at);
  statement.name_size = static_cast<std::uint32_t>(token.size);
  return true;
}

// PREPARE name [(types)] AS body: AS is no name for a type.
void find_body(Bytes sql, SqlStatement& statement) {
  SqlLexer lexer(sql.substr(0, statement.at + statement.size), statement.at);
  lexer.next();
  SqlToken token = lexer.next();  // the name
  while (token.kind != SqlToken::Kind::End && !is_word(lexer, token, "as")) token = lexer.next();
  statement.body_at = static_cast<std::uint32_t>(lexer.next().at);
}

void find_place(Bytes sql, const PgQuery__RawStmt& raw, SqlStatement& statement) {
  const std::size_t from = std::min(static_cast<std::size_t>(std::max(raw.stmt_location, 0)), sql.size());
  std::size_t end = sql.size();
  if (raw.stmt_len > 0) end = std::min(end, from + static_cast<std::size_t>(raw.stmt_len));
  const std::size_t at = std::min(SqlLexer(sql, from).next().at, end);
  statement.at = static_cast<std::uint32_t>(at);
  statement.size = static_cast<std::uint32_t>(end - at);
}

}  // namespace pgweir::protocol
