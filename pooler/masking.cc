#include "pooler/masking.h"

#include <algorithm>
#include <array>
#include <cstddef>

namespace pgweir {

namespace {

constexpr std::string_view kMask = "***";
constexpr std::size_t kCardLeast = 13, kCardMost = 19, kCardShown = 4;
constexpr std::size_t kTokenLeast = 16;  // letters behind a prefix

bool is_digit(char c) { return c >= '0' && c <= '9'; }
bool is_letter(char c) { return (c >= 'a' && c <= 'z') || (c >= 'A' && c <= 'Z'); }
bool is_word(char c) { return is_letter(c) || is_digit(c) || c == '_' || c == '-'; }
bool is_local(char c) { return is_word(c) || c == '.' || c == '+' || c == '%'; }
bool is_space(char c) { return c == ' ' || (c >= '\t' && c <= '\r'); }
bool ends_value(char c) { return is_space(c) || c == '\'' || c == '"' || c == '&' || c == ',' || c == ';'; }
char lower(char c) { return c >= 'A' && c <= 'Z' ? static_cast<char>(c | 0x20) : c; }

template <class Is>
std::size_t run(std::string_view text, std::size_t at, Is is) {
  std::size_t end = at;
  while (end < text.size() && is(text[end])) ++end;
  return end - at;
}
bool begins(std::string_view text, std::size_t at, std::string_view word) {
  return text.size() - at >= word.size() &&
         std::equal(word.begin(), word.end(), text.begin() + static_cast<std::ptrdiff_t>(at),
                    [](char a, char b) { return a == lower(b); });
}

// Part of a text that is to go, and what stays of it.
struct Found {
  std::size_t size = 0;  // 0: nothing is found
  std::size_t head = 0;  // letters in front that stay
  std::size_t tail = 0;  // letters behind that stay
};

// scheme://user:password@host
Found url_password(std::string_view text, std::size_t at) {
  if (!begins(text, at, "://")) return {};
  const std::size_t size = run(text, at, [](char c) { return !is_space(c) && c != '\'' && c != '"'; });
  const std::string_view rest = text.substr(at, size);
  const std::size_t sign = rest.rfind('@'), colon = rest.find(':', 3);
  if (sign == std::string_view::npos || colon == std::string_view::npos || colon > sign) return {};
  return {sign, colon + 1, 0};
}

// password=x, "token": "x", PASSWORD 'x', Bearer x
Found named_secret(std::string_view text, std::size_t at) {
  constexpr std::array<std::string_view, 9> kNames{"password", "passwd",  "pwd",           "secret", "token",
                                                   "api_key",  "api-key", "authorization", "apikey"};
  if (begins(text, at, "bearer ")) {
    const std::size_t size = run(text, at + 7, [](char c) { return !ends_value(c); });
    return size < kTokenLeast / 2 ? Found{} : Found{7 + size, 7, 0};
  }
  const auto* const name =
      std::find_if(kNames.begin(), kNames.end(), [&](std::string_view one) { return begins(text, at, one); });
  if (name == kNames.end()) return {};
  std::size_t end = at + name->size();
  const auto blanks = [&] { end += run(text, end, is_space); };
  bool quote = end < text.size() && text[end] == '"';  // of a name in JSON
  if (quote) ++end;
  blanks();
  const bool assigned = end < text.size() && (text[end] == '=' || text[end] == ':');
  if (assigned) {
    ++end;
    blanks();
  }
  quote = end < text.size() && (text[end] == '\'' || text[end] == '"');
  if (!assigned && !quote) return {};
  const bool scheme = *name == "authorization";  // the secret stands behind one more word
  const char closing = quote ? text[end++] : ' ';
  const std::size_t size =
      quote ? std::min(text.find(closing, end), text.size()) - end
            : run(text, end, [scheme](char c) { return !ends_value(c) || (scheme && c == ' '); });
  return size == 0 ? Found{} : Found{end + size - at, end - at, 0};
}

// What services give out as keys.
Found token(std::string_view text, std::size_t at) {
  constexpr std::array<std::string_view, 9> kPrefixes{"eyj",  "sk_live_", "sk_test_", "sk-",  "ghp_",
                                                      "gho_", "akia",     "xoxb-",    "xoxp-"};
  for (const std::string_view prefix : kPrefixes) {
    if (!begins(text, at, prefix)) continue;
    const std::size_t size = run(text, at, [](char c) { return is_word(c) || c == '.'; });
    if (size >= prefix.size() + kTokenLeast) return {size, 0, 0};
  }
  return {};
}

Found address(std::string_view text, std::size_t at) {
  const std::size_t local = run(text, at, is_local);
  const std::size_t sign = at + local;
  if (local == 0 || sign >= text.size() || text[sign] != '@') return {};
  std::size_t domain = run(text, sign + 1, [](char c) { return is_word(c) || c == '.'; });
  while (domain > 0 && text[sign + domain] == '.') --domain;  // of the sentence
  if (text.substr(sign + 1, domain).find('.') == std::string_view::npos) return {};
  return {local + 1 + domain, 0, 1 + domain};
}

Found card(std::string_view text, std::size_t at) {
  std::size_t digits = 0, end = at, sum_end = at;
  std::string number;
  while (end < text.size() && digits <= kCardMost) {
    if (is_digit(text[end])) {
      number += text[end];
      ++digits;
      sum_end = end + 1;
    } else if ((text[end] != ' ' && text[end] != '-') || !is_digit(text[end - 1])) {
      break;
    }
    ++end;
  }
  if (digits < kCardLeast || digits > kCardMost) return {};
  if (sum_end < text.size() && is_word(text[sum_end]) && text[sum_end] != '-') return {};
  int sum = 0;
  for (std::size_t i = 0; i < digits; ++i) {
    int digit = number[digits - 1 - i] - '0';
    if (i % 2 == 1 && (digit *= 2) > 9) digit -= 9;
    sum += digit;
  }
  return sum % 10 == 0 ? Found{sum_end - at, 0, kCardShown} : Found{};
}

Found find(std::string_view text, std::size_t at) {
  if (text[at] == ':') return url_password(text, at);
  // The rest begins with a word.
  if (!is_local(text[at]) || (at > 0 && is_local(text[at - 1]))) return {};
  if (const Found found = named_secret(text, at); found.size > 0) return found;
  if (const Found found = token(text, at); found.size > 0) return found;
  if (is_digit(text[at]))
    if (const Found found = card(text, at); found.size > 0) return found;
  return address(text, at);
}

}  // namespace

std::string masked(std::string_view text) {
  std::string out;
  out.reserve(text.size());
  for (std::size_t at = 0; at < text.size();) {
    const Found found = find(text, at);
    if (found.size == 0) {
      out += text[at++];
      continue;
    }
    out.append(text.substr(at, found.head)).append(kMask);
    out.append(text.substr(at + found.size - found.tail, found.tail));
    at += found.size;
  }
  return out;
}

}  // namespace pgweir
