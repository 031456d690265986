// protocol/secret.h - what is known about a user's password, and Postgres's MD5 method.
#pragma once

#include <cstddef>
#include <functional>
#include <map>
#include <string>
#include <variant>

#include "pooler/base/bytes.h"
#include "pooler/base/error.h"
#include "protocol/scram.h"

namespace pgweir::protocol {

struct PlainSecret {
  std::string password;
};
struct Md5Secret {
  std::string hex;  // md5(password || user), 32 lower-case hex digits, without the "md5" in front
};
using Secret = std::variant<PlainSecret, Md5Secret, ScramVerifier>;

// "md5" + 32 lower-case hex digits is an MD5 secret, "SCRAM-SHA-256$..." a verifier (malformed: error), all
// else a plain password. An empty text is an error, so that no empty password ever fits. Errors (22023) never
// show the text.
Expected<Secret> parse_secret(Bytes text);

// "md5" + md5(md5(password || user) || salt) as sent on the wire (Postgres manual, "Message Flow").
std::string md5_hash_user(Bytes password, Bytes user);         // 32 hex digits
std::string md5_response(Bytes hashed_user_hex, Bytes salt4);  // "md5" + 32 hex digits; salt4 has 4 bytes

// Compares in time that depends only on the lengths.
bool equal_secret(Bytes a, Bytes b);

// A user list as PgBouncer reads it: one `"user" "secret"` a line, `""` inside quotes is one quote, text
// behind the second string is ignored, lines that begin with ';' or '#' are comments, empty lines are
// skipped. A backslash and a percent sign have no meaning. A user whose secret is empty cannot log in, as in
// PgBouncer, and is left out. At most 1 MB and 100,000 users; duplicate users are an error. Errors (F0000)
// name the line and never show a secret.
inline constexpr std::size_t kUserListSizeMax = 1'048'576;
inline constexpr std::size_t kUserListUsersMax = 100'000;
Expected<std::map<std::string, Secret, std::less<>>> parse_user_list(Bytes text);

}  // namespace pgweir::protocol
