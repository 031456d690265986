// tests/sim/model_postgres.h - a Postgres host: its door, its users, its limits, and the faults that befall
// it.
//
// It checks who speaks to it: how many connections stand, that cancels carry the right key and meet a client
// that asked for one. What a single backend checks is said in model_backend.h.
#pragma once

#include <cstdint>
#include <functional>
#include <map>
#include <memory>
#include <optional>
#include <set>
#include <string>

#include "protocol/scram.h"
#include "tests/sim/model_backend.h"
#include "tests/sim/notifications.h"
#include "tests/sim/oracle.h"
#include "tests/sim/sim_net.h"

namespace pgweir::sim {

class LimitsInForce;

class ModelPostgres final : public net::Acceptor {
 public:
  enum class Auth : std::uint8_t { Trust, Password, Md5, Scram };
  // Alone: there are no others, and it does not say what it is. What a primary has committed its standbys
  // have, too.
  enum class Role : std::uint8_t { Alone, Primary, Standby };
  struct User {
    std::string password;
    protocol::ScramVerifier verifier;
  };
  struct Options {
    Auth auth = Auth::Trust;
    std::map<std::string, User> users;  // for all but Trust
    std::size_t max_connections = 100;  // its own: 53300 beyond
    std::size_t allowed_total = 1000;   // the pooler's: more is a violation
    // The same by "database/user"; and one that only listens for each of its groups, which differ by what
    // their servers are opened with.
    std::map<std::string, std::size_t> allowed;
    // Where they change: what holds when. A new session and a new transaction must be within it.
    const LimitsInForce* in_force = nullptr;
    std::function<unsigned(int client)> tenant_of;
    Duration on_the_way{};                   // what was decided may arrive so much later
    std::set<std::string> databases;         // others are 3D000; empty: all exist
    Duration held_most{}, statement_most{};  // by one client; 0: as long as it likes
    std::size_t statements_most = 1000;      // that the pooler keeps in one session
    std::size_t temps_most = 1000;           // sessions with temporary tables of clients that are there
    unsigned dawdle_percent = 20;            // messages after which a backend takes a while
    Role role = Role::Alone;                 // at first
  };
  ModelPostgres(World& world, Network& network, Oracle& oracle, Notifications& notifications,
                net::Endpoint where, int port, Options options);
  ~ModelPostgres() override;

  void start();
  // Faults. Backends of a crash die at once, in the middle of what they were saying.
  void crash();
  void stop();                                                 // in order: 57P01 to everybody
  void recover_until(Time when) { recovering_until_ = when; }  // logins meanwhile: 57P03
  void promote();                                              // a standby
  void demote();  // a primary that does not run: it comes back as a standby
  // All its processes stand still until it crashes, and the kernel goes on: connections are accepted, what
  // comes is acknowledged, and nothing is ever said.
  void freeze() { frozen_ = true; }
  bool frozen() const { return frozen_; }
  // Requests that were sent to it while it was frozen, before `then`, and are still awaited.
  std::size_t awaited_since(Time then) const;
  void kill_one();
  void terminate_one();
  bool running() const { return listener_ != nullptr; }
  const net::Endpoint& where() const { return where_; }
  std::size_t backends() const { return backends_.size(); }
  std::uint64_t logins() const { return logins_; }
  std::size_t held_most() const { return held_most_; }  // by the pooler at a time

  // For backends.
  World& world;
  Oracle& oracle;
  Notifications& notifications;
  PgSession::Tables tables;  // of all databases: each client has one of its own
  const Options& options() const { return options_; }
  SimLoop& loop() { return loop_; }
  // Empty: come in. Else the SQLSTATE of the refusal.
  std::string may_log_in(const ModelBackend& backend);
  bool standby() const { return options_.role == Role::Standby; }
  PgSession::Values role_told() const;
  void cancel(std::uint32_t pid, Bytes key);
  bool terminate(std::uint32_t pid);  // false: it is gone
  static bool is_side(const std::string& where) { return where == "postgres/side"; }
  void ended(ModelBackend& backend);
  void notify(const ModelBackend& by, const PgSession::Notified& notified);
  void check_served(const std::string& where);  // those that work for clients are within the limit
  void check_opened(const ModelBackend& fresh, std::size_t listeners) const;
  void check_working(int client) const;  // ... those that do now, when one of them begins for this one
  void check_temps() const;              // ... those that clients keep for their tables
  // A reload has changed the ceilings, and the next one changes them back: what was of one group may be of
  // two, each with a listener, though none of the first ever had a server.
  void ceilings_changed() { ceilings_ = 2; }
  std::function<void(int client, Time since)> on_worked = [](int, Time) {};  // for this client, until now
  // A request of this client has come, with its token.
  std::function<void(int client, std::uint64_t serial, const std::string& where)> on_request =
      [](int, std::uint64_t, const std::string&) {};
  ModelBackend* find(std::uint32_t pid);

 private:
  void on_accept(std::unique_ptr<net::Stream> stream) override;
  ModelBackend* any();
  void sweep();
  SimLoop loop_;
  net::Endpoint where_;
  int port_;
  Options options_;
  std::unique_ptr<net::Listener> listener_;
  std::map<std::uint32_t, std::unique_ptr<ModelBackend>> backends_;
  std::size_t ceilings_ = 1;                                   // different ones that a tier has had
  std::map<std::string, std::set<PgSession::Values>> groups_;  // that have had servers, by "database/user"
  std::uint32_t next_pid_;
  std::uint64_t logins_ = 0;
  std::size_t held_most_ = 0;
  Time recovering_until_{};
  bool frozen_ = false;
};

}  // namespace pgweir::sim
