// pooler/console_told.h - what the log and the audit stream are told of a request of the console. Pure.
#pragma once

#include <string>

#include "pooler/console_core.h"

namespace pgweir::console {

// What it acts on, and what it sets it to, in the order of its text. Empty for one without a command. No
// value is told of a secret, nor of a key or field that there is none of: it may be a secret's, misspelled.
std::string told_argument(const Request& request);

}  // namespace pgweir::console
