// pooler/heartbeat.h - finds out whether all loops still turn.
//
// Every `interval` each loop is asked to answer, and `alive` is called when the last of them has. A loop that
// is stuck therefore silences it, and whoever listens (systemd's watchdog) may act. `alive` runs on the first
// loop's thread. Make it and destroy it while the loops do not run; they outlive it.
#pragma once

#include <cstddef>
#include <functional>
#include <vector>

#include "pooler/net/loop.h"

namespace pgweir {

class Heartbeat {
 public:
  Heartbeat(std::vector<net::Loop*> loops, Duration interval, std::function<void()> alive);
  Heartbeat(const Heartbeat&) = delete;
  Heartbeat& operator=(const Heartbeat&) = delete;

 private:
  void ask();
  void answered();

  std::vector<net::Loop*> loops_;
  Duration interval_;
  std::function<void()> alive_;
  std::size_t silent_ = 0;  // loops that have not answered yet
  net::Timer timer_;
};

}  // namespace pgweir
