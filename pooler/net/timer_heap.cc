#include "pooler/net/timer_heap.h"

#include <algorithm>

namespace pgweir::net {

Timer::~Timer() {
  if (heap_ != nullptr) heap_->disarm(*this);
}

TimerHeap::~TimerHeap() {
  for (Timer* timer : heap_) timer->heap_ = nullptr;
}

void TimerHeap::arm(Timer& timer, Time at) {
  PGWEIR_CHECK(timer.heap_ == nullptr || timer.heap_ == this);
  if (at <= run_until_) at = run_until_ + Duration(1);  // run() must end
  if (timer.heap_ == nullptr) {
    timer.heap_ = this;
    timer.at_ = at;
    heap_.push_back(&timer);
    place(heap_.size() - 1, &timer);
    sift_up(timer.index_);
    return;
  }
  const bool sooner = at < timer.at_;
  timer.at_ = at;
  if (sooner) {
    sift_up(timer.index_);
  } else {
    sift_down(timer.index_);
  }
}

void TimerHeap::disarm(Timer& timer) {
  if (timer.heap_ == nullptr) return;
  PGWEIR_CHECK(timer.heap_ == this && heap_[timer.index_] == &timer);
  const std::size_t hole = timer.index_;
  Timer* last = heap_.back();
  heap_.pop_back();
  timer.heap_ = nullptr;
  if (last == &timer) return;
  place(hole, last);
  sift_up(hole);
  sift_down(last->index_);
}

void TimerHeap::run(Time now) {
  run_until_ = now;
  while (!heap_.empty() && heap_.front()->at_ <= now) {
    Timer* due = heap_.front();
    disarm(*due);
    due->fire_(due->owner_);  // may destroy `due`, and arm or disarm any other
  }
  run_until_ = Time::min();
}

void TimerHeap::sift_up(std::size_t index) {
  Timer* timer = heap_[index];
  while (index > 0) {
    const std::size_t parent = (index - 1) / 2;
    if (heap_[parent]->at_ <= timer->at_) break;
    place(index, heap_[parent]);
    index = parent;
  }
  place(index, timer);
}

void TimerHeap::sift_down(std::size_t index) {
  Timer* timer = heap_[index];
  for (;;) {
    std::size_t child = 2 * index + 1;
    if (child >= heap_.size()) break;
    if (child + 1 < heap_.size() && heap_[child + 1]->at_ < heap_[child]->at_) ++child;
    if (timer->at_ <= heap_[child]->at_) break;
    place(index, heap_[child]);
    index = child;
  }
  place(index, timer);
}

void TimerHeap::place(std::size_t index, Timer* timer) {
  heap_[index] = timer;
  timer->index_ = index;
}

}  // namespace pgweir::net
