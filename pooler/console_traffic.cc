// pooler/console_traffic.cc - SHOW of traffic: STATS and its relatives, USAGE.
#include <fmt/format.h>
#include <initializer_list>

#include "pooler/console_table.h"

namespace pgweir::console {

namespace {

template <auto member>
Text total_of(const StatsRow& row) {
  return std::to_string(row.total.*member);
}
template <auto member>
Text seconds_of(const StatsRow& row) {
  return fmt::format("{:.3f}", static_cast<double>(row.total.*member) * kMicro);
}
template <auto member>
double number_of(const StatsRow& row) {
  return static_cast<double>(row.total.*member);
}
constexpr Metric limit_hits(tiers::Limit limit) {
  return {kCounter,
          "limit_hits",
          "Times that a client has run into a limit.",
          "",
          1,
          "limit",
          tiers::row_of(limit).key.data()};
}
using tiers::Limit;
// Of the rows of usage that a day has, one for each run of a pgweir, a bill takes the sum or the most.
enum class Over : std::uint8_t { Rows, Sum, Most };
struct Used {
  Figure<StatsRow> figure;
  Over over;
  const char* unit;
  const char* meaning;
};
constexpr std::array kUsed{
    Used{{"tenant", kS, &StatsRow::database}, Over::Rows, "", "whose"},
    Used{{"connections", kN, &total_of<&Traffic::connections>},
         Over::Sum,
         "",
         "logins of clients that were let in"},
    Used{
        {"server_connection_seconds",
         kN,
         &seconds_of<&Traffic::server_us>,
         {kCounter, "server_connection_seconds",
          "Time that connections to Postgres were open, each as long as it was, from its login on, but for "
          "those that pgweir has for itself.",
          "", kMicro},
         &number_of<&Traffic::server_us>},
        Over::Sum,
        "s",
        "time that connections to Postgres were open, each as long as it was, idle or not; one that tenants "
        "share is that of the tenant who used it last. Nobody's are the time that a login takes, connections "
        "that tenants share and nobody has used yet, and those that pgweir has for itself, as to listen"},
    Used{{"busy_seconds", kN, &seconds_of<&Traffic::transaction_us>},
         Over::Sum,
         "s",
         "time that clients held connections to Postgres, counted when a transaction ends"},
    Used{{"wait_seconds", kN, &seconds_of<&Traffic::wait_us>},
         Over::Sum,
         "s",
         "time that clients waited for a connection to Postgres, or for their rate, counted when the wait "
         "ends"},
    Used{{"transactions", kN, &total_of<&Traffic::transactions>},
         Over::Sum,
         "",
         "transactions that have ended"},
    Used{{"queries", kN, &total_of<&Traffic::queries>},
         Over::Sum,
         "",
         "requests that have been answered: a simple query, or all up to a Sync"},
    Used{{"errors", kN, &total_of<&Traffic::errors>},
         Over::Sum,
         "",
         "requests that pgweir itself has refused or ended"},
    Used{{"bytes_in", kN, &total_of<&Traffic::received>}, Over::Sum, "bytes", "from clients"},
    Used{{"bytes_out", kN, &total_of<&Traffic::sent>}, Over::Sum, "bytes", "to clients"},
    Used{{"pins", kN, &total_of<&Traffic::pinned>},
         Over::Sum,
         "",
         "times that a client came to keep its connection to Postgres between transactions"},
    Used{{"client_limit_hits", kN, &total_of<&Traffic::client_hits>, limit_hits(Limit::Clients),
          &number_of<&Traffic::client_hits>},
         Over::Sum,
         "",
         "logins that waited or were refused at `max_clients`"},
    Used{{"server_limit_hits", kN, &total_of<&Traffic::server_hits>, limit_hits(Limit::Servers),
          &number_of<&Traffic::server_hits>},
         Over::Sum,
         "",
         "times that a client waited or was refused because all of `max_server_connections` were in use"},
    Used{{"rate_limit_hits", kN, &total_of<&Traffic::rate_hits>, limit_hits(Limit::Rate),
          &number_of<&Traffic::rate_hits>},
         Over::Sum,
         "",
         "transactions that waited or were refused at `transactions_per_minute`"},
    Used{{"pin_limit_hits", kN, &total_of<&Traffic::pin_hits>, limit_hits(Limit::Pins),
          &number_of<&Traffic::pin_hits>},
         Over::Sum,
         "",
         "requests that were refused at `max_pinned_clients`"},
    Used{{"peak_clients", kI, &StatsRow::peak_clients}, Over::Most, "", "clients at once"},
    Used{{"peak_servers", kI, &StatsRow::peak_servers},
         Over::Most,
         "",
         "connections to Postgres that its clients held at once"},
    Used{{"waiting_limit_hits", kN, &total_of<&Traffic::waiting_hits>, limit_hits(Limit::Waiting),
          &number_of<&Traffic::waiting_hits>},
         Over::Sum,
         "",
         "requests that were refused at `max_waiting_clients`"},
    Used{{"statement_limit_hits", kN, &total_of<&Traffic::statement_hits>, limit_hits(Limit::Statements),
          &number_of<&Traffic::statement_hits>},
         Over::Sum,
         "",
         "statements that were refused at `max_client_statements`"},
    Used{{"statement_byte_limit_hits", kN, &total_of<&Traffic::statement_byte_hits>,
          limit_hits(Limit::StatementBytes), &number_of<&Traffic::statement_byte_hits>},
         Over::Sum,
         "",
         "statements that were refused at `max_client_statement_bytes`"},
};
constexpr auto kUsage = [] {
  std::array<Figure<StatsRow>, kUsed.size()> figures{};
  for (std::size_t i = 0; i < figures.size(); ++i) figures[i] = kUsed[i].figure;
  return figures;
}();

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
             {kCounter, "client_parses", "Named statements that clients have prepared.",
              "pgbouncer_stats_client_parses_total"}},
    Quantity{"server_parse_count",
             "server_parse_count",
             "server_parse_count",
             "avg_server_parse_count",
             "ps_server_parse_count",
             &Traffic::server_parses,
             nullptr,
             {kCounter, "server_parses", "Named statements that were prepared on servers for them.",
              "pgbouncer_stats_server_parses_total"}},
    Quantity{"bind_count",
             "bind_count",
             "bind_count",
             "avg_bind_count",
             "ps_bind_count",
             &Traffic::binds,
             nullptr,
             {kCounter, "binds", "Times that a named statement was bound.", "pgbouncer_stats_binds_total"}},
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
  return static_cast<std::uint64_t>(static_cast<double>(sum) * 1e6 / length_us);
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

std::vector<Sampled> samples(const Traffic& total) {
  std::vector<Sampled> all;
  for (const Quantity& quantity : kQuantities)
    all.push_back({&quantity.metric, static_cast<double>(total.*quantity.sum) * quantity.metric.unit});
  all.push_back({&kErrors, static_cast<double>(total.errors)});
  const StatsRow row{{}, total};
  const auto used = sample_table(kUsage, row);
  all.insert(all.end(), used.begin(), used.end());
  return all;
}

std::vector<Cell> cells(const StatsRow& row) {
  std::vector<Cell> all;
  for (const Part part : {Part::Total, Part::Average})
    for (const Quantity& quantity : kQuantities)
      all.push_back({part == Part::Total ? fmt::format("total_{}", quantity.name)
                                         : fmt::format("avg_{}", quantity.average),
                     figure(row, quantity, part), Cell::Kind::Number});
  return all;
}

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

std::string usage_reference() {
  std::string out =
      "# Usage\n\n"
      "Made from the table in `pooler/console_traffic.cc`; edit that, not this page.\n\n"
      "With a tenant store of kind `redis` or `postgres`, what tenants use is written to it every minute, "
      "and "
      "when pgweir ends: one row for each tenant, day and run of a pgweir. In Redis that is a hash "
      "`pgweir:usage:<day>:<run>:<tenant>`, which goes `tenant_store.usage_kept` after it was written last; "
      "in Postgres a row of `pgweir.usage` with the figures in `figures`, which stays until you delete it. "
      "`<day>` is like `2026-01-31`, `<run>` the second since 1970 in which that pgweir began and a random "
      "number, with `~2` and so on behind them once its clock has been set back over midnight. A row is "
      "written whole each time, with all that the run has counted on that day, so one that is written twice "
      "counts once; and a tenant that did nothing on a day has none. Of one day a run keeps 200,000 rows: "
      "what further tenants use is lost, is told by the log once a day, and counts in "
      "`pgweir_tenant_store_usage_failures_total`.\n\n"
      "The day is that of UTC in which a minute of the run ends: what passes in the minute that midnight is "
      "in "
      "belongs to the day that begins.\n\n"
      "A day's bill is, over the rows of a tenant and day, the sum of what is a sum below. Of a peak the "
      "most "
      "is what one pgweir had at once on that day; where several serve a tenant at once, the tenant had at "
      "most "
      "the sum of theirs. All values are decimal numbers, written as text.\n\n"
      "`SHOW USAGE` has the same columns of what a pgweir has counted since it began.\n\n"
      "| figure | unit | of several rows | what |\n|---|---|---|---|\n";
  for (const Used& used : kUsed) {
    if (used.over == Over::Rows) continue;
    out += fmt::format("| `{}` | {} | {} | {} |\n", used.figure.column, *used.unit ? used.unit : "count",
                       used.over == Over::Sum ? "sum" : "most", used.meaning);
  }
  return out;
}

void put_usage(std::string& out, std::span<const StatsRow> rows) { put_table(out, kUsage, rows); }

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

}  // namespace pgweir::console
