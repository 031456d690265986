// pooler/console_connections.cc - SHOW of connections and of what they make up: clients, servers, sockets,
// pools, pins, users.
#include <fmt/chrono.h>
#include <fmt/format.h>
#include <ctime>
#include <utility>

#include "pooler/console_table.h"

namespace pgweir::console {

namespace {

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
    Connection{"replication", kS, &of<&ConnectionRow::replication>},
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

using Prepared = Figure<StatementRow>;
constexpr std::array kStatements{
    Prepared{"name", kS, &StatementRow::name},
    Prepared{"backend", kS, &StatementRow::backend},
    Prepared{"database", kS, &StatementRow::database},
    Prepared{"user", kS, &StatementRow::user},
    Prepared{"statement", kS, &StatementRow::statement},
    Prepared{"fingerprint", kS, &StatementRow::fingerprint},
    Prepared{"bytes", kI, &StatementRow::bytes},
    Prepared{"clients", kI, &StatementRow::names},
    Prepared{"servers", kI, &StatementRow::servers},
    Prepared{"parses", kN, [](const StatementRow& row) -> Text { return std::to_string(row.parses); }},
    Prepared{"binds", kN, [](const StatementRow& row) -> Text { return std::to_string(row.binds); }},
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
std::vector<Cell> cells(const PoolRow& row) { return table_cells(kPools, row); }

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

void put_pins(std::string& out, std::span<const PinRow> rows) { put_table(out, kPins, rows); }
void put_statements(std::string& out, std::span<const StatementRow> rows) {
  put_table(out, kStatements, rows);
}
void put_users(std::string& out, std::span<const UserRow> rows) { put_table(out, kUsers, rows); }

}  // namespace pgweir::console
