#include "pooler/redis_store.h"

#include <utility>

#include "pooler/base/check.h"
#include "pooler/base/quoted.h"

namespace pgweir {

RedisStore::RedisStore(net::Loop& loop, Rng& rng, Log& log, RedisSettings settings, Listener& listener)
    : loop_(loop),
      log_(log),
      settings_(std::move(settings)),
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

void RedisStore::flush() {
  if (!commands_.up()) return;
  std::string command;
  while (!waiting_.empty() && in_flight_.size() < kInFlightMax) {
    Fetch& next = waiting_.front();
    command.clear();
    tiers::put_redis_fetch(command, next.of == Of::Tier ? tiers::kRedisTierKey : tiers::kRedisTenantKey,
                           next.name);
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
  if (tiers::redis_refuses(reply)) {
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
  for (const Fetch& one : all) listener_.on_failed(one.of, one.name);
}

void RedisStore::arm() {
  if (!waiting_.empty() && !timer_.armed()) loop_.arm(timer_, waiting_.front().deadline);
}

// What could not be sent in time, because too much is under way or the login takes long.
void RedisStore::expire() {
  while (!waiting_.empty() && waiting_.front().deadline <= loop_.now()) {
    const Fetch late = std::move(waiting_.front());
    waiting_.pop_front();
    listener_.on_failed(late.of, late.name);
  }
  arm();
}

}  // namespace pgweir
