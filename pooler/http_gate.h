// pooler/http_gate.h - lets those through who may read, as http_access.h says.
//
// Passwords are checked one at a time on a helper thread, so that no flood of them takes more than that, and
// the one that fitted last is remembered: the status page asks again and again. Lives on the first worker's
// thread.
#pragma once

#include <cstddef>
#include <cstdint>
#include <deque>
#include <functional>
#include <memory>
#include <string>

#include "pooler/http_access.h"
#include "pooler/http_server.h"
#include "pooler/snapshot.h"
#include "protocol/digest.h"

namespace pgweir {

class Worker;

class HttpGate : public std::enable_shared_from_this<HttpGate> {
 public:
  static constexpr std::size_t kWaitingMax = 16;

  explicit HttpGate(Worker& first) : first_(first) {}
  // Calls `then`, or answers why not; perhaps later.
  void pass(const http::Request& request, http::Page page, const http::Server::Reply& reply,
            std::function<void()> then);

 private:
  struct Check {
    http::Login login;
    std::string address;
    std::uint16_t port;
    protocol::Sha256 digest;
    http::Page page;
    http::Server::Reply reply;
    std::function<void()> then;
  };
  void check_next();
  void tell_refused(const std::string& user, const std::string& address, std::uint16_t port, const char* why);
  void checked(bool fits, const std::shared_ptr<const Snapshot>& snapshot);

  Worker& first_;
  std::deque<Check> checks_;  // the front one is under way
  // What fitted last, while this configuration is in force.
  std::weak_ptr<const Snapshot> known_in_;
  protocol::Sha256 known_{};
};

}  // namespace pgweir
