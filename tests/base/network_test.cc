#include "pooler/base/network.h"

#include <catch2/catch.hpp>

using namespace pgweir;

namespace {
HostAddress host(const char* text) {
  const auto network = parse_network(text);
  REQUIRE(network);
  return network->first;
}
}  // namespace

TEST_CASE("a network has the hosts that share its prefix") {
  const struct {
    const char *network, *host;
    bool has;
  } cases[] = {{"127.0.0.0/8", "127.1.2.3", true},
               {"127.0.0.0/8", "128.0.0.1", false},
               {"10.1.2.3", "10.1.2.3", true},
               {"10.1.2.3", "10.1.2.2", false},
               {"0.0.0.0/0", "8.8.8.8", true},
               {"0.0.0.0/0", "::1", false},
               {"::1", "::1", true},
               {"::1", "127.0.0.1", false},
               {"::/0", "10.0.0.1", true},
               {"fd00::/8", "fdff::1", true},
               {"fd00::/8", "fe80::1", false},
               {"10.0.0.0/9", "10.127.0.1", true},
               {"10.0.0.0/9", "10.128.0.1", false}};
  for (const auto& one : cases) {
    INFO(one.network << " " << one.host);
    CHECK(parse_network(one.network)->has(host(one.host)) == one.has);
  }
}

TEST_CASE("what is no network is none, and neither is one with bits behind its prefix") {
  for (const char* wrong :
       {"", "/", "/8", "10.0.0.0/", "10.0.0.0/33", "10.0.0.0/-1", "10.0.0.0/8x", "10.0.0.1/8", "::/129",
        "fd00::1/8", "localhost", "10.0.0", "10.0.0.0/8/8", " 10.0.0.0/8", "*"}) {
    INFO(wrong);
    CHECK_FALSE(parse_network(wrong));
  }
}
