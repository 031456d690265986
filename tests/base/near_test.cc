#include "pooler/base/near.h"

#include <catch2/catch.hpp>

#include <string>
#include <vector>

using namespace pgweir;

TEST_CASE("the distance counts letters that differ") {
  struct Row {
    std::string_view a, b;
    std::size_t distance;
  };
  const Row rows[] = {{"", "", 0},        {"port", "port", 0},  {"port", "", 4},     {"prot", "port", 1},
                      {"por", "port", 1}, {"portt", "port", 1}, {"pert", "port", 1}, {"PORT", "port", 0},
                      {"a-b", "a_b", 0},  {"mian", "main", 1},  {"abcd", "dcba", 3}, {"ab", "bca", 3}};
  for (const Row& row : rows) {
    CAPTURE(std::string(row.a), std::string(row.b));
    CHECK(edit_distance(row.a, row.b) == row.distance);
    CHECK(edit_distance(row.b, row.a) == row.distance);
  }
}

TEST_CASE("only a near name is proposed") {
  const std::vector<std::string> names{"pool_size", "max_clients", "tier", "host"};
  CHECK(nearest("pol_size", names) == "pool_size");
  CHECK(nearest("poolsize", names) == "pool_size");
  CHECK(nearest("max-client", names) == "max_clients");
  CHECK(nearest("teir", names) == "tier");
  CHECK(nearest("hots", names) == "host");
  CHECK(nearest("colour", names).empty());
  CHECK(nearest("x", names).empty());
  CHECK(nearest("", names).empty());
  CHECK(did_you_mean("teir", names) == "; did you mean tier?");
  CHECK(did_you_mean("colour", names).empty());
}

TEST_CASE("one letter does not stand for another") {
  CHECK(nearest("b", std::vector<std::string>{"a"}).empty());
}

TEST_CASE("long words are not compared") {
  const std::string longest(kNearMax, 'a'), longer(kNearMax + 1, 'a');
  CHECK(nearest(longest, std::vector<std::string>{longer, longest}) == longest);
  CHECK(nearest(longer, std::vector<std::string>{longest}).empty());
}
