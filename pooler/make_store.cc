#include "pooler/make_store.h"

#include "pooler/cached_store.h"
#include "pooler/postgres_store.h"
#include "pooler/redis_store.h"

namespace pgweir {

std::unique_ptr<TierStore> make_store(const Snapshot& snapshot, net::UvLoop& loop, Rng& rng, Log& log,
                                      TierStore::Listener& listener) {
  const auto postgres = [&](TierStore::Listener& hears) {
    return std::make_unique<PostgresStore>(loop, rng, log, *snapshot.postgres, hears);
  };
  if (snapshot.postgres && snapshot.redis)
    return std::make_unique<CachedStore>(loop, rng, log, *snapshot.redis, snapshot.config().store_ttl,
                                         listener, postgres);
  if (snapshot.postgres) return postgres(listener);
  return std::make_unique<RedisStore>(loop, rng, log, *snapshot.redis, listener);
}

}  // namespace pgweir
