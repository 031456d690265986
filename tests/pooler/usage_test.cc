#include "pooler/usage.h"

#include <catch2/catch.hpp>

using namespace pgweir;

namespace {

constexpr std::int64_t kDay = 20'000;  // 2024-10-04

UsageDelta delta_of(const char* tenant, std::uint64_t queries, std::uint32_t peak = 1) {
  UsageDelta delta{tenant, {}, peak, 0};
  delta.passed.queries = queries;
  return delta;
}

std::string value(const UsageBook::Row& row, const std::string& key) {
  for (const auto& [name, value] : row.fields)
    if (name == key) return value;
  return "none";
}

}  // namespace

TEST_CASE("a row holds the totals of a tenant, a day and a run") {
  UsageBook book("run1");
  CHECK(book.clean());
  CHECK(book.add(delta_of("acme", 3, 7), kDay));
  CHECK(book.add(delta_of("acme", 4, 5), kDay));
  const auto row = book.next();
  REQUIRE(row);
  CHECK(row->key == "2024-10-04:run1:acme");
  CHECK(value(*row, "queries") == "7");
  CHECK(value(*row, "peak_clients") == "7");
  CHECK(value(*row, "tenant") == "none");  // it stands in the key
  CHECK_FALSE(book.next());
  CHECK_FALSE(book.clean());
  book.written(row->key, true, kDay);
  CHECK(book.clean());
  // The next one tells all of it again, not the difference.
  book.add(delta_of("acme", 1), kDay);
  CHECK(value(*book.next(), "queries") == "8");
}

TEST_CASE("what comes while a row is written, or was not written, is told again") {
  UsageBook book("run1");
  book.add(delta_of("acme", 1), kDay);
  const auto row = book.next();
  book.add(delta_of("acme", 1), kDay);
  CHECK_FALSE(book.next());  // one answer at a time for a row
  book.written(row->key, true, kDay);
  CHECK_FALSE(book.clean());
  const auto again = book.next();
  REQUIRE(again);
  CHECK(value(*again, "queries") == "2");
  book.written(again->key, false, kDay);
  CHECK_FALSE(book.clean());
  const auto third = book.next();
  REQUIRE(third);
  CHECK(value(*third, "queries") == "2");
  book.written(third->key, true, kDay);
  CHECK(book.clean());
}

TEST_CASE("a new day begins a new row, and the old one goes when the store has it") {
  UsageBook book("run1");
  book.add(delta_of("acme", 1), kDay);
  book.add(delta_of("acme", 5), kDay + 1);
  CHECK(book.size() == 2);
  for (int i = 0; i < 2; ++i) {
    const auto row = book.next();
    REQUIRE(row);
    CHECK(value(*row, "queries") == (row->key.starts_with("2024-10-04") ? "1" : "5"));
    book.written(row->key, true, kDay + 1);
  }
  CHECK(book.clean());
  CHECK(book.size() == 1);
}

TEST_CASE("every tenant has its turn, also while the first ones fail") {
  UsageBook book("run1");
  for (const char* tenant : {"a", "b", "c"}) book.add(delta_of(tenant, 1), kDay);
  std::string order;
  for (int i = 0; i < 6; ++i) {
    const auto row = book.next();
    REQUIRE(row);
    order += row->key.back();
    book.written(row->key, false, kDay);
  }
  CHECK(order == "abcabc");
}

TEST_CASE("names with colons stand at the end of the key") {
  UsageBook book("run1");
  book.add(delta_of("a:b", 1), kDay);
  CHECK(book.next()->key == "2024-10-04:run1:a:b");
}
