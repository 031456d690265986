#include <catch2/catch.hpp>

#include "tests/conf/files.h"

using namespace pgweir::conf;
using namespace pgweir::conf::test;

namespace {
const std::string kFile =
    "listen: {port: 1111}\n"
    "backends: {main: {host: file}, my-other: {}}\n"
    "users: {alice: filed}\n"
    "tenants: {Acme: {tier: free, password: filed}}\n";
}

TEST_CASE("the environment wins over the file, the file over the default") {
  const auto loaded = load_text(kFile,
                                {{"PGWEIR_LISTEN__PORT", "2222"},
                                 {"PGWEIR_LISTEN__ADDRESSES", "0.0.0.0, ::"},
                                 {"PGWEIR_BACKENDS__MAIN__PORT", "7777"},
                                 {"PGWEIR_BACKENDS__MY_OTHER__HOST", "o"},
                                 {"PGWEIR_BACKENDS__NEW_ONE__HOST", "n"},
                                 {"PGWEIR_USERS__ALICE__SECRET", "env"},
                                 {"PGWEIR_USERS__BOB__SECRET_FILE", "bob"},
                                 {"PGWEIR_TENANTS__ACME__TIER", "pro"},
                                 {"PGWEIR_TENANTS__ACME__PASSWORD_FILE", "acme"},
                                 {"PGWEIR_TENANTS__A__B__POOL_SIZE", "3"},
                                 {"PGWEIR_TIERS__FREE__POOL_SIZE", "4"}},
                                {{"bob", "b0b\n"}, {"acme", "env"}});
  REQUIRE(problems(loaded) == "");
  CHECK(shown(*loaded, "listen.port") == "2222 from environment");
  CHECK(shown(*loaded, "listen.addresses") == "0.0.0.0,:: from environment");
  CHECK(shown(*loaded, "listen.backlog") == "1024 from default");
  CHECK(shown(*loaded, "backends.main.host") == "file from f:2");
  CHECK(shown(*loaded, "backends.main.port") == "7777 from environment");
  CHECK(shown(*loaded, "backends.my-other.host") == "o from environment");
  CHECK(shown(*loaded, "backends.new_one.host") == "n from environment");
  CHECK(shown(*loaded, "tenants.Acme.tier") == "pro from environment");
  CHECK(shown(*loaded, "tenants.a__b.pool_size") == "3 from environment");
  CHECK(shown(*loaded, "tiers.free.pool_size") == "4 from environment");
  REQUIRE(loaded->config.users.size() == 2);
  CHECK(loaded->config.users[0].secret == "env");
  CHECK(loaded->config.users[1].name == "bob");
  CHECK(loaded->config.users[1].secret == "b0b");
  CHECK(loaded->config.tenants[0].fields.size() == 2);
  CHECK(loaded->config.tenants[0].fields[1].value == "env");
  CHECK(loaded->config.backends[0].name == "main");
}

TEST_CASE("an empty variable counts as not set, and other programs' names are left alone") {
  const auto loaded = load_text(kFile, {{"PGWEIR_LISTEN__PORT", ""},
                                        {"PGWEIR_LISTEN__PROT", ""},
                                        {"DATABASE_URL", ""},
                                        {"PGWEIR_SERVICE_HOST", "10.0.0.1"},
                                        {"PGWEIR_PORT", "tcp://10.0.0.1:6432"},
                                        {"PGWEIR_PORT_6432_TCP_ADDR", "10.0.0.1"},
                                        {"PGHOST", "x"},
                                        {"listen.port", "5"}});
  REQUIRE(problems(loaded) == "");
  CHECK(loaded->config.listen_port == 1111);
}

TEST_CASE("PORT is the port of HTTP, unless our own variable says otherwise") {
  const auto load_with = [](const Environment& environment) {
    return load_text("http: {port: 1}\nbackends: {main: {}}\n", environment);
  };
  CHECK(load_with({})->config.http_port == 1);
  CHECK(load_with({{"PORT", ""}})->config.http_port == 1);
  CHECK(shown(*load_with({{"PORT", "8080"}}), "http.port") == "8080 from environment");
  CHECK(load_with({{"PORT", "8080"}, {"PGWEIR_HTTP__PORT", "9"}})->config.http_port == 9);
  CHECK(problems(load_with({{"PORT", "web"}})) ==
        "environment: PORT: must be a whole number between 0 and 65535, not 'web'");
}

