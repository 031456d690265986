#include "pooler/http_patience.h"

#include <catch2/catch.hpp>

#include <algorithm>

using namespace pgweir;
using namespace std::chrono_literals;
using http::Patience;

namespace {
constexpr Time kStart = Time(1h);
}

TEST_CASE("a request has its time, however often a byte of it comes, and is told once") {
  Patience patience;
  CHECK_FALSE(patience.came(7, kStart));
  CHECK(patience.overdue(kStart + Patience::kRequest - 1us).empty());
  CHECK(patience.overdue(kStart + Patience::kRequest) == std::vector{7});
  CHECK(patience.overdue(kStart + 2 * Patience::kRequest).empty());
  patience.left(7);
  CHECK(patience.size() == 0);
}

TEST_CASE("each request of a connection has a time of its own, and the answer belongs to it") {
  Patience patience;
  patience.came(7, kStart);
  patience.said(7);
  patience.answered(7, kStart + 15s);
  CHECK(patience.overdue(kStart + Patience::kRequest).empty());
  patience.said(7);
  CHECK(patience.overdue(kStart + 15s + Patience::kRequest) == std::vector{7});
}

TEST_CASE("in a crowd whoever has been longest about his request goes, and nobody who waits for an answer") {
  Patience patience;
  int key = 0;
  for (; static_cast<std::size_t>(key) < Patience::kCrowded; ++key)
    CHECK_FALSE(patience.came(key, kStart + key * 1ms));
  patience.said(0);
  CHECK(patience.came(key++, kStart + 1s) == 1);
  CHECK(patience.came(key++, kStart + 1s) == 2);
  patience.left(1);
  patience.left(2);
  patience.left(3);
  CHECK_FALSE(patience.came(key++, kStart + 1s));
  // A crowd of those who wait moves nobody.
  Patience busy;
  for (key = 0; static_cast<std::size_t>(key) < Patience::kCrowded; ++key) {
    busy.came(key, kStart);
    busy.said(key);
  }
  CHECK_FALSE(busy.came(key, kStart));
}
