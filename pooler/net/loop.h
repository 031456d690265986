// pooler/net/loop.h - one thread's time, timers and connections.
//
// Everything but post() belongs to the loop's own thread. Nothing here is a singleton: the simulator gives
// the same code loops on virtual time (tests/sim).
#pragma once

#include <cstdint>
#include <functional>
#include <memory>
#include <string>

#include "pooler/base/error.h"
#include "pooler/base/time.h"
#include "pooler/net/stream.h"
#include "pooler/net/timer_heap.h"

namespace pgweir::net {

// Where to connect to or to listen on. `host` is a name, an IPv4 or IPv6 address (without brackets), or, if
// it begins with '/', the path of a unix socket itself (then port is ignored).
struct Endpoint {
  std::string host;
  std::uint16_t port = 0;
  bool is_unix() const { return !host.empty() && host.front() == '/'; }
  friend bool operator==(const Endpoint&, const Endpoint&) = default;
};

class Acceptor {
 public:
  virtual ~Acceptor() = default;
  // A new connection; reads are on and bytes come as soon as set_handler() was called, which must be done
  // before this call returns.
  virtual void on_accept(std::unique_ptr<Stream> stream) = 0;
  // No descriptor or memory for a waiting connection. The listener tries again by itself 100 ms later.
  virtual void on_accept_failed(const std::string& /*why*/) {}
};

// Destroying it stops listening.
class Listener {
 public:
  virtual ~Listener() = default;
  // Those that the kernel has accepted for it; when it is destroyed they are reset.
  virtual void accept_rest() {}
};

// TCP_NODELAY is always on.
struct SocketOptions {
  Keepalive keepalive;
  // How long the peer's machine may acknowledge nothing, SYN included, or answer no question whether it is
  // there, by and large: the kernel does not look all the time. 0: as the kernel will.
  std::chrono::milliseconds silence_max{15'000};
};

class Loop {
 public:
  static constexpr std::chrono::milliseconds kHeadStart{250};

  virtual ~Loop() = default;

  // Time never goes back. Precise to the microsecond, cheap (no system call); while one read is being dealt
  // with it stands still.
  Time now() { return moment_ != Time{} ? moment_ : clock(); }

  virtual void arm(Timer& timer, Time at) = 0;  // armed again: moves
  virtual void disarm(Timer& timer) = 0;        // not armed: nothing happens

  // Resolves the name anew (never on this thread), tries its addresses in order, those of IPv6 and of IPv4 as
  // two queues side by side (the second one begins kHeadStart later, or when the first has failed), and tells
  // `handler`: on_connected, or on_closed with the reason ("connect to db:5432: connection refused (tried 2
  // addresses)"). No deadline of its own: the caller's timer calls reset().
  virtual std::unique_ptr<Stream> connect(const Endpoint& to, Handler& handler,
                                          SocketOptions options = {}) = 0;

  // Takes over a socket that listens already (see net/listen.h). Several loops share one by dup() of it.
  virtual std::unique_ptr<Listener> listen(int fd, Acceptor& acceptor) = 0;

  virtual std::unique_ptr<Stream> adopt(std::unique_ptr<Detached> connection, Handler& handler) = 0;

  // From now on no stream's close(), of before or to come, waits for its peer longer than this; for a process
  // that is told to end at once. Does nothing where close() waits for nobody.
  static constexpr std::chrono::milliseconds kLastWords{100};
  virtual void hurry() {}

  // Runs `task` on this loop's thread, in order of posting. The only call that any thread may make.
  virtual void post(std::function<void()> task) = 0;

  // Runs `work` on a helper thread and then `done` on this loop: for key derivation and files. Neither may
  // throw.
  virtual void offload(std::function<void()> work, std::function<void()> done) = 0;

 protected:
  virtual Time clock() = 0;
  Time moment_{};  // what now() says until somebody resets it; the epoch: ask the clock
};

}  // namespace pgweir::net
