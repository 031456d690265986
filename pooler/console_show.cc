#include "pooler/console_show.h"

#include <algorithm>
#include <initializer_list>
#include <map>
#include <string_view>
#include <utility>

#include "pooler/base/check.h"
#include "pooler/clocks.h"
#include "pooler/console_columns.h"
#include "pooler/console_statements.h"
#include "pooler/group.h"
#include "pooler/net/wall_clock.h"
#include "pooler/server.h"
#include "pooler/session.h"
#include "pooler/snapshot.h"
#include "pooler/tenant.h"
#include "pooler/worker.h"
#include "protocol/messages.h"

namespace pgweir::console {

namespace {

void put_lists(std::string& out, const Report& report, std::uint64_t users) {
  // Free ones are none: a connection takes memory when it comes and gives it back when it goes.
  const NamedCount rows[] = {{"databases", report.databases.size()},
                             {"users", users},
                             {"peers"},
                             {"pools", report.pools.size()},
                             {"peer_pools"},
                             {"free_clients"},
                             {"used_clients", report.clients},
                             {"login_clients", report.logins},
                             {"free_servers"},
                             {"used_servers", report.servers},
                             {"dns_names"},
                             {"dns_zones"},
                             {"dns_queries"},
                             {"dns_pending"}};
  put_lists(out, rows);
}

std::string joined(std::initializer_list<std::string_view> parts) {
  std::string key;
  for (const std::string_view part : parts)
    if (!part.empty()) key.append(key.empty() ? "" : "/").append(part);
  return key;
}

bool behind(const std::string& key, const Page& page) { return key > page.after; }
bool behind(std::uint64_t key, const Page& page) { return page.after.empty() || key > page.after_number; }

// What Page promises; `like` and `after` are a row's keys. Without a copy where all rows are asked for, and
// then in the order that they have.
template <class Row, class Like, class After>
void put_page(std::string& out, std::span<const Row> all, const Page& page, Like like, After after,
              void (*put)(std::string& out, std::span<const Row> rows)) {
  if (page.everything()) return put(out, all);
  std::vector<const Row*> found;
  for (const Row& row : all)
    if (behind(after(row), page) && matches(like(row), page.like)) found.push_back(&row);
  const auto earlier = [after](const Row* a, const Row* b) { return after(*a) < after(*b); };
  if (!std::is_sorted(found.begin(), found.end(), earlier))
    std::stable_sort(found.begin(), found.end(), earlier);
  std::vector<Row> rows;
  for (const Row* row : found) {
    if (rows.size() >= page.limit && (rows.empty() || after(rows.back()) != after(*row))) break;
    rows.push_back(*row);
  }
  put(out, rows);
}
template <class Row, class Key>
void put_page(std::string& out, std::span<const Row> all, const Page& page, Key key,
              void (*put)(std::string& out, std::span<const Row> rows)) {
  put_page(out, all, page, key, key, put);
}

void put_statements(std::string& out, const Report& report, const Page& page) {
  // The first ones of each worker are here.
  std::vector<StatementRow> rows(
      report.statements.begin(),
      report.statements.begin() +
          static_cast<std::ptrdiff_t>(std::min<std::size_t>(report.statements.size(), page.limit)));
  tell_fingerprints(rows);
  put_statements(out, rows);
}

void put_users(std::string& out, const Report& report, const Beside& beside) {
  std::map<std::string, UserRow> rows;
  for (const std::string& name : beside.users) rows[name];
  for (const PoolRow& pool : report.pools) rows[pool.user].servers += pool.servers();
  for (const ConnectionRow& client : report.connections) ++rows[client.user].clients;
  std::vector<UserRow> sorted;
  for (auto& [name, row] : rows) {
    row.name = name;
    sorted.push_back(row);
  }
  put_users(out, sorted);
}

void put_mem(std::string& out, const Report& report) {
  WorkerRow all;
  for (const WorkerRow& worker : report.workers) {
    all.tenants += worker.tenants;
    all.groups += worker.groups;
    all.clients += worker.clients;
    all.servers += worker.servers;
  }
  const MemRow rows[] = {{"tenants", sizeof(Tenant), all.tenants},
                         {"groups", sizeof(Group), all.groups},
                         {"clients", sizeof(Session), all.clients},
                         {"servers", sizeof(Server), all.servers}};
  put_mem(out, rows);
}

// Those on which something is going on.
std::vector<ConnectionRow> active(const Report& report) {
  std::vector<ConnectionRow> rows;
  for (const ConnectionRow& row : report.connections)
    if (std::string_view(row.state) != "idle") rows.push_back(row);
  return rows;
}

// Those that keep their server.
std::vector<ConnectionRow> pinned(const Report& report) {
  std::vector<ConnectionRow> rows;
  for (const ConnectionRow& row : report.connections)
    if (row.pins != 0) rows.push_back(row);
  return rows;
}

}  // namespace

void put_ceilings(std::string& out, std::span<const CeilingRow> rows, const Page& page) {
  put_page<CeilingRow>(
      out, rows, page, [](const CeilingRow& row) -> const std::string& { return row.parameter; },
      [](const CeilingRow& row) {
        return joined({row.tier, row.parameter, row.kind});
      },
      &put_ceilings);
}
void put_limits(std::string& out, std::span<const LimitView> rows, const Page& page) {
  put_page<LimitView>(
      out, rows, page, [](const LimitView& row) -> const std::string& { return row.limit; }, &put_limits);
}

std::vector<TierRow> tier_rows(const Report& report, std::span<const tiers::Tier> tiers) {
  std::vector<TierRow> rows;
  for (const tiers::Tier& tier : tiers) {
    TierRow& row = rows.emplace_back();
    row.tier = tier;
    for (const DatabaseRow& database : report.databases) {
      if (database.tier != tier.name) continue;
      ++row.tenants;
      row.clients += database.clients;
      row.servers += database.current_connections;
    }
  }
  return rows;
}

namespace {
// What keeps a session from having more: nothing but what it begins with, what stands in texts as well, that
// and no code of its own, the ALTER ROLE of a superuser, or for times a clock of ours, which ends the client,
// and by a side role what runs in Postgres, too. README, "Ceilings", says what each leaves open.
const char* firmness_of(const tiers::Tier& tier, const std::string& parameter, SideRole side_role) {
  const tiers::Ceiling* const row = tiers::find_ceiling(parameter);
  if (row && row->held_by == tiers::HeldBy::Superuser) return "role";
  const auto* const clock = std::find_if(kClocks.begin(), kClocks.end(),
                                         [&](const ClockRow& each) { return each.ceiling == parameter; });
  if (clock != kClocks.end() && tier.clocks) {
    // Whoever pauses in a transaction runs nothing, and sees its connection end.
    const bool ends = side_role == SideRole::Set || clock->clock == Clock::IdleInTransaction;
    return ends || tier.inspection == tiers::Inspection::Strict ? "firm" : "advisory";
  }
  switch (tier.inspection) {
    case tiers::Inspection::Off: return "startup";
    case tiers::Inspection::Standard: return "advisory";
    case tiers::Inspection::Strict: break;
  }
  return "firm";
}
}  // namespace

void add_ceilings(std::vector<CeilingRow>& rows, const CeilingsOf& of, const CeilingTally& tally) {
  const tiers::Tier& tier = of.tier;
  const tiers::Ceilings own =
      of.tenant.empty() ? *tier.ceilings : tiers::for_tenant(*tier.ceilings, of.tenant, tier.name);
  using Values = tiers::Ceilings::Values;
  struct Kind {
    tiers::CeilingKind kind;
    const char* name;
    Values tiers::Ceilings::*values;
    bool held, hidden;
  };
  using tiers::CeilingKind;
  const bool hides = of.words == Words::Hidden;
  const Kind kinds[] = {{CeilingKind::Limit, "ceiling", &tiers::Ceilings::limits, true, false},
                        {CeilingKind::Injected, "injected", &tiers::Ceilings::injected, true, hides},
                        {CeilingKind::Default, "default", &tiers::Ceilings::defaults, false, hides}};
  for (const Kind& kind : kinds) {
    for (const auto& [parameter, value] : own.*kind.values) {
      CeilingRow& row = rows.emplace_back(
          CeilingRow{tier.name, parameter, kind.name, kind.hidden ? std::string(conf::kMask) : value});
      const bool overridden = std::binary_search(of.overrides.begin(), of.overrides.end(),
                                                 tiers::field_of({kind.kind, parameter}));
      row.source = overridden ? "tenant" : "tier";
      if (!kind.held) continue;
      row.firmness = firmness_of(tier, parameter, of.side_role);
      if (const auto counted = tally.find(parameter); counted != tally.end()) row.count(counted->second);
    }
  }
  // What was held in other ways, or is no more.
  for (const auto& [parameter, counts] : tally)
    if (!(*tier.ceilings).limits.contains(parameter) && !(*tier.ceilings).injected.contains(parameter))
      rows.emplace_back(CeilingRow{tier.name, parameter, "", ""}).count(counts);
}

Beside beside(const Worker& worker, const Page& page) {
  Beside beside{{}, {}, page};
  for (const auto& [name, secret] : worker.snapshot().users) beside.users.push_back(name);
  for (const auto& [name, tier] : worker.known_tiers().tiers()) beside.tiers.push_back(tier);
  return beside;
}

void put_report(std::string& out, Table table, const Report& report, const Beside& beside) {
  const Page& page = beside.page;
  const auto by_name = [](const auto& row) -> const std::string& { return row.name; };
  const auto by_database = [](const auto& row) -> const std::string& { return row.database; };
  switch (table) {
    case Table::ActiveSockets: return put_sockets(out, active(report), net::wall_clock_s());
    case Table::Sockets: return put_sockets(out, report.connections, net::wall_clock_s());
    case Table::Backends: return put_page<BackendRow>(out, report.backends, page, by_name, &put_backends);
    case Table::Breakers:
      return put_page<BreakerRow>(
          out, report.breakers, page,
          [](const BreakerRow& row) {
            return joined({row.backend, row.database.value_or(""), row.user.value_or("")});
          },
          &put_breakers);
    case Table::Tenants: return put_page<DatabaseRow>(out, report.databases, page, by_name, &put_tenants);
    case Table::Tiers: {
      const auto by_tier = [](const TierRow& row) -> const std::string& { return row.tier.name; };
      return put_page<TierRow>(out, tier_rows(report, beside.tiers), page, by_tier, &put_tiers);
    }
    case Table::Users: return put_users(out, report, beside);
    case Table::Mem: return put_mem(out, report);
    case Table::Clients:
    case Table::Servers: return put_connections(out, report.connections, net::wall_clock_s());
    case Table::Databases: return put_databases(out, report.databases);
    case Table::Lists: return put_lists(out, report, beside.users.size());
    case Table::PinnedClients:
      return put_page<ConnectionRow>(
          out, pinned(report), page, by_database, [](const ConnectionRow& row) { return row.id; },
          &put_pinned_clients);
    case Table::Pins: return put_page<PinRow>(out, report.pins, page, by_database, &put_pins);
    case Table::Pools: return put_pools(out, report.pools);
    case Table::Statements: return put_statements(out, report, beside.page);
    case Table::Stats: return put_stats(out, report.stats);
    case Table::StatsAverages: return put_stats_averages(out, report.stats);
    case Table::StatsTotals: return put_stats_totals(out, report.stats);
    case Table::Totals: return put_totals(out, report.stats);
    case Table::Usage: return put_page<StatsRow>(out, report.stats, page, by_database, &put_usage);
    case Table::Workers:
      return put_page<WorkerRow>(
          out, report.workers, page, [](const WorkerRow& row) { return std::to_string(row.worker); },
          [](const WorkerRow& row) { return std::uint64_t{row.worker}; }, &put_workers);
  }
}

// Of a request with no rows in it: the RowDescription, if it answers rows.
std::string shape(const Request& request) {
  std::string out;
  switch (request.command->action) {
    case Action::ShowTable: put_report(out, request.command->table, {}, {}); break;
    case Action::ShowCeilings: put_ceilings(out, {}); break;
    case Action::ShowConfig: put_config(out, {}); break;
    case Action::ShowDnsHosts: put_dns_hosts(out); break;
    case Action::ShowDnsZones: put_dns_zones(out); break;
    case Action::ShowLimit: put_limits(out, {}); break;
    case Action::ShowPeerPools: put_peer_pools(out); break;
    case Action::ShowPeers: put_peers(out); break;
    case Action::ShowSetting: put_value(out, request.argument.c_str(), protocol::kTextOid, ""); break;
    case Action::ShowState: put_state(out, {}); break;
    case Action::ShowVersion: put_value(out, "version", protocol::kTextOid, ""); break;
    case Action::SelectOne: put_value(out, "?column?", protocol::kInt4Oid, "1"); break;
    case Action::SelectVersion: put_value(out, "version", protocol::kTextOid, ""); break;
    default: break;  // an order
  }
  return selected(std::move(out), request.places);
}

}  // namespace pgweir::console
