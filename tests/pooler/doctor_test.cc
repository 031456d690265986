#include "pooler/doctor.h"

#include <catch2/catch.hpp>

using namespace pgweir;
using namespace pgweir::doctor;
using conf::TlsMode;
using net::Visit;

namespace {

constexpr std::int64_t kNow = 1'790'000'000;  // 2026-09-21
constexpr std::int64_t kDay = 86'400;

// "warn: what to do"
std::string said(const Finding& finding) {
  const char* words[] = {"ok", "warn", "fail"};
  return std::string(words[static_cast<int>(finding.health)]) + ": " + finding.text;
}

Visit::Certificate certificate(std::int64_t from, std::int64_t to, const char* chain = "", bool name = true) {
  return {"/CN=db", kNow + from, kNow + to, chain, name};
}

tl::unexpected<Error> refused(const char* code, const char* message) {
  return tl::unexpected(Error{code, message, {}, {}});
}

}  // namespace

TEST_CASE("a name that is not found is a failure, and says where to look") {
  CHECK(said(judge_name("c", "db", std::vector<std::string>{"10.0.0.1", "fd00::1"})) ==
        "ok: db is 10.0.0.1, fd00::1");
  CHECK(said(judge_name("c", "db", refused("08006", "Name or service not known"))) ==
        "fail: db cannot be resolved (Name or service not known): look at the name, and at /etc/resolv.conf");
}

TEST_CASE("one address that answers is enough, and the others are told") {
  const struct {
    std::vector<Knock> knocks;
    const char* said;
  } rows[] = {
      {{{"10.0.0.1:5432", ""}}, "ok: 10.0.0.1:5432 answers"},
      {{{"a:1", ""}, {"b:1", ""}}, "ok: a:1, b:1 answer"},
      {{{"a:1", ""}, {"b:1", "refused"}},
       "warn: a:1 answers, others do not (b:1: refused): each connection may try those first"},
      {{{"b:1", "refused"}},
       "fail: nobody answers (b:1: refused): is it running, does it listen there, does a firewall let us "
       "through?"},
  };
  for (const auto& row : rows) CHECK(said(judge_knocks("c", row.knocks)) == row.said);
}

