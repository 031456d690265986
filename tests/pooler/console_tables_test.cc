#include "pooler/console_tables.h"

#include <catch2/catch.hpp>

#include "pooler/console_columns.h"
#include "pooler/console_show.h"
#include "protocol/frame.h"
#include "protocol/messages.h"
#include "tests/support/messages.h"

using namespace pgweir;
using namespace pgweir::console;
using namespace std::chrono_literals;

namespace {

// "name:i other:s" of the RowDescription in front; types as the console's documentation abbreviates them.
std::string columns(const std::string& out) {
  const std::string first = test::split(out)[0];
  protocol::Reader in(Bytes(first).substr(protocol::kHeaderBytes));
  std::string all;
  for (unsigned left = in.u16(); left > 0; --left) {
    if (!all.empty()) all += ' ';
    all.append(in.c_string()) += ':';
    in.bytes(6);
    const std::uint32_t type = in.u32();
    all += type == protocol::kTextOid      ? 's'
           : type == protocol::kInt8Oid    ? 'q'
           : type == protocol::kInt4Oid    ? 'i'
           : type == protocol::kNumericOid ? 'N'
                                           : '?';
    in.bytes(8);
  }
  CHECK(in.ok());
  CHECK(in.empty());
  return all;
}

// Values of the rows, "-" for NULL: "a 1 -|b 2 x".
std::string rows(const std::string& out) {
  std::string all;
  for (const std::string& one : test::split(out)) {
    if (one[0] != 'D') continue;
    protocol::Reader in(Bytes(one).substr(protocol::kHeaderBytes));
    if (!all.empty()) all += '|';
    for (unsigned left = in.u16(), first = left; left > 0; --left) {
      if (left != first) all += ' ';
      const std::uint32_t size = in.u32();
      if (size == 0xffffffff)
        all += '-';
      else
        all.append(in.bytes(size));
    }
    CHECK(in.ok());
    CHECK(in.empty());
  }
  return all;
}

constexpr const char* kConnectionColumns =
    "type:s user:s database:s replication:s state:s addr:s port:i local_addr:s local_port:i connect_time:s "
    "request_time:s wait:i wait_us:i close_needed:i ptr:s link:s remote_pid:i tls:s application_name:s "
    "prepared_statements:i id:i";

StatsRow stats_row() {
  StatsRow row;
  row.database = "app";
  row.total = {10, 20, 30, 40, 50, 60, 70, 80, 90, 100, 110, 0};
  row.period = {{4, 10, 10, 0, 0, 20, 10, 20, 80, 80, 90, 0}, row.total, 2s};
  return row;
}

}  // namespace

TEST_CASE("POOLS has PgBouncer's columns") {
  PoolRow row;
  row.database = "app";
  row.user = "me";
  row.clients = 3;
  row.cl_waiting = 2;
  row.sv_active = 3;
  row.sv_being_canceled = 4;
  row.sv_idle = 5;
  row.sv_tested = 6;
  row.sv_login = 7;
  row.maxwait = 2s + 3us;
  row.pool_mode = tiers::PoolMode::Session;
  std::string out;
  put_pools(out, {&row, 1});
  CHECK(
      columns(out) ==
      "database:s user:s cl_active:i cl_waiting:i cl_active_cancel_req:i cl_waiting_cancel_req:i sv_active:i "
      "sv_active_cancel:i sv_being_canceled:i sv_idle:i sv_used:i sv_tested:i sv_login:i maxwait:i "
      "maxwait_us:i "
      "pool_mode:s load_balance_hosts:s");
  CHECK(rows(out) == "app me 1 2 0 0 3 0 4 5 0 6 7 2 3 session -");
}

TEST_CASE("PINS has a column for every reason") {
  PinRow row;
  row.database = "app";
  row.tier = "free";
  row.clients = 2;
  row.most = 3;
  row.reasons = {1, 0, 0, 2};
  row.totals = {1ULL << 40, 5, 6};
  std::string out;
  put_pins(out, {&row, 1});
  CHECK(columns(out) ==
        "database:s tier:s pinned_clients:i max_pinned_clients:i temp:i cursor:i lock:i listen:i statement:i "
        "settings:i session:i replication:i pinned_total:N unpinned_total:N refused_total:N");
  CHECK(rows(out) == "app free 2 3 1 0 0 2 0 0 0 0 1099511627776 5 6");
}

