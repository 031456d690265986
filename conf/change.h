// conf/change.h - one setting changed while the program runs, as SET on the console does.
#pragma once

#include <string>
#include <string_view>

#include "conf/load.h"

namespace pgweir::conf {

// The same configuration with this one setting, also one of a backend (`backends.main.port`), checked as if a
// file had it. Errors are sentences: the key is unknown, needs a restart, or the value is not allowed.
tl::expected<Loaded, std::string> change(const Loaded& now, std::string_view key, std::string_view value,
                                         const ReadFile& read);

// What others may see of the value, whether or not it may be set: a mask where it is a secret, or where
// nobody knows the key, which may be that of a secret with a slip in it.
std::string shown_value(std::string_view key, std::string_view value);

}  // namespace pgweir::conf
