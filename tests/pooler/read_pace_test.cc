#include "pooler/read_pace.h"

#include <catch2/catch.hpp>

using namespace pgweir;
using Wait = ReadPace::Wait;

TEST_CASE("a large message is awaited in large pieces, but for its end") {
  ReadPace pace;
  CHECK(pace.came(100, 2 * ReadPace::kMany) == Wait::ForMany);
  CHECK(pace.came(8192, 2 * ReadPace::kMany - 1) == Wait::ForAny);
  CHECK(pace.came(8192, 0) == Wait::ForAny);
}

TEST_CASE("an answer in many pieces is awaited for a moment, once it has streamed for long") {
  ReadPace pace;
  const auto stream = [&](std::size_t bytes) {
    for (; bytes > 8192; bytes -= 8192) REQUIRE(pace.came(8192, 10) == Wait::ForAny);
  };
  stream(ReadPace::kStream);
  CHECK(pace.came(8192, 10) == Wait::Shortly);
  CHECK(pace.came(ReadPace::kMany, 0) == Wait::Shortly);

  SECTION("a small piece is its end") {
    CHECK(pace.came(ReadPace::kPiece - 1, 10) == Wait::ForAny);
    stream(ReadPace::kStream);
    CHECK(pace.came(ReadPace::kPiece, 10) == Wait::ForAny);
    CHECK(pace.came(ReadPace::kPiece, 10) == Wait::Shortly);
  }
  SECTION("it pauses, or another one begins") {
    pace.begin();
    stream(ReadPace::kStream);
  }
  SECTION("a large message in it needs no moment") {
    CHECK(pace.came(8192, 2 * ReadPace::kMany) == Wait::ForMany);
    CHECK(pace.came(8192, 0) == Wait::Shortly);
  }
}
