#include <algorithm>
#include <deque>
#include <set>

#include "tests/tiers/catalog_help.h"

using namespace pgweir;
using namespace pgweir::tiers;

TEST_CASE("a cold tenant waits for one lookup, and for its tier's once") {
  Stand s;
  CHECK(s.ask("acme") == "pending");
  CHECK(s.ask("acme") == "pending");
  CHECK(s.actions() == "fetch acme");
  s.row("acme", {{"tier", "pro"}});
  CHECK(s.actions() == "fetch tier:pro");
  s.tier("pro", {});
  CHECK(s.actions() == "settled acme known 200");
  CHECK(s.ask("acme") == "known 200");
  CHECK(s.ask("beta") == "pending");
  s.row("beta", {{"tier", "pro"}, {"max_clients", "7"}});
  CHECK(s.actions() == "fetch beta; settled beta known 7");
}

TEST_CASE("a known tenant never waits: its last good row answers while a fresh one is fetched") {
  Stand s;
  s.know("acme");
  s.now += 61s;
  CHECK(s.ask("acme") == "known 200");
  CHECK(s.actions() == "fetch acme");
  s.row("acme", {{"tier", "free"}});
  s.tier("free", {});
  CHECK(s.ask("acme") == "known 20");
}

TEST_CASE("a field that nobody knows is told once for each name, up to a bound") {
  Stand s;
  s.know("acme");
  s.ask("beta");
  s.actions();
  s.row("beta", {{"tier", "pro"}, {"max_client", "7"}, {"max_clients", "8"}, {"colour", "blue"}});
  CHECK(s.actions() == "strange beta: max_client; strange beta: colour; settled beta known 8");
  s.row("acme", {{"tier", "pro"}, {"max_client", "9"}});
  CHECK(s.actions().empty());
  s.tier("pro", {{"wieght", "9"}, {"weight", "9"}});
  CHECK(s.actions() == "strange tier:pro: wieght");
  std::size_t told = 3;
  for (std::size_t i = 0; i < Catalog::kStrangeMax; ++i) {
    s.row("acme", {{"tier", "pro"}, {"f" + std::to_string(i), ""}});
    told += s.actions().empty() ? 0 : 1;
  }
  CHECK(told == Catalog::kStrangeMax);
}

TEST_CASE("names that the store does not know are remembered for a while") {
  Stand s;
  s.ask("nobody");
  s.row("nobody", {});
  CHECK(s.actions() == "fetch nobody; settled nobody unknown 20");
  CHECK(s.ask("nobody") == "unknown 20");
  CHECK(s.actions().empty());
  s.serves_unknown = false;
  CHECK(s.ask("nobody") == "unknown none");
  s.now += 11s;
  CHECK(s.ask("nobody") == "pending");
  CHECK(s.actions() == "fetch nobody");
}

TEST_CASE("a store that cannot be asked is not the same as one that does not know") {
  Stand s;
  s.ask("acme");
  s.fail_tenant("acme");
  CHECK(s.actions() == "fetch acme; settled acme unreachable 20");
  CHECK(s.catalog.size() == 0);
  CHECK(s.ask("acme") == "pending");
}

TEST_CASE("who was served while the store was down leaves nothing behind") {
  Stand s;
  const auto serve_and_lose = [&s] {
    CHECK(s.ask("acme") == "pending");
    s.actions();
    s.fail_tenant("acme");
    auto actions = s.catalog.take_actions();
    REQUIRE(actions.size() == 1);
    REQUIRE(actions[0].answer.record);
    s.catalog.watch(*actions[0].answer.record, s.now);
    CHECK(s.actions() == "fetch acme");
  };
  SECTION("when he leaves behind the answer") {
    serve_and_lose();
    s.fail_tenant("acme");
    CHECK(s.catalog.size() == 1);
    s.catalog.unwatch("acme");
  }
  SECTION("when he leaves before it") {
    serve_and_lose();
    s.catalog.unwatch("acme");
    CHECK(s.catalog.size() == 1);
    s.fail_tenant("acme");
  }
  SECTION("when somebody else waits for it") {
    serve_and_lose();
    s.fail_tenant("acme");
    CHECK(s.ask("acme") == "pending");
    s.catalog.unwatch("acme");
    CHECK(s.catalog.size() == 1);
    s.actions();
    s.fail_tenant("acme");
    CHECK(s.actions() == "settled acme unreachable 20");
  }
  CHECK(s.catalog.asked() == 0);
  CHECK(s.catalog.size() == 0);
}

TEST_CASE("while the store is down the last good row holds up to stale_max, then the lower tier") {
  Stand s;
  s.know("acme");
  s.know("tiny", {{"tier", "pro"}, {"max_clients", "3"}});
  s.watch("acme");
  for (int second = 0; second < 15 * 60; ++second) {
    s.tick(1s);
    REQUIRE(s.ask("acme") == "known 200");
    s.fail_tenant("acme");
    REQUIRE(s.actions().find("changed") == std::string::npos);
  }
  s.tick(1s);
  CHECK(s.actions().find("changed acme known 20") != std::string::npos);
  CHECK(s.ask("acme") == "known 20");
  CHECK(s.ask("tiny") == "known 3");  // a ceiling never rises
  s.row("acme", {{"tier", "pro"}});
  CHECK(s.actions().find("changed acme known 200") != std::string::npos);
}

