#include "pooler/tenant_token.h"

#include <catch2/catch.hpp>

using namespace pgweir;
using std::chrono::seconds;

namespace {
constexpr const char* kSecret = "0123456789abcdef0123456789abcdef";
}

TEST_CASE("a token is what another HMAC makes of the same") {
  const TenantTokens tokens(kSecret, seconds{600});
  struct Row {
    TenantTokens::Bearer bearer;
    const char* token;
  };
  // By Python's hmac module.
  const Row rows[] = {
      {{"acme", "shop", "app", 4711},
       "1.36c6ab451ca35889.1000600.4711.61636d65."
       "24109f01196519a7e44029e6199773a9beec02648f62f8e4ae790307e8ef28d6"},
      {{"ac.m\xc3\xa9", "shop", "app", 1},
       "1.36c6ab451ca35889.1000600.1.61632e6dc3a9."
       "5be4b65fc2794235ae37d29a2f3c57b18bf256f2a6534fa4ef2e4ce36bfbc7cd"},
      {{"acme", "shop", "app2", 4711},
       "1.36c6ab451ca35889.1000600.4711.61636d65."
       "a42b0927e31c2cd9df4ababbeee492650c25557fff03867399ec853e8213e07d"},
  };
  for (const Row& row : rows) CHECK(tokens.make(row.bearer, 999'999) == row.token);
}

TEST_CASE("whatever a token is bound to makes another one") {
  const TenantTokens tokens(kSecret, seconds{600});
  const TenantTokens::Bearer bearer{"acme", "shop", "app", 4711};
  const std::string token = tokens.make(bearer, 999'999);
  const std::string mac = token.substr(token.rfind('.'));
  const TenantTokens::Bearer others[] = {{"acmf", "shop", "app", 4711},
                                         {"acme", "shops", "app", 4711},
                                         {"acme", "shop", "apps", 4711},
                                         {"acme", "sho", "papp", 4711},
                                         {"acme", "shop", "app", 471}};
  for (const auto& other : others) {
    const std::string made = tokens.make(other, 999'999);
    CHECK(made.substr(made.rfind('.')) != mac);
  }
  const std::string later = tokens.make(bearer, 1'000'000);
  CHECK(later.substr(later.rfind('.')) != mac);
  const std::string of_another =
      TenantTokens("another secret that is long enough", seconds{600}).make(bearer, 999'999);
  CHECK(of_another.substr(of_another.rfind('.')) != mac);
}

TEST_CASE("tokens count seconds, and hold no shorter than their life") {
  const TenantTokens tokens(kSecret, std::chrono::milliseconds{1500});
  CHECK(tokens.make({"a", "b", "c", 1}, 99).find(".102.1.") != std::string::npos);
}

TEST_CASE("a server is told anew for another tenant, by another secret, and when half of the time is over") {
  const TenantTokens tokens(kSecret, seconds{600});
  const TenantTokens other("another secret that is long enough", seconds{600});
  const Time now{seconds{50}};
  const TenantTokens::Told told = tokens.telling("acme", now);
  struct Row {
    const TenantTokens* by;
    Bytes tenant;
    Time at;
    bool due;
  };
  const Row rows[] = {
      {&tokens, "acme", now, false},
      {&tokens, "acme", now + seconds{299}, false},
      {&tokens, "acme", now + seconds{300}, true},
      {&tokens, "globex", now, true},
      {&tokens, "", now, true},
      {&other, "acme", now, true},
  };
  for (const Row& row : rows) {
    INFO(row.tenant << " at " << row.at.time_since_epoch().count());
    CHECK(row.by->due(told, row.tenant, row.at) == row.due);
  }
  CHECK(tokens.due({}, "acme", now));
}
