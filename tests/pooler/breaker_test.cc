#include "pooler/breaker.h"

#include <catch2/catch.hpp>

#include <string>

#include "pooler/backend_breaker.h"
#include "pooler/retry.h"

using namespace pgweir;
using std::chrono::milliseconds;
using std::chrono::seconds;

namespace {

using State = Breaker::State;
using Order = Breaker::Order;
using Outcome = Breaker::Outcome;
using Patience = Breaker::Patience;

constexpr Breaker::Rules kRules{.least_volume = 10};
const Time kStart = Time{} + seconds(1000);

Breaker breaker(const Breaker::Rules& rules = kRules, std::uint64_t seed = 1) {
  Breaker made(seed);
  made.set_rules(rules);
  return made;
}

// "wwfC": a login works, another one, one fails; capitals are states that must hold there.
void play(Breaker& breaker, const std::string& outcomes, Time now) {
  for (const char c : outcomes) {
    switch (c) {
      case 'w': breaker.note(Outcome::Worked, now); break;
      case 'a': breaker.note(Outcome::Answered, now); break;
      case 'f': breaker.note(Outcome::Failed, now); break;
      case 'd': breaker.note(Outcome::Died, now); break;
      case 'n': breaker.note(Outcome::Nothing, now); break;
      case 'C': CHECK(breaker.state() == State::Closed); break;
      case 'H': CHECK(breaker.state() == State::HalfOpen); break;
      case 'O': CHECK(breaker.state() == State::Open); break;
      default: FAIL("no such letter: " << c);
    }
  }
}

Breaker opened(Time at) {
  Breaker made = breaker();
  play(made, "ffffffffffO", at);
  return made;
}

// When it lets one through; looks every millisecond.
Duration first_try(const Breaker& breaker, Time from, Patience patience) {
  for (Time now = from;; now += milliseconds(1))
    if (breaker.try_at(now, patience) <= now) return now - from;
}

}  // namespace

TEST_CASE("a breaker opens by rate and volume, and by nothing else") {
  const char* const rows[] = {
      "fffffffffCfO",               // the tenth
      "wwwwwfffffO",                // half of ten
      "wwwwwwffffCf",               // ten, and four failed; then five of eleven
      "wwwwwwffffCfCfO",            // six of twelve
      "aaaaaaaaaaaaaaaaaaaaCffff",  // answers are neither
      "ffffffffaaaaaaaaaaaCfCfO",
      "dddddddddCdO",         // servers that die
      "dddddddddCwC",         // but that a login works shows that Postgres lives
      "dddddddddwdddddddwC",  // ... however often
      "dddddddddadddddddaC",  // and so does that one is answered
      "fffffdddddO",
      "fffffddddwdddC",  // five failures stay, of nine
      "nnnnnnnnnnnnC",
  };
  for (const char* row : rows) {
    INFO(row);
    Breaker one = breaker();
    play(one, row, kStart);
  }
}

