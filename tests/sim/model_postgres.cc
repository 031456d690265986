#include "tests/sim/model_postgres.h"

#include <algorithm>

#include "pooler/base/check.h"
#include "tests/sim/limits_in_force.h"

namespace pgweir::sim {

ModelPostgres::ModelPostgres(World& w, Network& network, Oracle& o, Notifications& n, net::Endpoint where,
                             int port, Options options)
    : world(w),
      oracle(o),
      notifications(n),
      loop_(network, "pg" + std::to_string(port)),
      where_(std::move(where)),
      port_(port),
      options_(std::move(options)),
      next_pid_(static_cast<std::uint32_t>(port) * 100'000) {
  network.expose(where_, port_);
}

ModelPostgres::~ModelPostgres() { PGWEIR_CHECK(backends_.empty()); }

void ModelPostgres::start() {
  world.trace("{} starts", loop_.name());
  if (!listener_) listener_ = loop_.listen(port_, *this);
}

void ModelPostgres::on_accept(std::unique_ptr<net::Stream> stream) {
  const std::uint32_t pid = ++next_pid_;
  backends_[pid] = std::make_unique<ModelBackend>(*this, std::move(stream), pid);
}

std::string ModelPostgres::may_log_in(const ModelBackend& backend) {
  if (world.now() < recovering_until_) return "57P03";
  std::size_t all = 1, held = 1, same = 1;
  for (const auto& [pid, other] : backends_) {
    if (!other->logged_in()) continue;
    ++all;
    if (!other->held() || is_side(other->where())) continue;
    ++held;
    if (other->where() == backend.where()) ++same;
  }
  if (all > options_.max_connections) return "53300";
  if (held > options_.allowed_total && !is_side(backend.where()))
    world.violation("the pooler holds " + std::to_string(held) + " server connections, allowed are " +
                    std::to_string(options_.allowed_total));
  const auto limit = options_.allowed.find(backend.where());
  if (!backend.settings().empty()) groups_[backend.where()].insert(backend.settings());
  const std::size_t listeners = std::max(groups_[backend.where()].size(), ceilings_);
  if (limit != options_.allowed.end() && same > limit->second + listeners)
    world.violation("the pooler holds " + std::to_string(same) + " server connections for " +
                    backend.where() + ", allowed are " + std::to_string(limit->second));
  check_opened(backend, listeners);
  ++logins_;
  held_most_ = std::max(held_most_, held);
  return {};
}

// What has begun under higher limits may end under lower ones, and is no reason not to open another one.
void ModelPostgres::check_opened(const ModelBackend& fresh, std::size_t listeners) const {
  if (!options_.in_force || is_side(fresh.where())) return;
  const Time since = fresh.since() - options_.on_the_way;
  std::size_t theirs = 1;
  const Time lowered = options_.in_force->lowered_at(fresh.where()) + options_.on_the_way;
  for (const auto& [pid, other] : backends_) {
    if (!other->logged_in() || !other->held() || other->where() != fresh.where()) continue;
    if (!other->busy() || other->busy_since() > lowered) ++theirs;
  }
  const std::size_t most = options_.in_force->most(fresh.where(), since);
  if (theirs > most + listeners)
    world.violation("the pooler holds " + std::to_string(theirs) + " server connections for " +
                    fresh.where() + ", since the last was opened at most " + std::to_string(most) +
                    " were allowed");
}

void ModelPostgres::check_served(const std::string& where) {
  const auto limit = options_.allowed.find(where);
  if (limit == options_.allowed.end()) return;
  const auto serving = std::count_if(backends_.begin(), backends_.end(), [&](const auto& each) {
    return each.second->logged_in() && each.second->held() && each.second->served() &&
           each.second->where() == where;
  });
  if (static_cast<std::size_t>(serving) > limit->second)
    world.violation(std::to_string(serving) + " server connections of " + where +
                    " serve clients, allowed are " + std::to_string(limit->second));
}

void ModelPostgres::check_working(int client) const {
  if (!options_.in_force) return;
  const unsigned tenant = options_.tenant_of(client);
  const auto most = options_.in_force->most(tenant, world.now() - options_.on_the_way);
  const auto working = std::count_if(backends_.begin(), backends_.end(), [&](const auto& each) {
    return each.second->held() && each.second->working() &&
           options_.tenant_of(each.second->owner()) == tenant;
  });
  if (most && static_cast<std::size_t>(working) > *most)
    world.violation("a transaction begins where " + std::to_string(working) +
                    " server connections of tenant" + std::to_string(tenant) +
                    " work for clients, allowed are " + std::to_string(*most));
}

void ModelPostgres::check_temps() const {
  const auto kept = std::count_if(backends_.begin(), backends_.end(), [&](const auto& each) {
    const Token token = each.second->kept_for();
    return token.client >= 0 && oracle.is_current(token.client, token.serial);
  });
  if (static_cast<std::size_t>(kept) > options_.temps_most)
    world.violation(std::to_string(kept) + " clients keep servers for temporary tables, allowed are " +
                    std::to_string(options_.temps_most));
}

void ModelPostgres::notify(const ModelBackend& by, const PgSession::Notified& notified) {
  const std::string database = by.where().substr(0, by.where().find('/'));
  if (token_in(notified.payload).client >= 0)
    notifications.committed(database, notified.channel, notified.payload);
  for (const auto& [pid, backend] : backends_)
    if (backend->where().substr(0, backend->where().find('/')) == database)
      backend->notified(by.pid(), notified);
}

ModelBackend* ModelPostgres::find(std::uint32_t pid) {
  const auto found = backends_.find(pid);
  return found == backends_.end() ? nullptr : found->second.get();
}

void ModelPostgres::cancel(std::uint32_t pid, Bytes key) {
  ModelBackend* backend = find(pid);
  if (!backend) return;  // gone meanwhile
  if (backend->key() != key) world.violation("a cancel with a wrong key for backend " + std::to_string(pid));
  backend->cancel();
}

bool ModelPostgres::terminate(std::uint32_t pid) {
  ModelBackend* backend = find(pid);
  if (!backend) return false;
  world.trace("backend {} is terminated by the pooler", pid);
  if (is_side(backend->where())) world.violation("the pooler ends a connection of its own");
  backend->terminate("57P01", "terminating connection due to administrator command");
  return true;
}

void ModelPostgres::ended(ModelBackend& backend) { backends_.erase(backend.pid()); }

ModelBackend* ModelPostgres::any() {
  if (backends_.empty()) return nullptr;
  auto at = backends_.begin();
  std::advance(at, static_cast<std::ptrdiff_t>(world.rng().below(backends_.size())));
  return at->second.get();
}

void ModelPostgres::promote() {
  PGWEIR_CHECK(options_.role == Role::Standby);
  world.trace("{} is promoted", loop_.name());
  options_.role = Role::Primary;
}

void ModelPostgres::demote() {
  PGWEIR_CHECK(options_.role == Role::Primary && !running());
  options_.role = Role::Standby;
}

PgSession::Values ModelPostgres::role_told() const {
  if (options_.role == Role::Alone) return {};
  return {{"in_hot_standby", standby() ? "on" : "off"}, {"default_transaction_read_only", "off"}};
}

void ModelPostgres::kill_one() {
  if (ModelBackend* backend = any()) {
    world.trace("backend {} dies", backend->pid());
    backend->die();
    sweep();
  }
}

void ModelPostgres::terminate_one() {
  if (ModelBackend* backend = any()) {
    world.trace("backend {} is terminated", backend->pid());
    backend->terminate("57P01", "terminating connection due to administrator command");
    sweep();
  }
}

void ModelPostgres::crash() {
  world.trace("{} crashes", loop_.name());
  frozen_ = false;
  listener_.reset();
  for (const auto& [pid, backend] : backends_) backend->die();
  sweep();
}

std::size_t ModelPostgres::awaited_since(Time then) const {
  return static_cast<std::size_t>(std::count_if(backends_.begin(), backends_.end(), [then](const auto& each) {
    return each.second->unheard_since() <= then;
  }));
}

void ModelPostgres::stop() {
  world.trace("{} stops", loop_.name());
  listener_.reset();
  for (const auto& [pid, backend] : backends_)
    backend->terminate("57P01", "terminating connection due to administrator command");
  sweep();
}

void ModelPostgres::sweep() {
  std::erase_if(backends_, [](const auto& each) { return each.second->over(); });
}

}  // namespace pgweir::sim
