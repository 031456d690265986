#include "pooler/startup_settings.h"

#include <catch2/catch.hpp>

using namespace pgweir;

namespace {

tiers::Tenant tenant(std::initializer_list<std::pair<const char*, const char*>> fields) {
  tiers::Tenant made;
  made.name = "acme";
  made.limits.name = "free";
  for (const auto& [key, value] : fields) REQUIRE(tiers::set_tenant_field(made, key, value));
  return made;
}

// What was lowered, and what is left to be set; or the sentence of the refusal.
std::string held(SettingsMap::Values wanted, const tiers::Tenant& record) {
  std::vector<std::string> lowered;
  const auto done = hold_to_ceilings(wanted, record, lowered);
  if (!done) return std::string(done.error().sqlstate) + " " + done.error().message;
  std::string out;
  for (const std::string& name : lowered) out += "(" + name + ") ";
  for (const auto& [name, value] : wanted) out += (out.empty() ? "" : ", ") + name + "=" + value;
  return out;
}

}  // namespace

TEST_CASE("tenants with equal ceilings have the same startup settings, as one object") {
  StartupBook book;
  const StartupRef one = book.of(tenant({{"work_mem", "4MB"}}));
  tiers::Tenant other = tenant({{"work_mem", "4096"}});
  other.name = "beta";
  CHECK(book.of(other) == one);
  CHECK(book.of(tenant({{"work_mem", "8MB"}})) != one);
  CHECK(book.of(tenant({{"work_mem", "4MB"}, {"inject.app.tenant_id", "{tenant}"}})) != one);
  CHECK(*one == StartupSettings{{"standard_conforming_strings", "on"}, {"work_mem", "4MB"}});
  for (int i = 0; i < 300; ++i) book.of(tenant({{"work_mem", (std::to_string(100 + i)).c_str()}}));
  CHECK(book.of(tenant({{"work_mem", "4MB"}})) == one);
}

TEST_CASE("a server is told what its version knows") {
  const StartupSettings settings{
      {"idle_session_timeout", "1h"}, {"transaction_timeout", "1min"}, {"work_mem", "4MB"}};
  CHECK(startup_parameters(settings, 0) == protocol::Settings{{"work_mem", "4MB"}});
  CHECK(startup_parameters(settings, 15) ==
        protocol::Settings{{"idle_session_timeout", "1h"}, {"work_mem", "4MB"}});
  CHECK(startup_parameters(settings, 17).size() == 3);
  CHECK(major_version("15.4 (Debian 15.4-1)") == 15);
  CHECK(major_version("18beta1") == 18);
  CHECK(major_version("") == 0);
  CHECK(major_version("devel") == 0);
}

TEST_CASE("a pooled server is not lent in the last moments before Postgres ends it") {
  using std::chrono::milliseconds;
  const struct {
    milliseconds most, pooled;
  } rows[] = {{milliseconds(600'000), milliseconds(599'000)},
              {milliseconds(2000), milliseconds(1000)},
              {milliseconds(1000), milliseconds(500)},
              {milliseconds(100), milliseconds(50)},
              {milliseconds(20), milliseconds(10)},
              {milliseconds(19), milliseconds(0)},
              {milliseconds(1), milliseconds(0)}};
  for (const auto& row : rows) CHECK(pooled_idle(row.most) == row.pooled);
}

TEST_CASE("what a client asks for as it connects is held to its tenant's ceilings") {
  const tiers::Tenant record = tenant({{"work_mem", "4MB"},
                                       {"statement_timeout", "10s"},
                                       {"default.timezone", "UTC"},
                                       {"inject.app.tenant_id", "{tenant}"}});
  CHECK(held({{"application_name", "psql"}}, record) == "application_name=psql");
  CHECK(held({{"work_mem", "1MB"}}, record) == "work_mem=1MB");
  // Lowered to what its servers begin with, so nothing is left to set.
  CHECK(held({{"work_mem", "1GB"}, {"statement_timeout", "0"}}, record) == "(statement_timeout) (work_mem) ");
  CHECK(held({{"TimeZone", "Asia/Tokyo"}}, record) == "TimeZone=Asia/Tokyo");
  CHECK(held({{"TimeZone", "UTC"}}, record) == "");
  CHECK(held({{"app.tenant_id", "acme"}, {"app.other", "x"}}, record) == "app.other=x");
  CHECK(held({{"app.tenant_id", "beta"}}, record) == "42501 parameter \"app.tenant_id\" cannot be changed");
  CHECK(held({{"work_mem", "lots"}}, record) == "22023 invalid value for parameter \"work_mem\": 'lots'");
  CHECK(held({{"work_memory", "1MB"}}, record) ==
        "42501 parameter 'work_memory' cannot be set by a startup packet");
  // It takes an injected role back, whomever it names.
  const tiers::Tenant reader = tenant({{"inject.role", "reader"}});
  CHECK(held({{"role", "acme"}}, reader) == "42501 parameter \"role\" cannot be changed");
  // Postgres does not heed it.
  CHECK(held({{"session_authorization", "acme"}}, reader) == "");
  CHECK(held({{"session_authorization", "acme"}}, record) == "");
  // What every driver sends keeps nobody out, and gives way without a word.
  const tiers::Tenant labeled = tenant({{"inject.application_name", "{tenant}/{tier}"}});
  CHECK(held({{"application_name", "psql"}}, labeled) == "");
  // Postgres's business where there is nothing to hold.
  CHECK(held({{"work_memory", "1MB"}, {"work_mem", "1TB"}}, tenant({})) == "work_mem=1TB, work_memory=1MB");
}
