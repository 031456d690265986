// tests/fuzz/scram_client_fuzz.cc - no server is believed without its signature, and none costs us more than
// the bounds say, whatever it sends.
//
// Input: the server's two messages, one a line. A last message that begins with "v=*" gets the right
// signature in place of the star, so that the fuzzer also reaches what lies behind it.
#include <cstddef>
#include <cstdint>
#include <string>

#include "pooler/base/check.h"
#include "protocol/base64.h"
#include "protocol/digest.h"
#include "protocol/scram.h"

using namespace pgweir;
using namespace pgweir::protocol;

namespace {

constexpr Bytes kNonce = "client";
const ScramKey kSalted = sha256("salted password");
const ScramKey kClientKey = scram_client_key(kSalted);
const ScramKey kServerKey = scram_server_key(kSalted);

void check_error(const Error& error) {
  const Bytes code = error.sqlstate;
  PGWEIR_CHECK(code == sqlstate::kProtocolViolation || code == sqlstate::kInvalidPassword ||
               code == sqlstate::kInvalidAuthorization || code == sqlstate::kFeatureNotSupported ||
               code == sqlstate::kProgramLimit);
  PGWEIR_CHECK(!error.message.empty() && error.message.size() < 200);
}

}  // namespace

extern "C" int LLVMFuzzerTestOneInput(const std::uint8_t* data, std::size_t size) {
  const Bytes input(reinterpret_cast<const char*>(data), size);
  const std::size_t line_end = input.find('\n');
  const Bytes first = input.substr(0, line_end);
  std::string last(line_end == Bytes::npos ? Bytes{} : input.substr(line_end + 1));

  ScramClient client{std::string(kNonce)};
  const std::string client_first = client.client_first();
  const auto challenge = client.server_first(first);
  std::string right;
  if (challenge) {
    PGWEIR_CHECK(!challenge->salt.empty() && challenge->salt.size() <= kScramSaltMax);
    PGWEIR_CHECK(challenge->iterations >= 1 && challenge->iterations <= kScramIterationsMax);
    const Bytes nonce = first.substr(0, first.find(','));  // "r=..."
    PGWEIR_CHECK(nonce.starts_with("r=client") && nonce.size() > 8 && nonce.size() <= kScramNonceMax + 2);

    const std::string client_final = client.client_final(kClientKey, kServerKey);
    const std::string before_proof = client_final.substr(0, client_final.rfind(",p="));
    PGWEIR_CHECK(before_proof == "c=biws," + std::string(nonce));
    right =
        "v=" +
        base64_encode(as_bytes(hmac_sha256(
            as_bytes(kServerKey), client_first.substr(3) + "," + std::string(first) + "," + before_proof)));
    if (last.starts_with("v=*")) last = right + last.substr(3);
  } else {
    check_error(challenge.error());
  }

  const auto done = client.server_final(last);
  PGWEIR_CHECK(client.server_proven() == done.has_value());
  if (!done) {
    check_error(done.error());
    return 0;
  }
  PGWEIR_CHECK(challenge.has_value());
  PGWEIR_CHECK((last + ",").starts_with(right + ","));
  return 0;
}
