#include "pooler/log_text.h"

#include <fmt/chrono.h>
#include <fmt/format.h>

#include <algorithm>
#include <ctime>

namespace pgweir::log_text {

namespace {

// Bytes of the well-formed UTF-8 character at the front; 0: it is not one (RFC 3629).
std::size_t utf8_size(std::string_view text) {
  const auto byte = [&](std::size_t i) { return static_cast<unsigned char>(text[i]); };
  const unsigned char first = byte(0);
  if (first < 0x80) return 1;
  const std::size_t size = first >= 0xf0 ? 4 : first >= 0xe0 ? 3 : 2;
  if (first < 0xc2 || first > 0xf4 || text.size() < size) return 0;
  for (std::size_t i = 1; i < size; ++i)
    if ((byte(i) & 0xc0U) != 0x80U) return 0;
  // Longer than need be, a surrogate, or beyond the last code point.
  const unsigned char second = byte(1);
  if ((first == 0xe0 && second < 0xa0) || (first == 0xed && second > 0x9f)) return 0;
  if ((first == 0xf0 && second < 0x90) || (first == 0xf4 && second > 0x8f)) return 0;
  return size;
}

}  // namespace

void put_escaped(std::string& out, std::string_view text, Escape how) {
  if (text.size() > kValueMax) text = text.substr(0, kValueMax);
  while (!text.empty()) {
    const std::size_t size = utf8_size(text);
    const auto byte = static_cast<unsigned char>(text[0]);
    if (size == 0) {
      out += how == Escape::Json ? "\\ufffd" : "\xef\xbf\xbd";
    } else if (byte == '"' || byte == '\\') {
      (out += '\\') += text[0];
    } else if (byte == '\n') {
      out += "\\n";
    } else if (byte < 0x20 || byte == 0x7f) {
      out += fmt::format("\\u{:04x}", byte);
    } else {
      out.append(text.substr(0, size));
    }
    text.remove_prefix(std::max<std::size_t>(size, 1));
  }
}

void put_json_string(std::string& out, std::string_view text) {
  out += '"';
  put_escaped(out, text, Escape::Json);
  out += '"';
}

void put_json_time(std::string& out, std::int64_t time_ms) {
  const auto seconds = static_cast<std::time_t>(time_ms / 1000);
  std::tm broken_down{};
  gmtime_r(&seconds, &broken_down);
  out += fmt::format(R"("{:%Y-%m-%dT%H:%M:%S}.{:03}Z")", broken_down, time_ms % 1000);
}

}  // namespace pgweir::log_text
