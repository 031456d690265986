// pooler/group_replication.cc - Group: walsenders, each of one client that keeps it until either is gone.
//
//   wants one -> placed (counts among its tenant's servers) -> its server logs in -> Lent -> Closing
//
// They are servers like the others to all limits, and to nobody else.
#include <algorithm>

#include "pooler/base/check.h"
#include "pooler/group.h"
#include "pooler/session.h"
#include "pooler/worker.h"

namespace pgweir {

namespace {
protocol::Settings startup_of(const SessionCore& client) {
  const bool logical = client.replication() == protocol::Replication::Logical;
  protocol::Settings settings{{"replication", logical ? "database" : "true"}};
  for (const auto& [name, value] : client.wanted()->values) settings.emplace_back(name, value);
  return settings;
}
}  // namespace

void Group::request_own(Session& session) {
  own_.push_back({&session});
  start_own();
}

bool Group::own_wanted() const {
  return std::any_of(own_.begin(), own_.end(), [](const Own& own) { return own.placed && own.server == 0; });
}

void Group::start_own() {
  for (Own& own : own_) {
    Tenant& tenant = own.session->tenant();
    if (own.placed || !tenant.may_have_server()) continue;
    own.placed = true;
    count_lent(*own.session);
  }
  while (own_wanted() && !claimed_) {
    if (!worker_.snapshot().backend(key_.backend)) return worker_.loop().arm(timer_, worker_.loop().now());
    // When it is gone we are called again.
    if (servers_.size() + left_behind() >= capacity()) {
      idle_.empty() ? make_room_elsewhere() : drop(*idle_.front(), "not needed now");
      return;
    }
    const Time now = worker_.loop().now();
    if (!backing_->budget.take(backing_->claimant, entitled(), now)) {
      claimed_ = true;
      worker_.ask_for_budget(key_.backend);
    } else if (backing_->gate.begin(Breaker::Patience::FailsFast)) {
      open_own();
    } else {
      backing_->budget.decline(backing_->claimant, entitled(), now);
      for (const Own& own : own_) own.session->fail_fast();
      return;
    }
  }
}

void Group::open_own() {
  const auto own =
      std::find_if(own_.begin(), own_.end(), [](const Own& each) { return each.placed && each.server == 0; });
  PGWEIR_CHECK(own != own_.end());
  const std::uint64_t id = worker_.next_server_id();
  own->server = id;
  auto server = std::make_unique<Server>(*this, id, own->session->tenant().startup, Server::Role::Walsender,
                                         startup_of(own->session->core()));
  Server& started = *server;
  servers_[id] = std::move(server);
  started.connect();
}

Group::Own Group::take_own(std::vector<Own>::iterator place) {
  const Own own = *place;
  own_.erase(place);
  return own;
}

bool Group::leave_own(const Session& session) {
  const auto place =
      std::find_if(own_.begin(), own_.end(), [&](const Own& own) { return own.session == &session; });
  if (place == own_.end()) return false;
  const Own own = take_own(place);
  if (!own.placed) return true;
  Tenant& tenant = own.session->tenant();
  --tenant.lent;
  --own.session->member().lent;
  if (!waiters_.empty() || tenant.groups.size() > 1) standing_changed(tenant);
  if (own.server != 0)
    drop(*servers_.at(own.server), "its client has left");
  else if (waiters_.empty() && servers_.size() >= floor() && !own_wanted())
    withdraw();
  return true;
}

void Group::own_started(Server& server, const SettingsMap::Values& parameters) {
  const auto place =
      std::find_if(own_.begin(), own_.end(), [&](const Own& own) { return own.server == server.id; });
  PGWEIR_CHECK(place != own_.end());  // pairs with leave_own
  Session& session = *take_own(place).session;
  const Time now = worker_.loop().now();
  server.place = Server::Place::Lent;
  server.session = &session;
  server.since = server.run.since = server.paid_until = now;
  server.expires = kNever;
  server.charged = session.member().take();
  server.payer = &session.tenant();
  ++session.tenant().traffic.assignments;
  worker_.log().info("walsender connected", {{"backend", key_.backend},
                                             {"database", key_.database},
                                             {"user", key_.user},
                                             {"server", server.id},
                                             {"pid", server.cancel_pid()}});
  session.on_dedicated(server, parameters);
}

// Nobody tries again for a client that waits: those who replicate come again by themselves.
void Group::own_login_failed(Server& server, const HostRound::Failure& why) {
  const Error& error = why.error;
  // What a client has asked for says nothing of those who share its database and user.
  if (login_verdict(error, why.teller, why.stage).backend == Breaker::Outcome::Failed)
    backing_->gate.login_failed(error, why.teller, why.stage);
  worker_.log().warn("walsender login failed", {{"backend", key_.backend},
                                                {"database", key_.database},
                                                {"user", key_.user},
                                                {"server", server.id},
                                                {"sqlstate", error.sqlstate},
                                                {"error", error.message}});
  const auto place =
      std::find_if(own_.begin(), own_.end(), [&](const Own& own) { return own.server == server.id; });
  PGWEIR_CHECK(place != own_.end());
  Session& session = *place->session;
  leave_own(session);
  session.on_refused(error);
}

// Its client, if it is still here, waits for another one.
void Group::own_dropped(const Server& server) {
  for (Own& own : own_)
    if (own.server == server.id) own.server = 0;
}

void Group::refuse_own(const Error& error) {
  while (!own_.empty()) {
    Session& session = *own_.front().session;
    leave_own(session);
    session.on_refused(error);
  }
}

}  // namespace pgweir
