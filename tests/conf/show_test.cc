#include <catch2/catch.hpp>

#include <algorithm>

#include "conf/settings.h"
#include "tests/conf/files.h"

using namespace pgweir::conf;
using namespace pgweir::conf::test;

TEST_CASE("every setting is shown with its default, where it comes from and when it takes effect") {
  const auto loaded = load_text("listen: {port: 7}\nbackends: {main: {port: 8}}\n");
  REQUIRE(problems(loaded) == "");
  const auto all = show(*loaded, Reader::Admin);
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
  for (const Shown& each : show(*loaded, Reader::Admin)) {
    CHECK(each.value.find("hunter2") == std::string::npos);
    CHECK(each.fallback.find("hunter2") == std::string::npos);
  }
  for (const Shown& each : show(*loaded, Reader::Admin))
    if (each.key.starts_with("users.") || each.key.starts_with("tenants.")) CHECK_FALSE(each.changeable);
  CHECK(shown(*loaded, "users.alice.secret") == "******** from f:2");
  CHECK(shown(*loaded, "users.dave.secret") == "******** from environment");
  CHECK(shown(*loaded, "tenants.a.password") == "******** from f:3");
  CHECK(shown(*loaded, "tenants.a.user") == "u from f:3");
  CHECK(shown(*loaded, "tenants.c.password") == " from f:3");
}

TEST_CASE("who may only look is not shown what tiers and tenants give to sessions") {
  const auto loaded = load_text(
      "backends: {main: }\n"
      "tiers: {gold: {work_mem: 4MB, inject.app.pin: one, default.app.label: two}}\n"
      "tenants: {a: {tier: gold, inject.app.pin: three}}\n",
      {{"PGWEIR_TIERS__GOLD__INJECT_ROLE", "four"}});
  REQUIRE(problems(loaded) == "");
  const auto rows = [&](Reader reader) {
    std::string all;
    for (const Shown& each : show(*loaded, reader))
      if (each.key.starts_with("tiers.gold.") || each.key.starts_with("tenants.a."))
        all += each.key + "=" + each.value + "\n";
    return all;
  };
  CHECK(rows(Reader::Admin) ==
        "tiers.gold.work_mem=4MB\ntiers.gold.inject.app.pin=one\ntiers.gold.default.app.label=two\n"
        "tiers.gold.inject_role=four\ntenants.a.tier=gold\ntenants.a.inject.app.pin=three\n");
  CHECK(rows(Reader::Stats) ==
        "tiers.gold.work_mem=4MB\ntiers.gold.inject.app.pin=********\ntiers.gold.default.app.label=********\n"
        "tiers.gold.inject_role=********\ntenants.a.tier=gold\ntenants.a.inject.app.pin=********\n");
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
  CHECK(keys("listen: {addresses: [10.0.0.1, 10.0.0.2]}", "listen: {addresses: [10.0.0.2, 10.0.0.1]}") ==
        "listen.addresses ");
  CHECK(keys("", "client: {max: 5}\nlog: {level: debug}") == "");
}
