// pooler/base/quoted.h - somebody else's text, made fit for one line of a message.
#pragma once

#include <cstddef>
#include <string>
#include <string_view>

namespace pgweir {

inline constexpr std::size_t kQuotedMax = 60;

// 'text', with control characters as '?' and whatever is longer than kQuotedMax bytes cut off between
// characters.
inline std::string quoted(std::string_view text) {
  std::size_t size = text.size();
  if (size > kQuotedMax) {
    size = kQuotedMax;
    while (size > 0 && (static_cast<unsigned char>(text[size]) & 0xc0U) == 0x80U) --size;
  }
  std::string out = "'";
  for (const char c : text.substr(0, size)) {
    const auto byte = static_cast<unsigned char>(c);
    out += byte < 0x20 || byte == 0x7f ? '?' : c;
  }
  if (size < text.size()) out += "...";
  return out += '\'';
}

}  // namespace pgweir
