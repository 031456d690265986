// pooler/base/plain_sql.h - under which settings the text of a statement can be read by who is not Postgres.
//
// Standard strings, and an encoding in which no letter contains the byte of a quote or a backslash.
#pragma once

#include <algorithm>
#include <array>
#include <string>
#include <string_view>

namespace pgweir {

// Whether it depends on this setting, named as Postgres reports it.
inline bool decides_reading(std::string_view name) {
  return name == "standard_conforming_strings" || name == "client_encoding";
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

}  // namespace pgweir
