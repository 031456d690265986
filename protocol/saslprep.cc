#include "protocol/saslprep.h"

#include <stringprep.h>
#include <sys/types.h>

#include <algorithm>
#include <cstdint>
#include <cstdlib>
#include <memory>
#include <span>
#include <vector>

namespace pgweir::protocol {
namespace {

using CodePoint = std::uint32_t;

struct Free {
  void operator()(void* p) const { std::free(p); }
};
template <class T>
using Owned = std::unique_ptr<T, Free>;

bool in_table(CodePoint code, const Stringprep_profile& step) {
  return std::ranges::any_of(std::span(step.table, step.table_size), [code](const auto& range) {
    return range.end == 0 ? code == range.start : code >= range.start && code <= range.end;
  });
}

// libidn's saslprep profile is a list of steps; we use its tables, not its order. Ends with operation 0.
template <class Visit>
bool any_step(Stringprep_profile_steps operation, Visit visit) {
  for (const Stringprep_profile* step = stringprep_saslprep; step->operation != 0; ++step) {
    if (step->operation == operation && visit(*step)) return true;
  }
  return false;
}

bool is_any(CodePoint code, Stringprep_profile_steps operation) {
  return any_step(operation, [code](const Stringprep_profile& step) { return in_table(code, step); });
}

bool is_space(CodePoint code) {
  return any_step(STRINGPREP_MAP_TABLE, [code](const Stringprep_profile& step) {
    return step.table == stringprep_saslprep_space_map && in_table(code, step);
  });
}

// NFKC of Unicode 3.2 maps these five to the wrong ideograph; Unicode corrected them (Corrigendum 4) and
// Postgres uses the corrected table, libidn the old one.
struct Corrected {
  CodePoint from, to;
};
constexpr Corrected kCorrected[] = {
    {0x2F868, 0x36FC}, {0x2F874, 0x5F53}, {0x2F91F, 0x243AB}, {0x2F95F, 0x7AEE}, {0x2F9BF, 0x45D7},
};

CodePoint corrected(CodePoint code) {
  for (const auto& row : kCorrected) {
    if (row.from == code) return row.to;
  }
  return code;
}

// RFC 3454 section 6: text from right to left must begin and end so, and hold nothing from left to right.
bool mixes_directions(const std::vector<CodePoint>& text) {
  const auto right_to_left = [](CodePoint code) { return is_any(code, STRINGPREP_BIDI_RAL_TABLE); };
  if (std::ranges::none_of(text, right_to_left)) return false;
  return !right_to_left(text.front()) || !right_to_left(text.back()) ||
         std::ranges::any_of(text, [](CodePoint code) { return is_any(code, STRINGPREP_BIDI_L_TABLE); });
}

// Empty where SASLprep refuses the password.
std::string prepared(Bytes password) {
  std::size_t size = 0;
  const Owned<CodePoint> decoded(
      stringprep_utf8_to_ucs4(password.data(), static_cast<ssize_t>(password.size()), &size));
  if (!decoded) return {};  // not UTF-8

  std::vector<CodePoint> text;
  text.reserve(size);
  for (const CodePoint code : std::span(decoded.get(), size)) {
    if (is_space(code)) {
      text.push_back(' ');
    } else if (!is_any(code, STRINGPREP_MAP_TABLE)) {
      text.push_back(code);
    }
  }
  if (text.empty() || mixes_directions(text)) return {};
  for (CodePoint& code : text) {
    if (is_any(code, STRINGPREP_PROHIBIT_TABLE) || is_any(code, STRINGPREP_UNASSIGNED_TABLE)) return {};
    code = corrected(code);
  }

  const Owned<CodePoint> normal(
      stringprep_ucs4_nfkc_normalize(text.data(), static_cast<ssize_t>(text.size())));
  if (!normal) return {};
  const Owned<char> utf8(stringprep_ucs4_to_utf8(normal.get(), -1, nullptr, nullptr));
  return utf8 ? std::string(utf8.get()) : std::string();
}

}  // namespace

std::string saslprep_password(Bytes password) {
  const bool ascii =
      std::ranges::all_of(password, [](char c) { return static_cast<unsigned char>(c) < 0x80; });
  const bool has_nul = password.find('\0') != Bytes::npos;  // ends a string in libidn; no password holds one
  if (ascii || has_nul || password.size() > kSaslprepSizeMax) return std::string(password);
  std::string result = prepared(password);
  return result.empty() ? std::string(password) : result;
}

}  // namespace pgweir::protocol
