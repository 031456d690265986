#include "pooler/cached_store.h"

#include <utility>

namespace pgweir {

namespace {

constexpr std::string_view kAll = "*", kTierPrefix = "tier:";

std::string what_of(TierStore::Of of, const std::string& name) {
  return of == TierStore::Of::Tier ? std::string(kTierPrefix) + name : name;
}

}  // namespace

CachedStore::CachedStore(net::Loop& loop, Rng& rng, Log& log, RedisSettings redis, Duration ttl,
                         Listener& listener, const MakeSource& make_source)
    : loop_(loop),
      ttl_(ttl),
      listener_(listener),
      source_(make_source(source_end_)),
      cache_(loop, rng, log, std::move(redis), cache_end_, RedisStore::Keys::Cached) {}

void CachedStore::start() {
  source_->start();
  cache_.start();
}

void CachedStore::fetch(Of of, const std::string& name) {
  if (is_fresh(what_of(of, name)))
    source_->fetch(of, name);
  else
    cache_.fetch(of, name);
}

void CachedStore::set(const std::string& tenant, const tiers::Change& change, const tiers::Fields& whole,
                      Done done) {
  source_->set(tenant, change, whole, std::move(done));
}

void CachedStore::put_usage(const std::string& key, const tiers::Fields& fields, Done done) {
  source_->put_usage(key, fields, std::move(done));
}

void CachedStore::try_usage(Done done) { source_->try_usage(std::move(done)); }

void CachedStore::take_rate(const std::string& tenant, const tiers::FleetAsk& ask, Granted done) {
  cache_.take_rate(tenant, ask, std::move(done));
}

void CachedStore::flush() {
  cache_.flush();
  source_->flush();
}

void CachedStore::Source::on_row(Of of, const std::string& name, const Expected<tiers::Fields>& fields) {
  if (fields && !fields->empty()) store.cache_.keep(of, name, *fields, store.ttl_);
  store.listener_.on_row(of, name, fields);
}

// What is garbage here may be none there.
void CachedStore::Cache::on_row(Of of, const std::string& name, const Expected<tiers::Fields>& fields) {
  if (fields && !fields->empty() && !store.is_fresh(what_of(of, name)))
    return store.listener_.on_row(of, name, fields);
  store.ask_source(of, name);
}

void CachedStore::ask_source(Of of, const std::string& name) {
  source_->fetch(of, name);
  source_->flush();
}

void CachedStore::changed(const std::string& what) {
  const Time now = loop_.now();
  std::erase_if(fresh_, [now](const auto& each) { return each.second <= now; });
  // Whoever starts has missed nothing that is not in Redis either, but for its time to live.
  const bool first = what == kAll && !std::exchange(connected_, true);
  if ((what == kAll && !first) || fresh_.size() >= kFreshMax) distrust_until_ = now + ttl_ + kFresh;
  if (what != kAll) {
    fresh_[what] = now + kFresh;
    const bool tier = what.starts_with(kTierPrefix);
    cache_.drop(tier ? Of::Tier : Of::Tenant, tier ? what.substr(kTierPrefix.size()) : what);
  }
  listener_.on_changed(what);
}

bool CachedStore::is_fresh(const std::string& what) {
  const Time now = loop_.now();
  const auto changed = fresh_.find(what);
  return now < distrust_until_ || (changed != fresh_.end() && now < changed->second);
}

}  // namespace pgweir
