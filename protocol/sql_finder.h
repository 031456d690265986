// protocol/sql_finder.h - what the names that stand anywhere in a statement mean. Only protocol/sql.cc
// includes it.
#pragma once

#include "protocol/sql.h"
#include "protocol/sql_tree.h"

namespace pgweir::protocol {

// Goes through a whole statement of the text `sql` and adds what it finds. Answers whether a temporary object
// is named as such.
bool find_names(Bytes sql, const ProtobufCMessage& statement, SqlChanges& changes, SqlReach& reach);

}  // namespace pgweir::protocol
