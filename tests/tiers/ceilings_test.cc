#include "tiers/ceilings.h"

#include <catch2/catch.hpp>

#include "tiers/tier.h"

using namespace pgweir;
using namespace pgweir::tiers;

namespace {

// "within", "lowered to X", or the sentence of the refusal.
std::string told(const Verdict& verdict) {
  switch (verdict.kind) {
    case Verdict::Kind::Within: return "within";
    case Verdict::Kind::Lowered: return "lowered to " + verdict.to;
    case Verdict::Kind::Refused: break;
  }
  return std::string(verdict.why.sqlstate) + " " + verdict.why.message;
}

Tier tier_of(std::initializer_list<std::pair<std::string_view, std::string_view>> fields) {
  Tier tier;
  for (const auto& [key, value] : fields) {
    CAPTURE(std::string(key));
    REQUIRE(set_tier_field(tier, key, value));
  }
  return tier;
}

}  // namespace

TEST_CASE("a value is within its ceiling, lowered to it, or refused") {
  struct Row {
    std::string_view name, limit, asked, verdict;
  };
  const Row rows[] = {
      {"work_mem", "64MB", "64MB", "within"},
      {"work_mem", "64MB", "65536", "within"},
      {"work_mem", "64MB", "65537", "lowered to 64MB"},
      {"work_mem", "64MB", "1GB", "lowered to 64MB"},
      {"work_mem", "64MB", " 0x10001 ", "lowered to 64MB"},
      {"work_mem", "64MB", "0200000", "within"},
      {"work_mem", "64MB", "0200001", "lowered to 64MB"},
      {"work_mem", "64MB", "6.5e4", "within"},
      {"work_mem", "64MB", "1e6", "lowered to 64MB"},
      // Too little: Postgres says so.
      {"work_mem", "64MB", "0", "within"},
      {"work_mem", "64MB", "-1", "within"},
      {"work_mem", "64MB", "1s", "22023 invalid value for parameter \"work_mem\": '1s'"},
      {"work_mem", "64MB", "64mb", "22023 invalid value for parameter \"work_mem\": '64mb'"},
      {"work_mem", "64MB", "", "22023 invalid value for parameter \"work_mem\": ''"},
      {"work_mem", "64MB", "3TB", "22023 invalid value for parameter \"work_mem\": '3TB'"},
      {"statement_timeout", "10s", "10000", "within"},
      {"statement_timeout", "10s", "10001", "lowered to 10s"},
      {"statement_timeout", "10s", "1", "within"},
      {"statement_timeout", "10s", "-1", "within"},
      // No limit, in all spellings that are rounded to it.
      {"statement_timeout", "10s", "0", "lowered to 10s"},
      {"statement_timeout", "10s", "0x0", "lowered to 10s"},
      {"statement_timeout", "10s", "-0.4", "lowered to 10s"},
      {"statement_timeout", "10s", "499us", "lowered to 10s"},
      {"statement_timeout", "10s", "0d", "lowered to 10s"},
      {"temp_file_limit", "1GB", "-1", "lowered to 1GB"},
      {"temp_file_limit", "1GB", "0", "within"},
      {"temp_file_limit", "1GB", "2GB", "lowered to 1GB"},
      {"hash_mem_multiplier", "1.5", "1.5", "within"},
      {"hash_mem_multiplier", "1.5", "1.500001", "lowered to 1.5"},
      {"hash_mem_multiplier", "1.5", "inf",
       "22023 invalid value for parameter \"hash_mem_multiplier\": 'inf'"},
      {"temp_buffers", "4MB", "512", "within"},
      {"temp_buffers", "4MB", "513", "lowered to 4MB"},
      {"temp_buffers", "4MB", "4MB", "within"},
      {"max_parallel_workers_per_gather", "0", "0", "within"},
      {"max_parallel_workers_per_gather", "0", "1", "lowered to 0"},
      {"max_parallel_workers_per_gather", "0", "0.4", "within"},
      // Parameters without a row: numbers with and without unit, and words.
      {"geqo_effort", "5", "5", "within"},
      {"geqo_effort", "5", "6", "lowered to 5"},
      {"geqo_effort", "9", "010", "lowered to 9"},
      {"geqo_effort", "5", "many", "22023 invalid value for parameter \"geqo_effort\": 'many'"},
      {"geqo_effort", "5", "0",
       "42501 parameter \"geqo_effort\" must lie above 0, because 0 may mean no limit, not '0'"},
      {"geqo_effort", "0", "0", "within"},
      {"geqo_effort", "5", "1kB", "22023 cannot compare '1kB' with the ceiling 5 of \"geqo_effort\""},
      {"my.size", "4MB", "1GB", "lowered to 4MB"},
      {"my.size", "4MB", "100kB", "within"},
      {"my.size", "4MB", "100", "22023 cannot compare '100' with the ceiling 4MB of \"my.size\""},
      {"my.size", "4MB", "1s", "22023 cannot compare '1s' with the ceiling 4MB of \"my.size\""},
      {"my.time", "1min", "59s", "within"},
      {"my.time", "1min", "2min", "lowered to 1min"},
      // With a fraction in the ceiling it is no whole number, and nothing is rounded.
      {"my.cost", "1.5", "1.5", "within"},
      {"my.cost", "1.5", "1.25", "within"},
      {"my.cost", "1.5", "0.1", "within"},
      {"my.cost", "1.5", "1.75", "lowered to 1.5"},
      {"my.cost", "1.5", "2", "lowered to 1.5"},
      {"my.cost", "1.5", "0",
       "42501 parameter \"my.cost\" must lie above 0, because 0 may mean no limit, not '0'"},
      // Without one it may be a whole number, of which 0.4 is none and 2.5 two.
      {"my.count", "2", "1.4", "within"},
      {"my.count", "2", "2.5", "lowered to 2"},
      {"my.count", "2", "0.4",
       "42501 parameter \"my.count\" must lie above 0, because 0 may mean no limit, not '0.4'"},
      {"my.count", "9", "010", "lowered to 9"},
      {"my.count", "010", "010", "within"},
      {"jit", "off", "off", "within"},
      {"jit", "off", "FALSE", "within"},
      {"jit", "off", "0", "within"},
      {"jit", "off", "of", "within"},
      {"jit", "off", "on", "lowered to off"},
      {"jit", "off", "t", "lowered to off"},
      {"jit", "off", "nonsense", "lowered to off"},
      {"xmloption", "content | document", "Document", "within"},
      {"xmloption", "content | document", "both", "lowered to content"},
  };
  for (const Row& row : rows) {
    CAPTURE(std::string(row.name), std::string(row.asked));
    CHECK(told(judge(row.name, row.limit, row.asked)) == row.verdict);
  }
}

