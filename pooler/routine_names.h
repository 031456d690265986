// pooler/routine_names.h - words of a text as Postgres reads them, where they may be names of functions.
#pragma once

#include <array>

#include "pooler/base/bytes.h"

namespace pgweir {

constexpr std::size_t kNameMax = 63;  // what Postgres keeps of a name

// A word as Postgres reads it: `quotes` says that it stands in some. In `room` where it is another than what
// is written.
Bytes name_in(Bytes written, bool quotes, std::array<char, kNameMax>& room);
// Where a database is in another encoding than UTF-8 nobody knows where it cuts names with other letters than
// those of ASCII, and in what encoding a client writes them: each may be any of them.
Bytes folded(Bytes name, bool utf8);

// Of a word that is reserved only what stands in quotes or behind a point is a name.
bool is_reserved(Bytes word);
// A text with such a word may run any code of the database, none of which it has to name.
bool is_upkeep(Bytes word);
// ... may fire event triggers.
bool is_ddl(Bytes word);

}  // namespace pgweir
