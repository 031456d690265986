// protocol/sql_nested.h - read_sql() and read_body() for what stands inside of bodies: the pieces of their
// code, the texts that they execute, the code of a DO in them. Only the files that make up both include it,
// and their tests.
#pragma once

#include "protocol/sql_body.h"

namespace pgweir::protocol {

// Bodies in bodies must have an end: what is deeper is told by its words.
inline constexpr unsigned kBodiesDeep = 4;

// A body has many pieces, and a text may have many bodies: what may be parsed in all of them together, in
// tokens, of which each piece costs some more than it has. What is beyond is Unknown, or told by its words.
struct ParserLeft {
  static constexpr std::size_t kMost = 2 * kSqlTokensMax, kPiece = 8;
  std::size_t tokens = kMost;
};

// `depth`: how many bodies the text or the code stands in.
SqlEffects read_nested_sql(Bytes text, unsigned depth, ParserLeft& left);
SqlChanges read_nested_body(Bytes code, BodyLanguage language, unsigned depth, ParserLeft& left);

}  // namespace pgweir::protocol
