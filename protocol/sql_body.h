// protocol/sql_body.h - what the code of a user's function does to the session that calls it.
//
// As in protocol/sql.h every flag means "may". An EXECUTE of PL/pgSQL runs what its literal says; code that
// builds the SQL it runs is opaque, with the settings that its constants name (protocol/sql_dynamic.h), and
// so is what is written in other languages and runs SQL at all; what such code may keep in its interpreter is
// unfollowable (protocol/script_state.h). Other functions that it calls are not looked into. Of the same
// size, code that has more pieces than can be parsed in time is opaque. Pure, from any thread; needs the
// stack of read_sql().
#pragma once

#include <cstddef>
#include <cstdint>

#include "protocol/sql.h"

namespace pgweir::protocol {

enum class BodyLanguage : std::uint8_t { Sql, PlPgsql, Perl, Python, Tcl, JavaScript, Other };
// Whether it runs in an interpreter of its own.
inline bool is_script(BodyLanguage language) {
  return language != BodyLanguage::Sql && language != BodyLanguage::PlPgsql;
}
// Of pg_language.lanname.
BodyLanguage body_language(Bytes name);

SqlChanges read_body(Bytes code, BodyLanguage language);
// The same where many are read: takes what was parsed, in tokens, from `tokens_left`, and parses no more.
SqlChanges read_body(Bytes code, BodyLanguage language, std::size_t& tokens_left);

}  // namespace pgweir::protocol
