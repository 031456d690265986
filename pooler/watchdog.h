// pooler/watchdog.h - a thread that sees whether all loops turn: tells where one stands that has not for a
// second, and ends the process when it has not for too long. A loop serves all tenants that are at home on
// it.
//
// Every tick each loop is asked to answer; how long it has not is counted in ticks, so that a process that
// was stopped as a whole (SIGSTOP, a debugger, a machine that slept) finds nobody guilty. A loop is watched
// from its first answer on. Heartbeat does the same for the service manager, with a loop's timer: this one
// needs no loop, and knows which of them it is.
#pragma once

#include <sys/types.h>

#include <atomic>
#include <chrono>
#include <condition_variable>
#include <cstdint>
#include <functional>
#include <memory>
#include <mutex>
#include <thread>
#include <vector>

#include "pooler/net/loop.h"
#include "pooler/stack_of.h"

namespace pgweir {

// Of one loop. Pure.
class StallCount {
 public:
  enum class Verdict : std::uint8_t {
    Turns,
    Stalled,  // told once, until it turns again
    Dead,
    Back,  // turns again after it was told
  };
  StallCount(std::uint32_t told_after, std::uint32_t dead_after) : told_(told_after), dead_(dead_after) {}
  Verdict tick(bool answered);
  std::uint32_t ticks() const { return ticks_; }  // without an answer

 private:
  std::uint32_t told_, dead_;
  std::uint32_t ticks_ = 0;
};

class Watchdog {
 public:
  struct Times {
    std::chrono::milliseconds tick{250}, told_after{1'000}, dead_after{10'000};
  };
  struct Stall {
    std::size_t loop = 0;
    std::chrono::milliseconds lasted{};
    Stack stack;  // empty when it turns again
  };
  // Called on the watchdog's thread. `dead` does not return, in a process that means it.
  struct Reports {
    std::function<void(const Stall&)> stalled, dead, back;
  };
  // The loops outlive it.
  Watchdog(std::vector<net::Loop*> loops, Times times, Reports reports);
  ~Watchdog();
  // The loops are going to end: silence means nothing from now on.
  void rest() { resting_.store(true); }

 private:
  struct Watched {
    explicit Watched(StallCount counts) : count(counts) {}
    StallCount count;
    std::atomic<bool> answered{false};
    std::atomic<pid_t> thread{0};  // 0: it has never answered
  };
  void watch();
  Stall stall(std::size_t index) const;

  std::vector<net::Loop*> loops_;
  Times times_;
  Reports reports_;
  std::vector<std::shared_ptr<Watched>> watched_;  // shared with questions that are not answered yet
  std::atomic<bool> resting_{false};
  std::mutex mutex_;
  std::condition_variable ended_;
  bool end_ = false;  // under mutex_
  std::thread thread_;
};

}  // namespace pgweir