TEST_CASE("what is older than the window does not count") {
  Breaker one = breaker();
  play(one, "fffffffff", kStart);
  CHECK(one.failures(kStart) == 9);
  CHECK(one.failures(kStart + seconds(9)) == 9);
  CHECK(one.failures(kStart + seconds(10)) == 0);
  play(one, "fC", kStart + seconds(10));
  CHECK(one.volume(kStart + seconds(10)) == 1);
  // One a second makes ten in ten seconds, and never eleven.
  Breaker slow = breaker({.least_volume = 11});
  for (int i = 0; i < 100; ++i) play(slow, "fC", kStart + seconds(i));
  // A long time is nothing special.
  play(one, "C", kStart + seconds(100'000));
  CHECK(one.volume(kStart + seconds(100'000)) == 0);
}

TEST_CASE("who fails fast is let through after the open time, once") {
  for (std::uint64_t seed = 0; seed < 50; ++seed) {
    Breaker one = breaker(kRules, seed);
    play(one, "ffffffffffO", kStart);
    CHECK_FALSE(one.begin(kStart, Patience::FailsFast));
    const Duration waited = first_try(one, kStart, Patience::FailsFast);
    CHECK(waited >= kRules.open_time);
    CHECK(waited <= kRules.open_time + kRules.open_time / Breaker::kJitterPart + milliseconds(1));
    const Time then = kStart + waited;
    CHECK(one.begin(then, Patience::FailsFast));
    play(one, "H", then);
    CHECK_FALSE(one.begin(then, Patience::FailsFast));
    CHECK_FALSE(one.begin(then, Patience::Waits));
    if (seed % 2 == 0) {
      play(one, "wC", then);
      CHECK(one.begin(then, Patience::FailsFast));
      CHECK(one.failures(then) == 0);  // it begins anew
    } else {
      play(one, "fO", then);
      CHECK(first_try(one, then, Patience::FailsFast) >= kRules.open_time);
    }
    CHECK(one.opened() == 1);
  }
}

TEST_CASE("the jitter differs from seed to seed") {
  Breaker a = breaker(kRules, 1), b = breaker(kRules, 2), again = breaker(kRules, 1);
  for (Breaker* each : {&a, &b, &again}) play(*each, "ffffffffffO", kStart);
  CHECK(a.try_at(kStart, Patience::FailsFast) != b.try_at(kStart, Patience::FailsFast));
  CHECK(a.try_at(kStart, Patience::FailsFast) == again.try_at(kStart, Patience::FailsFast));
}

TEST_CASE("who waits probes soon and ever less often, one at a time") {
  Breaker one = opened(kStart);
  Time now = kStart;
  int probes = 0;
  Duration longest{};
  while (now < kStart + seconds(60)) {
    const Duration pause = first_try(one, now, Patience::Waits);
    longest = std::max(longest, pause);
    now += pause;
    CHECK(one.begin(now, Patience::Waits));
    CHECK_FALSE(one.begin(now, Patience::Waits));
    ++probes;
    play(one, "fO", now);
  }
  CHECK(longest <= Duration(kLongestRetry) + milliseconds(1));
  CHECK(longest >= Duration(kLongestRetry) / 2);
  CHECK(probes > 30);
  CHECK(probes < 120);
  // When Postgres is back, everybody is at once.
  now += first_try(one, now, Patience::Waits);
  CHECK(one.begin(now, Patience::Waits));
  play(one, "wC", now);
  CHECK(one.try_at(now, Patience::FailsFast) <= now);
}

TEST_CASE("a probe that is lost is not waited for") {
  Breaker one = opened(kStart);
  Time now = one.try_at(kStart, Patience::Waits);
  CHECK(one.begin(now, Patience::Waits));
  CHECK(first_try(one, now, Patience::Waits) == Duration(Breaker::kProbePatience));
  CHECK(first_try(one, now, Patience::FailsFast) == kRules.open_time);
  // Given up by us: the next may try soon.
  play(one, "nO", now);
  CHECK(first_try(one, now, Patience::Waits) < seconds(1));
}

TEST_CASE("a refusal that only one user hears closes a breaker") {
  Breaker one = opened(kStart);
  const Time now = one.try_at(kStart, Patience::Waits);
  CHECK(one.begin(now, Patience::Waits));
  play(one, "HaC", now);
}

TEST_CASE("servers that die while it is open do not keep it open") {
  Breaker one = opened(kStart);
  const Time until = one.try_at(kStart, Patience::FailsFast);
  play(one, "dddO", kStart + seconds(20));
  CHECK(one.try_at(kStart + seconds(20), Patience::FailsFast) == until);
}

TEST_CASE("orders go before what happens") {
  Breaker one = breaker();
  one.order(Order::Open, kStart);
  CHECK(one.state() == State::Open);
  CHECK(one.opened() == 1);
  CHECK(one.try_at(kStart + seconds(10'000), Patience::Waits) == kNever);
  CHECK_FALSE(one.begin(kStart + seconds(10'000), Patience::Waits));
  play(one, "wO", kStart);
  one.order(Order::Close, kStart);
  play(one, "ffffffffffffffffffffC", kStart);
  CHECK(one.begin(kStart, Patience::FailsFast));
  one.order(Order::Auto, kStart);
  play(one, "ffffffffCffO", kStart);
  one.order(Order::Auto, kStart);
  play(one, "C", kStart);
}

TEST_CASE("rules can change") {
  Breaker one = breaker();
  play(one, "fffffffff", kStart);
  one.set_rules({.failures_percent = 0, .least_volume = 1});
  play(one, "ffffffffffC", kStart);
  CHECK(one.failed() == 19);
  one.set_rules({.failures_percent = 100, .least_volume = 5, .window = seconds(60)});
  play(one, "ffffC", kStart);
  play(one, "fO", kStart + seconds(50));
}

TEST_CASE("what has happened long ago is forgotten") {
  Breaker one = breaker();
  CHECK(one.quiet(kStart));
  play(one, "f", kStart);
  CHECK_FALSE(one.quiet(kStart + seconds(9)));
  CHECK(one.quiet(kStart + seconds(10)));
  Breaker open = opened(kStart);
  CHECK_FALSE(open.quiet(kStart + seconds(29)));
  CHECK(open.quiet(kStart + seconds(34)));
  open.order(Order::Open, kStart);
  CHECK_FALSE(open.quiet(kStart + seconds(1000)));
}

TEST_CASE(
    "where another host may have taken over, who fails fast makes it looked for, and waits for nothing") {
  Breaker::Rules rules = kRules;
  rules.hosts_change = true;
  Time now = kStart;
  Breaker one = breaker(rules);
  CHECK_FALSE(one.probes_early());
  play(one, "ffffffffffO", now);
  // Again and again, at most a second apart, as for those who wait.
  for (int i = 0; i < 20; ++i) {
    const Duration patient = first_try(one, now, Patience::Waits);
    const Duration hasty = first_try(one, now, Patience::FailsFast);
    CHECK(hasty == patient);
    CHECK(hasty <= seconds(1));
    now += hasty;
    CHECK_FALSE(one.begin(now - milliseconds(1), Patience::FailsFast));
    CHECK(one.begin(now, Patience::FailsFast));
    CHECK(one.probes_early());
    CHECK_FALSE(one.begin(now, Patience::FailsFast));  // one at a time
    play(one, i < 19 ? "HfO" : "HwC", now);
    CHECK_FALSE(one.probes_early());
  }
  // One that is lost in the network stops nobody.
  Breaker lost = breaker(rules);
  play(lost, "ffffffffffO", kStart);
  now = kStart + first_try(lost, kStart, Patience::FailsFast);
  CHECK(lost.begin(now, Patience::FailsFast));
  CHECK(first_try(lost, now, Patience::FailsFast) == Duration(Breaker::kProbePatience));
  // When the open time is over the request is the probe, and waits, as where there is one host.
  Breaker rested = breaker(rules);
  play(rested, "ffffffffffO", kStart);
  CHECK(rested.begin(kStart + 2 * rules.open_time, Patience::FailsFast));
  CHECK_FALSE(rested.probes_early());
  Breaker alone = opened(kStart);
  CHECK(alone.begin(kStart + first_try(alone, kStart, Patience::Waits), Patience::Waits));
  CHECK_FALSE(alone.probes_early());
  // An order is an order.
  one.order(Order::Open, now);
  CHECK(one.try_at(now, Patience::FailsFast) == kNever);
}

TEST_CASE("an order for a database is its users' alone, and Auto takes it back") {
  BreakerOrders orders;
  CHECK(orders.of("main", "app") == Order::Auto);
  orders.give("main", "app", Order::Open);
  CHECK(orders.of("main", "app") == Order::Open);
  CHECK(orders.of("main", "other") == Order::Auto);
  CHECK(orders.of("spare", "app") == Order::Auto);
  orders.give("main", "app", Order::Close);
  CHECK(orders.of("main", "app") == Order::Close);
  CHECK(orders.given().size() == 1);
  orders.give("main", "other", Order::Auto);
  CHECK(orders.given().size() == 1);
  orders.give("main", "app", Order::Auto);
  CHECK(orders.given().empty());
}

// What clients are promised after an outage of any length: 1.5 s.
TEST_CASE("a Postgres that is back is found within a second") {
  for (const auto down : {seconds(1), seconds(10), seconds(60), seconds(3600)})
    for (std::uint64_t dice = 0; dice < 10'000'000; dice += 9'973)
      CHECK(retry_pause(down, milliseconds(100), dice) <= Duration(seconds(1)));
}

TEST_CASE("retries are soon after a short outage, and have a bound") {
  CHECK(retry_pause(Duration::zero(), milliseconds(100), 0) == Duration(milliseconds(50)));
  CHECK(retry_pause(seconds(5), milliseconds(100), 0) == Duration(milliseconds(250)));
  for (std::uint64_t dice = 0; dice < 10'000; dice += 7) {
    CHECK(retry_pause(std::chrono::hours(1), milliseconds(100), dice) <= Duration(kLongestRetry));
    CHECK(retry_pause(std::chrono::hours(1), milliseconds(100), dice) >= Duration(kLongestRetry) / 2);
    CHECK(retry_pause(seconds(5), seconds(10), dice) <= Duration(seconds(10)));
  }
}
