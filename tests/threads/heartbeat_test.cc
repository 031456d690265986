#include "pooler/heartbeat.h"

#include <atomic>
#include <catch2/catch.hpp>
#include <future>
#include <thread>

#include "pooler/net/uv_loop.h"

using namespace pgweir;
using namespace std::chrono_literals;

TEST_CASE("a heart beats while all loops turn, stops while one is stuck, and goes on after it") {
  const auto first = net::UvLoop::make(), second = net::UvLoop::make();
  std::atomic<int> beats = 0;
  std::promise<void> unstick, stuck;
  {
    Heartbeat heart({first.get(), second.get()}, 1ms, [&] { ++beats; });
    std::thread one([&] { first->run(); }), two([&] { second->run(); });
    const auto reaches = [&](int count) {
      const auto end = std::chrono::steady_clock::now() + 20s;
      while (beats < count && std::chrono::steady_clock::now() < end) std::this_thread::yield();
      return beats >= count;
    };
    CHECK(reaches(3));
    second->post([&] {
      stuck.set_value();
      unstick.get_future().wait();
    });
    stuck.get_future().wait();
    // One question may have been answered just before; then no more come, however long we wait.
    const int before = beats;
    std::this_thread::sleep_for(50ms);
    CHECK(beats <= before + 1);
    unstick.set_value();
    CHECK(reaches(before + 5));
    first->stop();
    second->stop();
    one.join();
    two.join();
  }
}
