#include "pooler/backend_budget.h"

#include <catch2/catch.hpp>

#include <memory>
#include <string>
#include <vector>

using namespace pgweir;
using std::chrono::milliseconds;

namespace {
struct Group {
  explicit Group(std::uint32_t floor = 0, std::uint32_t weight = 1) : entitled{floor, weight} {}
  Claimant::Entitled entitled;
  int granted = 0;
  Claimant claimant{[this] { ++granted; }};
};
constexpr Time kNow = Time(std::chrono::seconds(100));
}  // namespace

TEST_CASE("a backend has so many connections, and whoever comes then waits his turn") {
  BackendBudget budget;
  budget.set_limits(2, 8);
  Group a, b, c;
  CHECK(budget.take(a.claimant, a.entitled, kNow));
  CHECK(budget.take(a.claimant, a.entitled, kNow));
  CHECK_FALSE(budget.starved());
  CHECK_FALSE(budget.take(b.claimant, b.entitled, kNow));
  CHECK_FALSE(budget.take(c.claimant, c.entitled, kNow));
  CHECK(budget.starved());
  budget.give_back(a.claimant, a.entitled, kNow + milliseconds(10));
  CHECK(b.granted == 1);
  CHECK(c.granted == 0);
  CHECK(budget.used() == 2);
  CHECK(budget.starved());
  CHECK(budget.withdraw(c.claimant));
  CHECK_FALSE(budget.starved());
  CHECK_FALSE(budget.withdraw(b.claimant));
  // It was granted one that it does not need.
  budget.decline(b.claimant, b.entitled, kNow + milliseconds(20));
  CHECK(budget.used() == 1);
}

TEST_CASE("no more than so many log in at a time") {
  BackendBudget budget;
  budget.set_limits(100, 2);
  Group a, b;
  CHECK(budget.take(a.claimant, a.entitled, kNow));
  CHECK(budget.take(a.claimant, a.entitled, kNow));
  CHECK_FALSE(budget.take(b.claimant, b.entitled, kNow));
  CHECK_FALSE(budget.starved());  // there are connections: nobody has to give one up
  budget.login_over(kNow);
  CHECK(b.granted == 1);
  CHECK(budget.used() == 3);
}

TEST_CASE(
    "of groups that wait the one below its floor is first, then the one that has had least for its weight") {
  BackendBudget budget;
  budget.set_limits(3, 8);
  Group floor(1, 1), light(0, 1), heavy(0, 8);
  CHECK(budget.take(light.claimant, light.entitled, kNow));
  CHECK(budget.take(heavy.claimant, heavy.entitled, kNow));
  CHECK(budget.take(heavy.claimant, heavy.entitled, kNow));
  const Time later = kNow + milliseconds(100);
  CHECK_FALSE(budget.take(light.claimant, light.entitled, later));
  CHECK_FALSE(budget.take(heavy.claimant, heavy.entitled, later));
  CHECK_FALSE(budget.floor_wanted());
  CHECK_FALSE(budget.take(floor.claimant, floor.entitled, later));
  CHECK(budget.floor_wanted());
  budget.give_back(heavy.claimant, heavy.entitled, later + milliseconds(1));
  CHECK(floor.granted == 1);
  budget.give_back(heavy.claimant, heavy.entitled, later + milliseconds(2));
  CHECK(heavy.granted == 1);
  CHECK(light.granted == 0);
  budget.give_back(light.claimant, light.entitled, later + milliseconds(3));
  CHECK(light.granted == 1);
}

TEST_CASE("for one who waits one connection is given up, not all of them") {
  BackendBudget budget;
  budget.set_limits(4, 8);
  Group has(1), wants(1);
  for (int i = 0; i < 4; ++i) CHECK(budget.take(has.claimant, has.entitled, kNow));
  CHECK_FALSE(budget.take(wants.claimant, wants.entitled, kNow));
  CHECK(budget.gives_up(has.claimant, has.entitled, true, false, kNow));
  CHECK_FALSE(budget.gives_up(has.claimant, has.entitled, true, false, kNow));
  budget.give_back(has.claimant, has.entitled, kNow);
  CHECK(wants.granted == 1);
  CHECK_FALSE(budget.gives_up(has.claimant, has.entitled, false, true, kNow));
}

TEST_CASE("those that listen have a quarter of the limit") {
  BackendBudget budget;
  budget.set_limits(8, 8);
  CHECK(budget.take_listener());
  CHECK(budget.take_listener());
  CHECK_FALSE(budget.take_listener());
  CHECK(budget.used() == 2);
  budget.give_back_listener(kNow);
  CHECK(budget.used() == 1);
  CHECK(budget.take_listener());
}

TEST_CASE("a higher limit is handed out, a lower one shed") {
  BackendBudget budget;
  budget.set_limits(1, 8);
  Group a, b;
  CHECK(budget.take(a.claimant, a.entitled, kNow));
  CHECK_FALSE(budget.take(b.claimant, b.entitled, kNow));
  budget.set_limits(2, 8);
  CHECK(b.granted == 1);
  budget.set_limits(1, 8);
  CHECK(budget.shed());
  CHECK_FALSE(budget.shed());
}
