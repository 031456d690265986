#include "pooler/naming.h"

#include <catch2/catch.hpp>

using namespace pgweir;
using conf::NamedBy;

namespace {

protocol::Startup startup(std::string user, std::string database, protocol::Settings settings = {}) {
  protocol::Startup made;
  made.user = std::move(user);
  made.database = std::move(database);
  made.settings = std::move(settings);
  return made;
}

// "tenant/user" of what is named.
std::string named(const std::vector<NamedBy>& ways, const protocol::Startup& login,
                  std::string_view sni = "") {
  const Named made = name_tenant({ways, "db.example.com"}, login, sni);
  return made.tenant + "/" + made.user + (made.suffixed ? " suffixed" : "");
}

}  // namespace

TEST_CASE("the first way that a login has names its tenant") {
  const std::vector<NamedBy> all{NamedBy::Option, NamedBy::Sni, NamedBy::User, NamedBy::Database};
  const auto plain = startup("alice", "app");
  const auto full = startup("alice.acme", "app", {{"work_mem", "1MB"}, {"PGWeir.Tenant", "beta"}});
  CHECK(named({NamedBy::Database}, plain) == "app/alice");
  CHECK(named({NamedBy::Database}, full, "gamma.db.example.com") == "app/alice.acme");
  CHECK(named(all, plain) == "app/alice");
  CHECK(named(all, full, "gamma.db.example.com") == "beta/alice.acme");
  CHECK(named({NamedBy::Sni, NamedBy::User}, full, "gamma.db.example.com") == "gamma/alice.acme");
  CHECK(named({NamedBy::User, NamedBy::Database}, full) == "acme/alice suffixed");
  // Nothing that is allowed: nobody's name.
  CHECK(named({NamedBy::Option, NamedBy::Sni, NamedBy::User}, plain) == "/alice");
}

TEST_CASE("a user's suffix is what stands behind the last dot, and neither part is empty") {
  const std::vector<NamedBy> ways{NamedBy::User, NamedBy::Database};
  CHECK(named(ways, startup("first.last.acme", "app")) == "acme/first.last suffixed");
  for (const char* user : {"alice", ".acme", "alice.", "."})
    CHECK(named(ways, startup(user, "app")) == "app/" + std::string(user));
}

TEST_CASE("a host names a tenant only below our domain") {
  const std::vector<NamedBy> ways{NamedBy::Sni, NamedBy::Database};
  const auto login = startup("alice", "app");
  CHECK(named(ways, login, "Acme.DB.example.com") == "acme/alice");
  CHECK(named(ways, login, "a.b.db.example.com") == "a.b/alice");
  for (const char* host : {"", "db.example.com", ".db.example.com", "acmedb.example.com",
                           "acme.db.example.org", "acme.db.example.com.evil.org"})
    CHECK(named(ways, login, host) == "app/alice");
  CHECK(name_tenant({ways, ""}, login, "acme.").tenant == "app");
}
