// tests/sim/model_client.h - an application: it connects, runs a script, checks every byte that it is told,
// and connects again when its connection has ended.
//
//   Off -> Connecting -> Login -> Running -> Leaving -> Off ... -> Done
//
// Beside each connection runs a PgSession, fed with the same requests in step with the answers: what comes
// must be what that session says. What else may come is listed in Plan.
#pragma once

#include <cstdint>
#include <deque>
#include <functional>
#include <map>
#include <memory>
#include <optional>
#include <set>
#include <string>

#include "protocol/scram.h"
#include "tests/sim/door.h"
#include "tests/sim/notifications.h"
#include "tests/sim/oracle.h"
#include "tests/sim/pace.h"
#include "tests/sim/pg_session.h"
#include "tests/sim/script.h"
#include "tests/sim/sim_net.h"

namespace pgweir::sim {

class ModelClient final : public net::Handler {
 public:
  struct Plan {
    int id = 0;
    unsigned tenant = 0;
    net::Endpoint to;
    std::string user = "app";
    std::string password = "secret";
    std::string database = "db";
    std::string where;           // "database/user" that Postgres must know it by
    PgSession::Values settings;  // of its startup packet
    Manners manners;
    unsigned steps = 10;
    Duration answers_within{};         // each answer, or part of it; 0: whenever
    Duration canceled_within{};        // ... of those that it asks to cancel
    Duration welcome_within{};         // its login; 0: whenever
    Time alive_after{};                // it goes on until then, and shows signs of life behind it
    bool may_break = false;            // its connection may end without a word
    std::set<std::string> may_fail;    // SQLSTATEs of FATAL errors that may end its connection
    std::set<std::string> may_refuse;  // SQLSTATEs of ERRORs that a request may get instead of its answer
    std::string must_fail;             // its login must end with this SQLSTATE; then it is done
    bool timed = false;                // its requests may be canceled for taking too long
    bool session_mode = false;         // it may be refused for any request
    bool may_lose = false;             // what a function has set is lost where functions cannot be read
    bool onlooker = false;             // behind its steps it stays, and says nothing
    bool eager = false;                // its first request follows the startup packet at once
    std::function<bool(Time since)> suspended;  // its tenant was, all the time since then
    std::function<bool(const std::string& where, Time since)> led_to;  // set where databases change
    Door* door = nullptr;  // where there are more clients than places
    Pace* pace = nullptr;  // where there is a rate; each of its phases is one transaction then
    bool orderly = true;   // an end in order must have been announced by FATAL
  };
  ModelClient(World& world, SimLoop& loop, Oracle& oracle, Notifications& notifications, Plan plan);
  ~ModelClient() override;

  void start(Duration after);
  bool done() const { return state_ == State::Done && cancels_.empty(); }
  std::string describe() const;
  // No more steps: it says goodbye when it is through with the current one.
  void wind_up() { steps_left_ = 0, winding_up_ = true; }
  // The pooler has been told to end, and to let go on for kDrains what it has been asked.
  void pooler_drains() { drains_since_ = world_.now(); }
  std::uint64_t answered() const { return answered_; }
  const Plan& plan() const { return plan_; }
  // Postgres has seen a request of it there.
  void seen_at(const std::string& where, std::uint64_t serial);
  bool working() const { return steps_left_ > 0; }
  std::uint64_t connections() const { return connections_; }

 private:
  enum class State : std::uint8_t { Off, Connecting, Login, Running, Leaving, Done };
  class CancelConnection;

  void on_connected() override;
  void on_bytes(Bytes in) override;
  void on_closed(const net::Closed& why) override;

  void connect();
  void login_message(char type, Bytes body);
  void authenticate(Bytes body);
  void answer(Bytes message);
  bool lost(Bytes message, Bytes right) const;
  void heard(Bytes body);
  bool pending_says(const char* word) const;
  std::string database() const { return plan_.where.substr(0, plan_.where.find('/')); }
  bool aside(char type, Bytes message);  // what may come at any time
  void expect_more(char type, Bytes message);
  void matched(char type);
  void collect();
  void skip_silent();
  bool answered_all() const { return expected_.empty() && pending_.empty() && !session_->busy(); }
  void fatal(Bytes message);
  void next_phase();
  void run_phase(Phase phase);
  void send(const Phase& phase);
  void send_cancel();
  void finish_step();
  void depart();
  void watch();
  void later(Duration delay, void (ModelClient::*what)());
  [[noreturn]] void violation(const std::string& what) const;

  World& world_;
  SimLoop& loop_;
  Oracle& oracle_;
  Notifications& notifications_;
  Plan plan_;
  Script script_;
  State state_ = State::Off;
  std::unique_ptr<net::Stream> stream_;
  std::string in_;
  std::optional<PgSession> session_;
  std::deque<std::pair<char, std::string>> pending_;  // sent, and not yet told to session_
  std::deque<Answer> expected_;
  std::deque<Phase> phases_;
  bool canceling_ = false;  // in this step
  bool awaiting_ = false;
  std::string ended_by_;  // SQLSTATE of a FATAL error
  bool refused_step_ = false;
  bool refused_now_ = false;  // its last request, whose end has not come
  std::string seen_at_;       // this connection; empty: nowhere yet
  Time connecting_since_{};
  Time sent_at_{};                  // its last phase
  std::set<std::string> channels_;  // at the end of its last transaction
  PgSession::Values told_;
  std::map<std::string, int> owed_;  // ParameterStatus messages that are late, by how many answers
  std::uint32_t cancel_pid_ = 0;
  std::string cancel_key_;
  std::optional<protocol::ScramClient> scram_;
  std::string block_pid_;  // whoami inside this transaction
  bool in_block_ = false;  // it has been told that it is in a transaction
  unsigned steps_left_;
  unsigned signs_left_ = 2;
  bool winding_up_ = false;
  std::uint64_t answered_ = 0;
  std::uint64_t connections_ = 0;
  std::uint64_t epoch_ = 0;  // of what later() has set up
  Time waiting_since_{};
  Time drains_since_ = kNever;
  std::vector<std::unique_ptr<CancelConnection>> cancels_;
};

}  // namespace pgweir::sim
