#include "pooler/watchdog.h"

#include <sys/syscall.h>
#include <unistd.h>

#include <atomic>
#include <catch2/catch.hpp>
#include <cstdio>
#include <future>
#include <string>
#include <thread>

#include "pooler/net/uv_loop.h"

using namespace pgweir;
using namespace std::chrono_literals;

namespace {

std::string written(const Stack& stack) {
  std::FILE* file = std::tmpfile();
  REQUIRE(file != nullptr);
  stack.write(::fileno(file));
  std::rewind(file);
  std::string text;
  for (int c = std::fgetc(file); c != EOF; c = std::fgetc(file)) text.push_back(static_cast<char>(c));
  std::fclose(file);
  return text;
}

template <class Condition>
bool comes_true(Condition condition) {
  const auto end = std::chrono::steady_clock::now() + 20s;
  while (!condition() && std::chrono::steady_clock::now() < end) std::this_thread::sleep_for(1ms);
  return condition();
}

// In calls that ThreadSanitizer knows: to a thread that waits in others it delivers no signal.
void wait_for(const std::atomic<bool>& end) {
  while (!end) std::this_thread::sleep_for(1ms);
}

}  // namespace

TEST_CASE("a loop that does not answer is told once, and is dead after a while") {
  using Verdict = StallCount::Verdict;
  const auto letter = [](Verdict verdict) {
    switch (verdict) {
      case Verdict::Turns: return '.';
      case Verdict::Stalled: return 'S';
      case Verdict::Dead: return 'D';
      case Verdict::Back: return 'B';
    }
    return '?';
  };
  struct Row {
    const char* answers;  // y, n
    const char* verdicts;
  };
  const Row rows[] = {{"yyyyyy", "......"}, {"ynynny", "......"},      {"ynnnny", "...S.B"},
                      {"nnny", "..SB"},     {"nnnnnnnn", "..S..D.."},  {"nnnynnnyy", "..SB..SB."},
                      {"nnnnny", "..S..B"}, {"ynnnnnnny", "...S..D.B"}};
  for (const Row& row : rows) {
    StallCount count(3, 6);
    std::string verdicts;
    for (const char c : std::string(row.answers)) verdicts.push_back(letter(count.tick(c == 'y')));
    INFO(row.answers);
    CHECK(verdicts == row.verdicts);
  }
}

TEST_CASE("the stack of a thread that waits for ever is told") {
  prepare_stacks();
  std::promise<pid_t> running;
  std::atomic<bool> end{false};
  std::thread thread([&] {
    running.set_value(static_cast<pid_t>(::syscall(SYS_gettid)));
    wait_for(end);
  });
  const pid_t id = running.get_future().get();
  for (int i = 0; i < 20; ++i) {
    const Stack stack = stack_of(id, 5s);
    CHECK(stack.depth > 3);
    CHECK(written(stack).find("libc") != std::string::npos);
  }
  end = true;
  thread.join();
  CHECK(stack_of(id, 100ms).depth == 0);  // it is gone
}

TEST_CASE("a watchdog tells which loop stands still, where, and that it turns again") {
  const auto first = net::UvLoop::make(), second = net::UvLoop::make();
  std::atomic<int> stalled{0}, dead{0}, back{0};
  std::atomic<std::size_t> depth{0}, depth_back{99}, which{99};
  std::atomic<std::chrono::milliseconds> lasted{};
  Watchdog::Reports reports;
  reports.stalled = [&](const Watchdog::Stall& stall) {
    which = stall.loop;
    depth = stall.stack.depth;
    lasted = stall.lasted;
    ++stalled;
  };
  reports.dead = [&](const Watchdog::Stall&) { ++dead; };
  reports.back = [&](const Watchdog::Stall& stall) {
    depth_back = stall.stack.depth;
    ++back;
  };
  std::atomic<bool> unstick{false};
  {
    Watchdog watchdog({first.get(), second.get()}, {20ms, 300ms, 900ms}, reports);
    // Loops that have not begun to turn are not watched.
    std::this_thread::sleep_for(400ms);
    CHECK(stalled == 0);
    std::thread one([&] { first->run(); }), two([&] { second->run(); });
    std::promise<void> stuck;
    second->post([&] {
      // It is watched now: its first answer stands in front of this.
      stuck.set_value();
      wait_for(unstick);
    });
    stuck.get_future().wait();
    CHECK(comes_true([&] { return stalled == 1; }));
    CHECK(which == 1);
    CHECK(depth > 3);
    CHECK(lasted.load() == 300ms);
    CHECK(comes_true([&] { return dead == 1; }));
    unstick = true;
    CHECK(comes_true([&] { return back == 1; }));
    CHECK(stalled == 1);
    CHECK(depth_back == 0);
    // A shutdown is no stall.
    watchdog.rest();
    first->stop();
    second->stop();
    one.join();
    two.join();
    std::this_thread::sleep_for(400ms);
    CHECK(stalled == 1);
  }
}
