#include "pooler/masking.h"

#include <algorithm>
#include <array>
#include <cstddef>

#include "protocol/base64.h"

namespace pgweir {

namespace {

constexpr std::string_view kMask = "***";
constexpr std::size_t kCardLeast = 13, kCardMost = 19, kCardShown = 4;
constexpr std::size_t kGroupLeast = 4, kGroupMost = 6;  // digits of a card between two dots
constexpr std::size_t kTokenLeast = 16;                 // letters behind a prefix
constexpr std::size_t kBasicMost = 300;                 // a user and password, decoded
constexpr std::size_t kLocalMost = 256;                 // of an address, in front of its '@'

bool is_digit(char c) { return c >= '0' && c <= '9'; }
bool is_letter(char c) { return (c >= 'a' && c <= 'z') || (c >= 'A' && c <= 'Z'); }
bool is_word(char c) { return is_letter(c) || is_digit(c) || c == '_' || c == '-'; }
bool is_foreign(char c) { return static_cast<unsigned char>(c) >= 0x80; }
bool is_local(char c) { return is_word(c) || is_foreign(c) || c == '.' || c == '+' || c == '%'; }
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
  if (colon == std::string_view::npos) return {};
  if (sign != std::string_view::npos) return colon > sign ? Found{} : Found{sign, colon + 1, 0};
  // A password with a blank or quote in it, unless what stands there is a port.
  const std::size_t digits = run(rest, colon + 1, is_digit), behind = colon + 1 + digits;
  if (digits > 0 && (behind == rest.size() || rest[behind] == '/' || rest[behind] == '?')) return {};
  const std::size_t far = text.substr(at).find('@');
  return far == std::string_view::npos ? Found{} : Found{far, colon + 1, 0};
}

bool ends(std::string_view text, std::string_view with) {
  return text.size() >= with.size() && begins(text, text.size() - with.size(), with);
}

// password, PGPASSWORD, --client-secret, app.token; of the shorter ones, that many words end with, only where
// a sign stands in front.
bool names_secret(std::string_view word) {
  constexpr std::array<std::string_view, 15> kEnds{
      "password", "passwd",  "passwort", "passphrase", "passcode",  "pwd",        "secret",     "token",
      "apikey",   "api_key", "api-key",  "accesskey",  "secretkey", "credential", "credentials"};
  constexpr std::array<std::string_view, 3> kWhole{"pass", "pw", "auth"};
  constexpr std::array<std::string_view, 6> kEndsBehindSign{"_key",  "-key",  ".key",
                                                            "_pass", "-pass", ".pass"};
  const auto ends_it = [word](std::string_view one) { return ends(word, one); };
  return std::any_of(kEnds.begin(), kEnds.end(), ends_it) ||
         std::any_of(kEndsBehindSign.begin(), kEndsBehindSign.end(), ends_it) ||
         std::any_of(kWhole.begin(), kWhole.end(), [word](std::string_view one) {
           return word.size() == one.size() && begins(word, 0, one);
         });
}

// Bearer x; Basic with base64 of user:password
Found behind_scheme(std::string_view text, std::size_t at) {
  constexpr std::string_view kBearer = "bearer ", kBasic = "basic ";
  if (begins(text, at, kBearer)) {
    const std::size_t size = run(text, at + kBearer.size(), [](char c) { return !ends_value(c); });
    return size < kTokenLeast / 2 ? Found{} : Found{kBearer.size() + size, kBearer.size(), 0};
  }
  if (!begins(text, at, kBasic)) return {};
  const std::size_t size = run(text, at + kBasic.size(), [](char c) { return !ends_value(c); });
  const auto decoded = protocol::base64_decode(text.substr(at + kBasic.size(), size), kBasicMost);
  const bool has_colon = decoded && decoded->find(':') != std::string::npos;
  return has_colon ? Found{kBasic.size() + size, kBasic.size(), 0} : Found{};
}

// hunter2: no word of a sentence.
bool looks_chosen(std::string_view word) {
  constexpr std::size_t kLeast = 6;
  return word.size() >= kLeast && std::any_of(word.begin(), word.end(), is_digit) &&
         std::any_of(word.begin(), word.end(), is_letter);
}

// Up to the quote that is not doubled; all where there is none.
std::size_t quoted_size(std::string_view text, std::size_t at, char closing) {
  std::size_t end = at;
  for (; end < text.size(); ++end) {
    if (text[end] != closing) continue;
    if (text.substr(end + 1, 1) != std::string_view(&closing, 1)) break;
    ++end;
  }
  return std::min(end, text.size()) - at;
}

// Up to what ends it; a comma does where a blank or nothing comes behind it.
std::size_t bare_size(std::string_view text, std::size_t at, bool scheme) {
  std::size_t end = at;
  for (; end < text.size(); ++end) {
    const bool inside = text[end] == ',' && end > at && end + 1 < text.size() && !ends_value(text[end + 1]);
    if (ends_value(text[end]) && !inside && !(scheme && text[end] == ' ')) break;
  }
  return end - at;
}

// password=x, "token": "x", PASSWORD 'x', password%3Dx, password hunter2, Authorization: Bearer x
Found named_secret(std::string_view text, std::size_t at) {
  constexpr std::string_view kEscapedSign = "%3d";
  std::size_t end = at + run(text, at, is_local);
  for (std::size_t sign = at; sign < end; ++sign)
    if (begins(text, sign, kEscapedSign)) {
      if (!names_secret(text.substr(at, sign - at))) break;
      const std::size_t begin = sign + kEscapedSign.size(), size = bare_size(text, begin, false);
      return size == 0 ? Found{} : Found{begin + size - at, begin - at, 0};
    }
  const std::string_view word = text.substr(at, end - at);
  const bool scheme = ends(word, "authorization");  // the secret stands behind one more word
  if (!scheme && !names_secret(word)) return {};
  const auto blanks = [&] { end += run(text, end, is_space); };
  const auto quoted = [&] { return end < text.size() && (text[end] == '\'' || text[end] == '"'); };
  if (at > 0 && quoted() && text[end] == text[at - 1]) ++end;  // of a name in JSON
  blanks();
  const bool assigned = end < text.size() && (text[end] == '=' || text[end] == ':');
  if (assigned) {
    ++end;
    blanks();
  }
  const bool quote = quoted();
  const char closing = quote ? text[end++] : ' ';
  const std::size_t size = quote ? quoted_size(text, end, closing) : bare_size(text, end, scheme);
  if (!assigned && !quote && (scheme || end == at + word.size() || !looks_chosen(text.substr(end, size))))
    return {};
  return size == 0 ? Found{} : Found{end + size - at, end - at, 0};
}

bool is_hex(char c) { return is_digit(c) || (c >= 'a' && c <= 'f') || (c >= 'A' && c <= 'F'); }

// As Postgres stores them.
Found stored_secret(std::string_view text, std::size_t at) {
  constexpr std::string_view kScram = "scram-sha-256$", kMd5 = "md5";
  constexpr std::size_t kMd5Digits = 32;
  if (begins(text, at, kScram)) {
    const std::size_t size = run(text, at + kScram.size(), [](char c) { return !ends_value(c); });
    return size == 0 ? Found{} : Found{kScram.size() + size, kScram.size(), 0};
  }
  if (!begins(text, at, kMd5) || run(text, at + kMd5.size(), is_hex) != kMd5Digits) return {};
  const std::size_t size = kMd5.size() + kMd5Digits;
  return at + size < text.size() && is_word(text[at + size]) ? Found{} : Found{size, kMd5.size(), 0};
}

// What services give out as keys.
Found token(std::string_view text, std::size_t at) {
  if (const Found found = stored_secret(text, at); found.size > 0) return found;
  constexpr std::array<std::string_view, 32> kPrefixes{
      "eyj",   "sk_live_", "sk_test_", "rk_live_", "rk_test_", "sk-",         "ghp_",   "gho_",
      "ghu_",  "ghs_",     "ghr_",     "akia",     "aiza",     "github_pat_", "glpat-", "xoxa-",
      "xoxb-", "xoxe-",    "xoxp-",    "xoxr-",    "xoxs-",    "xapp-",       "ya29.",  "sg.",
      "npm_",  "hf_",      "dop_v1_",  "whsec_",   "shpat_",   "sbp_",        "napi_",  "pypi-"};
  for (const std::string_view prefix : kPrefixes) {
    if (!begins(text, at, prefix)) continue;
    const std::size_t size = run(text, at, [](char c) { return is_word(c) || c == '.'; });
    const std::string_view all = text.substr(at, size);
    if (size >= prefix.size() + kTokenLeast && std::any_of(all.begin(), all.end(), is_digit))
      return {size, 0, 0};
  }
  return {};
}

// An '@', as it is or as an URL has it.
Found address(std::string_view text, std::size_t at) {
  constexpr std::string_view kEscaped = "%40";
  // Letters that few addresses have count between others: o'neil, a!b.
  constexpr std::string_view kRare = "!#$&*?^`{|}~'";
  std::size_t local = run(text, at, is_local), sign = 1;
  while (local > 0 && local < kLocalMost && at + local + 1 < text.size() &&
         kRare.find(text[at + local]) != std::string_view::npos && is_local(text[at + local + 1]))
    local += 1 + run(text, at + local + 1, is_local);
  if (at + local >= text.size() || text[at + local] != '@') {
    local = text.substr(at, local).rfind(kEscaped);
    sign = kEscaped.size();
    if (local == std::string_view::npos) return {};
  }
  if (local == 0) return {};
  const std::size_t begin = at + local + sign;
  std::size_t domain = run(text, begin, [](char c) { return is_word(c) || is_foreign(c) || c == '.'; });
  while (domain > 0 && text[begin + domain - 1] == '.') --domain;  // of the sentence
  const std::string_view host = text.substr(begin, domain);
  if (host.find('.') == std::string_view::npos && host != "localhost") return {};
  return {local + sign + domain, 0, sign + domain};
}

// Groups with a blank or dash between, or, if they are like those of a card, another sign. Behind a letter
// only where it is one group.
Found card(std::string_view text, std::size_t at) {
  std::size_t digits = 0, group = 0, end = at, sum_end = at;
  std::string number;
  const auto parts = [&](char c) {
    if (group == 0) return false;
    if (at > 0 && (is_letter(text[at - 1]) || text[at - 1] == '_')) return false;
    if (c == ' ' || c == '-' || c == '\t') return true;
    const bool sign = c == '.' || c == '_' || c == '/' || c == ':';
    return sign && group >= kGroupLeast && group <= kGroupMost;
  };
  while (end < text.size() && digits <= kCardMost) {
    if (is_digit(text[end])) {
      number += text[end];
      ++digits;
      ++group;
      sum_end = end + 1;
    } else if (parts(text[end])) {
      group = 0;
    } else {
      break;
    }
    ++end;
  }
  if (digits < kCardLeast || digits > kCardMost) return {};
  if (sum_end < text.size() && is_letter(text[sum_end])) return {};
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
  // The rest begins with a word, but for what stands behind another one all the same: card4111..., ci-ghp_...
  if (!is_local(text[at])) return {};
  const char before = at > 0 ? text[at - 1] : ' ';
  if (is_local(before)) {
    if (is_digit(text[at]) && !is_digit(before)) return card(text, at);
    const bool parted = before == '-' || before == '_' || before == '.';
    return parted ? token(text, at) : Found{};
  }
  if (const Found found = behind_scheme(text, at); found.size > 0) return found;
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

std::string masked(std::string_view text, std::size_t most) {
  constexpr std::size_t kKnownBehind = 512;
  std::string out = masked(text.substr(0, most + kKnownBehind));
  if (out.size() > most) out.resize(most);
  return out;
}

}  // namespace pgweir
