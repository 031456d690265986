// conf/database_url.h - a connection string as platforms hand it out:
// postgres://user:password@host:port/database?...
//
// Read as libpq reads it where that is safe: percent signs are decoded, IPv6 hosts stand in brackets, a host
// that begins with %2F is a directory. What would silently mean something else than it says (an
// '@' or '/' that should have been encoded, parameters that we do not obey) is an error. Errors never repeat
// the text: any part of it may be a secret.
#pragma once

#include <string>
#include <string_view>
#include <utility>
#include <vector>

#include <tl/expected.hpp>

namespace pgweir::conf {

struct DatabaseUrl {
  std::string user, password, database;  // empty: not given; the database is then the user's name
  std::vector<std::pair<std::string_view, std::string>> backend;  // key of a Backend's setting, value
};

tl::expected<DatabaseUrl, std::string> parse_database_url(std::string_view text);

}  // namespace pgweir::conf
