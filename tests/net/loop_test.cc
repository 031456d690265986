#include "pooler/net/loop.h"

#include <csignal>
#include <set>
#include <thread>

#include "pooler/net/random.h"
#include "tests/net/help.h"

using namespace pgweir;
using namespace pgweir::net;

TEST_CASE("time goes on and never back") {
  const auto loop = UvLoop::make();
  Time last = loop->now();
  const Time end = last + 2ms;
  int steps = 0;
  while (last < end) {
    const Time now = loop->now();
    REQUIRE(now >= last);
    steps += now > last;
    last = now;
  }
  CHECK(steps > 100);  // microseconds, not milliseconds
}

TEST_CASE("timers of a loop come when they are due, not before, and in order") {
  const auto loop = UvLoop::make();
  struct Bell {
    Loop& loop;
    std::vector<int>& order;
    int delay_ms;
    Time due = loop.now() + std::chrono::milliseconds(delay_ms);
    bool early = false;
    Timer timer{this, [](void* self) {
                  auto* bell = static_cast<Bell*>(self);
                  bell->early = bell->loop.now() < bell->due;
                  bell->order.push_back(bell->delay_ms);
                }};
  };
  std::vector<int> order;
  Bell late{*loop, order, 60}, first{*loop, order, 5}, second{*loop, order, 20}, gone{*loop, order, 8},
      never{*loop, order, 0};
  loop->arm(late.timer, late.due);
  loop->arm(first.timer, first.due);
  loop->arm(gone.timer, gone.due);
  loop->arm(second.timer, second.due);
  loop->arm(never.timer, kNever);
  loop->disarm(gone.timer);
  REQUIRE(drive(*loop, [&] { return order.size() == 3; }));
  CHECK(order == std::vector{5, 20, 60});
  CHECK_FALSE((late.early || first.early || second.early));
}

TEST_CASE("a timer that arms itself for now does not keep sockets from being served") {
  Net net;
  struct Busy {
    Loop& loop;
    int turns = 0;
    Timer timer{this, [](void* self) {
                  auto* busy = static_cast<Busy*>(self);
                  ++busy->turns;
                  busy->loop.arm(busy->timer, busy->loop.now());
                }};
  } busy{*net.loop};
  net.loop->arm(busy.timer, net.loop->now());
  net.door.greet = [](Ear& ear) { ear.echo(); };
  Ear client;
  net.join(client);
  client.stream->write("still there?");
  REQUIRE(net.until([&] { return client.in == "still there?"; }));
  CHECK(busy.turns > 0);
}

TEST_CASE("tasks posted by many threads all run on the loop, each thread's in order") {
  const auto loop = UvLoop::make();
  constexpr int kThreads = 4, kTasks = 5000;
  std::vector<std::vector<int>> seen(kThreads);
  const auto here = std::this_thread::get_id();
  bool elsewhere = false;
  std::vector<std::thread> threads;
  threads.reserve(kThreads);
  for (int t = 0; t < kThreads; ++t) {
    threads.emplace_back([&, t] {
      for (int i = 0; i < kTasks; ++i) {
        loop->post([&, t, i] {
          seen[static_cast<std::size_t>(t)].push_back(i);
          elsewhere = elsewhere || std::this_thread::get_id() != here;
        });
      }
    });
  }
  const auto all_in = [&] {
    return std::all_of(seen.begin(), seen.end(), [](const auto& s) { return s.size() == kTasks; });
  };
  REQUIRE(drive(*loop, all_in));
  for (auto& thread : threads) thread.join();
  for (const auto& s : seen) CHECK(std::is_sorted(s.begin(), s.end()));
  CHECK_FALSE(elsewhere);
}

TEST_CASE("a task may post another, which does not run inside it") {
  const auto loop = UvLoop::make();
  std::string order;
  loop->post([&] {
    loop->post([&] { order += "b"; });
    order += "a";
  });
  REQUIRE(drive(*loop, [&] { return order.size() == 2; }));
  CHECK(order == "ab");
}

TEST_CASE("offloaded work runs on another thread, its end on the loop") {
  const auto loop = UvLoop::make();
  std::thread::id worked, done;
  loop->offload([&] { worked = std::this_thread::get_id(); }, [&] { done = std::this_thread::get_id(); });
  REQUIRE(drive(*loop, [&] { return done != std::thread::id(); }));
  CHECK(done == std::this_thread::get_id());
  CHECK(worked != done);
}

