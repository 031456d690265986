#include "pooler/console_report.h"

#include <fmt/format.h>

#include <algorithm>
#include <deque>
#include <iterator>
#include <map>
#include <memory>
#include <optional>
#include <tuple>
#include <utility>

#include "pooler/console.h"
#include "pooler/console_statements.h"
#include "pooler/net/address.h"
#include "pooler/tier_control.h"
#include "pooler/walk.h"
#include "pooler/worker.h"

namespace pgweir::console {

namespace {

using ClientState = SessionCore::State;
using Place = Server::Place;

// Not the same on two workers.
std::uint64_t id_of(const Worker& worker, const Server& server) { return server.id << 8 | worker.index(); }

bool waits(const Session& session) { return session.core().state() == ClientState::Waiting; }

constexpr std::string_view kApplicationName = "application_name";

std::string application_name(const SettingsMap::Values& values) {
  const auto place = values.find(kApplicationName);
  return place == values.end() ? std::string() : place->second;
}

// One that the tier injects is nobody's own; one that it gives as a default is whoever's has none.
std::string application_name(const Session& session) {
  const tiers::Tenant& tenant = session.tenant().record;
  const std::string own = application_name(session.core().wanted()->values);
  const tiers::Ceilings& tier = *tenant.limits.ceilings;
  const auto given = [&](tiers::Ceilings::Values tiers::Ceilings::*which) {
    return application_name(tiers::for_tenant(tier, tenant.name, tenant.limits.name).*which);
  };
  if (tier.injected.contains(kApplicationName)) return given(&tiers::Ceilings::injected);
  return own.empty() && tier.defaults.contains(kApplicationName) ? given(&tiers::Ceilings::defaults) : own;
}

std::string application_name(const Server& server) {
  const std::string given = server.core.applied ? application_name(server.core.applied->values) : "";
  return given.empty() && server.core.opened_with ? application_name(*server.core.opened_with) : given;
}

void put_addresses(ConnectionRow& row, const net::Stream& stream) {
  const net::Peer peer = stream.peer(), local = stream.local();
  row.addr = peer.host;
  row.port = peer.port;
  row.local_addr = local.host;
  row.local_port = local.port;
  row.tls = stream.secured() ? stream.tls_description() : "";
}

const char* replication_of(const SessionCore& client) {
  switch (client.replication()) {
    case protocol::Replication::None: return "none";
    case protocol::Replication::Physical: return "physical";
    case protocol::Replication::Logical: return "logical";
  }
  return "none";
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
    case Place::Lent:
    case Place::Listening: return "active";
    case Place::Settling: return server.leases > 0 ? "being_canceled" : "tested";
    case Place::Closing: return nullptr;
  }
  return nullptr;
}

BreakerRow breaker_row(const std::string& backend, const BreakerView& view, Time now) {
  BreakerRow row;
  row.backend = backend;
  row.state = view.state;
  row.ordered = view.ordered != Breaker::Order::Auto;
  row.failures = view.failures;
  row.volume = view.volume;
  row.opened = view.opened;
  row.failed = view.failed;
  row.rejected = view.rejected;
  row.last_error = view.last_error;
  if (view.state != Breaker::State::Closed && view.next_try != kNever)
    row.next_try_s =
        fmt::format("{:.1f}", static_cast<double>(std::max(view.next_try - now, Duration{}).count()) / 1e6);
  return row;
}

BreakerRow breaker_row(Shared& shared, const BackendView& backend, Time now) {
  return breaker_row(backend.settings.name, shared.breaker(backend.settings.name).view(now), now);
}

// "a:5432 primary, b:5432 standby, c:5432 failed"
std::string hosts_text(const BackendView& backend, const HostBook& book) {
  std::string text;
  for (const net::Endpoint& host : backend.hosts) {
    text += (text.empty() ? "" : ", ") + net::text(host);
    for (const HostBook::Host& each : book.hosts()) {
      if (each.endpoint != host) continue;
      if (each.role != HostRole::Unknown)
        text += fmt::format(" {}", name(each.role));
      else if (each.failed > 0)
        text += " failed";
    }
  }
  return text;
}

BackendRow backend_row(Shared& shared, const BackendView& backend) {
  const BackendBudget& budget = shared.budget(backend.settings.name);
  const HostBook book = shared.hosts(backend.settings.name).view();
  BackendRow row{backend.settings.name,
                 backend.settings.host,
                 backend.settings.port,
                 budget.used(),
                 budget.limit(),
                 budget.starved(),
                 hosts_text(backend, book),
                 conf::name(session_attrs(backend.settings))};
  if (backend.hosts.size() > 1) {
    const net::Endpoint& host = book.in_use() ? *book.in_use() : backend.hosts[0];
    row.host = host.host;
    row.port = host.port;
  }
  return row;
}

// What one worker knows; deques, because a vector that grows moves all its rows at once.
struct Part {
  std::deque<PoolRow> pools;  // of one database and user there may be several
  std::deque<DatabaseRow> databases;
  std::deque<StatsRow> stats;
  std::deque<PinRow> pins;
  std::deque<ConnectionRow> connections;
  std::deque<BackendRow> backends;
  std::deque<BreakerRow> breakers;
  std::map<std::string, StatementRow> statements;  // by name
  WorkerRow worker;
  // Of tenants that no worker remembers; rows of stats and pins in the end.
  Traffic forgotten;
  PinBook::Totals forgotten_pins;
};

// Which rows an action needs.
struct Needs {
  bool tenants = false;  // databases, stats, pins
  bool pools = false;
  bool clients = false;
  bool servers = false;
  bool backends = false;  // of one worker, since all share them
  bool breakers = false;
  bool statements = false;
};

Needs needs(Table table) {
  switch (table) {
    case Table::Clients:
    case Table::PinnedClients: return {.clients = true};
    case Table::Servers: return {.servers = true};
    case Table::Backends: return {.backends = true};
    case Table::Breakers: return {.backends = true, .breakers = true};
    case Table::Statements: return {.statements = true};
    case Table::Pins:
    case Table::Stats:
    case Table::StatsAverages:
    case Table::StatsTotals:
    case Table::Usage:
    case Table::Totals: return {.tenants = true};
    case Table::Databases:
    case Table::Lists: return {.tenants = true, .pools = true};
    case Table::Tenants:
    case Table::Tiers: return {.tenants = true, .pools = true};
    case Table::Mem:
    case Table::Pools:
    case Table::Workers: return {.pools = true};
    case Table::Users: return {.pools = true, .clients = true};
    case Table::ActiveSockets:
    case Table::Sockets: return {.clients = true, .servers = true};
  }
  return {};
}

// One worker's rows, a step at a time on its own thread.
class Collection : public std::enable_shared_from_this<Collection> {
 public:
  Collection(Worker& worker, Needs needs, const Page& page, std::function<void(std::shared_ptr<Part>)> done)
      : worker_(worker), needs_(needs), done_(std::move(done)), statements_(page) {
    if (needs.tenants) worker.charge_servers();
    if (needs.backends) snapshot_ = worker.snapshot_ref();
    part_->worker.worker = worker.index();
    part_->worker.groups = worker.groups().size();
    part_->worker.tenants = worker.tenants().size();
    part_->worker.clients = worker.sessions().size();
    part_->worker.logins = worker.login_count();
    part_->worker.consoles = worker.consoles().size();
    const protocol::SqlCache::Counts& texts = worker.texts().counts();
    part_->worker.texts_by_words = texts.filtered;
    part_->worker.texts_remembered = texts.hits;
    part_->worker.texts_parsed = texts.parsed;
    // Before the walk: what is forgotten during it is missing, and not there twice.
    part_->forgotten = worker.tenants().forgotten();
    part_->forgotten_pins = worker.tenants().forgotten_pins();
  }
  void step() {
    if (snapshot_) {
      if (walk_backends()) snapshot_ = nullptr;
    } else if (needs_.breakers) {
      needs_.breakers = !walk_breakers();
    } else if (needs_.tenants) {
      needs_.tenants = walk_tenants();
    } else if (needs_.pools || needs_.servers) {
      if (walk_groups()) needs_.pools = needs_.servers = false;
    } else if (needs_.clients) {
      needs_.clients = walk_clients();
    } else if (needs_.statements) {
      needs_.statements = !statements_.step(worker_, part_->statements);
    } else {
      return done_(std::move(part_));
    }
    worker_.loop().post([self = shared_from_this()] { self->step(); });
  }

