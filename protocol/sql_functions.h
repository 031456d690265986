// protocol/sql_functions.h - the functions of Postgres that change a session, by name.
#pragma once

#include <cstdint>

#include "pooler/base/bytes.h"

namespace pgweir::protocol {

enum class SqlFunction : std::uint8_t {
  Other,
  SetConfig,       // set_config(name, value, is_local)
  SetLimit,        // pg_trgm's name for a setting of its own
  AdvisoryLock,    // of the session
  AdvisoryUnlock,  // ...
  ReadsSequence,   // what nextval said last in this session
  Executor,        // runs SQL that stands in its arguments
  Assembler,       // ... that it makes of its arguments: names of columns and tables, as they should be
  CodeByName,  // runs code of the users' own by the names and numbers of tables and types in its arguments
  Unfollowable,
};

// The name in lower case, without its schema.
SqlFunction sql_function(Bytes name);
// Whether it opens a session of Postgres's own, or may: dblink and dblink_exec also take words to connect by.
bool opens_session(Bytes name);
// Of those that a FunctionCall can name, by their numbers: SetConfig, ReadsSequence, Executor, CodeByName,
// Unfollowable and Other.
SqlFunction sql_function(std::uint32_t oid);

}  // namespace pgweir::protocol
