// tests/sim/model_backend.h - one connection to the model Postgres: startup, login, and a PgSession behind
// them.
//
// What it checks of the peer: messages are well formed and of a known type; nothing comes behind Terminate;
// nobody's request arrives while another client is still owed an answer, or inside another's transaction; a
// new client finds no traces of the last one; a cancel meets only who asked for one.
#pragma once

#include <cstdint>
#include <deque>
#include <memory>
#include <optional>
#include <string>

#include "protocol/scram.h"
#include "protocol/startup.h"
#include "tests/sim/pg_session.h"
#include "tests/sim/sim_net.h"

namespace pgweir::sim {

class ModelPostgres;

class ModelBackend final : public net::Handler {
 public:
  ModelBackend(ModelPostgres& postgres, std::unique_ptr<net::Stream> stream, std::uint32_t pid);
  std::uint32_t pid() const { return pid_; }
  const std::string& key() const { return key_; }
  const std::string& where() const { return where_; }
  // That its connection was opened with.
  const PgSession::Values& settings() const { return settings_; }
  bool logged_in() const { return state_ == State::Ready; }
  // The peer still holds this connection open.
  bool held() const { return stream_ && stream().peer_open(); }

  // Its connection is gone and nothing is left to do.
  bool over() const { return !stream_ && !waits_ && state_ == State::Ended; }

  // A notification was committed: it is told when its session is between two transactions.
  void notified(std::uint32_t by, const PgSession::Notified& notified);
  // For a client that is still there.
  bool working() const;
  // For anybody, also one that has gone and has left it running.
  bool busy() const { return owner_ >= 0; }
  int owner() const { return owner_; }
  Time busy_since() const { return owner_since_; }
  Time since() const { return since_; }  // its connection was accepted
  // It has worked for a client of the pooler's.
  bool served() const { return served_; }
  // What came first after its host was frozen; kNever: nothing, or nobody waits any more.
  Time unheard_since() const { return stream_ ? unheard_since_ : kNever; }
  // The last token of the client for whose temporary table it is kept, between two transactions; none:
  // nobody.
  Token kept_for() const;

  void cancel();
  void die();
  void terminate(const char* sqlstate, const char* why);

 private:
  enum class State : std::uint8_t { First, Password, SaslFirst, SaslFinal, Ready, Ended };
  void on_bytes(Bytes in) override;
  void on_drained() override { pump(); }
  void on_closed(const net::Closed& why) override;
  SimStream& stream() const { return static_cast<SimStream&>(*stream_); }

  void first_packet();
  void start_up(const protocol::Startup& startup);
  void ask_password();
  void password(Bytes body);
  void welcome();
  void refuse(const std::string& sqlstate, const std::string& why);
  void pump();
  void later(Duration delay);
  void look_at_arrivals();
  void check_traces(int owner) const;
  void check_held() const;
  void flush_answers();
  void tell_notifications();
  void end_session();
  void violation(const std::string& what) const;

  ModelPostgres& postgres_;
  std::unique_ptr<net::Stream> stream_;
  std::uint32_t pid_;
  std::string key_;
  std::string where_;
  std::string user_;
  PgSession::Values settings_;
  State state_ = State::First;
  std::string in_;
  std::size_t looked_at_ = 0;  // bytes of in_ whose messages have been checked on arrival
  std::optional<PgSession> session_;
  std::optional<protocol::ScramServer> scram_;
  std::string salt_;
  int owner_ = -1;                  // the client that it works for
  std::uint64_t owner_serial_ = 0;  // of its last request
  Time since_;
  Time owner_since_{}, busy_since_{};  // it works for owner_; the message came that runs
  char last_type_ = 'S';               // of the messages that came
  bool served_ = false;
  bool asking_ = false;  // a question of the pooler's has been bound and not yet executed
  std::deque<std::pair<std::uint32_t, PgSession::Notified>> notifications_;  // to be told
  bool waits_ = false;
  Time unheard_since_ = kNever;
};

}  // namespace pgweir::sim
