#include "tests/sim/notifications.h"

#include <algorithm>
#include <chrono>

namespace pgweir::sim {

namespace {
constexpr Duration kOverdue = std::chrono::seconds(30);
}

void Notifications::committed(const std::string& database, const std::string& channel,
                              const std::string& payload) {
  if (!sent_.emplace(payload, Sent{database, channel, sent_.size() + 1}).second)
    world_.violation("model: notified twice: " + payload);
  for (auto& [id, client] : clients_)
    if (client.database == database && client.channels.contains(channel))
      client.expected.push_back({world_.now(), channel, payload});
}

void Notifications::listens(int id, const std::string& database, const std::set<std::string>& channels) {
  if (line_ == Line::Lossy) return;
  Client& client = clients_[id];
  client.database = database;
  client.channels = channels;
}

void Notifications::unsure(int id, Until until) {
  Client& client = clients_[id];
  client.channels.clear();
  if (until == Until::Unknown) client.expected.clear();
}

void Notifications::gone(int id) { clients_.erase(id); }

void Notifications::heard(int id, const std::string& channel, const std::string& payload, bool may) {
  const std::string who = "client " + std::to_string(id) + " ";
  const std::string what = payload + " of " + channel;
  const auto sent = sent_.find(payload);
  if (sent == sent_.end() || sent->second.channel != channel)
    world_.violation(who + "hears what nobody notified: " + what);
  if (!may) world_.violation(who + "hears what it did not ask for: " + what);
  Client& client = clients_[id];
  if (!client.database.empty() && client.database != sent->second.database)
    world_.violation(who + "hears another database: " + what);
  if (!client.heard.insert(payload).second) world_.violation(who + "hears twice: " + what);
  std::uint64_t& last = client.last[channel];
  if (sent->second.number < last) world_.violation(who + "hears out of order: " + what);
  last = sent->second.number;
  ++heard_;
  std::erase_if(client.expected, [&](const Expected& each) { return each.payload == payload; });
}

bool Notifications::waits(int id) const {
  const auto client = clients_.find(id);
  if (client == clients_.end() || client->second.expected.empty()) return false;
  const Expected& oldest = client->second.expected.front();
  if (oldest.since + kOverdue < world_.now())
    world_.violation("client " + std::to_string(id) + " never hears " + oldest.payload + " of " +
                     oldest.channel);
  return true;
}

}  // namespace pgweir::sim