 private:
  // True: there are more of them.
  bool walk_tenants() {
    const Time now = worker_.loop().now();
    const Walked walked = tenants_.step(worker_.tenants().map(), [&](const auto& entry) {
      const auto& [name, tenant] = entry;
      DatabaseRow& database = part_->databases.emplace_back(database_row(worker_.snapshot(), tenant->record));
      database.clients = tenant->clients;
      database.paused = tenant->is_paused();
      database.disabled = tenant->disabled;
      tenant->settle_accounts();
      part_->stats.push_back({name, tenant->traffic, tenant->period.view(tenant->traffic, now),
                              tenant->peak_clients.ever(), tenant->peak_lent.ever()});
      const PinBook& pins = tenant->pins;
      const tiers::Tier& tier = tenant->record.limits;
      if (pins.totals() != PinBook::Totals{})
        part_->pins.push_back(
            {name, tier.name, pins.pinned(), tier.max_pinned_clients, pins.reasons(), pins.totals()});
    });
    if (walked == Walked::Again) {
      part_->databases.clear();
      part_->stats.clear();
      part_->pins.clear();
    }
    return walked != Walked::All;
  }
  bool walk_groups() {
    const Time now = worker_.loop().now();
    const auto tenant = [&](const Group& group, const Tenant& user, std::uint32_t sessions) {
      if (!needs_.pools) return;
      PoolRow& row = new_pool(user.record.name, group);
      row.pool_mode = user.record.limits.pool_mode;
      row.clients = sessions;
      for_throttled(user, group, [&](const Session& session) { add_waiting(row, session, now); });
      part_->worker.waiting += row.cl_waiting;
    };
    return groups_.step(
               worker_.groups(), [&](const Group& group) { visit(group); }, tenant) == Walked::All;
  }
  PoolRow& new_pool(const std::string& tenant, const Group& group) {
    PoolRow& row = part_->pools.emplace_back();
    row.database = tenant;
    row.user = group.key().user;
    return row;
  }
  void visit(const Group& group) {
    const Time now = worker_.loop().now();
    const Server* const listener = group.listener().server();
    if (needs_.servers) {
      for (const auto& [id, server] : group.servers()) add_server(group, *server, now);
      if (listener) add_server(group, *listener, now);
    }
    part_->worker.servers += group.servers().size() + (listener ? 1 : 0);
    part_->worker.waiting += group.waiters().size();
    if (!needs_.pools) return;
    std::map<std::string, PoolRow> rows;
    for (const Session* session = group.waiters().front(); session; session = List<Session>::next(*session)) {
      add_waiting(rows[session->tenant().record.name], *session, now);
    }
    for (const auto& [id, server] : group.servers()) count(rows[tenant_of(group, *server)], *server);
    if (listener) count(rows[group.shown_tenant()], *listener);
    for (const auto& [tenant, row] : rows) {
      PoolRow& added = new_pool(tenant, group);
      added.add(row);
      if (const Tenant* known = worker_.tenants().find(tenant))
        added.pool_mode = known->record.limits.pool_mode;
    }
  }
  // True: all of them have been seen.
  bool walk_backends() {
    const Time now = worker_.loop().now();
    const std::vector<BackendView>& all = snapshot_->backends;
    for (std::size_t seen = 0; seen < kWalkAtOnce && backends_seen_ < all.size(); ++seen, ++backends_seen_) {
      if (needs_.breakers)
        part_->breakers.push_back(breaker_row(worker_.shared(), all[backends_seen_], now));
      else
        part_->backends.push_back(backend_row(worker_.shared(), all[backends_seen_]));
    }
    return backends_seen_ == all.size();
  }
  bool walk_breakers() {
    const Time now = worker_.loop().now();
    const auto& kept = worker_.breakers().kept();
    auto place = breaker_seen_ ? kept.upper_bound(*breaker_seen_) : kept.begin();
    for (std::size_t seen = 0; place != kept.end(); ++place, ++seen) {
      if (seen == kWalkAtOnce) return false;
      const auto& [key, breaker] = *place;
      breaker_seen_ = key;
      if (breaker->core.quiet(now)) continue;
      BreakerRow& row = part_->breakers.emplace_back(breaker_row(key.backend, breaker->view(now), now));
      row.database = key.database;
      row.user = key.user;
    }
    for (const auto& [place_of, order] : worker_.breaker_orders().given()) {
      if (worker_.index() != 0) break;  // all of them have the same
      BreakerRow& row = part_->breakers.emplace_back();
      row.backend = place_of.first;
      row.database = place_of.second;
      row.state = order == Breaker::Order::Open ? Breaker::State::Open : Breaker::State::Closed;
      row.ordered = true;
    }
    return true;
  }
  bool walk_clients() {
    const Time now = worker_.loop().now();
    const Walked walked = sessions_.step(
        worker_.sessions(), [&](const auto& entry) { add_client(*entry.second, now); }, kClientsAtOnce);
    if (walked == Walked::Again)
      std::erase_if(part_->connections, [](const ConnectionRow& row) { return *row.type == 'C'; });
    if (walked == Walked::All)
      for (const auto& [raw, console] : worker_.consoles()) add_console(*console, now);
    return walked != Walked::All;
  }
  void add_client(const Session& session, Time now) {
    ConnectionRow& row = part_->connections.emplace_back();
    row.user = session.user();
    row.database = session.tenant().record.name;
    row.state = state_of(session);
    put_addresses(row, session.stream());
    row.connected = now - session.connected_at();
    row.requested = now - session.since();
    if (waits(session)) row.wait = row.requested;
    if (const Server* server = session.server()) row.link = id_of(worker_, *server);
    row.application_name = application_name(session);
    row.prepared_statements = session.core().statement_count();
    row.pins = static_cast<Pins>(session.core().pins() & ~pin::kSharing);
    row.replication = replication_of(session.core());
    row.unsent = session.stream().unsent();
    row.id = session.id();
  }
  void add_console(const ConsoleSession& console, Time now) {
    ConnectionRow& row = part_->connections.emplace_back();
    row.user = console.user();
    row.database = console.database();
    row.application_name = console.application_name();
    row.state = "active";
    put_addresses(row, console.stream());
    row.connected = now - console.connected_at();
    row.requested = now - console.requested_at();
    row.id = console.id();
  }
  void add_server(const Group& group, const Server& server, Time now) {
    const char* state = state_of(server);
    if (!state) return;
    ConnectionRow& row = part_->connections.emplace_back();
    row.type = "S";
    row.user = group.key().user;
    row.database = tenant_of(group, server);
    row.state = state;
    if (server.stream()) put_addresses(row, *server.stream());
    row.connected = now - server.started_at;
    row.requested = server.place == Place::Starting ? row.connected : now - server.since;
    row.close_needed = server.place != Place::Starting && server.expires <= now;
    if (server.session) {
      row.link = server.session->id();
      row.replication = replication_of(server.session->core());
    }
    row.remote_pid = server.cancel_pid();
    row.unsent = server.unsent();
    row.application_name = application_name(server);
    row.prepared_statements = server.core.statements.size();
    row.id = id_of(worker_, server);
  }

