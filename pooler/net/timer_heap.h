// pooler/net/timer_heap.h - all timers of one loop in one heap.
//
// A Timer is a member of whoever waits (40 bytes, no allocation per arming) and disarms itself when
// destroyed.
#pragma once

#include <cstddef>
#include <vector>

#include "pooler/base/check.h"
#include "pooler/base/time.h"

namespace pgweir::net {

class TimerHeap;

class Timer {
 public:
  using Fire = void (*)(void* owner);
  Timer(void* owner, Fire fire) : owner_(owner), fire_(fire) {}
  ~Timer();
  Timer(const Timer&) = delete;
  Timer& operator=(const Timer&) = delete;
  bool armed() const { return heap_ != nullptr; }
  Time at() const { return at_; }  // meaningful while armed

 private:
  friend class TimerHeap;
  void* owner_;
  Fire fire_;
  TimerHeap* heap_ = nullptr;
  std::size_t index_ = 0;
  Time at_{};
};

class TimerHeap {
 public:
  TimerHeap() = default;
  ~TimerHeap();
  TimerHeap(const TimerHeap&) = delete;
  TimerHeap& operator=(const TimerHeap&) = delete;
  void arm(Timer& timer, Time at);
  void disarm(Timer& timer);
  bool empty() const { return heap_.empty(); }
  Time next() const { return heap_.empty() ? kNever : heap_.front()->at_; }
  // Fires, in order of time, every timer that is due at `now`. One that is armed meanwhile for a time <= now
  // is put off to a microsecond after `now` (at() says so), so that a run ends.
  void run(Time now);

 private:
  void sift_up(std::size_t index);
  void sift_down(std::size_t index);
  void place(std::size_t index, Timer* timer);
  std::vector<Timer*> heap_;
  Time run_until_ = Time::min();  // while run() is at work: its `now`
};

}  // namespace pgweir::net
