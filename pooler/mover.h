// pooler/mover.h - MOVE: one tenant goes from one backend to another, and its connected clients with it.
//
//   Trying ------> Holding ------> Committing ------> over
//     |               |                 +---> called off   its record could not be changed
//     |               +---> called off                     its transactions did not end in time
//     +---> called off                                     the target does not take its users
//
// Trying: one login to the target for each user that the tenant's clients have, while they work on. Holding:
// its transactions end, its servers close, and new transactions wait. Committing: what says where the tenant
// is says the target now. Then its groups are given the new backend, and go on. Whoever is called off leaves
// everything as it was.
//
// Lives on the tenant's home worker, which owns it. Nothing is copied: the data must be there before.
#pragma once

#include <cstdint>
#include <functional>
#include <memory>
#include <optional>
#include <string>
#include <vector>

#include "pooler/backend_hosts.h"
#include "pooler/net/loop.h"
#include "pooler/server_login.h"
#include "tiers/tier.h"

namespace pgweir {

class Group;
class SideConnection;
class Worker;
struct Tenant;

class Mover {
 public:
  struct Order {
    tiers::Tenant record;  // as it is
    std::string to;
    Duration patience{};   // for its transactions
    std::uint32_t by = 0;  // the console that has ordered it
  };
  struct Outcome {
    std::optional<Error> error;  // none: it has moved
    std::uint32_t clients = 0;
    bool tried = false;  // the target; there is nobody as whom without clients
    Duration held{};
  };
  // Changes the record, and calls `done` on the home's loop with what went wrong; empty: nothing.
  using Commit = std::function<void(std::function<void(const std::string&)> done)>;
  using Over = std::function<void(const Outcome&)>;

  Mover(Worker& home, std::uint64_t id, Order order, Commit commit, Over over);
  ~Mover();
  Mover(const Mover&) = delete;
  Mover& operator=(const Mover&) = delete;

  std::uint64_t id() const { return id_; }
  const std::string& tenant() const { return order_.record.name; }
  std::uint32_t by() const { return order_.by; }
  // May be over, and this be gone, before it returns; the same of call_off().
  void start();
  // Unless it is too late for that.
  void call_off(const Error& why);

 private:
  enum class State : std::uint8_t { Trying, Holding, Committing, Over };
  static constexpr std::chrono::milliseconds kLook{2};

  // As whom it tries to log in, to which database.
  struct Login {
    ServerCredentials credentials;
    std::string database;
    friend bool operator==(const Login& a, const Login& b) {
      return a.credentials.user == b.credentials.user && a.database == b.database;
    }
  };

  Tenant& held();
  void try_next();
  void try_host();
  void tried(std::optional<Error> error);
  void hold();
  void look();
  void commit();
  void committed(const std::string& error);
  void release();
  void finish(std::optional<Error> error);
  Error still_busy();
  const Group* shared_group();

  Worker& home_;
  std::uint64_t id_;
  Order order_;
  Commit commit_;
  Over over_;
  State state_ = State::Trying;
  std::vector<Login> logins_;  // yet to be tried; the last one is
  std::optional<HostRound> round_;
  std::unique_ptr<SideConnection> probe_;
  Outcome outcome_;
  Time held_since_{};
  net::Timer timer_;
};

}  // namespace pgweir
