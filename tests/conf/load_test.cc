#include "conf/load.h"

#include <catch2/catch.hpp>

#include <chrono>
#include <fstream>
#include <sstream>

#include "conf/embedded_tiers.h"
#include "tests/conf/files.h"

using namespace pgweir::conf;
using namespace pgweir::conf::test;
using namespace std::chrono_literals;

TEST_CASE("a whole file becomes a Config") {
  const auto loaded = load_text(R"(
listen:
  addresses: ["*"]
  port: 6543
  unix_socket_dir: /run/pgweir
  unix_socket_mode: 0770
client: {max: 010, tls_mode: prefer, tls_cert_file: c, tls_key_file: k, query_wait_timeout: 5s}
pool: {buffer_high_water: 32kB, default_tier: gold}
auth: {method: md5}
users:
  alice: "s3cret"
  bob: {secret: 12345}
  carol: {secret_file: carol.txt}
console: {admins: [ops], stats: "watch, look"}
log:
backends:
  main: {host: /run/postgresql, port: 5433, max_server_connections: 50, auth_methods: [md5, scram-sha-256]}
  other:
tiers:
  gold: {pool_size: 7}
tenants:
  acme: {tier: pro, backend: other, database: acme_db, user: owner, password_file: acme.txt, pool_size: 3}
  "app_*": {}
  plain:
)",
                                {}, {{"carol.txt", "c@rol\n"}, {"acme.txt", "pa55\r\n"}});
  REQUIRE(problems(loaded) == "");
  const Config& config = loaded->config;
  CHECK(config.listen_addresses == std::vector<std::string>{"*"});
  CHECK(config.listen_port == 6543);
  CHECK(config.unix_socket_dir == "/run/pgweir");
  CHECK(config.unix_socket_mode == 0770);
  CHECK(config.max_clients == 10);
  CHECK(config.client_tls_mode == TlsMode::Prefer);
  CHECK(config.query_wait_timeout == 5s);
  CHECK(config.buffer_high_water == 32 << 10);
  CHECK(config.auth_method == AuthMethod::Md5);
  CHECK(config.console_admins == std::vector<std::string>{"ops"});
  CHECK(config.console_stats == std::vector<std::string>{"watch", "look"});
  CHECK(config.log_level == LogLevel::Info);
  REQUIRE(config.users.size() == 3);
  CHECK(config.users[0].name == "alice");
  CHECK(config.users[0].secret == "s3cret");
  CHECK(config.users[1].secret == "12345");
  CHECK(config.users[2].secret == "c@rol");
  REQUIRE(config.backends.size() == 2);
  CHECK(config.backends[0].name == "main");
  CHECK(config.backends[0].host == "/run/postgresql");
  CHECK(config.backends[0].port == 5433);
  CHECK(config.backends[0].auth_methods == std::vector<std::string>{"md5", "scram-sha-256"});
  CHECK(config.backends[0].origin == Origin{"f", 17, 3});
  CHECK(config.backends[1].host == "localhost");
  REQUIRE(config.tiers.size() == 1);
  CHECK(config.tiers[0].name == "gold");
  REQUIRE(config.tenants.size() == 3);
  CHECK(config.tenants[0].origin == Origin{"f", 22, 3});
  std::string fields;
  for (const Field& field : config.tenants[0].fields) fields += field.key + "=" + field.value + " ";
  CHECK(fields == "tier=pro backend=other database=acme_db user=owner pool_size=3 password=pa55 ");
  CHECK(config.tenants[0].fields[0].origin == Origin{"f", 22, 16});
  CHECK(config.tenants[1].name == "app_*");
  CHECK(config.tenants[2].fields.empty());
  CHECK(loaded->origins.at("listen.port") == Origin{"f", 4, 9});
  CHECK(loaded->origins.at("listen.backlog") == Origin{});
  CHECK(loaded->origins.at("backends.main.host") == Origin{"f", 17, 16});
}

