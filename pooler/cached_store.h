// pooler/cached_store.h - rows from a store that is the truth, by way of a Redis that keeps them for a while.
//
// A row is looked for in Redis first, under keys of their own (pgweir:cached:...), and where that has none,
// or does not answer, in the source, whose answer goes into Redis for `ttl`. When the source tells of a
// change the key is dropped, and that row comes from the source alone for a moment, since another pgweir may
// be writing what it read before. After changes were missed nothing in Redis is believed until all of it has
// expired.
#pragma once

#include <functional>
#include <map>
#include <memory>
#include <string>

#include "pooler/net/loop.h"
#include "pooler/redis_store.h"
#include "pooler/tier_store.h"

namespace pgweir {

class CachedStore final : public TierStore {
 public:
  static constexpr std::chrono::seconds kFresh{5};  // how long a row that has changed comes from the source
  static constexpr std::size_t kFreshMax = 10'000;  // such rows; with more, all do

  using MakeSource = std::function<std::unique_ptr<TierStore>(Listener&)>;
  CachedStore(net::Loop& loop, Rng& rng, Log& log, RedisSettings redis, Duration ttl, Listener& listener,
              const MakeSource& make_source);

  void start() override;
  void fetch(Of of, const std::string& name) override;
  void set(const std::string& tenant, const tiers::Change& change, const tiers::Fields& whole,
           Done done) override;
  void put_usage(const std::string& key, const tiers::Fields& fields, Done done) override;
  std::size_t usage_at_once() const override { return source_->usage_at_once(); }
  void try_usage(Done done) override;
  void take_rate(const std::string& tenant, const tiers::FleetAsk& ask, Granted done) override;
  void flush() override;

 private:
  // Their ends.
  struct Source final : Listener {
    explicit Source(CachedStore& s) : store(s) {}
    void on_row(Of of, const std::string& name, const Expected<tiers::Fields>& fields) override;
    void on_no_row(Of of, const std::string& name) override { store.listener_.on_no_row(of, name); }
    void on_failed(Of of, const std::string& name) override { store.listener_.on_failed(of, name); }
    void on_changed(const std::string& what) override { store.changed(what); }
    CachedStore& store;
  };
  struct Cache final : Listener {
    explicit Cache(CachedStore& s) : store(s) {}
    void on_row(Of of, const std::string& name, const Expected<tiers::Fields>& fields) override;
    void on_no_row(Of of, const std::string& name) override { store.ask_source(of, name); }
    void on_failed(Of of, const std::string& name) override { store.ask_source(of, name); }
    void on_changed(const std::string&) override {}  // of a store, which this Redis is not
    CachedStore& store;
  };

  void ask_source(Of of, const std::string& name);
  void changed(const std::string& what);
  bool is_fresh(const std::string& what);

  net::Loop& loop_;
  const Duration ttl_;
  Listener& listener_;
  Source source_end_{*this};
  Cache cache_end_{*this};
  std::unique_ptr<TierStore> source_;
  RedisStore cache_;
  bool connected_ = false;             // the source has been, once
  Time distrust_until_{};              // everything in Redis
  std::map<std::string, Time> fresh_;  // by what has changed: until when it comes from the source
};

}  // namespace pgweir
