// pooler/session_parts.h - what the files that make up SessionCore agree on.
#pragma once

#include <algorithm>
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

// SQL-level statements whose texts are longer stay on their server: what is told of one must fit into a row
// that is read.
inline constexpr std::size_t kAdoptedTextMax = 12 << 10;
// What may name any statement is given so many at most.
inline constexpr std::size_t kLentMost = 200;

// Whether the text has the word, in any case, anywhere.
inline bool mentions(Bytes sql, Bytes lower_word) {
  return std::search(sql.begin(), sql.end(), lower_word.begin(), lower_word.end(), [](char a, char b) {
           return (a >= 'A' && a <= 'Z' ? static_cast<char>(a | 0x20) : a) == b;
         }) != sql.end();
}

inline Bytes sql_of(Bytes text) { return text.substr(0, text.find('\0')); }
inline bool whole(const protocol::Frame& frame, Bytes rest) { return rest.size() >= frame.size; }

}  // namespace pgweir
