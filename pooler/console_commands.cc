#include "pooler/console_commands.h"

#include <algorithm>
#include <vector>

#include "pooler/worker.h"

namespace pgweir::console {

namespace {

Error killed() {
  return {sqlstate::kAdminShutdown,
          "terminating connection due to administrator command",
          "It was killed on the pooler's console.",
          {}};
}

bool concerns(const Worker& worker, const Group& group, const tiers::Tenant* record) {
  if (!record) return true;
  // Its clients may still be where its record was before.
  const Tenant* const tenant = worker.tenants().find(record->name);
  if (tenant && group.serves(*tenant)) return true;
  return group.key().backend == record->backend && group.key().database == record->database;
}

}  // namespace

void kill(Worker& worker, const tiers::Tenant* record) {
  worker.set_paused(record, true);
  std::vector<Session*> sessions;
  for (const auto& [id, session] : worker.sessions())
    if (!record || session->tenant().record.name == record->name) sessions.push_back(session.get());
  for (Session* session : sessions) session->end(killed());
  // Groups that other tenants of the same database use go on.
  for (const auto& [key, group] : worker.groups())
    if (concerns(worker, *group, record) && group->paused()) group->close_unused("KILL");
}

bool kill_client(Worker& worker, std::uint32_t id) {
  const auto place = worker.sessions().find(id);
  if (place == worker.sessions().end()) return false;
  place->second->end(killed());
  return true;
}

void reconnect(Worker& worker, const tiers::Tenant* record) {
  for (const auto& [key, group] : worker.groups()) {
    if (!concerns(worker, *group, record)) continue;
    for (const auto& [id, server] : group->servers())
      if (server->place != Server::Place::Starting) server->expires = {};
    group->close_idle();
  }
}

bool all_flushed(const Worker& worker) {
  return std::all_of(worker.sessions().begin(), worker.sessions().end(),
                     [](const auto& entry) { return entry.second->closing() || entry.second->flushed(); });
}

void drop_unflushed(Worker& worker) {
  std::vector<Session*> stuck;
  for (const auto& [id, session] : worker.sessions())
    if (!session->closing() && !session->flushed()) stuck.push_back(session.get());
  for (Session* session : stuck)
    session->end({sqlstate::kAdminShutdown,
                  "terminating connection due to administrator command",
                  "SUSPEND on the pooler's console waits for the other side to take what was sent, and that "
                  "did not happen in time.",
                  {}});
}

bool all_closed(const Worker& worker, const tiers::Tenant* record) {
  return std::all_of(worker.groups().begin(), worker.groups().end(), [&](const auto& entry) {
    if (!concerns(worker, *entry.second, record)) return true;
    return std::all_of(
        entry.second->servers().begin(), entry.second->servers().end(), [](const auto& server) {
          return server.second->place == Server::Place::Starting || server.second->expires != Time{};
        });
  });
}

}  // namespace pgweir::console
