#include "pooler/walk.h"

#include <catch2/catch.hpp>
#include <set>
#include <string>
#include <unordered_map>

using namespace pgweir;

namespace {
using Map = std::unordered_map<int, int>;

Map numbers(int count) {
  Map map;
  for (int i = 0; i < count; ++i) map[i] = i;
  return map;
}
}  // namespace

TEST_CASE("a walk sees what stays exactly once, in parts") {
  Map map = numbers(1000);
  BucketWalk walk;
  std::multiset<int> seen;
  std::size_t most = 0;
  Walked walked = Walked::Part;
  for (int step = 0; walked == Walked::Part; ++step) {
    const std::size_t before = seen.size();
    walked = walk.step(
        map, [&](const auto& entry) { seen.insert(entry.first); }, 50);
    most = std::max(most, seen.size() - before);
    map.erase(2 * step);  // some are gone before they are seen, some after
  }
  CHECK(walked == Walked::All);
  CHECK(most < 100);
  for (int i = 1; i < 1000; i += 2) CHECK(seen.count(i) == 1);
  for (int i = 0; i < 1000; i += 2) CHECK(seen.count(i) <= 1);
}

TEST_CASE("a walk begins again when the map has grown under it") {
  Map map = numbers(100);
  BucketWalk walk;
  std::multiset<int> seen;
  const auto step = [&] {
    return walk.step(
        map, [&](const auto& entry) { seen.insert(entry.first); }, 50);
  };
  CHECK(step() == Walked::Part);
  CHECK_FALSE(seen.empty());
  map.rehash(10 * map.bucket_count());
  CHECK(step() == Walked::Again);
  seen.clear();
  Walked walked = Walked::Part;
  while (walked == Walked::Part) walked = step();
  CHECK(walked == Walked::All);
  CHECK(seen.size() == 100);
}

TEST_CASE("a walk through nothing ends at once") {
  BucketWalk walk;
  CHECK(walk.step(Map(), [](const auto&) {}) == Walked::All);
  CHECK(GroupWalk().step(
            {}, [](const Group&) {}, [](const Group&, const Tenant&, std::uint32_t) {}) == Walked::All);
}