  static constexpr std::size_t kClientsAtOnce = 50;  // much to copy, from many places, and a system call

  Worker& worker_;
  Needs needs_;
  std::function<void(std::shared_ptr<Part>)> done_;
  std::shared_ptr<Part> part_ = std::make_shared<Part>();
  BucketWalk tenants_, sessions_;
  GroupWalk groups_;
  std::shared_ptr<const Snapshot> snapshot_;  // while backends are seen
  std::size_t backends_seen_ = 0;
  std::optional<GroupKey> breaker_seen_;  // the last one
  StatementWalk statements_;
};

template <class Row>
void append(std::vector<Row>& to, std::deque<Row>& from) {
  to.insert(to.end(), std::make_move_iterator(from.begin()), std::make_move_iterator(from.end()));
}

// The same order every time, so that a reader finds a row where it was.
template <class Row, class Key>
void sort(std::vector<Row>& rows, Key key) {
  std::vector<Row*> order;  // rows are large: each is moved once
  order.reserve(rows.size());
  for (Row& row : rows) order.push_back(&row);
  std::sort(order.begin(), order.end(), [key](const Row* a, const Row* b) { return key(*a) < key(*b); });
  std::vector<Row> sorted;
  sorted.reserve(rows.size());
  for (Row* row : order) sorted.push_back(std::move(*row));
  rows.swap(sorted);
}

// Rows of one database and user become one.
void unite(std::vector<PoolRow>& pools) {
  const auto key = [](const PoolRow& row) { return std::tie(row.database, row.user); };
  sort(pools, key);
  std::size_t size = 0;
  for (PoolRow& row : pools) {
    if (size > 0 && key(pools[size - 1]) == key(row))
      pools[size - 1].add(row);
    else if (&pools[size++] != &row)
      pools[size - 1] = std::move(row);
  }
  pools.resize(size);
}

bool by_name(const DatabaseRow& a, const DatabaseRow& b) { return a.name < b.name; }

void put_state(DatabaseRow& row, const tiers::Tenant& record) {
  row.state = name(record.state);
  row.suspended_reason = record.state == tiers::TenantState::Active ? "" : record.reason;
}

// Tenants that are configured and have not been used yet have no home that knows them. `databases` is sorted.
void add_unused_tenants(const Snapshot& snapshot, bool paused, std::vector<DatabaseRow>& databases) {
  const auto known = static_cast<std::ptrdiff_t>(databases.size());
  for (const auto& [name, record] : snapshot.directory.tenants()) {
    DatabaseRow row = database_row(snapshot, record);
    if (std::binary_search(databases.begin(), databases.begin() + known, row, by_name)) continue;
    row.paused = paused;
    databases.push_back(std::move(row));
  }
  std::inplace_merge(databases.begin(), databases.begin() + known, databases.end(), by_name);
}

// What the tenant store says of tenants without clients, for no worker is told of their changes. Both lists
// are sorted.
void add_suspensions(const Snapshot& snapshot, std::vector<DatabaseRow>& suspensions,
                     std::vector<DatabaseRow>& databases) {
  for (DatabaseRow& row : databases) {
    if (row.clients > 0) continue;
    const auto listed = std::lower_bound(suspensions.begin(), suspensions.end(), row, by_name);
    if (listed != suspensions.end() && listed->name == row.name) {
      row.state = listed->state;
      row.suspended_reason = listed->suspended_reason;
    } else {
      put_state(row, snapshot.tenant(row.name).value_or(tiers::Tenant{}));
    }
  }
  const auto known = static_cast<std::ptrdiff_t>(databases.size());
  for (DatabaseRow& row : suspensions)
    if (!std::binary_search(databases.begin(), databases.begin() + known, row, by_name))
      databases.push_back(std::move(row));
  std::inplace_merge(databases.begin(), databases.begin() + known, databases.end(), by_name);
}

// `suspensions`: nothing where no tenant store was asked.
Report unite(std::vector<std::shared_ptr<Part>>& parts, std::optional<std::vector<DatabaseRow>>& suspensions,
             const Snapshot& snapshot, bool paused) {
  Report report;
  Traffic forgotten;
  PinBook::Totals forgotten_pins;
  for (const auto& part : parts) {
    append(report.pools, part->pools);
    append(report.databases, part->databases);
    append(report.stats, part->stats);
    append(report.pins, part->pins);
    append(report.connections, part->connections);
    append(report.backends, part->backends);
    append(report.breakers, part->breakers);
    for (auto& [name, row] : part->statements) report.statements.push_back(std::move(row));
    report.workers.push_back(part->worker);
    report.clients += part->worker.clients + part->worker.consoles;
    report.logins += part->worker.logins;
    report.servers += part->worker.servers;
    forgotten += part->forgotten;
    forgotten_pins += part->forgotten_pins;
  }
  parts.clear();
  if (forgotten != Traffic{}) report.stats.push_back({"(forgotten)", forgotten, {}});
  if (forgotten_pins != PinBook::Totals{})
    report.pins.push_back({"(forgotten)", {}, 0, 0, {}, forgotten_pins});
  unite(report.pools);
  sort(report.databases, [](const DatabaseRow& row) { return std::tie(row.name); });
  add_unused_tenants(snapshot, paused, report.databases);
  if (suspensions) add_suspensions(snapshot, *suspensions, report.databases);
  sort(report.stats, [](const StatsRow& row) { return std::tie(row.database); });
  sort(report.pins, [](const PinRow& row) { return std::tie(row.database); });
  sort(report.connections, [](const ConnectionRow& row) { return std::tie(row.database, row.id); });
  sort(report.workers, [](const WorkerRow& row) { return row.worker; });
  sort(report.statements, [](const StatementRow& row) { return std::tie(row.name); });
  sort(report.breakers, [](const BreakerRow& row) { return std::tie(row.backend, row.database, row.user); });
  // Both are in the order of their names.
  auto pool = report.pools.begin();
  for (DatabaseRow& database : report.databases) {
    while (pool != report.pools.end() && pool->database < database.name) ++pool;
    for (; pool != report.pools.end() && pool->database == database.name; ++pool)
      database.current_connections += pool->servers();
  }
  return report;
}

}  // namespace

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
  row.tier = record.limits.name;
  row.backend = record.backend;
  put_state(row, record);
  row.server_lifetime_s = static_cast<std::uint64_t>(snapshot.config().server_lifetime.count() / 1000);
  return row;
}

