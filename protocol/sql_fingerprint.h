// protocol/sql_fingerprint.h - a name for the shape of a SQL text: texts that differ only in their values
// share it, and nothing of the text can be read from it.
#pragma once

#include <string>

#include "pooler/base/bytes.h"

namespace pgweir::protocol {

// Where the parser understands the text: libpg_query's fingerprint, 16 hex digits, as pganalyze and others
// show it. Else, and of a text that was `cut`: '~' and 16 hex digits over its first words, values left out.
// Empty for a text of nothing but blanks and comments. Takes as long as read_sql(), and the same stack. From
// any thread.
std::string sql_fingerprint(Bytes sql, bool cut = false);

}  // namespace pgweir::protocol
