#include "tiers/fleet_rate.h"

#include <algorithm>
#include <catch2/catch.hpp>
#include <random>
#include <vector>

#include "tiers/rate.h"

using namespace pgweir;
using namespace pgweir::tiers;
using namespace std::chrono_literals;

namespace {

constexpr Time kStart{std::chrono::hours(1000)};

// What the script in Redis does.
struct Bucket {
  double spent = 0;
  Time at = kStart;
  FleetGrant take(const FleetAsk& ask, Time now) {
    const double rate = ask.per_minute / 60e6;
    spent = std::max(0.0, spent - static_cast<double>((now - at).count()) * rate);
    at = now;
    spent = std::clamp(spent + static_cast<double>(ask.charge), 0.0, 2.0 * ask.burst);
    const double free = std::max(0.0, ask.burst - spent + 1e-6);
    const auto granted = static_cast<std::uint32_t>(std::min<double>(ask.want, free));
    spent += granted;
    return {granted,
            granted > 0 ? Duration() : Duration(static_cast<std::int64_t>((spent + 1 - ask.burst) / rate))};
  }
};

// A process: its own bucket and its share of the fleet's, whose answers take a while.
struct Process {
  Process(std::uint32_t per_minute, std::uint32_t burst)
      : local(per_minute, burst, kStart), share(per_minute, burst) {}
  Rate local;
  FleetRate share;
  std::optional<FleetGrant> answer;
  Time answer_at = kNever;
  std::uint64_t begun = 0, asked = 0;

  bool try_one(Time now) {
    if (!share.open() || !local.take(now)) return false;
    share.spend(1, now);
    ++begun;
    return true;
  }
  void turn(Bucket& bucket, Time now, Duration delay) {
    if (answer && answer_at <= now) {
      share.answered(*std::exchange(answer, {}), now);
      answer_at = kNever;
    }
    const auto ask = share.ask(now);
    if (!ask) return;
    ++asked;
    answer = bucket.take(*ask, now);
    answer_at = now + delay;
  }
};

}  // namespace

TEST_CASE("tokens are fetched in batches, and what is not used goes back") {
  FleetRate share(6000, 100);
  CHECK(share.batch() == 10);
  CHECK(share.open());
  CHECK_FALSE(share.ask(kStart));
  CHECK(share.ask_at() == kNever);
  share.spend(1, kStart);
  auto ask = share.ask(kStart);
  REQUIRE(ask);
  CHECK(ask->charge == 1);
  CHECK(ask->want == 10);
  CHECK(ask->per_minute == 6000);
  CHECK(ask->burst == 100);
  CHECK_FALSE(share.ask(kStart));  // one at a time
  share.answered({10, {}}, kStart);
  for (int i = 0; i < 4; ++i) share.spend(1, kStart);
  CHECK_FALSE(share.ask(kStart));  // six are left
  share.spend(1, kStart);
  ask = share.ask(kStart);
  REQUIRE(ask);
  CHECK(ask->charge == 0);
  share.answered({10, {}}, kStart);
  CHECK(share.ask_at() == kStart + 1s);
  ask = share.ask(kStart + 1s);
  REQUIRE(ask);
  CHECK(ask->charge == -15);
  CHECK(ask->want == 0);
  share.answered({}, kStart + 1s);
  CHECK(share.open());
  CHECK_FALSE(share.ask(kStart + 1h));
  CHECK(share.ask_at() == kNever);
}

TEST_CASE("who is denied waits, and asks again by itself") {
  FleetRate share(60, 5);
  share.spend(7, kStart);
  CHECK(share.ask(kStart)->charge == 5);  // never more than a burst
  share.answered({0, 400ms}, kStart);
  CHECK_FALSE(share.open());
  CHECK(share.ask_at() == kStart + 400ms);
  CHECK_FALSE(share.ask(kStart + 399ms));
  CHECK(share.ask(kStart + 400ms)->want == 4);
  CHECK_FALSE(share.open());
  share.answered({1, {}}, kStart + 401ms);
  CHECK(share.open());
  // Neither at once nor in a year.
  Time now = kStart + 1h;
  for (const auto& [wait, pause] :
       std::vector<std::pair<Duration, Duration>>{{0s, 50ms}, {-5s, 50ms}, {8760h, 1s}}) {
    share.spend(1, now);
    REQUIRE(share.ask(now));
    share.answered({0, wait}, now);
    CHECK(share.open_at() == now + pause);
    now += 1h;
    REQUIRE(share.ask(now));
    share.answered({1, {}}, now);
    now += 1h;
  }
}

TEST_CASE("a silent fleet leaves the process to its own bucket, and is told later") {
  FleetRate share(600, 20);
  share.spend(3, kStart);
  REQUIRE(share.ask(kStart));
  share.spend(2, kStart);
  share.failed(kStart + 1s);
  CHECK(share.open());
  share.spend(1, kStart + 1s);
  CHECK_FALSE(share.ask(kStart + 1s));
  CHECK_FALSE(share.ask(kStart + 1999ms));
  auto ask = share.ask(kStart + 2s);
  REQUIRE(ask);
  CHECK(ask->charge == 6);
  share.failed(kStart + 2s);
  for (int i = 0; i < 1000; ++i) share.spend(1, kStart + 2s);
  ask = share.ask(kStart + 4s);
  REQUIRE(ask);
  CHECK(ask->charge == 20);
  share.answered({0, 1s}, kStart + 4s);
  CHECK_FALSE(share.open());
}

TEST_CASE("many processes together keep to the rate, and to it alone") {
  for (const unsigned seed : {1u, 2u, 3u, 4u, 5u}) {
    CAPTURE(seed);
    std::mt19937 source(seed);
    const auto random = [&] { return static_cast<std::uint32_t>(source()); };
    const std::uint32_t per_minute = 600 + random() % 100'000, burst = 10 + random() % 500;
    const unsigned count = 2 + random() % 4;
    std::vector<Process> fleet(count, Process(per_minute, burst));
    Bucket bucket;
    const Duration delay = std::chrono::microseconds(200 + random() % 3000);
    const Duration step = 500us, length = 60s;
    for (Time now = kStart; now < kStart + length; now += step)
      for (Process& one : fleet) {
        // All want more than there is, as fast as their clients can.
        for (int tries = 0; tries < 2; ++tries) one.try_one(now);
        one.turn(bucket, now, delay);
      }
    std::uint64_t begun = 0, asked = 0;
    for (const Process& one : fleet) {
      begun += one.begun;
      asked += one.asked;
    }
    const double allowed = per_minute * 1.0 + burst;
    // The slack: what may begin before an answer comes, once, and what is ahead at the end.
    const double slack = count * (2.0 * static_cast<double>(delay / step + 2) + fleet[0].share.batch());
    CAPTURE(per_minute, burst, count, begun, asked);
    CHECK(static_cast<double>(begun) <= allowed + slack);
    CHECK(static_cast<double>(begun) >= 0.97 * allowed - slack);
    CHECK(asked <= count * 60 * 45);  // whatever the rate is
  }
}

TEST_CASE("what one process leaves another one may have") {
  Bucket bucket;
  Process idle(6000, 100), busy(6000, 100);
  Time now = kStart;
  idle.try_one(now);
  for (; now < kStart + 30s; now += 500us) {
    idle.turn(bucket, now, 1ms);
    busy.try_one(now);
    busy.turn(bucket, now, 1ms);
  }
  CHECK(busy.begun >= 3000 + 100 - 30);
  CHECK(idle.asked == 2);  // for a batch, and to give it back
}