TEST_CASE("every mistake is told with its line, its column and what is allowed") {
  // A backend is put in front of each, so lines count from 2.
  struct Row {
    std::string text, problems;
  };
  const Row rows[] = {
      {"listen: {prot: 1}", "f:2:10: listen.prot: unknown setting; did you mean listen.port?"},
      {"client: {port: 1}", "f:2:10: client.port: unknown setting; did you mean listen.port?"},
      {"log: {colour: red}", "f:2:7: log.colour: unknown setting; log has level, format"},
      {"listne: {port: 1}", "f:2:1: listne: unknown section; did you mean listen?"},
      {"metrics: {}", "f:2:1: metrics: unknown section"},
      {"listen.port: 1",
       "f:2:1: listen.port: sections and settings are nested: write \"listen: {port: ...}\""},
      {"listen: 5", "f:2:9: listen: must be a map of settings"},
      {"listen: [a]", "f:2:9: listen: must be a map of settings"},
      {"listen: {port: 70000}", "f:2:16: listen.port: must lie between 1 and 65535, not 70000"},
      {"listen: {port: -1}", "f:2:16: listen.port: must be a whole number between 1 and 65535, not '-1'"},
      {"listen: {port: many}", "f:2:16: listen.port: must be a whole number between 1 and 65535, not 'many'"},
      {"listen: {port: }", "f:2:10: listen.port: has no value; allowed: between 1 and 65535"},
      {"listen: {port: [1]}", "f:2:16: listen.port: must be a single value, not a list"},
      {"listen: {port: {a: 1}}", "f:2:16: listen.port: must be a value, not a map"},
      {"listen: {addresses: [[a]]}", "f:2:22: listen.addresses: must be a list of single values"},
      {"listen: {addresses: [a, ~]}", "f:2:25: listen.addresses: must be a list of single values"},
      {"listen: {addresses: []}",
       "f:2:21: listen.addresses: must not be empty unless listen.unix_socket_dir is set: nobody could "
       "connect"},
      {"listen: {addresses: ['127.0.0.1:5']}",
       "f:2:21: listen.addresses: must be an address such as 127.0.0.1, ::1 or * without port or brackets, "
       "not "
       "'127.0.0.1:5'"},
      {"client:\n  max: 1\n  max: 2", "f:4:3: client.max: is given twice; first in line 3"},
      {"client: {max: 1}\nclient: {max: 2}", "f:3:1: client: is given twice; first in line 2"},
      {"client: {~: 1}", "f:2:10: client: a name must not be empty or null; quote it if it is meant as text"},
      {"? [a]\n: b", "f:2:3: a name must be a text, not a list or map"},
      {"client: {login_timeout: 5m}",
       "f:2:25: client.login_timeout: must be a duration such as 250ms, 30s, 5min, 1h or 2d (between 100ms "
       "and "
       "1h), not '5m'"},
      {"<<: {client: {}}", "f:2:1: <<: unknown section"},
      // backends
      {"tenants: {a: {backend: mian}}",
       "f:2:24: tenants.a.backend: no backend is named 'mian'; did you mean main?"},
      {"tenants: {a: {tier: prro}}", "f:2:21: tenants.a.tier: no tier is named 'prro'; did you mean pro?"},
      {"pool: {default_tier: gold}",
       "f:2:22: pool.default_tier: no tier is named 'gold'; there are enterprise, free, pro, starter"},
      {"listen: {port: 9127}",
       "f:2:16: listen.port: must not be 9127, which is http.port: HTTP and clients of Postgres need a port "
       "each"},
      {"listen: {port: 81, addresses: ['127.0.0.1']}\nhttp: {port: 81, addresses: ['10.0.0.2', '127.0.0.1']}",
       "f:3:14: http.port: must not be 81, which is listen.port: HTTP and clients of Postgres need a port "
       "each"},
      {"tenant_store: {kind: postgres, postgres_url: 'postgres://u@a,b/d'}",
       "f:2:46: tenant_store.postgres_url: must name a single host, without target_session_attrs"},
      // users
      {"users: {a: }", "f:2:9: users.a: must be a secret, {secret: ...} or {secret_file: ...}"},
      {"users: {a: [b]}", "f:2:12: users.a: must be a secret, {secret: ...} or {secret_file: ...}"},
      {"users: {a: {}}", "f:2:9: users.a: has neither secret nor secret_file"},
      {"users: {a: ''}", "f:2:12: users.a: the secret must not be empty"},
      {"users: {a: {sekret: hunter2}}", "f:2:13: users.a.sekret: unknown field; did you mean secret?"},
      {"users: {a: {secret: x, secret_file: y}}",
       "f:2:24: users.a.secret_file: give secret or secret_file, not both"},
      {"users: {a: {secret: [x]}}", "f:2:21: users.a.secret: must be a single value"},
      {"users: {a: {secret: }}", "f:2:13: users.a.secret: has no value; quote it if it is text"},
      {"users: {a: {secret_file: gone}}",
       "f:2:26: users.a.secret_file: cannot read gone: No such file or directory"},
      {"users: {a: {secret_file: empty}}", "f:2:26: users.a.secret_file: 'empty' is empty"},
      {"users: {a: {secret_file: huge}}",
       "f:2:26: users.a.secret_file: 'huge' must have at most 4096 bytes, not 5000"},
      {"users: {a: \"hunter\\n2\"}", "f:2:12: users.a: the secret must not hold control characters"},
      {"users: {a: x, a: y}", "f:2:15: users.a: is given twice; first in line 2"},
      {"users: {'': x}", "f:2:9: users.: a name must not be empty"},
      {"users: {\"a\\nb\": x}", "f:2:9: users.a?b: a name must not hold control characters"},
      {"users: [a]", "f:2:8: users: must be a map of rows, each with its name"},
      // tiers, tenants
      {"tenants: {a: 5}", "f:2:14: tenants.a: must be a map of fields"},
      {"tenants: {a: {tier: }}", "f:2:15: tenants.a.tier: has no value"},
      {"tenants: {a: {tier: [x]}}", "f:2:21: tenants.a.tier: must be a single value"},
      {"tenants: {a: {tier: pro, tier: free}}", "f:2:26: tenants.a.tier: is given twice; first in line 2"},
      {"tenants: {a: {}, a: {}}", "f:2:18: tenants.a: is given twice; first in line 2"},
      {"tenants: {a: {password: x, password_file: y}}",
       "f:2:28: tenants.a.password_file: give password or password_file, not both"},
      {"tenants: {a: {password_file: gone}}",
       "f:2:30: tenants.a.password_file: cannot read gone: No such file or directory"},
      {"tenants: {" + std::string(64, 'x') + ": {}}",
       "f:2:11: tenants." + std::string(64, 'x') + ": a name must have at most 63 bytes"},
      // what settings say of each other
      {"client: {tls_mode: require}",
       "f:2:20: client.tls_cert_file: must be set, because client.tls_mode offers TLS\n"
       "f:2:20: client.tls_key_file: must be set, because client.tls_mode offers TLS"},
      {"client: {tls_mode: verify-ca, tls_cert_file: c, tls_key_file: k}",
       "f:2:20: client.tls_ca_file: must be set, because client.tls_mode verifies"},
      {"auth: {users_file: gone}", "f:2:20: auth.users_file: cannot read gone: No such file or directory"},
  };
  for (const Row& row : rows) {
    CAPTURE(row.text);
    CHECK(problems(load_text("backends: {main: {}}\n" + row.text + "\n", {},
                             {{"empty", "\n"}, {"huge", std::string(5000, 'x')}})) == row.problems);
  }
}

