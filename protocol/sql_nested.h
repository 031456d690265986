// protocol/sql_nested.h - read_sql() and read_body() for what stands inside of bodies: the pieces of their
// code, the texts that they execute, the code of a DO in them. Only the files that make up both include it.
#pragma once

#include "protocol/sql_body.h"

namespace pgweir::protocol {

// Bodies in bodies must have an end: what is deeper is told by its words.
inline constexpr unsigned kBodiesDeep = 4;

// `depth`: how many bodies the text or the code stands in.
SqlEffects read_nested_sql(Bytes text, unsigned depth);
SqlChanges read_nested_body(Bytes code, BodyLanguage language, unsigned depth);

}  // namespace pgweir::protocol