TEST_CASE("a row that nobody asked for does not age: who comes back waits for one lookup, and has his tier") {
  Stand s;
  for (const char* name : {"acme", "beta", "gamma", "delta"}) s.know(name);
  s.now += 16min;  // nobody came; the store is well
  CHECK(s.ask("acme") == "pending");
  CHECK(s.ask("acme") == "pending");
  CHECK(s.actions() == "fetch acme");
  CHECK(s.catalog.known() == 4);
  s.row("acme", {{"tier", "pro"}, {"max_clients", "150"}});
  CHECK(s.actions() == "settled acme known 150");
  CHECK_FALSE(s.catalog.ask("acme", s.now).record->stale);
  // What it was is told as a change, as of any row.
  CHECK(s.differs.find("acme: ") == 0);
  // The store fails: his old row holds, lowered. Nobody waits for one that has failed for a while.
  CHECK(s.ask("beta") == "pending");
  s.actions();
  s.fail_tenant("beta");
  CHECK(s.actions() == "settled beta known 20");
  CHECK(s.ask("beta") == "known 20");
  CHECK(s.catalog.ask("beta", s.now).record->stale);
  s.now += 3s;
  CHECK(s.ask("beta") == "known 20");
  CHECK(s.actions() == "fetch beta");
  s.fail_tenant("beta");
  CHECK(s.actions().empty());
  // Once it has answered anybody, it is asked again, and waited for.
  s.row("nobody", {});
  s.now += 3s;
  CHECK(s.ask("beta") == "pending");
  s.row("beta", {{"tier", "pro"}});
  CHECK(s.actions() == "fetch beta; settled beta known 200");
  // It has nonsense.
  CHECK(s.ask("gamma") == "pending");
  s.row("gamma", {{"max_clients", "-1"}});
  CHECK_THAT(s.actions(), Catch::Contains("fetch gamma; refused gamma: max_clients") &&
                              Catch::EndsWith("settled gamma known 20"));
  CHECK(s.ask("gamma") == "known 20");
  CHECK(s.actions().empty());
  s.fail_tenant("gamma");
  s.now += 2s;
  CHECK(s.ask("delta") == "known 20");
  CHECK(s.actions() == "fetch delta");
}

TEST_CASE("an old row with clients is too old only when it was asked for in vain") {
  Stand s;
  s.know("acme");
  s.now += 15min;
  const Tenant first = s.watch("acme");  // its lookup is under way
  CHECK_FALSE(first.stale);
  s.now += 1s;
  s.catalog.tick(s.now);
  CHECK(s.catalog.stale() == 0);
  CHECK(s.ask("acme") == "known 200");  // who has clients never waits
  s.actions();
  SECTION("the store answers") {
    s.row("acme", {{"tier", "pro"}});
    CHECK(s.actions().empty());
  }
  SECTION("it fails") {
    s.fail_tenant("acme");
    s.catalog.tick(s.now);
    CHECK_THAT(s.actions(), Catch::Contains("changed acme known 20"));
    CHECK(s.catalog.stale() == 1);
  }
  s.catalog.unwatch("acme");
}

TEST_CASE("who waits for a row that is too old is answered whatever happens meanwhile") {
  Stand s;
  s.know("acme", {{"tier", "pro"}, {"state", "suspended"}});
  s.now += 16min;
  CHECK(s.ask("acme") == "pending");
  CHECK(s.catalog.suspended() == 1);
  CHECK(s.catalog.suspensions("", 10, s.now).size() == 1);
  SECTION("others push him out of what is remembered") {
    for (int i = 0; i < 1500; ++i) s.know("t" + std::to_string(i));
    s.row("acme", {{"tier", "pro"}});
    CHECK(s.actions() == "settled acme known 200");
    CHECK(s.catalog.known() == 1000);
  }
  SECTION("his first client comes") {
    Tenant record;
    record.name = "acme";
    s.catalog.watch(record, s.now);
    CHECK(s.ask("acme") == "known 200");
    s.actions();
    s.row("acme", {{"tier", "pro"}});
    CHECK_THAT(s.actions(), Catch::Contains("settled acme known 200"));
    s.catalog.unwatch("acme");
  }
  SECTION("his row is gone") {
    auto rules = s.rules();
    rules.vanished = Catalog::Vanished::Believed;
    s.catalog.set_rules(std::move(rules), s.now);
    s.actions();
    s.row("acme", {});
    CHECK(s.actions() == "settled acme unknown 20");
    CHECK(s.catalog.suspended() == 0);
  }
  SECTION("too many wait") {
    for (std::size_t i = 0; i < Catalog::kAskedMax; ++i) s.ask("q" + std::to_string(i));
    s.actions();
    s.row("acme", {{"tier", "pro"}});
    CHECK(s.actions() == "settled acme known 200");
    s.know("late");
    s.now += 16min;
    s.ask("one more");
    CHECK(s.ask("late") == "known 20");  // as of a silent store
  }
}

TEST_CASE("how long the store has been silent, and who is held to less because of it, is known") {
  Stand s;
  CHECK(s.catalog.silent(s.now) == Duration{});
  s.know("acme");
  s.know("unused");
  s.watch("acme");
  CHECK(s.catalog.stale() == 0);
  s.now += 10s;
  s.fail_tenant("acme");
  s.now += 5s;
  s.fail_tenant("acme");
  CHECK(s.catalog.silent(s.now) == 5s);
  s.catalog.ask("\xff", s.now);
  s.catalog.no_row(Catalog::Of::Tenant, "\xff", s.now);  // which the store never heard of
  CHECK(s.catalog.silent(s.now) == 5s);
  s.now += 20min;
  CHECK(s.catalog.silent(s.now) == 20min + 5s);
  CHECK(s.catalog.stale() == 0);  // nobody has looked yet
  s.catalog.tick(s.now);
  CHECK(s.catalog.stale() == 1);
  // That there is no such row is an answer, too.
  s.row("other", {});
  CHECK(s.catalog.silent(s.now) == Duration{});
  CHECK(s.catalog.stale() == 1);
  s.row("acme", {{"tier", "pro"}});
  CHECK(s.catalog.stale() == 0);
}

