// pooler/redis_connection.h - one connection to Redis that stays: it logs in, and comes back when it is lost.
//
//   Down --timer--> Connecting --(TLS)--> LoggingIn --all answered--> Up
//     ^------------------------ Closing <--error, timeout--------|
//
// With sentinels the way is Down --> AskingSentinel --> Closing --> Connecting ...: one of them tells where
// the master is; whoever does not answer is followed by the next. The master has to say itself that it is
// one. A connection that is lost is looked for in this way again; Sentinel closes those to a master that it
// has replaced.
//
// Commands are pipelined and answered in order, each with a deadline; when one is missed the connection is
// given up, since what comes later could not be told from the answer to another. An idle connection says
// PING.
#pragma once

#include <cstdint>
#include <deque>
#include <memory>
#include <optional>
#include <string>

#include "pooler/base/log.h"
#include "pooler/base/rng.h"
#include "pooler/net/loop.h"
#include "pooler/redis_settings.h"
#include "tiers/redis_codec.h"

namespace pgweir {

class RedisConnection final : public net::Handler {
 public:
  static constexpr std::chrono::milliseconds kRetryFirst{100};
  static constexpr std::chrono::seconds kRetryMost{5};
  static constexpr std::chrono::seconds kHeartbeat{5};

  class User {
   public:
    virtual ~User() = default;
    // Logged in; now commands may be sent.
    virtual void on_redis_up() = 0;
    // The answer to the oldest command of send().
    virtual void on_redis_reply(tiers::RedisReply reply) = 0;
    virtual void on_redis_message(const std::string& payload) = 0;
    // Commands that were not answered will not be.
    virtual void on_redis_down() = 0;
  };

  // `subscribe`: to our channel; such a connection sends nothing else.
  RedisConnection(net::Loop& loop, Rng& rng, Log& log, const RedisSettings& settings, User& user,
                  bool subscribe);
  ~RedisConnection() override;

  void start() { connect(); }
  bool up() const { return state_ == State::Up; }
  // Lost and not yet tried again: who waits for it waits for nothing.
  bool down() const { return !on_way_ && (state_ == State::Down || state_ == State::Closing); }
  // One command, with write() behind the last of them. Only when up.
  void send(std::string_view command);
  void write();

 private:
  enum class State : std::uint8_t { Down, AskingSentinel, Connecting, LoggingIn, Up, Closing };
  enum class Asked : std::uint8_t { Sentinel, Login, Role, Ping, Command };

  void on_connected() override;
  void on_secured() override { begin(); }
  void on_bytes(Bytes in) override;
  void on_closed(const net::Closed& why) override;

  void connect();
  void begin();
  void log_in();
  void found(const tiers::RedisReply& reply);
  void ask(Asked what, std::initializer_list<std::string_view> words);
  void answer(tiers::RedisReply reply);
  void give_up(const std::string& why);
  void note(const std::string& why);
  void close();
  void on_timer();
  void arm();

  struct Waiting {
    Asked what;
    Time deadline;
  };
  net::Loop& loop_;
  Rng& rng_;
  Log& log_;
  const RedisSettings& settings_;
  User& user_;
  const bool subscribe_;
  State state_ = State::Down;
  net::Endpoint peer_;                   // of this connection or the next one
  std::optional<net::Endpoint> master_;  // as a sentinel has just said
  std::size_t sentinel_ = 0;             // who is asked next
  std::size_t failed_ = 0;               // sentinels, one after another
  bool on_way_ = false;                  // Closing, and there is somebody to connect to at once
  bool complained_ = false;              // since it was up last
  std::unique_ptr<net::Stream> stream_;
  std::optional<tiers::RedisReader> reader_;
  std::string out_;
  std::deque<Waiting> asked_;
  Time deadline_ = kNever;  // of connecting; the next PING when up; the next try when down
  Duration retry_ = kRetryFirst;
  net::Timer timer_;
};

}  // namespace pgweir
