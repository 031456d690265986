#include "pooler/group.h"

#include <fmt/format.h>

#include <algorithm>
#include <tuple>

#include "pooler/base/check.h"
#include "pooler/net/address.h"
#include "pooler/retry.h"
#include "pooler/session.h"
#include "pooler/worker.h"
#include "tiers/limit.h"

namespace pgweir {

namespace {
constexpr std::chrono::milliseconds kLookAgain{10};
constexpr std::uint32_t kLoginsAtOnce = 8;  // of one group; those of a backend are max_logins_at_once

// Whether a connection made by `a` is one that `b` would make.
bool same_way_in(const conf::Backend& a, const conf::Backend& b) {
  const auto way = [](const conf::Backend& backend) {
    return std::tie(backend.host, backend.port, backend.hosts, backend.target_session_attrs, backend.tls_mode,
                    backend.tls_ca_file, backend.tls_cert_file, backend.tls_key_file, backend.auth_methods);
  };
  return way(a) == way(b);
}
}  // namespace

Group::Backing::Backing(Worker& worker, const GroupKey& key, std::uint64_t id)
    : budget(worker.shared().budget(key.backend)), gate(worker, key), claimant([&worker, id, &from = budget] {
        worker.loop().post([&worker, id, &from] {
          Group* const group = worker.group_index().find(id);
          if (group && &group->budget() == &from) return group->slot_granted();
          from.decline(nullptr, worker.loop().now());
        });
      }) {}

Group::Group(Worker& worker, GroupKey key, ServerCredentials credentials)
    : books(worker.config().prepared_statement_bytes, worker.texts()),
      worker_(worker),
      key_(std::move(key)),
      credentials_(std::move(credentials)),
      id_(worker.next_server_id()),
      backing_(std::make_unique<Backing>(worker, key_, id_)),
      timer_(this, [](void* self) { static_cast<Group*>(self)->tick(); }) {
  books.statements_per_server = worker.config().max_prepared_statements;
  books.routines.follow(worker.config().read_functions);
  std::string fence = "pgweir_fence_";
  for (int i = 0; i < 24; ++i) fence.push_back(static_cast<char>('a' + worker.rng().below(26)));
  books.listener.name_fence(std::move(fence));
  renew_tokens();
}

Group::~Group() {
  PGWEIR_CHECK(servers_.empty() && waiters_.empty() && own_.empty());
  backing_->budget.withdraw(backing_->claimant);
}

Server* Group::request(Session& session) {
  // Whoever still waits may not have a server now, so an idle one is free to take; but not one that serve()
  // is about to hand to somebody else.
  if (!worker_.suspended() && !must_read_first() && session.tenant().may_have_server() &&
      (!serving_ || waiters_.empty())) {
    if (Server* server = idle_for(session.tenant(), session.core().number())) {
      lend(*server, session);
      return server;
    }
  }
  enqueue(session);
  grow();
  return nullptr;
}

Rank Group::rank(const Member& member) const {
  const tiers::Tier& limits = member.tenant.record.limits;
  if (member.tenant.halted()) return Rank::AtCeiling;
  return rank_of(member.tenant.lent, limits.pool_size, limits.max_server_connections);
}

void Group::enqueue(Session& session) {
  Member& member = session.member();
  waiters_.push_back(session);
  member.waiters.push_back(session);
  if (!member.queued()) queue_.enter(member, rank(member));
}

void Group::dequeue(Session& session) {
  Member& member = session.member();
  waiters_.remove(session);
  member.waiters.remove(session);
  if (member.waiters.empty()) queue_.leave(member);
}

void Group::standing_changed(Tenant& tenant) {
  for (Group* group : tenant.groups) {
    Member& member = group->tenants_.at(&tenant);
    if (member.queued()) group->queue_.update(member, group->rank(member));
  }
}

void Group::standings_changed() {
  for (auto& [tenant, member] : tenants_) {
    member.set_weight(tenant->record.limits.weight);
    if (member.queued()) queue_.update(member, rank(member));
  }
}

std::size_t Group::servable(std::size_t most) const {
  std::size_t count = 0;
  for (const Share* share = queue_.first(); share && count < most; share = queue_.after(*share)) {
    const auto& member = static_cast<const Member&>(*share);
    const std::uint32_t room = member.tenant.record.limits.max_server_connections - member.tenant.lent;
    count += std::min<std::size_t>(member.waiters.size(), room);
  }
  return std::min(count, most);
}

Server* Group::idle_for(const Tenant& tenant, std::uint64_t client) const {
  // Where lastval() is asked for, a client is best served where it was last, and others elsewhere.
  if (books.reads_sequences && client != 0) {
    Server* own = nullptr;
    for (Server* server = idle_.front(); server; server = List<Server>::next(*server))
      if (server->core.last_client == client && server->startup == tenant.startup) own = server;
    if (own) return own;
    if (Server* const oldest = idle_.front(); oldest && oldest->startup == tenant.startup) return oldest;
  }
  Server* const next = worker_.config().server_rotation ? idle_.front() : idle_.back();
  if (!next || next->startup == tenant.startup) return next;
  // Only after ceilings have changed.
  for (Server* server = idle_.front(); server; server = List<Server>::next(*server))
    if (server->startup == tenant.startup) return server;
  return nullptr;
}

void Group::put_idle(Server& server) {
  if (idle_.empty()) worker_.group_index().with_idle().push_back(*this);
  idle_.push_back(server);
}

void Group::take_idle(Server& server) {
  idle_.remove(server);
  if (idle_.empty()) worker_.group_index().with_idle().remove(*this);
}

void Group::leave(Session& session) {
  if (leave_own(session) || !waiters_.has(session)) return;
  dequeue(session);
  if (!waiters_.empty()) return;
  waking_since_ = kNever;
  if (servers_.size() >= floor() && !own_wanted()) withdraw();
}

void Group::lend(Server& server, Session& session) {
  PGWEIR_CHECK(server.place == Server::Place::Idle && server.leases == 0 && server.session == nullptr);
  PGWEIR_CHECK(server.core.clean() && server.unsent() == 0);
  take_idle(server);
  server.place = Server::Place::Lent;
  server.session = &session;
  server.since = worker_.loop().now();
  server.charged = session.member().take();
  ++server.run.transactions;
#ifdef PGWEIR_PLANT_COUNT_TWICE
  ++session.tenant().lent;
#endif
  Tenant& tenant = session.tenant();
  count_lent(tenant);
  ++tenant.traffic.assignments;
  if (server.payer != &tenant) {
    charge(server);
    server.payer = &tenant;
  }
}

void Group::count_lent(Tenant& tenant) {
  ++tenant.lent;
  tenant.peak_lent = std::max(tenant.peak_lent, tenant.lent);
  if (!waiters_.empty() || tenant.groups.size() > 1) standing_changed(tenant);
}

void Group::charge(Server& server) {
  if (server.place == Server::Place::Starting || server.place == Server::Place::Closing) return;
  Tenant* const payer = server.payer ? server.payer : worker_.tenants().find(shown_tenant_);
  const Time now = worker_.loop().now();
  if (payer) payer->traffic.server_us += static_cast<std::uint64_t>((now - server.paid_until).count());
  server.paid_until = now;
}

void Group::charge() {
  for (auto& [id, server] : servers_) charge(*server);
}

// It is no longer lent.
Tenant& Group::take_back(Server& server) {
  Session& session = *std::exchange(server.session, nullptr);
  if (server.watched()) server.watch(false);
  Tenant& tenant = session.tenant();
  --tenant.lent;
  session.member().give_back(server.charged, worker_.loop().now() - server.since);
  if (!waiters_.empty() || tenant.groups.size() > 1) standing_changed(tenant);
  return tenant;
}

// A tenant that was at its limit may have sessions that wait in a group of another user.
void Group::serve_elsewhere(Tenant& tenant) {
  if (tenant.groups.size() < 2) return;
  const std::vector<Group*> groups = tenant.groups;
  for (Group* group : groups) {
    if (group == this || (group->waiters_.empty() && group->own_.empty())) continue;
    group->serve();
    group->grow();
  }
}

void Group::release(Server& server) {
  PGWEIR_CHECK(server.place == Server::Place::Lent && server.session != nullptr);
  PGWEIR_CHECK(server.core.quiet());  // pairs with SessionCore::after_step
  Tenant& tenant = take_back(server);
  server.place = Server::Place::Settling;
  if (server.unsent() > 0)
    drop(server, "a request was half sent");
  else
    settle(server);
  serve_elsewhere(tenant);
}

void Group::abandon(Server& server) {
  PGWEIR_CHECK(server.place == Server::Place::Lent && server.session != nullptr);
  Tenant& tenant = take_back(server);
  server.place = Server::Place::Settling;
  server.abandon();
  settle(server);
  serve_elsewhere(tenant);
}

void Group::settle(Server& server) {
  if (server.place != Server::Place::Settling || !server.core.settled()) return;
#ifndef PGWEIR_PLANT_RELEASE_LEASED
  if (server.leases > 0) return;
#endif
  if (server.core.pipeline.unfit() || server.core.spoiled)
    return drop(server, "it holds state that cannot be taken away");
  if (server.core.tx_status != 'I') return server.roll_back();
  if (server.core.dirty) return server.clean();
  if (begin_reading(server)) return;
  to_idle(server);
  serve();
}

bool Group::begin_reading(Server& server) {
  if (!books.routines.due(worker_.loop().now())) return false;
  reader_ = server.id;
  server.read_routines();
  return true;
}

// What functions there are decides what texts may do: nobody is served before that is known. Reading begins
// with the first server that is at hand.
bool Group::must_read_first() {
  if (!books.routines.stale()) return false;
  if (reader_ == 0 && !idle_.empty()) {
    Server& server = *idle_.back();
    unsettle(server);
    settle(server);
  }
  return true;
}

void Group::routines_read(Server& server) {
  reader_ = 0;
  if (books.routines.failed())
    worker_.log().warn("functions of users cannot be read",
                       {{"backend", key_.backend}, {"database", key_.database}, {"user", key_.user}});
  settle(server);
  serve();
  grow();
}

void Group::lease_ended(Server& server) {
  PGWEIR_CHECK(server.leases > 0);
  --server.leases;
  settle(server);
}

void Group::unsettle(Server& server) {
  PGWEIR_CHECK(server.place == Server::Place::Idle);
  take_idle(server);
  server.place = Server::Place::Settling;
}

void Group::to_idle(Server& server) {
  const Time now = worker_.loop().now();
  const bool yield = backing_->budget.starved() && gives_up(server, now);
  if (now >= server.expires) return drop(server, "server.lifetime, or made before a reload");
  const bool ending = worker_.draining() && !queue_.first();  // latecomers may wait yet
  if (ending || yield || paused() || backing_->budget.shed()) return drop(server, "not needed now");
  server.settled(worker_.loop());
  server.place = Server::Place::Idle;
  server.since = now;
  put_idle(server);
  if (!timer_.armed()) worker_.loop().arm(timer_, now + std::chrono::seconds(1));
}

bool Group::gives_up(Server& server, Time now) {
  const bool over = server.run.over(now);
  if (backing_->budget.gives_up(backing_->claimant, sums().entitled, queue_.first() != nullptr, over, now))
    return true;
  if (over) server.run = {now, 0};
  return false;
}

void Group::serve() {
  if (!own_.empty()) start_own();
  // A session that is given a server may give it back at once: then this loop goes on, not a second one
  // inside it.
  if (serving_ || worker_.suspended() || must_read_first()) return;
  serving_ = true;
  for (Share* share = queue_.first(); share && !idle_.empty();) {
    auto& member = static_cast<Member&>(*share);
    Server* const server = idle_for(member.tenant);
    if (!server) {
      share = queue_.after(*share);
      continue;
    }
    Session& session = *member.waiters.front();
    queue_.served(member);
    lend(*server, session);
    dequeue(session);
    session.on_granted(*server);
    share = queue_.first();
  }
  serving_ = false;
}

Server* Group::server(std::uint64_t id) const {
  if (listener_.server() && listener_.server()->id == id) return listener_.server();
  const auto found = servers_.find(id);
  return found == servers_.end() ? nullptr : found->second.get();
}

void Group::drop(Server& server, const char* why) {
  if (server.place == Server::Place::Closing) return;
  server.why_closed = why;
  charge(server);
  if (server.place == Server::Place::Lent) take_back(server);
  if (server.place == Server::Place::Idle) take_idle(server);
  if (server.place == Server::Place::Starting) {
    login_over(server);
    backing_->gate.login_given_up();
    if (server.role == Server::Role::Walsender) own_dropped(server);
  }
  if (server.id == reader_) {
    reader_ = 0;
    // A server may die for reasons of its own, so that another one tries at once; but it may die of that,
    // too.
    const bool again = !books.routines.failed();
    books.routines.stopped();
    if (again) books.routines.definitions_changed();
  }
  server.session = nullptr;
  server.place = Server::Place::Closing;
  server.close();
}

const Group::Sums& Group::sums() const {
  if (sums_) return *sums_;
  sums_ = Sums{};  // clang 14 knows of no emplace()
  sums_->entitled.weight = 0;
  for (const auto& [tenant, member] : tenants_) {
    sums_->entitled.floor += tenant->record.limits.pool_size;
    sums_->entitled.weight += tenant->record.limits.weight;
    sums_->capacity += tenant->record.limits.max_server_connections;
    if (!tenant->halted()) sums_->floor += tenant->record.limits.min_server_connections;
  }
  sums_->entitled.weight = std::max(sums_->entitled.weight, 1U);
  return *sums_;
}

std::uint32_t Group::capacity() const {
#ifdef PGWEIR_PLANT_IGNORE_MAX_SERVERS
  return 1000;
#else
  return sums().capacity;
#endif
}

std::uint32_t Group::floor() const { return worker_.draining() ? 0 : sums().floor; }

StartupRef Group::startup_wanted() const {
  // Servers that are starting serve the first of those who wait.
  std::size_t served = starting_;
  for (const Share* share = queue_.first(); share; share = queue_.after(*share)) {
    const auto& member = static_cast<const Member&>(*share);
    if (served < member.waiters.size()) return member.tenant.startup;
    served -= member.waiters.size();
  }
  const auto keeps = [](const auto& entry) {
    return !entry.first->halted() && entry.first->record.limits.min_server_connections > 0;
  };
  const auto tenant = std::find_if(tenants_.begin(), tenants_.end(), keeps);
  return (tenant == tenants_.end() ? tenants_.begin() : tenant)->first->startup;
}

// Idle servers that were opened for other tenants of this group must not keep one waiting. One at a time:
// each that is gone calls grow().
void Group::make_room() {
  if (idle_.empty()) return;
  const auto closing = [](const auto& entry) { return entry.second->place == Server::Place::Closing; };
  if (std::any_of(servers_.begin(), servers_.end(), closing)) return;
  for (const Share* share = queue_.first(); share; share = queue_.after(*share))
    if (!idle_for(static_cast<const Member&>(*share).tenant))
      return drop(*idle_.front(), "opened with other ceilings");
}

void Group::grow() {
  if (!own_.empty()) start_own();
  if (reader_ != 0) return;  // those who wait need not wait for more servers
  if (servers_.size() >= capacity()) return make_room();
  if (waiters_.empty() && servers_.size() >= floor()) return;
  if (const Time at = try_at(); worker_.loop().now() < at) return look_again(at);
  const BackendView* backend = worker_.snapshot().backend(key_.backend);
  if (!backend) {
    // Refused from the loop: whoever called may be the session that has just joined the queue.
    worker_.loop().arm(timer_, worker_.loop().now());
    return;
  }
  while (!claimed_ && wants_server()) {
    const Time now = worker_.loop().now();
    if (!backing_->budget.take(backing_->claimant, sums().entitled, now)) {
      claimed_ = true;
      worker_.ask_for_budget(key_.backend);
    } else if (backing_->gate.begin(patience())) {
      start_one(startup_wanted());
    } else {
      // Another group is the one to probe.
      backing_->budget.decline(&backing_->claimant, now);
      return look_again(std::max(now + Duration(kLookAgain), try_at()));
    }
  }
}

void Group::look_again(Time at) {
  if (at != kNever && (!timer_.armed() || timer_.at() > at)) worker_.loop().arm(timer_, at);
}

// Whether somebody waits for whom Postgres is to be tried again and again.
Breaker::Patience Group::patience() const {
  for (const Share* share = queue_.first(); share; share = queue_.after(*share))
    if (static_cast<const Member&>(*share).tenant.record.limits.at_breaker == tiers::AtCeiling::Queue)
      return Breaker::Patience::Waits;
  return Breaker::Patience::FailsFast;
}

// When it may connect next.
Time Group::try_at() const {
  return backing_->gate.rationed() ? std::max(retry_at_, backing_->gate.try_at(patience())) : retry_at_;
}

bool Group::fails_fast(const Session& session) const {
  const Tenant& tenant = session.tenant();
  if (!backing_->gate.rationed() || tenant.record.limits.at_breaker == tiers::AtCeiling::Queue ||
      tenant.halted())
    return false;
  return starting_ == 0 || waiters_.front() != &session;
}

void Group::breaker_changed() {
  if (backing_->gate.shut()) close_idle();
  if (backing_->gate.rationed()) return refuse_impatient();
  retry_at_ = {};
  listener_.retry();
  grow();
}

void Group::refuse_impatient() {
  for (Session* session = waiters_.front(); session; session = List<Session>::next(*session))
    if (fails_fast(*session)) session->fail_fast();
}

bool Group::wants_server() const {
  // After a failure one server probes; the others follow when it has succeeded.
  const std::size_t at_once = failures_ > 0 || backing_->gate.rationed() ? 1 : kLoginsAtOnce;
  const std::size_t missing = floor() - std::min<std::size_t>(floor(), servers_.size());
  return servers_.size() < capacity() &&
         starting_ < std::min(std::max(servable(at_once), missing + starting_), at_once);
}

void Group::slot_granted() {
  PGWEIR_CHECK(claimed_);
  claimed_ = false;
  const Time now = worker_.loop().now();
  const bool known = worker_.snapshot().backend(key_.backend) != nullptr;
  BackendGate& gate = backing_->gate;
  if (known && own_wanted() && gate.begin(Breaker::Patience::FailsFast))
    open_own();
  else if (known && now >= retry_at_ && wants_server() && gate.begin(patience()))
    start_one(startup_wanted());
  else
    backing_->budget.decline(&backing_->claimant, now);
  grow();
}

void Group::withdraw() {
  if (claimed_ && backing_->budget.withdraw(backing_->claimant)) claimed_ = false;
}

void Group::login_over(const Server& server) {
  if (server.role == Server::Role::Pool) --starting_;
  backing_->budget.login_over(worker_.loop().now());
}

void Group::start_one(StartupRef startup) {
  const std::uint64_t id = worker_.next_server_id();
  auto server = std::make_unique<Server>(*this, id, std::move(startup));
  Server& started = *server;
  servers_[id] = std::move(server);
  ++starting_;
  if (waking_since_ == kNever && !waiters_.empty() && !connected()) waking_since_ = worker_.loop().now();
  started.connect();
}

void Group::server_started(Server& server, const SettingsMap::Values& parameters) {
  PGWEIR_CHECK(server.place == Server::Place::Starting);
  backing_->gate.login_worked();
  if (server.role == Server::Role::Listener) return listener_.started();
  if (const auto version = parameters.find("server_version"); version != parameters.end())
    backing_->budget.set_version(major_version(version->second));
  if (!server.told_all(backing_->budget.version())) {
    drop(server, "opened before the version of its Postgres was known");
    return grow();
  }
  login_over(server);
  if (server.role == Server::Role::Walsender) return own_started(server, parameters);
  const Time now = worker_.loop().now();
  const bool first = !connected();
  if (first) awake_since_ = now;
  const Duration woke_after = waking_since_ == kNever ? Duration{} : now - waking_since_;
  if (waking_since_ != kNever && !waiters_.empty())
    waiters_.front()->tenant().meter->wake.add(static_cast<std::uint64_t>(woke_after.count()));
  waking_since_ = kNever;
  failures_ = 0;
  last_error_.reset();
  retry_at_ = {};
  if (!books.settings.has_baseline()) books.settings.set_baseline(parameters);
  server.expires = expiry(server);
  worker_.log().info("server connected", {{"backend", key_.backend},
                                          {"database", key_.database},
                                          {"user", key_.user},
                                          {"server", server.id},
                                          {"pid", server.cancel_pid()},
                                          {"woke_after_ms", woke_after.count() / 1000}});
  server.place = Server::Place::Settling;
  server.run.since = now;
  server.paid_until = now;
  settle(server);
  listener_.retry();
  serve();
  grow();
}

void Group::server_login_failed(Server& server, const HostRound::Failure& why) {
  if (server.place != Server::Place::Starting) return;
  const Error& error = why.error;
  const bool from_server = why.teller == Teller::Server;
  if (server.role == Server::Role::Listener) {
    backing_->gate.login_failed(error, why.teller, why.stage);
    return listener_.login_failed(error);
  }
  if (server.role == Server::Role::Walsender) {
    if (from_server && says_you(error) && try_tls_instead()) return drop(server, "login failed");
    return own_login_failed(server, why);
  }
  const Time now = worker_.loop().now();
  last_error_ = error;
  if (++failures_ == 1) down_since_ = now;
  retry_at_ = now + retry_pause(now - down_since_, worker_.config().server_login_retry, worker_.rng().u64());
  worker_.log().warn("server login failed", {{"backend", key_.backend},
                                             {"database", key_.database},
                                             {"user", key_.user},
                                             {"server", server.id},
                                             {"sqlstate", error.sqlstate},
                                             {"error", error.message}});
  // An older Postgres than the last one does not know all that it was told.
  const bool too_new = from_server && backing_->budget.version() != 0 &&
                       std::string_view(error.sqlstate) == sqlstate::kUndefinedObject;
  if (too_new) backing_->budget.set_version(0);
  const bool in_another_way = too_new || (from_server && says_you(error) && try_tls_instead());
  if (!in_another_way) backing_->gate.login_failed(error, why.teller, why.stage);
  drop(server, "login failed");
  // Postgres is full: an idle server of another group may be what fills it.
  if (from_server && std::string_view(error.sqlstate) == sqlstate::kTooManyConnections)
    worker_.ask_for_budget(key_.backend);
  if (says_you(error) && !in_another_way) refuse_all(error);
  grow();
}

void Group::server_died(const Server& server, const net::Closed& why) {
  backing_->gate.server_died(why.error.empty() ? "server closed the connection" : why.error);
  if (!why.timed_out) return;
  // The others would find out one by one, each when a client has sent something.
  worker_.shared().hosts(key_.backend).failed(server.host(), HostRole::Unknown, why.error);
  worker_.log().warn("host is silent",
                     {{"backend", key_.backend}, {"host", net::text(server.host())}, {"error", why.error}});
  for (Worker* each : worker_.shared().workers)
    each->loop().post(
        [each, backend = key_.backend, host = server.host()] { each->host_silent(backend, host); });
}

void Group::server_lost(Server& server) {
  if (server.role == Server::Role::Listener) return listener_.lost();
  drop(server, server.why_closed);  // where it was not yet
  const std::uint64_t id = server.id;
  worker_.forget_server(server);
  worker_.log().info("server closed", {{"backend", key_.backend},
                                       {"database", key_.database},
                                       {"server", id},
                                       {"reason", server.why_closed}});
  servers_.erase(id);
  backing_->budget.give_back(backing_->claimant, worker_.loop().now());
  serve();
  grow();
  if (backing_->gate.rationed()) refuse_impatient();  // the probe for which one was spared may be over
  if (unused()) worker_.group_index().unused(*this);
  worker_.after_change();
}

// Mode allow connects in the open first and by TLS when that is refused.
bool Group::try_tls_instead() {
  const BackendView* backend = worker_.snapshot().backend(key_.backend);
  if (plain_refused_ || !backend || backend->settings.tls_mode != conf::TlsMode::Allow || !backend->tls)
    return false;
  plain_refused_ = true;
  retry_at_ = {};
  return true;
}

void Group::refuse_all(const Error& error) {
  // Those who ask again while they are being refused wait for the next round.
  for (std::size_t left = waiters_.size(); left > 0 && !waiters_.empty(); --left) {
    Session& session = *waiters_.front();
    dequeue(session);
    session.on_refused(error);
  }
}

void Group::use(const ServerCredentials& credentials) {
  credentials_.secret = credentials.secret;
  if (credentials.client_key) credentials_.client_key = credentials.client_key;
}

Member& Group::join(Tenant& tenant) {
  Member& member = tenants_.try_emplace(&tenant, tenant).first->second;
  if (++member.sessions > 1) return member;
  member.set_weight(tenant.record.limits.weight);
  tenant.groups.push_back(this);
  sums_.reset();
  if (tenants_.size() == 1) shown_tenant_ = tenant.record.name;
  return member;
}

void Group::part(Tenant& tenant) {
  const auto place = tenants_.find(&tenant);
  PGWEIR_CHECK(place != tenants_.end());
  if (--place->second.sessions > 0) return;
  idle_limit();  // remembered from here on
  for (auto& [id, server] : servers_) {
    if (server->payer != &tenant) continue;
    charge(*server);
    server->payer = nullptr;
  }
  tenants_.erase(place);
  if (unused()) worker_.group_index().unused(*this);
  std::erase(tenant.groups, this);
  sums_.reset();
  // Servers that were kept for it may grow old now.
  const Time soon = worker_.loop().now() + std::chrono::seconds(1);
  if (!idle_.empty() && (!timer_.armed() || timer_.at() > soon)) worker_.loop().arm(timer_, soon);
  // ... and are above the floor of those who stay.
  if (!idle_.empty() && backing_->budget.starved()) worker_.ask_for_budget(key_.backend);
  if (!tenants_.empty()) shown_tenant_ = tenants_.begin()->first->record.name;
  // It will come back to another group.
  if (*tenant.startup != key_.startup) startup_changed();
}

std::optional<Group::Spare> Group::spare(bool for_floor) const {
  if (idle_.empty() || queue_.first()) return {};
  const Claimant::Entitled entitled = sums().entitled;
  const Spare found{servers_.size() <= entitled.floor, entitled.weight, idle_.front()->since};
  return found.within_floor && !for_floor ? std::nullopt : std::optional(found);
}

bool Group::close_one_idle(bool for_floor) {
  if (!spare(for_floor)) return false;
  backing_->budget.reclaimed();
  drop(*idle_.front(), "not needed now");
  return true;
}

void Group::close_idle() {
  listener_.tend();
  while (!idle_.empty()) drop(*idle_.front(), "not needed now");
  const Time now = worker_.loop().now();
  for (auto& [id, server] : servers_) server->expires = std::min(server->expires, now);
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
  plain_refused_ = false;
  failures_ = 0;
  last_error_.reset();
  retry_at_ = {};
  awake_since_ = {};
  waking_since_ = kNever;
  // Another database may report other settings and have other functions.
  books.settings.forget_baseline();
  books.routines.definitions_changed();
}

Time Group::expiry(const Server& server) {
  const Duration lifetime = worker_.config().server_lifetime;
  if (lifetime.count() == 0) return kNever;
  const auto tenth = static_cast<std::uint64_t>(lifetime.count()) / 10;
  return server.started_at + lifetime - Duration(static_cast<std::int64_t>(worker_.rng().below(tenth + 1)));
}

void Group::reloaded(const Snapshot& before) {
  const conf::Config& config = worker_.config();
  const Time now = worker_.loop().now();
  sums_.reset();
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
  sums_.reset();
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
  const auto usable = [&](const Server& server) {
    return server.startup == last || std::any_of(tenants_.begin(), tenants_.end(), [&](const auto& entry) {
             return entry.first->startup == server.startup;
           });
  };
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
  if (tenants_.empty()) return;
  const Time now = worker_.loop().now();
  const auto stays = [now](const auto& entry) {
    return entry.second->place != Server::Place::Closing && entry.second->expires > now;
  };
  const auto staying = static_cast<std::size_t>(std::count_if(servers_.begin(), servers_.end(), stays));
  std::size_t surplus = staying - std::min<std::size_t>(staying, capacity());
  for (; surplus > 0 && !idle_.empty(); --surplus) drop(*idle_.front(), "not needed now");
  for (auto& [id, server] : servers_) {
    if (surplus == 0) return;
    if (server->place != Server::Place::Lent && server->place != Server::Place::Settling) continue;
    if (server->expires <= now || server->role == Server::Role::Walsender) continue;
    server->expires = now;
    --surplus;
  }
}

bool Group::paused() const {
  return !tenants_.empty() && std::all_of(tenants_.begin(), tenants_.end(),
                                          [](const auto& entry) { return entry.first->halted(); });
}

void Group::pause_changed() {
  sums_.reset();
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

void Group::close_unused() {
  listener_.close();
  for (auto& [id, server] : servers_)
    if (server->place != Server::Place::Lent) drop(*server, "shutting down");
}

// The strictest of the configuration's and its tenants'; when the last client has left, what held last goes
// on.
Duration Group::idle_limit() {
  const auto stricter = [](Duration a, Duration b) {
    return a.count() == 0 || (b.count() > 0 && b < a) ? b : a;
  };
  if (!tenants_.empty()) {
    tiers_idle_limit_ = {};
    for (const auto& [tenant, sessions] : tenants_)
      tiers_idle_limit_ = stricter(tiers_idle_limit_, tenant->record.limits.server_idle_timeout);
  }
  return stricter(worker_.config().server_idle_timeout, tiers_idle_limit_);
}

void Group::tick() {
  const Time now = worker_.loop().now();
  const Duration idle_max = idle_limit();
  Time next = kNever;
  std::size_t staying = servers_.size();
  for (Server* server = idle_.front(); server != nullptr;) {
    Server* const after = List<Server>::next(*server);
    const bool spare = staying > floor() && idle_max.count() > 0;
    const Time due = std::min(server->expires, spare ? server->since + idle_max : kNever);
    if (due <= now) {
      drop(*server, "server.idle_timeout or server.lifetime");
      --staying;
    } else {
      next = std::min(next, due);
    }
    server = after;
  }
  if (!worker_.snapshot().backend(key_.backend))
    for (const auto refuse : {&Group::refuse_all, &Group::refuse_own})
      (this->*refuse)({sqlstate::kInvalidCatalogName, "backend is no longer configured", {}, {}});
  if (now >= retry_at_) grow();
  const bool wanted = !waiters_.empty() || servers_.size() < floor();
  if (const Time at = wanted ? try_at() : now; at > now) next = std::min(next, at);
  if (next != kNever && (!timer_.armed() || timer_.at() > next)) worker_.loop().arm(timer_, next);
}

bool Group::connected() const {
  return std::any_of(servers_.begin(), servers_.end(), [](const auto& entry) {
    return entry.second->place != Server::Place::Starting && entry.second->place != Server::Place::Closing;
  });
}

bool Group::waking() const {
  if (starting_ == 0 && own_.empty() && failures_ == 0 && !backing_->gate.rationed()) return false;
  // A Postgres that is full is awake.
  if (last_error_ && std::string_view(last_error_->sqlstate) == sqlstate::kTooManyConnections) return false;
  return !connected();
}

Error Group::why_waiting(const Tenant& tenant, Duration waited) const {
  const auto seconds = fmt::format("{:.1f}s", static_cast<double>(waited.count()) / 1e6);
  if (tenant.paused)
    return {sqlstate::kCannotConnectNow, fmt::format("tenant \"{}\" is paused", tenant.record.name),
            fmt::format("It has been waiting for {}.", seconds), "RESUME on the console lets it go on."};
  if (tenant.moving)
    return {sqlstate::kCannotConnectNow,
            fmt::format("tenant \"{}\" is being moved to another backend", tenant.record.name),
            fmt::format("It has been waiting for {}.", seconds), "Try again in a moment."};
  if (backing_->gate.rationed() && tenant.record.limits.at_breaker == tiers::AtCeiling::Reject)
    return backing_->gate.refusal();
  constexpr const char* kKeepsTrying =
      "Try again later; the pooler keeps trying to connect. pool.wake_timeout says how long clients wait for "
      "it.";
  if (last_error_)
    return {sqlstate::kCannotConnectNow,
            fmt::format("no server connection within {}: {}", seconds, last_error_->message),
            fmt::format("backend \"{}\", database \"{}\": {} login attempts failed in a row.", key_.backend,
                        key_.database, failures_),
            kKeepsTrying};
  if (backing_->gate.rationed()) {
    const Error refusal = backing_->gate.refusal();
    return {sqlstate::kCannotConnectNow,
            fmt::format("no server connection within {}: {}", seconds, refusal.message), refusal.detail,
            backing_->gate.shut() ? refusal.hint : kKeepsTrying};
  }
  const auto& limits = tenant.record.limits;
  if (tenant.lent >= limits.max_server_connections)
    return {sqlstate::kTooManyConnections, fmt::format("no server connection became free within {}", seconds),
            fmt::format(
                "tenant \"{}\" (tier {}): {} of max_server_connections {} are in use, {} clients wait.",
                tenant.record.name, limits.name, tenant.lent, limits.max_server_connections, waiters_.size()),
            tiers::remedy("Shorten transactions", worker_.snapshot().directory, tiers::Limit::Servers,
                          limits.max_server_connections)};
  return {sqlstate::kTooManyConnections, fmt::format("no server connection became free within {}", seconds),
          fmt::format("backend \"{}\": {} connections of its max_server_connections are in use.",
                      key_.backend, backing_->budget.used()),
          "Raise backends.max_server_connections, or use fewer tenants at once."};
}

}  // namespace pgweir
