// pooler/console_tables.h - what the SHOW commands show: rows as plain values, and one table of figures per
// command.
//
// Names, order and types of the columns are those of PgBouncer 1.25, because tools read them by name or by
// position. Rows are gathered on one thread and shown on another, so they hold values and no pointers.
#pragma once

#include <cstdint>
#include <optional>
#include <span>
#include <string>
#include <vector>

#include "conf/load.h"
#include "pooler/base/time.h"
#include "pooler/breaker.h"
#include "pooler/ceiling_tally.h"
#include "pooler/console_figure.h"
#include "pooler/request_trail.h"
#include "pooler/tenant.h"
#include "tiers/record.h"

namespace pgweir::console {

// Of one database and user; or, for metrics, of all pools of a tenant or of a tier.
struct PoolRow {
  std::string database, user;
  std::uint32_t clients = 0, cl_waiting = 0;  // those that wait are among the clients
  std::uint32_t sv_active = 0, sv_being_canceled = 0, sv_idle = 0, sv_tested = 0, sv_login = 0;
  std::uint32_t sv_listening = 0;  // of the active ones
  Duration maxwait{};
  tiers::PoolMode pool_mode = tiers::PoolMode::Transaction;

  // They are not all counted at the same moment.
  std::uint32_t cl_active() const { return clients > cl_waiting ? clients - cl_waiting : 0; }
  std::uint32_t servers() const { return sv_active + sv_being_canceled + sv_idle + sv_tested + sv_login; }
  void add(const PoolRow& other);  // figures only
};

struct ConnectionRow {
  const char* type = "C";  // or "S"
  std::string user, database;
  const char* state = "";
  std::string addr, local_addr;
  std::uint32_t port = 0, local_port = 0;
  Duration connected{}, requested{};  // ago
  Duration wait{};
  bool close_needed = false;
  std::optional<std::uint64_t> link;  // the id of the client or server at its other end
  std::uint32_t remote_pid = 0;
  std::string tls, application_name;
  std::uint64_t prepared_statements = 0;
  std::uint64_t id = 0;
  const char* replication = "none";
  Pins pins = 0;  // of a client: why it keeps its server
  std::uint64_t unsent = 0;
};

// One database's clients that keep a server between transactions.
struct PinRow {
  std::string database, tier;
  std::uint32_t clients = 0, most = 0;
  PinBook::Reasons reasons{};
  PinBook::Totals totals;

  void add(const PinRow& other);  // those that are pinned now
};

struct DatabaseRow {
  std::string name, host;
  std::uint32_t port = 0;
  std::string database;
  Text force_user;
  std::uint32_t pool_size = 0;
  std::uint32_t min_pool_size = 0;
  std::uint64_t server_lifetime_s = 0;
  std::uint32_t max_connections = 0, current_connections = 0, max_clients = 0, clients = 0;
  bool paused = false, disabled = false;
  tiers::PoolMode pool_mode = tiers::PoolMode::Transaction;
  std::string tier, backend;  // of SHOW TENANTS
  std::string state, suspended_reason;
};

struct UserRow {
  std::string name;
  std::uint32_t servers = 0, clients = 0;
};

// Objects of one kind; none is kept for later.
struct MemRow {
  const char* name;
  std::uint64_t size = 0, used = 0;
  std::uint64_t total() const { return size * used; }
};

// A tier, its fields as text in the order of tiers::tier_fields(), and who has it.
struct TierRow {
  tiers::Tier tier;
  std::uint64_t tenants = 0, clients = 0, servers = 0;
};

// What a tier says of one of Postgres's parameters, and how often its tenants reached for more.
struct CeilingRow {
  std::string tier, parameter;
  const char* kind = "";  // ceiling, injected, default; empty: none in particular
  std::string value;
  const char* source = "";    // tier, or tenant: a value of his own
  const char* firmness = "";  // see firmness_of()
  std::uint64_t lowered = 0, refused = 0, enforced = 0, canceled = 0, ended = 0;