TEST_CASE("mistakes of backends are told as well") {
  struct Row {
    std::string text, problems;
  };
  const std::string needed =
      "backends: at least one is needed: write \"backends: {main: {host: localhost}}\" or set DATABASE_URL";
  const Row rows[] = {
      {"", "f: " + needed},
      {"backends:", "f: " + needed},
      {"backends: {}", "f: " + needed},
      {"backends: [a]", "f:1:11: backends: must be a map of rows, each with its name"},
      {"backends: {main: 5}", "f:1:18: backends.main: must be a map such as {host: localhost, port: 5432}"},
      {"backends: {main: {hots: x}}",
       "f:1:19: backends.main.hots: unknown field of a backend; did you mean host?"},
      {"backends: {main: {port: 0}}", "f:1:25: backends.main.port: must lie between 1 and 65535, not 0"},
      {"backends: {main: {}, main: {}}", "f:1:22: backends.main: is given twice; first in line 1"},
      {"backends: {main: {tls_mode: verify-full}}",
       "f:1:29: backends.main.tls_ca_file: must be set, because tls_mode verifies"},
      {"backends: {main: {tls_cert_file: c}}",
       "f:1:34: backends.main.tls_key_file: must be set together with tls_cert_file"},
      {"backends: {main: {tls_key_file: c}}",
       "f:1:33: backends.main.tls_cert_file: must be set together with tls_key_file"},
      {"backends: {main: {host: /run, tls_mode: require}}",
       "f:1:41: backends.main.tls_mode: must be disable, allow or prefer, because host is a unix socket, "
       "which has "
       "no TLS"},
  };
  for (const Row& row : rows) {
    CAPTURE(row.text);
    CHECK(problems(load_text(row.text)) == row.problems);
  }
}

