#include "pooler/setting_hint.h"

#include <catch2/catch.hpp>
#include <string>

#include "conf/change.h"
#include "conf/loader.h"

using namespace pgweir;
using Catch::StartsWith;

TEST_CASE("who sets what is a field of a tier here is told where that is") {
  CHECK_THAT(
      console::setting_hint("default_pool_size"),
      StartsWith(
          "What stands for it here: pool_size and max_server_connections of a tier. SET OVERRIDE tenant"));
  for (const char* field : {"pool_size", "max_clients", "work_mem", "ceiling.jit", "pool_mode"}) {
    CHECK_THAT(console::setting_hint(field), StartsWith("It is a field of a tier. SET OVERRIDE tenant"));
    CHECK_FALSE(conf::change({}, field, "1", {}));
  }
  for (const char* other : {"", "client.max", "nonsense", "max_client_conn"})
    CHECK(console::setting_hint(other).empty());
}
