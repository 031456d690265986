// pooler/log_text.h - texts of whomever as parts of a line: escaped, cut, and never more than one line.
#pragma once

#include <cstddef>
#include <cstdint>
#include <string>
#include <string_view>

namespace pgweir::log_text {

inline constexpr std::string_view kEcsVersion = "8.11.0";
// A field longer than this is cut: a queue of lines has a bound in bytes too.
inline constexpr std::size_t kValueMax = 4096;

enum class Escape : std::uint8_t { Json, Text };
// For Json what must be escaped in a string; for Text only what would break the line or fool a terminal.
void put_escaped(std::string& out, std::string_view text, Escape how);
// In quotes.
void put_json_string(std::string& out, std::string_view text);
// 2026-01-01T00:00:00.007Z
void put_json_time(std::string& out, std::int64_t time_ms);

}  // namespace pgweir::log_text
