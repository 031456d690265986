// pooler/session_parts.h - what the files that make up SessionCore agree on.
#pragma once

#include <cstddef>

#include "pooler/base/bytes.h"
#include "protocol/frame.h"

namespace pgweir {

// A client that is slow to finish a message of ordinary size does not hold a server meanwhile.
inline constexpr std::size_t kWholeBeforeServer = 16 << 10;
inline constexpr std::size_t kNamedParseMax = 1 << 20;
inline constexpr std::size_t kUnnamedKeptMax = 256 << 10;
// Of the names of all statements that we prepare on servers.
inline constexpr Bytes kOurPrefix = "pgweir_";
inline constexpr std::size_t kOpsMax = 1024;  // changes of statements that a server owes

inline Bytes sql_of(Bytes text) { return text.substr(0, text.find('\0')); }
inline bool whole(const protocol::Frame& frame, Bytes rest) { return rest.size() >= frame.size; }

}  // namespace pgweir
