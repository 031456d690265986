// pooler/notify.h - tells the service manager (systemd's sd_notify protocol) how the process is.
//
// A datagram per message to the unix socket that NOTIFY_SOCKET names; no library is needed for that. Sending
// never waits: a manager that does not read misses a message, and clients are served on.
#pragma once

#include <chrono>
#include <optional>
#include <string>
#include <string_view>

#include "pooler/base/error.h"
#include "pooler/base/time.h"

namespace pgweir {

class Notifier {
 public:
  // `address` is a path, or '@' and a name in the abstract namespace; empty: nobody wants to know, and every
  // call does nothing.
  static Expected<Notifier> to(std::string_view address);
  ~Notifier();
  Notifier(Notifier&& other) noexcept;
  Notifier& operator=(Notifier&&) = delete;

  void ready();
  void reloading(Time now);  // ready() ends it
  void stopping();
  void alive();  // the manager's watchdog waits for the next one from now on

 private:
  explicit Notifier(int fd) : fd_(fd) {}
  void send(std::string_view text);
  int fd_;  // -1: nobody wants to know
};

// How long the manager waits for an alive() before it takes the process for dead: WATCHDOG_USEC, if it is
// meant for this process (WATCHDOG_PID). Nothing: it does not wait for any.
std::optional<Duration> watchdog_time(std::string_view usec, std::string_view pid, long own_pid);

}  // namespace pgweir
