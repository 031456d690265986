// pooler/group_changes.cc - Group: what a reload, a plan change, PAUSE, MOVE or another host does to it.
#include <algorithm>
#include <set>
#include <tuple>

#include "pooler/base/check.h"
#include "pooler/group.h"
#include "pooler/session.h"
#include "pooler/worker.h"

namespace pgweir {

namespace {
constexpr std::chrono::seconds kRenewPause{1};

// Whether a connection made by `a` is one that `b` would make.
bool same_way_in(const conf::Backend& a, const conf::Backend& b) {
  const auto way = [](const conf::Backend& backend) {
    return std::tie(backend.host, backend.port, backend.hosts, backend.target_session_attrs, backend.tls_mode,
                    backend.tls_ca_file, backend.tls_cert_file, backend.tls_key_file, backend.auth_methods);
  };
  return way(a) == way(b);
}
}  // namespace

void Group::close_idle() {
  listener_.tend();
  while (!idle_.empty()) drop(*idle_.front(), "not needed now");
  const Time now = worker_.loop().now();
  for (auto& [id, server] : servers_) server->expires = std::min(server->expires, now);
}

// Once a second at most: whoever alters his own role without end shares its servers with others.
void Group::renew_servers() {
  const Time now = worker_.loop().now();
  books.settings.forget_baseline();
  if (renewed_at_ > now) return;  // those that begin until then are replaced with the others
  renewed_at_ = std::max(now, renewed_at_ + kRenewPause);
  for (auto& [id, server] : servers_) server->expires = std::min(server->expires, renewed_at_);
  tick();
}

void Group::leave_hosts(const std::function<bool(const net::Endpoint&)>& these) {
  if (listener_.server() && these(listener_.server()->host())) listener_.close();
  const Time now = worker_.loop().now();
  bool left = false;
  for (auto& [id, server] : servers_) {
    // One that logs in finds out by itself.
    if (server->place == Server::Place::Starting || !these(server->host())) continue;
    left = true;
    server->expires = std::min(server->expires, now);
    if (server->place == Server::Place::Idle) drop(*server, "the backend is another host now");
  }
  // A fresh session there may report something else.
  if (left) books.settings.forget_baseline();
}

void Group::lose_host(const net::Endpoint& lost) {
  leave_hosts([&lost](const net::Endpoint& host) { return host == lost; });
  for (auto& [id, server] : servers_) {
    const bool works = server->place == Server::Place::Lent || server->place == Server::Place::Settling;
    if (works && server->host() == lost)
      server->lose("its host does not answer, and another one is the primary now");
  }
}

bool Group::awaits(const net::Endpoint& host) const {
  return std::any_of(servers_.begin(), servers_.end(), [&host](const auto& entry) {
    return entry.second->watched() && entry.second->host() == host;
  });
}

void Group::begin_move() {
  withdraw();
  pause_changed();
}

bool Group::moving() const {
  return std::any_of(tenants_.begin(), tenants_.end(), [](const auto& entry) { return entry.first->moving; });
}

bool Group::may_move() const { return servers_.empty() && listener_.gone() && !claimed_; }

void Group::move(GroupKey to) {
  PGWEIR_CHECK(may_move() && starting_ == 0);
  backing_->budget.withdraw(backing_->claimant);
  key_ = std::move(to);
  backing_ = std::make_unique<Backing>(worker_, key_, id_);
  heritage_ = {};
  plain_refused_ = false;
  failures_ = 0;
  last_error_.reset();
  retry_at_ = {};
  wakes_.clear();
  waking_since_ = kNever;
  // Another database may report other settings and have other functions.
  books.settings.forget_baseline();
  books.routines.definitions_changed(RoutineBook::By::Own);
}

Time Group::expiry(const Server& server) {
  if (server.started_at <= renewed_at_) return renewed_at_;
  const Duration lifetime = worker_.config().server_lifetime;
  if (lifetime.count() == 0) return kNever;
  const auto tenth = static_cast<std::uint64_t>(lifetime.count()) / 10;
  return server.started_at + lifetime - Duration(static_cast<std::int64_t>(worker_.rng().below(tenth + 1)));
}

void Group::reloaded(const Snapshot& before) {
  const conf::Config& config = worker_.config();
  const Time now = worker_.loop().now();
  wishes_.reset();
  standings_changed();
  books.statements.set_bytes_max(config.prepared_statement_bytes);
  books.statements_per_server = config.max_prepared_statements;
  books.routines.follow(config.read_functions);
  // A secret of the user list may have changed; a tenant's own one makes another group.
  if (key_.secret.empty()) {
    const auto& users = worker_.snapshot().users;
    const auto user = users.find(key_.user);
    credentials_.secret = user == users.end() ? std::nullopt : std::optional(user->second);
  }
  renew(before.backend(key_.backend));
  renew_tokens();
  startup_changed();
  for (auto& [id, server] : servers_) {
    if (server->place == Server::Place::Starting || server->expires <= now) continue;
    if (config.server_lifetime != before.config().server_lifetime) server->expires = expiry(*server);
    // One statement makes room for one, so too many would stay too many.
    if (config.max_prepared_statements < before.config().max_prepared_statements &&
        server->core.statements.size() > config.max_prepared_statements)
      server->expires = now;
  }
  close_surplus();
  retry_at_ = {};  // what failed may be what has changed
  backing_->gate.take_rules();
  backing_->gate.begin_anew();
  listener_.retry();
  tick();
  serve();
  grow();
}

void Group::limits_changed() {
  wishes_.reset();
  standings_changed();
  close_surplus();
  tick();
  serve();
  grow();
}

void Group::startup_changed() {
  // Nobody is here to tell: the record of its last tenant does, if that finds it by its key.
  StartupRef last;
  if (tenants_.empty())
    if (const auto record = worker_.snapshot().tenant(shown_tenant_)) last = worker_.startup_of(*record);
  if (last && *last != key_.startup) last.reset();
  std::set<StartupRef> wanted{last};
  for (const auto& [tenant, member] : tenants_) wanted.insert(tenant->startup);
  const auto usable = [&](const Server& server) { return wanted.contains(server.startup); };
  bool changed = false;
  const Time now = worker_.loop().now();
  for (auto& [id, server] : servers_) {
    if (server->place == Server::Place::Closing || usable(*server)) continue;
    changed = true;
    if (server->place == Server::Place::Idle || server->place == Server::Place::Starting)
      drop(*server, "opened with other ceilings");
    else
      server->expires = std::min(server->expires, now);
  }
  // Those that come report what the new settings make of a fresh session.
  if (changed) books.settings.forget_baseline();
  // Whoever comes will be in another group, with a listener of its own.
  if (tenants_.empty() && !last) listener_.close();
}

void Group::renew(const BackendView* was) {
  const BackendView* is = worker_.snapshot().backend(key_.backend);
  if (is && was && same_way_in(was->settings, is->settings)) return;
  plain_refused_ = false;
  backing_->gate.backend_moved();
  listener_.close();
  close_idle();
  for (auto& [id, server] : servers_)
    if (server->place == Server::Place::Starting) drop(*server, "the backend has changed");
}

// Without tokens nobody takes back what a server was told last: then those that were told go.
void Group::renew_tokens() {
  const BackendView* const is = worker_.snapshot().backend(key_.backend);
  tokens_.reset();
  if (is && !is->settings.tenant_secret.empty())
    tokens_.emplace(is->settings.tenant_secret, is->settings.tenant_token_life);
  if (tokens_) return;
  const Time now = worker_.loop().now();
  for (auto& [id, server] : servers_)
    if (!server->core.introduced.tenant.empty()) server->expires = std::min(server->expires, now);
}

// Beyond what the tenants' tiers and the backend allow since a reload.
void Group::close_surplus() {
  while (!idle_.empty() && backing_->budget.shed()) drop(*idle_.front(), "not needed now");
  if (!tenants_.empty()) shrink();
}

std::size_t Group::staying() const {
  const Time now = worker_.loop().now();
  return static_cast<std::size_t>(std::count_if(servers_.begin(), servers_.end(), [now](const auto& entry) {
    if (entry.second->place == Server::Place::Starting) return true;  // when it expires is said later
    return entry.second->place != Server::Place::Closing && entry.second->expires > now;
  }));
}

void Group::shrink() {
  const Time now = worker_.loop().now();
  const std::size_t stay = staying();
  std::size_t over = stay - std::min<std::size_t>(stay, capacity());
  for (; over > 0 && !idle_.empty(); --over) drop(*idle_.front(), "not needed now");
  // Nobody has those that are starting; left alone they would stay.
  for (auto& [id, server] : servers_) {
    if (over == 0) return;
    if (server->place != Server::Place::Starting || server->role == Server::Role::Walsender) continue;
    drop(*server, "not needed now");
    --over;
  }
  for (auto& [id, server] : servers_) {
    if (over == 0) return;
    if (server->place != Server::Place::Lent && server->place != Server::Place::Settling) continue;
    if (server->expires <= now || server->role == Server::Role::Walsender) continue;
    server->expires = now;
    --over;
  }
}

bool Group::paused() const {
  return !tenants_.empty() && std::all_of(tenants_.begin(), tenants_.end(),
                                          [](const auto& entry) { return entry.first->halted(); });
}

void Group::pause_changed() {
  wishes_.reset();
  standings_changed();
  // Nobody uses a group without tenants now, and a pause is often there to stop its Postgres.
  if (paused() || tenants_.empty()) return close_idle();
  serve();
  grow();
}

void Group::resumed() {
  serve();
  grow();
}

void Group::close_unused(const char* why) {
  listener_.close();
  for (auto& [id, server] : servers_)
    if (server->place != Server::Place::Lent) drop(*server, why);
}

}  // namespace pgweir
