// pooler/console_connections.cc - SHOW of connections and of what they make up: clients, servers, sockets,
// pools, pins, users.
#include <charconv>
#include <chrono>
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
         {kGauge, "clients_waiting", "Clients that wait for a server, or for their tenant's rate.",
          "pgbouncer_pools_client_waiting_connections"}},
    Pool{"cl_active_cancel_req",
         kI,
         &zero<PoolRow>,
         {kGauge, "", "Always 0: a cancel is not a client of a pool.",
          "pgbouncer_pools_client_active_cancel_connections"},
         &none<PoolRow>},
    Pool{"cl_waiting_cancel_req",
         kI,
         &zero<PoolRow>,
         {kGauge, "", "Always 0: a cancel is not a client of a pool.",
          "pgbouncer_pools_client_waiting_cancel_connections"},
         &none<PoolRow>},
    Pool{"sv_active",
         kI,
         &PoolRow::sv_active,
         {kGauge, "servers_active", "Server connections that a client holds, or that listen for several.",
          "pgbouncer_pools_server_active_connections"}},
    Pool{nullptr,
         0,
         &PoolRow::sv_listening,
         {kGauge, "servers_listening",
          "Those of them that listen (LISTEN) for all clients of a database and user."}},
    Pool{"sv_active_cancel",
         kI,
         &zero<PoolRow>,
         {kGauge, "", "Always 0: a connection that carries a cancel to Postgres is not one of a pool.",
          "pgbouncer_pools_server_active_cancel_connections"},
         &none<PoolRow>},
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
         &none<PoolRow>},
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
struct Shown {
  const ConnectionRow& row;
  std::int64_t now_s = 0;
};

void put_digits(std::string& out, unsigned value, unsigned tens) {
  for (; tens > 0; tens /= 10) out += static_cast<char>('0' + value / tens % 10);
}

template <auto ago>
void time_of_day(std::string& out, const Shown& shown) {
  using namespace std::chrono;
  const sys_seconds at{seconds(shown.now_s - (shown.row.*ago).count() / kSecondUs)};
  const sys_days day = floor<days>(at);
  const year_month_day date(day);
  const hh_mm_ss time(at - day);
  put_digits(out, static_cast<unsigned>(static_cast<int>(date.year())), 1000);
  put_digits(out += '-', static_cast<unsigned>(date.month()), 10);
  put_digits(out += '-', static_cast<unsigned>(date.day()), 10);
  put_digits(out += ' ', static_cast<unsigned>(time.hours().count()), 10);
  put_digits(out += ':', static_cast<unsigned>(time.minutes().count()), 10);
  put_digits(out += ':', static_cast<unsigned>(time.seconds().count()), 10);
  out += " UTC";
}

template <auto member>
void of(std::string& out, const Shown& shown) {
  const auto& what = shown.row.*member;
  if constexpr (std::is_integral_v<std::remove_cvref_t<decltype(what)>>)
    put_int4(out, what);
  else
    out += what;
}

// Ids that stay the same as long as the connection; addresses in memory are nobody's business.
void put_name(std::string& out, char kind, std::uint64_t id) {
  char digits[16];
  out += kind;
  out.append(digits, std::to_chars(digits, std::end(digits), id, 16).ptr);
}
bool is_client(const ConnectionRow& row) { return *row.type == 'C'; }
void put_ptr(std::string& out, const Shown& shown) {
  put_name(out, is_client(shown.row) ? 'c' : 's', shown.row.id);
}
void put_link(std::string& out, const Shown& shown) {
  if (shown.row.link) put_name(out, is_client(shown.row) ? 's' : 'c', *shown.row.link);
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
    Connection{"connect_time", kS, &time_of_day<&ConnectionRow::connected>},
    Connection{"request_time", kS, &time_of_day<&ConnectionRow::requested>},
    Connection{"wait", kI,
               [](std::string& out, const Shown& shown) {
                 put_int4(out, static_cast<std::uint64_t>(shown.row.wait.count() / kSecondUs));
               }},
    Connection{"wait_us", kI,
               [](std::string& out, const Shown& shown) {
                 put_int4(out, static_cast<std::uint64_t>(shown.row.wait.count() % kSecondUs));
               }},
    Connection{"close_needed", kI, &of<&ConnectionRow::close_needed>},
    Connection{"ptr", kS, &put_ptr},
    Connection{"link", kS, &put_link},
    Connection{"remote_pid", kI, &of<&ConnectionRow::remote_pid>},
    Connection{"tls", kS, &of<&ConnectionRow::tls>},
    Connection{"application_name", kS, &of<&ConnectionRow::application_name>},
    Connection{"prepared_statements", kI, &of<&ConnectionRow::prepared_statements>},
    Connection{"id", kI, &of<&ConnectionRow::id>},
};

