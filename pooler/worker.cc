#include "pooler/worker.h"

#include <fmt/format.h>

#include <algorithm>
#include <functional>

#include "pooler/base/check.h"
#include "pooler/base/planted.h"
#include "pooler/cancel.h"
#include "pooler/client_login.h"
#include "pooler/console.h"
#include "pooler/net/address.h"
#include "pooler/net/wall_clock.h"
#include "pooler/tier_control.h"
#include "protocol/base64.h"
#include "protocol/digest.h"

namespace pgweir {

namespace {
constexpr std::size_t kNamesKept = 4096;
constexpr std::uint32_t kSlots = 1u << 22;  // ids stay positive as int4
constexpr std::size_t kNonceBytes = 18, kSecretBytes = 32;

std::string random_text(Rng& rng, std::size_t bytes) {
  std::string text(bytes, '\0');
  rng.fill(text.data(), bytes);
  return text;
}

constexpr std::uint32_t kCancelsAtOnce = 4;  // for one server: each keeps it from the next client
}  // namespace

Worker::Worker(std::uint32_t index, net::Loop& loop, Rng& rng, Shared& shared,
               std::shared_ptr<const Snapshot> snapshot)
    : index_(index),
      loop_(loop),
      rng_(rng),
      cancel_secret_(random_text(rng, kSecretBytes)),
      shared_(shared),
      snapshot_(std::move(snapshot)),
      derivations_(loop),
      period_timer_(this, [](void* self) { static_cast<Worker*>(self)->roll_periods(); }),
      grace_timer_(this, [](void* self) { static_cast<Worker*>(self)->end_graces(); }),
      latecomers_timer_(this, [](void* self) { static_cast<Worker*>(self)->turn_away_latecomers(); }) {}

Worker::~Worker() { PGWEIR_CHECK(empty()); }

void Worker::listen(int fd) { listeners_.push_back(loop_.listen(fd, *this)); }

void Worker::stop_listening() { listeners_.clear(); }

void Worker::take_snapshot(std::shared_ptr<const Snapshot> snapshot) {
  const std::shared_ptr<const Snapshot> before = std::exchange(snapshot_, std::move(snapshot));
  verifiers_.clear();
  asked_for_.clear();
  std::unordered_set<const Tenant*> held_anew, suspended;
  for (auto& [name, tenant] : tenants_)
    if (tenant->record.revision == 0)  // otherwise the tenant store tells
      if (const auto record = snapshot_->tenant(name)) {
        if (follow(*tenant, *record)) suspended.insert(tenant.get());
        tenant->startup = startups_.of(tenant->record);  // Group::reloaded does the rest
        if (renew_guard(*tenant)) held_anew.insert(tenant.get());
      }
  ceilings_changed(held_anew);
  end_suspended(suspended);
  for (auto& [key, group] : groups_.by_key()) group->reloaded(*before);
  for (auto& [name, tenant] : tenants_) rate_changed(*tenant);
  for (auto& [name, tenant] : tenants_) give_places(*tenant);
  for (auto& [id, session] : sessions_) session->reloaded();
}

void Worker::on_accept(std::unique_ptr<net::Stream> stream) {
  auto login = std::make_unique<ClientLogin>(*this, std::move(stream));
  ClientLogin* raw = login.get();
  logins_[raw] = {++last_ticket_, std::move(login)};
  tickets_[last_ticket_] = raw;
  ++shared_.logins;
  if (shared_.connections() > config().max_clients + Shared::kSpareLogins) make_room();
}

// Room is made by those who have taken longest: an honest client is through in no time. Who was told to go
// before goes now, whether he has read it or not.
void Worker::make_room() {
  const Error full{sqlstate::kTooManyConnections, "sorry, too many clients are logging in",
                   fmt::format("client.max allows {} connections, and {} more may be logging in.",
                               config().max_clients, Shared::kSpareLogins),
                   "Connect again, and log in without delay; or raise client.max."};
  if (ClientLogin* told = login_of(last_told_)) told->end(LoginRefusal::MaxClients, full);
  const auto oldest = tickets_.upper_bound(last_told_);
  if (oldest == tickets_.end() || oldest->first == last_ticket_) return;
  last_told_ = oldest->first;
  oldest->second->end(LoginRefusal::MaxClients, full);
}

void Worker::adopt_login(std::unique_ptr<ClientLogin> login) {
  // Posted before it was known that we stop, maybe after we were found empty: it goes with its connection.
  if (closed_to_new()) return void(--shared_.logins);
  ClientLogin* raw = login.get();
  logins_[raw] = {++last_ticket_, std::move(login)};
  tickets_[last_ticket_] = raw;
  raw->attach(*this);
}

std::unique_ptr<ClientLogin> Worker::release_login(ClientLogin& login) {
  const auto place = logins_.find(&login);
  PGWEIR_CHECK(place != logins_.end());
  std::unique_ptr<ClientLogin> released = std::move(place->second.login);
  tickets_.erase(place->second.ticket);
  logins_.erase(place);
  return released;
}

void Worker::login_ended(ClientLogin& login) {
  if (const auto place = logins_waiting_.find(login.tenant()); place != logins_waiting_.end()) {
    place->second.erase(ticket(login));
    if (place->second.empty()) logins_waiting_.erase(place);
  }
  release_login(login);
  --shared_.logins;
  after_change();
}

void Worker::wait_for_place(const ClientLogin& login) {
  logins_waiting_[login.tenant()].insert(ticket(login));
}

std::size_t Worker::logins_waiting(const std::string& tenant) const {
  const auto place = logins_waiting_.find(tenant);
  return place == logins_waiting_.end() ? 0 : place->second.size();
}

// The oldest first. Each may be refused for another reason, and then the next one has its chance.
void Worker::give_places(Tenant& tenant) {
  const auto waiting = [&] { return logins_waiting_.find(tenant.record.name); };
  for (auto place = waiting(); place != logins_waiting_.end(); place = waiting()) {
    if (tenant.clients >= tenant.record.limits.max_clients) return;
    ClientLogin* const login = login_of(*place->second.begin());
    place->second.erase(place->second.begin());
    if (place->second.empty()) logins_waiting_.erase(place);
    if (login) login->place_free();
  }
}

std::uint64_t Worker::ticket(const ClientLogin& login) const { return logins_.at(&login).ticket; }

ClientLogin* Worker::login_of(std::uint64_t ticket) const {
  const auto place = tickets_.find(ticket);
  return place == tickets_.end() ? nullptr : place->second;
}

std::string Worker::scram_nonce() {
  char raw[kNonceBytes];
  rng_.fill(raw, sizeof raw);
  return protocol::base64_encode(Bytes(raw, sizeof raw));
}

const protocol::ScramVerifier* Worker::verifier_for(const std::string& user, const std::string& password,
                                                    const ClientLogin& login) {
  std::shared_ptr<Verifier>& place = verifiers_[user];
  if (place && place->password == password) {
    if (place->verifier) return &*place->verifier;
    place->waiting.push_back(ticket(login));
    return nullptr;
  }
  place = std::make_shared<Verifier>(Verifier{password, std::nullopt, {ticket(login)}});
  const std::string salt = protocol::mock_scram_verifier(user, shared_.process_secret).salt;
  derivations_.add(Derivations::For::Client,
                   {password, salt, protocol::kScramIterations, [] { return true; },
                    [this, salt, entry = place](const protocol::ScramKey& key) {
                      entry->verifier = {protocol::kScramIterations, salt,
                                         protocol::scram_stored_key(protocol::scram_client_key(key)),
                                         protocol::scram_server_key(key)};
                      for (const std::uint64_t waiting : std::exchange(entry->waiting, {}))
                        if (ClientLogin* one = login_of(waiting)) one->verified(*entry->verifier);
                    }});
  return nullptr;
}

bool Worker::first_asked(const std::string& unknown_user) {
  if (asked_for_.size() >= kNamesKept) asked_for_.clear();
  return asked_for_.insert(unknown_user).second;
}

Group& Worker::group(const Tenant& tenant, const GroupKey& key, const ServerCredentials& credentials) {
  for (Group* group : tenant.groups)
    if (group->key().same_but_startup(key)) return *group;
  if (Group* const known = groups_.find(key)) return *known;
  return groups_.add(std::make_unique<Group>(*this, key, credentials));
}

std::uint32_t Worker::add_session(Session&) {
  do {
    next_slot_ = next_slot_ % (kSlots - 1) + 1;
  } while (sessions_.contains(next_slot_ << 8 | index_));
  return next_slot_ << 8 | index_;
}

void Worker::own_session(std::unique_ptr<Session> session) {
  Tenant& tenant = session->tenant();
  tenants_.settle(tenant);
  ++tenant.traffic.connections;
  tenant.peak_clients.saw(tenant.clients);
  if (session->tenant().clients == 1 && shared_.tiers) shared_.tiers->watch(session->tenant().record);
  const std::uint32_t id = session->id();
  sessions_[id] = std::move(session);
  if (!period_timer_.armed()) loop_.arm(period_timer_, loop_.now() + TrafficPeriod::kLength);
}

void Worker::session_ended(Session& session) {
  Tenant& tenant = session.tenant();
  sessions_.erase(session.id());
  tenants_.settle(tenant);
  if (tenant.clients == 0) {
    if (shared_.tiers) shared_.tiers->unwatch(tenant.record.name);
    leave_home(tenant.record.name);
  }
  --shared_.sessions;
  if (!logins_waiting_.empty() && !PGWEIR_PLANTED(FORGET_PLACES)) give_places(tenant);
  after_change();
}

void Worker::own_console(std::unique_ptr<ConsoleSession> console) {
  ConsoleSession* raw = console.get();
  consoles_[raw] = std::move(console);
  shared_.suspension.console_came();
}

void Worker::console_ended(ConsoleSession& console) {
  if (const auto order = shared_.suspension.console_left()) {
    log().info("resumed",
               {{"user", console.user()}, {"tenant", "*"}, {"reason", "the last console has gone"}});
    for (Worker* each : shared_.workers)
      each->loop().post([each, order = *order] {
        if (each->shared_.suspension.over(order)) each->set_suspended(false);
      });
  }
  consoles_.erase(&console);
  after_change();
}

std::string Worker::cancel_key(std::uint32_t session, Time since, std::size_t bytes) const {
  const protocol::Sha256 key =
      protocol::hmac_sha256(cancel_secret_, fmt::format("{}/{}", session, since.time_since_epoch().count()));
  return std::string(protocol::as_bytes(key).substr(0, bytes));
}

void Worker::cancel_request(std::uint32_t id, std::string key, std::function<void()> done) {
  Worker& asked = *this;
  const std::uint32_t home = id & 0xff;
  // Right or wrong, the answer comes in the same way.
  const auto back = [&asked, done] { asked.loop().post(done); };
  if (home >= shared_.workers.size()) return back();
  Worker& worker = *shared_.workers[home];
  worker.loop().post([&worker, id, key = std::move(key), back] {
    const auto place = worker.sessions_.find(id);
    if (place == worker.sessions_.end()) {
      for (const auto& [raw, console] : worker.consoles_)
        if (console->id() == id && console->cancel_key_is(key)) console->cancel();
      return back();
    }
    if (!place->second->cancel_key_is(key)) return back();
    place->second->cancel(back);
  });
}

void Worker::send_cancel(Server& server, std::function<void()> done) {
  const bool keeps = server.place != Server::Place::Closing;
  CancelTarget target = server.cancel_target();
  if (target.key.empty() || server.leases >= kCancelsAtOnce) {
    if (done) done();
    return;
  }
  if (keeps) ++server.leases;
  auto cancel = std::make_unique<CancelConnection>(*this, std::move(target), keeps ? &server : nullptr,
                                                   std::move(done));
  CancelConnection* raw = cancel.get();
  cancels_[raw] = std::move(cancel);
}

void Worker::cancel_ended(CancelConnection& connection) {
  Server* server = connection.server();
  // A cancel that we gave up on may still be on its way, and must not meet the next client (R6).
  if (server && !connection.over()) server->expires = {};
  const std::function<void()> done = connection.take_done();
  cancels_.erase(&connection);
  if (done) done();
  if (server) server->lease_ended();
  after_change();
}

SideConnection* Worker::side(const std::string& name, const net::Endpoint& host) {
  const BackendView* const backend = snapshot_->backend(name);
  if (!backend || !SideConnection::possible(*backend)) return nullptr;
  for (Side& side : sides_)
    if (side.backend == name && side.host == host && !side.connection->closing())
      return side.connection.get();
  Side& made = sides_.emplace_back(Side{name, host, nullptr});
  made.connection = std::make_unique<SideConnection>(
      loop_, derivations_, SideConnection::role_on(*backend, host), scram_nonce(), [this, gone = &made] {
        sides_.remove_if([gone](const Side& each) { return &each == gone; });
        after_change();
      });
  return made.connection.get();
}

// The connection stays open until Postgres has answered, so that the process is still the server's.
bool Worker::terminate(Server& server) {
  const GroupKey& key = server.group().key();
  SideConnection* const connection = side(key.backend, server.host());
  if (!connection) return false;
  connection->ask(fmt::format("SELECT pg_catalog.pg_terminate_backend({})", server.cancel_pid()),
                  [this, key, id = server.id](const SideAnswer& answer) {
                    const bool ended = answer && answer->size() == 1 && answer->front() == SideRow{"t"};
                    if (ended)
                      log().info("server_terminated",
                                 {{"backend", key.backend}, {"database", key.database}, {"server", id}});
                    else
                      log().warn("server could not be terminated, what it runs may go on",
                                 {{"backend", key.backend},
                                  {"database", key.database},
                                  {"server", id},
                                  {"error", answer ? "no such process" : answer.error().message}});
                    Group* const group = groups_.find(key);
                    if (!group) return;
                    if (Server* const left = group->server(id)) left->terminated();
                  });
  return true;
}

void Worker::forget_server(Server& server) {
  for (auto& [raw, cancel] : cancels_)
    if (cancel->server() == &server) cancel->forget_server();
}

void Worker::ask_for_budget(const std::string& backend) {
  Reclaim reclaim;
  reclaim.backend = backend;
  reclaim.asked_by = index_;
  loop_.post([this, reclaim = std::move(reclaim)]() mutable {
    reclaim.for_floor = shared_.budget(reclaim.backend).floor_wanted();
    look_for_spare(std::move(reclaim));
  });
}

void Worker::look_for_spare(Reclaim reclaim) {
  for (Group* group = groups_.with_idle().front(); group; group = List<Group>::next(*group)) {
    if (group->key().backend != reclaim.backend) continue;
    const std::optional<Group::Spare> spare = group->spare(reclaim.for_floor);
    if (!spare || (reclaim.best && *reclaim.best <= *spare)) continue;
    reclaim.best = spare;
    reclaim.worker = this;
    reclaim.group = group->id();
  }
  Worker* next = shared_.workers[(index_ + 1) % shared_.workers.size()];
  if (next->index() != reclaim.asked_by)
    return next->loop().post(
        [next, reclaim = std::move(reclaim)]() mutable { next->look_for_spare(std::move(reclaim)); });
  if (!reclaim.best) return;
  reclaim.worker->loop().post(
      [reclaim = std::move(reclaim)]() mutable { reclaim.worker->take_spare(std::move(reclaim)); });
}

void Worker::take_spare(Reclaim reclaim) {
  Group* const found = groups_.find(reclaim.group);
  if (found && found->close_one_idle(reclaim.for_floor)) return;
  // It has been lent or closed meanwhile; there may be others.
  if (shared_.budget(reclaim.backend).starved()) ask_for_budget(reclaim.backend);
}

void Worker::breaker_changed(const std::string& backend) {
  for (auto& [key, group] : groups_.by_key())
    if (key.backend == backend) group->breaker_changed();
}

void Worker::host_moved(const std::string& backend, const net::Endpoint& to) {
  for (auto& [key, group] : groups_.by_key())
    if (key.backend == backend) group->leave_hosts([&to](const net::Endpoint& host) { return host != to; });
}

void Worker::host_silent(const std::string& backend, const net::Endpoint& silent) {
  for (auto& [key, group] : groups_.by_key())
    if (key.backend == backend)
      group->leave_hosts([&silent](const net::Endpoint& host) { return host == silent; });
}

void Worker::host_lost(const std::string& backend, const net::Endpoint& lost) {
  for (auto& [key, group] : groups_.by_key())
    if (key.backend == backend) group->lose_host(lost);
}

void Worker::seek_host(const Server& server) {
  const std::string& backend = server.group().key().backend;
  const Time now = loop_.now();
  const Duration pause = config().server_silence_max;
  std::erase_if(seeks_, [&](const auto& each) { return each->over() && now >= each->over_since() + pause; });
  const auto same = [&](const auto& each) {
    return each->backend() == backend && each->host() == server.host();
  };
  if (draining_ || !HostSeek::possible(*this, server) || std::any_of(seeks_.begin(), seeks_.end(), same))
    return;
  if (PGWEIR_PLANTED(NO_SEEK)) return;
  seeks_.push_back(std::make_unique<HostSeek>(*this, server));
}

bool Worker::awaits(const std::string& backend, const net::Endpoint& host) const {
  const auto does = [&](const auto& entry) {
    return entry.first.backend == backend && entry.second->awaits(host);
  };
  return std::any_of(groups_.by_key().begin(), groups_.by_key().end(), does);
}

void Worker::begin_breakers_anew(const std::string& backend) {
  for (auto& [key, group] : groups_.by_key())
    if (key.backend == backend) group->gate().begin_anew();
  for (const auto& [key, breaker] : breakers_.kept())
    if (key.backend == backend && breaker->core.ordered() == Breaker::Order::Auto)
      breaker->core.order(Breaker::Order::Auto, loop_.now());
}

void Worker::order_breakers(const std::string& backend, const std::string& database, Breaker::Order order) {
  breaker_orders_.give(backend, database, order);
  const auto concerns = [&](const GroupKey& key) {
    return key.backend == backend && key.database == database;
  };
  for (auto& [key, group] : groups_.by_key()) {
    if (!concerns(key)) continue;
    group->gate().order(order);
    group->breaker_changed();  // also where it was open before, by itself
  }
  // Those of groups that are gone.
  for (const auto& [key, breaker] : breakers_.kept())
    if (concerns(key)) breaker->core.order(order, loop_.now());
}

Breaker::State Worker::breaker_of(const tiers::Tenant& tenant) const {
  GroupKey first;
  first.backend = tenant.backend;
  first.database = tenant.database.empty() ? tenant.name : tenant.database;
  Breaker::State worst = breaker_orders_.of(first.backend, first.database) == Breaker::Order::Open
                             ? Breaker::State::Open
                             : Breaker::State::Closed;
  const auto& kept = breakers_.kept();
  for (auto place = kept.lower_bound(first); place != kept.end() && place->first.backend == first.backend &&
                                             place->first.database == first.database;
       ++place)
    worst = std::max(worst, place->second->core.state());
  return worst;
}

void Worker::drain(const Error& why) {
  set_suspended(false);
  draining_ = why;
  // Where another process takes over, who has just come is served: the kernel has given us his connection,
  // and he may have nobody to try it with again.
  if (config().reuse_port) {
    latecomers_until_ = loop_.now() + kLatecomers;
    loop_.arm(latecomers_timer_, latecomers_until_);
    for (const auto& listener : listeners_) listener->accept_rest();
  }
  stop_listening();
  if (!admits_latecomers()) end_named_logins(why);
  end_idle(why);
  const auto movers = movers_.size();
  for (std::size_t i = 0; i < movers; ++i) movers_[i]->call_off(why);
  for (auto& [raw, console] : consoles_) console->end();
  for (auto& [key, group] : groups_.by_key()) group->close_idle();
  after_change();
}

const Error* Worker::closed_to_new() const {
  if (admits_latecomers()) return nullptr;
  const std::optional<Error>& why = draining_ ? draining_ : leaving_;
  return why ? &*why : nullptr;
}

void Worker::end_logins(const Error& why) {
  std::vector<ClientLogin*> logins;
  for (auto& [raw, place] : logins_) logins.push_back(place.login.get());
  for (ClientLogin* login : logins) login->end(LoginRefusal::Shutdown, why);
}

void Worker::end_named_logins(const Error& why) {
  std::vector<ClientLogin*> named;
  for (auto& [raw, place] : logins_)
    if (!place.login->unnamed()) named.push_back(place.login.get());
  for (ClientLogin* login : named) login->end(LoginRefusal::Shutdown, why);
  if (!logins_.empty()) loop_.arm(latecomers_timer_, loop_.now() + kLatecomers);
}

void Worker::end_idle(const Error& why) {
  std::vector<Session*> idle;
  for (auto& [id, session] : sessions_) {
    // Who queues has asked already. Nobody is left to RESUME whom a PAUSE keeps waiting.
    const bool served =
        session->queues() && !session->tenant().is_paused() && !PGWEIR_PLANTED(TURN_AWAY_QUEUE);
    if (session->between_transactions() && !served && !(admits_latecomers() && session->fresh()))
      idle.push_back(session.get());
  }
  for (Session* session : idle) session->end(why);
}

void Worker::turn_away_latecomers() {
  latecomers_until_ = {};
  end_logins(draining_ ? *draining_ : *leaving_);
  if (draining_) end_idle(*draining_);
  after_change();
}

void Worker::let_clients_leave(const Error& why) {
  set_suspended(false);
  leaving_ = why;
  stop_listening();
  end_named_logins(why);
  after_change();
}

std::size_t Worker::close_all(const Error& why) {
  loop_.hurry();
  set_suspended(false);
  draining_ = why;
  stop_listening();
  end_logins(why);
  for (auto& [raw, console] : consoles_) console->end();
  std::vector<Session*> all;
  for (auto& [id, session] : sessions_) all.push_back(session.get());
  const auto cut_off =
      std::count_if(all.begin(), all.end(), [](const Session* session) { return session->in_transaction(); });
  for (Session* session : all) session->end(why);
  for (auto& [key, group] : groups_.by_key()) group->close_unused("shutting down");
  after_change();
  return static_cast<std::size_t>(cut_off);
}

void Worker::set_paused(const tiers::Tenant* record, bool paused) {
  // Its record may be one of the tenant store, of which the console knows nothing.
  Tenant* one = record ? tenants_.find(record->name) : nullptr;
  if (record && !one) one = &tenant(*record);
  if (one) {
    one->paused = paused;
  } else {
    all_paused_ = paused;
    for (auto& [name, each] : tenants_) each->all_paused = paused;
  }
  for (auto& [key, group] : groups_.by_key())
    if (!one || group->serves(*one)) group->pause_changed();
}

void Worker::set_suspended(bool suspended) {
  if (suspended == suspended_since_.has_value()) return;
  if (suspended) {
    suspended_since_ = loop_.now();
    for (auto& [id, session] : sessions_) session->suspend();
    return;
  }
  const Duration was = loop_.now() - *std::exchange(suspended_since_, std::nullopt);
  for (auto& [id, session] : sessions_) session->resume(was);
  for (auto& [key, group] : groups_.by_key()) group->resumed();
}

void Worker::move(Mover::Order order, Mover::Commit commit, Mover::Over over) {
  Mover& mover = *movers_.emplace_back(
      std::make_unique<Mover>(*this, next_server_id(), std::move(order), std::move(commit), std::move(over)));
  if (draining_) return mover.call_off(*draining_);
  mover.start();
}

Mover* Worker::mover(std::uint64_t id) const {
  for (const auto& each : movers_)
    if (each->id() == id) return each.get();
  return nullptr;
}

void Worker::call_off_move(std::uint32_t console, const Error& why) {
  const auto asked = std::find_if(movers_.begin(), movers_.end(),
                                  [console](const auto& each) { return each->by() == console; });
  if (asked != movers_.end()) (*asked)->call_off(why);
}

// Posted: its own calls are under way.
void Worker::move_over(const Mover& mover) {
  loop_.post([this, id = mover.id()] {
    std::erase_if(movers_, [id](const auto& each) { return each->id() == id; });
    after_change();
  });
}

void Worker::move_group(Group& group, const std::string& backend) {
  GroupKey key = group.key();
  key.backend = backend;
  key.twin = 0;
  if (groups_.find(key)) key.twin = group.id();
  groups_.rename(group, std::move(key));
}

bool Worker::pause_settled(const std::string* name) const {
  for (const auto& [key, each] : tenants_)
    if ((!name || *name == key) && each->is_paused() && each->lent > 0) return false;
  return std::none_of(groups_.by_key().begin(), groups_.by_key().end(), [&](const auto& entry) {
    const Group& group = *entry.second;
    if (name) {
      const Tenant* tenant = tenants_.find(*name);
      if (!tenant || !group.serves(*tenant)) return false;
    }
    const bool unused = group.tenants().empty();  // may have a server that logs in for somebody who has left
    if (!unused && !group.paused()) return false;
    return std::any_of(group.servers().begin(), group.servers().end(), [unused](const auto& server) {
      const Server::Place place = server.second->place;
      return !unused || (place != Server::Place::Starting && place != Server::Place::Idle);
    });
  });
}

// Goes on as long as anybody is here, and once more, so that the figures of a silent minute are zero.
void Worker::roll_periods() {
  charge_servers();
  std::vector<UsageDelta> used = tenants_.end_period(net::today(), loop_.now());
  std::uint64_t assignments = tenants_.forgotten().assignments;
  for (const auto& [name, each] : tenants_) assignments += each->traffic.assignments;
  if (shared_.tiers && !used.empty()) shared_.tiers->add_usage(std::move(used));
  const bool silent = std::exchange(period_assignments_, assignments) == assignments;
  if (!sessions_.empty() || !groups_.empty() || !silent)
    loop_.arm(period_timer_, loop_.now() + TrafficPeriod::kLength);
}

void Worker::charge_servers() {
  for (auto& [key, group] : groups_.by_key()) group->charge();
}

bool Worker::empty() const {
  if (!sessions_.empty() || !logins_.empty() || !consoles_.empty() || !cancels_.empty() || !sides_.empty() ||
      !movers_.empty())
    return false;
  if (std::any_of(seeks_.begin(), seeks_.end(), [](const auto& each) { return !each->over(); })) return false;
  return std::all_of(groups_.by_key().begin(), groups_.by_key().end(),
                     [](const auto& entry) { return entry.second->disconnected(); });
}

void Worker::after_change() {
  if (sweep_posted_) return;
  sweep_posted_ = true;
  loop_.post([this] {
    sweep_posted_ = false;
    groups_.sweep();
    if (leaving_ && sessions_.empty() && logins_.empty()) drain(*std::exchange(leaving_, std::nullopt));
    if (draining_ && !admits_latecomers() && empty() && on_empty) std::exchange(on_empty, nullptr)();
  });
}

void tell_host_moved(Worker& worker, const std::string& backend, const net::Endpoint& to) {
  worker.log().warn("host changed", {{"backend", backend}, {"host", net::text(to)}});
  for (Worker* each : worker.shared().workers)
    each->loop().post([each, backend, to] { each->host_moved(backend, to); });
}

void tell_host_lost(Worker& worker, const std::string& backend, const net::Endpoint& host) {
  for (Worker* each : worker.shared().workers)
    each->loop().post([each, backend, host] { each->host_lost(backend, host); });
}

}  // namespace pgweir
