#include "tiers/difference.h"

#include <catch2/catch.hpp>

#include "tests/tiers/catalog_help.h"

using namespace pgweir;
using namespace pgweir::tiers;

namespace {

Tier tier(const char* name, const Fields& fields = {}) {
  Tier made;
  made.name = name;
  for (const auto& [key, value] : fields) REQUIRE(set_tier_field(made, key, value));
  return made;
}

Tenant tenant(const char* name, const Tier& of, const Fields& fields = {}) {
  Tenant made;
  made.name = name;
  made.limits = of;
  for (const auto& [key, value] : fields) REQUIRE(set_tenant_field(made, key, value));
  return made;
}

Directory directory(const std::vector<Tier>& tiers, const std::vector<Tenant>& tenants) {
  Directory made;
  for (const Tier& each : tiers) REQUIRE(made.add_tier(each));
  for (const Tenant& each : tenants) REQUIRE(made.add_tenant(each));
  return made;
}

std::string text(const Directory& before, const Directory& after) {
  std::string all;
  for (const Difference& each : differences(before, after))
    all += (each.of == Of::Tier ? "tier " : "tenant ") + each.name + ": " + each.what + "; ";
  return all;
}

}  // namespace

TEST_CASE("what differs between two rows is told by name, with what it was and is") {
  struct Case {
    Fields before, after;
    const char* told;
  };
  const Case cases[] = {
      {{}, {}, ""},
      {{{"tier", "free"}}, {{"tier", "free"}}, ""},
      {{{"tier", "free"}}, {{"tier", "pro"}}, "tier from 'free' to 'pro'"},
      {{{"tier", "free"}, {"max_clients", "5"}}, {{"max_clients", "5"}, {"tier", "free"}}, ""},
      {{{"tier", "free"}}, {{"tier", "free"}, {"max_clients", "5"}}, "max_clients from none to '5'"},
      {{{"tier", "free"}, {"max_clients", "5"}}, {{"tier", "free"}}, "max_clients from '5' to none"},
      {{{"backend", "a"}, {"tier", "free"}},
       {{"backend", "b"}, {"tier", "pro"}},
       "backend from 'a' to 'b', tier from 'free' to 'pro'"},
      // Spelt another way it is the same.
      {{{"ceiling.work_mem", "8MB"}}, {{"work_mem", "8MB"}}, ""},
      {{{"work_mem", "8MB"}}, {{"ceiling.work_mem", "4MB"}}, "work_mem from '8MB' to '4MB'"},
      {{{"password", "hunter2"}}, {{"password", "hunter3"}}, "password"},
      {{{"tier", "free"}, {"password", "hunter2"}}, {{"tier", "free"}}, "password"},
      {{{"tier", "free"}}, {{"tier", "free"}, {"password", "hunter2"}}, "password"},
      {{}, {{"tier", "free"}, {"password", "hunter2"}}, "new: password, tier 'free'"},
      {{{"tier", "free"}}, {}, "gone"},
  };
  for (const Case& each : cases) {
    CAPTURE(each.told);
    CHECK(difference(each.before, each.after) == each.told);
  }
}

TEST_CASE("two configurations differ by the rows of their tiers and tenants") {
  const Tier free = tier("free"), pro = tier("pro", {{"max_clients", "200"}});
  const Directory before = directory({free, pro}, {tenant("acme", free), tenant("shop_*", pro)});
  CHECK(text(before, directory({free, pro}, {tenant("acme", free), tenant("shop_*", pro)})).empty());
  CHECK(text(before, directory({free, pro}, {tenant("acme", pro), tenant("shop_*", pro)})) ==
        "tenant acme: tier from 'free' to 'pro'; ");
  CHECK(
      text(before, directory({free, pro}, {tenant("acme", free, {{"max_clients", "7"}, {"backend", "west"}}),
                                           tenant("zoo", free)})) ==
      "tenant acme: backend from none to 'west', max_clients from none to '7'; tenant shop_*: gone; "
      "tenant zoo: new: tier 'free'; ");
  // What a tier's change does to its tenants is told once, of the tier.
  const Tier lower = tier("free", {{"max_clients", "3"}, {"work_mem", "1MB"}, {"inject.jit", "off"}});
  CHECK(text(before, directory({lower, pro}, {tenant("acme", lower), tenant("shop_*", pro)})) ==
        "tier free: inject.jit from none to 'off', max_clients from '20' to '3', work_mem from none to "
        "'1MB'; ");
  CHECK(text(before, directory({free}, {tenant("acme", free, {{"state", "suspended"}, {"reason", "unpaid"}}),
                                        tenant("shop_*", free)})) ==
        "tier pro: gone; tenant acme: reason from none to 'unpaid', state from none to 'suspended'; "
        "tenant shop_*: tier from 'pro' to 'free'; ");
  CHECK(text(directory({free}, {tenant("acme", free, {{"password", "hunter2"}})}),
             directory({free}, {tenant("acme", free, {{"password", "hunter3"}})})) ==
        "tenant acme: password; ");
}

TEST_CASE("rows of a store are told where they differ from what was known, in use or not") {
  Stand on;
  on.know("acme");
  CHECK(on.differs.empty());  // that it is known now is no change
  on.row("acme", {{"tier", "pro"}});
  on.actions();
  CHECK(on.differs.empty());
  on.row("acme", {{"tier", "free"}, {"max_clients", "7"}});
  on.tier("free", {});
  on.actions();
  CHECK(on.differs == "acme: max_clients from none to '7', tier from 'pro' to 'free'; ");
  on.differs.clear();
  on.row("acme", {{"tier", "nowhere"}});  // garbage is refused, which is told otherwise
  on.tier("nowhere", {});
  on.actions();
  CHECK(on.differs.empty());
  on.tier("pro", {{"max_clients", "50"}});
  on.actions();
  CHECK(on.differs == "tier:pro: new: max_clients '50'; ");
  on.differs.clear();
  on.tier("pro", {{"max_clients", "51"}});
  on.actions();
  CHECK(on.differs == "tier:pro: max_clients from '50' to '51'; ");
  on.differs.clear();
  on.now += 16min;
  on.row("acme", {});  // perhaps the store was emptied
  on.tier("pro", {});  // that of the configuration holds again
  on.actions();
  CHECK(on.differs == "tier:pro: gone; ");
  on.differs.clear();
  auto believing = on.rules();
  believing.vanished = Catalog::Vanished::Believed;
  on.catalog.set_rules(believing, on.now);
  on.row("acme", {});
  on.actions();
  CHECK(on.differs == "acme: gone; ");
}
