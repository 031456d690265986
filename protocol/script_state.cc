#include "protocol/script_state.h"

#include <algorithm>
#include <array>
#include <string>

namespace pgweir::protocol {

namespace {

constexpr Bytes kSpace = " \t\r\n\f\v";

bool is_letter(char c) {
  return (c >= 'a' && c <= 'z') || (c >= 'A' && c <= 'Z') || (c >= '0' && c <= '9') || c == '_';
}

bool is_at(Bytes code, std::size_t at, Bytes what) {
  return at <= code.size() && code.substr(at).starts_with(what);
}

bool is_one_of(Bytes code, std::size_t at, Bytes letters) {
  return at < code.size() && letters.find(code[at]) != Bytes::npos;
}

std::size_t behind(Bytes code, std::size_t at, Bytes letters) {
  return std::min(code.find_first_not_of(letters, at), code.size());
}

std::size_t behind_name(Bytes code, std::size_t at) {
  const auto is_part = [](char c) {
    return is_letter(c) || c == '\'' || static_cast<unsigned char>(c) >= 0x80;
  };
  while (at < code.size() && is_part(code[at])) ++at;
  return at;
}

// Whether the word stands anywhere so that `fits`, which is given where it begins and where it ends.
template <class Fits>
bool has_word(Bytes code, Bytes word, Fits fits) {
  for (std::size_t at = code.find(word); at != Bytes::npos; at = code.find(word, at + 1)) {
    const std::size_t end = at + word.size();
    if ((at == 0 || !is_letter(code[at - 1])) && (end == code.size() || !is_letter(code[end])) &&
        fits(at, end))
      return true;
  }
  return false;
}

bool has_word(Bytes code, Bytes word) {
  return has_word(code, word, [](std::size_t, std::size_t) { return true; });
}

template <std::size_t kCount>
bool has_any(Bytes code, const std::array<Bytes, kCount>& words) {
  return std::any_of(words.begin(), words.end(), [code](Bytes word) { return has_word(code, word); });
}

// Without the lines that begin like a comment. Where a string goes over lines, one of these may be its last,
// with code behind it: those in which it may end, by one of `closing`, are kept.
std::string without_comments(Bytes code, Bytes opening, Bytes closing) {
  std::string kept;
  for (std::size_t end = 0; !code.empty(); code.remove_prefix(end)) {
    end = std::min(code.find('\n'), code.size() - 1) + 1;
    const Bytes line = code.substr(0, end);
    const std::size_t last = line.find_last_not_of("\r\n");
    const bool whole = line.substr(0, last + 1).find('\r') == Bytes::npos;  // it may end lines, too
    if (!is_at(line, behind(line, 0, kSpace), opening) || line.find_first_of(closing) != Bytes::npos ||
        !whole)
      kept += line;
  }
  return kept;
}

bool perl_keeps(Bytes code) {
  const auto declares = [code](std::size_t, std::size_t end) {
    return is_one_of(code, behind(code, end, " \t\r\n\f("), "$@%");
  };
  if (has_word(code, "_SHARED") || has_word(code, "our", declares) || has_word(code, "state", declares))
    return true;
  // $Package::x, $::x, @{Package::x}, $#Package::x. Without a sigil it is a function or a class.
  for (std::size_t at = code.find_first_of("$@%"); at != Bytes::npos;
       at = code.find_first_of("$@%", at + 1)) {
    std::size_t name = at + 1;
    if (is_at(code, name, "#")) ++name;
    if (is_at(code, name, "{")) name = behind(code, name + 1, kSpace);
    if (is_at(code, behind_name(code, name), "::")) return true;
  }
  return false;
}

bool python_keeps(Bytes code) {
  constexpr std::array<Bytes, 4> kPlaces = {"GD", "SD", "globals", "__main__"};
  // As a statement, not as a word of a text.
  const auto begins = [code](std::size_t at, std::size_t end) {
    const std::size_t before = at == 0 ? Bytes::npos : code.find_last_not_of(" \t\f", at - 1);
    return (before == Bytes::npos || is_one_of(code, before, "\n\r;:")) && is_one_of(code, end, " \t\f\\");
  };
  return has_any(code, kPlaces) || has_word(code, "global", begins);
}

bool tcl_keeps(Bytes code) {
  constexpr std::array<Bytes, 4> kPlaces = {"GD", "global", "upvar", "namespace"};
  constexpr std::array<Bytes, 5> kSets = {"set", "incr", "append", "lappend", "unset"};
  if (has_any(code, kPlaces)) return true;
  const auto sets = [code](std::size_t, std::size_t end) {
    return is_at(code, behind_name(code, behind(code, end, " \t")), "::");
  };
  if (std::any_of(kSets.begin(), kSets.end(), [&](Bytes word) { return has_word(code, word, sets); }))
    return true;
  // ::x, $space::x; not a cast in SQL.
  for (std::size_t at = code.find("::"); at != Bytes::npos; at = code.find("::", at + 2))
    if (at == 0 || is_one_of(code, at - 1, " \t\r\n[{$\"(;")) return true;
  for (std::size_t at = code.find('$'); at != Bytes::npos; at = code.find('$', at + 1)) {
    if (at > 0 && code[at - 1] == '\\') continue;
    if (is_at(code, behind_name(code, at + (is_at(code, at + 1, "{") ? 2 : 1)), "::")) return true;
  }
  return false;
}

// A string that goes over lines may run what stands in it.
bool has_long_strings(Bytes javascript) {
  constexpr std::array<Bytes, 5> kTraces = {"`", "\\\n", "\\\r", "\xe2\x80\xa8", "\xe2\x80\xa9"};
  return std::any_of(kTraces.begin(), kTraces.end(),
                     [=](Bytes each) { return javascript.find(each) != Bytes::npos; });
}

std::string without_javascript_comments(Bytes code) {
  if (has_long_strings(code)) return std::string(code);
  std::string kept;
  bool closes = true;  // a comment, further on
  while (!code.empty()) {
    const std::size_t first = behind(code, 0, kSpace);
    if (first == code.size()) break;
    std::size_t end = std::min(code.find('\n', first), code.size() - 1) + 1;
    const Bytes line = code.substr(first, end - first);
    const std::size_t closed = closes && line.starts_with("/*") ? code.find("*/", first + 2) : Bytes::npos;
    closes = closes && (closed != Bytes::npos || !line.starts_with("/*"));
    if (closed != Bytes::npos)
      end = closed + 2;
    else if (line.find("*/") != Bytes::npos)  // the end of one that begins behind code
      kept += line;
    else
      kept += without_comments(line, "//", {});
    code.remove_prefix(end);
  }
  return kept;
}

bool javascript_keeps(Bytes code) {
  constexpr std::array<Bytes, 2> kPlaces = {"this", "globalThis"};
  return has_any(code, kPlaces);
}

bool any_keeps(Bytes code) {
  constexpr std::array<Bytes, 8> kPlaces = {"_shared", "our",  "gd",    "sd",
                                            "global",  "this", "upvar", "globalthis"};
  constexpr std::array<Bytes, 3> kTraces = {"main::", " ::", "$::"};
  std::string lower(code);
  for (char& c : lower)
    if (c >= 'A' && c <= 'Z') c = static_cast<char>(c | 0x20);
  return has_any(lower, kPlaces) || std::any_of(kTraces.begin(), kTraces.end(), [&](Bytes each) {
           return lower.find(each) != std::string::npos;
         });
}

}  // namespace

bool may_keep_something(Bytes code, BodyLanguage language) {
  switch (language) {
    case BodyLanguage::Sql:
    case BodyLanguage::PlPgsql: return false;
    case BodyLanguage::Perl: return perl_keeps(without_comments(code, "#", "\"'`/)}]>|!"));
    case BodyLanguage::Python: {
      const bool long_strings = code.find("\"\"\"") != Bytes::npos || code.find("'''") != Bytes::npos ||
                                code.find("\\\n") != Bytes::npos || code.find("\\\r") != Bytes::npos;
      return python_keeps(without_comments(code, "#", long_strings ? "\"'" : ""));
    }
    case BodyLanguage::Tcl: return tcl_keeps(without_comments(code, "#", "\"}]"));
    case BodyLanguage::JavaScript: return javascript_keeps(without_javascript_comments(code));
    case BodyLanguage::Other: break;
  }
  return any_keeps(code);
}

}  // namespace pgweir::protocol
