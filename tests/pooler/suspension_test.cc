#include "pooler/suspension.h"

#include <catch2/catch.hpp>
#include <sstream>
#include <string>

using namespace pgweir;

namespace {
// Of what consoles do, in this order: which orders are over because nobody is there any more.
std::string over(const std::string& script) {
  Suspension suspension;
  std::string all, word;
  for (std::istringstream words(script); words >> word;) {
    if (word == "comes") suspension.console_came();
    if (word == "SUSPEND") suspension.begin();
    if (word == "RESUME") suspension.end();
    if (word != "leaves") continue;
    if (const auto order = suspension.console_left()) all += std::to_string(*order) + " ";
  }
  return all;
}
}  // namespace

TEST_CASE("SUSPEND ends with the last console, whoever has ordered it") {
  const struct {
    const char* script;
    const char* over;
  } cases[] = {
      {"comes leaves", ""},
      {"comes SUSPEND leaves", "1 "},
      {"comes SUSPEND RESUME leaves", ""},
      {"comes comes SUSPEND leaves", ""},
      {"comes comes SUSPEND leaves leaves", "1 "},
      {"comes SUSPEND comes leaves leaves", "1 "},
      {"comes comes SUSPEND leaves RESUME leaves", ""},
      {"comes SUSPEND leaves comes leaves", "1 "},
      {"comes SUSPEND RESUME SUSPEND leaves", "2 "},
      {"comes SUSPEND leaves comes SUSPEND leaves", "1 2 "},
  };
  for (const auto& one : cases) {
    INFO(one.script);
    CHECK(over(one.script) == one.over);
  }
}

TEST_CASE("an order that is over ends no other") {
  Suspension suspension;
  suspension.console_came();
  const auto first = suspension.begin();
  CHECK_FALSE(suspension.over(first));
  CHECK(suspension.console_left() == first);
  CHECK(suspension.over(first));
  // Before all workers have heard of it, somebody comes and orders it again.
  suspension.console_came();
  const auto second = suspension.begin();
  CHECK_FALSE(suspension.over(first));
  CHECK_FALSE(suspension.over(second));
  suspension.end();
  CHECK(suspension.over(second));
  CHECK_FALSE(suspension.over(first));
}
