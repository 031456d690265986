// tests/sim/door.h - how many clients each tenant has, as they know themselves; and whether who is let in and
// who is turned away is what their tier says.
//
// Where clients leave by themselves only: who has been let in and has not left is one of them to the pooler,
// too.
#pragma once

#include <cstddef>
#include <map>
#include <vector>

#include "tests/sim/world.h"

namespace pgweir::sim {

class Door {
 public:
  // `most`: clients of each tenant; `news`: the pooler knows after this that one has gone.
  Door(World& world, unsigned tenants, std::size_t most, Duration news)
      : world_(world), most_(most), news_(news), clients_(tenants) {}

  void comes(unsigned tenant, int client);
  void let_in(unsigned tenant, int client);
  void turned_away(unsigned tenant, int client);  // for there are too many
  void leaves(unsigned tenant, int client);       // may be told twice

 private:
  struct Client {
    Time came{}, left = kNever;
    bool in = false;
  };
  World& world_;
  std::size_t most_;
  Duration news_;
  std::vector<std::map<int, Client>> clients_;  // their last connections
};

}  // namespace pgweir::sim
