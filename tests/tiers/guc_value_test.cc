#include "tiers/guc_value.h"

#include <catch2/catch.hpp>

#include <cmath>
#include <limits>

using namespace pgweir::tiers;

namespace {

constexpr double kNone = std::numeric_limits<double>::lowest();
constexpr double kInfinite = std::numeric_limits<double>::infinity();

// What Postgres 15 made of each text: effective_io_concurrency, hash_mem_multiplier, lock_timeout,
// work_mem, temp_buffers; also of those that it found outside of the parameter's bounds.
constexpr Measure kMeasures[] = {Measure::Count, Measure::Real, Measure::Milliseconds, Measure::Kilobytes,
                                 Measure::Blocks};
struct Row {
  std::string_view text;
  double values[5];
};
// clang-format off
constexpr Row kRows[] = {
    {"0", {0, 0, 0, 0, 0}},
    {"1", {1, 1, 1, 1, 1}},
    {"64", {64, 64, 64, 64, 64}},
    {"64kB", {kNone, kNone, kNone, 64, 8}},
    {"64MB", {kNone, kNone, kNone, 65536, 8192}},
    {"1min", {kNone, kNone, 60000, kNone, kNone}},
    {"1.5GB", {kNone, kNone, kNone, 1572864, 196608}},
    {"1.5MB", {kNone, kNone, kNone, 1536, 192}},
    {"010", {8, 10, 8, 8, 8}},
    {"0x100", {256, 256, 256, 256, 256}},
    {"0X40", {64, 64, 64, 64, 64}},
    {"08", {kNone, 8, kNone, kNone, kNone}},
    {"09.5", {kNone, 9.5, kNone, kNone, kNone}},
    {"010.5", {10, 10.5, 10, 10, 10}},
    {"0x1.8", {2, 1.5, 2, 2, 2}},
    {"0x1p3", {kNone, 8, kNone, kNone, kNone}},
    {"0x1e5", {485, 485, 485, 485, 485}},
    {"1e3", {1000, 1000, 1000, 1000, 1000}},
    {"1e3kB", {kNone, kNone, kNone, 1000, 125}},
    {"1E2MB", {kNone, kNone, kNone, 102400, 12800}},
    {"1e", {kNone, kNone, kNone, kNone, kNone}},
    {"1e+", {kNone, kNone, kNone, kNone, kNone}},
    {".5", {0, 0.5, 0, 0, 0}},
    {"5.", {5, 5, 5, 5, 5}},
    {".5MB", {kNone, kNone, kNone, 512, 64}},
    {"5.kB", {kNone, kNone, kNone, 5, 1}},
    {"+64", {64, 64, 64, 64, 64}},
    {"-1", {-1, -1, -1, -1, -1}},
    {"-0", {0, -0, 0, 0, 0}},
    {"--1", {kNone, kNone, kNone, kNone, kNone}},
    {"", {kNone, kNone, kNone, kNone, kNone}},
    {" 64", {64, 64, 64, 64, 64}},
    {"64 ", {64, 64, 64, 64, 64}},
    {"  64  kB  ", {kNone, kNone, kNone, 64, 8}},
    {"\01164\011kB", {kNone, kNone, kNone, 64, 8}},
    {"\01264\015", {64, 64, 64, 64, 64}},
    {"\01364\014", {64, 64, 64, 64, 64}},
    {"64 k B", {kNone, kNone, kNone, kNone, kNone}},
    {"64KB", {kNone, kNone, kNone, kNone, kNone}},
    {"64kb", {kNone, kNone, kNone, kNone, kNone}},
    {"64mb", {kNone, kNone, kNone, kNone, kNone}},
    {"64Mb", {kNone, kNone, kNone, kNone, kNone}},
    {"64MBx", {kNone, kNone, kNone, kNone, kNone}},
    {"64 MB x", {kNone, kNone, kNone, kNone, kNone}},
    {"64B", {kNone, kNone, kNone, 0, 0}},
    {"65536B", {kNone, kNone, kNone, 64, 8}},
    {"1024B", {kNone, kNone, kNone, 1, 0}},
    {"1TB", {kNone, kNone, kNone, 1073741824, 134217728}},
    {"2TB", {kNone, kNone, kNone, kNone, 268435456}},
    {"3TB", {kNone, kNone, kNone, kNone, 402653184}},
    {"2147483647", {2147483647, 2.14748e+09, 2147483647, 2147483647, 2147483647}},
    {"2147483647kB", {kNone, kNone, kNone, 2147483647, 268435456}},
    {"2147483648", {kNone, 2.14748e+09, kNone, kNone, kNone}},
    {"2147483647.4", {2147483647, 2.14748e+09, 2147483647, 2147483647, 2147483647}},
    {"2147483647.5", {kNone, 2.14748e+09, kNone, kNone, kNone}},
    {"-2147483648", {-2147483648, -2.14748e+09, -2147483648, -2147483648, -2147483648}},
    {"99999999999999999999", {kNone, 1e+20, kNone, kNone, kNone}},
    {"1e400", {kNone, kNone, kNone, kNone, kNone}},
    {"1e-400", {kNone, kNone, kNone, kNone, kNone}},
    {"1e-310", {kNone, kNone, kNone, kNone, kNone}},
    {"inf", {kNone, kInfinite, kNone, kNone, kNone}},
    {"nan", {kNone, kNone, kNone, kNone, kNone}},
    {"infinity", {kNone, kInfinite, kNone, kNone, kNone}},
    {"NaN", {kNone, kNone, kNone, kNone, kNone}},
    {"0.5", {0, 0.5, 0, 0, 0}},
    {"1.5", {2, 1.5, 2, 2, 2}},
    {"2.5", {2, 2.5, 2, 2, 2}},
    {"0.4", {0, 0.4, 0, 0, 0}},
    {"-0.4", {0, -0.4, 0, 0, 0}},
    {"-0.6", {-1, -0.6, -1, -1, -1}},
    {"0.0004s", {kNone, kNone, 0, kNone, kNone}},
    {"0.0006s", {kNone, kNone, 1, kNone, kNone}},
    {"1.0005s", {kNone, kNone, 1000, kNone, kNone}},
    {"30.1GB", {kNone, kNone, kNone, 31561728, 3945216}},
    {"0.1MB", {kNone, kNone, kNone, 102, 13}},
    {"0.001GB", {kNone, kNone, kNone, 1024, 128}},
    {"1us", {kNone, kNone, 0, kNone, kNone}},
    {"1500us", {kNone, kNone, 2, kNone, kNone}},
    {"999us", {kNone, kNone, 1, kNone, kNone}},
    {"499us", {kNone, kNone, 0, kNone, kNone}},
    {"501us", {kNone, kNone, 1, kNone, kNone}},
    {"1ms", {kNone, kNone, 1, kNone, kNone}},
    {"1 ms", {kNone, kNone, 1, kNone, kNone}},
    {"1s", {kNone, kNone, 1000, kNone, kNone}},
    {"1.5s", {kNone, kNone, 1500, kNone, kNone}},
    {"1.0006min", {kNone, kNone, 60000, kNone, kNone}},
    {"1h", {kNone, kNone, 3600000, kNone, kNone}},
    {"1d", {kNone, kNone, 86400000, kNone, kNone}},
    {"24d", {kNone, kNone, 2073600000, kNone, kNone}},
    {"25d", {kNone, kNone, kNone, kNone, kNone}},
    {"1.1d", {kNone, kNone, 93600000, kNone, kNone}},
    {"1 sec", {kNone, kNone, kNone, kNone, kNone}},
    {"1m", {kNone, kNone, kNone, kNone, kNone}},
    {"1M", {kNone, kNone, kNone, kNone, kNone}},
    {"' '", {kNone, kNone, kNone, kNone, kNone}},
    {"abc", {kNone, kNone, kNone, kNone, kNone}},
    {"on", {kNone, kNone, kNone, kNone, kNone}},
    {"1,5", {kNone, kNone, kNone, kNone, kNone}},
    {"1_000", {kNone, kNone, kNone, kNone, kNone}},
    {"1kB2", {kNone, kNone, kNone, kNone, kNone}},
    {"100", {100, 100, 100, 100, 100}},
    {"799kB", {kNone, kNone, kNone, 799, 100}},
    {"800kB", {kNone, kNone, kNone, 800, 100}},
    {"8kB", {kNone, kNone, kNone, 8, 1}},
    {"12kB", {kNone, kNone, kNone, 12, 2}},
    {"13kB", {kNone, kNone, kNone, 13, 2}},
    {"1000", {1000, 1000, 1000, 1000, 1000}},
    {"1000.5", {1000, 1000.5, 1000, 1000, 1000}},
    {"1000.0000001", {1000, 1000, 1000, 1000, 1000}},
    {"0x3e8", {1000, 1000, 1000, 1000, 1000}},
    {"01750", {1000, 1750, 1000, 1000, 1000}},
    {"1e3.5", {kNone, kNone, kNone, kNone, kNone}},
    {"1e3 ", {1000, 1000, 1000, 1000, 1000}},
    {"1.0", {1, 1, 1, 1, 1}},
    {"1.000000001", {1, 1, 1, 1, 1}},
    {"0x", {kNone, kNone, kNone, kNone, kNone}},
    {"0x kB", {kNone, kNone, kNone, kNone, kNone}},
    {"0xkB", {kNone, kNone, kNone, kNone, kNone}},
    {"1.5.5", {kNone, kNone, kNone, kNone, kNone}},
    {"64 kB\001", {kNone, kNone, kNone, kNone, kNone}},
    {"1ee3", {kNone, kNone, kNone, kNone, kNone}},
    {"5e-1", {0, 0.5, 0, 0, 0}},
    {"5e-1MB", {kNone, kNone, kNone, 512, 64}},
    {"0b11", {kNone, kNone, kNone, kNone, kNone}},
    {"0o17", {kNone, kNone, kNone, kNone, kNone}},
    {"\357\274\221", {kNone, kNone, kNone, kNone, kNone}},
    {"64\302\240kB", {kNone, kNone, kNone, kNone, kNone}},
    {"1min1s", {kNone, kNone, kNone, kNone, kNone}},
    {"min", {kNone, kNone, kNone, kNone, kNone}},
    {"-1kB", {kNone, kNone, kNone, -1, 0}},
    {"-1MB", {kNone, kNone, kNone, -1024, -128}},
    {"-0.5", {0, -0.5, 0, 0, 0}},
    {"-1ms", {kNone, kNone, -1, kNone, kNone}},
    {"1GBx", {kNone, kNone, kNone, kNone, kNone}},
    {"TB", {kNone, kNone, kNone, kNone, kNone}},
    {"0x10MB", {kNone, kNone, kNone, 16384, 2048}},
    {"017kB", {kNone, kNone, kNone, 15, 2}},
    {"0.0000001TB", {kNone, kNone, kNone, 0, 0}},
    {"1e-3GB", {kNone, kNone, kNone, 1024, 128}},
    {"2e9", {2000000000, 2e+09, 2000000000, 2000000000, 2000000000}},
    {"2.2e9", {kNone, 2.2e+09, kNone, kNone, kNone}},
    {"1.4999999999999999", {2, 1.5, 2, 2, 2}},
    {"3000000us", {kNone, kNone, 3000, kNone, kNone}},
    {"  0x", {kNone, kNone, kNone, kNone, kNone}},
    {"1e5s", {kNone, kNone, 100000000, kNone, kNone}},
    {"0.5d", {kNone, kNone, 43200000, kNone, kNone}},
    {"1.5h", {kNone, kNone, 5400000, kNone, kNone}},
    {"0.25min", {kNone, kNone, 15000, kNone, kNone}},
    {"1048576B", {kNone, kNone, kNone, 1024, 128}},
    {"512B", {kNone, kNone, kNone, 0, 0}},
    {"513B", {kNone, kNone, kNone, 1, 0}},
    {"1536B", {kNone, kNone, kNone, 2, 0}},
    {"4096B", {kNone, kNone, kNone, 4, 0}},
    {"4097B", {kNone, kNone, kNone, 4, 1}},
    {"12288B", {kNone, kNone, kNone, 12, 2}},
};
// clang-format on

// Postgres prints six digits of a number with a fraction.
bool same(double a, double b) { return a == b || std::abs(a - b) <= 1e-5 * std::abs(b); }

}  // namespace