TEST_CASE("all mistakes are told at once, those of the environment too") {
  CHECK(problems(load_text("listen: {prot: 1}\nauth: {method: scram}\n", {{"PGWEIR_LOG__LEVEL", "loud"}})) ==
        "f:1:10: listen.prot: unknown setting; did you mean listen.port?\n"
        "f:2:16: auth.method: must be one of trust, password, md5, scram-sha-256, not 'scram'\n"
        "environment: PGWEIR_LOG__LEVEL: must be one of debug, info, warn, error, not 'loud'\n"
        "f: backends: at least one is needed: write \"backends: {main: {host: localhost}}\" or set "
        "DATABASE_URL");
}

TEST_CASE("a file that is no tree is told, and what the environment has wrong") {
  CHECK(problems(load_text("[a", {{"PGWEIR_LOG__LEVEL", "loud"}})) ==
        "f:1:1: the list that begins here lacks a ',' or ']' before line 2, column 1\n"
        "environment: PGWEIR_LOG__LEVEL: must be one of debug, info, warn, error, not 'loud'");
  CHECK(problems(load_text("just text")) == "f:1:1: must be a map of sections, such as \"listen:\"");
  CHECK(problems(load("gone", {}, reader({}))) == "gone: cannot read gone: No such file or directory");
  CHECK(problems(load_text(std::string(kMaxFileBytes + 1, '#'))) ==
        "f: must have at most 1048576 bytes, not 1048577");
}

