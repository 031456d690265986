#include "pooler/base/quoted.h"

#include <catch2/catch.hpp>

using namespace pgweir;

TEST_CASE("foreign text stays on one line and short") {
  CHECK(quoted("") == "''");
  CHECK(quoted("abc") == "'abc'");
  CHECK(quoted("a\nb\x1b[31m\x7f") == "'a?b?[31m?'");
  CHECK(quoted(std::string(kQuotedMax, 'x')) == "'" + std::string(kQuotedMax, 'x') + "'");
  CHECK(quoted(std::string(kQuotedMax + 1, 'x')) == "'" + std::string(kQuotedMax, 'x') + "...'");
  // A letter of two bytes across the end is left out whole.
  CHECK(quoted(std::string(kQuotedMax - 1, 'x') + "\xc3\xa9") ==
        "'" + std::string(kQuotedMax - 1, 'x') + "...'");
}
