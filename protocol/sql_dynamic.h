// protocol/sql_dynamic.h - the SQL that an EXECUTE of PL/pgSQL runs, as far as it stands in the code.
//
// Only one literal is all of the text: operators and functions, format() among them, may be the user's own.
// Of anything else the constants are put together, and what is made at run time is stood in for by a name, so
// that the settings that are named there can be read; of much more than the code itself, only the beginning.
#pragma once

#include <cstddef>
#include <string>
#include <vector>

#include "protocol/sql_lexer.h"

namespace pgweir::protocol {

// Stands in for what is made at run time.
inline constexpr Bytes kMadeLater = "pgweir_made_later";

struct DynamicSql {
  std::string text;
  bool whole = false;  // it is all of the text, and nothing in it stands for anything else
};

// `first`: the token of `code` behind the word EXECUTE. `tokens` are those of the statement.
DynamicSql read_dynamic(Bytes code, const std::vector<SqlToken>& tokens, std::size_t first);

// Whether the word of a body is this one, which is in small letters.
bool equals(Bytes word, Bytes lower_word);

}  // namespace pgweir::protocol
