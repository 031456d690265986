#include "tiers/grace.h"

#include <catch2/catch.hpp>

using namespace pgweir;
using namespace pgweir::tiers;
using namespace std::chrono_literals;

namespace {

Tenant on(std::string tier, std::uint32_t max_clients) {
  Tenant record;
  record.limits.name = std::move(tier);
  record.limits.max_clients = max_clients;
  return record;
}

const Tenant big = on("big", 20), middle = on("middle", 10), small = on("small", 2);

// As the default tier, which a store that is silent for too long leaves.
Tenant silent() {
  Tenant record = on("free", 1);
  record.stale = true;
  return record;
}

// A tenant whose plan begins as big, and a clock.
struct Stand {
  Grace grace;
  Tenant holds = big;
  Time now{1000s};

  // "down from big", and when the grace ends, in seconds from the beginning: ", 1015"
  std::string follow(const Tenant& record, Duration length = 15s) {
    const auto change = grace.follow(holds, record, now, length);
    holds = record;
    const std::string move = change.move == Move::None      ? "none"
                             : change.move == Move::Upgrade ? "up from " + change.from
                                                            : "down from " + change.from;
    return move + end();
  }
  std::string end() const {
    if (grace.until() == kNever) return "";
    const auto at = std::chrono::duration_cast<std::chrono::seconds>(grace.until().time_since_epoch());
    return ", " + std::to_string(at.count());
  }
};

}  // namespace

TEST_CASE("a lower plan has a grace, a higher one none") {
  Stand s;
  CHECK(s.follow(small) == "down from big, 1015");
  s.grace.end();
  CHECK(s.follow(small) == "none");
  CHECK(s.follow(big) == "up from small");
  CHECK(s.follow(small, 0s) == "down from big");
}

TEST_CASE("a lower plan that comes behind a silence of the store is one") {
  Stand s;
  CHECK(s.follow(silent()) == "down from big");
  s.now += 5s;
  CHECK(s.follow(small) == "down from big, 1020");
}

TEST_CASE("a silence of the store begins no grace, and what was before is no new plan") {
  Stand s;
  CHECK(s.follow(silent()) == "down from big");
  CHECK(s.follow(big) == "up from free");
  CHECK(s.follow(silent()) == "down from big");
  CHECK(s.follow(on("huge", 100)) == "up from big");
  // Who came during the silence has nothing that could be compared but what he was let in with.
  s.holds = silent();
  CHECK(s.follow(big) == "up from free");
}

TEST_CASE("a grace outlasts a silence of the store") {
  Stand s;
  CHECK(s.follow(small) == "down from big, 1015");
  s.now += 1s;
  CHECK(s.follow(silent()) == "down from small, 1015");
  s.now += 20s;
  CHECK(s.follow(small) == "up from free, 1015");
}

TEST_CASE("further lower plans do not move the end, until one comes that is not lower than before") {
  Stand s;
  CHECK(s.follow(middle) == "down from big, 1015");
  s.now += 10s;
  CHECK(s.follow(small) == "down from middle, 1015");
  CHECK(s.follow(middle) == "up from small, 1015");
  CHECK(s.follow(big) == "up from middle");
  CHECK(s.follow(small) == "down from big, 1025");
}
