#include "tests/sim/door.h"

#include <fmt/format.h>

#include <algorithm>

namespace pgweir::sim {

void Door::comes(unsigned tenant, int client) { clients_.at(tenant)[client] = {world_.now(), kNever, false}; }

void Door::let_in(unsigned tenant, int client) {
  auto& all = clients_.at(tenant);
  all.at(client).in = true;
  const auto in = std::count_if(all.begin(), all.end(), [](const auto& each) { return each.second.in; });
  if (static_cast<std::size_t>(in) > most_)
    world_.violation(fmt::format("tenant{} has {} clients, allowed are {}", tenant, in, most_));
}

void Door::turned_away(unsigned tenant, int client) {
  const auto& all = clients_.at(tenant);
  const Time since = all.at(client).came;
  const auto others = std::count_if(all.begin(), all.end(), [&](const auto& each) {
    return each.first != client && (each.second.left == kNever || each.second.left + news_ >= since);
  });
  if (static_cast<std::size_t>(others) < most_)
    world_.violation(fmt::format("client {} was turned away, though tenant{} had {} others at most, of {}",
                                 client, tenant, others, most_));
}

void Door::leaves(unsigned tenant, int client) {
  Client& one = clients_.at(tenant).at(client);
  one.in = false;
  one.left = std::min(one.left, world_.now());
}

}  // namespace pgweir::sim