TEST_CASE("more mistakes than anybody reads are cut off") {
  std::string text = "backends: {m: }\nclient:\n";
  for (int i = 0; i < 20'000; ++i) text += "  wrong_" + std::to_string(i) + ": 1\n";
  const auto loaded = load_text(text);
  REQUIRE_FALSE(loaded);
  CHECK(loaded.error().size() == kMaxProblems + 1);
  CHECK(describe(loaded.error().back()) == "f: and more; the first 100 are shown");
}

TEST_CASE("embedded tiers are rows, and every tier has every field of the table") {
  const auto rows = load_tiers(embedded_tiers(), "conf/tiers.yaml");
  REQUIRE(problems(rows) == "");
  std::string names;
  for (const Row& row : *rows) names += row.name + " ";
  CHECK(names == "free starter pro enterprise ");
  CHECK((*rows)[0].fields[0].key == "pool_size");
  CHECK((*rows)[0].fields[0].value == "2");
  CHECK((*rows)[0].fields[0].origin.where == "conf/tiers.yaml");
  CHECK((*rows)[0].fields[0].origin.line > 1);
  CHECK(problems(load_tiers("backends: {a: }", "t")) ==
        "t:1:1: backends: only the section tiers belongs here");
  CHECK(problems(load_tiers("tiers: {a: {b: [c]}}", "t")) == "t:1:16: tiers.a.b: must be a single value");
  CHECK(problems(load_tiers("tiers: 5", "t")) == "t:1:8: tiers: must be a map of rows, each with its name");
}

TEST_CASE("the shipped sample loads") {
  std::stringstream text;
  text << std::ifstream(PGWEIR_SOURCE_DIR "/conf/pgweir.yaml").rdbuf();
  const auto loaded = load_text(text.str());
  REQUIRE(problems(loaded) == "");
  CHECK(loaded->config.backends.size() == 1);
}

TEST_CASE("what is commented out in the shipped sample is right too") {
  std::ifstream file(PGWEIR_SOURCE_DIR "/conf/pgweir.yaml");
  std::string text, line;
  while (std::getline(file, line)) {
    const auto mark = line.find_first_not_of(' ');
    const bool setting = mark != std::string::npos && mark > 0 && line.compare(mark, 2, "# ") == 0 &&
                         line.find(':') != std::string::npos && line.find(" or ") == std::string::npos;
    text += (setting ? line.erase(mark, 2) : line) + "\n";
  }
  const auto loaded = load_text(
      text, {}, {{"/etc/pgweir/users.txt", ""}, {"/run/secrets/bob", "b"}, {"/run/secrets/shop", "s"}});
  CHECK(problems(loaded) == "");
  if (loaded) CHECK(loaded->config.tenants.size() == 3);
}

TEST_CASE("hostile files are told in little time") {
  std::string tenants = "backends: {m: }\ntenants:\n";
  while (tenants.size() < kMaxFileBytes - 40)
    tenants += " t" + std::to_string(tenants.size()) + ": {tier: x}\n";
  std::string one = "backends: {m: }\ntenants: {a: {";
  while (one.size() < kMaxFileBytes - 40) one += "f" + std::to_string(one.size()) + ": 1,";
  one += "}}";
  const auto begin = std::chrono::steady_clock::now();
  CHECK_FALSE(load_text(tenants));
  CHECK(load_text(one));
  // Under sanitizers this takes 4 s; a loop within a loop would take hours.
  CHECK(std::chrono::steady_clock::now() - begin < 60s);
}

TEST_CASE("a backend's secrets may stand in files, named by the file or by the environment") {
  const std::string secret(32, 's');
  const Files files{{"t", secret + "\n"}, {"p", "side\n"}, {"short", "abc"}};
  const auto by_file =
      load_text("backends: {main: {tenant_secret_file: t, side_user: u, side_password_file: p}}", {}, files);
  REQUIRE(problems(by_file).empty());
  CHECK(by_file->config.backends[0].tenant_secret == secret);
  CHECK(by_file->config.backends[0].side_password == "side");
  CHECK(shown(*by_file, "backends.main.tenant_secret") == "******** from f:1");
  const auto by_environment =
      load_text("backends: {main: {}}", {{"PGWEIR_BACKENDS__MAIN__TENANT_SECRET_FILE", "t"}}, files);
  REQUIRE(problems(by_environment).empty());
  CHECK(by_environment->config.backends[0].tenant_secret == secret);
  CHECK(shown(*by_environment, "backends.main.tenant_secret") == "******** from environment");

  struct Wrong {
    const char* backend;
    Environment environment;
    const char* problem;
  };
  const Wrong rows[] = {
      {"tenant_secret: x, tenant_secret_file: t", {}, "not both"},
      {"tenant_secret_file: t, tenant_secret: x", {}, "not both"},
      {"tenant_secret_file: gone", {}, "cannot read gone"},
      {"tenant_secret_file: short", {}, "must have at least 32 bytes, not 3"},
      {"host_file: t", {}, "unknown field of a backend"},
      {"", {{"PGWEIR_BACKENDS__MAIN__HOST_FILE", "t"}}, "unknown field of a backend"},
      {"", {{"PGWEIR_BACKENDS__MAIN__SIDE_PASSWORD_FILE", "gone"}}, "cannot read gone"},
      {"",
       {{"PGWEIR_BACKENDS__MAIN__SIDE_PASSWORD", "x"}, {"PGWEIR_BACKENDS__MAIN__SIDE_PASSWORD_FILE", "p"}},
       "not both"},
  };
  for (const Wrong& row : rows) {
    INFO(row.backend << " " << row.problem);
    const auto loaded =
        load_text("backends: {main: {" + std::string(row.backend) + "}}", row.environment, files);
    CHECK(problems(loaded).find(row.problem) != std::string::npos);
  }
}
