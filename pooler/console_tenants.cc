// pooler/console_tenants.cc - SHOW of tenants and tiers, and of what each may have.
#include <utility>

#include "pooler/console_table.h"

namespace pgweir::console {

namespace {

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
    Database{"reserve_pool_size",
             kI,
             &zero<DatabaseRow>,
             {kGauge, "", "Always 0: beyond pool_size a tenant has what its tier and its backend allow.",
              "pgbouncer_databases_reserve_pool"},
             &none<DatabaseRow>},
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
    Database{"disabled",
             kI,
             &DatabaseRow::disabled,
             {kGauge, "disabled", "1 while DISABLE keeps new clients of the tenant out.",
              "pgbouncer_databases_disabled"}},
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
    TenantFigure{"state", kS, &DatabaseRow::state},
    TenantFigure{"suspended_reason", kS, &DatabaseRow::suspended_reason},
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
    CeilingFigure{"canceled",
                  kN,
                  &CeilingRow::canceled,
                  {kCounter, "ceiling_canceled", "Requests canceled by a clock of the pooler's own."}},
    CeilingFigure{"ended",
                  kN,
                  &CeilingRow::ended,
                  {kCounter, "ceiling_ended", "Connections ended by a clock of the pooler's own."}},
};

using OneLimit = Figure<LimitView>;
constexpr std::array kLimitViews{
    OneLimit{"limit", kS, &LimitView::limit},
    OneLimit{"value", kS, &LimitView::value},
    OneLimit{"in_use", kS, &LimitView::in_use},
    OneLimit{"rule", kS, &LimitView::rule},
};

}  // namespace

std::vector<Sampled> samples(const DatabaseRow& row) { return sample_table(kDatabases, row); }
std::vector<Sampled> samples(const CeilingRow& row) { return sample_table(kCeilingRows, row); }
std::vector<Cell> cells(const LimitView& row) { return table_cells(kLimitViews, row); }
std::vector<Cell> tenant_cells(const DatabaseRow& row) { return table_cells(kTenants, row); }
std::vector<Cell> cells(const TierRow& row) {
  std::vector<Cell> all{{"tier", row.tier.name}};
  for (const tiers::TierField& field : tiers::tier_fields())
    all.push_back({std::string(field.key), tier_text(row.tier, field)});
  const std::pair<const char*, std::uint64_t> counts[] = {
      {"tenants", row.tenants}, {"clients", row.clients}, {"servers", row.servers}};
  for (const auto& [name, count] : counts) all.push_back({name, int4(count), Cell::Kind::Number});
  return all;
}

void put_databases(std::string& out, std::span<const DatabaseRow> rows) { put_table(out, kDatabases, rows); }
void put_tenants(std::string& out, std::span<const DatabaseRow> rows) { put_table(out, kTenants, rows); }
void put_ceilings(std::string& out, std::span<const CeilingRow> rows) { put_table(out, kCeilingRows, rows); }
void put_limits(std::string& out, std::span<const LimitView> rows) { put_table(out, kLimitViews, rows); }

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

}  // namespace pgweir::console
