#include "tiers/rate.h"

#include <catch2/catch.hpp>

using namespace pgweir;
using namespace pgweir::tiers;
using namespace std::chrono_literals;

namespace {
constexpr Time kStart{std::chrono::hours(1000)};

std::uint32_t take_all(Rate& rate, Time now) {
  std::uint32_t taken = 0;
  while (rate.take(now)) ++taken;
  return taken;
}
}  // namespace

TEST_CASE("a burst is there at once, and then as much as a minute brings") {
  Rate rate(60, 10, kStart);
  CHECK(rate.left(kStart) == 10);
  CHECK(take_all(rate, kStart) == 10);
  CHECK(rate.left(kStart) == 0);
  CHECK(rate.next_at(kStart) == kStart + 1s);
  CHECK_FALSE(rate.take(kStart + 1s - 1us));
  CHECK(rate.take(kStart + 1s));
  CHECK_FALSE(rate.take(kStart + 1s));
  // A long silence fills it up to the burst, and not beyond.
  CHECK(take_all(rate, kStart + 24h * 365 * 100) == 10);
}

TEST_CASE("the long run is exact, whatever the rate and whenever it is asked") {
  for (const std::uint32_t per_minute : {1u, 7u, 59u, 1000u, 999'983u, Rate::kPerMinuteMost}) {
    CAPTURE(per_minute);
    Rate rate(per_minute, 1, kStart);
    std::uint64_t taken = 0;
    Time now = kStart;
    // One who takes each token at the very moment when it is there.
    const std::uint64_t wanted = std::min(per_minute, 100'000u);
    while (taken < wanted) {
      now = rate.next_at(now);
      REQUIRE(rate.take(now));
      ++taken;
      CHECK(rate.next_at(now) > now);
    }
    const double minutes = static_cast<double>((now - kStart).count()) / 60e6;
    const double ideal = static_cast<double>(wanted - 1) / per_minute;
    CHECK(minutes >= ideal);
    // At most a microsecond is lost for each that had to be waited for.
    CHECK(minutes <= ideal + static_cast<double>(wanted) / 60e6);
  }
}

TEST_CASE("nobody gets more than burst and rate allow, in any stretch of time") {
  Rate rate(600, 20, kStart);
  std::uint64_t taken = 0;
  for (int i = 0; i <= 600; ++i) {  // a minute, asked greedily every tenth of a second
    taken += take_all(rate, kStart + i * 100ms);
    CHECK(taken <= 20u + static_cast<unsigned>(i));
  }
  CHECK(taken == 620);
}

TEST_CASE("a burst of 0 is a minute's worth") {
  Rate rate(30, 0, kStart);
  CHECK(take_all(rate, kStart) == 30);
}

TEST_CASE("a change keeps what was spent, as far as it goes") {
  Rate rate(60, 10, kStart);
  CHECK(take_all(rate, kStart) == 10);
  rate.change(6000, 100, kStart);
  CHECK(rate.left(kStart) == 90);
  CHECK(take_all(rate, kStart) == 90);
  rate.change(60, 5, kStart);
  CHECK(rate.left(kStart) == 0);
  CHECK(rate.next_at(kStart) == kStart + 1s);  // and not a debt of a hundred
}

TEST_CASE("what was not asked for is charged, up to one burst in advance") {
  Rate rate(60, 10, kStart);
  rate.charge(4, kStart);
  CHECK(rate.left(kStart) == 6);
  CHECK(rate.spent_tokens(kStart) == 4);
  CHECK(rate.spent_tokens(kStart + 100ms) == 4);  // a part of a token is none yet
  CHECK(rate.spent_tokens(kStart + 1s) == 3);
  rate.charge(1'000'000'000'000, kStart);
  CHECK(rate.left(kStart) == 0);
  CHECK(rate.spent_tokens(kStart) == 20);
  CHECK(rate.next_at(kStart) == kStart + 11s);
  CHECK(rate.take(kStart + 11s));
}