TEST_CASE("garbage never replaces a good row, and is told once") {
  Stand s;
  s.know("acme");
  for (int round = 0; round < 3; ++round) s.row("acme", {{"max_clients", "-1"}});
  CHECK(s.actions() == "refused acme: max_clients must be a whole number between 1 and 100000, not '-1'");
  CHECK(s.ask("acme") == "known 200");
  CHECK(s.catalog.totals().refused == 3);
  s.catalog.row(Catalog::Of::Tenant, "acme", fail(sqlstate::kConfigFileError, "must be a hash"), s.now);
  CHECK(s.actions().empty());
  s.row("acme", {{"tier", "pro"}, {"backend", "elsewhere"}});
  s.row("acme", {{"tier", "no such"}});
  s.tier("no such", {});
  CHECK(s.ask("acme") == "known 200");
  s.row("acme", {{"tier", "pro"}});
  s.actions();
  s.row("acme", {{"version", "x"}});
  CHECK(s.actions().find("refused acme: version") == 0);

  s.ask("liar");
  s.row("liar", {{"tier", ""}});
  CHECK(
      s.actions() ==
      "fetch liar; refused liar: tier must be the name of a tier, of 1 to 63 bytes; settled liar unknown 20");
}

TEST_CASE("who is known is looked up again within the ttl, however long unknown names are remembered") {
  Stand s;
  auto rules = s.rules();
  rules.negative_ttl = 24h;
  s.catalog.set_rules(std::move(rules), s.now);
  for (const Fields& once : {Fields{}, Fields{{"max_clients", "-1"}}}) {
    const std::string name = once.empty() ? "empty" : "wrong";
    s.know(name);
    s.row(name, once);
    s.actions();
    s.now += 61s;
    s.ask(name);
    CHECK(s.actions() == "fetch " + name);
    s.row(name, {{"tier", "pro"}});
    // Who is not known may wait.
    const std::string nobody = "no " + name;
    s.ask(nobody);
    s.row(nobody, once);
    s.now += 23h;
    s.actions();
    CHECK(s.ask(nobody) == "unknown 20");
    CHECK(s.actions().empty());
  }
}

TEST_CASE("why a row is refused can be asked, until there is another") {
  Stand is;
  is.serves_unknown = false;
  const auto refused = [&](const std::string& name) { return is.catalog.ask(name, is.now).refused; };
  is.ask("acme");
  is.row("acme", Fields{{"tier", "pro"}, {"max_clients", "-1"}});
  CHECK(is.ask("acme") == "unknown none");
  CHECK(refused("acme") == "max_clients must be a whole number between 1 and 100000, not '-1'");
  is.row("acme", Fields{{"state", "9"}});
  CHECK(refused("acme") == "state must be one of active, suspended, not '9'");
  is.row("acme", Fields{{"tier", "free"}});
  is.tier("free", {});
  CHECK(refused("acme").empty());
  CHECK(is.ask("acme") == "known 20");
  is.row("acme", Fields{{"max_clients", "-1"}});
  CHECK(is.ask("acme") == "known 20");  // the last good one
  CHECK_FALSE(refused("acme").empty());
  is.row("acme", {});
  is.now += 16min;
  is.row("acme", {});
  CHECK(is.ask("acme") == "known 20");  // the row that is gone is no garbage any more
  CHECK(refused("acme").empty());
}

TEST_CASE("floors that a tenant's ceiling leaves no room for are lowered, which is told once") {
  Stand is;
  is.know("acme", {{"tier", "pro"}, {"pool_size", "50"}});  // of pro, 5 are allowed
  is.row("acme", {{"tier", "pro"}, {"pool_size", "60"}});
  CHECK(is.actions().empty());
  const auto answer = is.catalog.ask("acme", is.now);
  REQUIRE(answer.record);
  CHECK(answer.record->limits.pool_size == 5);
  CHECK(answer.record->lowered == std::vector<Lowered>{{"pool_size", 60}});
  is.row("acme", {{"tier", "pro"}, {"pool_size", "4"}});
  CHECK(is.ask("acme") == "known 200");
  CHECK(is.actions().empty());
  // Again after it was well, and with what its tier says.
  is.watch("acme");
  is.actions();
  is.row("acme", {{"tier", "pro"}, {"max_server_connections", "1"}});
  CHECK_THAT(is.actions(),
             Catch::Contains("lowered acme: pool_size 2 is lowered to max_server_connections 1"));
  // A row of a tier over the configuration's.
  is.tier("pro", {{"max_server_connections", "3"}, {"pool_size", "3"}});
  CHECK_THAT(is.actions(), !Catch::Contains("lowered tier:pro"));
  is.tier("pro", {{"max_server_connections", "1"}, {"min_server_connections", "1"}});
  is.tier("pro", {{"max_server_connections", "1"}});
  const std::string told = is.actions();
  const std::string wanted = "lowered tier:pro: pool_size 2 is lowered to max_server_connections 1";
  CHECK(told.find(wanted) != std::string::npos);
  CHECK(told.find(wanted) == told.rfind(wanted));
}

TEST_CASE("of each tier it is known which values are the store's") {
  Stand is;
  is.know("acme");
  is.tier("pro",
          {{"work_mem", "4MB"}, {"max_clients", "200"}, {"max_server_connections", "1"}, {"colour", "x"}});
  const auto tiers = is.catalog.tiers(is.now);
  const Directory::Stored& pro = tiers->stored("pro");
  CHECK(pro.fields == std::vector<std::string>{"max_clients", "max_server_connections", "work_mem"});
  CHECK(pro.lowered == std::vector<Lowered>{{"pool_size", 2}});
  CHECK(tiers->stored("free").fields.empty());
  CHECK(tiers->tier("pro")->pool_size == 1);
}

