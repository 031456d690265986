// protocol/sql_places.h - where in a text things stand. Only protocol/sql.cc includes it.
#pragma once

#include "protocol/sql.h"
#include "protocol/sql_tree.h"

namespace pgweir::protocol {

// Where the statement stands in the text.
void find_place(Bytes sql, const PgQuery__RawStmt& raw, SqlStatement& statement);
// Where what a Prepare prepares begins.
void find_body(Bytes sql, SqlStatement& statement);
// Where the name of a Prepare, Execute or Deallocate stands in its statement. False when it is not where it
// should be.
bool find_name(Bytes sql, SqlStatement& statement);

}  // namespace pgweir::protocol
