#include "pooler/console_report.h"

#include <fmt/format.h>

#include <algorithm>
#include <iterator>
#include <map>
#include <memory>
#include <tuple>
#include <utility>

#include "pooler/console.h"
#include "pooler/worker.h"

namespace pgweir::console {

namespace {

using ClientState = SessionCore::State;
using Place = Server::Place;

// Ids that stay the same as long as the connection; addresses in memory are nobody's business.
std::string name_of(const Session& session) { return fmt::format("c{:x}", session.id()); }
std::uint64_t id_of(const Worker& worker, const Server& server) { return server.id << 8 | worker.index(); }
std::string name_of(const Worker& worker, const Server& server) {
  return fmt::format("s{:x}", id_of(worker, server));
}

const std::string& tenant_of(const Group& group, const Server& server) {
  return server.session ? server.session->tenant().record.name : group.shown_tenant();
}

bool waits(const Session& session) { return session.core().state() == ClientState::Waiting; }

std::string application_name(const SettingsRef& settings) {
  if (!settings) return {};
  const auto place = settings->values.find("application_name");
  return place == settings->values.end() ? std::string() : place->second;
}

void put_addresses(ConnectionRow& row, const net::Stream& stream) {
  const net::Peer peer = stream.peer(), local = stream.local();
  row.addr = peer.host;
  row.port = peer.port;
  row.local_addr = local.host;
  row.local_port = local.port;
  row.tls = stream.secured() ? stream.tls_description() : "";
}

const char* state_of(const Session& session) {
  if (session.server()) return "active";
  return waits(session) ? "waiting" : "idle";
}

// Null: about to be gone, and shown no more.
const char* state_of(const Server& server) {
  switch (server.place) {
    case Place::Starting: return "new";
    case Place::Idle: return "idle";
    case Place::Lent: return "active";
    case Place::Settling: return server.leases > 0 ? "being_canceled" : "tested";
    case Place::Closing: return nullptr;
  }
  return nullptr;
}

void count(PoolRow& row, const Server& server) {
  switch (server.place) {
    case Place::Starting: ++row.sv_login; return;
    case Place::Idle: ++row.sv_idle; return;
    case Place::Lent: ++row.sv_active; return;
    case Place::Settling: ++(server.leases > 0 ? row.sv_being_canceled : row.sv_tested); return;
    case Place::Closing: return;
  }
}

std::uint32_t servers_of(const PoolRow& row) {
  return row.sv_login + row.sv_idle + row.sv_active + row.sv_being_canceled + row.sv_tested;
}

void collect_pools(Worker& worker, Report& report) {
  const Time now = worker.loop().now();
  std::map<std::pair<std::string, const Group*>, PoolRow> rows;
  const auto row_of = [&](const std::string& tenant, const Group& group) -> PoolRow& {
    PoolRow& row = rows[{tenant, &group}];
    row.database = tenant;
    row.user = group.key().user;
    if (const Tenant* known = worker.tenants().find(tenant)) row.pool_mode = known->record.limits.pool_mode;
    return row;
  };
  for (const auto& [key, group] : worker.groups()) {
    for (const auto& [tenant, sessions] : group->tenants()) row_of(tenant->record.name, *group);
    for (const auto& [id, server] : group->servers())
      count(row_of(tenant_of(*group, *server), *group), *server);
  }
  for (const auto& [id, session] : worker.sessions()) {
    PoolRow& row = row_of(session->tenant().record.name, session->group());
    if (!waits(*session)) {
      ++row.cl_active;
      continue;
    }
    ++row.cl_waiting;
    row.maxwait = std::max<Duration>(row.maxwait, now - session->since());
  }
  for (auto& [key, row] : rows) {
    report.servers += servers_of(row);
    report.pools.push_back(std::move(row));
  }
}

DatabaseRow database_row(const Snapshot& snapshot, const tiers::Tenant& record) {
  DatabaseRow row;
  row.name = record.name;
  row.database = record.database.empty() ? record.name : record.database;
  if (const BackendView* backend = snapshot.backend(record.backend)) {
    row.host = backend->settings.host;
    row.port = backend->settings.port;
  }
  if (!record.user.empty()) row.force_user = record.user;
  row.pool_size = record.limits.pool_size;
  row.min_pool_size = record.limits.min_server_connections;
  row.max_connections = record.limits.max_server_connections;
  row.max_clients = record.limits.max_clients;
  row.pool_mode = record.limits.pool_mode;
  row.server_lifetime_s = static_cast<std::uint64_t>(snapshot.config().server_lifetime.count() / 1000);
  return row;
}

void collect_databases(Worker& worker, Report& report) {
  std::map<std::string, std::uint32_t> servers;
  for (const PoolRow& row : report.pools) servers[row.database] += servers_of(row);
  for (const auto& [name, tenant] : worker.tenants()) {
    DatabaseRow row = database_row(worker.snapshot(), tenant->record);
    row.clients = tenant->clients;
    row.current_connections = servers[name];
    row.paused = tenant->paused;
    report.databases.push_back(std::move(row));
  }
}

void collect_stats(Worker& worker, Report& report) {
  const Time now = worker.loop().now();
  for (const auto& [name, tenant] : worker.tenants())
    report.stats.push_back({name, tenant->traffic, tenant->period.view(tenant->traffic, now)});
  report.forgotten += worker.tenants().forgotten();
}

// Of those that have anything to tell.
void collect_pins(Worker& worker, Report& report) {
  for (const auto& [name, tenant] : worker.tenants()) {
    const PinBook& pins = tenant->pins;
    if (pins.totals() == PinBook::Totals{}) continue;
    const tiers::Tier& tier = tenant->record.limits;
    report.pins.push_back(
        {name, tier.name, pins.pinned(), tier.max_pinned_clients, pins.reasons(), pins.totals()});
  }
  report.forgotten_pins += worker.tenants().forgotten_pins();
}

void collect_clients(Worker& worker, Report& report) {
  const Time now = worker.loop().now();
  for (const auto& [id, session] : worker.sessions()) {
    ConnectionRow& row = report.connections.emplace_back();
    row.user = session->user();
    row.database = session->tenant().record.name;
    row.state = state_of(*session);
    put_addresses(row, session->stream());
    row.connected = now - session->connected_at();
    row.requested = now - session->since();
    if (waits(*session)) row.wait = row.requested;
    row.ptr = name_of(*session);
    if (const Server* server = session->server()) row.link = name_of(worker, *server);
    row.application_name = application_name(session->core().wanted());
    row.prepared_statements = session->core().statement_count();
    row.pins = pin::names(session->core().pins());
    row.id = id;
  }
  for (const auto& [raw, console] : worker.consoles()) {
    ConnectionRow& row = report.connections.emplace_back();
    row.user = console->user();
    row.database = "pgweir";
    row.state = "active";
    put_addresses(row, console->stream());
    row.connected = row.requested = now - console->connected_at();
    row.ptr = fmt::format("c{:x}", console->id());
    row.id = console->id();
  }
}

void collect_servers(Worker& worker, Report& report) {
  const Time now = worker.loop().now();
  for (const auto& [key, group] : worker.groups()) {
    for (const auto& [id, server] : group->servers()) {
      const char* state = state_of(*server);
      if (!state) continue;
      ConnectionRow& row = report.connections.emplace_back();
      row.type = "S";
      row.user = key.user;
      row.database = tenant_of(*group, *server);
      row.state = state;
      if (server->stream()) put_addresses(row, *server->stream());
      row.connected = now - server->started_at;
      row.requested = server->place == Place::Starting ? row.connected : now - server->since;
      row.close_needed = server->place != Place::Starting && server->expires <= now;
      row.ptr = name_of(worker, *server);
      if (server->session) row.link = name_of(*server->session);
      row.remote_pid = server->cancel_pid();
      row.application_name = application_name(server->core.applied);
      row.prepared_statements = server->core.statements.size();
      row.id = id_of(worker, *server);
    }
  }
}

void collect(Worker& worker, Action action, Report& report) {
  report.clients += worker.sessions().size() + worker.consoles().size();
  report.logins += worker.login_count();
  report.texts += worker.texts().counts();
  if (action == Action::ShowClients || action == Action::ShowPinnedClients)
    return collect_clients(worker, report);
  if (action == Action::ShowPins) return collect_pins(worker, report);
  if (action == Action::ShowServers) return collect_servers(worker, report);
  collect_stats(worker, report);
  collect_pools(worker, report);
  collect_databases(worker, report);
}

template <class Row>
void append(std::vector<Row>& to, std::vector<Row>&& from) {
  to.insert(to.end(), std::make_move_iterator(from.begin()), std::make_move_iterator(from.end()));
}

void merge(Report& to, Report&& from) {
  append(to.pools, std::move(from.pools));
  append(to.databases, std::move(from.databases));
  append(to.stats, std::move(from.stats));
  append(to.pins, std::move(from.pins));
  append(to.connections, std::move(from.connections));
  to.forgotten += from.forgotten;
  to.forgotten_pins += from.forgotten_pins;
  to.texts += from.texts;
  to.clients += from.clients;
  to.logins += from.logins;
  to.servers += from.servers;
}

// Tenants that are configured and have not been used yet have no home that knows them.
void add_unused_tenants(Worker& worker, Report& report) {
  std::vector<std::string> known;
  for (const DatabaseRow& row : report.databases) known.push_back(row.name);
  std::sort(known.begin(), known.end());
  for (const auto& [name, record] : worker.snapshot().directory.tenants()) {
    if (std::binary_search(known.begin(), known.end(), name)) continue;
    DatabaseRow row = database_row(worker.snapshot(), record);
    row.paused = worker.all_paused();
    report.databases.push_back(std::move(row));
  }
}

// The same order every time, so that a reader finds a row where it was.
void sort(Report& report) {
  const auto by = [](auto& rows, auto key) {
    std::sort(rows.begin(), rows.end(), [key](const auto& a, const auto& b) { return key(a) < key(b); });
  };
  by(report.pools, [](const PoolRow& row) { return std::tie(row.database, row.user); });
  by(report.databases, [](const DatabaseRow& row) { return std::tie(row.name); });
  by(report.stats, [](const StatsRow& row) { return std::tie(row.database); });
  by(report.pins, [](const PinRow& row) { return std::tie(row.database); });
  by(report.connections, [](const ConnectionRow& row) { return std::tie(row.database, row.id); });
}

}  // namespace

void gather(Worker& asking, Action action, std::function<void(Report)> done) {
  struct Gathering {
    Report report;
    std::size_t left;
    std::function<void(Report)> done;
  };
  // Touched on the asking worker's thread only.
  auto all = std::make_shared<Gathering>(Gathering{{}, asking.shared().workers.size(), std::move(done)});
  for (Worker* worker : asking.shared().workers)
    worker->loop().post([worker, &asking, action, all] {
      auto part = std::make_shared<Report>();
      collect(*worker, action, *part);
      asking.loop().post([&asking, all, part] {
        merge(all->report, std::move(*part));
        if (--all->left > 0) return;
        add_unused_tenants(asking, all->report);
        if (all->report.forgotten != Traffic{})
          all->report.stats.push_back({"(forgotten)", all->report.forgotten, {}});
        if (all->report.forgotten_pins != PinBook::Totals{})
          all->report.pins.push_back({"(forgotten)", {}, 0, 0, {}, all->report.forgotten_pins});
        sort(all->report);
        all->done(std::move(all->report));
      });
    });
}

}  // namespace pgweir::console
