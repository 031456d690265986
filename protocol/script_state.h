// protocol/script_state.h - whether code of a language other than SQL and PL/pgSQL may keep something in its
// interpreter for the next call, of whatever client. No DISCARD reaches that.
//
// By the names of the languages' own places for it: %_SHARED and package variables of Perl, GD, SD and the
// globals of Python and Tcl, JavaScript's global object. What has no name of its own is not seen: a variable
// of Perl or JavaScript that is not declared, an attribute of a module or of plv8, a name that is made at run
// time. Lines that are nothing but a comment are left out where none of them can hide code: of a language
// that is not known, nowhere.
#pragma once

#include "protocol/sql_body.h"

namespace pgweir::protocol {

// Linear in the size of the code, of which there is no bound.
bool may_keep_something(Bytes code, BodyLanguage language);

}  // namespace pgweir::protocol
