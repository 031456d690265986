#include "protocol/trace_context.h"

#include <algorithm>

namespace pgweir::protocol {

namespace {

constexpr Bytes kBlanks = " \t\r\n\f\v";
constexpr Bytes kKey = "traceparent";
constexpr std::size_t kVersion = 2, kTrace = 32, kSpan = 16, kFlags = 2;
constexpr std::size_t kSize = kVersion + 1 + kTrace + 1 + kSpan + 1 + kFlags;

bool is_hex(Bytes text) {
  return std::all_of(text.begin(), text.end(),
                     [](char c) { return (c >= '0' && c <= '9') || (c >= 'a' && c <= 'f'); });
}
bool is_zero(Bytes text) { return text.find_first_not_of('0') == Bytes::npos; }

int hex_value(char c) {
  if (c >= '0' && c <= '9') return c - '0';
  if (c >= 'a' && c <= 'f') return c - 'a' + 10;
  return c >= 'A' && c <= 'F' ? c - 'A' + 10 : -1;
}

// Nothing where a '%' has no two digits behind it.
std::optional<std::string> url_decoded(Bytes text) {
  std::string out;
  for (std::size_t at = 0; at < text.size(); ++at) {
    if (text[at] != '%') {
      out += text[at];
      continue;
    }
    if (text.size() - at < 3) return {};
    const int high = hex_value(text[at + 1]), low = hex_value(text[at + 2]);
    if (high < 0 || low < 0) return {};
    out += static_cast<char>(high * 16 + low);
    at += 2;
  }
  return out;
}

void skip_blanks(Bytes& text) { text.remove_prefix(std::min(text.find_first_not_of(kBlanks), text.size())); }

// key='value',key='value': what stands between slash and star.
std::optional<TraceContext> in_pairs(Bytes text) {
  for (;;) {
    skip_blanks(text);
    const std::size_t sign = text.find('=');
    if (sign == Bytes::npos || text.substr(sign + 1, 1) != "'") return {};
    const Bytes key = text.substr(0, sign);
    text.remove_prefix(sign + 2);
    std::size_t end = 0;
    while (end < text.size() && text[end] != '\'') end += text[end] == '\\' ? 2 : 1;
    if (end >= text.size()) return {};
    if (key == kKey) {
      const auto value = url_decoded(text.substr(0, end));
      return value ? parse_traceparent(*value) : std::nullopt;
    }
    text.remove_prefix(end + 1);
    skip_blanks(text);
    if (text.empty() || text[0] != ',') return {};
    text.remove_prefix(1);
  }
}

// The last one that has it, of the comments behind all else.
std::optional<TraceContext> behind(Bytes sql) {
  for (;;) {
    sql = sql.substr(0, sql.find_last_not_of(" \t\r\n\f\v;") + 1);
    if (sql.size() < 4 || !sql.ends_with("*/")) return {};
    sql.remove_suffix(2);
    const std::size_t begin = sql.rfind("/*");
    if (begin == Bytes::npos) return {};
    if (auto found = in_pairs(sql.substr(begin + 2))) return found;
    sql = sql.substr(0, begin);
  }
}

// The first one that has it, of the comments in front of all else.
std::optional<TraceContext> in_front(Bytes sql) {
  for (;;) {
    skip_blanks(sql);
    if (!sql.starts_with("/*")) return {};
    sql.remove_prefix(2);
    const std::size_t end = sql.find("*/");
    if (end == Bytes::npos) return {};
    if (auto found = in_pairs(sql.substr(0, end))) return found;
    sql.remove_prefix(end + 2);
  }
}

}  // namespace

std::optional<TraceContext> parse_traceparent(Bytes value) {
  if (value.size() < kSize) return {};
  const Bytes version = value.substr(0, kVersion);
  const Bytes trace = value.substr(kVersion + 1, kTrace);
  const Bytes span = value.substr(kVersion + 1 + kTrace + 1, kSpan);
  const Bytes flags = value.substr(kSize - kFlags, kFlags);
  for (const std::size_t dash : {kVersion, kVersion + 1 + kTrace, kSize - kFlags - 1})
    if (value[dash] != '-') return {};
  if (!is_hex(version) || !is_hex(trace) || !is_hex(span) || !is_hex(flags)) return {};
  if (version == "ff" || is_zero(trace) || is_zero(span)) return {};
  // Versions to come may add fields, each behind a dash.
  if (value.size() > kSize && (version == "00" || value[kSize] != '-')) return {};
  return TraceContext{std::string(trace), std::string(span)};
}

std::optional<TraceContext> trace_context(Bytes head, Bytes tail) {
  if (auto found = behind(tail)) return found;
  return in_front(head);
}

}  // namespace pgweir::protocol