TEST_CASE("a tier under which no statement can be read is refused") {
  const auto message = [](const Tier& tier) {
    const auto checked = check_tier(tier);
    return checked ? "fine" : checked.error().message;
  };
  const std::string why =
      " while inspection is standard, because statements cannot be read under it: set it to ";
  const std::string encoding = " must not be 'SJIS'" + why + "UTF8, or inspection to off";
  CHECK(message(tier_of({{"inject.standard_conforming_strings", "off"}})) ==
        "inject.standard_conforming_strings must not be 'off'" + why + "on, or inspection to off");
  CHECK(message(tier_of({{"inject.client_encoding", "SJIS"}})) == "inject.client_encoding" + encoding);
  CHECK(message(tier_of({{"work_mem", "4MB"}, {"default.client_encoding", "SJIS"}})) ==
        "default.client_encoding" + encoding);
  CHECK(message(tier_of({{"ceiling.client_encoding", "SJIS|UTF8"}})) == "ceiling.client_encoding" + encoding);
  // It can be, or nobody reads.
  CHECK(message(tier_of({{"inject.client_encoding", "LATIN1"}})) == "fine");
  CHECK(message(tier_of({{"inject.standard_conforming_strings", "on"}})) == "fine");
  CHECK(message(tier_of({{"ceiling.client_encoding", "UTF8|SJIS"}})) == "fine");
  CHECK(message(tier_of({{"default.client_encoding", "SJIS"}})) == "fine");
  CHECK(message(tier_of({{"inject.client_encoding", "SJIS"}, {"inspection", "off"}})) == "fine");
}

