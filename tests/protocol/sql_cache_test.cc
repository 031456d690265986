#include "protocol/sql_cache.h"

#include <catch2/catch.hpp>
#include <string>
#include <vector>

using namespace pgweir::protocol;

namespace {
std::string text_no(int number) { return "set work_mem = " + std::to_string(number); }
}  // namespace

TEST_CASE("a text is parsed once, and not at all when its words are harmless") {
  SqlCache cache(64UL * 1024);
  CHECK(cache.read("select 1").read == SqlEffects::Read::Plain);
  CHECK(cache.read("select 1").statements.empty());
  for (int i = 0; i < 3; ++i) {
    std::string text = "set work_mem = 1";
    const SqlEffects& effects = cache.read(text);
    text.assign(text.size(), 'x');
    CHECK(effects.read == SqlEffects::Read::Parsed);
    CHECK(effects.changes.settings == std::vector<std::string>{"work_mem"});
  }
  CHECK(cache.read("set work_mem").read == SqlEffects::Read::Unknown);
  CHECK(cache.counts().filtered == 2);
  CHECK(cache.counts().parsed == 2);
  CHECK(cache.counts().hits == 2);
  CHECK(cache.read("drop table t").read == SqlEffects::Read::Plain);
  CHECK(cache.read_fully("drop table t").changes.temp_gone);
  CHECK(cache.read("drop table t").read == SqlEffects::Read::Plain);
}

TEST_CASE("short texts that were harmless are known again, and no others") {
  SqlCache cache(64UL * 1024);
  // Each begins and ends as its neighbour does, or is as long.
  const std::vector<std::string> harmless = {"select 1 from t where a = 1;",
                                             "select 2 from t where a = 1;",
                                             "select 1 from t where b = 1;",
                                             "select 1 from tt where a = 1;",
                                             "begin",
                                             "commit;",
                                             "rollback",
                                             std::string(200, ' ') + "select 1"};
  const std::vector<std::string> others = {"reset work_mem from t where a = 1;", "select setseed(0)   a = 1;",
                                           "select lastval() where a = 1;",      "begin; listen a",
                                           std::string(200, ' ') + "listen a",   "rollback; listen a"};
  for (int round = 0; round < 3; ++round) {
    for (const std::string& text : harmless) {
      CHECK(cache.read(text).read == SqlEffects::Read::Plain);
      CHECK(cache.read_settings(text).read == SqlEffects::Read::Plain);
    }
    for (const std::string& text : others) CHECK(cache.read(text).read != SqlEffects::Read::Plain);
    // Harmless for the session, and yet a value for a setting.
    CHECK(cache.read("set local work_mem = '1MB'").read == SqlEffects::Read::Plain);
    CHECK(cache.read_settings("set local work_mem = '1MB'").read == SqlEffects::Read::Parsed);
  }
}

TEST_CASE("an ordinary text is known once it was looked at") {
  struct Row {
    const char* text;
    bool known;
  };
  const Row rows[] = {
      {"select 1 from t", true},
      {"select 1 from t;", true},
      {"update t set a = 1", true},
      {"select 1; select 2", false},
      {"select 1;  ", false},
      {";select 1", false},
      {"set local work_mem = '1MB'", false},
      {"listen to_this", false},
      {"select 1", true},
      {"begin", false},  // too short
      {"", false},
  };
  for (const Row& row : rows) {
    CAPTURE(row.text);
    SqlCache cache(64UL * 1024);
    CHECK_FALSE(cache.knows_ordinary(row.text));
    cache.read_settings(row.text);
    const auto filtered = cache.counts().filtered;
    CHECK(cache.knows_ordinary(row.text) == row.known);
    CHECK(cache.counts().filtered == filtered + (row.known ? 1 : 0));
  }
}

TEST_CASE("a text keeps its place among the recent ones until another one takes it") {
  RecentTexts texts;
  CHECK_FALSE(texts.has("select 1"));
  for (const std::size_t size : {RecentTexts::kShortest, RecentTexts::kLongest}) {
    const std::string text(size, 'a');
    texts.add(text);
    CHECK(texts.has(text));
    CHECK_FALSE(texts.has(text.substr(1)));
    CHECK_FALSE(texts.has(text + "a"));
    for (std::size_t at = 0; at < size; ++at) {
      std::string other = text;
      other[at] = 'b';
      CHECK_FALSE(texts.has(other));
    }
  }
  for (const std::size_t size : {std::size_t{0}, RecentTexts::kShortest - 1, RecentTexts::kLongest + 1}) {
    const std::string text(size, 'a');
    texts.add(text);
    CHECK_FALSE(texts.has(text));
  }
  std::size_t kept = 0;
  for (int i = 0; i < 10'000; ++i) texts.add("select " + std::to_string(i));
  for (int i = 0; i < 10'000; ++i) kept += texts.has("select " + std::to_string(i)) ? 1 : 0;
  CHECK(kept > RecentTexts::kPlaces / 4);
  CHECK(kept <= RecentTexts::kPlaces);
}

TEST_CASE("what a text does outlives its place in the cache for whoever keeps it, and work is counted") {
  SqlCache cache(4UL * 1024);
  const auto kept = cache.share("set work_mem = 1");
  for (int i = 0; i < 100; ++i) cache.read(text_no(i + 2));
  CHECK(kept->changes.settings == std::vector<std::string>{"work_mem"});
  CHECK(heap_of(*kept) > sizeof(SqlStatement));
  std::uint64_t before = cache.work();
  const std::string harmless = "select '" + std::string(1000, 'x') + "'";
  cache.read(harmless);
  CHECK(cache.work() - before == harmless.size());
  before = cache.work();
  const std::string parsed = "listen x; " + harmless;
  cache.read(parsed);
  CHECK(cache.work() - before > 10 * parsed.size());
  cache.worked(5);
  before = cache.work();
  cache.read("select 1");
  CHECK(cache.work() - before == 8);
  cache.read("select 1");  // is among the recent ones
  CHECK(cache.work() - before == 8);
}

TEST_CASE("the cache stays within its bytes and forgets what was not used for longest") {
  SqlCache cache(8UL * 1024);
  for (int i = 0; i < 1000; ++i) {
    cache.read(text_no(i));
    cache.read(text_no(0));
    CHECK(cache.bytes() <= 8UL * 1024);
  }
  CHECK(cache.size() > 5);
  CHECK(cache.counts().parsed == 1000);
  cache.read(text_no(1));
  CHECK(cache.counts().parsed == 1001);
}

TEST_CASE("a text that would fill the cache is read and not kept") {
  SqlCache cache(8UL * 1024);
  cache.read(text_no(0));
  const std::string big = "set a.b = '" + std::string(2000, 'x') + "'";
  const std::string other = "set a.c = '" + std::string(2000, 'x') + "'";
  // But for the last one, which a request asks for again and again.
  for (int i = 0; i < 2; ++i) CHECK(cache.read(big).changes.settings.size() == 1);
  CHECK(cache.counts().parsed == 2);
  CHECK(cache.read(other).changes.settings == std::vector<std::string>{"a.c"});
  CHECK(cache.read(big).changes.settings == std::vector<std::string>{"a.b"});
  CHECK(cache.size() == 1);
  CHECK(cache.counts().parsed == 4);
  SqlCache nothing(0);
  CHECK(nothing.read("listen x").changes.listens);
  CHECK(nothing.bytes() == 0);
}
