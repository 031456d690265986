// pooler/backend_gate.h - what stands between a group and its Postgres: the breaker of the backend, and that
// of the group's own database and user (R13). Both must let a connection through; each hears of its outcome
// what concerns it.
//
// Servers that are connected go on when a breaker opens, and are lent as they come free. Clients whose tier
// fails fast are refused where they would have to wait; others wait as they do without a breaker.
#pragma once

#include <memory>
#include <string>

#include "pooler/backend_breaker.h"
#include "pooler/login_verdict.h"

namespace pgweir {

class Worker;
struct GroupKey;

class BackendGate {
 public:
  // `key` is the group's, and lives as long as this.
  BackendGate(Worker& worker, const GroupKey& key);

  // Some breaker is not closed: connections are probes.
  bool rationed() const { return !backend_.closed() || own_->core.state() != Breaker::State::Closed; }
  // By an order on the console.
  bool shut() const;
  Time try_at(Breaker::Patience patience) const;
  // What is being tried is tried for nobody in particular.
  bool probes_early() const {
    return own_->core.probes_early() || (!backend_.closed() && backend_.probes_early());
  }
  // A login is going to begin, and its end will be told. False: it may not begin now.
  bool begin(Breaker::Patience patience);
  void login_worked();
  void login_failed(const Error& error, Teller teller, Stage stage);
  void login_given_up();  // or ended before
  void server_died(const std::string& why);

  void take_rules();  // of the worker's snapshot
  // The group's own: an order on the console, or a reload, may have taken away what failed. Unless an order
  // for its database holds.
  void begin_anew();
  // For its database. The group is to hear of it, too (breaker_changed).
  void order(Breaker::Order order);
  // That of the backend, unless an order holds: it is another host now.
  void backend_moved();
  void count_rejected();
  // What a client is told that may not wait; why nobody tries, for those who wait.
  Error refusal() const;

 private:
  void note_backend(Breaker::Outcome outcome, const std::string& error);
  void note_own(Breaker::Outcome outcome, const std::string& error);
  void own_changed(Breaker::State now);

  Worker& worker_;
  const GroupKey& key_;
  BackendBreaker& backend_;
  std::shared_ptr<NotedBreaker> own_;
};

// Whoever changes the state of a backend's breaker says so: in the log, and to the groups of all workers.
void tell_breaker(Worker& worker, const std::string& backend, Breaker::State state);

}  // namespace pgweir