  void count(const CeilingCounts& counts) {
    lowered = counts.lowered;
    refused = counts.refused;
    enforced = counts.enforced;
    canceled = counts.canceled;
    ended = counts.ended;
  }
};

struct StatsRow {
  std::string database;
  Traffic total;
  TrafficPeriod::View period{};
  std::uint32_t peak_clients = 0, peak_servers = 0;
};

// One rule that holds for a tenant.
struct LimitView {
  std::string limit, value, in_use, rule;
};

// One thread.
struct WorkerRow {
  std::uint32_t worker = 0;
  std::uint64_t tenants = 0, groups = 0, clients = 0, waiting = 0, logins = 0, consoles = 0, servers = 0;
  // Of clients, by how it was told what they do to a session: by their words, by memory, by the parser.
  std::uint64_t texts_by_words = 0, texts_remembered = 0, texts_parsed = 0;
};

// One backend, over all workers.
struct BackendRow {
  std::string name, host;  // that is in use; before one is, the first
  std::uint32_t port = 0;
  std::uint32_t servers = 0, most = 0;
  bool starved = false;
  std::string hosts;  // all, and what is known of each
  std::string target_session_attrs;
};

// A backend's breaker; or, with a database and user, theirs.
struct BreakerRow {
  std::string backend;
  Text database, user;
  Breaker::State state = Breaker::State::Closed;
  bool ordered = false;
  std::uint32_t failures = 0, volume = 0;
  std::uint64_t opened = 0, failed = 0, rejected = 0;
  Text next_try_s;  // until who fails fast is let through
  std::string last_error;
};

// The tenant store.
struct StoreRow {
  std::uint64_t lookups = 0, fetches = 0, failures = 0, refused = 0;
  std::uint64_t known = 0, stale = 0;
  Duration silent{};
  std::uint64_t usage_failures = 0;
  Duration usage_late{};
};

// A prepared statement that the clients of one database and user share.
struct StatementRow {
  std::string name;  // in whose order they are shown: database, user, group and number
  std::string backend, database, user;
  std::string statement;  // its name on servers
  KeptText text;          // nothing of it is shown but:
  std::string fingerprint;
  std::uint64_t bytes = 0;
  std::uint32_t names = 0, servers = 0;
  std::uint64_t parses = 0, binds = 0;
};

struct NamedCount {
  const char* name;
  std::uint64_t count = 0;
};

struct KeyValue {
  std::string key, value;
};

// The figures of a row that are metrics, in the order of its columns; the same for every row.
struct Sampled {
  const Metric* metric;
  double value;
};
std::vector<Sampled> samples(const PoolRow& row);
std::vector<Sampled> samples(const PinRow& row);
std::vector<Sampled> samples(const DatabaseRow& row);
std::vector<Sampled> samples(const Traffic& total);
std::vector<Sampled> samples(const WorkerRow& row);
std::vector<Sampled> samples(const BackendRow& row);
std::vector<Sampled> samples(const BreakerRow& row);
std::vector<Sampled> samples(const CeilingRow& row);
std::vector<Sampled> samples(const StoreRow& row);

// A row column by column, for whoever writes it in another form.
struct Cell {
  std::string column;
  Text value;
  enum class Kind : std::uint8_t { Words, Number, Truth } kind = Kind::Words;
};
std::vector<Cell> cells(const PoolRow& row);
std::vector<Cell> cells(const TierRow& row);
std::vector<Cell> cells(const WorkerRow& row);
std::vector<Cell> cells(const BackendRow& row);
std::vector<Cell> cells(const BreakerRow& row);
std::vector<Cell> tenant_cells(const DatabaseRow& row);
std::vector<Cell> cells(const StatsRow& row);
std::vector<Cell> cells(const LimitView& row);

// The columns of SHOW USAGE but for the tenant.
tiers::Fields usage_fields(const StatsRow& row);
// What they are, as pooler/usage.md has it.
std::string usage_reference();

// Each appends a RowDescription and the DataRows. `now_s` is the time of day, in seconds since 1970.
void put_pools(std::string& out, std::span<const PoolRow> rows);
void put_connections(std::string& out, std::span<const ConnectionRow> rows, std::int64_t now_s);
void put_sockets(std::string& out, std::span<const ConnectionRow> rows, std::int64_t now_s);
void put_pinned_clients(std::string& out, std::span<const ConnectionRow> rows);
void put_pins(std::string& out, std::span<const PinRow> rows);
void put_databases(std::string& out, std::span<const DatabaseRow> rows);
void put_tenants(std::string& out, std::span<const DatabaseRow> rows);
void put_tiers(std::string& out, std::span<const TierRow> rows);
void put_ceilings(std::string& out, std::span<const CeilingRow> rows);
void put_users(std::string& out, std::span<const UserRow> rows);
void put_mem(std::string& out, std::span<const MemRow> rows);
// What there is none of here.
void put_peers(std::string& out);
void put_peer_pools(std::string& out);
void put_dns_hosts(std::string& out);
void put_dns_zones(std::string& out);
void put_config(std::string& out, std::span<const conf::Shown> rows);
void put_lists(std::string& out, std::span<const NamedCount> rows);
void put_state(std::string& out, std::span<const KeyValue> rows);
void put_stats(std::string& out, std::span<const StatsRow> rows);
void put_stats_totals(std::string& out, std::span<const StatsRow> rows);
void put_stats_averages(std::string& out, std::span<const StatsRow> rows);
void put_usage(std::string& out, std::span<const StatsRow> rows);
void put_limits(std::string& out, std::span<const LimitView> rows);
void put_workers(std::string& out, std::span<const WorkerRow> rows);
void put_backends(std::string& out, std::span<const BackendRow> rows);
void put_breakers(std::string& out, std::span<const BreakerRow> rows);
void put_statements(std::string& out, std::span<const StatementRow> rows);
void put_totals(std::string& out, std::span<const StatsRow> rows);
// One row of one column.
void put_value(std::string& out, const char* column, std::uint32_t type_oid, const std::string& value);

}  // namespace pgweir::console
