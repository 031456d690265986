// protocol/sql_nested.h - read_sql() for the pieces of a body. Only protocol/sql_body.cc includes it.
#pragma once

#include "protocol/sql.h"

namespace pgweir::protocol {

// The same, but that a DO in the text is told by its words: bodies in bodies must have an end.
SqlEffects read_nested_sql(Bytes text);

}  // namespace pgweir::protocol
