#include "pooler/redis_connection.h"

#include <algorithm>
#include <utility>

#include "pooler/base/check.h"
#include "pooler/base/quoted.h"
#include "pooler/net/address.h"

namespace pgweir {

RedisConnection::RedisConnection(net::Loop& loop, Rng& rng, Log& log, const RedisSettings& settings,
                                 User& user, bool subscribe)
    : loop_(loop),
      rng_(rng),
      log_(log),
      settings_(settings),
      user_(user),
      subscribe_(subscribe),
      timer_(this, [](void* self) { static_cast<RedisConnection*>(self)->on_timer(); }) {}

RedisConnection::~RedisConnection() = default;

void RedisConnection::connect() {
  PGWEIR_CHECK(state_ == State::Down && !stream_);
  state_ = State::Connecting;
  reader_.emplace();
  deadline_ = loop_.now() + settings_.timeout;
  stream_ = loop_.connect(settings_.endpoint, *this);
  arm();
}

void RedisConnection::on_connected() {
  if (state_ != State::Connecting) return;
  if (settings_.tls) return stream_->start_tls(*settings_.tls, settings_.endpoint.host);
  log_in();
}

void RedisConnection::log_in() {
  if (state_ != State::Connecting) return;
  state_ = State::LoggingIn;
  const std::string database = std::to_string(settings_.database);
  if (!settings_.user.empty())
    ask(Asked::Login, {"AUTH", settings_.user, settings_.password});
  else if (!settings_.password.empty())
    ask(Asked::Login, {"AUTH", settings_.password});
  ask(Asked::Login, {"SELECT", database});
  if (subscribe_) ask(Asked::Login, {"SUBSCRIBE", tiers::kRedisChannel});
  deadline_ = kNever;
  write();
}

void RedisConnection::ask(Asked what, std::initializer_list<std::string_view> words) {
  tiers::put_redis(out_, words);
  asked_.push_back({what, loop_.now() + settings_.timeout});
}

void RedisConnection::send(std::string_view command) {
  PGWEIR_CHECK(up());
  out_ += command;
  asked_.push_back({Asked::Command, loop_.now() + settings_.timeout});
}

void RedisConnection::write() {
  if (out_.empty()) return;
  stream_->write(out_);
  out_.clear();
  arm();
}

void RedisConnection::on_bytes(Bytes in) {
  if (auto fed = reader_->feed(in); !fed) return give_up(fed.error().message);
  while (state_ == State::LoggingIn || state_ == State::Up) {
    auto reply = reader_->next();
    if (!reply) return give_up(reply.error().message);
    if (!*reply) break;
    answer(std::move(**reply));
  }
}

void RedisConnection::answer(tiers::RedisReply reply) {
  if (subscribe_) {
    if (const auto message = tiers::redis_message(reply)) return user_.on_redis_message(*message);
  }
  if (asked_.empty()) return give_up("an answer that nothing asked for");
  const Asked what = asked_.front().what;
  asked_.pop_front();
  switch (what) {
    case Asked::Login:
      if (reply.kind == tiers::RedisReply::Kind::Failure)
        return give_up("login refused: " + quoted(reply.text));
      break;
    case Asked::Ping:
      if (tiers::redis_refuses(reply)) return give_up(quoted(reply.text));
      break;
    case Asked::Command: user_.on_redis_reply(std::move(reply)); break;
  }
  if (state_ != State::LoggingIn || !asked_.empty()) return;
  state_ = State::Up;
  retry_ = kRetryFirst;
  complained_ = false;
  deadline_ = loop_.now() + kHeartbeat;
  arm();
  log_.info("tenant store connected",
            {{"addr", net::text(settings_.endpoint)}, {"listens", subscribe_ ? 1 : 0}});
  user_.on_redis_up();
}

void RedisConnection::give_up(const std::string& why) {
  if (down()) return;
  if (!std::exchange(complained_, true))
    log_.warn("tenant store lost", {{"addr", net::text(settings_.endpoint)}, {"error", why}});
  state_ = State::Closing;
  stream_->reset();
  lost();
}

void RedisConnection::lost() {
  asked_.clear();
  out_.clear();
  deadline_ = kNever;
  user_.on_redis_down();
}

void RedisConnection::on_closed(const net::Closed& why) {
  if (state_ != State::Closing) {
    if (!std::exchange(complained_, true))
      log_.warn("tenant store lost", {{"addr", net::text(settings_.endpoint)},
                                      {"error", why.error.empty() ? "closed by Redis" : why.error}});
    state_ = State::Closing;
    lost();
  }
  stream_.reset();
  state_ = State::Down;
  const auto half = retry_.count() / 2;
  deadline_ = loop_.now() +
              Duration(half + static_cast<std::int64_t>(rng_.below(static_cast<std::uint64_t>(half) + 1)));
  retry_ = std::min<Duration>(retry_ * 2, kRetryMost);
  arm();
}

// The earliest of what may be due; it asks again when it fires.
void RedisConnection::arm() {
  const Time due = std::min(deadline_, asked_.empty() ? kNever : asked_.front().deadline);
  if (due != kNever && (!timer_.armed() || timer_.at() > due)) loop_.arm(timer_, due);
}

void RedisConnection::on_timer() {
  const Time now = loop_.now();
  if (!asked_.empty() && asked_.front().deadline <= now) return give_up("no answer in time");
  if (deadline_ <= now) {
    switch (state_) {
      case State::Down: return connect();
      case State::Connecting: return give_up("no connection in time");
      case State::Up:
        deadline_ = now + kHeartbeat;
        if (asked_.empty()) ask(Asked::Ping, {"PING"});
        write();
        break;
      case State::LoggingIn:
      case State::Closing: break;
    }
  }
  arm();
}

}  // namespace pgweir
