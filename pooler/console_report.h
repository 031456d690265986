// pooler/console_report.h - what the workers know, as rows for the console.
#pragma once

#include <functional>
#include <string>
#include <vector>

#include "pooler/console_core.h"
#include "pooler/console_tables.h"
#include "protocol/sql_cache.h"

namespace pgweir {
class Worker;
}

namespace pgweir::console {

struct Report {
  std::vector<PoolRow> pools;
  std::vector<DatabaseRow> databases;
  std::vector<StatsRow> stats;
  std::vector<PinRow> pins;
  std::vector<ConnectionRow> connections;  // of SHOW CLIENTS, SHOW PINNED_CLIENTS or SHOW SERVERS
  // Of tenants that no worker remembers; rows of stats and pins in the end.
  Traffic forgotten;
  PinBook::Totals forgotten_pins;
  protocol::SqlCache::Counts texts;  // how SQL was read
  std::uint64_t clients = 0, logins = 0, servers = 0;
};

// Gathers from all workers what `action` shows, and calls `done` with it, in order, on the asking worker's
// loop. Nobody waits meanwhile.
void gather(Worker& asking, Action action, std::function<void(Report)> done);

}  // namespace pgweir::console
