#include "pooler/redis_store.h"

#include <utility>

#include "pooler/base/check.h"
#include "pooler/base/quoted.h"

namespace pgweir {

namespace {

// Of a command, each of which is answered by a number; empty: nothing.
std::string what_failed(const tiers::RedisReply* reply) {
  if (!reply) return "Redis does not answer";
  switch (reply->kind) {
    case tiers::RedisReply::Kind::Integer: return {};
    case tiers::RedisReply::Kind::Failure: return quoted(reply->text);
    case tiers::RedisReply::Kind::Nil:
    case tiers::RedisReply::Kind::Text:
    case tiers::RedisReply::Kind::Array:
    case tiers::RedisReply::Kind::TooMuch: break;
  }
  return "Redis answers something else than a number";
}

}  // namespace

RedisStore::RedisStore(net::Loop& loop, Rng& rng, Log& log, RedisSettings settings, Listener& listener,
                       Keys keys)
    : loop_(loop),
      log_(log),
      settings_(std::move(settings)),
      keys_(keys),
      listener_(listener),
      commands_(loop, rng, log, settings_, asks_, false),
      changes_(loop, rng, log, settings_, hears_, true),
      timer_(this, [](void* self) { static_cast<RedisStore*>(self)->expire(); }) {}

void RedisStore::start() {
  commands_.start();
  changes_.start();
}

void RedisStore::fetch(Of of, const std::string& name) {
  // While nobody knows when it comes back, nobody should wait for it.
  if (commands_.down()) return listener_.on_failed(of, name);
  waiting_.push_back({of, name, loop_.now() + settings_.timeout});
  arm();
}

std::string RedisStore::key_prefix(Of of) const {
  if (keys_ == Keys::Cached)
    return std::string(of == Of::Tier ? tiers::kRedisCachedTierKey : tiers::kRedisCachedTenantKey);
  return std::string(of == Of::Tier ? tiers::kRedisTierKey : tiers::kRedisTenantKey);
}

void RedisStore::keep(Of of, const std::string& name, const tiers::Fields& fields, Duration ttl) {
  std::string command;
  tiers::put_redis_copy(command, key_prefix(of) + name, fields,
                        std::chrono::duration_cast<std::chrono::milliseconds>(ttl));
  ask(std::move(command), [](const tiers::RedisReply*) {});
}

void RedisStore::drop(Of of, const std::string& name) {
  ask({"DEL", key_prefix(of) + name}, [](const std::string&) {});
}

void RedisStore::set(const std::string& tenant, const tiers::Change& change, const tiers::Fields& whole,
                     Done done) {
  std::string command;
  tiers::put_redis_set(command, std::string(tiers::kRedisTenantKey) + tenant, change, whole);
  ask(std::move(command), [this, tenant, done = std::move(done)](const tiers::RedisReply* reply) {
    const std::string error = what_failed(reply);
    done(error);
    // Others hear of it by the channel, and so do we; but where that is refused, at least we know.
    if (!error.empty()) return;
    listener_.on_changed(tenant);
    ask({"PUBLISH", std::string(tiers::kRedisChannel), tenant}, [](const std::string&) {});
  });
}

void RedisStore::put_usage(const std::string& key, const tiers::Fields& fields, Done done) {
  put_hash(std::string(tiers::kRedisUsageKey) + key, fields,
           std::chrono::duration_cast<std::chrono::seconds>(settings_.usage_kept), std::move(done));
}

void RedisStore::try_usage(Done done) {
  put_hash(std::string(tiers::kRedisUsageKey) + "doctor", {{"tried", "1"}}, std::chrono::seconds(1),
           std::move(done));
}

// Without its time to live a hash would stay for ever: it is kept when both are done.
void RedisStore::put_hash(const std::string& key, const tiers::Fields& fields, std::chrono::seconds kept,
                          Done done) {
  std::vector<std::string> words{"HSET", key};
  for (const auto& [name, value] : fields) {
    words.push_back(name);
    words.push_back(value);
  }
  const auto set = std::make_shared<std::string>();
  ask(std::move(words), [set](const std::string& error) { *set = error; });
  ask({"EXPIRE", key, std::to_string(kept.count())},
      [set, done = std::move(done)](const std::string& error) { done(set->empty() ? error : *set); });
}

void RedisStore::ask(std::vector<std::string> words, Done done) {
  std::string command;
  tiers::put_redis(command, std::vector<std::string_view>(words.begin(), words.end()));
  ask(std::move(command),
      [done = std::move(done)](const tiers::RedisReply* reply) { done(what_failed(reply)); });
}

void RedisStore::ask(std::string command, Replied done) {
  if (commands_.down()) return done(nullptr);
  waiting_.push_back({Of::Tenant, {}, loop_.now() + settings_.timeout, std::move(command), std::move(done)});
  arm();
}

void RedisStore::take_rate(const std::string& tenant, const tiers::FleetAsk& asked, Granted done) {
  std::string command;
  tiers::put_redis_rate(command, tenant, asked);
  ask(std::move(command), [this, asked, done = std::move(done)](const tiers::RedisReply* reply) {
    const auto grant = reply ? tiers::redis_grant(*reply, asked) : std::nullopt;
    if (reply && !grant && !std::exchange(rates_refused_, true))
      log_.warn("tenant store tells no rates", {{"error", quoted(reply->text)}});
    if (grant) rates_refused_ = false;
    done(grant);
  });
}

void RedisStore::failed(const Fetch& one) {
  if (one.done) return one.done(nullptr);
  listener_.on_failed(one.of, one.name);
}

void RedisStore::flush() {
  if (!commands_.up()) return;
  std::string command;
  while (!waiting_.empty() && in_flight_.size() < kInFlightMax) {
    Fetch& next = waiting_.front();
    command = std::exchange(next.command, {});
    if (!next.done) tiers::put_redis_fetch(command, key_prefix(next.of), next.name);
    commands_.send(command);
    in_flight_.push_back(std::move(next));
    waiting_.pop_front();
  }
  commands_.write();
}

void RedisStore::answered(tiers::RedisReply reply) {
  PGWEIR_CHECK(!in_flight_.empty());
  const Fetch done = std::move(in_flight_.front());
  in_flight_.pop_front();
  if (done.done) {
    done.done(&reply);
  } else if (tiers::redis_refuses(reply)) {
    if (!std::exchange(refused_, true))
      log_.warn("tenant store refuses to answer", {{"error", quoted(reply.text)}});
    listener_.on_failed(done.of, done.name);
  } else {
    refused_ = false;
    listener_.on_row(done.of, done.name, tiers::redis_fields(std::move(reply)));
  }
  flush();
}

void RedisStore::fail_all() {
  std::deque<Fetch> all = std::exchange(in_flight_, {});
  for (Fetch& one : std::exchange(waiting_, {})) all.push_back(std::move(one));
  for (const Fetch& one : all) failed(one);
}

void RedisStore::arm() {
  if (!waiting_.empty() && !timer_.armed()) loop_.arm(timer_, waiting_.front().deadline);
}

// What could not be sent in time, because too much is under way or the login takes long.
void RedisStore::expire() {
  while (!waiting_.empty() && waiting_.front().deadline <= loop_.now()) {
    const Fetch late = std::move(waiting_.front());
    waiting_.pop_front();
    failed(late);
  }
  arm();
}

}  // namespace pgweir
