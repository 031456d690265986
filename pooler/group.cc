#include "pooler/group.h"

#include <fmt/format.h>

#include <algorithm>

#include "pooler/base/check.h"
#include "pooler/base/planted.h"
#include "pooler/session.h"
#include "pooler/worker.h"
#include "tiers/limit.h"

namespace pgweir {

namespace {
constexpr std::chrono::milliseconds kWatchEvery{500};  // looks at the servers that are lent
// For so long after a client has named temp_buffers, servers that have used them are closed instead of lent.
constexpr std::chrono::minutes kBuffersMinded{10};
}  // namespace

Group::Backing::Backing(Worker& worker, const GroupKey& key, std::uint64_t id)
    : budget(worker.shared().budget(key.backend)), gate(worker, key), claimant([&worker, id, &from = budget] {
        worker.loop().post([&worker, id, &from] {
          Group* const group = worker.group_index().find(id);
          if (group && &group->budget() == &from) return group->slot_granted();
          from.decline(worker.loop().now());
        });
      }) {}

Group::Group(Worker& worker, GroupKey key, ServerCredentials credentials)
    : books(worker.config().prepared_statement_bytes, worker.texts()),
      worker_(worker),
      key_(std::move(key)),
      credentials_(std::move(credentials)),
      id_(worker.next_server_id()),
      backing_(std::make_unique<Backing>(worker, key_, id_)),
      timer_(this, [](void* self) { static_cast<Group*>(self)->tick(); }),
      watch_(this, [](void* self) { static_cast<Group*>(self)->watch_lent(); }) {
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
    if (Server* server = lendable_for(session.tenant(), &session.core())) {
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
  note_use(member);
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

// The one that was used last, or one of the kLookedAt before it that need not be given other settings, or
// has no client's: so that those whose settings differ do not take one server from each other.
Server* Group::idle_with(const SettingsRef& settings) const {
  constexpr int kLookedAt = 8;
  Server* const last = idle_.back();
  if (last->core.applied == settings) return last;
  Server* fresh = nullptr;
  Server* server = last;
  for (int i = 0; server && i < kLookedAt; ++i, server = List<Server>::previous(*server)) {
    if (server->startup != last->startup) continue;
    if (server->core.applied == settings) return server;
    if (!fresh && server->core.applied == books.settings.empty()) fresh = server;
  }
  return fresh ? fresh : last;
}

Server* Group::idle_for(const Tenant& tenant, const SessionCore* core) const {
  // Where lastval() is asked for, a client is best served where it was last, and others elsewhere.
  if (books.reads_sequences && core) {
    Server* own = nullptr;
    for (Server* server = idle_.front(); server; server = List<Server>::next(*server))
      if (server->core.last_client == core->number() && server->startup == tenant.startup) own = server;
    if (own) return own;
    if (Server* const oldest = idle_.front(); oldest && oldest->startup == tenant.startup) return oldest;
  }
  Server* next = worker_.config().server_rotation ? idle_.front() : idle_.back();
  if (!next) return nullptr;
  if (next->startup == tenant.startup)
    return core && !worker_.config().server_rotation ? idle_with(core->wanted()) : next;
  // Only after ceilings have changed.
  for (Server* server = idle_.front(); server; server = List<Server>::next(*server))
    if (server->startup == tenant.startup) return server;
  return nullptr;
}

Server* Group::lendable_for(const Tenant& tenant, const SessionCore* core) {
  while (Server* const server = idle_for(tenant, core)) {
    const char* const why = why_not_lent(*server);
    if (!why) return server;
    drop(*server, why);
  }
  return nullptr;
}

const char* Group::why_not_lent(const Server& server) {
  if (server.lent_until != kNever && server.lent_until <= worker_.loop().now())
    return "Postgres is about to end it: idle_session_timeout";
  return server.core.temp_used && minds_buffers() ? "its temporary buffers are in use" : nullptr;
}

// Where nobody asks for a size of temporary buffers, it does not matter that a server is stuck with one.
bool Group::minds_buffers() {
  const Time now = worker_.loop().now();
  if (std::exchange(books.buffers_named, false)) buffers_minded_until_ = now + kBuffersMinded;
  return now < buffers_minded_until_;
}

void Group::count_idle() {
  const Time now = worker_.loop().now();
  backing_->idle += (now - backing_->counted_at) * static_cast<Duration::rep>(idle_.size());
  backing_->counted_at = now;
}

void Group::put_idle(Server& server) {
  count_idle();
  if (idle_.empty()) worker_.group_index().with_idle().push_back(*this);
  idle_.push_back(server);
}

void Group::take_idle(Server& server) {
  count_idle();
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
  if (PGWEIR_PLANTED(COUNT_TWICE)) ++session.tenant().lent;
  Tenant& tenant = session.tenant();
  count_lent(session);
  ++tenant.traffic.assignments;
  if (!watch_.armed()) worker_.loop().arm(watch_, server.since + kWatchEvery);
  if (server.payer != &tenant) {
    charge(server);
    server.payer = &tenant;
  }
}

void Group::count_lent(Session& session) {
  Tenant& tenant = session.tenant();
  ++session.member().lent;
  ++tenant.lent;
  tenant.peak_lent.saw(tenant.lent);
  if (!waiters_.empty() || tenant.groups.size() > 1) standing_changed(tenant);
}

// Where nobody has used it yet it is kept for who is alone here; of several none has asked for it.
Tenant* Group::payer_of(const Server& server) const {
  if (server.payer) return server.payer;
  if (!server.payer_left.empty()) return worker_.tenants().find(server.payer_left);
  return tenants_.size() > 1 ? nullptr : worker_.tenants().find(shown_tenant_);
}

void Group::charge(Server& server) {
  if (server.place == Server::Place::Starting || server.place == Server::Place::Closing) return;
  const Time now = worker_.loop().now();
  const auto passed = static_cast<std::uint64_t>((now - server.paid_until).count());
  if (Tenant* const payer = payer_of(server))
    payer->traffic.server_us += passed;
  else if (!server.payer_left.empty() && passed > 0)
    worker_.charge_forgotten(server.payer_left, passed);
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
  --session.member().lent;
  const Time now = worker_.loop().now();
  session.member().give_back(server.charged, now - server.since);
  session.member().used_at = now;
  if (!waiters_.empty() || tenant.groups.size() > 1) standing_changed(tenant);
  return tenant;
}

void Group::release(Server& server) {
  PGWEIR_CHECK(server.place == Server::Place::Lent && server.session != nullptr);
  PGWEIR_CHECK(server.core.quiet());  // pairs with SessionCore::after_step
  Tenant& tenant = take_back(server);
  server.place = Server::Place::Settling;
  if (tenant.groups.size() > 1) serve_longer_waiting(tenant);
  if (server.unsent() > 0)
    drop(server, "a request was half sent");
  else
    put_back(server);
  if (tenant.groups.size() > 1) serve_elsewhere(tenant);
}

void Group::abandon(Server& server) {
  PGWEIR_CHECK(server.place == Server::Place::Lent && server.session != nullptr);
  Tenant& tenant = take_back(server);
  server.place = Server::Place::Settling;
  if (tenant.groups.size() > 1) serve_longer_waiting(tenant);
  server.abandon();
  put_back(server);
  if (tenant.groups.size() > 1) serve_elsewhere(tenant);
}

void Group::settle(Server& server) {
  put_back(server);
  if (server.place == Server::Place::Idle && waiters_.empty()) offer_to_other_users();
}

void Group::put_back(Server& server) {
  if (server.place != Server::Place::Settling || !server.core.settled() || server.reads_routines()) return;
  if (server.leases > 0 && !PGWEIR_PLANTED(RELEASE_LEASED)) return;
  if (server.core.pipeline.unfit() || server.core.spoiled)
    return drop(server, "it holds state that cannot be taken away");
  if (server.core.tx_status != 'I') return server.roll_back();
  // Under a timeout like that of the last client, the settings of the next one might not be given, or
  // Postgres ends the server before there is one.
  const auto& own_idle = server.core.applied->idle_most;
  const bool fleeting = own_idle && own_idle->count() > 0 && *own_idle < kIdleMargin;
  if (server.core.dirty || server.core.applied->hasty || fleeting) return server.clean();
  if (books.routines.due(worker_.loop().now())) return begin_reading(server);
  to_idle(server);
  serve();
}

void Group::begin_reading(Server& server) {
  reader_ = server.id;
  server.read_routines();
}

// What functions there are decides what texts may do. Reading begins with the first server that is at hand.
bool Group::must_read_first() {
  if (!books.routines.awaited()) return false;
  if (reader_ == 0 && !idle_.empty()) {
    Server& server = *idle_.back();
    unsettle(server);
    settle(server);
  }
  return true;
}

void Group::routines_read(Server& server) {
  reader_ = 0;
  tell_unread();
  if (books.routines.overflowed())
    worker_.log().warn("too many functions of users: every statement may do anything",
                       {{"backend", key_.backend}, {"database", key_.database}, {"user", key_.user}});
  books.routines.ended(worker_.loop().now());
  worker_.routines_read(*this);
  if (books.routines.surprised()) clean_all();
  settle(server);
  serve();
  grow();
}

void Group::reading_is_slow() {
  if (!books.routines.awaited()) return;
  books.routines.wait_no_longer();
  serve();
  grow();
}

// Once: it is tried again and again.
void Group::tell_unread() {
  if (books.routines.failures() != 1) return;
  worker_.log().warn("functions of users cannot be read: servers are cleaned behind each text until they can",
                     {{"backend", key_.backend}, {"database", key_.database}, {"user", key_.user}});
}

void Group::clean_all() {
  std::vector<Server*> idle;
  for (auto& [id, server] : servers_) {
    if (server->place == Server::Place::Starting || server->place == Server::Place::Closing) continue;
    server->core.dirty = server->core.temp_used = true;
    if (server->place == Server::Place::Idle) idle.push_back(server.get());
  }
  for (Server* const server : idle) {
    unsettle(*server);
    put_back(*server);
  }
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
  const bool owed = server.run.over(now) && owes_other_user();
  const bool yield = backing_->budget.starved() && gives_up(server, now);
  if (now >= server.expires) return drop(server, "server.lifetime, or made before a reload");
  if (heritage_.wanted && staying() > capacity()) return drop(server, "its tenant has other ceilings now");
  const bool ending = worker_.draining() && !queue_.first();  // latecomers may wait yet
  if (ending || yield || paused() || backing_->budget.shed()) return drop(server, "not needed now");
  if (owed) return drop(server, "another user of its tenant needs one");
  const auto idle_most = server.core.applied->idle_most.value_or(server.idle_most);
  server.lent_until = idle_most.count() > 0 ? now + pooled_idle(idle_most) : kNever;
  books.temp_used |= server.core.temp_used;
  if (const char* const why = why_not_lent(server)) return drop(server, why);
  server.settled(worker_.loop());
  server.place = Server::Place::Idle;
  server.since = now;
  put_idle(server);
  const Time look = std::min(now + std::chrono::seconds(1), server.lent_until);
  if (!timer_.armed() || timer_.at() > look) worker_.loop().arm(timer_, look);
}

bool Group::gives_up(Server& server, Time now) {
  const bool over = server.run.over(now);
  if (backing_->budget.gives_up(backing_->claimant, entitled(), queue_.first() != nullptr, over, now))
    return true;
  if (over) server.run = {now, 0};
  return false;
}

void Group::serve() {
  if (!own_.empty()) start_own();
  // A session that is given a server may give it back at once: then this loop goes on, not a second one
  // inside it.
  if (serving_ || worker_.suspended() || must_read_first() || waiters_.empty()) return;
  serving_ = true;
  for (Share* share = queue_.first(); share && !idle_.empty();) {
    auto& member = static_cast<Member&>(*share);
    Server* const server = lendable_for(member.tenant, &member.waiters.front()->core());
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
    books.routines.stopped();
    tell_unread();
  }
  server.session = nullptr;
  server.place = Server::Place::Closing;
  server.close();
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
  if (wishes_) *wishes_ += member.counted = wishes_of(tenant);
  if (tenants_.size() == 1) {
    if (shown_tenant_ == tenant.record.name) holds_home_ = false;
    release_home();  // the servers are this one's now
    shown_tenant_ = tenant.record.name;
  }
  if (tenants_.size() == 2)
    for (const auto& [other, its] : tenants_)
      if (other != &tenant) grow_elsewhere(*other);  // these servers do not count there any more
  come(tenant);
  return member;
}

void Group::release_home() {
  if (!std::exchange(holds_home_, false)) return;
  if (Tenant* const left = worker_.tenants().find(shown_tenant_)) std::erase(left->left_groups, id_);
  worker_.leave_home(shown_tenant_);
}

void Group::part(Tenant& tenant) {
  const auto place = tenants_.find(&tenant);
  PGWEIR_CHECK(place != tenants_.end());
  if (--place->second.sessions > 0) return;
  if (tenants_.size() == 1) idle_limit();  // remembered from here on
  for (auto& [id, server] : servers_) {
    if (server->payer != &tenant) continue;
    charge(*server);
    server->payer = nullptr;
    server->payer_left = tenant.record.name;
  }
  if (wishes_) *wishes_ -= place->second.counted;
  tenants_.erase(place);
  PGWEIR_CHECK(!tenants_.empty() || !wishes_ || *wishes_ == Wishes{});
  if (unused()) worker_.group_index().unused(*this);
  std::erase(tenant.groups, this);
  std::erase(tenant.left_groups, id_);
  if (tenants_.empty() && !servers_.empty()) {
    tenant.left_groups.push_back(id_);
    holds_home_ = true;
  }
  if (surplus() > 0) heritage_.left.insert(tenant.record.name);
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
  const Claimant::Entitled own = entitled();
  const Spare found{servers_.size() <= own.floor, own.weight, idle_.front()->since};
  return found.within_floor && !for_floor ? std::nullopt : std::optional(found);
}

bool Group::close_one_idle(bool for_floor) {
  if (!spare(for_floor)) return false;
  backing_->budget.reclaimed();
  drop(*idle_.front(), "not needed now");
  return true;
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

void Group::watch_lent() {
  bool lent = false;
  for (auto& [id, server] : servers_) {
    if (!server->session) continue;
    lent = true;
    server->session->watch_server();
    if (server->watched()) worker_.seek_host(*server);
  }
  if (lent) worker_.loop().arm(watch_, worker_.loop().now() + kWatchEvery);
}

void Group::tick() {
  const Time now = worker_.loop().now();
  const Duration idle_max = idle_limit();
  Time next = kNever;
  std::size_t staying = servers_.size();
  for (Server* server = idle_.front(); server != nullptr;) {
    Server* const after = List<Server>::next(*server);
    const bool spare = staying > floor() && idle_max.count() > 0;
    const Time aged = std::min(server->expires, spare ? server->since + idle_max : kNever);
    const Time due = std::min(aged, server->lent_until);
    if (due <= now) {
      drop(*server, aged <= now ? "server.idle_timeout or server.lifetime" : why_not_lent(*server));
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
  if (tenant.is_paused())
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
  // Full is another trouble than away: whoever knows the code knows what to do.
  if (last_error_ && std::string_view(last_error_->sqlstate) == sqlstate::kTooManyConnections)
    return {sqlstate::kTooManyConnections,
            fmt::format("no server connection within {}: {}", seconds, last_error_->message),
            fmt::format("backend \"{}\", database \"{}\": {} login attempts failed in a row.", key_.backend,
                        key_.database, failures_),
            "Try again later; the pooler keeps trying to connect. queue_timeout of the tier says how long "
            "clients wait for it; raise Postgres's max_connections, or let others use fewer."};
  if (last_error_)
    return {sqlstate::kCannotConnectNow,
            fmt::format("no server connection within {}: {}", seconds, last_error_->message),
            fmt::format("backend \"{}\", database \"{}\": {} login attempts failed in a row.", key_.backend,
                        key_.database, failures_),
            last_error_->hint.empty() ? kKeepsTrying : last_error_->hint};
  if (backing_->gate.rationed()) {
    const Error refusal = backing_->gate.refusal();
    return {sqlstate::kCannotConnectNow,
            fmt::format("no server connection within {}: {}", seconds, refusal.message), refusal.detail,
            backing_->gate.shut() ? refusal.hint : kKeepsTrying};
  }
  const auto& limits = tenant.record.limits;
  if (tenant.lent >= limits.max_server_connections)
    return {
        sqlstate::kTooManyConnections, fmt::format("no server connection became free within {}", seconds),
        fmt::format("tenant \"{}\" (tier {}): {} of max_server_connections {} are in use, {} clients wait.",
                    tenant.record.name, limits.name, tenant.lent, limits.max_server_connections,
                    tenant.waiting),
        tiers::remedy("Shorten transactions", worker_.known_tiers(), tiers::Limit::Servers, tenant.record)};
  if (const std::size_t left = left_behind(); left > 0)
    return {
        sqlstate::kTooManyConnections, fmt::format("no server connection became free within {}", seconds),
        fmt::format("tenant \"{}\" (tier {}): {} connections that were opened with its former ceilings are "
                    "being closed.",
                    tenant.record.name, limits.name, left),
        "Try again in a moment."};
  return {
      sqlstate::kTooManyConnections, fmt::format("no server connection became free within {}", seconds),
      fmt::format("tenant \"{}\" (tier {}): backend \"{}\" has {} of its max_server_connections {} in use.",
                  tenant.record.name, limits.name, key_.backend, backing_->budget.used(),
                  backing_->budget.limit()),
      "Raise backends.max_server_connections, or use fewer tenants at once."};
}

}  // namespace pgweir