TEST_CASE("stop from another thread, or before run, ends the run; and it can run again") {
  const auto loop = UvLoop::make();
  loop->stop();
  loop->run();
  bool ran = false;
  loop->post([&] { ran = true; });
  REQUIRE(drive(*loop, [&] { return ran; }));
  std::thread other([&] { loop->stop(); });
  loop->run();
  other.join();
}

TEST_CASE("signals arrive on the loop") {
  const auto loop = UvLoop::make();
  int hups = 0, usrs = 0;
  loop->watch_signal(SIGHUP, [&] { ++hups; });
  loop->watch_signal(SIGUSR1, [&] { ++usrs; });
  std::raise(SIGHUP);
  REQUIRE(drive(*loop, [&] { return hups == 1; }));
  std::raise(SIGUSR1);
  REQUIRE(drive(*loop, [&] { return usrs == 1; }));
  CHECK(hups == 1);
}

TEST_CASE("somebody else's socket is watched until the watch goes, which may be inside of its call") {
  const auto loop = UvLoop::make();
  int ends[2];
  REQUIRE(socketpair(AF_UNIX, SOCK_STREAM | SOCK_NONBLOCK, 0, ends) == 0);
  int calls = 0;
  std::unique_ptr<UvLoop::Watch> watch;
  watch = loop->watch(ends[0], UvLoop::Ready::Read, [&] {
    ++calls;
    watch.reset();
  });
  CHECK_FALSE(drive(
      *loop, [&] { return calls > 0; }, 20ms));
  REQUIRE(::write(ends[1], "x", 1) == 1);
  CHECK(drive(*loop, [&] { return calls > 0; }));
  CHECK_FALSE(drive(
      *loop, [&] { return calls > 1; }, 20ms));
  watch = loop->watch(ends[0], UvLoop::Ready::Write, [&] { calls = 10; });
  CHECK(drive(*loop, [&] { return calls == 10; }));
  watch.reset();
  watch = loop->watch(ends[0], UvLoop::Ready::Either, [&] { calls = 20; });
  CHECK(drive(*loop, [&] { return calls == 20; }));
  ::close(ends[1]);
  watch.reset();
  watch = loop->watch(ends[0], UvLoop::Ready::Read, [&] { calls = 30; });
  CHECK(drive(*loop, [&] { return calls == 30; }));
  watch.reset();
  ::close(ends[0]);
}

TEST_CASE("a loop is destroyed with everything still open") {
  Ear client, resolving, closing, written;
  Door door;
  std::unique_ptr<Listener> listener;
  std::unique_ptr<UvLoop::Watch> watch;
  int watched[2];
  REQUIRE(pipe(watched) == 0);
  bool done = false;
  {
    auto loop = UvLoop::make();
    const int fd = open_listener({"127.0.0.1", 0}).value();
    const Endpoint here{"127.0.0.1", bound_port(fd)};
    listener = loop->listen(fd, door);
    client.stream = loop->connect(here, client);
    closing.stream = loop->connect(here, closing);
    written.stream = loop->connect(here, written);
    REQUIRE(drive(*loop, [&] { return door.ears.size() == 3 && closing.connected && written.connected; }));
    watch = loop->watch(watched[0], UvLoop::Ready::Read, [] {});
    resolving.stream = loop->connect({"localhost", here.port}, resolving);
    closing.stream->close();
    written.stream->write(pattern(20'000'000));
    loop->post([&] { done = true; });
    loop->offload([] {}, [&] { done = true; });
    loop->watch_signal(SIGHUP, [] {});
  }
  CHECK_FALSE(done);
  CHECK(client.closed.empty());
  // Dead streams answer, and do nothing.
  client.stream->write("x");
  client.stream->pause_reads();
  client.stream->close();
  client.stream->reset();
  CHECK(written.stream->unsent() == 0);
  CHECK(client.stream->local().host == "");
  watch.reset();
  for (const int end : watched) ::close(end);
}

TEST_CASE("streams and listeners may go before a loop that runs no more") {
  Net net;
  Ear client;
  net.join(client);
  client.stream->write(pattern(20'000'000));
  client.stream.reset();
  net.door.ears.clear();
  net.listener.reset();
  int ran = 0;
  net.loop->post([&] { ++ran; });
  REQUIRE(net.until([&] { return ran == 1; }));
}

TEST_CASE("the system's random numbers differ") {
  SystemRng rng;
  std::set<std::uint64_t> seen;
  for (int i = 0; i < 1000; ++i) seen.insert(rng.u64());
  CHECK(seen.size() == 1000);
  std::string large(100'000, '\0');
  rng.fill(large.data(), large.size());
  CHECK(large.find(std::string(16, '\0')) == std::string::npos);
  rng.fill(nullptr, 0);
}