TEST_CASE("mistakes in the environment name the variable") {
  struct Row {
    std::string name, value, problem;
  };
  const Row rows[] = {
      {"PGWEIR_LISTEN__PORT", "many",
       "PGWEIR_LISTEN__PORT: must be a whole number between 1 and 65535, not 'many'"},
      {"PGWEIR_LISTEN__PROT", "1", "PGWEIR_LISTEN__PROT: unknown setting; did you mean PGWEIR_LISTEN__PORT?"},
      {"PGWEIR_LISTEN_PORT", "1", "PGWEIR_LISTEN_PORT: is not read; did you mean PGWEIR_LISTEN__PORT?"},
      {"PGWEIR_CONFIG", "f", "PGWEIR_CONFIG: is not read; name the file by --config"},
      {"PGWEIR_CONFIG_FILE", "f", "PGWEIR_CONFIG_FILE: is not read; name the file by --config"},
      {"PGWEIR_TENANTS", "f",
       "PGWEIR_TENANTS: is not read; name a row and a field: PGWEIR_TENANTS__<NAME>__<FIELD>"},
      {"PGWEIR_TENANTS_FILE", "f",
       "PGWEIR_TENANTS_FILE: is not read; name a row and a field: PGWEIR_TENANTS__<NAME>__<FIELD>"},
      {"PGWEIR_LOG", "debug", "PGWEIR_LOG: is not read; name a setting: PGWEIR_LOG__<SETTING>"},
      {"PGWEIR_COLOUR__OF_THE__SKY", "1", "PGWEIR_COLOUR__OF_THE__SKY: unknown setting"},
      {"PGWEIR_BACKENDS__MAIN", "1",
       "PGWEIR_BACKENDS__MAIN: must name a row and a field: PGWEIR_BACKENDS__<NAME>__<FIELD>"},
      {"PGWEIR_BACKENDS__", "1",
       "PGWEIR_BACKENDS__: must name a row and a field: PGWEIR_BACKENDS__<NAME>__<FIELD>"},
      {"PGWEIR_BACKENDS____HOST", "1",
       "PGWEIR_BACKENDS____HOST: must name a row and a field: PGWEIR_BACKENDS__<NAME>__<FIELD>"},
      {"PGWEIR_BACKENDS__MAIN__HOTS", "1",
       "PGWEIR_BACKENDS__MAIN__HOTS: unknown field of a backend; did you mean HOST?"},
      {"PGWEIR_BACKENDS__MAIN__PORT", "0",
       "PGWEIR_BACKENDS__MAIN__PORT: must lie between 1 and 65535, not 0"},
      {"PGWEIR_USERS__ALICE__SEKRET", "hunter2",
       "PGWEIR_USERS__ALICE__SEKRET: unknown field of a user; a user has SECRET or SECRET_FILE"},
      {"PGWEIR_USERS__ALICE__SECRET_FILE", "gone",
       "PGWEIR_USERS__ALICE__SECRET_FILE: cannot read gone: No such file or directory"},
      {"DATABASE_URL_FILE", "gone", "DATABASE_URL_FILE: cannot read gone: No such file or directory"},
      {"DATABASE_URL", "http://u:hunter2@h", "DATABASE_URL: must begin with postgres:// or postgresql://"},
      {"PGWEIR_TENANTS__ACME__TIER", "prro", "tenants.Acme.tier: no tier is named 'prro'; did you mean pro?"},
  };
  for (const Row& row : rows) {
    CHECK(problems(load_text(kFile, {{row.name, row.value}})) == "environment: " + row.problem);
  }
}

