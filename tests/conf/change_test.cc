#include "conf/change.h"

#include <catch2/catch.hpp>

using namespace pgweir::conf;

namespace {

const ReadFile kNoFiles = [](const std::string& path) -> tl::expected<std::string, std::string> {
  return tl::unexpected("cannot read " + path);
};

Loaded start() {
  auto loaded = load("", {{"DATABASE_URL", "postgres://app:secret@db:1/app"}}, kNoFiles);
  REQUIRE(loaded);
  return *loaded;
}

std::string tried(std::string_view key, std::string_view value) {
  const Loaded before = start();
  const auto changed = change(before, key, value, kNoFiles);
  if (!changed) return changed.error();
  for (const Shown& shown : show(*changed, Reader::Admin))
    if (shown.key == key) return shown.value + " by " + shown.origin.where;
  return "gone";
}

}  // namespace

TEST_CASE("a setting that a reload can change is changed, and says by whom") {
  CHECK(tried("client.max", "77") == "77 by console");
  CHECK(tried("client.idle_timeout", "5min") == "5min by console");
  CHECK(tried("console.stats", "a, b") == "a,b by console");
  CHECK(tried("log.level", "debug") == "debug by console");
  CHECK(tried("http.metrics_token", "x") == "******** by console");
  CHECK(tried("backends.default.max_server_connections", "3") == "3 by console");
}

TEST_CASE("what may not be changed, or not to that, stays as it is") {
  CHECK(tried("listen.port", "1") == "listen.port changes at the next start only");
  CHECK(tried("client.maxx", "1") == "there is no setting 'client.maxx'; did you mean client.max?");
  CHECK(tried("backends.none.port", "1").starts_with("there is no setting 'backends.none.port'"));
  for (const char* row : {"tiers.free.pool_size", "tenants.app.tier", "users.bob.secret"})
    CHECK(tried(row, "1").starts_with(row + std::string(" is changed in the configuration")));
  CHECK(tried("client.max", "0") == "client.max must lie between 1 and 1000000, not 0");
  CHECK(tried("log.level", "loud").starts_with("log.level must be one of debug, info"));
  // What settings say of each other holds, too.
  CHECK(tried("client.tls_mode", "require").starts_with("client.tls_cert_file must be set"));
  CHECK(tried("pool.default_tier", "gold").starts_with("pool.default_tier no tier is named 'gold'"));
  CHECK(tried("auth.users_file", "/none") == "auth.users_file cannot read /none");
}

TEST_CASE("only what is known to be no secret is shown") {
  const struct {
    const char *key, *value, *shown;
  } cases[] = {
      {"http.metrics_token", "x", "********"},
      {"http.metrics_token", "", ""},
      {"tenant_store.redis_url", "redis://:x@h", "********"},
      {"client.max", "7", "7"},
      {"query_timeout", "7", "7"},  // PgBouncer's name
      {"backends.default.port", "7", "7"},
      {"backends.default.side_password", "x;y", "********"},
      {"backends.a.b.tenant_secret", "x y", "********"},
      {"backends.none.side_password", "x", "********"},
      {"backends.default.side_pasword", "x", "********"},
      {"backends.side_password", "x", "********"},
      {"http.metrics_tokn", "x", "********"},
      {"users.bob", "x", "********"},
      {"users.bob.secret", "x", "********"},
      {"tenants.app.password", "x", "********"},
  };
  for (const auto& one : cases) {
    INFO(one.key);
    CHECK(shown_value(one.key, one.value) == one.shown);
  }
}
