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

#include "protocol/messages.h"

namespace pgweir::console {

namespace {

constexpr std::uint32_t kS = protocol::kTextOid;
constexpr std::uint32_t kI = protocol::kInt4Oid;
constexpr std::uint32_t kN = protocol::kNumericOid;

template <class Row>
using Getter = std::variant<std::string Row::*, Text Row::*, std::uint32_t Row::*, std::uint64_t Row::*,
                            bool Row::*, const char * Row::*, Text (*)(const Row&)>;

template <class Row>
struct Figure {
  const char* column;
  std::uint32_t type_oid;
  Getter<Row> get;
};

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

template <class Row, std::size_t N>
void put_table(std::string& out, const std::array<Figure<Row>, N>& figures, std::span<const Row> rows) {
  std::vector<protocol::Column> columns;
  for (const auto& figure : figures) columns.push_back({figure.column, figure.type_oid});
  protocol::put_row_description(out, columns);
  std::vector<Text> values;
  for (const Row& row : rows) {
    values.clear();
    for (const auto& figure : figures) values.push_back(value(row, figure));
    protocol::put_data_row(out, values);
  }
}

using Pool = Figure<PoolRow>;
constexpr std::array kPools{
    Pool{"database", kS, &PoolRow::database},
    Pool{"user", kS, &PoolRow::user},
    Pool{"cl_active", kI, &PoolRow::cl_active},
    Pool{"cl_waiting", kI, &PoolRow::cl_waiting},
    Pool{"cl_active_cancel_req", kI, &zero<PoolRow>},  // a cancel is not a client of a pool here
    Pool{"cl_waiting_cancel_req", kI, &zero<PoolRow>},
    Pool{"sv_active", kI, &PoolRow::sv_active},
    Pool{"sv_active_cancel", kI, &zero<PoolRow>},
    Pool{"sv_being_canceled", kI, &PoolRow::sv_being_canceled},
    Pool{"sv_idle", kI, &PoolRow::sv_idle},
    Pool{"sv_used", kI, &zero<PoolRow>},  // idle ones are not tested again before use
    Pool{"sv_tested", kI, &PoolRow::sv_tested},
    Pool{"sv_login", kI, &PoolRow::sv_login},
    Pool{"maxwait", kI, [](const PoolRow& row) -> Text { return whole_seconds(row.maxwait); }},
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
    Database{"pool_size", kI, &DatabaseRow::pool_size},
    Database{"min_pool_size", kI, &DatabaseRow::min_pool_size},
    Database{"reserve_pool_size", kI, &zero<DatabaseRow>},
    Database{"server_lifetime", kI, &DatabaseRow::server_lifetime_s},
    Database{"pool_mode", kS, &pool_mode<DatabaseRow>},
    Database{"load_balance_hosts", kS, &nothing<DatabaseRow>},
    Database{"max_connections", kI, &DatabaseRow::max_connections},
    Database{"current_connections", kI, &DatabaseRow::current_connections},
    Database{"max_client_connections", kI, &DatabaseRow::max_clients},
    Database{"current_client_connections", kI, &DatabaseRow::clients},
    Database{"paused", kI, &DatabaseRow::paused},
    Database{"disabled", kI, &zero<DatabaseRow>},
};

using Config = Figure<conf::Shown>;
constexpr std::array kConfig{
    Config{"key", kS, &conf::Shown::key},
    Config{"value", kS, &conf::Shown::value},
    Config{"default", kS, &conf::Shown::fallback},
    Config{"changeable", kS, [](const conf::Shown& row) -> Text { return row.changeable ? "yes" : "no"; }},
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
  std::uint64_t Traffic::*per = nullptr;
};
constexpr std::array kQuantities{
    Quantity{"server_assignment_count", "server_assignment_count", "server_assignment_count",
             "server_assignment_count", "server_assignment_count", &Traffic::assignments},
    Quantity{"xact_count", "xact_count", "xact_count", "xact_count", "xact_count", &Traffic::transactions},
    Quantity{"query_count", "query_count", "query_count", "query_count", "query_count", &Traffic::queries},
    Quantity{"received", "recv", "bytes_received", "bytes_received", "client_bytes", &Traffic::received},
    Quantity{"sent", "sent", "bytes_sent", "bytes_sent", "server_bytes", &Traffic::sent},
    Quantity{"xact_time", "xact_time", "xact_time", "xact_time", "xact_time", &Traffic::transaction_us,
             &Traffic::transactions},
    Quantity{"query_time", "query_time", "query_time", "query_time", "query_time", &Traffic::query_us,
             &Traffic::queries},
    Quantity{"wait_time", "wait_time", "wait_time", "wait_time", "wait_time", &Traffic::wait_us},
    Quantity{"client_parse_count", "client_parse_count", "client_parse_count", "avg_client_parse_count",
             "ps_client_parse_count", &Traffic::client_parses},
    Quantity{"server_parse_count", "server_parse_count", "server_parse_count", "avg_server_parse_count",
             "ps_server_parse_count", &Traffic::server_parses},
    Quantity{"bind_count", "bind_count", "bind_count", "avg_bind_count", "ps_bind_count", &Traffic::binds},
};

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

void put_pinned_clients(std::string& out, std::span<const ConnectionRow> rows) {
  std::vector<Shown> shown;
  for (const ConnectionRow& row : rows)
    if (!row.pins.empty()) shown.push_back({row, 0});
  put_table(out, kPinnedClients, std::span<const Shown>(shown));
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
