// tiers/redis_codec.h - what we say to Redis, and what it answers, as bytes.
//
// hiredis reads and writes the protocol; the limits are ours, because a Redis that lies must cost nothing
// (R2): a reply is bounded in depth, elements and bytes before anything is kept of it. One that is too much
// is passed over to its end, as anybody may have written a large value, and those behind it are others'.
#pragma once

#include <cstddef>
#include <cstdint>
#include <initializer_list>
#include <memory>
#include <optional>
#include <span>
#include <string>
#include <string_view>
#include <variant>
#include <vector>

#include "pooler/base/bytes.h"
#include "pooler/base/error.h"
#include "tiers/fleet_rate.h"
#include "tiers/record.h"

struct redisReader;

namespace pgweir::tiers {

// A reply of protocol 2. Elements of an array hold no arrays themselves: nothing that we ask is answered so.
struct RedisReply {
  enum class Kind : std::uint8_t { Nil, Integer, Text, Failure, Array, TooMuch };
  Kind kind = Kind::Nil;
  std::int64_t integer = 0;
  std::string text;  // Text; what Redis says of a Failure
  std::vector<RedisReply> elements;
};

class RedisReader {
 public:
  static constexpr std::size_t kReplyBytesMax = 64 << 10;  // of one reply, as it is sent
  static constexpr std::size_t kElementsMax = 512;         // of its one array
  static constexpr std::size_t kPassedOverMax = 64
                                                << 20;  // of one that is too much; with more it is an error

  RedisReader();
  ~RedisReader();
  RedisReader(const RedisReader&) = delete;
  RedisReader& operator=(const RedisReader&) = delete;

  // All of `in` is taken. After an error the reader is dead: the connection has to go.
  Expected<void> feed(Bytes in);
  // The next whole reply that was fed; empty: more bytes are needed. To be called until it is empty.
  Expected<std::optional<RedisReply>> next();
  // What is kept of what was fed.
  std::size_t held_bytes() const { return held_.size() + fed_.size() - at_; }

 private:
  struct Keeper;  // what hiredis' callbacks make
  struct Free {
    void operator()(redisReader* reader) const;
  };
  Error broken() const;
  void keep(std::size_t size);
  void head();
  RedisReply whole();

  std::unique_ptr<Keeper> keeper_;
  std::unique_ptr<redisReader, Free> reader_;
  std::string fed_;  // of it, all before at_ has been seen
  std::size_t at_ = 0;
  // The reply that is on its way.
  std::string held_;           // all of it; of one that is too much, the line that is on its way
  std::size_t line_at_ = 0;    // where that begins
  std::size_t bytes_ = 0;      // that have come
  std::size_t text_left_ = 0;  // of a text, with the line's end behind it
  std::size_t values_left_ = 1;
  bool in_array_ = false;
  bool too_much_ = false;
};

// Appends one command.
void put_redis(std::string& out, std::span<const std::string_view> words);
void put_redis(std::string& out, std::initializer_list<std::string_view> words);

// What we ask for and listen to.
inline constexpr std::string_view kRedisTenantKey = "pgweir:tenant:";
inline constexpr std::string_view kRedisTierKey = "pgweir:tier:";
inline constexpr std::string_view kRedisCachedTenantKey = "pgweir:cached:tenant:";
inline constexpr std::string_view kRedisCachedTierKey = "pgweir:cached:tier:";
inline constexpr std::string_view kRedisUsageKey = "pgweir:usage:";
inline constexpr std::string_view kRedisChannel = "pgweir:changed";
// Makes a hash of these fields and nothing else, which goes by itself.
void put_redis_copy(std::string& out, std::string_view key, const Fields& fields,
                    std::chrono::milliseconds ttl);
// Changes a hash; where there is no such hash, it becomes `whole`.
void put_redis_set(std::string& out, std::string_view key, const Change& change, const Fields& whole);
void put_redis_fetch(std::string& out, std::string_view key_prefix, std::string_view name);

// A question to the bucket that all pgweirs of this Redis have in common, as one script: it counts by Redis's
// own clock, in whole numbers, and leaves a key that goes by itself when the bucket is full.
inline constexpr std::string_view kRedisRateKey = "pgweir:rate:";
void put_redis_rate(std::string& out, std::string_view tenant, const FleetAsk& ask);
// Nothing: it is not what was asked for.
std::optional<FleetGrant> redis_grant(const RedisReply& reply, const FleetAsk& ask);

// Redis says that it cannot do it now, or not for us; an error that is about the asked key alone is none.
bool redis_refuses(const RedisReply& reply);

// The answer to HGETALL. An error tells what it is instead, as no row can be read from it.
Expected<Fields> redis_fields(RedisReply reply);

// What a sentinel answers to SENTINEL get-master-addr-by-name: host and port, or nothing that can be used.
std::optional<std::pair<std::string, std::uint16_t>> redis_master(const RedisReply& reply);
// The answer to INFO replication says that it is a master. (ROLE is answered with arrays in arrays.)
bool redis_is_master(const RedisReply& reply);

// The payload of a message on our channel; empty when the reply is something else.
std::optional<std::string> redis_message(const RedisReply& reply);

}  // namespace pgweir::tiers
