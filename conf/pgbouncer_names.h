// conf/pgbouncer_names.h - settings under PgBouncer's names and in its units, as tools and habits know them:
// in SHOW CONFIG beside our own, and for SET.
#pragma once

#include <optional>
#include <string>
#include <string_view>
#include <utility>
#include <vector>

#include "conf/config.h"
#include "conf/load.h"

namespace pgweir::conf {

// Times are numbers of seconds.
std::vector<Shown> show_pgbouncer(const Config& config);

// Our key and our spelling of the value; nothing when PgBouncer has no such name, or nothing is behind it
// here.
std::optional<std::pair<std::string, std::string>> from_pgbouncer(std::string_view name,
                                                                  std::string_view value);

}  // namespace pgweir::conf
