#include "pooler/mover.h"

#include <fmt/format.h>

#include <algorithm>

#include "pooler/base/check.h"
#include "pooler/base/quoted.h"
#include "pooler/login_policy.h"
#include "pooler/net/address.h"
#include "pooler/side_connection.h"
#include "pooler/worker.h"

namespace pgweir {

namespace {
constexpr const char* kObjectInUse = "55006";
constexpr std::size_t kClientsNamed = 10;
}  // namespace

Mover::Mover(Worker& home, std::uint64_t id, Order order, Commit commit, Over over)
    : home_(home),
      id_(id),
      order_(std::move(order)),
      commit_(std::move(commit)),
      over_(std::move(over)),
      timer_(this, [](void* self) { static_cast<Mover*>(self)->look(); }) {}

Mover::~Mover() { home_.loop().disarm(timer_); }

// Found, or made so that whoever logs in meanwhile is held, too.
Tenant& Mover::held() {
  Tenant* const known = home_.tenants().find(tenant());
  return known ? *known : home_.tenant(order_.record);
}

// One of its groups that others use, too: those would go with it.
const Group* Mover::shared_group() {
  for (const Group* group : held().groups)
    if (group->tenants().size() > 1) return group;
  return nullptr;
}

void Mover::start() {
  Tenant& moved = held();
  if (moved.moving)
    return finish(
        Error{kObjectInUse, fmt::format("tenant {} is being moved already", quoted(tenant())), {}, {}});
  if (const Group* group = shared_group()) {
    const auto& all = group->tenants();
    const auto other =
        std::find_if(all.begin(), all.end(), [&](const auto& entry) { return entry.first != &moved; });
    return finish(
        Error{sqlstate::kFeatureNotSupported,
              fmt::format(
                  "tenant {} cannot be moved by itself: clients of tenant {} use the same database and user",
                  quoted(tenant()), quoted(other->first->record.name)),
              {},
              "Tenants that share a database move when it does: PAUSE them, change the configuration or "
              "their store, "
              "RECONNECT, and let their clients connect again."});
  }
  outcome_.clients = moved.clients;
  for (const Group* group : moved.groups) {
    Login login{group->credentials(), group->key().database};
    if (std::find(logins_.begin(), logins_.end(), login) == logins_.end())
      logins_.push_back(std::move(login));
  }
  outcome_.tried = !logins_.empty();
  try_next();
}

void Mover::try_next() {
  const BackendView* const target = home_.snapshot().backend(order_.to);
  if (!target)
    return finish(Error{sqlstate::kUndefinedObject,
                        fmt::format("no backend is named {} any more", quoted(order_.to)),
                        {},
                        {}});
  if (logins_.empty()) return hold();
  round_ = home_.shared().hosts(order_.to).round(target->hosts, session_attrs(target->settings));
  try_host();
}

void Mover::try_host() {
  const BackendView* const target = home_.snapshot().backend(order_.to);
  if (!target) return try_next();
  const Login& login = logins_.back();
  auto error = std::make_shared<std::optional<Error>>();
  probe_ = std::make_unique<SideConnection>(
      home_.loop(), home_.derivations(),
      SideConnection::To{round_->host(), target->tls, login_policy(*target, false), login.credentials,
                         login.database},
      home_.scram_nonce(), [this, error] { tried(std::move(*error)); });
  probe_->ask(kRoleQuery, [this, error](const SideAnswer& answer) {
    if (!answer) {
      *error = answer.error();
      return;
    }
    const std::string host = net::text(round_->host());
    const auto role = answer->size() == 1 ? role_of_row(answer->front(), false) : std::nullopt;
    if (!role)
      *error = Error{sqlstate::kProtocolViolation, host + " does not say whether it is a standby", {}, {}};
    else if (!fits(round_->wanted(), *role))
      *error = Error{sqlstate::kCannotConnectNow, fmt::format("{} is {}", host, name(*role)), {}, {}};
  });
}

void Mover::tried(std::optional<Error> error) {
  probe_.reset();
  if (state_ == State::Over) return home_.move_over(*this);
  if (!error) {
    logins_.pop_back();
    return try_next();
  }
  if (round_->failed({*error, Teller::Server, Stage::Unknown})) return try_host();
  Error why = round_->verdict().error;
  why.message = fmt::format("tenant {} was not moved: user {} cannot log in to database {} on backend {}: {}",
                            quoted(tenant()), quoted(logins_.back().credentials.user),
                            quoted(logins_.back().database), quoted(order_.to), why.message);
  finish(std::move(why));
}

void Mover::hold() {
  state_ = State::Holding;
  held_since_ = home_.loop().now();
  Tenant& moved = held();
  moved.moving = true;
  const std::vector<Group*> groups = moved.groups;
  for (Group* group : groups) group->begin_move();
  look();
}

void Mover::look() {
  Tenant& moved = held();
  // A client that has just said LISTEN may keep its server until the listener hears for it: that goes last.
  for (Group* group : moved.groups) {
    const Server* const listener = group->listener().server();
    if (moved.lent == 0 && listener && listener->place == Server::Place::Listening) group->listener().close();
  }
  const bool ready = moved.lent == 0 && std::all_of(moved.groups.begin(), moved.groups.end(),
                                                    [](const Group* group) { return group->may_move(); });
  if (ready) return commit();
  if (home_.loop().now() - held_since_ >= order_.patience) return call_off(still_busy());
  home_.loop().arm(timer_, home_.loop().now() + kLook);
}

Error Mover::still_busy() {
  std::vector<std::string> clients;
  bool pinned = false;
  for (const auto& [id, session] : home_.sessions()) {
    if (&session->tenant() != &held() || !session->server()) continue;
    const std::string pins = pin::names(session->core().pins());
    pinned = pinned || !pins.empty();
    clients.push_back(fmt::format("{}{}", id, pins.empty() ? "" : " (pinned: " + pins + ")"));
  }
  std::sort(clients.begin(), clients.end());
  const std::size_t count = clients.size();
  if (count > kClientsNamed) clients.resize(kClientsNamed);
  return {kObjectInUse,
          fmt::format("tenant {} was not moved: {} of its clients still had a server after {:g}s",
                      quoted(tenant()), count, static_cast<double>(order_.patience.count()) / 1e6),
          fmt::format("Clients {}{}.", fmt::join(clients, ", "), count > kClientsNamed ? " and others" : ""),
          pinned ? "A pinned client keeps its server until it disconnects; KILL_CLIENT ends one."
                 : "Give more time (MOVE tenant TO backend seconds), or KILL_CLIENT them."};
}

void Mover::commit() {
  if (shared_group())
    return call_off({kObjectInUse,
                     fmt::format("tenant {} was not moved: another tenant has come to its database meanwhile",
                                 quoted(tenant())),
                     {},
                     {}});
  state_ = State::Committing;
  home_.shared().keep_home(tenant(), home_.index());
  Worker& home = home_;
  commit_([&home, id = id_](const std::string& error) {
    if (Mover* const mover = home.mover(id)) mover->committed(error);
  });
}

void Mover::committed(const std::string& error) {
  if (!error.empty()) {
    release();
    return finish(Error{sqlstate::kCannotConnectNow,
                        fmt::format("tenant {} was not moved: {}", quoted(tenant()), error),
                        {},
                        {}});
  }
  Tenant& moved = held();
  const std::vector<Group*> groups = moved.groups;
  std::vector<Session*> left_behind;
  for (Group* group : groups) {
    if (group->key().backend == order_.to) continue;  // of those that came while the record was changed
    if (group->tenants().size() == 1 && group->may_move()) {
      home_.move_group(*group, order_.to);
      continue;
    }
    // Another tenant has come to its database at that moment.
    for (const auto& [id, session] : home_.sessions())
      if (&session->tenant() == &moved && &session->group() == group) left_behind.push_back(session.get());
  }
  moved.moved_from = order_.record.backend;
  moved.moved_revision = moved.record.revision;
  moved.record.backend = order_.to;
  for (Session* session : left_behind)
    session->end(
        {sqlstate::kAdminShutdown,
         fmt::format("terminating connection: tenant {} was moved to another backend", quoted(tenant())),
         {},
         "Connect again."});
  release();
  home_.log().info("tenant moved", {{"tenant", tenant()},
                                    {"from", order_.record.backend},
                                    {"to", order_.to},
                                    {"clients", outcome_.clients},
                                    {"held_ms", outcome_.held.count() / 1000}});
  finish({});
}

void Mover::release() {
  outcome_.held = home_.loop().now() - held_since_;
  Tenant& moved = held();
  moved.moving = false;
  const std::vector<Group*> groups = moved.groups;
  for (Group* group : groups) group->pause_changed();
}

void Mover::call_off(const Error& why) {
  switch (state_) {
    case State::Trying: return finish(why);
    case State::Holding: release(); return finish(why);
    case State::Committing:
    case State::Over: return;
  }
}

void Mover::finish(std::optional<Error> error) {
  state_ = State::Over;
  home_.loop().disarm(timer_);
  if (error)
    home_.log().warn("tenant not moved",
                     {{"tenant", tenant()}, {"to", order_.to}, {"error", error->message}});
  outcome_.error = std::move(error);
  std::exchange(over_, nullptr)(outcome_);
  // A login that is being tried ends first.
  if (!probe_) home_.move_over(*this);
}

}  // namespace pgweir