TEST_CASE("what is below a ceiling that is lowered stays below it") {
  // Whatever a client asks for, what comes out of judge() is at most the ceiling.
  for (const Ceiling& row : kCeilings) {
    CAPTURE(std::string(row.name));
    const double most = static_cast<double>(std::min<std::int64_t>(row.most, 5000));
    const std::string limit = spell_value(most, row.measure);
    for (const double asked : {most + 1, most * 2, static_cast<double>(row.most)}) {
      if (asked > static_cast<double>(row.most)) continue;
      const Verdict verdict = judge(row.name, limit, spell_value(asked, row.measure));
      if (asked > most) CHECK(told(verdict) == "lowered to " + limit);
    }
    if (row.unlimited)
      CHECK(told(judge(row.name, limit, std::to_string(*row.unlimited))) == "lowered to " + limit);
    CHECK(told(judge(row.name, limit, limit)) == "within");
  }
}

TEST_CASE("names mean the same in any case, and old ones what they became") {
  CHECK(parameter_name("Work_MEM") == "work_mem");
  CHECK(parameter_name("SORT_mem") == "work_mem");
  CHECK(parameter_name("vacuum_mem") == "maintenance_work_mem");
  CHECK(parameter_name("TimeZone") == "timezone");
  CHECK(find_ceiling("work_mem") != nullptr);
  CHECK(find_ceiling("geqo_effort") == nullptr);
}

TEST_CASE("a tier's ceilings are set from text and printed as Postgres does") {
  const Tier tier = tier_of({{"statement_timeout", "60000"},
                             {"work_mem", "0x10000"},
                             {"temp_buffers", "4096kB"},
                             {"hash_mem_multiplier", "1.50"},
                             {"ceiling.jit", "off"},
                             {"ceiling.sort_mem", "32MB"},
                             {"ceiling_max_parallel_workers", "2"},
                             {"inject.app.tenant_id", "{tenant}"},
                             {"default_TimeZone", "UTC"}});
  CHECK(tier.ceilings->limits == Ceilings::Values{{"statement_timeout", "1min"},
                                                  {"work_mem", "32MB"},
                                                  {"temp_buffers", "4MB"},
                                                  {"hash_mem_multiplier", "1.5"},
                                                  {"jit", "off"},
                                                  {"max_parallel_workers", "2"}});
  CHECK(tier.ceilings->injected == Ceilings::Values{{"app.tenant_id", "{tenant}"}});
  CHECK(tier.ceilings->defaults == Ceilings::Values{{"timezone", "UTC"}});
  for (const TierField& field : tier_fields()) {
    if (field.key == "statement_timeout") CHECK(tier_text(tier, field) == "1min");
    if (field.key == "lock_timeout") CHECK(tier_text(tier, field) == "none");
  }
}

TEST_CASE("a ceiling is taken away by none and by what means no limit") {
  Tier tier = tier_of({{"statement_timeout", "10s"}, {"work_mem", "4MB"}, {"temp_file_limit", "1GB"}});
  REQUIRE(set_tier_field(tier, "statement_timeout", "0"));
  REQUIRE(set_tier_field(tier, "work_mem", "none"));
  REQUIRE(set_tier_field(tier, "temp_file_limit", "-1"));
  CHECK(tier.ceilings->limits.empty());
  CHECK(tier.ceilings == Tier{}.ceilings);
}

