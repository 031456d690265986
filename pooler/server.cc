#include "pooler/server.h"

#include <fmt/format.h>

#include <algorithm>
#include <utility>

#include "pooler/base/check.h"
#include "pooler/base/planted.h"
#include "pooler/group.h"
#include "pooler/login_policy.h"
#include "pooler/net/address.h"
#include "pooler/session.h"
#include "pooler/worker.h"
#include "protocol/messages.h"

namespace pgweir {

namespace {

constexpr std::chrono::seconds kCleaningMax{10};
// A cancel that comes before Postgres has read what it is for is lost.
constexpr std::chrono::milliseconds kCancelAgain{100}, kCancelAgainMost{2'000};
// A client's timeout may end the request that takes it away.
constexpr unsigned kTriesMost = 20;
// For each query of a reading; and so long those wait who call what it is about.
constexpr std::chrono::seconds kReadingMax{3};
constexpr std::chrono::seconds kReadingPatience{1};

// Nobody listens: between two clients a server has nothing to say but notices.
class NoAudience final : public ServerCore::Audience {
 public:
  explicit NoAudience(RoutineBook& book) : routines(book) {}
  std::optional<Bytes> on_parameter(Bytes, Bytes value) override {
    parameter_changed = true;
    return value;
  }
  bool on_ours_failed(Bytes error) override {
    (protocol::parse_error(error).sqlstate == sqlstate::kQueryCanceled ? canceled : failed) = true;
    return true;
  }
  bool on_row(Bytes row) override { return routines.row(row); }
  void on_rows_end(bool well) override { read = well; }
  RoutineBook& routines;
  bool parameter_changed = false;
  bool failed = false;
  bool canceled = false;
  std::optional<bool> read;
};

// To what a host is, asked for before anybody is served by it.
class Witness final : public ServerCore::Audience {
 public:
  explicit Witness(bool read_only_ours) : read_only_ours_(read_only_ours) {}
  bool on_row(Bytes row) override { return (role = role_of_row(row, read_only_ours_)).has_value(); }
  void on_rows_end(bool) override { over = true; }
  std::optional<HostRole> role;
  bool over = false;

 private:
  bool read_only_ours_;
};

net::Keepalive keepalive_at_rest(conf::milliseconds idle) {
  return {static_cast<int>(std::chrono::ceil<std::chrono::seconds>(idle).count()), 10};
}

}  // namespace

Server::Server(Group& group, std::uint64_t number, StartupRef settings, Role its_role,
               protocol::Settings client)
    : core(group.books.settings.empty()),
      id(number),
      role(its_role),
      startup(std::move(settings)),
      group_(group),
      client_told_(std::move(client)),
      deadline_(this, [](void* self) { static_cast<Server*>(self)->out_of_time(); }),
      pause_(this, [](void* self) { static_cast<Server*>(self)->stream_pauses(); }) {}

Server::~Server() { PGWEIR_CHECK(session == nullptr); }

void Server::connect() {
  Worker& worker = group_.worker();
  const BackendView* backend = worker.snapshot().backend(group_.key().backend);
  PGWEIR_CHECK(backend != nullptr);
  const conf::Config& config = worker.config();
  since = started_at = worker.loop().now();
  told_ = startup_parameters(*startup, group_.backend_version());
  core.opened_with = startup;
  if (const auto idle = startup->find(kIdleTimeout); idle != startup->end())
    idle_most = idle_timeout(idle->second);
  const conf::milliseconds patience =
      backend->hosts.size() == 1 ? config.server_connect_timeout
                                 : std::min(config.server_connect_timeout, backend->settings.host_timeout);
  dialling_.reset(new Dialling{
      worker.shared().hosts(group_.key().backend).round(backend->hosts, session_attrs(backend->settings)),
      login_policy(*backend, group_.plain_refused()), backend->tls, patience,
      std::any_of(told_.begin(), told_.end(),
                  [](const auto& each) { return each.first == "default_transaction_read_only"; })});
  dial();
}

void Server::dial() {
  Worker& worker = group_.worker();
  const conf::Config& config = worker.config();
  ++dialling_->dialled;
  protocol::Settings all = told_;
  all.insert(all.end(), client_told_.begin(), client_told_.end());  // of settings named twice the last counts
  login_ = std::make_unique<ServerLogin>(dialling_->policy, group_.credentials(), group_.key().database,
                                         worker.scram_nonce(), std::move(all));
  dialling_->until = worker.loop().now() + dialling_->patience;
  worker.loop().arm(deadline_, dialling_->until);
  endpoint_ = address_ = dialling_->round.host();
  tls_ = dialling_->tls;
  stream_ = worker.loop().connect(endpoint_, *this,
                                  {keepalive_at_rest(config.server_keepalive), config.server_silence_max});
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

// What was accepted by somebody who has forgotten it, or by a kernel whose Postgres stands still, may never
// be answered, nor may what has got stuck on the way; another connection may be, by now.
void Server::await_answer() {
  const Duration silence = group_.worker().config().server_silence_max;
  const bool prompt = silence > Duration::zero() && login_->prompt();
  if (!std::exchange(dialling_->prompt, prompt) && !prompt) return;
  net::Loop& loop = group_.worker().loop();
  loop.arm(deadline_, prompt ? std::min(dialling_->until, loop.now() + silence) : dialling_->until);
}

void Server::on_secured() {
  ServerLogin::Out out;
  login_->secured(out);
  obey(out);
}

void Server::obey(ServerLogin::Out& out) {
  if (!out.send.empty()) stream_->write(out.send);
  await_answer();
  Worker& worker = group_.worker();
  switch (out.want) {
    case ServerLogin::Out::Want::More: return;
    case ServerLogin::Out::Want::StartTls:
      PGWEIR_CHECK(tls_ != nullptr);  // pairs with login_policy
      return stream_->start_tls(*tls_, endpoint_.host);
    case ServerLogin::Out::Want::Derive: {
      // The server may be gone, or at another host, when the keys are ready: it is looked up again.
      const auto still_here = [&worker, key = group_.key(), number = id,
                               dialled = dialling_->dialled]() -> Server* {
        const auto group = worker.groups().find(key);
        if (group == worker.groups().end()) return nullptr;
        Server* server = group->second->server(number);
        if (!server || server->place != Place::Starting) return nullptr;
        return server->dialling_->dialled == dialled && !server->dialling_->moves_on ? server : nullptr;
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
      if (!stream_->secured()) tls_ = nullptr;
      cancel_pid_ = login_->cancel_pid();
      cancel_key_ = login_->cancel_key();
      const HostRole told = role_told(login_->parameters(), dialling_->read_only_ours);
      if (told == HostRole::Unknown && asks_role(dialling_->round.wanted())) return ask_role();
      return logged_in(told);
    }
    case ServerLogin::Out::Want::Failed:
      return host_failed({out.error, out.from_server ? Teller::Server : Teller::Ourselves, stage()});
  }
}

Stage Server::stage() const { return login_ ? login_->stage() : Stage::Unknown; }

// A Postgres before 14.
void Server::ask_role() {
  dialling_->asks_role = true;
  protocol::Gather out;
  core.ask(kRoleQuery, out);
  stream_->write(out.slices());
}

void Server::logged_in(HostRole found) {
  const auto will_not_do = [&](const char* why) {
    host_failed({{sqlstate::kCannotConnectNow, fmt::format("{} {}", net::text(endpoint_), why), {}, {}}},
                found);
  };
  if (!fits(dialling_->round.wanted(), found) && !PGWEIR_PLANTED(TAKE_STANDBY)) {
    switch (found) {
      case HostRole::Unknown: return will_not_do("does not say whether it is a standby");
      case HostRole::Primary: return will_not_do("is a primary");
      case HostRole::ReadOnly: return will_not_do("is read-only by default_transaction_read_only");
      case HostRole::Standby: return will_not_do("is a standby");
    }
  }
  Worker& worker = group_.worker();
  const std::string& backend = group_.key().backend;
  switch (worker.shared().hosts(backend).worked(endpoint_, found, dialling_->round)) {
    case HostBook::Found::Late: return will_not_do("was the primary before the present one");
    case HostBook::Found::Same: break;
    case HostBook::Found::Moved: tell_host_moved(worker, backend, endpoint_);
  }
  worker.loop().disarm(deadline_);
  dialling_.reset();
  stream_->gather_writes();
  const std::unique_ptr<ServerLogin> login = std::move(login_);
  group_.server_started(*this, login->parameters());
}

// Nobody is told until no host is left to try: for the group and its breakers that is one login.
void Server::host_failed(HostRound::Failure why, HostRole found) {
  if (place != Place::Starting || dialling_->moves_on) return;
  Worker& worker = group_.worker();
  const std::string& backend = group_.key().backend;
  const bool of_host = login_verdict(why.error, why.teller, why.stage).backend == Breaker::Outcome::Failed;
  if (of_host) worker.shared().hosts(backend).failed(endpoint_, found, why.error.message);
  worker.loop().disarm(deadline_);
  dialling_->prompt = dialling_->heard = false;
  const std::string told = why.error.message;
  if (dialling_->round.failed(std::move(why))) {
    worker.log().info("next host is tried",
                      {{"backend", backend}, {"database", group_.key().database}, {"error", told}});
    dialling_->moves_on = true;
    return stream_->reset();
  }
  group_.server_login_failed(*this, dialling_->round.verdict());
}

void Server::out_of_time() {
  if (digests_ && place == Place::Settling) return read_on();
  if (place == Place::Settling && abandoned_ && group_.worker().loop().now() < abandoned_until_)
    return cancel_abandoned();
  if (place == Place::Starting)
    host_failed({too_late(), Teller::Ourselves, stage()});
  else if (reads_routines_ && group_.worker().loop().now() < reading_until_)
    reading_is_slow();
  else
    group_.drop(*this,
                reads_routines_ ? "it did not tell of functions in time" : "it did not become clean in time");
}

Error Server::too_late() const {
  Worker& worker = group_.worker();
  const bool has_time = worker.loop().now() < dialling_->until;
  return {sqlstate::kCannotConnectNow,
          dialling_->prompt && has_time
              ? fmt::format("{} {} for server.silence_max", net::text(endpoint_),
                            dialling_->heard ? "fell silent in the middle of the login"
                                             : "accepted the connection and said nothing")
          : worker.config().server_connect_timeout > dialling_->patience
              ? fmt::format("{} did not answer within host_timeout", net::text(endpoint_))
              : "server did not answer within server.connect_timeout",
          {},
          {}};
}

void Server::on_bytes(Bytes in) {
  if (in.size() >= ReadPace::kPiece || reads_together_) pace_reads(in.size());
  switch (place) {
    case Place::Starting: {
      dialling_->heard = true;
      if (dialling_->asks_role) {
        Witness witness(dialling_->read_only_ours);
        protocol::Gather nowhere;
        const ServerCore::Outcome outcome = core.read(in, nowhere, witness);
        // What begins behind the answer can only be its last words: nothing else was asked for.
        if (outcome.broken || outcome.fatal || (witness.over && core.mid_message()))
          return host_failed({{sqlstate::kCannotConnectNow, "server closed the connection", {}, {}}});
        if (witness.role) dialling_->role = *witness.role;
        return witness.over ? logged_in(dialling_->role) : void();
      }
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
      const bool failed = (nobody.failed || (nobody.canceled && ++tries_ == kTriesMost)) && !abandoned_;
      if (changed) group_.books.settings.forget_baseline();
      const char* const why = outcome.broken     ? outcome.broken
                              : outcome.fatal    ? "server is going away"
                              : outcome.poisoned ? "requests pipelined behind COPY"
                              : failed           ? "it could not be cleaned"
                              : changed          ? "its configuration has changed"
                                                 : nullptr;
      if (why) return group_.drop(*this, why);
      if (nobody.read) answered_ = nobody.read;
      if (answered_) return core.mid_message() ? void() : go_on_reading(*std::exchange(answered_, {}));
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

void Server::pace_reads(std::size_t got) {
  const ReadPace::Wait wait = pace_.came(got, core.body_left() - std::min(core.body_left(), got));
  net::Loop& loop = group_.worker().loop();
  if (wait == ReadPace::Wait::Shortly && !PGWEIR_PLANTED(AWAIT_FOR_EVER))
    loop.arm(pause_, loop.now() + ReadPace::kPatience);
  else
    loop.disarm(pause_);
  read_together(wait != ReadPace::Wait::ForAny);
}

void Server::stream_pauses() {
  pace_.begin();
  read_together(false);
}

void Server::read_together(bool together) {
  if (std::exchange(reads_together_, together) != together)
    stream_->read_at_least(together ? ReadPace::kMany : 1);
}

void Server::on_drained() {
  if (session) session->on_server_drained();
}

void Server::on_closed(const net::Closed& why) {
  const std::string error = why.error.empty() ? why_closed : why.error;
  switch (place) {
    case Place::Starting:
      if (!dialling_->moves_on)
        host_failed({{sqlstate::kCannotConnectNow, error, {}, {}}, Teller::Ourselves, stage()});
      if (place != Place::Starting) break;
      PGWEIR_CHECK(dialling_->moves_on);
      dialling_->moves_on = dialling_->asks_role = false;
      return dial();
    case Place::Closing:
      if (core.shut_down) group_.server_died(*this, {why.by, "terminated by Postgres"});
      break;
    case Place::Idle:
    case Place::Lent:
    case Place::Settling:
    case Place::Listening: group_.server_died(*this, why);
  }
  if (session) session->on_server_closed(error);
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
  if (PGWEIR_PLANTED(LET_WORK_ON)) return;
  abandoned_until_ = group_.worker().loop().now() + kCleaningMax;
  cancel_again_ = kCancelAgain;
  if (core.pipeline.owes_client()) cancel_abandoned();
}

void Server::cancel_abandoned() {
  net::Loop& loop = group_.worker().loop();
  if (leases == 0 && core.pipeline.owes_client()) group_.worker().send_cancel(*this, nullptr);
  loop.arm(deadline_, std::min(loop.now() + cancel_again_, abandoned_until_));
  cancel_again_ = std::min<Duration>(2 * cancel_again_, kCancelAgainMost);
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
  reading_since_ = group_.worker().loop().now();
  ask_for_routines(group_.books.routines.start(group_.worker().loop().now()));
}

void Server::ask_for_routines(const std::string& sql) {
  protocol::Gather out;
  core.ask(sql, out);
  stream_->write(out.slices());
  net::Loop& loop = group_.worker().loop();
  reading_until_ = loop.now() + kReadingMax;
  const Time patience = reading_since_ + kReadingPatience;
  loop.arm(deadline_, group_.books.routines.awaited() ? std::min(patience, reading_until_) : reading_until_);
}

void Server::reading_is_slow() {
  group_.worker().loop().arm(deadline_, reading_until_);
  group_.reading_is_slow();
}

void Server::go_on_reading(bool well) {
  group_.worker().loop().disarm(deadline_);
  digests_ = well;
  if (digests_) return read_on();
  end_of_rows(false);
}

// A tenant may fill its database with code: it is read in many turns of the loop, and others are served
// between.
void Server::read_on() {
  const Time at_once{};
  if (group_.books.routines.read_some()) {
    net::Loop& loop = group_.worker().loop();
    loop.arm(deadline_, at_once);
    if (loop.now() >= reading_since_ + kReadingPatience) group_.reading_is_slow();
    return;
  }
  digests_ = false;
  end_of_rows(true);
}

void Server::end_of_rows(bool well) {
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

void Server::watch(bool awaited) {
  const conf::Config& config = group_.worker().config();
  if (awaited && config.server_silence_max.count() == 0) return;
  watched_ = awaited;
  if (!stream_) return;
  // The kernel gives up at the first probe, one a second, that comes TCP_USER_TIMEOUT after the last sign of
  // life.
  constexpr int kProbes = 2;
  const auto seconds = std::chrono::floor<std::chrono::seconds>(config.server_silence_max / kProbes).count();
  stream_->keep_alive(awaited ? net::Keepalive{std::max(1, static_cast<int>(seconds)), 1}
                              : keepalive_at_rest(config.server_keepalive));
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
