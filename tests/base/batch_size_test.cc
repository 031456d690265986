#include "pooler/base/batch_size.h"

#include <catch2/catch.hpp>

using namespace pgweir;

TEST_CASE("what was refused together goes together again soon, in ever smaller parts meanwhile") {
  BatchSize size(500);
  for (const std::size_t is : {250U, 125U, 62U, 31U, 15U, 7U, 3U, 1U, 1U}) {
    size.refused(size.is());
    CHECK(size.is() == is);
  }
  for (const std::size_t is : {2U, 4U, 8U, 16U, 32U, 64U, 128U, 256U, 500U, 500U}) {
    size.good(size.is());
    CHECK(size.is() == is);
  }
}

TEST_CASE("what was too slow is not tried again at once") {
  BatchSize size(500);
  std::size_t slow = 0, took = 0;
  while (took < 10'000) {  // of which more than 100 at once are
    const std::size_t now = size.is();
    if (now > 100) {
      size.too_slow(now);
      ++slow;
    } else {
      size.good(now);
      took += now;
    }
  }
  CHECK(slow <= 6);
  // One row that is refused does not make it forget.
  size.too_slow(80);
  size.refused(size.is());
  size.good(20);
  CHECK(size.is() == 40);
  size.good(40);
  CHECK(size.is() == 41);
  // Few that went well say nothing of many.
  for (int i = 0; i < 100; ++i) size.good(3);
  CHECK(size.is() == 41);
}

TEST_CASE("one alone that is too slow stays one, and when all is fast again all go together") {
  BatchSize size(5);
  size.too_slow(1);
  CHECK(size.is() == 5);
  for (int i = 0; i < 9; ++i) size.too_slow(size.is());
  CHECK(size.is() == 1);
  for (int i = 0; i < 9; ++i) size.good(size.is());
  CHECK(size.is() == 5);
}