TEST_CASE(
    "of a tier whose row is too old it is told what holds: the lower of the row and the configuration") {
  Stand s;
  s.know("acme");
  s.know("rich", {{"tier", "gold"}});
  s.tier("gold", {{"max_clients", "9"}});
  s.tier("pro", {{"max_clients", "12"},
                 {"weight", "7"},
                 {"max_server_connections", "1"},
                 {"min_server_connections", "1"},
                 {"work_mem", "4MB"}});
  for (const char* name : {"acme", "rich"}) s.watch(name);
  const std::uint64_t version = s.catalog.tiers_version();
  s.tick(16min);
  CHECK(s.catalog.tiers_version() != version);
  s.row("acme", {{"tier", "pro"}});
  s.row("rich", {{"tier", "gold"}});
  const auto tiers = s.catalog.tiers(s.now);
  for (const char* name : {"acme", "rich"}) {
    INFO(name);
    const auto record = s.catalog.ask(name, s.now).record;
    REQUIRE(record);
    const Tier* const told = tiers->tier(record->limits.name);
    REQUIRE(told);
    CHECK(*told == record->limits);
  }
  CHECK(tiers->tier("pro")->max_clients == 12);
  CHECK(tiers->tier("pro")->weight == 1);
  const Directory::Stored& pro = tiers->stored("pro");
  CHECK(pro.fields == std::vector<std::string>{"max_clients", "max_server_connections", "work_mem"});
  CHECK(pro.lowered == std::vector<Lowered>{{"pool_size", 2}});
  CHECK(tiers->stored("gold").fields == std::vector<std::string>{"max_clients"});
  // Told once, until it has been good again.
  const std::uint64_t old = s.catalog.tiers_version();
  s.tick(1s);
  CHECK(s.catalog.tiers_version() == old);
  s.tier("pro", {{"max_clients", "300"}});
  CHECK(s.catalog.tiers_version() != old);
  CHECK(s.catalog.tiers(s.now)->tier("pro")->max_clients == 300);
  s.catalog.tick(s.now + 16min);
  CHECK(s.catalog.tiers(s.now + 16min)->tier("pro")->max_clients == 200);
  for (const char* name : {"acme", "rich"}) s.catalog.unwatch(name);
}

TEST_CASE("a configured tenant with a value of its own stays with the configuration's tier") {
  Stand is;
  const auto configured = [&](const char* name, const char* max_clients) {
    Tenant tenant;
    tenant.name = name;
    tenant.limits = *is.directory->tier("pro");
    if (max_clients) REQUIRE(set_tenant_field(tenant, "max_clients", max_clients));
    REQUIRE(is.directory->add_tenant(tenant));
  };
  configured("plain", nullptr);
  configured("same", "200");  // as its tier says
  configured("other", "7");
  auto rules = is.rules();
  rules.unknown = [&](std::string_view name) { return is.directory->find(name); };
  is.catalog.set_rules(rules, is.now);
  is.know("acme");
  is.tier("pro", {{"max_clients", "33"}});
  for (const auto& [name, clients] : {std::pair("plain", "33"), {"same", "200"}, {"other", "7"}}) {
    is.ask(name);
    is.row(name, {});
    CHECK(is.ask(name) == std::string("unknown ") + clients);
  }
}

TEST_CASE("a store that was emptied takes nobody's tier away before stale_max, and nothing else ever") {
  Stand s;
  s.serves_unknown = false;
  s.know("acme", {{"tier", "pro"}, {"database", "acme_prod"}, {"user", "acme_user"}});
  s.know("tiny", {{"tier", "pro"}, {"max_clients", "3"}});
  s.know("away", {{"tier", "pro"}, {"state", "suspended"}, {"reason", "unpaid"}});
  s.watch("acme");
  s.row("acme", {});
  CHECK(s.actions().empty());
  CHECK(s.ask("acme") == "known 200");
  CHECK(s.catalog.totals().vanished == 1);
  s.now += 16min;
  s.row("acme", {});
  s.catalog.tick(s.now);
  CHECK_THAT(s.actions(), Catch::Contains("changed acme known 20"));
  CHECK(s.catalog.stale() == 1);
  const auto acme = s.catalog.ask("acme", s.now).record;
  REQUIRE(acme);
  CHECK(acme->stale);
  CHECK(acme->database == "acme_prod");
  CHECK(acme->user == "acme_user");
  // Those who had no clients: one lookup, and then what was known, lowered.
  CHECK(s.ask("tiny") == "pending");
  s.row("tiny", {});
  CHECK_THAT(s.actions(), Catch::EndsWith("settled tiny known 3"));
  s.ask("away");
  s.row("away", {});
  CHECK(s.catalog.ask("away", s.now).record->state == TenantState::Suspended);
  CHECK(s.catalog.ask("away", s.now).record->reason == "unpaid");
  CHECK(s.catalog.suspended() == 1);
  CHECK(s.catalog.known() == 3);
  CHECK(s.differs.empty());  // nobody has written anything
  // And when it is back, all of it.
  s.actions();
  s.row("acme", {{"tier", "pro"}});
  CHECK_THAT(s.actions(), Catch::Contains("changed acme known 200"));
  CHECK(s.catalog.stale() == 0);
  s.catalog.unwatch("acme");
}

TEST_CASE("who is held to less is held to the least that his tiers were and are") {
  Stand s;
  s.know("acme");
  s.know("plain", {{"tier", "free"}});
  s.know("rich", {{"tier", "gold"}});
  s.tier("gold", {{"max_clients", "9"}});
  s.row("rich", {{"tier", "gold"}});
  s.tier("pro", {{"max_clients", "12"}});
  s.tier("free", {{"max_clients", "15"}});
  for (const char* name : {"acme", "plain", "rich"}) s.watch(name);
  CHECK(s.ask("acme") == "known 12");
  CHECK(s.ask("plain") == "known 15");
  CHECK(s.ask("rich") == "known 9");
  s.now += 16min;
  const auto all_lowered = [&s] {
    s.catalog.tick(s.now);
    CHECK(s.ask("acme") == "known 12");  // not 20, as the configuration has of free
    CHECK(s.ask("plain") == "known 15");
    CHECK(s.ask("rich") == "known 9");
    CHECK_THAT(s.actions(), !Catch::Contains("200"));
  };
  SECTION("of a store that was emptied") {
    for (const char* name : {"acme", "plain", "rich"}) s.row(name, {});
    for (const char* name : {"free", "pro", "gold"}) s.tier(name, {});
    all_lowered();
    // With rows of their own they follow what the tiers are now.
    s.row("acme", {{"tier", "pro"}});
    s.row("plain", {{"tier", "free"}});
    CHECK(s.ask("acme") == "known 200");
    CHECK(s.ask("plain") == "known 20");
  }
  SECTION("of one that is silent") {
    for (const char* name : {"acme", "plain", "rich"}) s.fail_tenant(name);
    for (const char* name : {"free", "pro", "gold"}) s.catalog.failed(Catalog::Of::Tier, name, s.now);
    all_lowered();
  }
  for (const char* name : {"acme", "plain", "rich"}) s.catalog.unwatch(name);
}