TEST_CASE("what is wrong with TLS depends on what is wanted of it") {
  const Visit::Certificate good = certificate(-kDay, 100 * kDay),
                           stranger =
                               certificate(-kDay, 100 * kDay, "unable to get local issuer certificate"),
                           misnamed = certificate(-kDay, 100 * kDay, "", false),
                           expired = certificate(-9 * kDay, -kDay, "certificate has expired"),
                           soon = certificate(-kDay, 3 * kDay),
                           early = certificate(kDay, 9 * kDay, "certificate is not yet valid");
  const struct {
    TlsFacts facts;
    TlsMode mode;
    const char* said;
  } rows[] = {
      {{true, good}, TlsMode::VerifyFull, "ok: certificate of /CN=db, until 2026-12-30"},
      {{true, good}, TlsMode::Prefer, "ok: certificate of /CN=db, until 2026-12-30; not verified"},
      {{true, stranger}, TlsMode::Require, "ok: certificate of /CN=db, until 2026-12-30; not verified"},
      {{true, stranger},
       TlsMode::VerifyCa,
       "fail: /CN=db is not trusted (unable to get local issuer certificate): set tls_ca_file to who has "
       "signed "
       "it"},
      {{true, misnamed}, TlsMode::VerifyCa, "ok: certificate of /CN=db, until 2026-12-30"},
      {{true, misnamed},
       TlsMode::VerifyFull,
       "fail: /CN=db is not for db.internal: connect by a name that it has, or use verify-ca"},
      {{true, expired},
       TlsMode::VerifyFull,
       "fail: the certificate of /CN=db has expired on 2026-09-20: put a new one in its place"},
      {{true, expired},
       TlsMode::Require,
       "warn: the certificate of /CN=db has expired on 2026-09-20: put a new one in its place"},
      {{true, early},
       TlsMode::VerifyCa,
       "fail: the certificate of /CN=db holds from 2026-09-22 on only: look at the clocks, or at the "
       "certificate"},
      {{true, soon}, TlsMode::VerifyFull, "warn: the certificate of /CN=db expires on 2026-09-24: renew it"},
      {{true, refused("08006", "wrong version number")},
       TlsMode::Prefer,
       "fail: the handshake fails: wrong version number"},
      {{false, {}}, TlsMode::Prefer, "warn: no TLS is offered, so all goes in the clear: set ssl = on there"},
      {{false, {}},
       TlsMode::Require,
       "fail: TLS is wanted and not offered: set ssl = on there, or lower tls_mode"},
      {{false, {}}, TlsMode::Disable, "ok: not used (tls_mode disable), and not offered"},
      {{true, good},
       TlsMode::Disable,
       "warn: TLS is offered and not used: set tls_mode to verify-full, or to require"},
  };
  for (const auto& row : rows) {
    INFO(static_cast<int>(row.mode) << " " << row.said);
    CHECK(said(judge_tls("c", row.facts, row.mode, "db.internal", kNow)) == row.said);
  }
  for (const TlsMode mode : {TlsMode::Disable, TlsMode::Prefer, TlsMode::VerifyFull}) {
    const TlsFacts web_server{false, good, false};
    CHECK(said(judge_tls("c", web_server, mode, "db", kNow))
              .starts_with("fail: it takes connections and does not"));
  }
  CHECK(said(judge_own_certificate("c", good, kNow)) == "ok: certificate of /CN=db, until 2026-12-30");
  CHECK(said(judge_own_certificate("c", expired, kNow)).substr(0, 4) == "fail");
  CHECK(said(judge_own_certificate("c", refused("08006", "no start line"), kNow)) ==
        "fail: cannot be read (no start line): look at the file");
  // A certificate that expires soon and that nobody trusts fails.
  const Visit::Certificate both = certificate(-kDay, kDay, "self-signed certificate");
  CHECK(said(judge_tls("c", {true, both}, TlsMode::VerifyCa, "db", kNow)).substr(0, 4) == "fail");
}

TEST_CASE("a login that fails says which setting to look at") {
  LoginFacts good;
  good.version = 15;
  good.signals = good.has_tenant_function = true;
  LoginFacts super = good, no_signals = good, bypass = good, no_function = good;
  super.superuser = bypass.bypasses_row_security = true;
  no_signals.signals = no_function.has_tenant_function = false;
  const Login side{"side", "postgres", true, false}, app{"app", "shop", false, false},
      shared{"app", "shop", false, true};
  const struct {
    Login login;
    Expected<LoginFacts> facts;
    const char* said;
  } rows[] = {
      {side, good, "ok: side logs in to postgres, Postgres 15"},
      {app, no_signals, "ok: app logs in to shop, Postgres 15"},
      {side, no_signals, "warn: side may not end processes: GRANT pg_signal_backend TO side"},
      {side, super,
       "fail: side is a superuser, whom no ceiling holds: use one made by packaging/postgres/side_role.sql"},
      {app, super, "fail: app is a superuser, whom no ceiling holds: use another role"},
      {app, bypass, "ok: app logs in to shop, Postgres 15"},
      {shared, bypass,
       "fail: app has BYPASSRLS, so it sees the rows of all tenants: ALTER ROLE app NOBYPASSRLS"},
      {shared, no_function,
       "warn: shop has no pgweir.tenant() that app may see, though tenant_secret is set: run "
       "packaging/postgres/tenancy.sql there"},
      {side, refused("28P01", "password authentication failed"),
       "fail: side cannot log in to postgres (password authentication failed): the password is wrong: look "
       "at "
       "side_user and side_password of the backend"},
      {app, refused("3D000", "no database"),
       "fail: app cannot log in to shop (no database): create the database, or name another one"},
      {app, refused("28000", "no entry"),
       "fail: app cannot log in to shop (no entry): look at user and password of the tenant, and at "
       "pg_hba.conf"},
      {app, refused("53300", "full"),
       "fail: app cannot log in to shop (full): Postgres has no connection left: raise max_connections, or "
       "lower max_server_connections"},
      {app, refused("57P03", "starting"),
       "fail: app cannot log in to shop (starting): Postgres is starting, or in recovery: wait"},
      {app, refused("XX000", "odd"), "fail: app cannot log in to shop (odd): look at the backend's log"},
  };
  for (const auto& row : rows) CHECK(said(judge_login("c", row.login, row.facts)) == row.said);
}

