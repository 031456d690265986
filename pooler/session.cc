#include "pooler/session.h"

#include <fmt/format.h>

#include <algorithm>

#include "pooler/base/check.h"
#include "pooler/base/planted.h"
#include "pooler/group.h"
#include "pooler/net/wall_clock.h"
#include "pooler/server.h"
#include "pooler/worker.h"
#include "protocol/messages.h"
#include "tiers/limit.h"

namespace pgweir {

using State = SessionCore::State;

namespace {
constexpr std::size_t kKeyBytes = 4, kLongKeyBytes = 32;  // of a cancel, before protocol 3.2 and since
}

Session::Session(Worker& worker, Tenant& tenant, Group& group, std::unique_ptr<net::Stream> stream,
                 SettingsRef wanted, tiers::PoolMode mode, std::string user, const protocol::Startup& startup)
    : worker_(worker),
      tenant_(tenant),
      group_(group),
      member_(group.join(tenant)),
      user_(worker.names(), std::move(user)),
      stream_(std::move(stream)),
      core_(group.books, tenant.statements, tenant.pins, tenant.guard, std::move(wanted), mode,
            startup.replication),
      timer_(this, [](void* self) { static_cast<Session*>(self)->on_timer(); }),
      connected_at_(worker.loop().now()),
      since_(connected_at_),
      id_(worker.add_session(*this)),
      long_keys_(startup.version >= protocol::kVersion32) {
  stream_->set_handler(*this);
  stream_->gather_writes();
  core_.set_hearer(this);
  ++tenant_.clients;
  if (worker_.audit()) worker_.login_begins(id_, startup.database);
}

Session::~Session() {
  PGWEIR_CHECK(server_ == nullptr && !counted_);
  core_.leave_channels();
  if (group_.books.listener.changed()) group_.listener().tend();
  group_.part(tenant_);
  --tenant_.clients;
}

void Session::start(Bytes held) {
  if (PGWEIR_PLANTED(LOSE_HELD)) held = {};
  held_ = held;
  if (worker_.suspended()) return suspend();  // resume() comes here again
  if (core_.walsender()) {
    Actions& out = worker_.actions();
    out.clear();
    core_.demand(out);
    return settle(out, held_);
  }
  if (group_.books.settings.has_baseline() && core_.wanted()->proven) {
    welcome(group_.books.settings.welcome(*core_.wanted()));
    if (!held_.empty()) pump(held_);
    return;
  }
  prove();
}

// Made anew from what is there already whenever it is asked for, which is rarely.
std::string Session::cancel_key() const {
  return worker_.cancel_key(id_, connected_at_, long_keys_ ? kLongKeyBytes : kKeyBytes);
}

void Session::prove() {
  Actions& out = worker_.actions();
  out.clear();
  core_.prove(out);
  settle(out, held_);
}

void Session::welcome(const SettingsMap::Values& parameters) {
  std::string out;
  for (const auto& [name, value] : parameters) protocol::put_parameter_status(out, name, value);
  protocol::put_backend_key(out, id_, cancel_key());
  protocol::put_ready(out, 'I');
  stream_->write(out);
  welcomed_ = true;
  tell_login(AuditOutcome::Success, {}, {});
  since_ = worker_.loop().now();
  arm();
}

// Postgres has its say behind the password: only who is welcomed has logged in.
void Session::tell_login(AuditOutcome outcome, std::string_view reason, std::string_view sqlstate) {
  AuditStream* const audit = worker_.audit();
  if (!audit) return;
  const std::optional<std::string> database = worker_.take_login(id_);
  if (!database) return;  // it is told already
  const bool refused = outcome == AuditOutcome::Failure;
  const net::Peer peer = stream_->peer();
  if (refused)
    audit->record(AuditEvent::LoginRefused, outcome,
                  {{AuditKey::User, user()},
                   {AuditKey::Address, peer.host},
                   {AuditKey::Port, peer.port},
                   {AuditKey::Database, *database},
                   {AuditKey::Tenant, tenant_.record.name},
                   {AuditKey::Reason, reason},
                   {AuditKey::Sqlstate, sqlstate}});
  else
    audit->record(AuditEvent::LoginOk, outcome,
                  {{AuditKey::User, user()},
                   {AuditKey::Address, peer.host},
                   {AuditKey::Port, peer.port},
                   {AuditKey::Database, *database},
                   {AuditKey::Tenant, tenant_.record.name},
                   {AuditKey::Tier, tenant_.record.limits.name},
                   {AuditKey::Client, id_},
                   {AuditKey::Reason, reason}});
}

void Session::on_bytes(Bytes in) {
  if (closing_) return;
  tenant_.traffic.received += in.size();
  take(in);
}

void Session::take(Bytes in) {
  const bool quiet = server_ && server_->core.pipeline.empty();
  const bool resting = quiet && core_.resting();
  if (resting && group_.tokens()) introduce(*server_);
  if (held_.empty()) {
    pump(in);
  } else {
    held_.append(in);
    pump(held_);
  }
  if (!quiet || !server_ || server_->core.pipeline.empty()) return;
  busy_since_ = worker_.loop().now();
  if (resting) since_ = transaction_since_ = busy_since_;
}

bool Session::choked() const { return stream_->unsent() > worker_.config().buffer_high_water; }

void Session::go_on() {
  if (core_.state() != State::Waiting) return take({});
  more_ = false;
  update_flow();
}

void Session::pump(Bytes in) {
  more_ = choked();
  if (more_) {
    keep(in);
    return update_flow();
  }
  Actions& out = worker_.actions();
  out.clear();
  // Of a client that keeps its server, the next transaction begins here.
  if (core_.state() == State::Linked) follow_slow({});
  if (core_.must_introduce() && group_.tokens()) introduce(*server_);
  core_.client_bytes(in, out);
  settle(out, in);
}

// Carries out what the core decided; `in` is what it was given, or what is held.
void Session::settle(Actions& out, Bytes in) {
  if (!PGWEIR_PLANTED(SEND_TWICE)) in.remove_prefix(out.consumed);
  stalled_ = out.stalled;
  if (out.more) more_ = true;
  if (!out.to_client.empty() && !out.reset_client) {
    tenant_.traffic.sent += out.to_client.size();
    stream_->write(out.to_client.slices());
  }
  if (!out.to_server.empty() && out.server != Actions::Server::Drop) server_->write(out.to_server.slices());
  if (out.leave_queue) leave_queue();
  if (out.ask_server) {
    since_ = worker_.loop().now();
    noticed_ = throttled_ = refuse_ = crowded_ = pressed_ = paid_ = false;
    if (Server* server = ask()) {
      link(*server);
      out.clear();
      core_.granted(server->core, in, out);
      return settle(out, in);
    }
    begin_to_wait();
  }
  if (out.counts()) note_time(out);
  if (out.prepares()) {
    tenant_.traffic.client_parses += out.client_parses;
    tenant_.traffic.server_parses += out.server_parses;
    tenant_.traffic.binds += out.binds;
  }
  if (!in.empty() || !held_.empty()) keep(in);
  if (group_.books.listener.changed()) group_.listener().tend();
  if (notifications_ && core_.may_hear() && !suspended_) tell_notifications();
  if (out.has_news()) take_news(out);
  if (out.ends_client()) {
    end_as_decided(out);
  } else {
    if (out.server == Actions::Server::Keep) update_flow();
    arm();
  }
  if (out.server == Actions::Server::Keep) {
    // One that is pinned ends its transactions without giving its server back.
    if (!closing_ && core_.state() == State::Linked && between_transactions()) end_if_told();
    return;
  }
  give_back(out.server);
  if (!closing_) update_flow();
  // Requests that came behind the transaction's end begin a new one.
  if (!closing_ && core_.state() == State::Idle) {
    end_if_told();
    if (closing_) return;
    if (!welcomed_) return prove();
    if (held_.size() >= protocol::kHeaderBytes) pump(held_);
  }
}

// What is not of this session alone.
void Session::take_news(const Actions& out) {
  if (out.proven && !welcomed_) {
    // A reload came in between: what the client is to be told only a fresh server says, so this one makes
    // room.
    if (!group_.books.settings.has_baseline())
      server_->expires = {};
    else
      welcome(group_.books.settings.welcome(*core_.wanted()));
  }
  if (out.made_code) worker_.definitions_changed(group_.key());
  if (out.new_starts != 0) worker_.renew_servers(group_.key(), out.new_starts);
}

void Session::end_as_decided(const Actions& out) {
  if (!welcomed_)
    worker_.login_refused(tenant_.record.limits.name, worker_.closed_to_new() ? LoginRefusal::Shutdown
                                                      : tenant_.ended()
                                                          ? LoginRefusal::Ordered
                                                          : refused_behind_password(out.sqlstate));
  tell_login(AuditOutcome::Failure, out.reason, out.sqlstate);
  if (!out.reason.empty()) {
    const protocol::TraceContext traced = trace();
    worker_.log().info("client closed", {{"tenant", tenant_.record.name},
                                         {"user", user()},
                                         {"client", id_},
                                         {"reason", out.reason},
                                         LogField::ours("trace.id", traced.trace_id),
                                         LogField::ours("span.id", traced.span_id)});
  }
  closing_ = true;
  held_ = {};
  worker_.loop().disarm(timer_);
  if (out.reset_client)
    stream_->reset();
  else
    stream_->close();
}

// A server at once, or nothing: then it waits, or its timer will refuse it. Not refused here, since a client
// that has sent many requests would be answered in one turn of the loop.
Server* Session::ask() {
  if (tenant_.throttle && welcomed_) {
    if (!tenant_.throttle->take()) {
      ++tenant_.traffic.rate_hits;
      throttled_ = true;
      refuse_ = tenant_.record.limits.at_rate == tiers::AtRate::Reject;
      if (!refuse_) tenant_.throttle->wait(*this);
      return nullptr;
    }
    paid_ = true;
  }
  return request();
}

void Session::begin_to_wait() {
  crowded_ = !refuse_ && !tenant_.may_wait();
  if (crowded_) {
    refuse_ = true;
    ++tenant_.traffic.waiting_hits;
    return;
  }
  if (!throttled_ && !core_.walsender()) count_ceiling();
  if (refuse_) return;
  counted_ = true;
  ++tenant_.waiting;
}

// It waits, or is refused, because its tenant has all the servers that it may have: once, whatever comes of
// it.
void Session::count_ceiling() {
  if (pressed_ || tenant_.halted() || !tenant_.at_ceiling()) return;
  pressed_ = true;
  ++tenant_.traffic.server_hits;
}

// With or without a server.
void Session::end_waiting() {
  if (!std::exchange(counted_, false)) return;
  --tenant_.waiting;
  tenant_.traffic.wait_us += static_cast<std::uint64_t>((worker_.loop().now() - since_).count());
}

Server* Session::request() {
  if (core_.walsender()) {
    refuse_ = tenant_.record.limits.at_pool == tiers::AtCeiling::Reject && tenant_.at_ceiling();
    if (refuse_ || tenant_.may_wait()) count_ceiling();  // before it counts among those servers itself
    group_.request_own(*this);
    return nullptr;
  }
  Server* const server = group_.request(*this);
  if (server) return server;
  if (tenant_.record.limits.at_pool == tiers::AtCeiling::Reject && tenant_.at_ceiling()) refuse_ = true;
  if (group_.fails_fast(*this)) fail_fast();
  return nullptr;
}

void Session::fail_fast() {
  if (refuse_) return;
  refuse_ = true;
  group_.gate().count_rejected();
  arm();
}

void Session::on_token() {
  throttled_ = false;
  paid_ = true;
  if (Server* server = request()) return on_granted(*server);
  count_ceiling();
  arm();
}

void Session::leave_queue() {
  end_waiting();
  group_.leave(*this);
  if (tenant_.throttle) tenant_.throttle->leave(*this);
}

Error Session::why_waiting() const {
  if (crowded_) return tiers::too_many_waiting(tenant_.record, tenant_.waiting, worker_.known_tiers());
  if (throttled_ && tenant_.throttle)
    return tiers::too_many_transactions(tenant_.record, tenant_.throttle->begun(),
                                        tenant_.throttle->next_in(), worker_.known_tiers());
  return group_.why_waiting(tenant_, worker_.loop().now() - since_);
}

void Session::link(Server& server) {
  end_waiting();
  server_ = &server;
  served_ = welcomed_;
  const Time now = worker_.loop().now();
  const auto waited_us = static_cast<std::uint64_t>((now - since_).count());
  tenant_.meter->wait.add(waited_us);
  since_ = busy_since_ = transaction_since_ = statement_since_ = now;
  follow_slow(Duration(waited_us));
  if (group_.tokens() && !core_.walsender()) introduce(server);
}

// Where tenants share a role, a server is told which of them it works for.
void Session::introduce(Server& server) {
  const TenantTokens& tokens = *group_.tokens();
  const std::string& tenant = tenant_.record.name;
  const Time now = worker_.loop().now();
  server.core.introduction.reset();
  if (!tokens.due(server.core.introduced, tenant, now)) return;
  const GroupKey& key = group_.key();
  server.core.introduction = std::make_unique<Introduction>(
      Introduction{tokens.make({tenant, key.database, key.user, server.cancel_pid()}, net::wall_clock_s()),
                   tokens.telling(tenant, now)});
}

// May run other sessions.
void Session::give_back(Actions::Server how) {
  if (core_.trail() && how == Actions::Server::Release) core_.keep_trail(nullptr);
  if (RequestTrail* const trail = core_.trail()) {
    trail->cut_off(worker_.loop().now() - busy_since_);
    tell_slow(how == Actions::Server::Abandon ? "client gone" : "cut off");
  }
  Server& server = *std::exchange(server_, nullptr);
  send_cancels();
  if (std::exchange(server_paused_, false)) server.resume_reads();
  switch (how) {
    case Actions::Server::Release: return group_.release(server);
    case Actions::Server::Abandon: return group_.abandon(server);
    case Actions::Server::Drop:
      return group_.drop(server, server.core.keeps_others ? "it keeps what a client has set"
                                                          : "its session ended in the middle");
    case Actions::Server::Keep: PGWEIR_CHECK(false);
  }
}

void Session::keep(Bytes rest) {
  if (rest.empty()) {
    if (!held_.empty()) held_ = {};
    return;
  }
  const char* begin = held_.data();
  if (rest.data() >= begin && rest.data() < begin + held_.size())
    held_.erase(0, static_cast<std::size_t>(rest.data() - begin));
  else
    held_.assign(rest);
}

void Session::update_flow() {
  const std::size_t high = worker_.config().buffer_high_water;
  // What is held otherwise is the beginning of one message, which the core bounds.
  const bool waits = core_.state() == State::Waiting || stalled_;
  const bool pause =
      suspended_ || more_ || (waits && held_.size() > high) || (server_ && server_->unsent() > high);
  if (pause == reads_paused_) return;
  reads_paused_ = pause;
  if (pause)
    stream_->pause_reads();
  else
    stream_->resume_reads();
}

void Session::suspend() {
  if (closing_) return;
  suspended_ = true;
  update_flow();
  if (server_ && !std::exchange(server_paused_, true)) server_->pause_reads();
}

void Session::resume(Duration was) {
  if (!std::exchange(suspended_, false) || closing_) return;
  const Time now = worker_.loop().now();
  for (Time* const each : {&since_, &busy_since_, &transaction_since_, &statement_since_})
    *each = std::min(*each + was, now);
  update_flow();
  if (stream_->unsent() == 0 && !PGWEIR_PLANTED(STAY_SUSPENDED)) on_drained();
  if (notifications_ && core_.may_hear()) tell_notifications();
  if (!welcomed_ && core_.state() == State::Idle) {
    const std::string held = std::move(held_);
    return start(held);
  }
  arm();
}

bool Session::flushed() const { return stream_->unsent() == 0 && (!server_ || server_->unsent() == 0); }

void Session::on_granted(Server& server) {
  link(server);
  Actions& out = worker_.actions();
  out.clear();
  core_.granted(server.core, held_, out);
  settle(out, held_);
}

void Session::on_dedicated(Server& server, const SettingsMap::Values& parameters) {
  link(server);
  core_.dedicated(server.core);
  welcome(parameters);
  if (!held_.empty()) pump(held_);
}

// A login that is refused is no request: it counts by itself.
void Session::count_error() {
  if (welcomed_) ++tenant_.traffic.errors;
}

void Session::on_refused(const Error& error) {
  const protocol::TraceContext traced = trace_of(core_.asked(held_));
  worker_.log().info("request_refused", {{"tenant", tenant_.record.name},
                                         {"tier", tenant_.record.limits.name},
                                         {"user", user()},
                                         {"client", id_},
                                         {"sqlstate", error.sqlstate},
                                         {"reason", error.message},
                                         {"waited_ms", (worker_.loop().now() - since_).count() / 1000},
                                         LogField::ours("trace.id", traced.trace_id),
                                         LogField::ours("span.id", traced.span_id)});
  turn_away(error);
}

void Session::turn_away(const Error& error) {
  Actions& out = worker_.actions();
  out.clear();
  count_error();
  core_.refused(error, held_, out);
  settle(out, held_);
  if (!closing_ && core_.state() == State::Idle) end_if_told();
}

// Between two transactions, while its tenant or the process comes to an end.
void Session::end_if_told() {
  if (worker_.draining() && !(worker_.admits_latecomers() && fresh())) return end(*worker_.drain_reason());
  if (tenant_.ended()) end(tenant_.why_ended());
}

void Session::on_server_bytes(Bytes in) {
  Actions& out = worker_.actions();
  out.clear();
  core_.server_bytes(in, out);
  const bool stays = out.server == Actions::Server::Keep && !closing_;
  settle(out, held_);
  if (cancels_) send_cancels();
  if (!stays || closing_) return;
  if (server_->watched() && server_->core.pipeline.empty()) server_->watch(false);
  if (!server_paused_ && choked()) {
    server_paused_ = true;
    server_->pause_reads();
  }
  // Requests that had to wait for these answers.
  if (!held_.empty() && core_.state() == State::Linked && !more_) pump(held_);
  if (cancels_) send_cancels();
}

void Session::on_listener_changed() {
  if (closing_) return;
  Actions& out = worker_.actions();
  out.clear();
  const bool stalled = stalled_;
  core_.listener_changed(out);
  settle(out, held_);
  if (stalled && !closing_ && !held_.empty()) pump(held_);
}

void Session::on_notification(Bytes message) {
  if (closing_) return;
  const std::size_t waiting = stream_->unsent() + (notifications_ ? notifications_->size() : 0);
  if (waiting + message.size() > kNotificationsMost)
    return end({sqlstate::kConfigurationLimit,
                fmt::format("{} bytes of notifications wait for this client, at most {} may",
                            waiting + message.size(), kNotificationsMost),
                "It did not read them, or its transaction went on while they came.",
                "Read notifications as they come, on a connection that runs no long transactions."});
  if (!notifications_) notifications_ = std::make_unique<std::string>();
  notifications_->append(message);
  if (core_.may_hear() && !suspended_) tell_notifications();
}

// What it has stopped to listen to meanwhile is not for it any more.
void Session::tell_notifications() {
  const std::unique_ptr<std::string> all = std::move(notifications_);
  protocol::Gather out;
  for (Bytes rest = *all; !rest.empty();) {
    const std::size_t size = std::size_t{protocol::load_u32(rest.data() + 1)} + 1;
    if (core_.hears(Notification(rest.substr(protocol::kHeaderBytes, size - protocol::kHeaderBytes)).channel))
      out.borrow(rest.substr(0, size));
    rest.remove_prefix(size);
  }
  if (out.empty()) return;
  tenant_.traffic.sent += out.size();
  stream_->write(out.slices());
}

void Session::on_server_drained() { update_flow(); }

void Session::on_drained() {
  if (suspended_) return;
  if (PGWEIR_PLANTED(STAY_PAUSED)) return;
  if (std::exchange(server_paused_, false)) server_->resume_reads();
  if (more_) go_on();
  if (!closing_) arm();
}

void Session::on_server_closed(const std::string& why) {
  Actions& out = worker_.actions();
  out.clear();
  core_.server_gone(why, out);
  count_error();
  settle(out, held_);
}

void Session::on_closed(const net::Closed& why) {
  Actions& out = worker_.actions();
  out.clear();
  core_.client_gone(out);
  leave_queue();
  held_ = {};
  worker_.loop().disarm(timer_);
  if (!closing_)
    worker_.log().debug("client disconnected",
                        {{"tenant", tenant_.record.name}, {"client", id_}, {"error", why.error}});
  tell_login(AuditOutcome::Unknown, "client gone", {});
  closing_ = true;
  if (server_) give_back(out.server);
  worker_.session_ended(*this);
}

void Session::cancel(std::function<void()> done) {
  if (server_ && (server_->core.pipeline.owes_client() || core_.introducing())) {
    if (!cancels_) cancels_ = std::make_unique<std::vector<std::function<void()>>>();
    cancels_->push_back(std::move(done));
    return send_cancels();
  }
  if (core_.state() == State::Waiting && welcomed_ && !PGWEIR_PLANTED(WAIT_CANCELED)) {
    leave_queue();
    turn_away({sqlstate::kQueryCanceled, "canceling statement due to user request", {}, {}});
  }
  done();
}

// Not while the server is busy with a request of ours, like the settings that go ahead of the client's.
void Session::send_cancels() {
  if (!cancels_ || core_.introducing()) return;
  const bool runs = server_ && server_->core.pipeline.owes_client();
  if (runs && server_->core.busy_with_ours()) return;
  const auto asked = std::exchange(cancels_, nullptr);
  for (std::function<void()>& done : *asked) {
    if (runs)
      worker_.send_cancel(*server_, std::move(done));
    else
      done();
  }
}

bool Session::between_transactions() const {
  return core_.state() == State::Idle || core_.state() == State::Waiting || core_.resting() ||
         core_.streaming();
}

void Session::end(const Error& error) {
  if (closing_) return;
  Actions& out = worker_.actions();
  out.clear();
  core_.fail(error, out);
  settle(out, held_);
}

}  // namespace pgweir
