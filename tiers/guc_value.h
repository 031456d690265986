// tiers/guc_value.h - values of Postgres's numeric parameters, read and spelled as Postgres does.
//
// A number is what C's strtol and strtod read: decimal, hexadecimal (0x40), octal (010 is eight), with a
// fraction or an exponent, white space around it. Behind it may stand a unit of its parameter's family, in
// exactly this spelling: B kB MB GB TB, or us ms s min h d. Without a unit it counts base units. A fraction
// of a unit is rounded to the next smaller one, then to a whole number of base units, halves to the even one.
#pragma once

#include <cstdint>
#include <optional>
#include <string>
#include <string_view>

namespace pgweir::tiers {

// What a parameter counts, in its base unit: Blocks have 8 kB. Real is the only one that keeps fractions.
enum class Measure : std::uint8_t { Count, Real, Milliseconds, Kilobytes, Blocks };

// Nothing where Postgres says that the value is invalid: no number, an unknown unit, or more than it counts.
std::optional<double> read_value(std::string_view text, Measure measure);

// As SHOW prints it: in the largest unit that leaves no rest.
std::string spell_value(double value, Measure measure);

}  // namespace pgweir::tiers
