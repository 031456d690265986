#include "pooler/repeats.h"

#include <catch2/catch.hpp>

using namespace pgweir;

namespace {

struct Try {
  Repeats repeats;
  std::vector<Repeats::Told> told;

  // How many of `times` lines at `now_ms` are let through.
  std::uint64_t lines(std::uint64_t times, Log::Fields fields, std::int64_t now_ms = 0,
                      LogLevel level = LogLevel::Info, std::string_view event = "event") {
    std::uint64_t through = 0;
    for (std::uint64_t i = 0; i < times; ++i)
      through += repeats.let_through(level, event, fields, now_ms, told) ? 1 : 0;
    return through;
  }
};

constexpr std::uint64_t kFlood = Repeats::kMost + 50;

}  // namespace

TEST_CASE("which lines of the log have a bound") {
  const struct {
    const char* what;
    Log::Fields fields;
    LogLevel level;
    std::uint64_t through;
  } cases[] = {
      {"of a tenant", {{"tenant", "acme"}, {"client", 1}}, LogLevel::Info, Repeats::kMost},
      {"of a backend", {{"backend", "main"}}, LogLevel::Warn, Repeats::kMost},
      {"of a database", {{"database", "x"}}, LogLevel::Info, Repeats::kMost},
      {"of the process", {{"user", "admin"}}, LogLevel::Info, Repeats::kMost},
      {"without fields", {}, LogLevel::Warn, Repeats::kMost},
      {"of an administrator", {{"role", Repeats::kAdmin}}, LogLevel::Info, kFlood},
      {"of who has another role", {{"role", "stats"}}, LogLevel::Info, Repeats::kMost},
      {"an error", {{"tenant", "acme"}}, LogLevel::Error, kFlood},
      {"for debugging", {{"tenant", "acme"}}, LogLevel::Debug, kFlood},
  };
  for (const auto& one : cases) {
    INFO(one.what);
    Try tried;
    CHECK(tried.lines(kFlood, one.fields, 0, one.level) == one.through);
  }
}

TEST_CASE("one tenant's flood takes nothing from another, nor from another event") {
  Try tried;
  tried.lines(kFlood, {{"tenant", "acme"}});
  CHECK(tried.lines(1, {{"tenant", "acme"}}) == 0);
  CHECK(tried.lines(1, {{"tenant", "globex"}}) == 1);
  CHECK(tried.lines(1, {{"tenant", "acme"}}, 0, LogLevel::Info, "another") == 1);
  CHECK(tried.lines(kFlood, {{"backend", "main"}, {"database", "a"}}) == Repeats::kMost);
  CHECK(tried.lines(1, {{"backend", "main"}, {"database", "b"}}) == 1);
}

TEST_CASE("what was left out is told once, by the first line behind its window") {
  Try tried;
  tried.lines(kFlood, {{"tenant", "acme"}}, 5, LogLevel::Warn);
  CHECK(tried.lines(1, {{"tenant", "acme"}}, 4 + Repeats::kWindowMs) == 0);
  CHECK(tried.told.empty());
  CHECK(tried.lines(1, {{"user", "admin"}}, 5 + Repeats::kWindowMs) == 1);
  REQUIRE(tried.told.size() == 1);
  CHECK(tried.told[0].event == "event");
  CHECK(tried.told[0].tenant == "acme");
  CHECK(tried.told[0].level == LogLevel::Warn);
  CHECK(tried.told[0].count == 51);
  CHECK(tried.lines(1, {{"tenant", "acme"}}, 5 + Repeats::kWindowMs) == 1);  // a new window
  tried.repeats.end(tried.told);
  CHECK(tried.told.size() == 1);  // which left nothing out
}

TEST_CASE("a flood without a name takes nothing from another event, nor from those with a name") {
  Try tried;
  CHECK(tried.lines(kFlood, {{"database", ""}, {"addr", "::1"}}) == Repeats::kMost);
  CHECK(tried.lines(1, {{"addr", "::2"}}) == 0);
  CHECK(tried.lines(1, {{"addr", "::1"}}, 0, LogLevel::Info, "another") == 1);
  CHECK(tried.lines(1, {{"database", "x"}}) == 1);
  tried.repeats.end(tried.told);
  REQUIRE(tried.told.size() == 1);
  CHECK(tried.told[0].count == 51);
}

TEST_CASE("a flood of names shares one count") {
  Try tried;
  for (std::size_t i = 0; i < Repeats::kNamesMax; ++i)
    CHECK(tried.lines(1, {{"database", "d" + std::to_string(i)}}) == 1);
  std::uint64_t through = 0;
  for (std::uint64_t i = 0; i < kFlood; ++i)
    through += tried.lines(1, {{"database", "e" + std::to_string(i)}});
  CHECK(through == Repeats::kMost);
  CHECK(tried.lines(1, {{"database", "d1"}}) == 1);  // known before
  tried.repeats.end(tried.told);
  REQUIRE(tried.told.size() == 1);
  CHECK(tried.told[0].database.empty());
  CHECK(tried.told[0].count == 50);
}