TEST_CASE("a host that nobody wants serves nobody") {
  using conf::SessionAttrs;
  const HostSeen primary{"a:1", HostRole::Primary}, standby{"b:2", HostRole::Standby},
      read_only{"c:3", HostRole::ReadOnly}, gone{"d:4", refused("08006", "refused")};
  CHECK(said(judge_role("c", standby)) == "ok: standby");
  CHECK(said(judge_role("c", gone)) ==
        "warn: it cannot be asked whether it is a primary (refused): look at its log, and at the login");
  const struct {
    SessionAttrs wanted;
    std::vector<HostSeen> seen;
    const char* said;
  } rows[] = {
      {SessionAttrs::ReadWrite, {primary, standby}, "ok: a:1 is what read-write wants"},
      {SessionAttrs::ReadWrite, {gone, primary}, "ok: a:1 is what read-write wants"},
      {SessionAttrs::ReadWrite,
       {standby},
       "fail: no host is what target_session_attrs read-write wants (b:2: standby), so no client is let in: "
       "name the primary in hosts, or promote one of these, or change target_session_attrs"},
      {SessionAttrs::ReadWrite,
       {read_only, gone},
       "fail: no host is what target_session_attrs read-write wants (c:3: read-only, d:4: unknown), so no "
       "client is let in: name the primary in hosts, or promote one of these, or change "
       "target_session_attrs"},
      {SessionAttrs::Primary, {read_only, standby}, "ok: c:3 is what primary wants"},
      {SessionAttrs::Standby, {primary, standby}, "ok: b:2 is what standby wants"},
      {SessionAttrs::Standby,
       {primary},
       "fail: no host is what target_session_attrs standby wants (a:1: primary), so no client is let in: "
       "name "
       "a standby in hosts, or change target_session_attrs"},
      {SessionAttrs::PreferStandby, {primary, standby}, "ok: b:2 is what prefer-standby wants"},
      {SessionAttrs::PreferStandby, {primary}, "ok: no standby (a:1: primary), so the others serve"},
      {SessionAttrs::ReadWrite,
       {gone},
       "fail: no host tells what it is (d:4: unknown), and target_session_attrs is read-write"},
  };
  for (const auto& row : rows) CHECK(said(judge_roles("c", row.wanted, row.seen)) == row.said);
}

TEST_CASE("an answer to the login's question is read, or is none") {
  using Row = std::vector<std::optional<std::string>>;
  const Row row{"15", "f", "t", "t", "f", "100", "3", "1790000000"};
  const auto facts = login_facts({row});
  REQUIRE(facts);
  CHECK(facts->version == 15);
  CHECK((!facts->superuser && facts->bypasses_row_security && facts->signals && !facts->has_tenant_function));
  CHECK((facts->connections == 100 && facts->reserved == 3 && facts->time_s == kNow));
  CHECK_FALSE(login_facts({}));
  CHECK_FALSE(login_facts({row, row}));
  for (std::size_t i = 0; i < row.size(); ++i) {
    Row none = row;
    none[i].reset();
    CHECK_FALSE(login_facts({none}));
  }
  for (const std::size_t number : {0u, 5u, 6u, 7u}) {
    Row odd = row;
    odd[number] = "1x";
    CHECK_FALSE(login_facts({odd}));
  }
}

