// pooler/net/visit.h - short visits to a socket that block, each with a deadline, for a command that looks
// and exits. Never on a thread that runs a loop.
#pragma once

#include <chrono>
#include <cstdint>
#include <string>
#include <vector>

#include "pooler/base/error.h"
#include "pooler/net/loop.h"

namespace pgweir::net {

using Patience = std::chrono::milliseconds;

// The addresses of a name, as literals, each once. One that is looked up for too long is left behind on a
// thread.
Expected<std::vector<std::string>> resolve(const std::string& name, Patience patience);

// A connected socket, which closes itself.
class Visit {
 public:
  // `to` has a literal address, or is a unix socket.
  static Expected<Visit> to(const Endpoint& to, Patience patience);
  ~Visit();
  Visit(Visit&& other) noexcept;
  Visit& operator=(Visit&&) = delete;

  // Sends, and answers what comes back until there are `enough` bytes, it ends, or the time is over.
  std::string ask(Bytes request, std::size_t enough, Patience patience);

  struct Certificate {
    std::string subject;
    std::int64_t not_before_s = 0, not_after_s = 0;  // since 1970
    std::string chain_error;                         // empty: somebody trusted has signed it
    bool name_fits = false;
  };
  // Shakes hands as a client that takes any certificate, and tells of it. `ca_file`: who is trusted; empty:
  // whom the system trusts.
  Expected<Certificate> shake_hands(const std::string& host, const std::string& ca_file, Patience patience);

 private:
  explicit Visit(int fd) : fd_(fd) {}
  int fd_;
};

// Of the first certificate in a PEM file; neither its name nor who signed it is looked at.
Expected<Visit::Certificate> certificate_in(const std::string& file);

}  // namespace pgweir::net