TEST_CASE("a tenant's ceilings are its tier's but for its own, and the tier's stay") {
  const Tier tier = tier_of({{"statement_timeout", "10s"}, {"work_mem", "4MB"}});
  Tenant tenant;
  tenant.limits = tier;
  CHECK(tenant.limits.ceilings == tier.ceilings);
  REQUIRE(set_tenant_field(tenant, "work_mem", "8MB"));
  REQUIRE(set_tenant_field(tenant, "inject.role", "none"));
  CHECK(tenant.limits.ceilings->limits.at("work_mem") == "8MB");
  CHECK(tenant.limits.ceilings->limits.at("statement_timeout") == "10s");
  CHECK(tenant.limits.ceilings->injected.at("role") == "none");
  CHECK(tier.ceilings->limits.at("work_mem") == "4MB");
  CHECK(tier.ceilings->injected.empty());
}

TEST_CASE("a ceiling that is wrong says what is right and changes nothing") {
  struct Row {
    std::string key, value, message;
  };
  const Row rows[] = {
      {"work_mem", "63", "work_mem must lie between 64kB and 2147483647kB, not 63"},
      {"work_mem", "64mb", "work_mem must be a size such as 512kB, 64MB or 1GB or none, not '64mb'"},
      {"statement_timeout", "-1", "statement_timeout must lie between 0 and 2147483647ms, not -1"},
      {"statement_timeout", "soon",
       "statement_timeout must be a time such as 250ms, 30s, 5min, 1h or 1d or none, not 'soon'"},
      {"hash_mem_multiplier", "0.5", "hash_mem_multiplier must lie between 1 and 1000, not 0.5"},
      {"max_parallel_workers_per_gather", "two",
       "max_parallel_workers_per_gather must be a whole number or none, not 'two'"},
      {"ceiling.work_mem", "1", "ceiling.work_mem must lie between 64kB and 2147483647kB, not 1"},
      {"ceiling.jit", "", "ceiling.jit must be a number, or words with | between them, not ''"},
      {"ceiling.jit", "on|", "ceiling.jit must be a number, or words with | between them, not 'on|'"},
      {"ceiling.", "5", "'ceiling.' is no field of a tier"},
      {"ceiling.a-b", "5", "'ceiling.a-b' is no field of a tier"},
      {"ceiling.1", "5", "'ceiling.1' is no field of a tier"},
      {"inject.a.", "5", "'inject.a.' is no field of a tier"},
      {"inject." + std::string(64, 'a'), "5",
       "'inject." + std::string(53, 'a') + "...' is no field of a tier"},
      {"inject.a", "x\ny", "inject.a must not hold control characters"},
      {"inject.a", std::string(1025, 'x'), "inject.a must have at most 1024 bytes, not 1025"},
      {"statment_timeout", "5s", "'statment_timeout' is no field of a tier; did you mean statement_timeout?"},
  };
  for (const Row& row : rows) {
    CAPTURE(row.key, row.value);
    Tier tier;
    const auto set = set_tier_field(tier, row.key, row.value);
    REQUIRE_FALSE(set);
    CHECK(set.error().message == row.message);
    CHECK(tier.ceilings == Tier{}.ceilings);
  }
}

TEST_CASE("a tier has a bounded number of each kind") {
  Tier tier;
  for (std::size_t i = 0; i < kParametersMost; ++i)
    REQUIRE(set_tier_field(tier, "inject.a" + std::to_string(i), "x"));
  CHECK_FALSE(set_tier_field(tier, "inject.b", "x"));
  CHECK(set_tier_field(tier, "inject.a0", "y"));
  CHECK(set_tier_field(tier, "default.b", "x"));
}

