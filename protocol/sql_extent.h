// protocol/sql_extent.h - whether a SQL text is small and flat enough to be given to the parser, whose time
// and stack must have an end.
#pragma once

#include "pooler/base/bytes.h"

namespace pgweir::protocol {

// Within kSqlTextMax, kSqlTokensMax and kSqlNestingMax (protocol/sql.h), and without a NUL.
bool fits_parser(Bytes sql);

}  // namespace pgweir::protocol