TEST_CASE("PINNED_CLIENTS are those that have a reason") {
  ConnectionRow all[2];
  all[0].database = "other";
  all[1].database = "app";
  all[1].user = "me";
  all[1].pins = pin::kTemp | pin::kListen;
  all[1].addr = "::1";
  all[1].port = 5;
  all[1].application_name = "psql";
  all[1].link = 1;
  all[1].id = 7;
  Report report;
  report.connections.assign(std::begin(all), std::end(all));
  std::string out;
  put_report(out, Table::PinnedClients, report, {});
  CHECK(columns(out) == "database:s user:s pins:s addr:s port:i application_name:s ptr:s link:s id:i");
  CHECK(rows(out) == "app me temp,listen ::1 5 psql c7 s1 7");
}

TEST_CASE("CLIENTS and SERVERS have PgBouncer's columns, and times of day") {
  ConnectionRow row;
  row.user = "me";
  row.database = "app";
  row.state = "waiting";
  row.addr = "::1";
  row.port = 5;
  row.local_addr = "::2";
  row.local_port = 6;
  row.connected = 61s;
  row.requested = row.wait = 1s + 500us;
  row.id = 1ULL << 40;
  std::string out;
  put_connections(out, {&row, 1}, 86'461);
  CHECK(columns(out) == kConnectionColumns);
  CHECK(rows(out) ==
        "C me app none waiting ::1 5 ::2 6 1970-01-02 00:00:00 UTC 1970-01-02 00:01:00 UTC 1 500 0 "
        "c10000000000  0   0 "
        "2147483647");
}

TEST_CASE("DATABASES has PgBouncer's columns") {
  DatabaseRow row;
  row.name = "app";
  row.host = "db";
  row.port = 5432;
  row.database = "real";
  row.pool_size = 2;
  row.server_lifetime_s = 3600;
  row.max_connections = 5;
  row.current_connections = 1;
  row.max_clients = 20;
  row.clients = 3;
  row.paused = true;
  std::string out;
  put_databases(out, {&row, 1});
  CHECK(columns(out) ==
        "name:s host:s port:i database:s force_user:s pool_size:i min_pool_size:i reserve_pool_size:i "
        "server_lifetime:i pool_mode:s load_balance_hosts:s max_connections:i current_connections:i "
        "max_client_connections:i current_client_connections:i paused:i disabled:i");
  CHECK(rows(out) == "app db 5432 real - 2 0 0 3600 transaction - 5 1 20 3 1 0");
}

TEST_CASE("the small tables have PgBouncer's columns") {
  std::string out;
  const conf::Shown shown{"client.max", "5", "10", true, {}};
  put_config(out, {&shown, 1});
  CHECK(columns(out) == "key:s value:s default:s changeable:s");
  CHECK(rows(out) == "client.max 5 10 yes");
  out.clear();
  const NamedCount count{"pools", 3};
  put_lists(out, {&count, 1});
  CHECK(columns(out) == "list:s items:i");
  CHECK(rows(out) == "pools 3");
  out.clear();
  const KeyValue pair{"paused", "no"};
  put_state(out, {&pair, 1});
  CHECK(columns(out) == "key:s value:s");
  CHECK(rows(out) == "paused no");
}

TEST_CASE("the remaining tables have PgBouncer's columns") {
  const auto columns_of_rows = [](auto put) {
    std::string out;
    put(out);
    return columns(out);
  };
  CHECK(columns_of_rows([](auto& out) { put_users(out, {}); }) ==
        "name:s pool_size:s reserve_pool_size:s pool_mode:s max_user_connections:i current_connections:i "
        "max_user_client_connections:i current_client_connections:i");
  CHECK(columns_of_rows([](auto& out) { put_mem(out, {}); }) == "name:s size:i used:i free:i memtotal:i");
  CHECK(columns_of_rows([](auto& out) { put_peers(out); }) == "peer_id:i host:s port:i pool_size:i");
  CHECK(columns_of_rows([](auto& out) { put_peer_pools(out); }) ==
        "peer_id:i cl_active_cancel_req:i cl_waiting_cancel_req:i sv_active_cancel:i sv_login:i");
  CHECK(columns_of_rows([](auto& out) { put_dns_hosts(out); }) == "hostname:s ttl:q addrs:s");
  CHECK(columns_of_rows([](auto& out) { put_dns_zones(out); }) == "zonename:s serial:q count:i");
  CHECK(columns_of_rows([](auto& out) { put_sockets(out, {}, 0); }) ==
        std::string(kConnectionColumns) +
            " recv_pos:i pkt_pos:i pkt_remain:i send_pos:i send_remain:i pkt_avail:i send_avail:i");
}

TEST_CASE("our own tables tell of tenants, tiers, threads and hosts") {
  std::string out;
  DatabaseRow tenant;
  tenant.name = "acme";
  tenant.tier = "pro";
  tenant.backend = "main";
  tenant.database = "real";
  tenant.clients = 3;
  tenant.max_clients = 200;
  tenant.current_connections = 2;
  tenant.pool_size = 20;
  tenant.max_connections = 50;
  tenant.state = "suspended";
  tenant.suspended_reason = "unpaid";
  put_tenants(out, {&tenant, 1});
  CHECK(columns(out) ==
        "tenant:s tier:s backend:s database:s pool_mode:s clients:i max_clients:i servers:i pool_size:i "
        "max_servers:i paused:i state:s suspended_reason:s");
  CHECK(rows(out) == "acme pro main real transaction 3 200 2 20 50 0 suspended unpaid");
  out.clear();
  TierRow tier;
  tier.tier.name = "pro";
  tier.tenants = 1;
  tier.clients = 2;
  tier.servers = 3;
  put_tiers(out, {&tier, 1});
  CHECK_THAT(columns(out),
             Catch::StartsWith("tier:s pool_size:s ") && Catch::EndsWith(" tenants:i clients:i servers:i"));
  CHECK_THAT(rows(out), Catch::StartsWith("pro 2 ") && Catch::EndsWith(" 1 2 3"));
  out.clear();
  const WorkerRow worker{1, 2, 3, 4, 5, 6, 7, 8, 9, 10, 11};
  put_workers(out, {&worker, 1});
  CHECK(columns(out) ==
        "worker:i tenants:i groups:i clients:i waiting:i logins:i consoles:i servers:i "
        "texts_by_words:N texts_remembered:N texts_parsed:N");
  CHECK(rows(out) == "1 2 3 4 5 6 7 8 9 10 11");
  out.clear();
  const BackendRow backend{"main", "db", 5432, 7, 200, true, "db:5432 primary, db2:5432", "read-write"};
  put_backends(out, {&backend, 1});
  CHECK(columns(out) ==
        "name:s host:s port:i current_connections:i max_connections:i starved:i target_session_attrs:s "
        "hosts:s");
  CHECK(rows(out) == "main db 5432 7 200 1 read-write db:5432 primary, db2:5432");
  out.clear();
  const BreakerRow breaker{"main", std::nullopt, std::nullopt, Breaker::State::Open, false, 5, 8, 1, 9,
                           7,      "29.5",       "gone"};
  put_breakers(out, {&breaker, 1});
  CHECK(
      columns(out) ==
      "backend:s database:s user:s state:s mode:s failures:i of:i opened:N failed:N rejected:N next_try_s:N "
      "last_error:s");
  CHECK(rows(out) == "main - - open auto 5 8 1 9 7 29.5 gone");
  const std::vector<Sampled> sampled = samples(breaker);
  REQUIRE(sampled.size() == 4);
  CHECK(std::string(sampled[0].metric->name) == "breaker_state");
  CHECK(sampled[0].value == 2);
  out.clear();
  const MemRow mem{"clients", 864, 10};
  put_mem(out, {&mem, 1});
  CHECK(rows(out) == "clients 864 10 0 8640");
}

TEST_CASE("CEILINGS tells a tenant's own values, and how firm they are there") {
  const auto rows_of = [](tiers::Inspection inspection, bool clocks, std::string_view tenant,
                          SideRole side_role, std::vector<std::string> overrides = {},
                          Words words = Words::Shown) {
    tiers::Tier tier;
    tier.name = "gold";
    tier.inspection = inspection;
    tier.clocks = clocks;
    for (const auto& [key, value] : std::initializer_list<std::pair<const char*, const char*>>{
             {"statement_timeout", "10s"},
             {"idle_in_transaction_session_timeout", "10s"},
             {"work_mem", "4MB"},
             {"temp_file_limit", "1GB"},
             {"inject.app.tenant_id", "{tenant}/{tier}"},
             {"default.app.label", "{tenant}"}})
      REQUIRE(tiers::set_tier_field(tier, key, value));
    std::vector<CeilingRow> rows;
    add_ceilings(rows, {tier, overrides, tenant, side_role, words}, {});
    std::string text;
    for (const CeilingRow& row : rows)
      text += row.parameter + "=" + row.value + " " + row.source + " " + row.firmness + "\n";
    return text;
  };
  using tiers::Inspection;
  const std::string paused = "idle_in_transaction_session_timeout=10s tier firm\n";
  const std::string limit = "temp_file_limit=1GB tier role\n";
  CHECK(rows_of(Inspection::Standard, true, "acme", SideRole::Set) ==
        paused + "statement_timeout=10s tier firm\n" + limit +
            "work_mem=4MB tier advisory\napp.tenant_id=acme/gold tier advisory\napp.label=acme tier \n");
  // Nobody can end a process that computes.
  CHECK(rows_of(Inspection::Standard, true, "", SideRole::Missing) ==
        paused + "statement_timeout=10s tier advisory\n" + limit +
            "work_mem=4MB tier advisory\napp.tenant_id={tenant}/{tier} tier advisory\n"
            "app.label={tenant} tier \n");
  // Words that somebody has chosen are not for everybody. What is the tenant's own is known by its name.
  CHECK(rows_of(Inspection::Standard, true, "acme", SideRole::Set,
                {"default.app.label", "inject.app.tenant_id", "work_mem"},
                Words::Hidden) == paused + "statement_timeout=10s tier firm\n" + limit +
                                      "work_mem=4MB tenant advisory\napp.tenant_id=******** tenant advisory\n"
                                      "app.label=******** tenant \n");
  const auto timeout = [&](Inspection inspection, bool clocks, SideRole side_role) {
    const std::string text = rows_of(inspection, clocks, "acme", side_role);
    const std::size_t at = text.find("\nstatement_timeout=10s tier ") + 1;
    return text.substr(at, text.find('\n', at) - at);
  };
  CHECK(timeout(Inspection::Off, true, SideRole::Missing) == "statement_timeout=10s tier advisory");
  CHECK(timeout(Inspection::Off, true, SideRole::Set) == "statement_timeout=10s tier firm");
  CHECK(timeout(Inspection::Strict, true, SideRole::Missing) == "statement_timeout=10s tier firm");
  CHECK(timeout(Inspection::Off, false, SideRole::Set) == "statement_timeout=10s tier startup");
}

TEST_CASE("averages are per second, or of what a duration is the sum of") {
  const StatsRow row = stats_row();
  std::string out;
  put_stats(out, {&row, 1});
  CHECK(columns(out) ==
        "database:s total_server_assignment_count:N total_xact_count:N total_query_count:N total_received:N "
        "total_sent:N total_xact_time:N total_query_time:N total_wait_time:N total_client_parse_count:N "
        "total_server_parse_count:N total_bind_count:N avg_server_assignment_count:N avg_xact_count:N "
        "avg_query_count:N avg_recv:N avg_sent:N avg_xact_time:N avg_query_time:N avg_wait_time:N "
        "avg_client_parse_count:N avg_server_parse_count:N avg_bind_count:N");
  CHECK(rows(out) == "app 10 20 30 40 50 60 70 80 90 100 110 3 5 10 20 25 4 3 30 5 10 10");
  out.clear();
  put_stats_totals(out, {&row, 1});
  CHECK(columns(out) ==
        "database:s server_assignment_count:N xact_count:N query_count:N bytes_received:N bytes_sent:N "
        "xact_time:N "
        "query_time:N wait_time:N client_parse_count:N server_parse_count:N bind_count:N");
  CHECK(rows(out) == "app 10 20 30 40 50 60 70 80 90 100 110");
  out.clear();
  put_stats_averages(out, {&row, 1});
  CHECK(columns(out) ==
        "database:s server_assignment_count:N xact_count:N query_count:N bytes_received:N bytes_sent:N "
        "xact_time:N "
        "query_time:N wait_time:N avg_client_parse_count:N avg_server_parse_count:N avg_bind_count:N");
  CHECK(rows(out) == "app 3 5 10 20 25 4 3 30 5 10 10");
}

TEST_CASE("TOTALS adds up what can be added") {
  const StatsRow two[] = {stats_row(), stats_row()};
  std::string out;
  put_totals(out, two);
  CHECK(columns(out) == "name:s value:N");
  CHECK_THAT(rows(out),
             Catch::StartsWith("total_server_assignment_count 20|total_xact_count 40|total_query_count 60|"
                               "total_client_bytes 80|total_server_bytes 100|total_xact_time 120|"));
  CHECK_THAT(rows(out), Catch::Contains("|avg_xact_count 10|") && Catch::Contains("|avg_xact_time 4|") &&
                            Catch::EndsWith("|avg_ps_bind_count 20"));
}

TEST_CASE("an average is of the last whole period, or of what has passed of the first") {
  const Time start{};
  TrafficPeriod period(start);
  Traffic total;
  total.queries = 10;
  CHECK(period.view(total, start + 5s).to.queries == 10);
  CHECK(period.view(total, start + 5s).from.queries == 0);
  period.roll(total, start + 60s);
  total.queries = 100;
  CHECK(period.view(total, start + 70s).to.queries - period.view(total, start + 70s).from.queries == 10);
  CHECK(period.view(total, start + 70s).length == 60s);
  period.roll(total, start + 120s);
  CHECK(period.view(total, start + 130s).from.queries == 10);
  CHECK(period.view(total, start + 130s).to.queries == 100);
  // Nothing has passed at all.
  StatsRow row;
  row.period = TrafficPeriod(start).view({}, start);
  std::string out;
  put_stats_averages(out, {&row, 1});
  CHECK(rows(out) == " 0 0 0 0 0 0 0 0 0 0 0");
}

TEST_CASE("no rate is made of less than a whole period") {
  const Time start{};
  TrafficPeriod period(start);
  Traffic total;
  total.queries = 1;
  CHECK(period.view(total, start + 40ms).length == 60s);
  CHECK(period.view(total, start + 90s).length == 90s);
  CHECK(period.queries_per_minute(total, start + 40ms) == Approx(1));
  CHECK(period.queries_per_minute(total, start + 90s) == Approx(2.0 / 3));
  // One timer ends the periods of all tenants, also of who came just before.
  period.roll(total, start + 45ms);
  CHECK(period.view(total, start + 50ms).length == 60s);
  CHECK(period.queries_per_minute(total, start + 50ms) == Approx(1));
  StatsRow row;
  total.queries = 120;
  TrafficPeriod busy(start);
  busy.roll(total, start + 45ms);
  row.period = busy.view(total, start + 50ms);
  std::string out;
  put_stats_averages(out, {&row, 1});
  CHECK(rows(out) == " 0 0 2 0 0 0 0 0 0 0 0");
}

TEST_CASE("a page of a list is the part behind its key, in the order of the keys") {
  Report report;
  for (const char* name : {"main", "a-b", "a"}) report.backends.emplace_back().name = name;
  for (const char* backend : {"main", "main", "main-2", "main"})
    report.breakers.emplace_back().backend = backend;
  for (const std::size_t twin : {0U, 3U}) {
    report.breakers[twin].database = "db";
    report.breakers[twin].user = "u";
  }
  for (std::uint32_t worker = 0; worker < 12; ++worker) report.workers.push_back({.worker = worker});
  for (const std::uint64_t id : {900U, 1000U, 30U}) {
    ConnectionRow& row = report.connections.emplace_back();
    row.database = id == 30 ? "other" : "app";
    row.id = id;
    row.pins = pin::kSession;
  }
  report.connections.emplace_back().id = 31;  // which keeps no server
  const struct {
    const char* request;
    const char* rows;
  } cases[] = {
      {"SHOW BACKENDS name", "main|a-b|a"},
      {"SHOW BACKENDS name LIMIT 2", "a|a-b"},
      {"SHOW BACKENDS name LIMIT 2 AFTER 'a-b'", "main"},
      {"SHOW BACKENDS name AFTER 'b'", "main"},
      {"SHOW BACKENDS name LIKE 'a%'", "a|a-b"},
      {"SHOW BACKENDS name LIMIT 0", ""},
      {"SHOW BREAKERS backend, user LIMIT 1", "main -"},
      // Two that are told apart by no key are not torn apart.
      {"SHOW BREAKERS backend, user LIMIT 1 AFTER main-2", "main u|main u"},
      {"SHOW BREAKERS backend, user LIMIT 3 AFTER main", "main-2 -|main u|main u"},
      {"SHOW BREAKERS backend, user AFTER 'main/db/u'", ""},
      {"SHOW BREAKERS backend LIKE '%/db/%' LIMIT 5", "main|main"},
      {"SHOW WORKERS worker LIMIT 2 AFTER 8", "9|10"},
      {"SHOW WORKERS worker LIKE '1%'", "1|10|11"},
      {"SHOW PINNED_CLIENTS database, id", "app 900|app 1000|other 30"},
      {"SHOW PINNED_CLIENTS database, id LIMIT 2", "other 30|app 900"},
      {"SHOW PINNED_CLIENTS id AFTER 30 LIKE 'app'", "900|1000"},
  };
  for (const auto& one : cases) {
    INFO(one.request);
    const Request request = parse(one.request, shape)->front();
    Beside beside;
    beside.page = request.page;
    std::string out;
    put_report(out, request.command->table, report, beside);
    CHECK(rows(selected(out, request.places)) == one.rows);
  }
}

TEST_CASE("SHOW CEILINGS and SHOW LIMIT have pages, too") {
  const std::vector<CeilingRow> ceilings{{"pro", "work_mem", "ceiling", "8MB"},
                                         {"free", "work_mem", "default", "4MB"},
                                         {"free", "work_mem", "ceiling", "4MB"},
                                         {"free", "temp_buffers", "ceiling", "4MB"}};
  const auto part = [&](const char* text) {
    const Request request = parse(text, shape)->front();
    std::string out;
    if (request.command->action == Action::ShowLimit)
      put_limits(out, std::vector<LimitView>{{"weight", "1", "", ""}, {"tier", "free", "", ""}},
                 request.page);
    else
      put_ceilings(out, ceilings, request.page);
    return rows(selected(out, request.places));
  };
  CHECK(part("SHOW CEILINGS tier, value") == "pro 8MB|free 4MB|free 4MB|free 4MB");
  CHECK(part("SHOW CEILINGS tier, kind LIKE 'work%'") == "free ceiling|free default|pro ceiling");
  CHECK(part("SHOW CEILINGS tier, parameter LIMIT 1 AFTER 'free/work_mem/ceiling'") == "free work_mem");
  CHECK(part("SHOW LIMIT acme limit") == "weight|tier");
  CHECK(part("SHOW LIMIT acme \"limit\" limit 1") == "tier");
  CHECK(part("SHOW LIMIT acme \"limit\" after tier") == "weight");
}
