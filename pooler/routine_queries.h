// pooler/routine_queries.h - what Postgres is asked about the code of a database.
//
// Each takes no lock on a table of the users'. A key is the oid of a catalog, a space, and an oid in that.
#pragma once

#include <cstddef>
#include <set>
#include <string>

namespace pgweir::routine_queries {

// One row: a text that is another where something was changed. It begins with the number of what may be code,
// and ends with the name of the database's encoding.
std::string fingerprint();

// Key, name, language, code; without code it is too long, or runs as nobody can read it.
std::string bodies(std::size_t rows_most);
// The same of expressions that call Postgres's own functions, told as code.
std::string stored(std::size_t rows_most);
// What leads to what, beginning with what was `found`, by their keys. Of a thing: key, NULL, name, and 't'
// for a type, 'd' for an event trigger, 'h' for what the role cannot name. Of a step: key, key of the user,
// NULL, NULL.
std::string users(const std::set<std::string>& found, std::size_t rows_most);
// Key and code, to look for names in.
std::string code(std::size_t rows_most);

}  // namespace pgweir::routine_queries
