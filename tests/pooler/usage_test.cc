#include "pooler/usage.h"

#include <catch2/catch.hpp>
#include <cstdlib>
#include <fstream>
#include <map>
#include <sstream>

using namespace pgweir;

namespace {

constexpr std::int64_t kDay = 20'000;  // 2024-10-04
constexpr Time kNow{std::chrono::hours(10)};

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
  CHECK(book.add(delta_of("acme", 3, 7), kDay, kNow));
  CHECK(book.add(delta_of("acme", 4, 5), kDay, kNow));
  const auto row = book.next();
  REQUIRE(row);
  CHECK(row->key == "2024-10-04:run1:acme");
  CHECK(value(*row, "queries") == "7");
  CHECK(value(*row, "peak_clients") == "7");
  CHECK(value(*row, "tenant") == "none");  // it stands in the key
  CHECK_FALSE(book.next());
  CHECK_FALSE(book.clean());
  book.written(row->key, true, kDay, kNow);
  CHECK(book.clean());
  // The next one tells all of it again, not the difference.
  book.add(delta_of("acme", 1), kDay, kNow);
  CHECK(value(*book.next(), "queries") == "8");
}

TEST_CASE("a row tells of each limit how often it was hit") {
  UsageBook book("run1");
  UsageDelta delta = delta_of("acme", 1);
  std::uint64_t hits = 0;
  for (const tiers::LimitRow& row : tiers::kLimits) delta.passed.*hits_of(row.limit) = ++hits;
  for (const char* written : {"7", "14"}) {  // totals, whoever asks how often
    book.add(delta, kDay, kNow);
    const auto row = book.next();
    REQUIRE(row);
    std::uint64_t all = 0;
    for (const auto& [key, value] : row->fields)
      if (key.ends_with("_limit_hits")) all += std::stoull(value);
    CHECK(all == 28 * std::stoull(written) / 7);
    CHECK(value(*row, "statement_byte_limit_hits") == written);
    book.written(row->key, true, kDay, kNow);
  }
}

TEST_CASE("what comes while a row is written, or was not written, is told again") {
  UsageBook book("run1");
  book.add(delta_of("acme", 1), kDay, kNow);
  const auto row = book.next();
  book.add(delta_of("acme", 1), kDay, kNow);
  CHECK_FALSE(book.next());  // one answer at a time for a row
  book.written(row->key, true, kDay, kNow);
  CHECK_FALSE(book.clean());
  const auto again = book.next();
  REQUIRE(again);
  CHECK(value(*again, "queries") == "2");
  book.written(again->key, false, kDay, kNow);
  CHECK_FALSE(book.clean());
  const auto third = book.next();
  REQUIRE(third);
  CHECK(value(*third, "queries") == "2");
  book.written(third->key, true, kDay, kNow);
  CHECK(book.clean());
}

TEST_CASE("a new day begins a new row, and the old one goes when the store has it") {
  UsageBook book("run1");
  book.add(delta_of("acme", 1), kDay, kNow);
  book.add(delta_of("acme", 5), kDay + 1, kNow);
  CHECK(book.size() == 2);
  for (int i = 0; i < 2; ++i) {
    const auto row = book.next();
    REQUIRE(row);
    CHECK(value(*row, "queries") == (row->key.starts_with("2024-10-04") ? "1" : "5"));
    book.written(row->key, true, kDay + 1, kNow);
  }
  CHECK(book.clean());
  CHECK(book.size() == 1);
}

TEST_CASE("rows that the store had on their own day go when the next one begins") {
  UsageBook book("run1");
  book.add(delta_of("acme", 1), kDay, kNow);
  book.written(book.next()->key, true, kDay, kNow);
  book.add(delta_of("late", 1), kDay, kNow);
  book.add(delta_of("acme", 5), kDay + 1, kNow);
  CHECK(book.size() == 2);  // what the store lacks stays
  CHECK(book.next()->key == "2024-10-04:run1:late");
  CHECK(book.next()->key == "2024-10-05:run1:acme");
}

TEST_CASE("a clock that is set back over midnight takes nothing from a day that the store has") {
  UsageBook book("run1");
  std::map<std::string, std::uint64_t> store;
  const auto use = [&](std::uint64_t queries, std::int64_t day, std::int64_t written_on) {
    book.add(delta_of("acme", queries), day, kNow);
    while (const auto row = book.next()) {
      store[row->key] = std::stoull(value(*row, "queries"));
      book.written(row->key, true, written_on, kNow);
    }
  };
  const auto bill = [&](const std::string& date) {
    std::uint64_t sum = 0;
    for (const auto& [key, queries] : store)
      if (key.starts_with(date)) sum += queries;
    return sum;
  };
  use(1, kDay, kDay);
  SECTION("when the next day had begun") {
    use(2, kDay + 1, kDay + 1);
    use(4, kDay, kDay);
    use(8, kDay, kDay);
    CHECK(bill("2024-10-04") == 13);
    use(16, kDay + 1, kDay + 1);  // the same day again
    CHECK(bill("2024-10-05") == 18);
    CHECK(store.size() == 4);
    CHECK(store["2024-10-04:run1~2:acme"] == 12);
    use(32, kDay - 1, kDay - 1);
    CHECK(store["2024-10-03:run1~3:acme"] == 32);
  }
  SECTION("when it had begun for what was written only") {
    use(2, kDay, kDay + 1);
    use(4, kDay, kDay);
    CHECK(bill("2024-10-04") == 7);
  }
  SECTION("when the store was told late") {
    book.add(delta_of("acme", 2), kDay + 1, kNow);
    use(4, kDay, kDay);
    use(8, kDay, kDay);
    CHECK(bill("2024-10-04") == 13);
    CHECK(bill("2024-10-05") == 2);
  }
}

