#include "tiers/directory.h"

#include <catch2/catch.hpp>

using namespace pgweir;
using namespace pgweir::tiers;

namespace {

Tenant tenant(std::string name, std::string database = "", std::string backend = "") {
  Tenant made;
  made.name = std::move(name);
  made.database = std::move(database);
  made.backend = std::move(backend);
  return made;
}

// "name/database" of what is found.
std::string found(const Directory& directory, std::string_view database) {
  const auto record = directory.find(database);
  return record ? record->name + "/" + record->database + "@" + record->backend : "none";
}

}  // namespace

TEST_CASE("exact names win over patterns, longer patterns over shorter ones") {
  Directory directory;
  REQUIRE(directory.add_tenant(tenant("*", "", "any")));
  REQUIRE(directory.add_tenant(tenant("app_*", "", "apps")));
  REQUIRE(directory.add_tenant(tenant("app_eu_*", "shared", "eu")));
  REQUIRE(directory.add_tenant(tenant("*_test", "t_*", "tests")));
  REQUIRE(directory.add_tenant(tenant("app_1", "one", "own")));
  REQUIRE(directory.add_tenant(tenant("acme", "", "own")));
  struct Row {
    std::string_view asked, answer;
  };
  const Row rows[] = {
      {"app_1", "app_1/one@own"},
      {"acme", "acme/acme@own"},
      {"app_2", "app_2/app_2@apps"},
      {"app_", "app_/app_@apps"},
      {"app_eu_7", "app_eu_7/shared@eu"},
      {"x_test", "x_test/t_x@tests"},
      {"_test", "_test/t_@tests"},
      {"test", "test/test@any"},
      {"", "/@any"},
      {"Acme", "Acme/Acme@any"},
      {"app_eu_1_test", "app_eu_1_test/shared@eu"},
      {"app_1_test", "app_1_test/t_app_1@tests"},  // "*_test" has the longer fixed part
      {"*", "*/*@any"},
      {"app_*", "app_*/app_*@apps"},
  };
  for (const Row& row : rows) {
    CAPTURE(std::string(row.asked));
    CHECK(found(directory, row.asked) == row.answer);
  }
}

TEST_CASE("without a pattern that takes all, an unknown name is not found") {
  Directory directory;
  CHECK(found(directory, "acme") == "none");
  REQUIRE(directory.add_tenant(tenant("a*a")));
  CHECK(found(directory, "aba") == "aba/aba@");
  CHECK(found(directory, "aa") == "aa/aa@");
  CHECK(found(directory, "a") == "none");  // head and tail must not share a letter
  CHECK(found(directory, "ab") == "none");
}

TEST_CASE("the order of patterns does not depend on the order they came in") {
  Directory one, two;
  REQUIRE(one.add_tenant(tenant("a*", "", "head")));
  REQUIRE(one.add_tenant(tenant("*b", "", "tail")));
  REQUIRE(two.add_tenant(tenant("*b", "", "tail")));
  REQUIRE(two.add_tenant(tenant("a*", "", "head")));
  CHECK(found(one, "ab") == found(two, "ab"));
}

TEST_CASE("adding again replaces") {
  Directory directory;
  REQUIRE(directory.add_tenant(tenant("acme", "one")));
  REQUIRE(directory.add_tenant(tenant("acme", "two")));
  REQUIRE(directory.add_tenant(tenant("a*", "one")));
  REQUIRE(directory.add_tenant(tenant("a*", "two")));
  CHECK(directory.tenants().size() == 1);
  CHECK(directory.patterns().size() == 1);
  CHECK(found(directory, "acme") == "acme/two@");
  CHECK(found(directory, "ab") == "ab/two@");
}

TEST_CASE(
    "a database that belongs to a tenant by another name is known, and no more when that one has gone on") {
  Directory directory;
  const auto add = [&](const char* name, const char* database, const char* backend) {
    Tenant tenant;
    tenant.name = name;
    tenant.database = database;
    tenant.backend = backend;
    REQUIRE(directory.add_tenant(std::move(tenant)));
  };
  add("acme", "acme_prod", "main");
  add("beta", "acme_prod", "main");
  add("self", "self", "main");
  add("plain", "", "main");
  add("t_*", "t_*", "main");
  CHECK(directory.belongs_to_other("acme_prod", "main"));
  CHECK_FALSE(directory.belongs_to_other("acme_prod", "second"));
  for (const char* database : {"acme", "self", "plain", "t_*", ""})
    CHECK_FALSE(directory.belongs_to_other(database, "main"));
  add("acme", "acme", "main");
  CHECK(directory.belongs_to_other("acme_prod", "main"));
  add("beta", "acme_prod", "second");
  CHECK_FALSE(directory.belongs_to_other("acme_prod", "main"));
  CHECK(directory.belongs_to_other("acme_prod", "second"));
}

TEST_CASE("names and fields that cannot be are refused") {
  Directory directory;
  const auto message = [](const Expected<void>& done) {
    return done ? std::string("taken") : done.error().message;
  };
  CHECK(message(directory.add_tenant(tenant("a*b*"))) ==
        "name of a tenant 'a*b*' must hold at most one '*', not 2");
  CHECK(message(directory.add_tenant(tenant(""))) == "name of a tenant must not be empty");
  CHECK(message(directory.add_tenant(tenant("acme", "x_*"))) ==
        "database 'x_*' must not hold more '*' than the tenant's name 'acme'");
  CHECK(message(directory.add_tenant(tenant("a*", "*x*"))) ==
        "database '*x*' must not hold more '*' than the tenant's name 'a*'");
  CHECK(message(directory.add_tenant(tenant(std::string(63, 'x')))) == "taken");
  CHECK(message(directory.add_tenant(tenant(std::string(64, 'x')))).find("at most 63 bytes, not 64") !=
        std::string::npos);
  Tenant greedy = tenant("greedy");
  greedy.limits.pool_size = 6;
  CHECK(message(directory.add_tenant(greedy)) ==
        "pool_size must not exceed max_server_connections, but 6 > 5");
  greedy.limits.pool_size = 5;
  greedy.limits.min_server_connections = 7;
  CHECK(message(directory.add_tenant(greedy)) ==
        "min_server_connections must not exceed max_server_connections, but 7 > 5");
  Tier tier;
  CHECK(message(directory.add_tier(tier)) == "name of a tier must not be empty");
  tier.name = "p*";
  CHECK(message(directory.add_tier(tier)) == "name of a tier 'p*' must not hold '*'");
  tier.name = "pro";
  tier.pool_size = 6;
  CHECK(message(directory.add_tier(tier)) == "pool_size must not exceed max_server_connections, but 6 > 5");
  CHECK(directory.tier("pro") == nullptr);
  CHECK_FALSE(directory.find("greedy"));
}

TEST_CASE("tiers are found by name") {
  Directory directory;
  Tier tier;
  tier.name = "pro";
  tier.pool_size = 4;
  REQUIRE(directory.add_tier(tier));
  REQUIRE(directory.tier("pro") != nullptr);
  CHECK(directory.tier("pro")->pool_size == 4);
  CHECK(directory.tier("Pro") == nullptr);
  tier.pool_size = 5;
  REQUIRE(directory.add_tier(tier));
  CHECK(directory.tier("pro")->pool_size == 5);
  CHECK(directory.tiers().size() == 1);
}
