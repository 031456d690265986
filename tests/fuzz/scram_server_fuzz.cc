// tests/fuzz/scram_server_fuzz.cc - no client logs in without the proof, whatever it sends.
//
// Input: the client's two messages, one a line. A last message that ends in ",p=*" gets the right proof in
// place of the star, so that the fuzzer also reaches what lies behind it.
#include <algorithm>
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

constexpr Bytes kNonce = "server";
const ScramKey kSalted = sha256("salted password");
const ScramKey kClientKey = scram_client_key(kSalted);
const ScramVerifier kVerifier{4096, "salt", scram_stored_key(kClientKey), scram_server_key(kSalted)};

std::string right_proof(const std::string& signed_text) {
  ScramKey proof = hmac_sha256(as_bytes(kVerifier.stored_key), signed_text);
  for (std::size_t i = 0; i < proof.size(); ++i)
    proof[i] = static_cast<unsigned char>(proof[i] ^ kClientKey[i]);
  return base64_encode(as_bytes(proof));
}

template <class T>
void check_error(const Expected<T>& result) {
  const Bytes code = result.error().sqlstate;
  PGWEIR_CHECK(code == sqlstate::kProtocolViolation || code == sqlstate::kInvalidPassword ||
               code == sqlstate::kFeatureNotSupported);
  PGWEIR_CHECK(!result.error().message.empty());
}

}  // namespace

extern "C" int LLVMFuzzerTestOneInput(const std::uint8_t* data, std::size_t size) {
  const Bytes input(reinterpret_cast<const char*>(data), size);
  const std::size_t line_end = input.find('\n');
  const Bytes first = input.substr(0, line_end);
  std::string last(line_end == Bytes::npos ? Bytes{} : input.substr(line_end + 1));

  ScramServer server(kVerifier, std::string(kNonce));
  const auto challenge = server.client_first(first);
  std::string before_proof;
  std::string proof;
  if (challenge) {
    PGWEIR_CHECK(first.starts_with("n,,") || first.starts_with("y,,"));
    const std::size_t star = last.find(",p=*");
    before_proof = last.substr(0, std::min(star, last.rfind(",p=")));
    proof = right_proof(std::string(first.substr(3)) + "," + *challenge + "," + before_proof);
    if (star != std::string::npos) last.replace(star + 3, 1, proof);
  } else {
    check_error(challenge);
  }

  const auto final = server.client_final(last);
  PGWEIR_CHECK(server.authenticated() == final.has_value());
  if (!final) {
    check_error(final);
    return 0;
  }
  PGWEIR_CHECK(challenge.has_value());
  PGWEIR_CHECK(last == before_proof + ",p=" + proof);
  PGWEIR_CHECK(server.client_key() == kClientKey);
  const std::string nonce = challenge->substr(0, challenge->find(','));  // "r=..."
  PGWEIR_CHECK(nonce.ends_with(kNonce));
  PGWEIR_CHECK(
      (before_proof + ",").starts_with("c=" + base64_encode(first.substr(0, 3)) + "," + nonce + ","));
  return 0;
}
