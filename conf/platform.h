// conf/platform.h - variables by the names that hosting platforms and PgBouncer's images give them.
//
// They refine what DATABASE_URL makes and are read only together with it: without it they may belong to
// another program. A PGWEIR_ variable for the same thing wins.
#pragma once

#include <array>
#include <string_view>

namespace pgweir::conf {

struct PlatformVariable {
  std::string_view name;
  std::string_view setting;                // dotted key; empty: none
  std::array<std::string_view, 2> fields;  // of DATABASE_URL's tenant; empty: none
};

inline constexpr std::array kPlatformVariables{
    PlatformVariable{"POOL_MODE", "", {"pool_mode", ""}},
    PlatformVariable{"DEFAULT_POOL_SIZE", "", {"pool_size", "max_server_connections"}},
    PlatformVariable{"MAX_CLIENT_CONN", "client.max", {"max_clients", ""}},
    PlatformVariable{"MAX_PREPARED_STATEMENTS", "server.max_prepared_statements", {"", ""}},
};

}  // namespace pgweir::conf
