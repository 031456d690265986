#include "pooler/histogram.h"

#include <catch2/catch.hpp>

using namespace pgweir;

TEST_CASE("a duration is counted in the first bucket whose bound it does not exceed") {
  for (std::size_t i = 0; i < Histogram::kBoundsUs.size(); ++i) {
    const std::uint64_t bound = Histogram::kBoundsUs[i];
    CHECK(Histogram::bucket(bound - 1) == i);
    CHECK(Histogram::bucket(bound) == i);
    CHECK(Histogram::bucket(bound + 1) == i + 1);
  }
  CHECK(Histogram::bucket(0) == 0);
  CHECK(Histogram::bucket(~std::uint64_t{0}) == Histogram::kBuckets - 1);
}

TEST_CASE("several that took some time together count as as many of equal length") {
  Histogram one;
  one.add(300, 3);
  CHECK(one.counts()[0] == 3);
  CHECK(one.sum_us() == 300);
  Histogram other;
  other.add(60'000'001);
  other += one;
  CHECK(other.counts()[0] == 3);
  CHECK(other.counts()[Histogram::kBuckets - 1] == 1);
  CHECK(other.sum_us() == 60'000'301);
}
