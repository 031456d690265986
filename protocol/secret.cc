#include "protocol/secret.h"

#include <algorithm>
#include <optional>
#include <utility>

#include "pooler/base/check.h"
#include "protocol/digest.h"

namespace pgweir::protocol {
namespace {

constexpr std::size_t kMd5HexSize = 32;

bool is_md5_hex(Bytes text) {
  return text.size() == kMd5HexSize &&
         std::ranges::all_of(text, [](char c) { return (c >= '0' && c <= '9') || (c >= 'a' && c <= 'f'); });
}

void skip_blanks(Bytes& rest) {
  rest.remove_prefix(std::min(rest.find_first_not_of(" \t\r\v\f"), rest.size()));
}

// Takes `"text"` off the front, `""` inside standing for one quote. Nothing if no string begins here or it
// does not end.
std::optional<std::string> take_quoted(Bytes& rest) {
  if (!rest.starts_with('"')) return std::nullopt;
  rest.remove_prefix(1);
  std::string text;
  for (;;) {
    const std::size_t quote = rest.find('"');
    if (quote == Bytes::npos) return std::nullopt;
    text.append(rest.substr(0, quote));
    rest.remove_prefix(quote + 1);
    if (!rest.starts_with('"')) return text;
    text.push_back('"');
    rest.remove_prefix(1);
  }
}

struct UserLine {
  std::string user;
  std::string secret;
};

// The message says what is wrong with the line.
tl::expected<UserLine, const char*> parse_user_line(Bytes line) {
  const auto wrong = [](const char* what) { return tl::unexpected<const char*>(what); };
  auto user = take_quoted(line);
  if (!user) return wrong(R"(the line must read "user" "secret", with both in double quotes)");
  if (user->empty()) return wrong("the user name is empty");
  const std::size_t before = line.size();
  skip_blanks(line);
  if (line.size() == before) return wrong(R"(a space must stand between "user" and "secret")");
  auto secret = take_quoted(line);
  if (!secret) return wrong("the secret behind the user must stand in double quotes on the same line");
  return UserLine{*std::move(user), *std::move(secret)};
}

}  // namespace

Expected<Secret> parse_secret(Bytes text) {
  if (text.empty()) return fail(sqlstate::kInvalidParameterValue, "the secret is empty");
  if (text.starts_with("SCRAM-SHA-256$")) {
    auto verifier = parse_scram_verifier(text);
    if (!verifier) return tl::unexpected(std::move(verifier).error());
    return Secret{*std::move(verifier)};
  }
  if (text.starts_with("md5") && is_md5_hex(text.substr(3)))
    return Secret{Md5Secret{std::string(text.substr(3))}};
  return Secret{PlainSecret{std::string(text)}};
}

std::string md5_hash_user(Bytes password, Bytes user) { return md5_hex(std::string(password).append(user)); }

std::string md5_response(Bytes hashed_user_hex, Bytes salt4) {
  PGWEIR_CHECK(is_md5_hex(hashed_user_hex));
  PGWEIR_CHECK(salt4.size() == 4);
  return "md5" + md5_hex(std::string(hashed_user_hex).append(salt4));
}

bool equal_secret(Bytes a, Bytes b) { return equal_constant_time(a, b); }

Expected<std::map<std::string, Secret, std::less<>>> parse_user_list(Bytes text) {
  if (text.size() > kUserListSizeMax) {
    return fail(sqlstate::kConfigFileError,
                "the user list must have at most 1048576 bytes, not " + std::to_string(text.size()),
                "Let the pooler look users up in the database instead.");
  }
  std::map<std::string, Secret, std::less<>> secrets;
  std::map<std::string, std::size_t, std::less<>> line_of_user;
  std::size_t line_number = 0;
  while (!text.empty()) {
    ++line_number;
    const std::size_t end = std::min(text.find('\n'), text.size());
    Bytes line = text.substr(0, end);
    text.remove_prefix(std::min(end + 1, text.size()));
    const auto bad = [line_number](std::string_view what) {
      return fail(sqlstate::kConfigFileError,
                  "user list, line " + std::to_string(line_number) + ": " + std::string(what));
    };

    skip_blanks(line);
    if (line.empty() || line.front() == ';' || line.front() == '#') continue;
    if (line.find('\0') != Bytes::npos) return bad("the line holds a NUL byte");
    auto entry = parse_user_line(line);
    if (!entry) return bad(entry.error());
    const auto [first, is_new] = line_of_user.emplace(entry->user, line_number);
    if (!is_new)
      return bad("the user already stands in line " + std::to_string(first->second) +
                 "; keep one of the two");
    if (line_of_user.size() > kUserListUsersMax) return bad("the list must have at most 100000 users");
    if (entry->secret.empty()) continue;
    auto secret = parse_secret(entry->secret);
    if (!secret) return bad("user \"" + entry->user + "\": " + secret.error().message);
    secrets.emplace(std::move(entry->user), *std::move(secret));
  }
  return secrets;
}

}  // namespace pgweir::protocol
