// pooler/session_parts.h - what the files that make up SessionCore agree on.
#pragma once

#include <algorithm>
#include <cstddef>

#include "pooler/audit.h"
#include "pooler/base/bytes.h"
#include "pooler/base/error.h"
#include "pooler/routines.h"
#include "protocol/frame.h"
#include "protocol/sql.h"

namespace pgweir {

// Whether literals are read otherwise behind such a text, as far as it names what it sets.
bool sets_readings(const protocol::SqlEffects& effects);

// A client that is slow to finish a message of ordinary size does not hold a server meanwhile.
inline constexpr std::size_t kWholeBeforeServer = 16 << 10;
inline constexpr std::size_t kNamedParseMax = 1 << 20;
// A longer one is on its server only. One that is longer than the latter is kept until it has been used.
inline constexpr std::size_t kUnnamedMax = 1 << 20;
inline constexpr std::size_t kUnnamedKeptMax = 256 << 10;
// What takes the place of a longer one waits until all before it has been answered.
inline constexpr std::size_t kUnnamedOwedMax = 4 << 10;
// Of the names of all statements that we prepare on servers.
inline constexpr Bytes kOurPrefix = "pgweir_";
inline bool is_like_ours(Bytes name) { return name.starts_with(kOurPrefix); }
inline constexpr Bytes kNoQuery =
    "refused_by_pgweir";                            // the text that is sent for one of which nothing may run
inline constexpr Bytes kEmptyContent{"\0\0\0", 3};  // of a statement that does nothing
inline constexpr std::size_t kPortalsNoted = 1000;  // what more of them DEALLOCATE is not found
inline constexpr std::size_t kOpsMax = 1024;        // changes of statements that a server owes

// SQL-level statements whose texts are longer stay on their server: what is told of one must fit into a row
// that is read.
inline constexpr std::size_t kAdoptedTextMax = 12 << 10;
// What may name any statement is given all of the client's, if they are so many at most: those that an audit
// finds again.
inline constexpr std::size_t kLentMost = Findings::kStatementsRead;
inline constexpr std::size_t kLentBytesMost = 1 << 20;
static_assert(kLentBytesMost < Findings::kStatementBytesRead);

// Once temporary tables were used, a server takes no other value of it.
inline constexpr Bytes kTempBuffers = "temp_buffers";

// Whether the text has the word, in any case, anywhere.
inline bool mentions(Bytes sql, Bytes lower_word) {
  return std::search(sql.begin(), sql.end(), lower_word.begin(), lower_word.end(), [](char a, char b) {
           return (a >= 'A' && a <= 'Z' ? static_cast<char>(a | 0x20) : a) == b;
         }) != sql.end();
}

// A text without any word that could change a session runs no SQL that stands in a string.
inline RoutineBook::Strings strings_of(const protocol::SqlEffects& effects) {
  return effects.read == protocol::SqlEffects::Read::Plain ? RoutineBook::Strings::Data
                                                           : RoutineBook::Strings::Code;
}

// lastval() or currval() where they may say what another client's nextval() did.
inline Error others_sequence() {
  return {sqlstate::kNotInState, "lastval and currval are not yet defined in this session",
          "Other clients have used its server before, and what this one has done in the same batch cannot be "
          "told.",
          "Send a Sync in front of it, or ask by RETURNING."};
}

// A glance before a text is looked at. What needs no server begins so: DISCARD, DEALLOCATE, RESET, UNLISTEN,
// CLOSE.
inline bool begins_like_local(Bytes text) {
  switch (text.empty() ? '\0' : text[0]) {
    case 'd':
    case 'D':
    case 'r':
    case 'R':
    case 'u':
    case 'U':
    case 'c':
    case 'C':
    case ' ':
    case '\t':
    case '\r':
    case '\n': return true;
    default: return false;
  }
}

inline Bytes sql_of(Bytes text) { return text.substr(0, text.find('\0')); }
// What stands behind it in a Parse: the types of its parameters.
inline Bytes types_of(Bytes text) { return text.substr(std::min(text.size(), sql_of(text).size() + 1)); }
inline bool whole(const protocol::Frame& frame, Bytes rest) { return rest.size() >= frame.size; }

}  // namespace pgweir
