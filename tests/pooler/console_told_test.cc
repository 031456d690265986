#include "pooler/console_told.h"

#include <catch2/catch.hpp>

#include "conf/load.h"
#include "pooler/console_show.h"
#include "tiers/tier.h"

using namespace pgweir;

TEST_CASE("a command is told with what it acts on, and no secret of it") {
  const struct {
    const char *text, *told;
  } cases[] = {
      {"RELOAD", ""},
      {"PAUSE acme", "acme"},
      {"SET TIER acme gold", "acme gold"},
      {"SET client.max = 7", "client.max = 7"},
      {"SET application_name = 'x hunter2'", "application_name"},
      {"SHOW timezone", "timezone"},
      {"SET backends.main.side_password = 'x;hunter2'", "backends.main.side_password = ********"},
      {"SET backends.main.port = 5433", "backends.main.port = 5433"},
      {"SET users.bob = 'hunter2'", "users.bob = ********"},
      {"SET http.metrics_tokn = 'hunter2'", "http.metrics_tokn = ********"},
      {"SET OVERRIDE acme pool_size 7", "acme pool_size 7"},
      {"SET OVERRIDE acme work_mem '8MB'", "acme work_mem 8MB"},
      {"SET OVERRIDE acme inject.app.region 'eu'", "acme inject.app.region eu"},
      {"SET OVERRIDE acme inject.app.password 'hunter2'", "acme inject.app.password ********"},
      {"SET OVERRIDE acme inject.app.api_key 'hunter2'", "acme inject.app.api_key ********"},
      {"SET OVERRIDE acme password 'x hunter2'", "acme password ********"},
      {"SET OVERRIDE acme pasword 'hunter2'", "acme pasword ********"},
      {"RESET OVERRIDE acme inject.app.password", "acme inject.app.password"},
      {"SUSPEND_TENANT acme 'not paid'", "acme not paid"},
  };
  for (const auto& one : cases) {
    INFO(one.text);
    const auto requests = console::parse(one.text, console::shape);
    REQUIRE(requests);
    CHECK(console::told_argument(requests->at(0)) == one.told);
  }
  CHECK(console::told_argument({}).empty());
}

TEST_CASE("of the fields of a tier none has the name of a secret") {
  for (const tiers::TierField& field : tiers::tier_fields()) CHECK(!conf::is_secret_field(field.key));
}

TEST_CASE("of the fields of a tenant those have the name of a secret that are one") {
  for (const tiers::TenantField& field : tiers::tenant_fields())
    CHECK(conf::is_secret_field(field.key) == field.secret);
}
