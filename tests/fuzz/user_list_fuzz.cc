// tests/fuzz/user_list_fuzz.cc - a user list or secret that is understood says the same when written out and
// read again; one that is not is an error that names its line.
#include <cstddef>
#include <cstdint>
#include <string>
#include <variant>

#include "pooler/base/check.h"
#include "protocol/secret.h"

using namespace pgweir;
using namespace pgweir::protocol;

namespace {

std::string text_of(const Secret& secret) {
  if (const auto* plain = std::get_if<PlainSecret>(&secret)) return plain->password;
  if (const auto* md5 = std::get_if<Md5Secret>(&secret)) return "md5" + md5->hex;
  return format_scram_verifier(std::get<ScramVerifier>(secret));
}

std::string quoted(Bytes text) {
  std::string out = "\"";
  for (const char c : text) out.append(c == '"' ? 2 : 1, c);
  return out + '"';
}

}  // namespace

extern "C" int LLVMFuzzerTestOneInput(const std::uint8_t* data, std::size_t size) {
  const Bytes input(reinterpret_cast<const char*>(data), size);

  if (const auto secret = parse_secret(input)) PGWEIR_CHECK(text_of(*secret) == input);
  if (const auto verifier = parse_scram_verifier(input))
    PGWEIR_CHECK(format_scram_verifier(*verifier) == input);

  const auto list = parse_user_list(input);
  if (!list) {
    PGWEIR_CHECK(list.error().message.starts_with("user list, line ") || size > kUserListSizeMax);
    return 0;
  }
  PGWEIR_CHECK(list->size() <= kUserListUsersMax);
  std::string written;
  for (const auto& [user, secret] : *list) {
    PGWEIR_CHECK(!user.empty() && !text_of(secret).empty());
    written += quoted(user) + " " + quoted(text_of(secret)) + "\n";
  }
  const auto again = parse_user_list(written);
  PGWEIR_CHECK(again && again->size() == list->size());
  for (const auto& [user, secret] : *list) {
    const auto found = again->find(user);
    PGWEIR_CHECK(found != again->end() && found->second.index() == secret.index());
    PGWEIR_CHECK(text_of(found->second) == text_of(secret));
  }
  return 0;
}
