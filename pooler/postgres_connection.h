// pooler/postgres_connection.h - one connection to a platform's Postgres that stays, through libpq: it logs
// in, listens, and comes back when it is lost.
//
//   Down --timer--> Starting --name resolved--> Connecting --> Preparing --listening--> Up
//     ^------------------------------------ error, timeout --------------------------|
//
// libpq's own waiting functions are never called: its socket is watched by the loop, and what it does before
// there is a socket (resolving a name) runs on a helper thread. One question at a time, each with a deadline;
// when one is missed the connection is given up. An idle connection asks something, to see that it is one.
#pragma once

#include <cstdint>
#include <memory>
#include <string>
#include <vector>

#include "pooler/base/log.h"
#include "pooler/base/rng.h"
#include "pooler/net/uv_loop.h"
#include "pooler/postgres_settings.h"
#include "tiers/postgres_codec.h"

namespace pgweir {

// To one question. `sqlstate` is empty where there was no error.
struct PostgresAnswer {
  std::string sqlstate;
  std::string error;
  std::vector<tiers::PostgresRow> rows;
};

class PostgresConnection {
 public:
  static constexpr std::chrono::milliseconds kRetryFirst{100};
  static constexpr std::chrono::seconds kRetryMost{5};
  static constexpr std::chrono::seconds kHeartbeat{5};

  class User {
   public:
    virtual ~User() = default;
    // Logged in and listening; free() is true.
    virtual void on_postgres_up() = 0;
    // To ask(); free() is true again.
    virtual void on_postgres_answer(PostgresAnswer answer) = 0;
    // A heartbeat has been answered: free() is true again.
    virtual void on_postgres_free() = 0;
    virtual void on_postgres_changed(const std::string& what) = 0;
    // A question that was not answered will not be.
    virtual void on_postgres_down() = 0;
  };

  PostgresConnection(net::UvLoop& loop, Rng& rng, Log& log, const PostgresSettings& settings, User& user);
  ~PostgresConnection();
  PostgresConnection(const PostgresConnection&) = delete;
  PostgresConnection& operator=(const PostgresConnection&) = delete;

  void start() { connect(); }
  // Lost and not yet tried again: who waits for it waits for nothing.
  bool down() const { return state_ == State::Down; }
  bool free() const { return state_ == State::Up && asked_ == Asked::Nothing; }
  // Only when free.
  void ask(const tiers::PostgresQuery& query);

 private:
  enum class State : std::uint8_t { Down, Starting, Connecting, Preparing, Up };
  enum class Asked : std::uint8_t { Nothing, Question, Heartbeat };
  struct Wire;  // libpq's connection

  void connect();
  void started(std::shared_ptr<Wire> wire);
  void go_on_connecting();
  void prepare();
  void send();
  void watch(net::UvLoop::Ready what);
  void on_ready();
  void hear();
  void read();
  void finish_answer();
  void give_up(const std::string& why, std::string_view hint);
  void on_timer();
  void arm(Time at);

  net::UvLoop& loop_;
  Rng& rng_;
  Log& log_;
  const PostgresSettings& settings_;
  User& user_;
  State state_ = State::Down;
  Asked asked_ = Asked::Nothing;
  PostgresAnswer answer_;    // of what is asked, or of the setup
  bool starting_ = false;    // on a helper thread
  bool complained_ = false;  // since it was up last
  std::shared_ptr<Wire> wire_;
  std::unique_ptr<net::UvLoop::Watch> watch_;
  // Who has asked for a name to be resolved may be gone when that is done.
  std::shared_ptr<PostgresConnection*> self_ = std::make_shared<PostgresConnection*>(this);
  Duration retry_ = kRetryFirst;
  net::Timer timer_;
};

}  // namespace pgweir
