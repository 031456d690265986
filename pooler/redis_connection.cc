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
  const bool ask_first = !settings_.sentinels.empty() && !master_;
  state_ = ask_first ? State::AskingSentinel : State::Connecting;
  peer_ = ask_first ? settings_.sentinels[sentinel_] : master_ ? *master_ : settings_.endpoint;
  reader_.emplace();
  deadline_ = loop_.now() + settings_.timeout;
  stream_ = loop_.connect(peer_, *this);
  arm();
}

void RedisConnection::on_connected() {
  if (state_ != State::AskingSentinel && state_ != State::Connecting) return;
  if (settings_.tls) return stream_->start_tls(*settings_.tls, peer_.host);
  begin();
}

void RedisConnection::begin() {
  if (state_ == State::Connecting) return log_in();
  if (state_ != State::AskingSentinel) return;
  ask(Asked::Sentinel, {"SENTINEL", "get-master-addr-by-name", settings_.master});
  write();
}

void RedisConnection::found(const tiers::RedisReply& reply) {
  const auto master = tiers::redis_master(reply);
  if (!master) {
    const std::string says = reply.kind == tiers::RedisReply::Kind::Failure ? ": " + quoted(reply.text) : "";
    return give_up("the sentinel knows no master " + quoted(settings_.master) + says);
  }
  master_ = net::Endpoint{master->first, master->second};
  failed_ = 0;
  on_way_ = true;
  stream_->reset();
  close();
}

void RedisConnection::log_in() {
  state_ = State::LoggingIn;
  const std::string database = std::to_string(settings_.database);
  if (!settings_.user.empty())
    ask(Asked::Login, {"AUTH", settings_.user, settings_.password});
  else if (!settings_.password.empty())
    ask(Asked::Login, {"AUTH", settings_.password});
  // The first one is there without, so that its user need not be allowed to SELECT.
  if (settings_.database == 0)
    ask(Asked::Login, {"PING"});
  else
    ask(Asked::Login, {"SELECT", database});
  if (master_) ask(Asked::Role, {"INFO", "replication"});
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
  while (state_ == State::AskingSentinel || state_ == State::LoggingIn || state_ == State::Up) {
    auto reply = reader_->next();
    if (!reply) return give_up(reply.error().message);
    if (!*reply) break;
    answer(std::move(**reply));
  }
}

void RedisConnection::answer(tiers::RedisReply reply) {
  if (subscribe_) {
    if (const auto message = tiers::redis_message(reply)) return user_.on_redis_message(*message);
    if (reply.kind == tiers::RedisReply::Kind::TooMuch) return;  // a message that names nobody
  }
  if (asked_.empty()) return give_up("an answer that nothing asked for");
  const Asked what = asked_.front().what;
  asked_.pop_front();
  switch (what) {
    case Asked::Sentinel: return found(reply);
    case Asked::Role:
      if (!tiers::redis_is_master(reply))
        return give_up("it does not say that it is a master: " + quoted(reply.text));
      break;
    case Asked::Login:
      if (reply.kind == tiers::RedisReply::Kind::Failure || reply.kind == tiers::RedisReply::Kind::TooMuch)
        return give_up("login refused: " + quoted(reply.text));
      break;
    case Asked::Ping:
      if (tiers::redis_refuses(reply)) return give_up(quoted(reply.text));
      break;
    case Asked::Command: {
      const bool replaced =
          master_ && reply.kind == tiers::RedisReply::Kind::Failure && reply.text.starts_with("READONLY");
      user_.on_redis_reply(std::move(reply));
      if (replaced) return give_up("it is no master any more");
    }
  }
  if (state_ != State::LoggingIn || !asked_.empty()) return;
  state_ = State::Up;
  retry_ = kRetryFirst;
  complained_ = false;
  deadline_ = loop_.now() + kHeartbeat;
  arm();
  log_.info("tenant store connected", {{"addr", net::text(peer_)}, {"listens", subscribe_ ? 1 : 0}});
  user_.on_redis_up();
}

void RedisConnection::give_up(const std::string& why) {
  if (state_ == State::Down || state_ == State::Closing) return;
  note(why);
  stream_->reset();
  close();
}

// Remembers who has failed, and says so where there is nobody else to try.
void RedisConnection::note(const std::string& why) {
  master_.reset();
  if (state_ == State::AskingSentinel) {
    sentinel_ = (sentinel_ + 1) % settings_.sentinels.size();
    on_way_ = ++failed_ < settings_.sentinels.size();
    if (on_way_) return;
    failed_ = 0;
  }
  if (!std::exchange(complained_, true))
    log_.warn("tenant store lost", {{"addr", net::text(peer_)}, {"error", why}});
}

void RedisConnection::close() {
  state_ = State::Closing;
  asked_.clear();
  out_.clear();
  deadline_ = kNever;
  if (!on_way_) user_.on_redis_down();
}

void RedisConnection::on_closed(const net::Closed& why) {
  if (state_ != State::Closing) {
    note(why.error.empty() ? "closed by Redis" : why.error);
    close();
  }
  stream_.reset();
  state_ = State::Down;
  if (std::exchange(on_way_, false)) return connect();
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
      case State::AskingSentinel: return give_up("no answer in time");
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