TEST_CASE("a secret comes from one place") {
  CHECK(problems(load_text(kFile, {{"DATABASE_URL", "postgres://h"}, {"DATABASE_URL_FILE", "x"}})) ==
        "environment: DATABASE_URL: set DATABASE_URL or DATABASE_URL_FILE, not both");
  CHECK(
      problems(load_text(kFile, {{"PGWEIR_USERS__A__SECRET", "x"}, {"PGWEIR_USERS__A__SECRET_FILE", "y"}})) ==
      "environment: PGWEIR_USERS__A__SECRET: set PGWEIR_USERS__A__SECRET or PGWEIR_USERS__A__SECRET_FILE, "
      "not both");
}

TEST_CASE("DATABASE_URL alone is a configuration") {
  const auto loaded =
      load("", {{"DATABASE_URL_FILE", "url"}},
           reader({{"url", "postgres://app:p%40ss@db.internal:6000/shop?sslmode=require\n"}}));
  REQUIRE(problems(loaded) == "");
  const Config& config = loaded->config;
  REQUIRE(config.backends.size() == 1);
  CHECK(config.backends[0].name == "default");
  CHECK(config.backends[0].host == "db.internal");
  CHECK(config.backends[0].port == 6000);
  CHECK(config.backends[0].tls_mode == TlsMode::Require);
  REQUIRE(config.users.size() == 1);
  CHECK(config.users[0].name == "app");
  CHECK(config.users[0].secret == "p@ss");
  REQUIRE(config.tenants.size() == 1);
  CHECK(config.tenants[0].name == "shop");
  std::string fields;
  for (const Field& field : config.tenants[0].fields) fields += field.key + "=" + field.value + " ";
  CHECK(fields == "backend=default database=shop user=app password=p@ss ");
}

TEST_CASE("DATABASE_URL joins what the file has, and single variables refine it") {
  const auto loaded = load_text(kFile, {{"DATABASE_URL", "postgres://u@h/Acme"},
                                        {"PGWEIR_BACKENDS__DEFAULT__MAX_SERVER_CONNECTIONS", "20"},
                                        {"PGWEIR_TENANTS__ACME__TIER", "pro"}});
  REQUIRE(problems(loaded) == "");
  const Config& config = loaded->config;
  REQUIRE(config.backends.size() == 3);
  CHECK(config.backends[0].name == "main");  // the file's stay in front: the first serves what names none
  CHECK(config.backends[2].name == "default");
  CHECK(config.backends[2].max_server_connections == 20);
  CHECK(config.users.size() == 1);  // without a password it says nothing of who may log in
  REQUIRE(config.tenants.size() == 1);
  CHECK(shown(*loaded, "tenants.Acme.tier") == "pro from environment");
  CHECK(shown(*loaded, "tenants.Acme.user") == "u from environment");
  CHECK(shown(*loaded, "tenants.Acme.password") == "******** from f:4");
}

TEST_CASE("DATABASE_URL with verification but no authorities is incomplete") {
  CHECK(problems(load("", {{"DATABASE_URL", "postgres://u:p@h/d?sslmode=verify-full"}}, reader({}))) ==
        "environment: backends.default.tls_ca_file: must be set, because tls_mode verifies");
}

namespace {
// The fields of the only tenant.
std::string tenant_fields(const Config& config) {
  std::string out;
  for (const Field& field : config.tenants.at(0).fields) out += field.key + "=" + field.value + " ";
  return out;
}
}  // namespace

TEST_CASE("names that platforms use refine what DATABASE_URL makes") {
  const Environment names{{"DATABASE_URL", "postgres://db:5432/shop"},
                          {"POOL_MODE", "session"},
                          {"DEFAULT_POOL_SIZE", "12"},
                          {"MAX_CLIENT_CONN", "777"},
                          {"MAX_PREPARED_STATEMENTS", "33"}};
  const auto loaded = load("", names, reader({}));
  REQUIRE(problems(loaded) == "");
  CHECK(shown(*loaded, "client.max") == "777 from environment");
  CHECK(shown(*loaded, "server.max_prepared_statements") == "33 from environment");
  CHECK(shown(*loaded, "tenants.shop.pool_size") == "12 from environment");
  CHECK(tenant_fields(loaded->config) ==
        "backend=default database=shop pool_mode=session pool_size=12 max_server_connections=12 "
        "max_clients=777 ");
}