TEST_CASE("values are read as Postgres reads them") {
  for (const Row& row : kRows) {
    for (std::size_t i = 0; i < std::size(kMeasures); ++i) {
      CAPTURE(std::string(row.text), i);
      const auto value = read_value(row.text, kMeasures[i]);
      if (row.values[i] == kNone) {
        CHECK_FALSE(value);
      } else {
        REQUIRE(value);
        CHECK(same(*value, row.values[i]));
        if (kMeasures[i] != Measure::Real) CHECK(*value == row.values[i]);
      }
    }
  }
}

TEST_CASE("what a client can send but Postgres cannot keep is no value") {
  CHECK_FALSE(read_value(std::string_view("64\0", 3), Measure::Kilobytes));
  CHECK_FALSE(read_value(std::string_view("64\0kB", 5), Measure::Kilobytes));
  CHECK_FALSE(read_value(std::string(100'000, ' '), Measure::Count));
  CHECK(read_value(std::string(100'000, ' ') + "7", Measure::Count) == 7);
}

TEST_CASE("values are spelled as SHOW spells them, and read back") {
  struct Shown {
    double value;
    Measure measure;
    std::string_view text;
  };
  const Shown rows[] = {
      {0, Measure::Milliseconds, "0"},
      {1, Measure::Milliseconds, "1ms"},
      {999, Measure::Milliseconds, "999ms"},
      {1000, Measure::Milliseconds, "1s"},
      {1500, Measure::Milliseconds, "1500ms"},
      {60000, Measure::Milliseconds, "1min"},
      {61000, Measure::Milliseconds, "61s"},
      {90000, Measure::Milliseconds, "90s"},
      {3600000, Measure::Milliseconds, "1h"},
      {86400000, Measure::Milliseconds, "1d"},
      {93600000, Measure::Milliseconds, "26h"},
      {2147483647, Measure::Milliseconds, "2147483647ms"},
      {64, Measure::Kilobytes, "64kB"},
      {1000, Measure::Kilobytes, "1000kB"},
      {1024, Measure::Kilobytes, "1MB"},
      {1536, Measure::Kilobytes, "1536kB"},
      {65536, Measure::Kilobytes, "64MB"},
      {1048576, Measure::Kilobytes, "1GB"},
      {1572864, Measure::Kilobytes, "1536MB"},
      {1073741824, Measure::Kilobytes, "1TB"},
      {2147483647, Measure::Kilobytes, "2147483647kB"},
      {-1, Measure::Kilobytes, "-1"},
      {0, Measure::Kilobytes, "0"},
      {8, Measure::Kilobytes, "8kB"},
      {100, Measure::Blocks, "800kB"},
      {128, Measure::Blocks, "1MB"},
      {192, Measure::Blocks, "1536kB"},
      {1000, Measure::Blocks, "8000kB"},
      {8192, Measure::Blocks, "64MB"},
      {134217728, Measure::Blocks, "1TB"},
      {1073741823, Measure::Blocks, "8589934584kB"},
      {0, Measure::Count, "0"},
      {8, Measure::Count, "8"},
      {1000, Measure::Count, "1000"},
      {1, Measure::Real, "1"},
      {1.5, Measure::Real, "1.5"},
      {2.25, Measure::Real, "2.25"},
      {1000, Measure::Real, "1000"},
      {3.14159265, Measure::Real, "3.14159"},
      {999.9999999, Measure::Real, "1000"},
  };
  for (const Shown& row : rows) {
    CAPTURE(std::string(row.text));
    CHECK(spell_value(row.value, row.measure) == row.text);
    const auto again = read_value(row.text, row.measure);
    REQUIRE(again);
    CHECK(same(*again, row.value));
  }
}
