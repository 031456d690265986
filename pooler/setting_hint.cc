#include "pooler/setting_hint.h"

#include <fmt/format.h>

#include <algorithm>
#include <array>

#include "tiers/tier.h"

namespace pgweir::console {

namespace {

struct Name {
  std::string_view of_pgbouncer;
  std::string_view here;
};
constexpr std::array kNames{
    Name{"default_pool_size", "pool_size and max_server_connections"},
    Name{"max_db_client_connections", "max_clients"},
    Name{"max_db_connections", "max_server_connections"},
    Name{"max_user_client_connections", "max_clients"},
    Name{"min_pool_size", "min_server_connections"},
    Name{"reserve_pool_size", "max_server_connections beyond pool_size"},
};

}  // namespace

std::string setting_hint(std::string_view key) {
  constexpr std::string_view kWhere =
      "SET OVERRIDE tenant field value changes one tenant, the configuration or the tenant store all of a "
      "tier.";
  const auto* const name = std::find_if(kNames.begin(), kNames.end(),
                                        [key](const Name& each) { return each.of_pgbouncer == key; });
  if (name != kNames.end())
    return fmt::format("What stands for it here: {} of a tier. {}", name->here, kWhere);
  if (tiers::check_field(key)) return fmt::format("It is a field of a tier. {}", kWhere);
  return {};
}

}  // namespace pgweir::console
