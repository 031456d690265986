#include "pooler/backend_breaker.h"

#include <catch2/catch.hpp>

#include <atomic>
#include <string>
#include <thread>
#include <vector>

using namespace pgweir;
using std::chrono::milliseconds;
using std::chrono::seconds;

namespace {
using Outcome = Breaker::Outcome;
using Patience = Breaker::Patience;
using State = Breaker::State;
const Time kStart = Time{} + seconds(1000);
}  // namespace

TEST_CASE("a backend's settings are the rules of its breaker") {
  conf::Backend backend;
  CHECK(breaker_rules(backend, milliseconds(100)) == Breaker::Rules{});
  backend.breaker_failures = 80;
  backend.breaker_volume = 7;
  backend.breaker_window = seconds(20);
  backend.breaker_open_time = seconds(3);
  CHECK(breaker_rules(backend, milliseconds(200)) ==
        Breaker::Rules{80, 7, seconds(20), seconds(3), milliseconds(200), false});
  // Where a primary is wanted it may be another host tomorrow, also behind one name.
  backend.target_session_attrs = conf::SessionAttrs::ReadWrite;
  CHECK(breaker_rules(backend, milliseconds(200)).hosts_change);
  backend.target_session_attrs = conf::SessionAttrs::Standby;
  CHECK_FALSE(breaker_rules(backend, milliseconds(200)).hosts_change);
  backend.target_session_attrs = conf::SessionAttrs::Auto;
  backend.hosts = {"a", "b"};
  CHECK(breaker_rules(backend, milliseconds(200)).hosts_change);
}

TEST_CASE("what opened a breaker is known for as long as it is open") {
  constexpr Breaker::Rules kRules{.least_volume = 4};
  // What happens after so many seconds, and what is to be told then.
  struct Step {
    int after_s;
    Outcome outcome;
    State state;
    std::uint32_t failures, volume;
  };
  const Step steps[] = {
      {0, Outcome::Worked, State::Closed, 0, 0},
      {0, Outcome::Failed, State::Closed, 0, 0},
      {1, Outcome::Failed, State::Closed, 0, 0},
      {2, Outcome::Failed, State::Open, 3, 4},
      {3, Outcome::Died, State::Open, 3, 4},      // those that end one by one opened nothing
      {25, Outcome::Nothing, State::Open, 3, 4},  // the window is empty
      {40, Outcome::Failed, State::Open, 3, 4},   // a probe
      {80, Outcome::Worked, State::Closed, 3, 4},
      {81, Outcome::Failed, State::Closed, 3, 4},
      {81, Outcome::Failed, State::Closed, 3, 4},
      {81, Outcome::Failed, State::Open, 3, 4},  // the next time: of three that failed and one that worked
      {120, Outcome::Worked, State::Closed, 3, 4},
      {140, Outcome::Died, State::Closed, 3, 4},
      {140, Outcome::Died, State::Closed, 3, 4},
      {140, Outcome::Died, State::Closed, 3, 4},
      {140, Outcome::Failed, State::Open, 4, 4},
  };
  NotedBreaker own(1);
  own.core.set_rules(kRules);
  BackendBreaker shared(1);
  shared.set_rules(kRules);
  for (const Step& step : steps) {
    CAPTURE(step.after_s);
    const Time now = kStart + seconds(step.after_s);
    const bool probe = step.after_s >= 40 && shared.view(now).state == State::Open;
    if (probe) {
      REQUIRE(own.core.begin(now, Patience::Waits));
      REQUIRE(shared.begin(now, Patience::Waits).first);
    }
    own.note(step.outcome, now, "refused");
    shared.note(step.outcome, now, "refused");
    for (const BreakerView& view : {own.view(now), shared.view(now)}) {
      CHECK(view.state == step.state);
      CHECK(view.opening_failures == step.failures);
      CHECK(view.opening_volume == step.volume);
    }
  }
  CHECK(own.view(kStart + seconds(160)).volume == 0);
}

