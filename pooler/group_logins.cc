// pooler/group_logins.cc - Group: how many servers it has, and their logins.
#include <algorithm>

#include "pooler/base/check.h"
#include "pooler/base/planted.h"
#include "pooler/group.h"
#include "pooler/net/address.h"
#include "pooler/retry.h"
#include "pooler/session.h"
#include "pooler/worker.h"

namespace pgweir {

namespace {
constexpr std::chrono::milliseconds kLookAgain{10};
// A tenant counts among those who use a group for so long behind its last transaction.
constexpr std::chrono::seconds kInUse{1};
constexpr std::chrono::milliseconds kCountUsersEvery{20};
constexpr std::uint32_t kLoginsAtOnce = 8;  // of one group; those of a backend are max_logins_at_once

// They have been waiting for Postgres to come up; it has, and now their tiers' queue_timeout holds.
void look_at_deadlines(const List<Session>& waiters) {
  for (Session* session = waiters.front(); session; session = List<Session>::next(*session))
    session->reloaded();
}
}  // namespace

Wishes& Wishes::operator+=(const Wishes& other) {
  capacity += other.capacity, kept += other.kept, floor += other.floor, weight += other.weight;
  return *this;
}

Wishes& Wishes::operator-=(const Wishes& other) {
  capacity -= other.capacity, kept -= other.kept, floor -= other.floor, weight -= other.weight;
  return *this;
}

Wishes Group::wishes_of(const Tenant& tenant) {
  const tiers::Tier& limits = tenant.record.limits;
  return {limits.max_server_connections, tenant.halted() ? 0 : limits.min_server_connections,
          limits.pool_size, limits.weight};
}

const Wishes& Group::wishes() const {
  if (wishes_) return *wishes_;
  wishes_ = Wishes{};
  for (auto& [tenant, member] : tenants_) *wishes_ += member.counted = wishes_of(*tenant);
  return *wishes_;
}

bool Group::uses(const Member& member, Time now) {
  return member.queued() || member.lent > 0 || member.used_at > now - kInUse;
}

// What was counted holds for a moment yet, and who comes meanwhile is added.
void Group::note_use(Member& member) {
  const Time now = worker_.loop().now();
  if (now < in_use_until_ && !uses(member, now) && wishes_) in_use_ += member.counted;
  member.used_at = now;
}

// Among groups, tenants that are connected and do nothing must not weigh for others that share theirs.
const Wishes& Group::wishes_in_use() const {
  const Wishes& all = wishes();
  if (tenants_.size() <= 1) return all;
  const Time now = worker_.loop().now();
  if (now < in_use_until_) return in_use_;
  in_use_until_ = now + kCountUsersEvery;
  in_use_ = {};
  for (const auto& [tenant, member] : tenants_)
    if (uses(member, now)) in_use_ += member.counted;
  return in_use_;
}

Claimant::Entitled Group::entitled() const {
  const auto count = static_cast<Duration::rep>(idle_.size());
  const Duration idle = backing_->idle + (worker_.loop().now() - backing_->counted_at) * count;
  const Wishes& wanted = wishes_in_use();
  // What it keeps open in any case must not be taken from it: it would only be opened again.
  return {beside_others(std::max(wanted.floor, wishes().kept)), std::max(wanted.weight, 1U), idle};
}

std::uint32_t Group::capacity() const {
  if (PGWEIR_PLANTED(IGNORE_MAX_SERVERS)) return 1000;
  return beside_others(wishes().capacity);
}

std::uint32_t Group::floor() const { return worker_.draining() ? 0 : beside_others(wishes().kept); }

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
  if (servers_.size() + left_behind() >= capacity())
    return idle_.empty() ? make_room_elsewhere() : make_room();
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
    if (!backing_->budget.take(backing_->claimant, entitled(), now)) {
      claimed_ = true;
      worker_.ask_for_budget(key_.backend);
    } else if (backing_->gate.begin(patience())) {
      start_one(startup_wanted());
    } else {
      // Another group is the one to probe.
      backing_->budget.decline(backing_->claimant, entitled(), now);
      return look_again(std::max(now + Duration(kLookAgain), try_at()));
    }
  }
  if (claimed_ && !PGWEIR_PLANTED(KEEP_UNUSABLE)) make_room();  // the backend is full, maybe of these
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
  return starting_ == 0 || waiters_.front() != &session || backing_->gate.probes_early();
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
  return servers_.size() + left_behind() < capacity() &&
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
    backing_->budget.decline(backing_->claimant, entitled(), now);
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
  const bool was_away = failures_ > 0 || backing_->gate.rationed();
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
  if (first && was_away)
    note_wake({Time{}, now});
  else if (waking_since_ != kNever)
    note_wake({waking_since_, now});
  const Duration woke_after = waking_since_ == kNever ? Duration{} : now - waking_since_;
  if (waking_since_ != kNever && !waiters_.empty())
    waiters_.front()->tenant().meter->wake.add(static_cast<std::uint64_t>(woke_after.count()));
  waking_since_ = kNever;
  failures_ = 0;
  last_error_.reset();
  retry_at_ = {};
  server.core.fresh = books.settings.fresh(parameters);
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
  if (first) look_at_deadlines(waiters_);
  grow();
}

void Group::note_wake(Wake wake) {
  constexpr std::size_t kWakesMost = 16;
  if (wakes_.size() == kWakesMost) wakes_.erase(wakes_.begin());
  wakes_.push_back(wake);
}

Duration Group::woken_since(Time since) const {
  Duration all{};
  for (const Wake& each : wakes_) all += std::max(each.until - std::max(each.from, since), Duration{});
  return all;
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
  const bool was_waking = waking();
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
  if (was_waking && !waking()) look_at_deadlines(waiters_);
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
  Tenant* const payer = payer_of(server);
  const std::string used_by = payer ? payer->record.name : "";
  servers_.erase(id);
  backing_->budget.give_back(backing_->claimant, entitled(), worker_.loop().now());
  // What has come free is theirs who have waited longer, before grow() takes it here.
  if (payer) serve_elsewhere(*payer, waits_since(*payer));
  serve();
  grow();
  // It may have been lent when it was given up.
  if (Tenant* const user = worker_.tenants().find(used_by)) serve_elsewhere(*user);
  if (backing_->gate.rationed()) refuse_impatient();  // the probe for which one was spared may be over
  tell_heirs();
  tell_other_users();
  if (servers_.empty()) release_home();
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

}  // namespace pgweir
