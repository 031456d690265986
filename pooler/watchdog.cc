#include "pooler/watchdog.h"

#include <sys/syscall.h>
#include <unistd.h>

#include <utility>

#include "pooler/base/check.h"

namespace pgweir {

namespace {
constexpr std::chrono::milliseconds kStackPatience{200};
}  // namespace

StallCount::Verdict StallCount::tick(bool answered) {
  if (answered) return std::exchange(ticks_, 0) >= told_ ? Verdict::Back : Verdict::Turns;
  ++ticks_;
  if (ticks_ == dead_) return Verdict::Dead;
  return ticks_ == told_ ? Verdict::Stalled : Verdict::Turns;
}

Watchdog::Watchdog(std::vector<net::Loop*> loops, Times times, Reports reports)
    : loops_(std::move(loops)), times_(times), reports_(std::move(reports)) {
  PGWEIR_CHECK(times.tick.count() > 0 && times.told_after >= times.tick &&
               times.dead_after > times.told_after);
  prepare_stacks();
  const auto ticks = [&times](std::chrono::milliseconds time) {
    return static_cast<std::uint32_t>(time / times.tick);
  };
  for (std::size_t i = 0; i < loops_.size(); ++i)
    watched_.push_back(
        std::make_shared<Watched>(StallCount(ticks(times.told_after), ticks(times.dead_after))));
  thread_ = std::thread([this] { watch(); });
}

Watchdog::~Watchdog() {
  {
    const std::lock_guard<std::mutex> lock(mutex_);
    end_ = true;
  }
  ended_.notify_one();
  thread_.join();
}

void Watchdog::watch() {
  const auto ask = [this](std::size_t index) {
    loops_[index]->post([watched = watched_[index]] {
      watched->thread.store(static_cast<pid_t>(::syscall(SYS_gettid)));
      watched->answered.store(true);
    });
  };
  std::unique_lock<std::mutex> lock(mutex_);
  for (std::size_t i = 0; i < loops_.size(); ++i) ask(i);
  while (!ended_.wait_for(lock, times_.tick, [this] { return end_; })) {
    if (resting_.load()) continue;
    for (std::size_t i = 0; i < loops_.size(); ++i) {
      // A loop that stands still is asked once: its answers would come together later.
      const bool answered = watched_[i]->answered.exchange(false);
      if (answered) ask(i);
      if (watched_[i]->thread.load() == 0) continue;
      const std::uint32_t ticks = watched_[i]->count.ticks();
      switch (watched_[i]->count.tick(answered)) {
        case StallCount::Verdict::Turns: break;
        case StallCount::Verdict::Stalled: reports_.stalled(stall(i)); break;
        case StallCount::Verdict::Dead: reports_.dead(stall(i)); break;
        case StallCount::Verdict::Back: reports_.back({i, times_.tick * ticks, {}}); break;
      }
    }
  }
}

Watchdog::Stall Watchdog::stall(std::size_t index) const {
  const Watched& watched = *watched_[index];
  return {index, times_.tick * watched.count.ticks(), stack_of(watched.thread.load(), kStackPatience)};
}

}  // namespace pgweir