TEST_CASE("no ceiling rises because a tier's row has been garbage for long") {
  Stand s;
  const auto follow = [&] {
    s.row("acme", {{"tier", "pro"}});
    s.row("rich", {{"tier", "gold"}});
  };
  s.know("acme");
  s.know("rich", {{"tier", "gold"}});
  s.tier("gold", {{"max_clients", "9"}});
  s.tier("pro", {{"max_clients", "12"}});
  for (const char* name : {"acme", "rich"}) s.watch(name);
  s.now += 16min;
  for (const char* tier : {"pro", "gold"}) s.tier(tier, {{"max_clients", "none"}});
  s.actions();
  follow();
  CHECK(s.actions().empty());
  CHECK(s.ask("acme") == "known 12");  // not 200, as the configuration has of pro
  CHECK(s.ask("rich") == "known 9");   // not 20, as it has of free
  CHECK(s.catalog.stale() == 0);
  // Their rows are good, and followed.
  s.row("rich", {{"tier", "gold"}, {"max_clients", "4"}, {"state", "suspended"}});
  CHECK(s.ask("rich") == "known 4");
  CHECK(s.catalog.suspended() == 1);
  CHECK(s.catalog.has_tier("gold", s.now));
  // What the configuration says still bounds the row.
  s.tier("pro", {{"max_clients", "300"}});
  CHECK(s.ask("acme") == "known 300");
  s.now += 16min;
  s.tier("pro", {{"max_clients", "none"}});
  follow();
  CHECK(s.ask("acme") == "known 200");
  for (const char* name : {"acme", "rich"}) s.catalog.unwatch(name);
}

TEST_CASE("a row that somebody deleted is gone at once") {
  Stand s;
  const auto believe = [&] {
    auto rules = s.rules();
    rules.vanished = Catalog::Vanished::Believed;
    s.catalog.set_rules(std::move(rules), s.now);
  };
  believe();
  s.know("acme");
  s.know("beta");
  s.watch("acme");
  s.row("acme", {});
  CHECK(s.actions() == "changed acme unknown 20");
  CHECK(s.ask("acme") == "unknown 20");
  CHECK(s.catalog.totals().vanished == 1);
  // Where nothing else serves him, his clients end as those of a suspended tenant, until he is back.
  s.row("acme", {{"tier", "pro"}});
  s.actions();
  s.serves_unknown = false;
  believe();
  s.row("acme", {});
  const auto actions = s.catalog.take_actions();
  REQUIRE(actions.size() == 2);
  CHECK(actions[0].kind == Catalog::Action::Kind::Differs);
  REQUIRE(actions[1].answer.record);
  CHECK(actions[1].answer.record->state == TenantState::Suspended);
  CHECK(actions[1].answer.record->reason == "it is not in the tenant store any more");
  CHECK(s.ask("acme") == "unknown none");
  s.row("acme", {});
  CHECK(s.actions().empty());
  s.row("acme", {{"tier", "pro"}});
  CHECK(s.actions() == "changed acme known 200");
  // One without clients.
  s.row("beta", {});
  CHECK(s.actions().empty());
  CHECK(s.ask("beta") == "unknown none");
  s.catalog.unwatch("acme");
  // Who never had a row is none that was deleted.
  s.serves_unknown = true;
  s.ask("gamma");
  s.row("gamma", {});
  s.watch("gamma");
  s.serves_unknown = false;
  believe();
  CHECK(s.actions().empty());
  s.catalog.unwatch("gamma");
}

TEST_CASE("who is suspended is known by the rows, and by the configuration where there is none") {
  Stand is;
  for (const char* name : {"b", "e", "g"}) {
    Tenant tenant;
    tenant.name = name;
    tenant.limits = *is.directory->tier("free");
    tenant.state = TenantState::Suspended;
    tenant.reason = "by the file";
    REQUIRE(is.directory->add_tenant(tenant));
  }
  const Fields active{{"tier", "pro"}};
  const Fields suspended{{"tier", "pro"}, {"state", "suspended"}, {"reason", "unpaid"}};
  // "a active; b suspended by the file; ..."
  const auto all = [&](std::string_view after = {}, std::size_t most = 100) {
    std::string text;
    for (const Tenant& each : is.catalog.suspensions(after, most, is.now))
      text += (text.empty() ? "" : "; ") + each.name + " " + std::string(name(each.state)) +
              (each.reason.empty() ? "" : " " + each.reason);
    return text;
  };
  for (const char* name : {"a", "d"}) is.know(name, suspended);
  for (const char* name : {"c", "e"}) is.know(name, active);
  CHECK(is.catalog.suspended() == 4);  // a, b, d, g
  const std::string whole =
      "a suspended unpaid; b suspended by the file; d suspended unpaid; e active; g suspended by the file";
  CHECK(all() == whole);
  CHECK(all("b", 2) == "d suspended unpaid; e active");
  CHECK(all("e", 2) == "g suspended by the file");
  CHECK(all("g").empty());
  is.row("e", suspended);
  is.row("a", active);
  is.row("d", Fields{{"state", "nonsense"}});  // the last good row holds
  CHECK(all() == "b suspended by the file; d suspended unpaid; e suspended unpaid; g suspended by the file");
  CHECK(is.catalog.suspended() == 4);
  // However long a row is gone, it suspends.
  is.now += 16min;
  is.row("d", {});
  CHECK(all() == "b suspended by the file; d suspended unpaid; e suspended unpaid; g suspended by the file");
  // It does not where somebody has deleted it.
  auto believing = is.rules();
  believing.vanished = Catalog::Vanished::Believed;
  is.catalog.set_rules(believing, is.now);
  is.row("d", {});
  is.row("e", {});
  CHECK(all() == "b suspended by the file; e suspended by the file; g suspended by the file");
  CHECK(is.catalog.suspended() == 3);
  // Who is forgotten is not known any more.
  is.know("h", suspended);
  CHECK(is.catalog.suspended() == 4);
  for (int i = 0; i < 1000; ++i) is.know("x" + std::to_string(i), active);
  CHECK(is.catalog.suspended() == 3);
}

