// tests/sim/notifications.h - which client must hear which notification, by the order in which Postgres has
// committed them.
//
// Each payload is notified once. A client must hear what was committed while it surely listened, at most once
// and, of one channel, in order. It may hear nothing of a channel that it did not ask for.
#pragma once

#include <cstdint>
#include <deque>
#include <map>
#include <set>
#include <string>

#include "tests/sim/world.h"

namespace pgweir::sim {

class Notifications {
 public:
  // Lossy: connections to Postgres may break, and with them what they would have told.
  enum class Line : std::uint8_t { Sure, Lossy };
  Notifications(World& world, Line line) : world_(world), line_(line) {}

  // By Postgres.
  void committed(const std::string& database, const std::string& channel, const std::string& payload);
  // By clients: it has been answered that it listens to these; it has asked for an end, or is gone.
  void listens(int client, const std::string& database, const std::set<std::string>& channels);
  // What is committed by now must be heard before the end takes place, or need not be.
  enum class Until : std::uint8_t { Now, Unknown };
  void unsure(int client, Until until);
  void gone(int client);
  // `may`: it has asked for that channel.
  void heard(int client, const std::string& channel, const std::string& payload, bool may);
  // Nothing is overdue. True when something is still to come.
  bool waits(int client) const;
  std::uint64_t heard_count() const { return heard_; }

 private:
  struct Expected {
    Time since;
    std::string channel, payload;
  };
  struct Client {
    std::string database;
    std::set<std::string> channels;
    std::deque<Expected> expected;
    std::map<std::string, std::uint64_t> last;  // number heard, by channel
    std::set<std::string> heard;
  };
  struct Sent {
    std::string database, channel;
    std::uint64_t number;
  };
  World& world_;
  Line line_;
  std::map<std::string, Sent> sent_;  // by payload
  std::map<int, Client> clients_;
  std::uint64_t heard_ = 0;
};

}  // namespace pgweir::sim
