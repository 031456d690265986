// protocol/sql_words.h - a quick look at a SQL text: could it leave something behind in its session?
//
// Errs on the side of yes: a yes costs a look into the cache of protocol/sql_cache.h, and now and then a
// parse; a wrong no would let one client's state reach the next. Says yes to whatever read_sql() finds to
// leave something, and to the statements on prepared statements, channels and DISCARD; no to what only takes
// away (DROP, CLOSE, ROLLBACK). It knows comments, strings and quoted names, and reads words only; functions
// that the user wrote are not looked into. Strings must follow the standard (standard_conforming_strings =
// on); with another setting the caller takes every text for a yes.
#pragma once

#include <cstdint>

#include "pooler/base/bytes.h"

namespace pgweir::protocol {

enum class SqlWords : std::uint8_t {
  Harmless,
  Values,  // leaves nothing, but gives settings values that are not the session's (SET LOCAL, ALTER ROLE,
           // a function's SET), or makes code: of interest where settings have ceilings
  State,   // may leave something
};
SqlWords sql_words(Bytes sql);
inline bool may_leave_state(Bytes sql);

// The same for the code of a DO: a statement may also begin behind BEGIN, THEN, ELSE and LOOP, and EXECUTE
// runs what nobody has seen.
bool body_may_leave_state(Bytes code);
SqlWords body_words(Bytes code);

bool may_leave_state(Bytes sql) { return sql_words(sql) == SqlWords::State; }

}  // namespace pgweir::protocol