TEST_CASE("defaults lie within ceilings, and what is injected has neither") {
  CHECK(check_tier(tier_of({{"work_mem", "4MB"}, {"default.work_mem", "4096"}})));
  const auto message = [](const Tier& tier) { return check_tier(tier).error().message; };
  CHECK(message(tier_of({{"work_mem", "4MB"}, {"default.work_mem", "5MB"}})) ==
        "default.work_mem must lie within its ceiling 4MB, not '5MB'");
  CHECK(message(tier_of({{"work_mem", "4MB"}, {"default.work_mem", "much"}})) ==
        "default.work_mem must lie within its ceiling 4MB, not 'much'");
  CHECK(message(tier_of({{"work_mem", "4MB"}, {"inject.work_mem", "1MB"}})) ==
        "inject.work_mem leaves no room for a ceiling of it");
  CHECK(message(tier_of({{"default.role", "a"}, {"inject.role", "b"}})) ==
        "inject.role leaves no room for a default of it");
}

TEST_CASE("an injected value takes nothing but itself") {
  const Tier tier = tier_of({{"inject.app.tenant_id", "{tenant}/{tier}"}, {"work_mem", "4MB"}});
  const Ceilings own = for_tenant(*tier.ceilings, "acme{tier}", "pro");
  CHECK(told(judge(own, "app.tenant_id", "acme{tier}/pro")) == "within");
  CHECK(told(judge(own, "app.tenant_id", "other")) == "42501 parameter \"app.tenant_id\" cannot be changed");
  CHECK(told(judge(own, "work_mem", "8MB")) == "lowered to 4MB");
  CHECK(told(judge(own, "maintenance_work_mem", "8GB")) == "within");
}

TEST_CASE("what drivers send by themselves gives way to an injected value") {
  const Tier tier = tier_of({{"inject.application_name", "{tenant}"}, {"inject.role", "reader"}});
  const Ceilings own = for_tenant(*tier.ceilings, "acme", "pro");
  CHECK(told(judge(own, "application_name", "psql")) == "lowered to acme");
  CHECK(told(judge(own, "application_name", "acme")) == "within");
  CHECK(told(judge(own, "role", "other")) == "42501 parameter \"role\" cannot be changed");
  CHECK(told(judge(own, "session_authorization", "reader")) ==
        "42501 parameter \"session_authorization\" cannot be changed");
}

TEST_CASE("a server connection begins with ceilings, defaults and injected values") {
  const Tier tier = tier_of({{"statement_timeout", "10s"},
                             {"transaction_timeout", "1min"},
                             {"work_mem", "4MB"},
                             {"default.work_mem", "1MB"},
                             {"temp_file_limit", "1GB"},
                             {"ceiling.xmloption", "content | document"},
                             {"ceiling.my.size", "4MB"},
                             {"inject.app.tenant_id", "{tenant}"}});
  CHECK(startup_settings(for_tenant(*tier.ceilings, "acme", "pro")) ==
        Ceilings::Values{{"statement_timeout", "10s"},
                         {"transaction_timeout", "1min"},
                         {"work_mem", "1MB"},
                         {"xmloption", "content"},
                         {"my.size", "4MB"},
                         {"app.tenant_id", "acme"}});
  CHECK_FALSE(known_to(16, "transaction_timeout"));
  CHECK(known_to(17, "transaction_timeout"));
  CHECK(known_to(kOldestVersion, "work_mem"));
  CHECK(known_to(kOldestVersion, "my.size"));
}

TEST_CASE("the stricter of two tiers' ceilings holds, and no default above it") {
  const Tier own = tier_of({{"statement_timeout", "1min"},
                            {"work_mem", "4MB"},
                            {"default.lock_timeout", "20s"},
                            {"inject.app.tenant_id", "acme"}});
  const Tier other = tier_of(
      {{"statement_timeout", "10s"}, {"work_mem", "8MB"}, {"lock_timeout", "5s"}, {"default.role", "x"}});
  const Ceilings both = stricter_of(*own.ceilings, *other.ceilings);
  CHECK(both.limits ==
        Ceilings::Values{{"lock_timeout", "5s"}, {"statement_timeout", "10s"}, {"work_mem", "4MB"}});
  CHECK(both.defaults.empty());
  CHECK(both.injected == own.ceilings->injected);
}