TEST_CASE("a tier that nobody has used yet is asked for") {
  Stand s;
  CHECK(s.catalog.has_tier("pro", s.now));
  CHECK_FALSE(s.catalog.has_tier("huge", s.now));
  CHECK(s.catalog.ask_tier("huge"));
  CHECK(s.catalog.ask_tier("huge"));
  CHECK(s.actions() == "fetch tier:huge");
  s.tier("huge", {});
  CHECK_FALSE(s.catalog.has_tier("huge", s.now));
  CHECK(s.catalog.ask_tier("huge"));  // that there was none is not believed for long
  CHECK(s.actions() == "fetch tier:huge");
  s.tier("huge", {{"max_clients", "3000"}});
  CHECK(s.catalog.has_tier("huge", s.now));
  const Error none = s.catalog.no_tier("hugo", s.now);
  CHECK(none.message == "no tier is named 'hugo'; did you mean huge?");
  CHECK(none.hint == "There are free, huge, pro.");
  for (int i = 0; i < 9; ++i) {
    const std::string name = "a" + std::to_string(i);
    s.catalog.ask_tier(name);
    s.tier(name, {{"max_clients", "1"}});
  }
  CHECK(s.catalog.no_tier("x", s.now).hint ==
        "There are a0, a1, a2, a3, a4, a5, a6, a7, a8, free and 2 more.");
}

TEST_CASE("changes reach watched tenants, once each") {
  Stand s;
  s.know("acme");
  const Tenant first = s.watch("acme");
  s.catalog.changed("acme", s.now);
  CHECK(s.actions() == "fetch acme");
  // It changes again while it is fetched: what comes may be older.
  s.catalog.changed("acme", s.now);
  CHECK(s.actions().empty());
  s.row("acme", {{"tier", "pro"}, {"max_clients", "50"}});
  CHECK(s.actions() == "changed acme known 50; fetch acme");
  s.row("acme", {{"tier", "pro"}, {"max_clients", "50"}});
  CHECK(s.actions().empty());
  s.catalog.changed("acme", s.now);
  s.row("acme", {{"tier", "pro"}, {"state", "suspended"}, {"reason", "unpaid"}});
  const auto actions = s.catalog.take_actions();
  REQUIRE(actions.size() == 3);  // a fetch, what differs, and the record
  REQUIRE(actions[2].answer.record);
  CHECK(actions[2].answer.record->state == TenantState::Suspended);
  CHECK(actions[2].answer.record->revision > first.revision);
  s.catalog.unwatch("acme");
  s.row("acme", {{"tier", "pro"}});
  CHECK(s.actions().empty());
}

TEST_CASE("what changed while it was looked up is looked up again, if its tier had to be, too") {
  Stand s;
  s.ask("acme");
  s.catalog.changed("acme", s.now);
  s.row("acme", {{"tier", "pro"}});
  CHECK(s.actions() == "fetch acme; fetch tier:pro");
  s.tier("pro", {});
  CHECK(s.actions() == "settled acme known 200; fetch acme");
  s.row("acme", {{"tier", "pro"}, {"max_clients", "7"}});
  CHECK(s.ask("acme") == "known 7");
}

TEST_CASE("what changed between the answer and the first client is told to it") {
  Stand s;
  s.know("acme");
  const auto answer = s.catalog.ask("acme", s.now);
  s.row("acme", {{"tier", "pro"}, {"max_clients", "1"}});
  s.catalog.watch(*answer.record, s.now);
  CHECK(s.actions() == "changed acme known 1");
  s.catalog.watch(*answer.record, s.now);
  s.catalog.unwatch("acme");
  CHECK(s.catalog.watched() == 1);
}