TEST_CASE("a change of state is told once") {
  BackendBreaker breaker(1);
  breaker.set_rules({.least_volume = 2});
  CHECK(breaker.closed());
  CHECK_FALSE(breaker.note(Outcome::Failed, kStart, "refused"));
  CHECK(breaker.note(Outcome::Failed, kStart, "refused again") == State::Open);
  CHECK_FALSE(breaker.note(Outcome::Died, kStart, "lost"));
  CHECK_FALSE(breaker.closed());
  breaker.count_rejected();
  const BreakerView view = breaker.view(kStart);
  CHECK(view.state == State::Open);
  CHECK(view.last_error == "lost");
  CHECK(view.rejected == 1);
  CHECK(view.failed == 3);
  CHECK(view.next_try >= kStart + seconds(30));
  const auto [may, changed] = breaker.begin(view.next_try, Patience::FailsFast);
  CHECK(may);
  CHECK(changed == State::HalfOpen);
  CHECK_FALSE(breaker.begin(view.next_try, Patience::FailsFast).first);
  CHECK(breaker.note(Outcome::Worked, view.next_try, {}) == State::Closed);
  CHECK(breaker.closed());
  CHECK(breaker.order(Breaker::Order::Open, kStart) == State::Open);
  CHECK_FALSE(breaker.begin_anew(kStart));  // an order stays
  CHECK(breaker.order(Breaker::Order::Auto, kStart) == State::Closed);
}

TEST_CASE("the servers that a database loses are one witness until a login works") {
  BackendBreaker breaker(1);
  breaker.set_rules({.least_volume = 3});
  for (int i = 0; i < 10; ++i) CHECK_FALSE(breaker.died("acme", kStart, "killed"));
  CHECK(breaker.view(kStart).failures == 1);
  CHECK_FALSE(breaker.died("other", kStart, "lost"));
  CHECK_FALSE(breaker.note(Outcome::Worked, kStart, {}));
  CHECK(breaker.view(kStart).failures == 0);
  const Time later = kStart + seconds(60);
  CHECK_FALSE(breaker.died("acme", later, "killed"));
  CHECK_FALSE(breaker.died("other", later, "lost"));
  CHECK(breaker.closed());
  CHECK(breaker.died("third", later, "lost") == State::Open);
}

TEST_CASE("of many threads one probes") {
  BackendBreaker breaker(1);
  breaker.set_rules({.least_volume = 1});
  breaker.note(Outcome::Failed, kStart, "refused");
  const Time then = breaker.try_at(kStart, Patience::Waits);
  std::atomic<int> probes{0};
  std::vector<std::thread> workers;
  for (int i = 0; i < 4; ++i)
    workers.emplace_back([&] {
      for (int n = 0; n < 1000; ++n) probes += breaker.begin(then, Patience::Waits).first ? 1 : 0;
    });
  for (std::thread& worker : workers) worker.join();
  CHECK(probes == 1);
}

TEST_CASE("a breaker of a user is kept as long as it knows something") {
  BreakerBook<std::string> book;
  const auto breaker = std::make_shared<NotedBreaker>(1);
  breaker->core.set_rules({.least_volume = 2});
  breaker->note(Outcome::Failed, kStart, "no");
  book.keep("bad", breaker, kStart);
  CHECK(book.find("bad") == breaker);
  CHECK_FALSE(book.find("other"));
  // Names that are tried once each are forgotten as fast as they come.
  Time now = kStart;
  for (int i = 0; i < 10'000; ++i) {
    now += milliseconds(100);
    const auto once = std::make_shared<NotedBreaker>(1);
    once->note(Outcome::Failed, now, "no");
    book.keep(std::to_string(i), once, now);
    CHECK(book.kept().size() <= 300);
  }
  CHECK_FALSE(book.find("bad"));
}
