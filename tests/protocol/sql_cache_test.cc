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
  for (int i = 0; i < 2; ++i) CHECK(cache.read(big).changes.settings.size() == 1);
  CHECK(cache.size() == 1);
  CHECK(cache.counts().parsed == 3);
  SqlCache nothing(0);
  CHECK(nothing.read("listen x").changes.listens);
  CHECK(nothing.bytes() == 0);
}
