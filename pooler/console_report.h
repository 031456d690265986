// pooler/console_report.h - what the workers know, as rows for the console.
#pragma once

#include <functional>
#include <string>
#include <vector>

#include "pooler/console_core.h"
#include "pooler/console_tables.h"
#include "pooler/snapshot.h"

namespace pgweir {
class Group;
class Server;
class Session;
class Worker;
}  // namespace pgweir

namespace pgweir::console {

struct Report {
  std::vector<PoolRow> pools;
  std::vector<DatabaseRow> databases;
  std::vector<StatsRow> stats;
  std::vector<PinRow> pins;
  std::vector<ConnectionRow> connections;  // of clients, servers or both
  std::vector<WorkerRow> workers;
  std::vector<BackendRow> backends;
  std::vector<BreakerRow> breakers;  // of backends, and of databases and users
  std::vector<StatementRow> statements;
  std::uint64_t clients = 0, logins = 0, servers = 0;
};

// Gathers from all workers what `action` shows, some rows at a time, so that none of them stands still;
// `write` makes a text of it on a helper thread, and `done` is given that on the asking worker's loop.
// `write` may hold values only. Of statements those of the page alone are gathered.
void gather(Worker& asking, Table table, const Page& page, std::function<std::string(const Report&)> write,
            std::function<void(std::string)> done);

// As it is configured; nothing of it is in use.
DatabaseRow database_row(const Snapshot& snapshot, const tiers::Tenant& record);
// In whose rows a server is shown.
const std::string& tenant_of(const Group& group, const Server& server);
void count(PoolRow& row, const Server& server);
// One that waits, for a server or for its tenant's rate.
void add_waiting(PoolRow& row, const Session& session, Time now);

// The backends of the asking worker's configuration, all at once.
std::vector<BackendRow> backends(Worker& asking);
std::vector<BreakerRow> breakers(Worker& asking);

}  // namespace pgweir::console
