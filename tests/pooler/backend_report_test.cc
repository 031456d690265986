#include "pooler/backend_report.h"

#include <catch2/catch.hpp>

namespace pgweir {
namespace {

struct Given {
  std::string tier = "statement_timeout: 10s";
  std::string tenants = "a: {tier: t, backend: main, user: app}";
  std::string more{};
};

std::shared_ptr<const Snapshot> snapshot_of(const Given& given) {
  const std::string text =
      "backends: {main: {host: localhost, tls_mode: disable, side_user: side}}\n"
      "pool: {unknown_tenants: false}\n"
      "tiers: {t: {" +
      given.tier +
      "}}\n"
      "tenants: {" +
      given.tenants + "}\n" + given.more;
  const auto read = [&](const std::string& path) -> tl::expected<std::string, std::string> {
    if (path == "c.yaml") return text;
    return tl::unexpected(path + ": no such file");
  };
  auto loaded = conf::load("c.yaml", {}, read);
  REQUIRE(loaded);
  auto snapshot = make_snapshot(std::move(*loaded), read);
  REQUIRE(snapshot);
  return *snapshot;
}

BackendFacts good_facts() {
  BackendFacts facts;
  facts.version = 15;
  facts.role = "side";
  facts.signals = true;
  facts.connections = 300;
  facts.temp_file_limit = "-1";
  facts.roles = {{"app", false, {}, "", {}}, {"other", false, {}, "", {}}, {"postgres", true, {}, "", {}}};
  facts.parameters = {{"work_mem", {"integer", "user"}},          {"jit", {"bool", "user"}},
                      {"seq_page_cost", {"real", "user"}},        {"search_path", {"string", "user"}},
                      {"wal_buffers", {"integer", "postmaster"}}, {"log_statement", {"enum", "superuser"}},
                      {"statement_timeout", {"integer", "user"}}};
  return facts;
}

// "firm", "advisory: run ...", with "weak " in front where it is that.
std::string row(const Given& given, const std::string& ceiling, const BackendFacts* facts) {
  const auto snapshot = snapshot_of(given);
  const BackendReport report = report_backend(*snapshot, snapshot->backends[0], facts);
  for (const BackendReport::Row& row : report.rows)
    if (row.tier == "t" && row.ceiling == ceiling)
      return (row.grade == Grade::Weak    ? "weak "
              : row.grade == Grade::Wrong ? "wrong "
                                          : "") +
             std::string(name(row.firmness)) + (row.advice.empty() ? "" : ": " + row.advice);
  return "no row";
}

std::string lines(const BackendFacts* facts) {
  const auto snapshot = snapshot_of({});
  std::string text;
  for (const auto& line : report_backend(*snapshot, snapshot->backends[0], facts).lines)
    if (line.grade != Grade::Fine) text += line.text + "\n";
  return text;
}

TEST_CASE("how firm a ceiling is depends on what the backend has") {
  const std::string memory = "work_mem: 4MB, inspection: ";
  const BackendFacts plain = good_facts();
  BackendFacts no_rights = plain, guard = plain, guarded = plain, limited = plain, lax = plain,
               global = plain;
  no_rights.signals = false;
  guard.guard = guarded.guard = true;
  guarded.roles[0].guarded = "statement_timeout=10s, sort_mem = 4MB";
  limited.roles[0].temp_file_limit = "512MB";
  lax.roles[0].temp_file_limit = "2GB";
  global.temp_file_limit = "256MB";
  const struct {
    Given given;
    std::string ceiling;
    const BackendFacts* facts;
    const char* row;
  } cases[] = {
      {{}, "statement_timeout", &plain, "firm"},
      {{"transaction_timeout: 10s"}, "transaction_timeout", &plain, "firm"},  // Postgres 15 has none
      {{"request_timeout: 10s"}, "request_timeout", &plain, "firm"},
      {{"statement_timeout: 10s, clocks: off"},
       "statement_timeout",
       &plain,
       "weak advisory: set clocks: on for this tier"},
      {{},
       "statement_timeout",
       &no_rights,
       "weak advisory: the client is ended in time, but a function that catches cancels goes on in Postgres; "
       "give backends.main.side_user a role with pg_signal_backend"},
      {{"idle_in_transaction_session_timeout: 10s"},
       "idle_in_transaction_session_timeout",
       &no_rights,
       "firm"},
      {{memory + "strict"}, "work_mem", &plain, "firm with strict"},
      {{memory + "standard"},
       "work_mem",
       &plain,
       "weak firm with strict: load pgweir_guard, or set inspection: strict; until then functions and DO get "
       "past it"},
      {{memory + "off"},
       "work_mem",
       &plain,
       "weak advisory: load pgweir_guard, or set inspection: strict; nothing looks at what clients set"},
      {{memory + "standard"},
       "work_mem",
       &guard,
       "weak firm with strict: run pgweir_guard/role.sql with work_mem=4MB for app, or set inspection: "
       "strict; "
       "until then functions and DO get past it"},
      {{memory + "off"}, "work_mem", &guarded, "firm"},
      {{memory + "standard", "a: {tier: t, backend: main}"},
       "work_mem",
       &guarded,
       "weak firm with strict: run pgweir_guard/role.sql with work_mem=4MB for other, or set inspection: "
       "strict; "
       "until then functions and DO get past it"},
      {{"temp_file_limit: 1GB"},
       "temp_file_limit",
       &plain,
       "weak advisory: run packaging/postgres/temp_file_limit.sql with 1GB for app"},
      {{"temp_file_limit: 1GB"}, "temp_file_limit", &limited, "firm"},
      {{"temp_file_limit: 1GB"},
       "temp_file_limit",
       &lax,
       "weak advisory: run packaging/postgres/temp_file_limit.sql with 1GB for app"},
      {{"temp_file_limit: 1GB"}, "temp_file_limit", &global, "firm"},
      {{"temp_file_limit: 1GB", "a: {tier: t, backend: main}"},
       "temp_file_limit",
       &limited,
       "weak advisory: run packaging/postgres/temp_file_limit.sql with 1GB for other"},
      {{"ceiling.vacuum_buffer_usage_limit: 1MB"},
       "vacuum_buffer_usage_limit",
       &plain,
       "weak advisory: Postgres 15 does not know it"},
  };
  for (const auto& one : cases) {
    CAPTURE(one.given.tier, one.given.tenants, one.ceiling);
    CHECK(row(one.given, one.ceiling, one.facts) == one.row);
  }
  CHECK(
      row({"temp_file_limit: 1GB"}, "temp_file_limit", nullptr).starts_with("weak advisory: cannot be seen"));
}

TEST_CASE("what pgweir_guard lets a role have is compared with the ceiling") {
  const auto with_guard = [](std::string ceilings, std::vector<std::string> in_databases = {}) {
    BackendFacts facts = good_facts();
    facts.guard = true;
    facts.roles[0].guarded = std::move(ceilings);
    facts.roles[0].guarded_in_databases = std::move(in_databases);
    return facts;
  };
  const std::string until = ", or set inspection: strict; until then functions and DO get past it";
  const std::string missing = "weak firm with strict: run pgweir_guard/role.sql with work_mem=4MB for app";
  const std::string above = missing + " (64MB now)" + until;
  const struct {
    const char* tier;
    BackendFacts facts;
    std::string row;
  } cases[] = {
      {"work_mem: 4MB", with_guard("work_mem=4MB"), "firm"},
      {"work_mem: 4MB", with_guard("work_mem=4096"), "firm"},
      {"work_mem: 4MB", with_guard("work_mem = 2048 kB , jit=1"), "firm"},
      {"work_mem: 4MB", with_guard("work_mem=64MB"), above},
      {"work_mem: 4MB", with_guard("work_mem=64MB,SORT_MEM=1MB"), "firm"},  // the stricter one holds
      {"work_mem: 4MB", with_guard("work_mem=1MB, work_mem=64MB"), "firm"},
      {"work_mem: 4MB", with_guard("work_mem"), missing + until},
      {"work_mem: 4MB", with_guard("work_mem=much"), missing + " (much now)" + until},
      {"work_mem: 4MB", with_guard("work_mem_=1MB"), missing + until},
      {"work_mem: 4MB", with_guard("work_mem=4MB", {"work_mem=64MB"}), above},
      {"work_mem: 4MB", with_guard("work_mem=4MB", {"work_mem=1MB"}), "firm"},
      {"work_mem: 4MB", with_guard("work_mem=4MB", {""}), missing + until},
      {"ceiling.seq_page_cost: 1.5", with_guard("seq_page_cost=1.25"), "firm"},
      {"ceiling.seq_page_cost: 1.5", with_guard("seq_page_cost=1.75"),
       "weak firm with strict: run pgweir_guard/role.sql with seq_page_cost=1.5 for app (1.75 now)" + until},
  };
  for (const auto& one : cases) {
    CAPTURE(one.tier, one.facts.roles[0].guarded);
    const std::string tier(one.tier);
    CHECK(row({tier}, std::string(tier.starts_with("work") ? "work_mem" : "seq_page_cost"), &one.facts) ==
          one.row);
  }
}

TEST_CASE("where there is a tenant store any role may be a tenant's") {
  BackendFacts facts = good_facts();
  facts.roles[0].temp_file_limit = "512MB";
  const std::string mine = "a: {tier: t, backend: main, user: app}";
  for (const char* store :
       {"tenant_store: {kind: redis, redis_url: 'redis://localhost'}\n",
        "tenant_store: {kind: postgres, postgres_url: 'postgres://u@localhost/p?sslmode=disable'}\n"}) {
    CAPTURE(store);
    CHECK(row({"temp_file_limit: 1GB", mine, store}, "temp_file_limit", &facts) ==
          "weak advisory: run packaging/postgres/temp_file_limit.sql with 1GB for other");
  }
  CHECK(row({"temp_file_limit: 1GB", mine}, "temp_file_limit", &facts) == "firm");
}

TEST_CASE("no advice is given that Postgres would not take") {
  BackendFacts plain = good_facts(), guard = good_facts();
  guard.guard = true;
  const std::string words =
      "weak firm with strict: set inspection: strict; until then functions and DO get past it. "
      "pgweir_guard holds whole and real numbers only";
  CHECK(row({"ceiling.jit: off"}, "jit", &plain) == words);
  CHECK(row({"ceiling.jit: off"}, "jit", &guard) == words);
  CHECK(row({"ceiling.jit: off"}, "jit", nullptr) == words);
  CHECK(row({"ceiling.jit: 0"}, "jit", &guard) == words);
  CHECK(row({"ceiling.jit: off, inspection: strict"}, "jit", &guard) == "firm with strict");
  CHECK(row({"ceiling.jit: off, inspection: off"}, "jit", &guard) ==
        "weak advisory: set inspection: strict; nothing looks at what clients set. pgweir_guard holds whole "
        "and real numbers only");
}

TEST_CASE("a parameter that a login cannot set is told as what it is") {
  const BackendFacts facts = good_facts();
  const struct {
    const char *tier, *parameter, *row;
  } cases[] = {
      {"ceiling.nonsense: 5, inspection: strict", "nonsense",
       "wrong no login: Postgres 15 does not know it, and refuses all that is opened with it; take "
       "ceiling.nonsense out of the tier"},
      {"ceiling.wal_buffers: 5", "wal_buffers",
       "wrong no login: Postgres lets no session set it, and refuses all that is opened with it; take "
       "ceiling.wal_buffers out of the tier"},
      {"ceiling.log_statement: ddl", "log_statement",
       "weak advisory: only superusers may set it, and roles that have GRANT SET ON PARAMETER; the logins of "
       "others fail"},
      {"inject.nonsense: 5", "inject.nonsense",
       "wrong no login: Postgres 15 does not know it, and refuses all that is opened with it; take "
       "inject.nonsense out of the tier"},
      {"default.nonsense: 5", "default.nonsense",
       "wrong no login: Postgres 15 does not know it, and refuses all that is opened with it; take "
       "default.nonsense out of the tier"},
      // An extension's, which Postgres takes without knowing it.
      {"inject.app.tenant_id: 5", "inject.app.tenant_id", "no row"},
      {"inject.search_path: app", "inject.search_path", "no row"},
      {"ceiling.app.level: 5, inspection: strict", "app.level", "firm with strict"},
  };
  for (const auto& one : cases) {
    CAPTURE(one.tier);
    CHECK(row({one.tier}, one.parameter, &facts) == one.row);
  }
  // Where nobody could ask, nobody knows.
  CHECK(row({"ceiling.nonsense: 5, inspection: strict"}, "nonsense", nullptr) == "firm with strict");
}

TEST_CASE("settings and roles that let a ceiling down are told") {
  BackendFacts facts = good_facts();
  CHECK(lines(&facts).empty());
  facts.prepared_transactions = 5;
  CHECK(lines(&facts) ==
        "max_prepared_transactions is 5: PREPARE TRANSACTION outlives every clock; set it to 0\n");
  facts = good_facts();
  facts.signals = false;
  CHECK(lines(&facts) == "side role side may not end processes: GRANT pg_signal_backend TO it\n");
  facts.superuser = true;
  CHECK(lines(&facts) == "side role side is a superuser: use one made by packaging/postgres/side_role.sql\n");
  facts = good_facts();
  facts.connections = 203;
  facts.reserved = 3;
  CHECK(lines(&facts).starts_with("max_server_connections 200 leaves no connection for the side role"));
  facts = good_facts();
  facts.version = 12;
  CHECK(lines(&facts) == "Postgres 12; 13 is the oldest that is served\n");
  CHECK(lines(nullptr).starts_with("backends.main.side_user is not set"));
}

TEST_CASE("what a backend says of itself is believed when it is whole") {
  const SideRow good{"15", "side", "f", "t", "f", "0", "100", "3", "-1"};
  const std::vector<SideRow> roles{{"app", "f", {}, {}, {}},
                                   {"root", "t", "1GB", "work_mem=1MB", "work_mem=2MB\nwork_mem=3MB"}};
  const std::vector<SideRow> parameters{{"TimeZone", "string", "user"}, {"work_mem", "integer", "user"}};
  const auto facts = backend_facts({good}, roles, parameters);
  REQUIRE(facts);
  CHECK(facts->version == 15);
  CHECK(facts->signals);
  CHECK_FALSE(facts->guard);
  CHECK(facts->connections == 100);
  REQUIRE(facts->roles.size() == 2);
  CHECK(facts->roles[1].superuser);
  CHECK(facts->roles[1].temp_file_limit == "1GB");
  CHECK(facts->roles[0].guarded_in_databases.empty());
  CHECK(facts->roles[1].guarded_in_databases == std::vector<std::string>{"work_mem=2MB", "work_mem=3MB"});
  REQUIRE(facts->parameters.contains("timezone"));
  CHECK(facts->parameters.find("timezone")->second.type == "string");
  SideRow with_null = good;
  with_null[3] = {};
  CHECK_FALSE(backend_facts({with_null}, {}, parameters));
  CHECK_FALSE(backend_facts({}, {}, parameters));
  CHECK_FALSE(backend_facts({good, good}, {}, parameters));
  CHECK_FALSE(backend_facts({SideRow{"15"}}, {}, parameters));
  CHECK_FALSE(backend_facts({good}, {{"app"}}, parameters));
  CHECK_FALSE(backend_facts({good}, {}, {}));
  CHECK_FALSE(backend_facts({good}, {}, {{"work_mem", {}, "user"}}));
}

TEST_CASE("of one tenant it is told who he is, what fails, and what holds of his own ceilings") {
  const auto snapshot = snapshot_of({"statement_timeout: 10s, temp_file_limit: 1GB"});
  const BackendFacts facts = good_facts();
  const auto tenant_of = [&](const std::string& user) {
    tiers::Tenant tenant = *snapshot->tenant("a");
    tenant.user = user;
    tenant.database = "shop";
    REQUIRE(tiers::set_tier_field(tenant.limits, "temp_file_limit", "2GB"));
    return tenant;
  };
  const auto told = [&](const tiers::Tenant& tenant, const TenantVisit& visit, const BackendFacts* seen) {
    std::string text;
    for (const auto& line : report_tenant(snapshot->backends[0], tenant, seen, visit).lines)
      if (line.text.find("tenant a:") == 0 || line.grade != Grade::Fine || line.text.find("log") == 0)
        text += (line.grade == Grade::Fine   ? ""
                 : line.grade == Grade::Weak ? "weak "
                                             : "wrong ") +
                line.text + "\n";
    return text;
  };
  const TenantVisit well{std::vector<std::string>{"shop"}, true, {}};
  TenantVisit no_database = well, wrong_password = well;
  no_database.databases = {"app"};
  wrong_password.refused = Error{"28P01", "password authentication failed", {}, {}};
  tiers::Tenant suspended = tenant_of("app");
  suspended.state = tiers::TenantState::Suspended;
  suspended.reason = "invoice 7";
  const std::string head = "tenant a: tier t, database shop, ";
  const struct {
    tiers::Tenant tenant;
    TenantVisit visit;
    const BackendFacts* facts;
    std::string told;
  } rows[] = {
      {tenant_of("app"), well, &facts, head + "role app\n"},
      {tenant_of(""),
       {std::vector<std::string>{"shop"}, false, {}},
       &facts,
       head + "each client with its own role\n"},
      {suspended, well, &facts,
       head + "role app\nweak tenant a is suspended: nobody is served, because: invoice 7\n"},
      {tenant_of("app"), no_database, &facts,
       head + "role app\nwrong database shop is not there, or takes no connections: CREATE DATABASE, or set "
              "`database` of the tenant\n"},
      {tenant_of("postgres"), well, &facts,
       head + "role postgres\nwrong role postgres is a superuser: no ceiling holds it, and no row security; "
              "give the "
              "tenant another role\n"},
      {tenant_of("gone"),
       {std::vector<std::string>{"shop"}, false, {}},
       &facts,
       head + "role gone\nwrong role gone is not there, or may not log in: CREATE ROLE ... LOGIN, or set "
              "`user` of "
              "the tenant\n"},
      {tenant_of("app"), wrong_password, &facts,
       head + "role app\nwrong login as app to shop fails: password authentication failed\n"},
      {tenant_of("app"),
       {{}, true, {}},
       nullptr,
       head + "role app\nwrong backends.main.side_user is not set: nobody could ask. See "
              "packaging/postgres/side_role.sql\n"},
  };
  for (const auto& row : rows) CHECK(told(row.tenant, row.visit, row.facts) == row.told);

  const BackendReport report = report_tenant(snapshot->backends[0], tenant_of("app"), &facts, well);
  REQUIRE(report.rows.size() == 2);
  CHECK(report.rows[1].ceiling == "temp_file_limit");
  CHECK(report.rows[1].advice == "run packaging/postgres/temp_file_limit.sql with 2GB for app");
}

}  // namespace
}  // namespace pgweir