const std::string& tenant_of(const Group& group, const Server& server) {
  return server.session ? server.session->tenant().record.name : group.shown_tenant();
}

void add_waiting(PoolRow& row, const Session& session, Time now) {
  ++row.cl_waiting;
  row.maxwait = std::max<Duration>(row.maxwait, now - session.since());
}

void count(PoolRow& row, const Server& server) {
  switch (server.place) {
    case Place::Starting: ++row.sv_login; return;
    case Place::Idle: ++row.sv_idle; return;
    case Place::Lent: ++row.sv_active; return;
    case Place::Listening:
      ++row.sv_active;
      ++row.sv_listening;
      return;
    case Place::Settling: ++(server.leases > 0 ? row.sv_being_canceled : row.sv_tested); return;
    case Place::Closing: return;
  }
}

std::vector<BackendRow> backends(Worker& asking) {
  std::vector<BackendRow> rows;
  for (const BackendView& backend : asking.snapshot().backends)
    rows.push_back(backend_row(asking.shared(), backend));
  return rows;
}

std::vector<BreakerRow> breakers(Worker& asking) {
  std::vector<BreakerRow> rows;
  for (const BackendView& backend : asking.snapshot().backends)
    rows.push_back(breaker_row(asking.shared(), backend, asking.loop().now()));
  return rows;
}

