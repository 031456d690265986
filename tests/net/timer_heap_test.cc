#include "pooler/net/timer_heap.h"

#include <algorithm>
#include <catch2/catch.hpp>
#include <functional>
#include <memory>
#include <optional>
#include <random>
#include <vector>

using namespace pgweir;
using namespace pgweir::net;

namespace {
Time at(std::int64_t us) { return Time(Duration(us)); }

struct Bell {
  explicit Bell(std::function<void()> r = {}) : ring(std::move(r)) {}
  std::function<void()> ring;
  Timer timer{this, [](void* self) { static_cast<Bell*>(self)->ring(); }};
};
}  // namespace

TEST_CASE("timers fire in order of time, and only those that are due") {
  TimerHeap heap;
  std::vector<int> fired;
  Bell bells[5];
  const int due[] = {50, 10, 40, 20, 30};
  for (int i = 0; i < 5; ++i) {
    bells[i].ring = [&fired, us = due[i]] { fired.push_back(us); };
    heap.arm(bells[i].timer, at(due[i]));
  }
  CHECK(heap.next() == at(10));
  heap.run(at(9));
  CHECK(fired.empty());
  heap.run(at(30));
  CHECK(fired == std::vector{10, 20, 30});
  CHECK_FALSE(bells[1].timer.armed());
  CHECK(bells[0].timer.armed());
  heap.run(at(100));
  CHECK(fired == std::vector{10, 20, 30, 40, 50});
  CHECK(heap.empty());
  CHECK(heap.next() == kNever);
}

TEST_CASE("a timer moves when armed again, and goes when disarmed or destroyed") {
  TimerHeap heap;
  int fired = 0;
  Bell bell{[&] { ++fired; }};
  heap.arm(bell.timer, at(10));
  heap.arm(bell.timer, at(20));
  heap.run(at(15));
  CHECK(fired == 0);
  heap.arm(bell.timer, at(12));
  heap.run(at(15));
  CHECK(fired == 1);
  heap.arm(bell.timer, at(30));
  heap.disarm(bell.timer);
  heap.disarm(bell.timer);
  {
    Bell gone{[&] { ++fired; }};
    heap.arm(gone.timer, at(5));
  }
  heap.run(at(100));
  CHECK(fired == 1);
}

TEST_CASE("a run ends although its timers arm themselves again for times gone by") {
  TimerHeap heap;
  int fired = 0;
  Bell bell;
  bell.ring = [&] {
    ++fired;
    heap.arm(bell.timer, at(0));
  };
  heap.arm(bell.timer, at(0));
  heap.run(at(10));
  CHECK(fired == 1);
  CHECK(bell.timer.at() == at(11));
  heap.run(at(11));
  CHECK(fired == 2);
}

TEST_CASE("a timer may disarm or destroy others that are due as well, and itself") {
  TimerHeap heap;
  int fired = 0;
  auto other = std::make_unique<Bell>([&] { ++fired; });
  auto self = std::make_unique<Bell>();
  self->ring = [&] {
    ++fired;
    other.reset();
    self.reset();
  };
  heap.arm(self->timer, at(1));
  heap.arm(other->timer, at(2));
  heap.run(at(10));
  CHECK(fired == 1);
  CHECK(heap.empty());
}

TEST_CASE("timers outlive their heap") {
  Bell bell;
  {
    TimerHeap heap;
    heap.arm(bell.timer, at(1));
  }
  CHECK_FALSE(bell.timer.armed());
}

TEST_CASE("a heap does what a plain list would do") {
  const unsigned seed = GENERATE(range(1u, 41u));
  std::mt19937 chance(seed);
  TimerHeap heap;
  constexpr std::size_t kTimers = 60;
  std::vector<std::unique_ptr<Bell>> bells;
  std::vector<std::optional<Time>> model(kTimers);
  std::vector<std::size_t> fired;
  for (std::size_t i = 0; i < kTimers; ++i) {
    bells.push_back(std::make_unique<Bell>([&fired, i] { fired.push_back(i); }));
  }
  std::int64_t now = 0;
  for (int step = 0; step < 2000; ++step) {
    const std::size_t i = chance() % kTimers;
    switch (chance() % 8) {
      case 0:
        heap.disarm(bells[i]->timer);
        model[i].reset();
        break;
      case 1: {
        now += static_cast<std::int64_t>(chance() % 300);
        fired.clear();
        heap.run(at(now));
        Time last = Time::min();
        for (const std::size_t f : fired) {
          REQUIRE(model[f].has_value());
          REQUIRE(*model[f] <= at(now));
          REQUIRE(*model[f] >= last);
          last = *model[f];
          model[f].reset();
        }
        for (const auto& left : model) REQUIRE((!left || *left > at(now)));
        break;
      }
      default:
        model[i] = at(now + static_cast<std::int64_t>(chance() % 1000));
        heap.arm(bells[i]->timer, *model[i]);
    }
    Time next = kNever;
    for (const auto& m : model) next = std::min(next, m.value_or(kNever));
    REQUIRE(heap.next() == next);
  }
}
