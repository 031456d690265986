#include "pooler/server.h"

#include <algorithm>

#include "pooler/base/check.h"
#include "pooler/group.h"
#include "pooler/login_policy.h"
#include "pooler/net/address.h"
#include "pooler/session.h"
#include "pooler/worker.h"
#include "protocol/messages.h"

namespace pgweir {

namespace {

constexpr std::chrono::seconds kCleaningMax{10};
constexpr std::chrono::seconds kReadingMax{3};

// Nobody listens: between two clients a server has nothing to say but notices.
class NoAudience final : public ServerCore::Audience {
 public:
  explicit NoAudience(RoutineBook& book) : routines(book) {}
  std::optional<Bytes> on_parameter(Bytes, Bytes value) override {
    parameter_changed = true;
    return value;
  }
  bool on_ours_failed(Bytes) override { return failed = true; }
  bool on_row(Bytes row) override { return routines.row(row); }
  void on_rows_end(bool well) override { read = well; }
  RoutineBook& routines;
  bool parameter_changed = false;
  bool failed = false;
  std::optional<bool> read;
};

}  // namespace

Server::Server(Group& group, std::uint64_t number, StartupRef settings, Role its_role,
               protocol::Settings client)
    : core(group.books.settings.empty()),
      id(number),
      role(its_role),
      startup(std::move(settings)),
      group_(group),
      client_told_(std::move(client)),
      deadline_(this, [](void* self) {
        static_cast<Server*>(self)->fail_login(
            {sqlstate::kCannotConnectNow, "server did not answer within server.connect_timeout", {}, {}});
      }) {}

Server::~Server() { PGWEIR_CHECK(session == nullptr); }

void Server::connect() {
  Worker& worker = group_.worker();
  const BackendView* backend = worker.snapshot().backend(group_.key().backend);
  PGWEIR_CHECK(backend != nullptr);
  since = started_at = worker.loop().now();
  told_ = startup_parameters(*startup, group_.backend_version());
  protocol::Settings all = told_;
  all.insert(all.end(), client_told_.begin(), client_told_.end());  // of settings named twice the last counts
  login_ = std::make_unique<ServerLogin>(login_policy(*backend, group_.plain_refused()), group_.credentials(),
                                         group_.key().database, worker.scram_nonce(), std::move(all));
  worker.loop().arm(deadline_, since + worker.config().server_connect_timeout);
  endpoint_ = address_ = backend->endpoint;
  tls_ = backend->tls;
  stream_ = worker.loop().connect(endpoint_, *this);
}

void Server::on_connected() {
  // A name may stand for several hosts. A literal says all there is, also an IPv6 zone.
  if (!endpoint_.is_unix() && !net::literal(endpoint_)) {
    const net::Peer peer = stream_->peer();
    address_ = {peer.host, peer.port};
  }
  ServerLogin::Out out;
  login_->connected(out);
  obey(out);
}

void Server::on_secured() {
  ServerLogin::Out out;
  login_->secured(out);
  obey(out);
}

void Server::obey(ServerLogin::Out& out) {
  if (!out.send.empty()) stream_->write(out.send);
  Worker& worker = group_.worker();
  switch (out.want) {
    case ServerLogin::Out::Want::More: return;
    case ServerLogin::Out::Want::StartTls:
      PGWEIR_CHECK(tls_ != nullptr);  // pairs with login_policy
      return stream_->start_tls(*tls_, endpoint_.host);
    case ServerLogin::Out::Want::Derive: {
      // The server may be gone when the keys are ready: it is looked up again by its id.
      const auto still_here = [&worker, key = group_.key(), number = id]() -> Server* {
        const auto group = worker.groups().find(key);
        if (group == worker.groups().end()) return nullptr;
        Server* server = group->second->server(number);
        return server && server->place == Place::Starting ? server : nullptr;
      };
      worker.derivations().add(Derivations::For::Server,
                               {login_->password(), login_->challenge().salt, login_->challenge().iterations,
                                [still_here] { return still_here() != nullptr; },
                                [still_here](const protocol::ScramKey& keys) {
                                  Server* server = still_here();
                                  if (!server) return;
                                  ServerLogin::Out next;
                                  server->login_->derived(keys, next);
                                  server->obey(next);
                                }});
      return;
    }
    case ServerLogin::Out::Want::Done: {
      worker.loop().disarm(deadline_);
      if (!stream_->secured()) tls_ = nullptr;
      cancel_pid_ = login_->cancel_pid();
      cancel_key_ = login_->cancel_key();
      const std::unique_ptr<ServerLogin> login = std::move(login_);
      group_.server_started(*this, login->parameters());
      return;
    }
    case ServerLogin::Out::Want::Failed: {
      worker.loop().disarm(deadline_);
      group_.server_login_failed(*this, out.error, out.from_server);
      return;
    }
  }
}

void Server::fail_login(const Error& error) {
  if (place == Place::Starting)
    group_.server_login_failed(*this, error, false);
  else
    group_.drop(*this,
                reads_routines_ ? "it did not tell of functions in time" : "it did not become clean in time");
}

void Server::on_bytes(Bytes in) {
  switch (place) {
    case Place::Starting: {
      ServerLogin::Out out;
      login_->bytes(in, out);
      return obey(out);
    }
    case Place::Lent: return session->on_server_bytes(in);
    case Place::Idle:
    case Place::Settling: {
      NoAudience nobody(group_.books.routines);
      protocol::Gather nowhere;
      const ServerCore::Outcome outcome = core.read(in, nowhere, nobody);
      // What is still answered to the client that has vanished goes with the cleaning.
      const bool changed = nobody.parameter_changed && !abandoned_ && !reads_routines_;
      const bool failed = nobody.failed && !abandoned_;
      if (changed) group_.books.settings.forget_baseline();
      const char* const why = outcome.broken     ? outcome.broken
                              : outcome.fatal    ? "server is going away"
                              : outcome.poisoned ? "requests pipelined behind COPY"
                              : failed           ? "it could not be cleaned"
                              : changed          ? "its configuration has changed"
                                                 : nullptr;
      if (why) return group_.drop(*this, why);
      if (nobody.read) return go_on_reading(*nobody.read);
      if (place == Place::Idle && !core.clean()) {
        // Half a message: it comes back when the rest is here.
        const Time now = group_.worker().loop().now();
        group_.worker().loop().arm(deadline_, now + kCleaningMax);
        return group_.unsettle(*this);
      }
      if (place == Place::Settling) group_.settle(*this);
      return;
    }
    case Place::Listening: return group_.listener().on_bytes(in);
    case Place::Closing: return;
  }
}

void Server::on_drained() {
  if (session) session->on_server_drained();
}

void Server::on_closed(const net::Closed& why) {
  switch (place) {
    case Place::Starting: break;
    case Place::Closing:
      if (core.shut_down) group_.server_died("terminated by Postgres");
      break;
    case Place::Idle:
    case Place::Lent:
    case Place::Settling:
    case Place::Listening: group_.server_died(why.error.empty() ? "server closed the connection" : why.error);
  }
  if (place == Place::Starting) {
    group_.server_login_failed(
        *this,
        {sqlstate::kCannotConnectNow, why.error.empty() ? "server closed the connection" : why.error, {}, {}},
        false);
  }
  if (session) session->on_server_closed(why.error.empty() ? "server closed the connection" : why.error);
  group_.server_lost(*this);
}

void Server::send_to_settle(protocol::Gather& out) {
  if (!out.empty()) stream_->write(out.slices());
  group_.worker().loop().arm(deadline_, group_.worker().loop().now() + kCleaningMax);
}

void Server::abandon() {
  abandoned_ = true;
  protocol::Gather out;
  core.wind_up(out);
  send_to_settle(out);
  if (core.pipeline.owes_client()) group_.worker().send_cancel(*this, nullptr);
}

void Server::roll_back() {
  abandoned_ = false;
  protocol::Gather out;
  core.begin_rollback(out);
  send_to_settle(out);
}

void Server::read_routines() {
  abandoned_ = false;
  reads_routines_ = true;
  ask_for_routines(group_.books.routines.start(group_.worker().loop().now()));
}

void Server::ask_for_routines(const std::string& sql) {
  protocol::Gather out;
  core.ask(sql, out);
  stream_->write(out.slices());
  group_.worker().loop().arm(deadline_, group_.worker().loop().now() + kReadingMax);
}

void Server::go_on_reading(bool well) {
  if (const auto more = group_.books.routines.next(well)) return ask_for_routines(*more);
  reads_routines_ = false;
  group_.routines_read(*this);
}

void Server::clean() {
  abandoned_ = false;
  protocol::Gather out;
  core.begin_cleaning(out);
  send_to_settle(out);
}

CancelTarget Server::cancel_target() const {
  return {address_, endpoint_.host, tls_, cancel_pid_, cancel_key_};
}

void Server::lease_ended() { group_.lease_ended(*this); }

void Server::close() {
  Worker& worker = group_.worker();
  worker.loop().disarm(deadline_);
  // A stream sees the end of its connection by itself.
  const bool busy = core.pipeline.owed() > 0 && !core.pipeline.copy_both() && !login_ && cancel_pid_ != 0;
  // One that waits for COPY data sees the end of its connection.
  if (busy && !core.pipeline.copy_in() && stream_ && worker.terminate(*this)) return;
  if (busy) {
    worker.log().info("a busy server is closed without a side role: what it runs may go on",
                      {{"backend", group_.key().backend}, {"server", id}});
    worker.send_cancel(*this, nullptr);
  }
  if (!login_ && !busy && core.quiet() && unsent() == 0) {
    std::string bye;
    protocol::put_terminate(bye);
    stream_->write(bye);
    stream_->close();
  } else {
    stream_->reset();
  }
}

}  // namespace pgweir