namespace {

// Touched by one thread at a time.
struct Gathering {
  std::vector<std::shared_ptr<Part>> parts;
  std::optional<std::vector<DatabaseRow>> suspensions;
  std::function<std::string(const Report&)> write;
  std::function<void(std::string)> done;
  std::string text;
};

// Of the tenant store, some at a time; `then` on the asking worker's loop.
void gather_suspensions(Worker& asking, std::shared_ptr<Gathering> all, std::function<void()> then) {
  constexpr std::size_t kAtOnce = 500;
  if (!all->suspensions) all->suspensions.emplace();
  std::string after = all->suspensions->empty() ? "" : all->suspensions->back().name;
  asking.shared().tiers->suspensions(
      asking.loop(), std::move(after), kAtOnce,
      [&asking, all, then = std::move(then)](const std::vector<tiers::Tenant>& found) {
        for (const tiers::Tenant& record : found)
          all->suspensions->push_back(database_row(asking.snapshot(), record));
        if (found.size() < kAtOnce) return then();
        gather_suspensions(asking, all, then);
      });
}

}  // namespace

void gather(Worker& asking, Table table, const Page& page, std::function<std::string(const Report&)> write,
            std::function<void(std::string)> done) {
  auto all = std::make_shared<Gathering>(Gathering{{}, {}, std::move(write), std::move(done), {}});
  const auto united = [&asking, all] {
    asking.loop().offload(
        [all, snapshot = asking.snapshot_ref(), paused = asking.all_paused()] {
          all->text = all->write(unite(all->parts, all->suspensions, *snapshot, paused));
        },
        [all] { all->done(std::move(all->text)); });
  };
  const auto ask_workers = [&asking, table, page, all, united] {
    for (Worker* worker : asking.shared().workers)
      worker->loop().post([worker, &asking, table, page, all, united] {
        const auto done_here = [&asking, all, united](std::shared_ptr<Part> part) {
          asking.loop().post([&asking, all, united, part = std::move(part)]() mutable {
            all->parts.push_back(std::move(part));
            if (all->parts.size() == asking.shared().workers.size()) united();
          });
        };
        Needs needed = needs(table);
        needed.backends = needed.backends && worker == &asking;
        std::make_shared<Collection>(*worker, needed, page, done_here)->step();
      });
  };
  if (table != Table::Tenants || !asking.shared().tiers) return ask_workers();
  gather_suspensions(asking, std::move(all), ask_workers);
}

}  // namespace pgweir::console
