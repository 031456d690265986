// conf/percent.h - parts of an address, with percent signs decoded.
#pragma once

#include <optional>
#include <string>
#include <string_view>

#include "conf/settings.h"

namespace pgweir::conf {

// Nothing for a percent sign without two hexadecimal digits, or for a control character.
inline std::optional<std::string> percent_decoded(std::string_view text) {
  const auto digit = [](char c) {
    if (c >= '0' && c <= '9') return c - '0';
    if (c >= 'a' && c <= 'f') return c - 'a' + 10;
    return c >= 'A' && c <= 'F' ? c - 'A' + 10 : -1;
  };
  std::string out;
  for (std::size_t i = 0; i < text.size(); ++i) {
    if (text[i] != '%') {
      out += text[i];
      continue;
    }
    if (text.size() - i < 3) return {};
    const int high = digit(text[i + 1]), low = digit(text[i + 2]);
    if (high < 0 || low < 0) return {};
    out += static_cast<char>(high * 16 + low);
    i += 2;
  }
  if (has_control(out)) return {};
  return out;
}

}  // namespace pgweir::conf
