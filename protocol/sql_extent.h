// protocol/sql_extent.h - whether a SQL text is small and flat enough to be given to the parser, whose time
// and stack must have an end.
#pragma once

#include <cstddef>
#include <optional>

#include "pooler/base/bytes.h"

namespace pgweir::protocol {

// How many tokens it has; nothing where it is not within kSqlTextMax, kSqlTokensMax and kSqlNestingMax
// (protocol/sql.h), or has a NUL.
std::optional<std::size_t> tokens_for_parser(Bytes sql);
inline bool fits_parser(Bytes sql) { return tokens_for_parser(sql).has_value(); }

}  // namespace pgweir::protocol
