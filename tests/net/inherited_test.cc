#include "pooler/net/inherited.h"

#include "tests/net/help.h"

using namespace pgweir;
using namespace pgweir::net;

TEST_CASE("sockets are taken over only by the process that they are meant for") {
  CHECK(inherited_count("71", "2", 71) == 2);
  CHECK(inherited_count("71", "2", 72) == 0);
  CHECK(inherited_count("", "", 71) == 0);
  CHECK(inherited_count("", "2", 71) == 0);
  CHECK(inherited_count("71", "", 71) == 0);
  CHECK(inherited_count("71", "0", 71) == 0);
  CHECK(inherited_count("71", "-1", 71) == 0);
  CHECK(inherited_count("71", "2 ", 71) == 0);
  CHECK(inherited_count("71", "2147483648", 71) == 0);
  CHECK(inherited_count("71", std::to_string(kInheritedMax), 71) == kInheritedMax);
  CHECK(inherited_count("71", std::to_string(kInheritedMax + 1), 71) == 0);
}