TEST_CASE("a tier of the store lies over the configuration's, and changing it changes its tenants") {
  Stand s;
  s.know("acme");
  s.know("beta", {{"tier", "pro"}, {"max_clients", "7"}});
  s.watch("acme");
  s.watch("beta");
  const std::uint64_t before = s.catalog.tiers_version();
  s.catalog.changed("tier:pro", s.now);
  CHECK(s.actions() == "fetch tier:pro");
  s.tier("pro", {});
  CHECK(s.catalog.tiers_version() == before);
  s.catalog.changed("tier:pro", s.now);
  s.actions();
  s.tier("pro", {{"max_clients", "300"}});
  CHECK(s.catalog.tiers_version() != before);
  CHECK(s.catalog.tiers(s.now)->tier("pro")->max_clients == 300);
  CHECK(s.actions() == "changed acme known 300");
  CHECK(s.ask("beta") == "known 7");
  s.tier("pro", {{"max_clients", "none"}});
  CHECK(s.actions().find("refused tier:pro: max_clients") == 0);
  CHECK(s.ask("acme") == "known 300");
  // One that the configuration has not is among those that are known, and only once it has a row.
  REQUIRE(s.catalog.ask_tier("huge"));
  CHECK(s.actions() == "fetch tier:huge");
  CHECK(s.catalog.tiers(s.now)->tiers().size() == 2);
  s.tier("huge", {{"max_clients", "900"}});
  CHECK(s.catalog.tiers(s.now)->tiers().size() == 3);
  CHECK(s.catalog.tiers(s.now)->tier("huge")->max_clients == 900);
  CHECK(s.catalog.tiers(s.now)->tier("free")->max_clients == 20);
  // A tenant that the store does not know follows the default tier.
  s.ask("nobody");
  s.row("nobody", {});
  s.tick(0s);
  s.tier("free", {{"max_clients", "2"}});
  CHECK(s.ask("nobody") == "unknown 2");
  // Which is no more again only because the store is silent.
  s.watch("nobody");
  s.now += 16min;
  s.catalog.failed(Catalog::Of::Tier, "free", s.now);
  CHECK(s.ask("nobody") == "unknown 2");
  s.tier("free", {{"max_clients", "30"}});
  CHECK(s.ask("nobody") == "unknown 30");
  s.catalog.unwatch("nobody");
}

TEST_CASE("a tier that only the store has serves its tenants; one that nobody has refuses the row") {
  Stand s;
  s.ask("acme");
  s.row("acme", {{"tier", "gold"}});
  s.tier("gold", {{"max_clients", "900"}});
  CHECK(s.actions() == "fetch acme; fetch tier:gold; settled acme known 900");
  s.ask("beta");
  s.row("beta", {{"tier", "lead"}});
  s.tier("lead", {});
  CHECK(
      s.actions() ==
      "fetch beta; fetch tier:lead; refused beta: tier must be the name of a tier, not 'lead'; settled beta "
      "unknown 20");
  s.ask("gamma");
  s.row("gamma", {{"tier", "pro"}});
  s.catalog.failed(Catalog::Of::Tier, "pro", s.now);
  CHECK(s.actions() == "fetch gamma; fetch tier:pro; settled gamma known 200");
}

// Whether the row is garbage cannot be said as long as the store does not tell of its tier.
TEST_CASE("a row whose tier could not be looked up is as one that could not, not garbage") {
  Stand s;
  const Fields suspended{{"tier", "gold"}, {"state", "suspended"}};
  const auto silent = [&] { s.catalog.failed(Catalog::Of::Tier, "gold", s.now); };
  s.serves_unreachable = false;
  s.know("known");
  s.watch("known");
  s.ask("acme");
  s.ask("beta");
  s.actions();
  s.row("acme", suspended);
  s.row("beta", suspended);
  s.catalog.changed("known", s.now);
  s.row("known", {{"tier", "gold"}});
  CHECK(s.actions() == "fetch tier:gold; fetch known");
  s.catalog.changed("acme", s.now);  // which is looked up again, anyway
  silent();
  CHECK(s.actions() == "settled acme unreachable none; settled beta unreachable none");
  CHECK(s.catalog.totals().refused == 0);
  CHECK(s.ask("known") == "known 200");
  // Nor while it is not asked again, so soon.
  s.ask("acme");
  s.catalog.changed("acme", s.now);
  s.row("acme", suspended);
  CHECK(s.actions() == "fetch acme; settled acme unreachable none");
  s.catalog.changed("known", s.now);
  s.row("known", {{"tier", "gold"}});
  CHECK(s.actions() == "fetch known");
  CHECK(s.ask("known") == "known 200");
  // When it answers, all is as the row says.
  s.now += Catalog::kRetry;
  s.ask("acme");
  s.row("acme", suspended);
  s.tier("gold", {{"max_clients", "9"}});
  CHECK(s.actions() == "fetch acme; fetch tier:gold; settled acme known 9");
  CHECK(s.catalog.suspended() == 1);
  CHECK(s.catalog.totals().refused == 0);
  s.catalog.unwatch("known");
}

TEST_CASE("'*' asks for all that is watched, at most once a second") {
  Stand s;
  for (const char* name : {"a", "b", "c"}) {
    s.know(name);
    if (*name != 'c') s.watch(name);
  }
  s.tick(0s);
  s.tier("free", {});
  s.actions();
  s.catalog.changed("*", s.now);
  CHECK(s.actions() == "fetch tier:free; fetch tier:pro; fetch a; fetch b");
  for (const char* name : {"a", "b"}) s.row(name, {{"tier", "pro"}});
  for (const char* name : {"free", "pro"}) s.tier(name, {});
  for (int i = 0; i < 1000; ++i) s.catalog.changed("*", s.now);
  CHECK(s.actions().empty());
  s.tick(1s);
  CHECK(s.actions() == "fetch tier:free; fetch tier:pro; fetch a; fetch b");
  CHECK(s.ask("c") == "known 200");
  CHECK(s.actions() == "fetch c");
}

namespace {

// Many that are watched, all of which are to be asked for anew.
struct Crowd : Stand {
  static constexpr int kMany = 200;
  Crowd() {
    for (int i = 0; i < kMany; ++i) {
      know("t" + std::to_string(i));
      watch("t" + std::to_string(i));
    }
    tick(0s);
    tier("free", {});
    actions();
    catalog.changed("*", now);
    obey();
  }
  ~Crowd() {
    for (int i = 0; i < kMany; ++i) catalog.unwatch("t" + std::to_string(i));
  }
  // How many lookups that makes.
  std::size_t obey() {
    std::size_t fetches = 0;
    for (const auto& action : catalog.take_actions()) {
      if (action.kind != Catalog::Action::Kind::Fetch) continue;
      asked.emplace_back(action.of, action.name);
      ++fetches;
    }
    return fetches;
  }
  void answer() {
    const auto [of, name] = asked.front();
    asked.pop_front();
    if (of == Of::Tier)
      tier(name, {});
    else
      row(name, {{"tier", "pro"}});
  }
  bool asks_for(const std::string& name) const {
    return !asked.empty() && asked.back() == std::pair(Of::Tenant, name);
  }
  std::deque<std::pair<Of, std::string>> asked;
};

}  // namespace

