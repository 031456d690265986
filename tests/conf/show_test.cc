#include <catch2/catch.hpp>

#include <algorithm>

#include "conf/settings.h"
#include "tests/conf/files.h"

using namespace pgweir::conf;
using namespace pgweir::conf::test;

TEST_CASE("every setting is shown with its default, where it comes from and when it takes effect") {
  const auto loaded = load_text("listen: {port: 7}\nbackends: {main: {port: 8}}\n");
  REQUIRE(problems(loaded) == "");
  const auto all = show(*loaded);
  CHECK(all.size() == settings().size() + backend_settings().size());
  for (const auto& setting : settings()) {
    const auto at =
        std::find_if(all.begin(), all.end(), [&](const Shown& each) { return each.key == setting.key; });
    REQUIRE(at != all.end());
    CHECK(at->changeable == (setting.applies == Applies::OnReload));
    CHECK(at->fallback == text_of(Config{}, setting));
  }
  CHECK(shown(*loaded, "listen.port") == "7 from f:1");
  CHECK(shown(*loaded, "backends.main.port") == "8 from f:2");
  CHECK(shown(*loaded, "backends.main.host") == "localhost from default");
}

TEST_CASE("secrets are never shown") {
  const auto loaded = load_text(
      "backends: {main: }\n"
      "users: {alice: hunter2, bob: {secret: hunter2}, carol: {secret_file: s}}\n"
      "tenants: {a: {password: hunter2, user: u}, b: {password_file: s}, c: {password: ''}}\n",
      {{"PGWEIR_USERS__DAVE__SECRET", "hunter2"}, {"DATABASE_URL", "postgres://eve:hunter2@h/d"}},
      {{"s", "hunter2"}});
  REQUIRE(problems(loaded) == "");
  for (const Shown& each : show(*loaded)) {
    CHECK(each.value.find("hunter2") == std::string::npos);
    CHECK(each.fallback.find("hunter2") == std::string::npos);
  }
  for (const Shown& each : show(*loaded))
    if (each.key.starts_with("users.") || each.key.starts_with("tenants.")) CHECK_FALSE(each.changeable);
  CHECK(shown(*loaded, "users.alice.secret") == "******** from f:2");
  CHECK(shown(*loaded, "users.dave.secret") == "******** from environment");
  CHECK(shown(*loaded, "tenants.a.password") == "******** from f:3");
  CHECK(shown(*loaded, "tenants.a.user") == "u from f:3");
  CHECK(shown(*loaded, "tenants.c.password") == " from f:3");
}

TEST_CASE("only settings that differ and cannot change in place need a restart") {
  const auto keys = [](const std::string& a, const std::string& b) {
    const auto running = load_text("backends: {m: }\n" + a), wanted = load_text("backends: {m: }\n" + b);
    REQUIRE(problems(running) == "");
    REQUIRE(problems(wanted) == "");
    std::string out;
    for (const std::string& key : needs_restart(running->config, wanted->config)) out += key + " ";
    return out;
  };
  CHECK(keys("", "") == "");
  CHECK(keys("", "listen: {port: 6432}") == "");
  CHECK(keys("", "listen: {port: 6433}\nprocess: {threads: 2}") == "listen.port process.threads ");
  CHECK(keys("listen: {addresses: [a, b]}", "listen: {addresses: [b, a]}") == "listen.addresses ");
  CHECK(keys("", "client: {max: 5}\nlog: {level: debug}") == "");
}
