// pooler/host_seek.h - looks for another primary while the present one answers nothing.
//
//   Asking ---> Looking ---> over
//      +------------^
//
// The processes of a host may stand still while its kernel acknowledges all that comes: its connections live,
// and say nothing. So where an answer is awaited for long and there are other hosts, the host is asked by a
// login of its own. One that is merely busy says something within server.silence_max; then all stays as it
// is. Else the others are asked what they are, as long as answers are awaited; when one of them is the
// primary, the backend is there, and what was awaited of the silent one is given up.
//
// Its logins stand beside the limits of the backend, one at a time.
#pragma once

#include <memory>
#include <string>
#include <vector>

#include "pooler/backend_hosts.h"
#include "pooler/net/loop.h"
#include "pooler/server_login.h"

namespace pgweir {

class Server;
class SideConnection;
class Worker;

class HostSeek {
 public:
  static constexpr std::chrono::seconds kLookAgain{1};
  static constexpr std::chrono::seconds kLookPatience{2};  // with each of the others

  // Of a backend for which a primary is wanted and silence_max is set; goes on as long as its worker awaits
  // an answer of this server's host.
  HostSeek(Worker& worker, const Server& server);
  ~HostSeek();
  HostSeek(const HostSeek&) = delete;
  HostSeek& operator=(const HostSeek&) = delete;

  // Whether there are other hosts one of which could be the primary.
  static bool possible(const Worker& worker, const Server& server);

  const std::string& backend() const { return backend_; }
  const net::Endpoint& host() const { return suspect_; }
  bool over() const { return state_ == State::Over; }
  Time over_since() const { return over_since_; }

 private:
  enum class State : std::uint8_t { Asking, Looking, Over };
  void connect(const net::Endpoint& host);
  void asked(HostRole role);
  void suspect_is_silent();
  void look();
  void ask_next();
  void end();

  Worker& worker_;
  const std::string backend_;
  const net::Endpoint suspect_;
  const ServerCredentials credentials_;
  const std::string database_;
  const bool plain_refused_;
  State state_ = State::Asking;
  std::unique_ptr<HostRound> round_;   // when the look began
  std::vector<net::Endpoint> others_;  // yet to be asked; the last one is
  std::unique_ptr<SideConnection> login_;
  Time over_since_{};
  net::Timer timer_;
};

}  // namespace pgweir
