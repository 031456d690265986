// pooler/base/plain_sql.h - under which settings the text of a statement can be read by who is not Postgres.
//
// Standard strings, and an encoding in which no letter contains the byte of a quote or a backslash.
#pragma once

#include <algorithm>
#include <array>
#include <string>
#include <string_view>

namespace pgweir {

// The settings that it depends on, named as Postgres reports them.
inline constexpr std::array<std::string_view, 2> kDecideReading = {"client_encoding",
                                                                   "standard_conforming_strings"};
inline bool decides_reading(std::string_view name) {
  return std::find(kDecideReading.begin(), kDecideReading.end(), name) != kDecideReading.end();
}

// Whether texts can be read with this value of any setting.
inline bool reads_plainly(std::string_view name, std::string_view value) {
  const auto is_letter = [](char c) { return c >= 'a' && c <= 'z'; };
  std::string lower(value);
  for (char& c : lower)
    if (c >= 'A' && c <= 'Z') c = static_cast<char>(c | 0x20);
  if (name == "standard_conforming_strings") {
    constexpr std::array<std::string_view, 6> kOn = {"on", "true", "yes", "1", "t", "y"};
    return std::find(kOn.begin(), kOn.end(), lower) != kOn.end();
  }
  if (name != "client_encoding") return true;
  // In these a byte of a letter can look like a backslash.
  constexpr std::array<std::string_view, 11> kOdd = {
      "big5", "gb18030", "gbk", "johab", "mskanji", "shiftjis", "shift", "sjis", "uhc", "windows9", "win9"};
  std::erase_if(lower, [&](char c) { return !is_letter(c) && (c < '0' || c > '9'); });
  return std::none_of(kOdd.begin(), kOdd.end(), [&](std::string_view odd) { return lower.starts_with(odd); });
}

// Whether the text means the same under all values of these: it has no backslash, and no letter beyond ASCII.
inline bool reads_alike(std::string_view text) {
  return std::none_of(text.begin(), text.end(),
                      [](char c) { return c == '\\' || static_cast<unsigned char>(c) >= 0x80; });
}

}  // namespace pgweir