// Behind the columns of a connection. Nothing that has arrived is kept: it is passed on as it comes.
constexpr std::array kBuffers{
    Connection{"recv_pos", kI, &zero<Shown>},
    Connection{"pkt_pos", kI, &zero<Shown>},
    Connection{"pkt_remain", kI, &zero<Shown>},
    Connection{"send_pos", kI, &zero<Shown>},
    Connection{"send_remain", kI, &of<&ConnectionRow::unsent>},
    Connection{"pkt_avail", kI, &zero<Shown>},
    Connection{"send_avail", kI, &zero<Shown>},
};
constexpr auto kSockets = [] {
  std::array<Connection, kConnections.size() + kBuffers.size()> all{};
  std::copy(kBuffers.begin(), kBuffers.end(),
            std::copy(kConnections.begin(), kConnections.end(), all.begin()));
  return all;
}();

constexpr std::array kPinnedClients{
    Connection{"database", kS, &of<&ConnectionRow::database>},
    Connection{"user", kS, &of<&ConnectionRow::user>},
    Connection{"pins", kS, [](std::string& out, const Shown& shown) { out += pin::names(shown.row.pins); }},
    Connection{"addr", kS, &of<&ConnectionRow::addr>},
    Connection{"port", kI, &of<&ConnectionRow::port>},
    Connection{"application_name", kS, &of<&ConnectionRow::application_name>},
    Connection{"ptr", kS, &put_ptr},
    Connection{"link", kS, &put_link},
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
template <std::size_t reason>
double number_pinned_by(const PinRow& row) {
  return row.reasons[reason];
}
template <auto member>
Text total_of(const PinRow& row) {
  return std::to_string(row.totals.*member);
}
template <auto member>
double number_of(const PinRow& row) {
  return static_cast<double>(row.totals.*member);
}
using Pin = Figure<PinRow>;
// A column for every reason.
template <std::size_t... reason>
constexpr auto pin_figures(std::index_sequence<reason...>) {
  return std::array{
      Pin{"database", kS, &PinRow::database},
      Pin{"tier", kS, &PinRow::tier},
      Pin{"pinned_clients",
          kI,
          &PinRow::clients,
          {kGauge, "clients_pinned", "Clients that keep a server between transactions."}},
      Pin{"max_pinned_clients", kI, &PinRow::most},
      Pin{pin::kNames[reason].data(),
          kI,
          &pinned_by<reason>,
          {kGauge, "clients_pinned_by_reason",
           "Those clients by what keeps them; one may have several reasons.", "", 1, "reason",
           pin::kNames[reason].data()},
          &number_pinned_by<reason>}...,
      Pin{"pinned_total",
          kN,
          &total_of<&PinBook::Totals::pinned>,
          {kCounter, "pins", "Times that a client came to keep a server between transactions."},
          &number_of<&PinBook::Totals::pinned>},
      Pin{"unpinned_total",
          kN,
          &total_of<&PinBook::Totals::unpinned>,
          {kCounter, "unpins", "Times that a client gave back a server that it had kept."},
          &number_of<&PinBook::Totals::unpinned>},
      Pin{"refused_total", kN, &total_of<&PinBook::Totals::refused>},  // a limit hit
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
  protocol::put_row_description(out, head_of(kConnections));
  for (const ConnectionRow& row : rows) put_row(out, kConnections, {row, now_s});
}

void PoolRow::add(const PoolRow& other) {
  for (const auto figure :
       {&PoolRow::clients, &PoolRow::cl_waiting, &PoolRow::sv_active, &PoolRow::sv_being_canceled,
        &PoolRow::sv_idle, &PoolRow::sv_tested, &PoolRow::sv_login, &PoolRow::sv_listening})
    this->*figure += other.*figure;
  maxwait = std::max(maxwait, other.maxwait);
}

void PinRow::add(const PinRow& other) {
  clients += other.clients;
  for (std::size_t i = 0; i < reasons.size(); ++i) reasons[i] += other.reasons[i];
}

std::vector<Sampled> samples(const PoolRow& row) { return sample_table(kPools, row); }
std::vector<Sampled> samples(const PinRow& row) { return sample_table(kPins, row); }
std::vector<Cell> cells(const PoolRow& row) { return table_cells(kPools, row); }

void put_pinned_clients(std::string& out, std::span<const ConnectionRow> rows) {
  protocol::put_row_description(out, head_of(kPinnedClients));
  for (const ConnectionRow& row : rows) put_row(out, kPinnedClients, {row});
}

void put_sockets(std::string& out, std::span<const ConnectionRow> rows, std::int64_t now_s) {
  protocol::put_row_description(out, head_of(kSockets));
  for (const ConnectionRow& row : rows) put_row(out, kSockets, {row, now_s});
}

void put_pins(std::string& out, std::span<const PinRow> rows) { put_table(out, kPins, rows); }
void put_statements(std::string& out, std::span<const StatementRow> rows) {
  put_table(out, kStatements, rows);
}
void put_users(std::string& out, std::span<const UserRow> rows) { put_table(out, kUsers, rows); }

}  // namespace pgweir::console
