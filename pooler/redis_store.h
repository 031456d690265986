// pooler/redis_store.h - rows from Redis: one connection asks, another one hears of changes.
#pragma once

#include <deque>
#include <string>
#include <vector>

#include "pooler/redis_connection.h"
#include "pooler/tier_store.h"

namespace pgweir {

class RedisStore final : public TierStore {
 public:
  static constexpr std::size_t kInFlightMax = 256;

  // Whose rows: those that their owner writes, or copies from another store.
  enum class Keys : std::uint8_t { Own, Cached };
  RedisStore(net::Loop& loop, Rng& rng, Log& log, RedisSettings settings, Listener& listener,
             Keys keys = Keys::Own);

  void start() override;
  void fetch(Of of, const std::string& name) override;
  void set(const std::string& tenant, const tiers::Change& change, const tiers::Fields& whole,
           Done done) override;
  void put_usage(const std::string& key, const tiers::Fields& fields, Done done) override;
  void try_usage(Done done) override;
  void take_rate(const std::string& tenant, const tiers::FleetAsk& ask, Granted done) override;
  void flush() override;
  // A copy, for this long at most.
  void keep(Of of, const std::string& name, const tiers::Fields& fields, Duration ttl);
  void drop(Of of, const std::string& name);

 private:
  // Null: it was not answered.
  using Replied = std::function<void(const tiers::RedisReply*)>;
  struct Fetch {
    Of of;
    std::string name;
    Time deadline;
    // Of what is no fetch: the command, and whom to tell.
    std::string command{};
    Replied done{};
  };
  // The two connections' ends.
  struct Asks final : RedisConnection::User {
    explicit Asks(RedisStore& s) : store(s) {}
    void on_redis_up() override { store.flush(); }
    void on_redis_reply(tiers::RedisReply reply) override { store.answered(std::move(reply)); }
    void on_redis_message(const std::string&) override {}
    void on_redis_down() override { store.fail_all(); }
    RedisStore& store;
  };
  struct Hears final : RedisConnection::User {
    explicit Hears(RedisStore& s) : store(s) {}
    void on_redis_up() override { store.listener_.on_changed("*"); }  // of what was missed
    void on_redis_reply(tiers::RedisReply) override {}
    void on_redis_message(const std::string& payload) override { store.listener_.on_changed(payload); }
    void on_redis_down() override {}
    RedisStore& store;
  };

  void answered(tiers::RedisReply reply);
  void fail_all();
  void ask(std::vector<std::string> words, Done done);
  void put_hash(const std::string& key, const tiers::Fields& fields, std::chrono::seconds kept, Done done);
  void ask(std::string command, Replied done);
  std::string key_prefix(Of of) const;
  void failed(const Fetch& one);
  void expire();
  void arm();

  net::Loop& loop_;
  Log& log_;
  RedisSettings settings_;
  const Keys keys_;
  Listener& listener_;
  Asks asks_{*this};
  Hears hears_{*this};
  RedisConnection commands_;
  RedisConnection changes_;
  std::deque<Fetch> waiting_;    // not sent
  std::deque<Fetch> in_flight_;  // in the order of their answers
  bool refused_ = false;         // has been logged since the last good answer
  bool rates_refused_ = false;   // the same of rates
  net::Timer timer_;             // for waiting_
};

}  // namespace pgweir
