// pooler/console_columns.h - the columns of what a SHOW answers, and a part of them: SHOW CLIENTS user,
// state.
//
// Works on answers as messages, so that every table has it: a RowDescription, DataRows, and what else there
// is to say. Pure.
#pragma once

#include <cstddef>
#include <cstdint>
#include <string>
#include <vector>

#include "pooler/base/bytes.h"
#include "pooler/base/error.h"
#include "pooler/console_core.h"
#include "protocol/messages.h"

namespace pgweir::console {

// Bytes of the message in front; 0 where there is none.
std::size_t size_of_first(Bytes messages);

// Nothing where the answer has no rows.
std::vector<protocol::Column> columns_of(Bytes answer);

// Finds the places of `request.columns` in `table`, an answer with all columns of its command. An error names
// those that there are.
Expected<void> find_columns(Request& request, Bytes table);

// The answer with the columns at these places, in their order; with none, as it is.
std::string selected(std::string answer, const std::vector<std::uint16_t>& places);

}  // namespace pgweir::console
