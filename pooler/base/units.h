// pooler/base/units.h - numbers, durations and sizes as people write them, within bounds.
//
// Durations: a whole number and ms, s, min, h or d; a bare number is milliseconds; "never" is 0. Sizes: a
// whole number and B, kB, MB, GB or TB, spelled and counted (by 1024) as Postgres does; a bare number is
// bytes. Counts are decimal whatever they begin with: 010 is ten. Errors are sentences without a subject:
// "must lie between 1 and 500, not 900"; whoever knows the setting's name puts it in front.
#pragma once

#include <array>
#include <charconv>
#include <chrono>
#include <cstddef>
#include <cstdint>
#include <limits>
#include <span>
#include <string>
#include <string_view>
#include <system_error>

#include "pooler/base/error.h"
#include "pooler/base/quoted.h"

namespace pgweir {

enum class Unit : std::uint8_t { Count, Octal, Milliseconds, Bytes };

inline constexpr std::int64_t kSecondMs = 1000;
inline constexpr std::int64_t kMinuteMs = 60 * kSecondMs;
inline constexpr std::int64_t kHourMs = 60 * kMinuteMs;
inline constexpr std::int64_t kDayMs = 24 * kHourMs;
inline constexpr std::int64_t kKilobyte = 1024;
inline constexpr std::int64_t kMegabyte = 1024 * kKilobyte;
inline constexpr std::int64_t kGigabyte = 1024 * kMegabyte;
inline constexpr std::int64_t kTerabyte = 1024 * kGigabyte;

namespace detail {

struct Suffix {
  std::string_view name;
  std::int64_t times;
};
// Largest first: formatting takes the first that divides.
inline constexpr std::array kDurations{Suffix{"d", kDayMs}, Suffix{"h", kHourMs}, Suffix{"min", kMinuteMs},
                                       Suffix{"s", kSecondMs}, Suffix{"ms", 1}};
inline constexpr std::array kSizes{Suffix{"TB", kTerabyte}, Suffix{"GB", kGigabyte}, Suffix{"MB", kMegabyte},
                                   Suffix{"kB", kKilobyte}, Suffix{"B", 1}};

inline std::span<const Suffix> suffixes(Unit unit) {
  switch (unit) {
    case Unit::Milliseconds: return kDurations;
    case Unit::Bytes: return kSizes;
    case Unit::Count:
    case Unit::Octal: break;
  }
  return {};
}

inline std::string_view form_of(Unit unit) {
  switch (unit) {
    case Unit::Count: return "a whole number";
    case Unit::Octal: return "an octal number such as 0770";
    case Unit::Milliseconds: return "a duration such as 250ms, 30s, 5min, 1h or 2d";
    case Unit::Bytes: return "a size such as 512B, 64kB, 8MB, 1GB or 1TB";
  }
  return {};
}

}  // namespace detail

// The number as text that parse_quantity reads back; a duration or size in its largest unit that leaves no
// rest.
inline std::string format_quantity(std::int64_t value, Unit unit) {
  if (unit == Unit::Octal) {
    std::array<char, 32> digits{};
    const auto end = std::to_chars(digits.data(), digits.data() + digits.size(), value, 8).ptr;
    return "0" + std::string(digits.data(), end);
  }
  if (value != 0) {
    for (const auto& suffix : detail::suffixes(unit)) {
      if (value % suffix.times == 0) return std::to_string(value / suffix.times) + std::string(suffix.name);
    }
  }
  return unit == Unit::Milliseconds && value == 0 ? "never" : std::to_string(value);
}

// "between 1 and 500"; "never or at most 1d" where a duration may be 0.
inline std::string allowed_range(Unit unit, std::int64_t least, std::int64_t most) {
  if (unit == Unit::Milliseconds && least == 0) return "never or at most " + format_quantity(most, unit);
  return "between " + format_quantity(least, unit) + " and " + format_quantity(most, unit);
}

namespace detail {

enum class Reading : std::uint8_t { Fine, Malformed, TooLarge };

inline Reading read_quantity(std::string_view text, Unit unit, std::int64_t& value) {
  value = 0;
  if (unit == Unit::Milliseconds && text == "never") return Reading::Fine;
  // from_chars would take a minus sign, which no quantity here can have.
  if (text.empty() || text[0] < '0' || text[0] > '9') return Reading::Malformed;
  const char* const end = text.data() + text.size();
  const auto [rest, error] = std::from_chars(text.data(), end, value, unit == Unit::Octal ? 8 : 10);
  if (error == std::errc::invalid_argument) return Reading::Malformed;
  const bool huge = error == std::errc::result_out_of_range;
  std::string_view suffix(rest, static_cast<std::size_t>(end - rest));
  if (suffix.empty()) return huge ? Reading::TooLarge : Reading::Fine;
  while (!suffix.empty() && suffix[0] == ' ') suffix.remove_prefix(1);
  for (const auto& known : suffixes(unit)) {
    if (suffix != known.name) continue;
    if (huge || value > std::numeric_limits<std::int64_t>::max() / known.times) return Reading::TooLarge;
    value *= known.times;
    return Reading::Fine;
  }
  return Reading::Malformed;
}

}  // namespace detail

// Nothing outside 0..INT64_MAX comes out.
inline Expected<std::int64_t> parse_quantity(std::string_view text, Unit unit) {
  std::int64_t value = 0;
  switch (detail::read_quantity(text, unit, value)) {
    case detail::Reading::Fine: return value;
    case detail::Reading::TooLarge:
      return fail(sqlstate::kInvalidParameterValue, "is larger than can be counted: " + quoted(text));
    case detail::Reading::Malformed: break;
  }
  return fail(sqlstate::kInvalidParameterValue,
              "must be " + std::string(detail::form_of(unit)) + ", not " + quoted(text));
}

// As parse_quantity, and within [least, most], which the error says.
inline Expected<std::int64_t> parse_within(std::string_view text, Unit unit, std::int64_t least,
                                           std::int64_t most) {
  std::int64_t value = 0;
  const auto reading = detail::read_quantity(text, unit, value);
  if (reading == detail::Reading::Fine && value >= least && value <= most) return value;
  const std::string range = allowed_range(unit, least, most);
  if (reading == detail::Reading::Malformed) {
    const bool plain = unit == Unit::Count;
    return fail(sqlstate::kInvalidParameterValue, "must be " + std::string(detail::form_of(unit)) +
                                                      (plain ? " " + range : " (" + range + ")") + ", not " +
                                                      quoted(text));
  }
  const std::string_view given = text.substr(0, kQuotedMax);
  return fail(sqlstate::kInvalidParameterValue, (range.starts_with("between") ? "must lie " : "must be ") +
                                                    range + ", not " + std::string(given));
}

inline Expected<std::chrono::milliseconds> parse_duration(std::string_view text) {
  return parse_quantity(text, Unit::Milliseconds).map([](std::int64_t ms) {
    return std::chrono::milliseconds(ms);
  });
}
inline Expected<std::int64_t> parse_size(std::string_view text) { return parse_quantity(text, Unit::Bytes); }
inline std::string format_duration(std::chrono::milliseconds value) {
  return format_quantity(value.count(), Unit::Milliseconds);
}
inline std::string format_size(std::int64_t bytes) { return format_quantity(bytes, Unit::Bytes); }

}  // namespace pgweir