TEST_CASE("our own names win over those of platforms") {
  const auto loaded = load("",
                           {{"DATABASE_URL", "postgres://db:5432/shop"},
                            {"MAX_CLIENT_CONN", "777"},
                            {"DEFAULT_POOL_SIZE", "12"},
                            {"PGWEIR_CLIENT__MAX", "50"},
                            {"PGWEIR_TENANTS__SHOP__POOL_SIZE", "3"}},
                           reader({}));
  REQUIRE(problems(loaded) == "");
  CHECK(loaded->config.max_clients == 50);
  CHECK(shown(*loaded, "tenants.shop.pool_size") == "3 from environment");
  CHECK(shown(*loaded, "tenants.shop.max_clients") == "777 from environment");
}

TEST_CASE("names of platforms are left alone without DATABASE_URL, when empty, and without a tenant") {
  const Environment names{{"POOL_MODE", "session"}, {"MAX_CLIENT_CONN", "many"}, {"REDIS_URL", "redis://r"}};
  auto loaded = load_text(kFile, names);
  REQUIRE(problems(loaded) == "");
  CHECK(loaded->config.max_clients == Config{}.max_clients);
  CHECK(tenant_fields(loaded->config) == "tier=free password=filed ");

  loaded = load("", {{"DATABASE_URL", "postgres://db/shop"}, {"POOL_MODE", ""}}, reader({}));
  REQUIRE(problems(loaded) == "");
  CHECK(tenant_fields(loaded->config) == "backend=default database=shop ");

  loaded = load("", {{"DATABASE_URL", "postgres://db"}, {"MAX_CLIENT_CONN", "9"}, {"POOL_MODE", "session"}},
                reader({}));
  REQUIRE(problems(loaded) == "");
  CHECK(loaded->config.max_clients == 9);
  CHECK(loaded->config.tenants.empty());
}

TEST_CASE("a wrong value under a platform's name is told by that name") {
  const auto with = [](const char* name, const char* value) {
    return problems(load("", {{"DATABASE_URL", "postgres://db/shop"}, {name, value}}, reader({})));
  };
  CHECK(with("MAX_CLIENT_CONN", "many") ==
        "environment: MAX_CLIENT_CONN: must be a whole number between 1 and 1000000, not 'many'");
  // What the library that knows tenants will find wrong.
  const auto session =
      load("", {{"DATABASE_URL", "postgres://db/shop"}, {"POOL_MODE", "session"}}, reader({}));
  CHECK(session->config.tenants[0].fields.back().origin.where == "environment: POOL_MODE");
  CHECK(shown(*session, "tenants.shop.pool_mode") == "session from environment");
  CHECK(with("MAX_PREPARED_STATEMENTS", "-1") ==
        "environment: MAX_PREPARED_STATEMENTS: must be a whole number between 0 and 100000, not '-1'");
}

TEST_CASE("PGWEIR_TIERS is a whole table of tiers, over the file and under single variables") {
  const std::string file =
      "backends: {main: {}}\ntiers: {pro: {pool_size: 1, weight: 2}, own: {pool_size: 9}}\n";
  const auto loaded =
      load_text(file, {{"PGWEIR_TIERS", "pro: {pool_size: 3, max_clients: 4}\nnew: {weight: 5}"},
                       {"PGWEIR_TIERS__PRO__MAX_CLIENTS", "6"}});
  REQUIRE(problems(loaded) == "");
  CHECK(shown(*loaded, "tiers.pro.pool_size") == "3 from environment: PGWEIR_TIERS:1");
  CHECK(shown(*loaded, "tiers.pro.weight") == "2 from f:2");
  CHECK(shown(*loaded, "tiers.pro.max_clients") == "6 from environment");
  CHECK(shown(*loaded, "tiers.own.pool_size") == "9 from f:2");
  CHECK(shown(*loaded, "tiers.new.weight") == "5 from environment: PGWEIR_TIERS:2");
  CHECK(loaded->config.tiers.size() == 3);
  // A tenant may be of a tier that only the variable has.
  CHECK(problems(load_text(file + "tenants: {a: {tier: new}}\n", {{"PGWEIR_TIERS", "new: {}"}})) == "");
}

