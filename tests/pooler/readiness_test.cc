#include "pooler/readiness.h"

#include <catch2/catch.hpp>

using namespace pgweir;

TEST_CASE("readiness waits for what is required, and ends with a shutdown") {
  Readiness readiness;
  CHECK(readiness.missing() == "waits for: its sockets to listen");
  readiness.require(Readiness::Need::TierStore);
  CHECK(readiness.missing() == "waits for: its sockets to listen, the first answer of the tier store");
  readiness.met(Readiness::Need::Listening);
  CHECK(readiness.missing() == "waits for: the first answer of the tier store");
  readiness.met(Readiness::Need::TierStore);
  CHECK(readiness.missing().empty());
  readiness.stop();
  CHECK(readiness.missing() == "the pooler is shutting down");
}
