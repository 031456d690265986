#include "conf/pgbouncer_names.h"

#include <catch2/catch.hpp>

#include "conf/change.h"
#include "conf/loader.h"

using namespace pgweir::conf;

namespace {

Shown row(const Config& config, std::string_view name) {
  for (Shown& each : show_pgbouncer(config))
    if (each.key == name) return each;
  FAIL("no row " << name);
  return {};
}

}  // namespace

TEST_CASE("settings are told under PgBouncer's names, times in seconds") {
  Config config;
  config.max_clients = 77;
  config.server_login_retry = milliseconds(1500);
  CHECK(row(config, "max_client_conn").value == "77");
  CHECK(row(config, "max_client_conn").fallback == "10000");
  CHECK(row(config, "max_client_conn").changeable);
  CHECK(row(config, "server_login_retry").value == "1.5");
  CHECK(row(config, "query_wait_timeout").value == "120");
  CHECK(row(config, "client_idle_timeout").value == "0");
  CHECK_FALSE(row(config, "listen_port").changeable);
  CHECK_FALSE(row(config, "max_user_connections").changeable);
}

TEST_CASE("what they name is a setting of ours, and no name is both") {
  for (const Shown& each : show_pgbouncer({})) {
    CHECK(find_setting(settings(), each.key) == nullptr);
    if (const auto ours = from_pgbouncer(each.key, "1")) CHECK(find_setting(settings(), ours->first));
  }
}

TEST_CASE("bare numbers of times are seconds") {
  const auto value = [](std::string_view name, std::string_view given) {
    return from_pgbouncer(name, given)->second;
  };
  CHECK(value("query_wait_timeout", "77") == "77000ms");
  CHECK(value("server_login_retry", "0.5") == "500ms");
  CHECK(value("query_wait_timeout", "5min") == "5min");
  CHECK(value("query_wait_timeout", "") == "");
  CHECK(value("query_wait_timeout", "1e300") == "1e300");
  CHECK(value("max_client_conn", "5") == "5");
  CHECK_FALSE(from_pgbouncer("max_user_connections", "5"));
  CHECK_FALSE(from_pgbouncer("client.max", "5"));
}