TEST_CASE("the table of tiers may be JSON, have its section's name, or stand in a file") {
  for (const char* table : {R"({"pro": {"pool_size": 3}})", R"({"tiers": {"pro": {"pool_size": 3}}})",
                            "tiers:\n  pro:\n    pool_size: 3\n"}) {
    const auto given = load_text(kFile, {{"PGWEIR_TIERS", table}});
    REQUIRE(problems(given) == "");
    CHECK(shown(*given, "tiers.pro.pool_size").starts_with("3 from environment: PGWEIR_TIERS:"));
    const auto named = load_text(kFile, {{"PGWEIR_TIERS_FILE", "t.yaml"}}, {{"t.yaml", table}});
    REQUIRE(problems(named) == "");
    CHECK(shown(*named, "tiers.pro.pool_size").starts_with("3 from t.yaml:"));
  }
  CHECK(problems(load_text(kFile, {{"PGWEIR_TIERS", ""}, {"PGWEIR_TIERS_FILE", ""}})) == "");
}

TEST_CASE("what is wrong with a table of tiers is told with its place") {
  struct Row {
    std::string table, problem;
  };
  const Row rows[] = {
      {"pro", "environment: PGWEIR_TIERS:1:1: tiers: must be a map of rows, each with its name"},
      {"{pro: 3}", "environment: PGWEIR_TIERS:1:7: tiers.pro: must be a map of fields"},
      {"pro: {}\npro: {}", "environment: PGWEIR_TIERS:2:1: tiers.pro: is given twice; first in line 1"},
      {"{pro: {pool_size: [3]}}",
       "environment: PGWEIR_TIERS:1:19: tiers.pro.pool_size: must be a single value"},
      {"tenants: {a: {tier: pro}}",
       "environment: PGWEIR_TIERS:1:14: tiers.tenants.a: must be a single value"},
  };
  for (const Row& row : rows) CHECK(problems(load_text(kFile, {{"PGWEIR_TIERS", row.table}})) == row.problem);
  CHECK(problems(load_text(kFile, {{"PGWEIR_TIERS", "{pro: "}})).starts_with("environment: PGWEIR_TIERS:1:"));
  CHECK(
      problems(load_text(kFile, {{"PGWEIR_TIERS", "a: {}"}, {"PGWEIR_TIERS_FILE", "t"}}, {{"t", "a: {}"}})) ==
      "environment: PGWEIR_TIERS: set PGWEIR_TIERS or PGWEIR_TIERS_FILE, not both");
  CHECK(problems(load_text(kFile, {{"PGWEIR_TIERS_FILE", "gone"}})) ==
        "environment: PGWEIR_TIERS_FILE: cannot read gone: No such file or directory");
}

TEST_CASE("REDIS_URL serves a tenant store that has no other address") {
  const Environment store{{"DATABASE_URL", "postgres://db/shop"},
                          {"PGWEIR_TENANT_STORE__KIND", "redis"},
                          {"REDIS_URL", "redis://default:pw@redis.internal:6379"}};
  const auto loaded = load("", store, reader({}));
  REQUIRE(problems(loaded) == "");
  CHECK(loaded->config.redis_url == "redis://default:pw@redis.internal:6379");
  CHECK(shown(*loaded, "tenant_store.redis_url") == "******** from environment");

  Environment own = store;
  own["PGWEIR_TENANT_STORE__REDIS_URL"] = "redis://other";
  const auto chosen = load("", own, reader({}));
  REQUIRE(problems(chosen) == "");
  CHECK(chosen->config.redis_url == "redis://other");

  Environment wrong = store;
  wrong["REDIS_URL"] = "http://redis";
  CHECK(problems(load("", wrong, reader({}))).find("tenant_store.redis_url") != std::string::npos);
}