TEST_CASE("what nobody waits for is asked for some at a time, and whoever is waited for passes it by") {
  Crowd s;
  CHECK(s.asked.size() == Catalog::kRefreshesMax);
  CHECK(s.ask("cold") == "pending");
  CHECK(s.obey() == 1);
  CHECK(s.asks_for("cold"));
  // With each answer the next one, until all have had theirs, once.
  std::set<std::string> told;
  std::size_t answers = 0;
  SECTION("as they are answered") {
    for (; !s.asked.empty(); ++answers) {
      told.insert(s.asked.front().second);
      s.answer();
      CHECK(s.obey() <= 1);
      CHECK(s.asked.size() <= Catalog::kRefreshesMax + 1);
    }
    CHECK(answers == Crowd::kMany + 3);  // and two tiers, and the cold one
    CHECK(told.size() == answers);
  }
  SECTION("as they fail") {
    for (; !s.asked.empty(); ++answers) {
      const auto [of, name] = s.asked.front();
      s.asked.pop_front();
      told.insert(name);
      s.catalog.failed(of, name, s.now);
      s.obey();
    }
    CHECK(answers == Crowd::kMany + 3);
    CHECK(told.size() == answers);
  }
  s.now += 1min;
  s.catalog.tick(s.now);
  CHECK(s.obey() == Catalog::kRefreshesMax);
}

TEST_CASE("of what nobody waits for, that which has changed comes first") {
  Crowd s;
  for (int i = 0; i < 1000; ++i) s.catalog.changed("t150", s.now);
  CHECK(s.obey() == 0);
  s.answer();
  CHECK(s.obey() == 1);
  CHECK(s.asks_for("t150"));
  // Once; and again where it changes while it is asked for.
  s.catalog.changed("t150", s.now);
  s.row("t150", {{"tier", "pro"}});
  s.asked.pop_back();
  CHECK(s.obey() == 1);
  CHECK(s.asks_for("t150"));
  std::size_t more = 0;
  while (!s.asked.empty()) {
    s.answer();
    s.obey();
    more += s.asks_for("t150") ? 1 : 0;
  }
  CHECK(more <= 1);
}

TEST_CASE("what has changed is asked for in the order in which it changed") {
  Crowd s;
  while (s.asked.front().first == Of::Tier) {  // what is under way is asked for again at once
    s.answer();
    s.obey();
  }
  for (const char* name : {"t150", "t151", "tier:pro", "t152", "t150"}) s.catalog.changed(name, s.now);
  std::string order;
  for (int i = 0; i < 4; ++i) {
    s.answer();
    REQUIRE(s.obey() == 1);
    order += s.asked.back().second + " ";
  }
  CHECK(order == "t150 t151 pro t152 ");
}

TEST_CASE("whoever is forgotten while he is asked for holds up nobody") {
  Stand s;
  for (std::size_t i = 0; i < Catalog::kRefreshesMax; ++i) s.know("t" + std::to_string(i));
  s.now += 61s;
  for (std::size_t i = 0; i < Catalog::kRefreshesMax; ++i) s.ask("t" + std::to_string(i));
  CHECK(s.actions().find("fetch t31") != std::string::npos);
  for (int i = 0; i < 1000; ++i) s.know("x" + std::to_string(i));  // by lookups that he waits for
  CHECK(s.catalog.known() == 1000);
  s.now += 61s;
  CHECK(s.ask("x999") == "known 200");
  CHECK(s.actions() == "fetch x999");
  for (std::size_t i = 0; i < Catalog::kRefreshesMax; ++i) s.row("t" + std::to_string(i), {{"tier", "pro"}});
  CHECK(s.ask("x998") == "known 200");
  CHECK(s.actions() == "fetch x998");
}

TEST_CASE("rows that came together are not all looked up together again") {
  Crowd s;
  while (!s.asked.empty()) {
    s.answer();
    s.obey();
  }
  std::size_t all = 0, most = 0, turns = 0;
  for (Duration passed{}; passed <= 60s; passed += 250ms) {
    s.tick(250ms);
    const std::size_t these = s.obey();
    while (!s.asked.empty()) {
      s.answer();
      s.obey();
    }
    all += these;
    most = std::max(most, these);
    turns += these > 0 ? 1 : 0;
    if (passed < 44s) CHECK(all == 0);
  }
  CHECK(all >= Crowd::kMany);
  CHECK(most <= 20);
  CHECK(turns >= 40);
}

TEST_CASE("what nobody uses is forgotten beyond a bound, the longest unused first; who is watched stays") {
  Stand s;
  s.know("watched");
  s.watch("watched");
  for (int i = 0; i < 1500; ++i) s.know("t" + std::to_string(i));
  CHECK(s.catalog.known() == 1001);
  CHECK(s.ask("t1499") == "known 200");
  CHECK(s.ask("t500") == "known 200");
  CHECK(s.ask("t499") == "pending");
  CHECK(s.ask("watched") == "known 200");
  s.row("t499", {});
  for (std::size_t i = 0; i < Catalog::kAbsentMax + 500; ++i) {
    s.ask("n" + std::to_string(i));
    s.row("n" + std::to_string(i), {});
  }
  CHECK(s.catalog.size() == 1001 + Catalog::kAbsentMax);
  s.actions();
  for (std::size_t i = 0; i < Catalog::kAskedMax; ++i) s.ask("q" + std::to_string(i));
  CHECK(s.ask("one more") == "unreachable 20");
  s.serves_unreachable = false;
  CHECK(s.ask("one more") == "unreachable none");
  s.catalog.unwatch("watched");
}
