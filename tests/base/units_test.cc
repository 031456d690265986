#include "pooler/base/units.h"

#include <catch2/catch.hpp>

#include <limits>

using namespace pgweir;

TEST_CASE("quantities are read in their units") {
  struct Row {
    Unit unit;
    std::string_view text;
    std::int64_t value;
    std::string_view printed;
  };
  const Row rows[] = {
      {Unit::Milliseconds, "0", 0, "never"},
      {Unit::Milliseconds, "never", 0, "never"},
      {Unit::Milliseconds, "250", 250, "250ms"},
      {Unit::Milliseconds, "250ms", 250, "250ms"},
      {Unit::Milliseconds, "30s", 30'000, "30s"},
      {Unit::Milliseconds, "30 s", 30'000, "30s"},
      {Unit::Milliseconds, "90s", 90'000, "90s"},
      {Unit::Milliseconds, "5min", 300'000, "5min"},
      {Unit::Milliseconds, "1h", 3'600'000, "1h"},
      {Unit::Milliseconds, "48h", 172'800'000, "2d"},
      {Unit::Milliseconds, "106751991167d", 106'751'991'167 * kDayMs, "106751991167d"},
      {Unit::Bytes, "0", 0, "0"},
      {Unit::Bytes, "1", 1, "1B"},
      {Unit::Bytes, "64kB", 65'536, "64kB"},
      {Unit::Bytes, "8192kB", 8 << 20, "8MB"},
      {Unit::Bytes, "1GB", 1 << 30, "1GB"},
      {Unit::Bytes, "2TB", 2 * kTerabyte, "2TB"},
      {Unit::Count, "010", 10, "10"},
      {Unit::Count, "9223372036854775807", std::numeric_limits<std::int64_t>::max(), "9223372036854775807"},
      {Unit::Octal, "0770", 0770, "0770"},
      {Unit::Octal, "770", 0770, "0770"},
  };
  for (const Row& row : rows) {
    CAPTURE(std::string(row.text));
    const auto value = parse_quantity(row.text, row.unit);
    REQUIRE(value);
    CHECK(*value == row.value);
    CHECK(format_quantity(*value, row.unit) == row.printed);
    CHECK(parse_quantity(format_quantity(*value, row.unit), row.unit) == row.value);
  }
}

TEST_CASE("what is no quantity is refused, and the message says what would be one") {
  struct Row {
    Unit unit;
    std::string_view text, message;
  };
  const Row rows[] = {
      {Unit::Count, "", "must be a whole number, not ''"},
      {Unit::Count, "-1", "must be a whole number, not '-1'"},
      {Unit::Count, "+1", "must be a whole number, not '+1'"},
      {Unit::Count, " 1", "must be a whole number, not ' 1'"},
      {Unit::Count, "1 ", "must be a whole number, not '1 '"},
      {Unit::Count, "1.5", "must be a whole number, not '1.5'"},
      {Unit::Count, "1e3", "must be a whole number, not '1e3'"},
      {Unit::Count, "0x10", "must be a whole number, not '0x10'"},
      {Unit::Count, "10s", "must be a whole number, not '10s'"},
      {Unit::Count, "9223372036854775808", "is larger than can be counted: '9223372036854775808'"},
      {Unit::Octal, "0789", "must be an octal number such as 0770, not '0789'"},
      {Unit::Milliseconds, "5m", "must be a duration such as 250ms, 30s, 5min, 1h or 2d, not '5m'"},
      {Unit::Milliseconds, "s", "must be a duration such as 250ms, 30s, 5min, 1h or 2d, not 's'"},
      {Unit::Milliseconds, "5S", "must be a duration such as 250ms, 30s, 5min, 1h or 2d, not '5S'"},
      {Unit::Milliseconds, "Never", "must be a duration such as 250ms, 30s, 5min, 1h or 2d, not 'Never'"},
      {Unit::Milliseconds, "106751991168d", "is larger than can be counted: '106751991168d'"},
      {Unit::Bytes, "8mb", "must be a size such as 512B, 64kB, 8MB, 1GB or 1TB, not '8mb'"},
      {Unit::Bytes, "8388608TB", "is larger than can be counted: '8388608TB'"},
      {Unit::Bytes, "99999999999999999999 kB", "is larger than can be counted: '99999999999999999999 kB'"},
      {Unit::Bytes, "99999999999999999999 KB",
       "must be a size such as 512B, 64kB, 8MB, 1GB or 1TB, not '99999999999999999999 KB'"},
  };
  for (const Row& row : rows) {
    const auto value = parse_quantity(row.text, row.unit);
    REQUIRE_FALSE(value);
    CHECK(value.error().message == row.message);
  }
}

TEST_CASE("bounds belong to what is allowed, and the message says them") {
  CHECK(parse_within("500", Unit::Count, 1, 500) == 500);
  CHECK(parse_within("1", Unit::Count, 1, 500) == 1);
  const auto message = [](std::string_view text, Unit unit, std::int64_t least, std::int64_t most) {
    const auto value = parse_within(text, unit, least, most);
    REQUIRE_FALSE(value);
    return value.error().message;
  };
  CHECK(message("900", Unit::Count, 1, 500) == "must lie between 1 and 500, not 900");
  CHECK(message("0", Unit::Count, 1, 500) == "must lie between 1 and 500, not 0");
  CHECK(message("99999999999999999999", Unit::Count, 1, 500) ==
        "must lie between 1 and 500, not 99999999999999999999");
  CHECK(message("x", Unit::Count, 1, 500) == "must be a whole number between 1 and 500, not 'x'");
  CHECK(message("2d", Unit::Milliseconds, 1, kDayMs) == "must lie between 1ms and 1d, not 2d");
  CHECK(message("2d", Unit::Milliseconds, 0, kDayMs) == "must be never or at most 1d, not 2d");
  CHECK(message("1m", Unit::Milliseconds, 0, kDayMs) ==
        "must be a duration such as 250ms, 30s, 5min, 1h or 2d (never or at most 1d), not '1m'");
  CHECK(message(std::string(200, '9'), Unit::Count, 1, 5).size() < 100);
}

TEST_CASE("durations and sizes have calls of their own") {
  CHECK(parse_duration("2min") == std::chrono::minutes(2));
  CHECK_FALSE(parse_duration("2 minutes"));
  CHECK(parse_size("8MB") == 8 << 20);
  CHECK(format_duration(std::chrono::seconds(60)) == "1min");
  CHECK(format_size(1536) == "1536B");
}