TEST_CASE("connections, clocks, stores and ports") {
  LoginFacts facts;
  facts.connections = 100;
  facts.reserved = 3;
  CHECK(said(judge_connections("c", 90, facts)) == "ok: 90 of Postgres's 97");
  CHECK(said(judge_connections("c", 97, facts)).substr(0, 4) == "warn");
  CHECK(said(judge_connections("c", 98, facts)).substr(0, 4) == "fail");

  const std::chrono::minutes hold{10};
  const struct {
    ClockFacts facts;
    const char* said;
  } clocks[] = {
      {{100, 100, 101, {}}, "ok: agrees with ours"},
      {{103, 100, 102, {}}, "ok: agrees with ours"},
      {{104, 100, 102, {}}, "warn: 2 s ahead of ours: let both follow NTP"},
      {{98, 100, 102, {}}, "warn: 2 s behind ours: let both follow NTP"},
      {{200, 100, 102, {}}, "fail: 98 s ahead of ours: let both follow NTP"},
      {{110, 100, 101, std::chrono::seconds{10}},
       "fail: 9 s ahead of ours, so that tenants' tokens do not hold as they should: let both follow NTP"},
      {{110, 100, 101, hold}, "warn: 9 s ahead of ours: let both follow NTP"},
  };
  for (const auto& row : clocks) CHECK(said(judge_clock("c", row.facts)) == row.said);

  CHECK(said(judge_store("c", true, "", "x")) == "ok: answers");
  CHECK(said(judge_store("c", false, "", "look")) == "fail: it does not answer: look");
  CHECK(said(judge_store("c", false, "refused", "look")) == "fail: it does not answer (refused): look");
  CHECK(said(judge_store("c", true, "cache lost", "look")) == "warn: cache lost: look");
  const auto evicts = [](const char* info) {
    const auto found = judge_eviction("c", info);
    return found ? said(*found) : "";
  };
  CHECK(
      evicts("# Memory\r\nmaxmemory:1000\r\nmaxmemory_human:1K\r\nmaxmemory_policy:allkeys-lru\r\nx:1\r\n") ==
      "warn: maxmemory-policy is allkeys-lru: when it is full it forgets tenants, and usage that is not "
      "billed yet; set it to noeviction");
  CHECK(
      evicts("maxmemory:1000\r\nmaxmemory_policy:volatile-ttl\r\n") ==
      "warn: maxmemory-policy is volatile-ttl: when it is full it forgets usage that is not billed yet; set "
      "it to noeviction");
  CHECK(evicts("maxmemory:1000\r\nmaxmemory_policy:noeviction\r\n").empty());
  CHECK(evicts("maxmemory:0\r\nmaxmemory_policy:allkeys-lru\r\n").empty());
  CHECK(evicts("NOPERM this user has no permissions").empty());
  CHECK(judge_eviction("c", "").has_value() == false);
  CHECK(said(judge_usage("c", "", "x")) == "ok: is kept");
  CHECK(said(judge_usage("c", "NOPERM", "give it HSET")) == "warn: usage is not kept (NOPERM): give it HSET");

  CHECK(said(judge_port("c", "::1:1", Port::Free, "")) == "ok: ::1:1 is free");
  CHECK(said(judge_port("c", "::1:1", Port::Ours, "x")) == "ok: ::1:1 is a pgweir's that runs already");
  CHECK(said(judge_port("c", "::1:1", Port::Taken, "listen on ::1:1: in use; stop it")) ==
        "fail: cannot listen on ::1:1: in use; stop it");
}

