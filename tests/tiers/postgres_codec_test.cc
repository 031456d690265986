#include "tiers/postgres_codec.h"

#include <catch2/catch.hpp>

using namespace pgweir;
using namespace pgweir::tiers;
using Catch::Matchers::Contains;

namespace {

const std::vector<std::string> kNames{"acme", "beta"};

// "acme: tier=pro max_clients=7; beta: none", or the error in place of the fields.
std::string read(std::vector<PostgresRow> rows) {
  const auto all = postgres_fields(kNames, std::move(rows));
  REQUIRE(all.size() == kNames.size());
  std::string text;
  for (std::size_t i = 0; i < all.size(); ++i) {
    text += (i > 0 ? "; " : "") + kNames[i] + ":";
    if (!all[i])
      text += " " + all[i].error().message;
    else if (all[i]->empty())
      text += " none";
    else
      for (const auto& [key, value] : *all[i]) text += " " + key + "=" + value;
  }
  return text;
}

}  // namespace

TEST_CASE("rows of a table are fields, and none where there is no row") {
  CHECK(read({}) == "acme: none; beta: none");
  CHECK(read({{"beta", "tier", "pro"}, {"acme", "state", "active"}, {"beta", "max_clients", "7"}}) ==
        "acme: state=active; beta: tier=pro max_clients=7");
  // What was not asked for, and what no answer of ours looks like.
  CHECK(read({{"gamma", "tier", "pro"}, {"acme", "tier"}, {}, {"acme", std::nullopt, "x"}}) ==
        "acme: none; beta: none");
}

TEST_CASE("limits that are no object refuse their row, and no other") {
  const std::string text = read({{"acme", "tier", "pro"}, {"acme", "limits", ""}, {"beta", "tier", "pro"}});
  CHECK(text == "acme: limits must be a JSON object of at most 16384 bytes; beta: tier=pro");
}

TEST_CASE("a row of a table and a hash of Redis make the same record") {
  auto fields = postgres_fields(kNames, {{"acme", "tier", "pro"}, {"acme", "max_clients", "7"}});
  const auto row = Row::of_tenant(*fields[0]);
  REQUIRE(row);
  CHECK(*row == *Row::of_tenant({{"tier", "pro"}, {"max_clients", "7"}}));
  fields = postgres_fields(kNames, {{"acme", "max_clients", "{\"a\": [1]}"}});
  CHECK_FALSE(Row::of_tenant(*fields[0]));
}

// The catalog and an order may ask for the same tenant at once; that one of them gets nothing would mean that
// he was deleted.
TEST_CASE("who is asked for twice in one question has his row both times") {
  const std::vector<std::string> names{"acme", "gone", "acme", "bad", "gone", "bad", "acme"};
  const auto fields =
      postgres_fields(names, {{"acme", "tier", "pro"}, {"bad", "limits", ""}, {"acme", "max_clients", "7"}});
  REQUIRE(fields.size() == names.size());
  for (const std::size_t i : {0U, 2U, 6U}) CHECK(*fields[i] == Fields{{"tier", "pro"}, {"max_clients", "7"}});
  for (const std::size_t i : {1U, 4U}) CHECK(fields[i]->empty());
  for (const std::size_t i : {3U, 5U}) CHECK_FALSE(fields[i]);
}

TEST_CASE("names are values, never text of a statement") {
  const std::vector<std::string> hostile{"a\"b", "c\\d", "'); drop table x; --", "{e,f}", ""};
  CHECK(postgres_array(hostile) == R"({"a\"b","c\\d","'); drop table x; --","{e,f}",""})");
  CHECK(postgres_array({}) == "{}");
  const PostgresQuery fetch = postgres_fetch(PostgresTable::Tenants, hostile);
  CHECK_THAT(fetch.text, !Contains("drop") && Contains("pgweir.tenants"));
  CHECK(fetch.values[0] == postgres_array(hostile));
  CHECK_THAT(fetch.values[1], Contains("\"tier\",") && Contains("\"password\""));
  CHECK_THAT(postgres_fetch(PostgresTable::Tiers, hostile).text, Contains("pgweir.tiers"));

  const PostgresQuery set = postgres_set("a'b", {{{"tier", "x'y"}, {"user", "u"}}, {}});
  CHECK(set.text == "update pgweir.tenants set \"tier\" = $2, \"user\" = $3 where id = $1 returning 1");
  CHECK(set.values == std::vector<std::string>{"a'b", "x'y", "u"});

  // What is no column is a field of `limits`.
  const PostgresQuery own = postgres_set("a", {{{"work_mem", "1'MB"}, {"tier", "x"}}, {"max_clients"}});
  CHECK(own.text ==
        "update pgweir.tenants set \"tier\" = $2, limits = (coalesce(limits, '{}') - $3::text[]) || "
        "jsonb_object($4::text[], $5::text[]) where id = $1 returning 1");
  CHECK(own.values ==
        std::vector<std::string>{"a", "x", R"({"max_clients"})", R"({"work_mem"})", R"({"1'MB"})"});

  const PostgresUsage rows[] = {{"2026-01-31:run-7:a:b", {{"queries", "5"}, {"busy", "0.5"}}},
                                {"2026-02-01:run-7:c\"d", {{"queries", "6"}}}};
  const PostgresQuery usage = postgres_put_usage(rows);
  CHECK(usage.values == std::vector<std::string>{
                            R"({"2026-01-31","2026-02-01"})", R"({"run-7","run-7"})", R"({"a:b","c\"d"})",
                            R"({"{\"queries\",\"5\",\"busy\",\"0.5\"}","{\"queries\",\"6\"}"})"});
}

TEST_CASE("names that no Postgres can have are known") {
  using namespace std::string_literals;
  for (const std::string& good :
       {""s, "acme"s, "a\x01"s, "\xc3\xa4"s, "\xe2\x82\xac"s, "\xf0\x9f\x98\x80"s, "\xf4\x8f\xbf\xbf"s}) {
    INFO(good);
    CHECK(is_postgres_text(good));
  }
  for (const std::string& bad :
       {"a\0b"s, "\x80"s, "\xc3"s, "\xc3("s, "\xc0\x80"s, "\xe2\x82"s, "\xe0\x80\x80"s, "\xed\xa0\x80"s,
        "\xf0\x80\x80\x80"s, "\xf4\x90\x80\x80"s, "\xff"s, "\xf5\x80\x80\x80"s}) {
    INFO(bad);
    CHECK_FALSE(is_postgres_text(bad));
  }
}

TEST_CASE("a statement ends before its connection is given up") {
  using namespace std::chrono_literals;
  CHECK_THAT(postgres_setup(2000ms), Contains("set statement_timeout = 1500; "));
  CHECK_THAT(postgres_setup(1ms), Contains("set statement_timeout = 1; "));
}

TEST_CASE("errors say whose fault they are and what to do") {
  CHECK(postgres_blames_row("22012"));
  CHECK_FALSE(postgres_blames_row("42P01"));
  for (const char* row : {"22P05", "23514", "P0001"}) CHECK(postgres_refuses_row(row));
  for (const char* all : {"42501", "25006", "57014", "53100"}) CHECK_FALSE(postgres_refuses_row(all));
  CHECK(postgres_was_slow("57014"));
  CHECK_FALSE(postgres_was_slow("23514"));
  CHECK_THAT(std::string(postgres_hint("42P01")), Contains("tenant_store.sql"));
  CHECK_THAT(std::string(postgres_hint("42501")), Contains("grant"));
  CHECK(postgres_hint("XX000").empty());
}
