#include "tiers/guc_value.h"

#include <array>
#include <cerrno>
#include <charconv>
#include <cmath>
#include <cstdlib>
#include <limits>
#include <span>

namespace pgweir::tiers {
namespace {

struct UnitName {
  std::string_view name;
  double base_units;
};
// Largest first.
constexpr double kKilo = 1024, kBlockKilobytes = 8;
constexpr std::array kTimes{UnitName{"d", 86'400'000}, UnitName{"h", 3'600'000}, UnitName{"min", 60'000},
                            UnitName{"s", 1000},       UnitName{"ms", 1},        UnitName{"us", 0.001}};
constexpr std::array kKilobytes{UnitName{"TB", kKilo* kKilo* kKilo}, UnitName{"GB", kKilo* kKilo},
                                UnitName{"MB", kKilo}, UnitName{"kB", 1}, UnitName{"B", 1 / kKilo}};
constexpr std::array kBlocks{UnitName{"TB", kKilo* kKilo* kKilo / kBlockKilobytes},
                             UnitName{"GB", kKilo* kKilo / kBlockKilobytes},
                             UnitName{"MB", kKilo / kBlockKilobytes}, UnitName{"kB", 1 / kBlockKilobytes},
                             UnitName{"B", 1 / kKilo / kBlockKilobytes}};

std::span<const UnitName> units_of(Measure measure) {
  switch (measure) {
    case Measure::Milliseconds: return kTimes;
    case Measure::Kilobytes: return kKilobytes;
    case Measure::Blocks: return kBlocks;
    case Measure::Count:
    case Measure::Real: break;
  }
  return {};
}

bool is_space(char c) { return c == ' ' || (c >= '\t' && c <= '\r'); }

std::string_view without_spaces(std::string_view text) {
  while (!text.empty() && is_space(text.front())) text.remove_prefix(1);
  while (!text.empty() && is_space(text.back())) text.remove_suffix(1);
  return text;
}

// `*end` is where the number ends. Both library calls read in the C locale, which this program never leaves.
std::optional<double> read_number(const char* text, Measure measure, const char** end) {
  char* stop = nullptr;
  double value = 0;
  bool whole = measure != Measure::Real;
  errno = 0;
  if (whole) {
    value = static_cast<double>(std::strtol(text, &stop, 0));
    whole = *stop != '.' && *stop != 'e' && *stop != 'E' && errno != ERANGE;
  }
  if (!whole) {
    errno = 0;
    value = std::strtod(text, &stop);
  }
  if (stop == text || errno == ERANGE || std::isnan(value)) return {};
  *end = stop;
  return value;
}

std::optional<double> times_unit(double value, std::string_view unit, Measure measure) {
  const auto units = units_of(measure);
  for (std::size_t i = 0; i < units.size(); ++i) {
    if (units[i].name != unit) continue;
    value *= units[i].base_units;
    if (i + 1 == units.size()) return value;
    const double smaller = units[i + 1].base_units;
    return std::rint(value / smaller) * smaller;
  }
  return {};
}

}  // namespace

std::optional<double> read_value(std::string_view text, Measure measure) {
  if (text.find('\0') != std::string_view::npos) return {};
  const std::string terminated(text);
  const char* end = nullptr;
  auto value = read_number(terminated.c_str(), measure, &end);
  if (!value) return {};
  const std::string_view unit =
      without_spaces(text.substr(static_cast<std::size_t>(end - terminated.c_str())));
  if (!unit.empty()) value = times_unit(*value, unit, measure);
  if (!value || measure == Measure::Real) return value;
  const double rounded = std::rint(*value);
  if (rounded > std::numeric_limits<std::int32_t>::max() ||
      rounded < std::numeric_limits<std::int32_t>::min())
    return {};
  return rounded;
}

std::string spell_value(double value, Measure measure) {
  if (measure == Measure::Real) {
    std::array<char, 32> text{};
    constexpr int kDigits = 6;  // as printf's %g, which Postgres uses
    const auto end =
        std::to_chars(text.data(), text.data() + text.size(), value, std::chars_format::general, kDigits).ptr;
    return {text.data(), end};
  }
  const auto count = static_cast<std::int64_t>(value);
  if (count > 0) {
    for (const UnitName& unit : units_of(measure)) {
      if (unit.base_units <= 1)
        return std::to_string(std::llround(value / unit.base_units)) + std::string(unit.name);
      const auto base_units = static_cast<std::int64_t>(unit.base_units);
      if (count % base_units == 0) return std::to_string(count / base_units) + std::string(unit.name);
    }
  }
  return std::to_string(count);
}

}  // namespace pgweir::tiers