TEST_CASE("a file that cannot be opened names what to do") {
  struct Row {
    doctor::FileFacts facts;
    const char* said;
  };
  const Row rows[] = {
      {{"/a/b", "", ""}, "ok: /a/b can be written"},
      {{"/a/b", "/a", ""}, "ok: /a/b can be written"},  // the start makes it
      {{"/a/b", "", "no"}, "fail: cannot open /a/b (no): let this user write there, or change x.y"},
      {{"/a/b", "/a", "no"},
       "fail: cannot open /a/b (no): create the folder /a for this user, or change x.y"},
  };
  for (const Row& row : rows) CHECK(said(judge_file("c", row.facts, "x.y")) == row.said);
}

TEST_CASE("a file of secrets is for its owner and perhaps a group") {
  for (const std::uint32_t good : {0400U, 0600U, 0640U, 0440U})
    CHECK(said(doctor::judge_secret_file("c", "/k", good)) == "ok: /k is closed to others");
  CHECK(said(doctor::judge_secret_file("c", "/k", 0644)) ==
        "warn: /k is open to every user of this machine (mode 0644): chmod o= /k");
  for (const std::uint32_t bad : {0602U, 0601U, 0777U})
    CHECK(doctor::judge_secret_file("c", "/k", bad).health == Health::Warn);
}

TEST_CASE("clients of other machines want a certificate") {
  CHECK(said(doctor::judge_no_certificate("c", "")) == "ok: none is needed: only this machine can connect");
  CHECK(said(doctor::judge_no_certificate("c", "[::]:5432")) ==
        "warn: there is none, so what clients of other machines send to [::]:5432 and hear goes in the "
        "clear: set "
        "client.tls_cert_file and client.tls_key_file");
}

TEST_CASE("what the machine allows is compared with what may be needed") {
  HostFacts facts;
  facts.files_most = 1000;
  facts.files_needed = 1000;
  facts.somaxconn = 4096;
  facts.backlog = 1024;
  facts.local_ports = {32768, 60999};
  facts.servers_of_one_address = 200;
  doctor::Findings all = judge_host(facts);
  REQUIRE(all.size() == 3);
  CHECK(worst(all) == Health::Ok);
  facts.files_most = 999;
  CHECK(
      said(judge_host(facts)[0]) ==
      "fail: 999 at most, and 1000 are needed for client.max and all servers: raise ulimit -Hn (LimitNOFILE= "
      "in a unit), or lower client.max");
  facts.somaxconn = 128;
  CHECK(said(judge_host(facts)[1]) ==
        "warn: 128 cuts listen.backlog 1024 short: sysctl net.core.somaxconn=1024");
  facts.servers_of_one_address = 20'000;
  CHECK(judge_host(facts)[2].health == Health::Warn);
  facts.migrate_req = 0;
  CHECK(judge_host(facts).size() == 3);  // nobody would stop listening beside another
  facts.reuse_port = true;
  CHECK(judge_host(facts)[2].check == std::string("host: tcp_migrate_req"));
  CHECK(judge_host(facts)[2].health == Health::Warn);
  CHECK(judge_host(facts)[2].text.ends_with("sysctl net.ipv4.tcp_migrate_req=1"));
  facts.migrate_req = 1;
  CHECK(said(judge_host(facts)[2]) == "ok: 1");
  facts.migrate_req.reset();
  facts.somaxconn.reset();
  facts.local_ports.reset();
  CHECK(judge_host(facts).size() == 1);  // a kernel that does not tell is not judged
}

TEST_CASE("the table has a line for each check, and the worst of them decides") {
  const doctor::Findings findings{
      {"a", Health::Ok, "fine"}, {"longer", Health::Warn, "do"}, {"b", Health::Fail, "it"}};
  CHECK(table(findings) ==
        "check  | status | what to do\n"
        "a      | ok     | fine\n"
        "longer | warn   | do\n"
        "b      | fail   | it\n");
  CHECK(worst(findings) == Health::Fail);
  CHECK(worst({findings[0], findings[1]}) == Health::Warn);
  CHECK(worst({}) == Health::Ok);
}
