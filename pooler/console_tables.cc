#include "pooler/console_tables.h"

#include <fmt/chrono.h>
#include <fmt/format.h>

#include <algorithm>
#include <array>
#include <ctime>
#include <limits>
#include <type_traits>
#include <utility>
#include <variant>

#include "pooler/base/check.h"
#include "protocol/messages.h"

namespace pgweir::console {

namespace {

constexpr std::uint32_t kS = protocol::kTextOid;
constexpr std::uint32_t kI = protocol::kInt4Oid;
constexpr std::uint32_t kN = protocol::kNumericOid;

// An int4 that tools can read, whatever we count.
std::string int4(std::uint64_t value) {
  return std::to_string(std::min<std::uint64_t>(value, std::numeric_limits<std::int32_t>::max()));
}
constexpr std::int64_t kSecondUs = 1'000'000;
std::string whole_seconds(Duration d) { return int4(static_cast<std::uint64_t>(d.count() / kSecondUs)); }
std::string rest_us(Duration d) { return int4(static_cast<std::uint64_t>(d.count() % kSecondUs)); }

template <class Row>
Text nothing(const Row&) {
  return std::nullopt;
}
template <class Row>
Text zero(const Row&) {
  return "0";
}
template <class Row>
Text pool_mode(const Row& row) {
  return std::string(tiers::name(row.pool_mode));
}

template <class Row>
Text value(const Row& row, const Figure<Row>& figure) {
  return std::visit(
      [&](auto get) -> Text {
        using Get = decltype(get);
        if constexpr (std::is_function_v<std::remove_pointer_t<Get>>) {
          return get(row);
        } else {
          const auto& member = row.*get;
          using Member = std::remove_cvref_t<decltype(member)>;
          if constexpr (std::is_same_v<Member, bool>)
            return member ? "1" : "0";
          else if constexpr (std::is_integral_v<Member>)
            return int4(member);
          else
            return member;
        }
      },
      figure.get);
}

// Of a figure that is a number.
template <class Row>
double number(const Row& row, const Figure<Row>& figure) {
  if (figure.number) return figure.number(row);
  return std::visit(
      [&](auto get) -> double {
        using Get = decltype(get);
        if constexpr (std::is_same_v<Get, std::uint32_t Row::*> ||
                      std::is_same_v<Get, std::uint64_t Row::*> || std::is_same_v<Get, bool Row::*>)
          return static_cast<double>(row.*get);
        else
          PGWEIR_CHECK(false);
      },
      figure.get);
}

template <class Row, std::size_t N>
std::vector<Sampled> sample_table(const std::array<Figure<Row>, N>& figures, const Row& row) {
  std::vector<Sampled> all;
  for (const auto& figure : figures)
    if (figure.metric.kind != Metric::Kind::None)
      all.push_back({&figure.metric, number(row, figure) * figure.metric.unit});
  return all;
}

template <class Row, std::size_t N>
std::vector<Cell> table_cells(const std::array<Figure<Row>, N>& figures, const Row& row) {
  std::vector<Cell> all;
  for (const auto& figure : figures) {
    if (!figure.column) continue;
    const bool truth = std::holds_alternative<bool Row::*>(figure.get);
    all.push_back({figure.column, value(row, figure),
                   truth                   ? Cell::Kind::Truth
                   : figure.type_oid == kS ? Cell::Kind::Words
                                           : Cell::Kind::Number});
  }
  return all;
}

template <class Row, std::size_t N>
void put_table(std::string& out, const std::array<Figure<Row>, N>& figures, std::span<const Row> rows) {
  std::vector<protocol::Column> columns;
  for (const auto& figure : figures)
    if (figure.column) columns.push_back({figure.column, figure.type_oid});
  protocol::put_row_description(out, columns);
  std::vector<Text> values;
  for (const Row& row : rows) {
    values.clear();
    for (const auto& figure : figures)
      if (figure.column) values.push_back(value(row, figure));
    protocol::put_data_row(out, values);
  }
}

constexpr auto kGauge = Metric::Kind::Gauge;
constexpr auto kCounter = Metric::Kind::Counter;
constexpr double kMicro = 1e-6;

using Pool = Figure<PoolRow>;
constexpr std::array kPools{
    Pool{"database", kS, &PoolRow::database},
    Pool{"user", kS, &PoolRow::user},
    Pool{"cl_active",
         kI,
         [](const PoolRow& row) -> Text { return int4(row.cl_active()); },
         {kGauge, "clients_active", "Clients that do not wait, idle ones among them.",
          "pgbouncer_pools_client_active_connections"},
         [](const PoolRow& row) -> double { return row.cl_active(); }},
    Pool{"cl_waiting",
         kI,
         &PoolRow::cl_waiting,
         {kGauge, "clients_waiting", "Clients queued for a server.",
          "pgbouncer_pools_client_waiting_connections"}},
    Pool{"cl_active_cancel_req", kI, &zero<PoolRow>},  // a cancel is not a client of a pool here
    Pool{"cl_waiting_cancel_req", kI, &zero<PoolRow>},
    Pool{"sv_active",
         kI,
         &PoolRow::sv_active,
         {kGauge, "servers_active", "Server connections that a client holds.",
          "pgbouncer_pools_server_active_connections"}},
    Pool{"sv_active_cancel", kI, &zero<PoolRow>},
    Pool{"sv_being_canceled",
         kI,
         &PoolRow::sv_being_canceled,
         {kGauge, "servers_being_canceled", "Server connections that wait for a cancel to arrive.",
          "pgbouncer_pools_server_being_canceled_connections"}},
    Pool{"sv_idle",
         kI,
         &PoolRow::sv_idle,
         {kGauge, "servers_idle", "Server connections that are free for the next client.",
          "pgbouncer_pools_server_idle_connections"}},
    // Idle ones are not tested again before use.
    Pool{"sv_used",
         kI,
         &zero<PoolRow>,
         {kGauge, "servers_used", "Always 0: no server waits to be tested before its next use.",
          "pgbouncer_pools_server_used_connections"},
         [](const PoolRow&) { return 0.0; }},
    Pool{"sv_tested",
         kI,
         &PoolRow::sv_tested,
         {kGauge, "servers_tested", "Server connections that are being cleaned after a client.",
          "pgbouncer_pools_server_testing_connections"}},
    Pool{"sv_login",
         kI,
         &PoolRow::sv_login,
         {kGauge, "servers_login", "Server connections that log in to Postgres.",
          "pgbouncer_pools_server_login_connections"}},
    Pool{"maxwait",
         kI,
         [](const PoolRow& row) -> Text { return whole_seconds(row.maxwait); },
         {kGauge, "client_maxwait_seconds", "How long the client has waited that waits longest.",
          "pgbouncer_pools_client_maxwait_seconds", kMicro},
         [](const PoolRow& row) { return static_cast<double>(row.maxwait.count()); }},
    Pool{"maxwait_us", kI, [](const PoolRow& row) -> Text { return rest_us(row.maxwait); }},
    Pool{"pool_mode", kS, &pool_mode<PoolRow>},
    Pool{"load_balance_hosts", kS, &nothing<PoolRow>},
};

// A connection and the time of day when it is shown.
struct Shown : ConnectionRow {
  std::int64_t now_s = 0;
};

Text time_of_day(const Shown& row, Duration ago) {
  const auto seconds = static_cast<std::time_t>(row.now_s - ago.count() / kSecondUs);
  std::tm utc{};
  gmtime_r(&seconds, &utc);
  return fmt::format("{:%Y-%m-%d %H:%M:%S} UTC", utc);
}

template <auto member>
Text of(const Shown& row) {
  const auto& what = row.*member;
  if constexpr (std::is_integral_v<std::remove_cvref_t<decltype(what)>>)
    return int4(what);
  else
    return std::string(what);
}

using Connection = Figure<Shown>;
constexpr std::array kConnections{
    Connection{"type", kS, &of<&ConnectionRow::type>},
    Connection{"user", kS, &of<&ConnectionRow::user>},
    Connection{"database", kS, &of<&ConnectionRow::database>},
    Connection{"replication", kS, [](const Shown&) -> Text { return "none"; }},
    Connection{"state", kS, &of<&ConnectionRow::state>},
    Connection{"addr", kS, &of<&ConnectionRow::addr>},
    Connection{"port", kI, &of<&ConnectionRow::port>},
    Connection{"local_addr", kS, &of<&ConnectionRow::local_addr>},
    Connection{"local_port", kI, &of<&ConnectionRow::local_port>},
    Connection{"connect_time", kS, [](const Shown& row) { return time_of_day(row, row.connected); }},
    Connection{"request_time", kS, [](const Shown& row) { return time_of_day(row, row.requested); }},
    Connection{"wait", kI, [](const Shown& row) -> Text { return whole_seconds(row.wait); }},
    Connection{"wait_us", kI, [](const Shown& row) -> Text { return rest_us(row.wait); }},
    Connection{"close_needed", kI, &of<&ConnectionRow::close_needed>},
    Connection{"ptr", kS, &of<&ConnectionRow::ptr>},
    Connection{"link", kS, &of<&ConnectionRow::link>},
    Connection{"remote_pid", kI, &of<&ConnectionRow::remote_pid>},
    Connection{"tls", kS, &of<&ConnectionRow::tls>},
    Connection{"application_name", kS, &of<&ConnectionRow::application_name>},
    Connection{"prepared_statements", kI, &of<&ConnectionRow::prepared_statements>},
    Connection{"id", kI, &of<&ConnectionRow::id>},
};

// Behind the columns of a connection. Nothing that has arrived is kept: it is passed on as it comes.
constexpr std::array<const char*, 7> kSocketColumns{"recv_pos",    "pkt_pos",   "pkt_remain", "send_pos",
                                                    "send_remain", "pkt_avail", "send_avail"};
constexpr std::string_view kUnsentColumn = "send_remain";

constexpr std::array kPinnedClients{
    Connection{"database", kS, &of<&ConnectionRow::database>},
    Connection{"user", kS, &of<&ConnectionRow::user>},
    Connection{"pins", kS, &of<&ConnectionRow::pins>},
    Connection{"addr", kS, &of<&ConnectionRow::addr>},
    Connection{"port", kI, &of<&ConnectionRow::port>},
    Connection{"application_name", kS, &of<&ConnectionRow::application_name>},
    Connection{"ptr", kS, &of<&ConnectionRow::ptr>},
    Connection{"link", kS, &of<&ConnectionRow::link>},
    Connection{"id", kI, &of<&ConnectionRow::id>},
};

template <std::size_t reason>
Text pinned_by(const PinRow& row) {
  return int4(row.reasons[reason]);
}
using Pin = Figure<PinRow>;
// A column for every reason.
template <std::size_t... reason>
constexpr auto pin_figures(std::index_sequence<reason...>) {
  return std::array{
      Pin{"database", kS, &PinRow::database},
      Pin{"tier", kS, &PinRow::tier},
      Pin{"pinned_clients", kI, &PinRow::clients},
      Pin{"max_pinned_clients", kI, &PinRow::most},
      Pin{pin::kNames[reason].data(), kI, &pinned_by<reason>}...,
      Pin{"pinned_total", kN, [](const PinRow& row) -> Text { return std::to_string(row.totals.pinned); }},
      Pin{"unpinned_total", kN,
          [](const PinRow& row) -> Text { return std::to_string(row.totals.unpinned); }},
      Pin{"refused_total", kN, [](const PinRow& row) -> Text { return std::to_string(row.totals.refused); }},
  };
}
constexpr auto kPins = pin_figures(std::make_index_sequence<pin::kNames.size()>());

using Database = Figure<DatabaseRow>;
constexpr std::array kDatabases{
    Database{"name", kS, &DatabaseRow::name},
    Database{"host", kS, &DatabaseRow::host},
    Database{"port", kI, &DatabaseRow::port},
    Database{"database", kS, &DatabaseRow::database},
    Database{"force_user", kS, &DatabaseRow::force_user},
    Database{"pool_size",
             kI,
             &DatabaseRow::pool_size,
             {kGauge, "pool_size", "Server connections that the tenant is sure of.",
              "pgbouncer_databases_pool_size"}},
    Database{"min_pool_size", kI, &DatabaseRow::min_pool_size},
    Database{"reserve_pool_size", kI, &zero<DatabaseRow>},
    Database{"server_lifetime", kI, &DatabaseRow::server_lifetime_s},
    Database{"pool_mode", kS, &pool_mode<DatabaseRow>},
    Database{"load_balance_hosts", kS, &nothing<DatabaseRow>},
    Database{"max_connections",
             kI,
             &DatabaseRow::max_connections,
             {kGauge, "max_server_connections", "Server connections that the tenant may have.",
              "pgbouncer_databases_max_connections"}},
    Database{"current_connections",
             kI,
             &DatabaseRow::current_connections,
             {kGauge, "server_connections", "Server connections of the tenant.",
              "pgbouncer_databases_current_connections"}},
    Database{"max_client_connections",
             kI,
             &DatabaseRow::max_clients,
             {kGauge, "max_clients", "Clients that the tenant may have."}},
    Database{"current_client_connections",
             kI,
             &DatabaseRow::clients,
             {kGauge, "clients", "Clients of the tenant."}},
    Database{"paused",
             kI,
             &DatabaseRow::paused,
             {kGauge, "paused", "1 while the tenant is paused.", "pgbouncer_databases_paused"}},
    Database{"disabled", kI, &DatabaseRow::disabled},
};

using TenantFigure = Figure<DatabaseRow>;
constexpr std::array kTenants{
    TenantFigure{"tenant", kS, &DatabaseRow::name},
    TenantFigure{"tier", kS, &DatabaseRow::tier},
    TenantFigure{"backend", kS, &DatabaseRow::backend},
    TenantFigure{"database", kS, &DatabaseRow::database},
    TenantFigure{"pool_mode", kS, &pool_mode<DatabaseRow>},
    TenantFigure{"clients", kI, &DatabaseRow::clients},
    TenantFigure{"max_clients", kI, &DatabaseRow::max_clients},
    TenantFigure{"servers", kI, &DatabaseRow::current_connections},
    TenantFigure{"pool_size", kI, &DatabaseRow::pool_size},
    TenantFigure{"max_servers", kI, &DatabaseRow::max_connections},
    TenantFigure{"paused", kI, &DatabaseRow::paused},
};

using CeilingFigure = Figure<CeilingRow>;
constexpr std::array kCeilingRows{
    CeilingFigure{"tier", kS, &CeilingRow::tier},
    CeilingFigure{"parameter", kS, &CeilingRow::parameter},
    CeilingFigure{"kind", kS, &CeilingRow::kind},
    CeilingFigure{"value", kS, &CeilingRow::value},
    CeilingFigure{"source", kS, &CeilingRow::source},
    CeilingFigure{"firmness", kS, &CeilingRow::firmness},
    CeilingFigure{"lowered",
                  kN,
                  &CeilingRow::lowered,
                  {kCounter, "ceiling_lowered", "Values above a ceiling that gave way to it."}},
    CeilingFigure{"refused",
                  kN,
                  &CeilingRow::refused,
                  {kCounter, "ceiling_refused",
                   "Requests and logins refused for what they would do to a parameter that is held."}},
    CeilingFigure{"enforced",
                  kN,
                  &CeilingRow::enforced,
                  {kCounter, "ceiling_enforced",
                   "Values found above their ceiling behind a transaction, and set back."}},
};

using User = Figure<UserRow>;
constexpr std::array kUsers{
    User{"name", kS, &UserRow::name},
    User{"pool_size", kS, &nothing<UserRow>},  // limits are the tenants'
    User{"reserve_pool_size", kS, &nothing<UserRow>},
    User{"pool_mode", kS, &nothing<UserRow>},
    User{"max_user_connections", kI, &zero<UserRow>},
    User{"current_connections", kI, &UserRow::servers},
    User{"max_user_client_connections", kI, &zero<UserRow>},
    User{"current_client_connections", kI, &UserRow::clients},
};

using Mem = Figure<MemRow>;
constexpr std::array kMem{
    Mem{"name", kS, &MemRow::name},
    Mem{"size", kI, &MemRow::size},
    Mem{"used", kI, &MemRow::used},
    Mem{"free", kI, &zero<MemRow>},
    Mem{"memtotal", kI, [](const MemRow& row) -> Text { return int4(row.total()); }},
};

using Thread = Figure<WorkerRow>;
constexpr std::array kWorkers{
    Thread{"worker", kI, &WorkerRow::worker},
    Thread{
        "tenants", kI, &WorkerRow::tenants, {kGauge, "worker_tenants", "Tenants that the worker remembers."}},
    Thread{"groups",
           kI,
           &WorkerRow::groups,
           {kGauge, "worker_groups", "Groups of servers that are the same to Postgres."}},
    Thread{"clients", kI, &WorkerRow::clients, {kGauge, "worker_clients", "Clients that are logged in."}},
    Thread{"waiting",
           kI,
           &WorkerRow::waiting,
           {kGauge, "worker_clients_waiting", "Those of them that are queued for a server."}},
    Thread{
        "logins", kI, &WorkerRow::logins, {kGauge, "worker_logins", "Connections that are about to log in."}},
    Thread{"consoles", kI, &WorkerRow::consoles, {kGauge, "worker_consoles", "Connections to the console."}},
    Thread{"servers", kI, &WorkerRow::servers, {kGauge, "worker_servers", "Connections to Postgres."}},
    Thread{"texts_by_words",
           kN,
           &WorkerRow::texts_by_words,
           {kCounter, "worker_texts_by_words", "SQL texts whose words cannot change a session."}},
    Thread{"texts_remembered",
           kN,
           &WorkerRow::texts_remembered,
           {kCounter, "worker_texts_remembered", "SQL texts that had been parsed before."}},
    Thread{"texts_parsed",
           kN,
           &WorkerRow::texts_parsed,
           {kCounter, "worker_texts_parsed", "SQL texts that were parsed to see what they do to a session."}},
};

using Backend = Figure<BackendRow>;
constexpr std::array kBackends{
    Backend{"name", kS, &BackendRow::name},
    Backend{"host", kS, &BackendRow::host},
    Backend{"port", kI, &BackendRow::port},
    Backend{"current_connections",
            kI,
            &BackendRow::servers,
            {kGauge, "backend_server_connections", "Connections to this Postgres, over all tenants."}},
    Backend{"max_connections",
            kI,
            &BackendRow::most,
            {kGauge, "backend_max_server_connections", "Connections to it that are allowed."}},
    Backend{"starved",
            kI,
            &BackendRow::starved,
            {kGauge, "backend_starved", "1 while somebody waits for a connection to it because of that."}},
};

using Fuse = Figure<BreakerRow>;
constexpr std::array kBreakers{
    Fuse{"backend", kS, &BreakerRow::backend},
    Fuse{"database", kS, &BreakerRow::database},
    Fuse{"user", kS, &BreakerRow::user},
    Fuse{"state",
         kS,
         [](const BreakerRow& row) -> Text { return Breaker::name(row.state); },
         {kGauge, "breaker_state",
          "State of the backend's circuit breaker: 0 closed, 1 half-open (a probe is under way), 2 open."},
         [](const BreakerRow& row) { return static_cast<double>(row.state); }},
    Fuse{"mode", kS, [](const BreakerRow& row) -> Text { return row.ordered ? "ordered" : "auto"; }},
    Fuse{"failures", kI, &BreakerRow::failures},
    Fuse{"of", kI, &BreakerRow::volume},
    Fuse{"opened",
         kN,
         &BreakerRow::opened,
         {kCounter, "breaker_opened", "How often the backend's circuit breaker has opened."}},
    Fuse{"failed",
         kN,
         &BreakerRow::failed,
         {kCounter, "breaker_failures", "Logins that the backend has failed, and servers of it that died."}},
    Fuse{"rejected",
         kN,
         &BreakerRow::rejected,
         {kCounter, "breaker_rejected",
          "Requests refused because the backend's breaker, or one of its databases and users, was open."}},
    Fuse{"next_try_s", kN, &BreakerRow::next_try_s},
    Fuse{"last_error", kS, &BreakerRow::last_error},
};

using Config = Figure<conf::Shown>;
constexpr std::array kConfig{
    Config{"key", kS, &conf::Shown::key},
    Config{"value", kS, &conf::Shown::value},
    Config{"default", kS, &conf::Shown::fallback},
    Config{"changeable", kS, [](const conf::Shown& row) -> Text { return row.changeable ? "yes" : "no"; }},
};

template <auto member>
Text total_of(const StatsRow& row) {
  return std::to_string(row.total.*member);
}
template <auto member>
Text seconds_of(const StatsRow& row) {
  return fmt::format("{:.3f}", static_cast<double>(row.total.*member) * kMicro);
}
using Used = Figure<StatsRow>;
constexpr std::array kUsage{
    Used{"tenant", kS, &StatsRow::database},
    Used{"connections", kN, &total_of<&Traffic::connections>},
    Used{"server_connection_seconds", kN, &seconds_of<&Traffic::server_us>},
    Used{"busy_seconds", kN, &seconds_of<&Traffic::transaction_us>},
    Used{"wait_seconds", kN, &seconds_of<&Traffic::wait_us>},
    Used{"transactions", kN, &total_of<&Traffic::transactions>},
    Used{"queries", kN, &total_of<&Traffic::queries>},
    Used{"errors", kN, &total_of<&Traffic::errors>},
    Used{"bytes_in", kN, &total_of<&Traffic::received>},
    Used{"bytes_out", kN, &total_of<&Traffic::sent>},
    Used{"pins", kN, &total_of<&Traffic::pinned>},
    Used{"client_limit_hits", kN, &total_of<&Traffic::client_hits>},
    Used{"server_limit_hits", kN, &total_of<&Traffic::server_hits>},
    Used{"rate_limit_hits", kN, &total_of<&Traffic::rate_hits>},
    Used{"pin_limit_hits", kN, &total_of<&Traffic::pin_hits>},
    Used{"peak_clients", kI, &StatsRow::peak_clients},
    Used{"peak_servers", kI, &StatsRow::peak_servers},
};

using OneLimit = Figure<LimitView>;
constexpr std::array kLimitViews{
    OneLimit{"limit", kS, &LimitView::limit},
    OneLimit{"value", kS, &LimitView::value},
    OneLimit{"in_use", kS, &LimitView::in_use},
    OneLimit{"rule", kS, &LimitView::rule},
};

using List = Figure<NamedCount>;
constexpr std::array kLists{List{"list", kS, &NamedCount::name}, List{"items", kI, &NamedCount::count}};

using State = Figure<KeyValue>;
constexpr std::array kState{State{"key", kS, &KeyValue::key}, State{"value", kS, &KeyValue::value}};

// One quantity gives a total_ and an avg_ column of SHOW STATS, and its columns and rows under other names
// elsewhere. An average is per second, or of what `per` counts.
struct Quantity {
  const char* name;             // STATS: total_<name>; avg_<name> unless `average`
  const char* average;          // STATS: avg_<average>
  const char* totals_column;    // STATS_TOTALS
  const char* averages_column;  // STATS_AVERAGES
  const char* totals_row;       // TOTALS: total_<...> and avg_<...>
  std::uint64_t Traffic::*sum;
  std::uint64_t Traffic::*per;
  Metric metric;
};
constexpr std::array kQuantities{
    Quantity{"server_assignment_count",
             "server_assignment_count",
             "server_assignment_count",
             "server_assignment_count",
             "server_assignment_count",
             &Traffic::assignments,
             nullptr,
             {kCounter, "server_assignments", "Times that a client was given a server.",
              "pgbouncer_stats_server_assignments_total"}},
    Quantity{"xact_count",
             "xact_count",
             "xact_count",
             "xact_count",
             "xact_count",
             &Traffic::transactions,
             nullptr,
             {kCounter, "transactions", "Transactions that have ended.",
              "pgbouncer_stats_sql_transactions_pooled_total"}},
    Quantity{
        "query_count",
        "query_count",
        "query_count",
        "query_count",
        "query_count",
        &Traffic::queries,
        nullptr,
        {kCounter, "queries", "Requests that have been answered.", "pgbouncer_stats_queries_pooled_total"}},
    Quantity{"received",
             "recv",
             "bytes_received",
             "bytes_received",
             "client_bytes",
             &Traffic::received,
             nullptr,
             {kCounter, "received_bytes", "Bytes from clients.", "pgbouncer_stats_received_bytes_total"}},
    Quantity{"sent",
             "sent",
             "bytes_sent",
             "bytes_sent",
             "server_bytes",
             &Traffic::sent,
             nullptr,
             {kCounter, "sent_bytes", "Bytes to clients.", "pgbouncer_stats_sent_bytes_total"}},
    Quantity{"xact_time",
             "xact_time",
             "xact_time",
             "xact_time",
             "xact_time",
             &Traffic::transaction_us,
             &Traffic::transactions,
             {kCounter, "in_transaction_seconds", "Time that clients have held servers.",
              "pgbouncer_stats_server_in_transaction_seconds_total", kMicro}},
    Quantity{"query_time",
             "query_time",
             "query_time",
             "query_time",
             "query_time",
             &Traffic::query_us,
             &Traffic::queries,
             {kCounter, "queries_duration_seconds", "Time that requests have run.",
              "pgbouncer_stats_queries_duration_seconds_total", kMicro}},
    Quantity{"wait_time",
             "wait_time",
             "wait_time",
             "wait_time",
             "wait_time",
             &Traffic::wait_us,
             nullptr,
             {kCounter, "client_wait_seconds", "Time that clients have waited for a server.",
              "pgbouncer_stats_client_wait_seconds_total", kMicro}},
    Quantity{"client_parse_count",
             "client_parse_count",
             "client_parse_count",
             "avg_client_parse_count",
             "ps_client_parse_count",
             &Traffic::client_parses,
             nullptr,
             {kCounter, "client_parses", "Named statements that clients have prepared."}},
    Quantity{"server_parse_count",
             "server_parse_count",
             "server_parse_count",
             "avg_server_parse_count",
             "ps_server_parse_count",
             &Traffic::server_parses,
             nullptr,
             {kCounter, "server_parses", "Named statements that were prepared on servers for them."}},
    Quantity{"bind_count",
             "bind_count",
             "bind_count",
             "avg_bind_count",
             "ps_bind_count",
             &Traffic::binds,
             nullptr,
             {kCounter, "binds", "Times that a named statement was bound."}},
};
// No SHOW has a column for them.
constexpr Metric kErrors{kCounter, "errors", "Requests that the pooler itself has refused or ended."};

std::uint64_t total(const StatsRow& row, const Quantity& quantity) { return row.total.*quantity.sum; }

std::uint64_t average(const StatsRow& row, const Quantity& quantity) {
  const auto passed = [&](std::uint64_t Traffic::*what) {
    return row.period.to.*what - row.period.from.*what;
  };
  const auto sum = passed(quantity.sum);
  if (quantity.per) return passed(quantity.per) == 0 ? 0 : sum / passed(quantity.per);
  const auto length_us = static_cast<double>(row.period.length.count());
  return length_us <= 0 ? 0 : static_cast<std::uint64_t>(static_cast<double>(sum) * 1e6 / length_us);
}

enum class Part : std::uint8_t { Total, Average };
std::string figure(const StatsRow& row, const Quantity& quantity, Part part) {
  return std::to_string(part == Part::Total ? total(row, quantity) : average(row, quantity));
}

// `column` names the column of a quantity's part.
template <class ColumnName>
void put_traffic(std::string& out, std::span<const StatsRow> rows, std::initializer_list<Part> parts,
                 ColumnName column) {
  std::vector<protocol::Column> columns{{"database", kS}};
  for (const Part part : parts)
    for (const Quantity& quantity : kQuantities) columns.push_back({column(quantity, part), kN});
  protocol::put_row_description(out, columns);
  for (const StatsRow& row : rows) {
    std::vector<Text> values{row.database};
    for (const Part part : parts)
      for (const Quantity& quantity : kQuantities) values.push_back(figure(row, quantity, part));
    protocol::put_data_row(out, values);
  }
}

}  // namespace

void put_pools(std::string& out, std::span<const PoolRow> rows) { put_table(out, kPools, rows); }

void put_connections(std::string& out, std::span<const ConnectionRow> rows, std::int64_t now_s) {
  std::vector<Shown> shown;
  shown.reserve(rows.size());
  for (const ConnectionRow& row : rows) shown.push_back({row, now_s});
  put_table(out, kConnections, std::span<const Shown>(shown));
}

void PoolRow::add(const PoolRow& other) {
  for (const auto figure :
       {&PoolRow::clients, &PoolRow::cl_waiting, &PoolRow::sv_active, &PoolRow::sv_being_canceled,
        &PoolRow::sv_idle, &PoolRow::sv_tested, &PoolRow::sv_login})
    this->*figure += other.*figure;
  maxwait = std::max(maxwait, other.maxwait);
}

std::vector<Sampled> samples(const PoolRow& row) { return sample_table(kPools, row); }
std::vector<Sampled> samples(const DatabaseRow& row) { return sample_table(kDatabases, row); }
std::vector<Sampled> samples(const WorkerRow& row) { return sample_table(kWorkers, row); }
std::vector<Sampled> samples(const BackendRow& row) { return sample_table(kBackends, row); }
std::vector<Sampled> samples(const BreakerRow& row) { return sample_table(kBreakers, row); }
std::vector<Sampled> samples(const CeilingRow& row) { return sample_table(kCeilingRows, row); }
std::vector<Sampled> samples(const Traffic& total) {
  std::vector<Sampled> all;
  for (const Quantity& quantity : kQuantities)
    all.push_back({&quantity.metric, static_cast<double>(total.*quantity.sum) * quantity.metric.unit});
  all.push_back({&kErrors, static_cast<double>(total.errors)});
  return all;
}

std::vector<Cell> cells(const PoolRow& row) { return table_cells(kPools, row); }
std::vector<Cell> cells(const WorkerRow& row) { return table_cells(kWorkers, row); }
std::vector<Cell> cells(const BackendRow& row) { return table_cells(kBackends, row); }
std::vector<Cell> tenant_cells(const DatabaseRow& row) { return table_cells(kTenants, row); }
std::vector<Cell> cells(const StatsRow& row) {
  std::vector<Cell> all;
  for (const Part part : {Part::Total, Part::Average})
    for (const Quantity& quantity : kQuantities)
      all.push_back({part == Part::Total ? fmt::format("total_{}", quantity.name)
                                         : fmt::format("avg_{}", quantity.average),
                     figure(row, quantity, part), Cell::Kind::Number});
  return all;
}
std::vector<Cell> cells(const TierRow& row) {
  std::vector<Cell> all{{"tier", row.tier.name}};
  for (const tiers::TierField& field : tiers::tier_fields())
    all.push_back({std::string(field.key), tier_text(row.tier, field)});
  const std::pair<const char*, std::uint64_t> counts[] = {
      {"tenants", row.tenants}, {"clients", row.clients}, {"servers", row.servers}};
  for (const auto& [name, count] : counts) all.push_back({name, int4(count), Cell::Kind::Number});
  return all;
}

void put_pinned_clients(std::string& out, std::span<const ConnectionRow> rows) {
  std::vector<Shown> shown;
  for (const ConnectionRow& row : rows)
    if (!row.pins.empty()) shown.push_back({row, 0});
  put_table(out, kPinnedClients, std::span<const Shown>(shown));
}

void put_sockets(std::string& out, std::span<const ConnectionRow> rows, std::int64_t now_s) {
  std::vector<protocol::Column> columns;
  for (const auto& figure : kConnections) columns.push_back({figure.column, figure.type_oid});
  for (const char* name : kSocketColumns) columns.push_back({name, kI});
  protocol::put_row_description(out, columns);
  for (const ConnectionRow& row : rows) {
    const Shown shown{row, now_s};
    std::vector<Text> values;
    for (const auto& figure : kConnections) values.push_back(value(shown, figure));
    for (const char* name : kSocketColumns)
      values.emplace_back(name == kUnsentColumn ? int4(row.unsent) : "0");
    protocol::put_data_row(out, values);
  }
}

void put_tenants(std::string& out, std::span<const DatabaseRow> rows) { put_table(out, kTenants, rows); }
void put_ceilings(std::string& out, std::span<const CeilingRow> rows) { put_table(out, kCeilingRows, rows); }
void put_users(std::string& out, std::span<const UserRow> rows) { put_table(out, kUsers, rows); }
void put_mem(std::string& out, std::span<const MemRow> rows) { put_table(out, kMem, rows); }

void put_tiers(std::string& out, std::span<const TierRow> rows) {
  std::vector<protocol::Column> columns;
  for (const Cell& cell : cells(TierRow{}))
    columns.push_back({cell.column, cell.kind == Cell::Kind::Number ? kI : kS});
  protocol::put_row_description(out, columns);
  for (const TierRow& row : rows) {
    std::vector<Text> values;
    for (Cell& cell : cells(row)) values.push_back(std::move(cell.value));
    protocol::put_data_row(out, values);
  }
}

void put_peers(std::string& out) {
  protocol::put_row_description(out, {{"peer_id", kI}, {"host", kS}, {"port", kI}, {"pool_size", kI}});
}
void put_peer_pools(std::string& out) {
  protocol::put_row_description(out, {{"peer_id", kI},
                                      {"cl_active_cancel_req", kI},
                                      {"cl_waiting_cancel_req", kI},
                                      {"sv_active_cancel", kI},
                                      {"sv_login", kI}});
}
void put_dns_hosts(std::string& out) {
  protocol::put_row_description(out, {{"hostname", kS}, {"ttl", protocol::kInt8Oid}, {"addrs", kS}});
}
void put_dns_zones(std::string& out) {
  protocol::put_row_description(out, {{"zonename", kS}, {"serial", protocol::kInt8Oid}, {"count", kI}});
}

void put_pins(std::string& out, std::span<const PinRow> rows) { put_table(out, kPins, rows); }
void put_databases(std::string& out, std::span<const DatabaseRow> rows) { put_table(out, kDatabases, rows); }
void put_config(std::string& out, std::span<const conf::Shown> rows) { put_table(out, kConfig, rows); }
void put_lists(std::string& out, std::span<const NamedCount> rows) { put_table(out, kLists, rows); }
void put_state(std::string& out, std::span<const KeyValue> rows) { put_table(out, kState, rows); }

void put_stats(std::string& out, std::span<const StatsRow> rows) {
  put_traffic(out, rows, {Part::Total, Part::Average}, [](const Quantity& quantity, Part part) {
    return part == Part::Total ? fmt::format("total_{}", quantity.name)
                               : fmt::format("avg_{}", quantity.average);
  });
}
void put_stats_totals(std::string& out, std::span<const StatsRow> rows) {
  put_traffic(out, rows, {Part::Total},
              [](const Quantity& quantity, Part) { return quantity.totals_column; });
}
void put_stats_averages(std::string& out, std::span<const StatsRow> rows) {
  put_traffic(out, rows, {Part::Average},
              [](const Quantity& quantity, Part) { return quantity.averages_column; });
}

tiers::Fields usage_fields(const StatsRow& row) {
  tiers::Fields fields;
  for (const auto& figure : std::span(kUsage).subspan(1))
    fields.emplace_back(figure.column, *value(row, figure));
  return fields;
}

void put_usage(std::string& out, std::span<const StatsRow> rows) { put_table(out, kUsage, rows); }
void put_limits(std::string& out, std::span<const LimitView> rows) { put_table(out, kLimitViews, rows); }
void put_workers(std::string& out, std::span<const WorkerRow> rows) { put_table(out, kWorkers, rows); }
void put_backends(std::string& out, std::span<const BackendRow> rows) { put_table(out, kBackends, rows); }
void put_breakers(std::string& out, std::span<const BreakerRow> rows) { put_table(out, kBreakers, rows); }

void put_totals(std::string& out, std::span<const StatsRow> rows) {
  protocol::put_row_description(out, {{"name", kS}, {"value", kN}});
  for (const Part part : {Part::Total, Part::Average})
    for (const Quantity& quantity : kQuantities) {
      // Averages of a duration are over all that passed, not the sum of averages.
      std::uint64_t sum = 0, per = 0;
      for (const StatsRow& row : rows) {
        if (part == Part::Total || !quantity.per) {
          sum += part == Part::Total ? total(row, quantity) : average(row, quantity);
        } else {
          sum += row.period.to.*quantity.sum - row.period.from.*quantity.sum;
          per += row.period.to.*quantity.per - row.period.from.*quantity.per;
        }
      }
      if (part == Part::Average && quantity.per) sum = per == 0 ? 0 : sum / per;
      const char* prefix = part == Part::Total ? "total" : "avg";
      protocol::put_data_row(out, {fmt::format("{}_{}", prefix, quantity.totals_row), std::to_string(sum)});
    }
}

void put_value(std::string& out, const char* column, std::uint32_t type_oid, const std::string& value) {
  protocol::put_row_description(out, {{column, type_oid}});
  protocol::put_data_row(out, {value});
}

}  // namespace pgweir::console
