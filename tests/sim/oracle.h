// tests/sim/oracle.h - what only the simulator knows: the ledger of inserted rows and who asked for a cancel.
//
// Every row is inserted by one request of one client. Acknowledged rows must be in Postgres exactly once,
// rows that were never acknowledged at most once, rows whose end the client saw as rolled back not at all.
#pragma once

#include <cstdint>
#include <map>
#include <string>

#include "tests/sim/world.h"

namespace pgweir::sim {

class Oracle {
 public:
  explicit Oracle(World& world) : world_(world) {}

  // By clients.
  void sent(const std::string& row) {
    if (!rows_.emplace(row, Row{}).second) world_.violation("model: row sent twice: " + row);
  }
  void acknowledged(const std::string& row) { rows_.at(row).acknowledged = true; }
  void rolled_back(const std::string& row) { rows_.at(row).rolled_back = true; }
  // By servers.
  void executed(const std::string& row, bool committed) {
    const auto found = rows_.find(row);
    if (found == rows_.end()) world_.violation("a row that nobody sent was inserted: " + row);
    if (++found->second.executed > 1) world_.violation("a statement was sent twice: insert " + row);
    if (committed) ++found->second.committed;
    if (committed && found->second.rolled_back) world_.violation("row committed after its rollback: " + row);
  }
  // At the end of a run.
  void check_ledger() const {
    for (const auto& [name, row] : rows_) {
      if (row.acknowledged && row.committed != 1) world_.violation("an acknowledged row is lost: " + name);
      if (row.rolled_back && row.committed != 0) world_.violation("a rolled back row is there: " + name);
    }
  }

  // Cancels. A connection of a client uses the serials from `first` on, until the next one begins; once it is
  // gone, what it left running may be canceled by anybody.
  void connected(int client, std::uint64_t first) { clients_[client] = {first, false}; }
  void disconnected(int client, std::uint64_t next) { clients_[client] = {next, false}; }
  void asks_cancel(int client) { clients_[client].asked = true; }
  bool may_cancel(int client, std::uint64_t serial) const {
    const auto found = clients_.find(client);
    return found != clients_.end() && (found->second.asked || serial < found->second.first);
  }
  // Whether this serial is of the connection that the client has now.
  bool is_current(int client, std::uint64_t serial) const {
    const auto found = clients_.find(client);
    return found != clients_.end() && serial >= found->second.first;
  }
  std::size_t rows() const { return rows_.size(); }

 private:
  struct Row {
    int executed = 0;
    int committed = 0;
    bool acknowledged = false;
    bool rolled_back = false;
  };
  World& world_;
  std::map<std::string, Row> rows_;
  struct Client {
    std::uint64_t first = 0;
    bool asked = false;
  };
  std::map<int, Client> clients_;
};

}  // namespace pgweir::sim