TEST_CASE("what there is no room for is counted, and told of once a day") {
  UsageBook book("run1");
  for (std::size_t i = 0; i < UsageBook::kRowsMax; ++i)
    book.add(delta_of(std::to_string(i).c_str(), 1), kDay, kNow);
  CHECK(book.lost_today() == 0);
  CHECK(book.add(delta_of("0", 1), kDay, kNow));  // it has a row
  CHECK_FALSE(book.add(delta_of("acme", 1), kDay, kNow));
  CHECK_FALSE(book.add(delta_of("beta", 1), kDay, kNow));
  CHECK(book.lost_today() == 2);
  CHECK(book.failures() == 2);
  // The store has taken none: there is no room on the next day either, which is told again.
  CHECK_FALSE(book.add(delta_of("acme", 1), kDay + 1, kNow));
  CHECK(book.lost_today() == 1);
  CHECK(book.unwritten() == UsageBook::kRowsMax);
  book.written(book.next()->key, true, kDay + 1, kNow);
  CHECK(book.unwritten() == UsageBook::kRowsMax - 1);
  CHECK(book.add(delta_of("acme", 1), kDay + 1, kNow));
  CHECK(book.failures() == 3);
}

TEST_CASE("every tenant has its turn, also while the first ones fail") {
  UsageBook book("run1");
  for (const char* tenant : {"a", "b", "c"}) book.add(delta_of(tenant, 1), kDay, kNow);
  std::string order;
  for (int i = 0; i < 6; ++i) {
    const auto row = book.next();
    REQUIRE(row);
    order += row->key.back();
    book.written(row->key, false, kDay, kNow);
  }
  CHECK(order == "abcabc");
}

TEST_CASE("names with colons stand at the end of the key") {
  UsageBook book("run1");
  book.add(delta_of("a:b", 1), kDay, kNow);
  CHECK(book.next()->key == "2024-10-04:run1:a:b");
}

TEST_CASE("a store that does not take rows is told of once, and again when it has taken them all") {
  using News = UsageBook::News;
  UsageBook book("run1");
  for (const char* tenant : {"a", "b"}) book.add(delta_of(tenant, 1), kDay, kNow);
  CHECK(book.behind(kNow) == std::chrono::seconds(60));  // what was added may be that old
  CHECK(book.failing() == 0);
  const auto told = [&](bool good, Time now) {
    const auto row = book.next();
    REQUIRE(row);
    return book.written(row->key, good, kDay, now);
  };
  const auto at = [](int second) { return kNow + std::chrono::seconds(second); };
  CHECK(told(false, at(1)) == News::Refused);
  CHECK(told(false, at(1)) == News::None);
  CHECK(book.failing() == 2);
  CHECK(told(false, at(6)) == News::None);
  CHECK(book.failures() == 3);
  book.add(delta_of("a", 1), kDay, at(60));
  CHECK(book.behind(at(90)) == std::chrono::seconds(150));  // since then, whatever came later
  CHECK(told(true, at(100)) == News::None);
  CHECK(book.failing() == 1);
  CHECK(told(true, at(100)) == News::Taken);
  CHECK(book.failing() == 0);
  CHECK(book.behind(at(500)) == Duration{});  // it has all that there is
  book.add(delta_of("a", 1), kDay, at(110));
  CHECK(book.behind(at(120)) == std::chrono::seconds(20));  // since the last good one, which is nearer
  CHECK(told(true, at(120)) == News::None);
  CHECK(book.failures() == 3);
}

TEST_CASE("pooler/usage.md is what the table says, and the table what a row has") {
  const std::string path = PGWEIR_SOURCE_DIR "/pooler/usage.md", made = console::usage_reference();
  // To bring it up to date: PGWEIR_WRITE_REFERENCE=1 test_pooler
  if (std::getenv("PGWEIR_WRITE_REFERENCE") != nullptr) std::ofstream(path) << made;
  std::stringstream text;
  text << std::ifstream(path).rdbuf();
  CHECK(text.str() == made);
  for (const auto& [name, value] : console::usage_fields({}))
    CHECK_THAT(made, Catch::Contains("\n| `" + name + "` | "));
}
