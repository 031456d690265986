#include "pooler/shared_listener.h"

#include <algorithm>

#include "pooler/base/check.h"
#include "pooler/group.h"
#include "pooler/worker.h"

namespace pgweir {

namespace {
// Keeps what was said until all of it is read: whoever hears it may change what is listened to.
class Ear final : public ServerCore::Audience {
 public:
  bool on_notification(Bytes body) override {
    said.emplace_back(body);
    return false;
  }
  void on_told(bool well, bool) override { (well ? answered : refused) = true; }
  std::vector<std::string> said;
  bool answered = false, refused = false;
};

std::string message_of(const std::string& body) {
  std::string message;
  protocol::Writer(message, 'A').bytes(body);
  return message;
}
}  // namespace

SharedListener::SharedListener(Group& group)
    : group_(group), timer_(this, [](void* self) { static_cast<SharedListener*>(self)->tick(); }) {}

SharedListener::~SharedListener() { PGWEIR_CHECK(server_ == nullptr); }

void SharedListener::tend() {
  ListenerCore& core = group_.books.listener;
  core.looked();
  const bool needed = core.needed();
  if (needed)
    unneeded_since_ = kNever;
  else if (unneeded_since_ == kNever)
    unneeded_since_ = group_.worker().loop().now();
  if (server_ && !needed && group_.worker().draining()) return leave();
  if (server_) ask();
  plan();
}

void SharedListener::connect() {
  Worker& worker = group_.worker();
  if (group_.moving()) return pause(worker.config().server_login_retry);
  if (!worker.snapshot().backend(group_.key().backend))
    return login_failed({sqlstate::kInvalidCatalogName, "backend is no longer configured", {}, {}});
  if (!group_.budget().take_listener())
    return login_failed({sqlstate::kTooManyConnections, "the backend has no room for a listener", {}, {}});
  if (!group_.gate().begin(Breaker::Patience::Waits)) {
    group_.budget().give_back_listener(worker.loop().now());
    return login_failed(group_.gate().refusal());
  }
  server_ = std::make_unique<Server>(group_, worker.next_server_id(),
                                     std::make_shared<const StartupSettings>(), Server::Role::Listener);
  server_->connect();
}

void SharedListener::started() {
  Worker& worker = group_.worker();
  server_->place = Server::Place::Listening;
  failures_ = 0;
  group_.books.listener.connected();
  worker.log().info("listener connected", {{"backend", group_.key().backend},
                                           {"database", group_.key().database},
                                           {"user", group_.key().user},
                                           {"server", server_->id},
                                           {"pid", server_->cancel_pid()}});
  // What its clients wait for may come at any time.
  server_->watch(true);
  ask();
  plan();
}

void SharedListener::login_failed(const Error& error) {
  Worker& worker = group_.worker();
  if (failures_ < kDoublings) ++failures_;
  pause(worker.config().server_login_retry * (1U << failures_));
  worker.log().warn("listener login failed", {{"backend", group_.key().backend},
                                              {"database", group_.key().database},
                                              {"user", group_.key().user},
                                              {"sqlstate", error.sqlstate},
                                              {"error", error.message}});
  if (server_) drop("login failed");
  group_.books.listener.lost();
  tell_waiting();
  plan();
}

// Some of it by chance, so that not all groups come back at once.
void SharedListener::pause(Duration most) {
  Worker& worker = group_.worker();
  const auto half = static_cast<std::uint64_t>(most.count() / 2);
  retry_at_ =
      worker.loop().now() + most / 2 + Duration(static_cast<std::int64_t>(worker.rng().below(half + 1)));
}

void SharedListener::ask() {
  if (server_->place != Server::Place::Listening) return;
  const std::string sql = group_.books.listener.next_request();
  if (sql.empty()) return;
  answer_due_ = group_.worker().loop().now() + kAnswerMax;
  protocol::Gather out;
  server_->core.tell(sql, out);
  server_->write(out.slices());
}

void SharedListener::on_bytes(Bytes in) {
  Ear ear;
  protocol::Gather nowhere;
  const ServerCore::Outcome outcome = server_->core.read(in, nowhere, ear);
  ListenerCore& core = group_.books.listener;
  for (const std::string& body : ear.said) {
    const Notification notification(body);
    if (!notification.well_formed) return drop("sent a malformed notification");
    const std::string message = message_of(body);
    for (ListenerCore::Hearer* hearer : core.notified(notification))
      if (core.hears(*hearer, notification.channel)) hearer->on_notification(message);
  }
  if (outcome.broken) return drop(outcome.broken);
  if (outcome.fatal) return drop("server is going away");
  if (ear.refused) return drop("it may not listen");
  if (!ear.answered) return;
  answer_due_ = kNever;
  core.answered(true);
  ask();
  plan();
  tell_waiting();
}

void SharedListener::tell_waiting() {
  ListenerCore& core = group_.books.listener;
  for (ListenerCore::Hearer* hearer : core.waiting()) {
    const std::vector<ListenerCore::Hearer*> still = core.waiting();
    if (std::find(still.begin(), still.end(), hearer) != still.end()) hearer->on_listener_changed();
  }
}

void SharedListener::drop(const char* why) {
  if (server_->place == Server::Place::Closing) return;
  if (server_->place == Server::Place::Starting) group_.gate().login_given_up();
  server_->why_closed = why;
  server_->place = Server::Place::Closing;
  server_->close();
}

void SharedListener::close() {
  if (server_) drop("not needed now");
}

void SharedListener::leave() {
  left_ = true;
  drop("nobody listens");
}

void SharedListener::lost() {
  Worker& worker = group_.worker();
  drop(server_->why_closed);
  worker.forget_server(*server_);
  worker.log().info(left_ ? "listener closed" : "listener lost", {{"backend", group_.key().backend},
                                                                  {"database", group_.key().database},
                                                                  {"server", server_->id},
                                                                  {"reason", server_->why_closed}});
  server_.reset();
  answer_due_ = kNever;
  if (std::exchange(left_, false)) {
    group_.books.listener.closed();
  } else {
    group_.books.listener.lost();
    if (retry_at_ <= worker.loop().now()) pause(worker.config().server_login_retry);
  }
  group_.budget().give_back_listener(worker.loop().now());
  tell_waiting();
  plan();
  if (group_.unused()) worker.group_index().unused(group_);
  worker.after_change();
}

void SharedListener::retry() {
  if (server_ || failures_ == 0) return;
  retry_at_ = {};
  plan();
}

// Sets the timer for what will be due next.
void SharedListener::plan() {
  net::Loop& loop = group_.worker().loop();
  const bool needed = group_.books.listener.needed();
  Time next = kNever;
  if (!server_) {
    if (needed && !group_.worker().draining()) next = std::max(retry_at_, loop.now());
  } else if (server_->place == Server::Place::Listening) {
    next = needed ? answer_due_ : std::min(answer_due_, unneeded_since_ + Duration(kGrace));
  }
  if (next == kNever)
    loop.disarm(timer_);
  else if (!timer_.armed() || timer_.at() != next)
    loop.arm(timer_, next);
}

void SharedListener::tick() {
  const Time now = group_.worker().loop().now();
  const bool needed = group_.books.listener.needed();
  if (!server_) {
    if (needed && !group_.worker().draining()) connect();
  } else if (server_->place == Server::Place::Listening) {
    if (answer_due_ <= now) return drop("it did not answer in time");
    if (!needed && now >= unneeded_since_ + Duration(kGrace)) return leave();
  }
  plan();
}

}  // namespace pgweir
