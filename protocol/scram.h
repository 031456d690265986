// protocol/scram.h - SCRAM-SHA-256 as Postgres speaks it, both sides (RFC 5802, RFC 7677; Postgres manual,
// "SASL Authentication").
//
// Pure: nonces and derived keys come in by parameters. Deriving keys from a password is slow on purpose
// (PBKDF2) and therefore a separate call, to be run off the loop. No channel binding: mechanism SCRAM-SHA-256
// only, so the client's GS2 header must be "n" or "y" (RFC 5802 section 6; "y" is refused where we offered
// PLUS, which is never).
#pragma once

#include <array>
#include <cstddef>
#include <cstdint>
#include <string>

#include "pooler/base/bytes.h"
#include "pooler/base/error.h"

namespace pgweir::protocol {

using ScramKey = std::array<unsigned char, 32>;

inline constexpr std::uint32_t kScramIterations = 4096;        // what Postgres makes
inline constexpr std::uint32_t kScramIterationsMax = 100'000;  // more from a server is an attack on our time
inline constexpr std::size_t kScramMessageMax = 65'536;
inline constexpr std::size_t kScramNonceMax = 1024;
inline constexpr std::size_t kScramSaltMax = 1024;  // raw bytes

// What a server stores about a password: "SCRAM-SHA-256$<iterations>:<salt>$<StoredKey>:<ServerKey>".
struct ScramVerifier {
  std::uint32_t iterations = kScramIterations;
  std::string salt;  // raw bytes
  ScramKey stored_key{};
  ScramKey server_key{};
};
// Errors (22023) never show the text. Accepts the one canonical spelling only: format(parse(text)) == text.
Expected<ScramVerifier> parse_scram_verifier(Bytes text);
std::string format_scram_verifier(const ScramVerifier& verifier);

// Slow (milliseconds). The password is normalised by SASLprep where it is valid UTF-8, else taken as it is,
// as Postgres does (saslprep.h). Iterations lie between 1 and kScramIterationsMax, the salt has 1 to
// kScramSaltMax bytes.
ScramKey scram_salted_password(Bytes password, Bytes salt, std::uint32_t iterations);
ScramKey scram_client_key(const ScramKey& salted_password);
ScramKey scram_stored_key(const ScramKey& client_key);
ScramKey scram_server_key(const ScramKey& salted_password);
ScramVerifier make_scram_verifier(Bytes password, Bytes salt, std::uint32_t iterations);  // slow

// A verifier for a user that does not exist: the same salt every time for the same name, and no password
// fits. Its salt has the size of those that Postgres makes; `process_secret` is random and never leaves the
// process.
ScramVerifier mock_scram_verifier(Bytes user, const ScramKey& process_secret);

// The accepting side. One object per login; call in order; an error ends the login, whatever comes after it.
//
//   First -> Final -> Done, each to Failed.
//
// Errors: 08P01 malformed or out of turn, 0A000 for an authorisation identity or a mandatory extension, 28P01
// for a wrong proof. Messages are at most kScramMessageMax bytes.
class ScramServer {
 public:
  // `nonce` is our part: 1 to kScramNonceMax characters of printable ASCII without ',' (18 random bytes in
  // base64 serve well).
  ScramServer(ScramVerifier verifier, std::string nonce);
  // client-first-message -> server-first-message. The user name in it is ignored, as Postgres does.
  Expected<std::string> client_first(Bytes message);
  // client-final-message -> server-final-message; error 28P01 if the proof is wrong (constant-time compare).
  Expected<std::string> client_final(Bytes message);
  bool authenticated() const { return step_ == Step::Done; }
  // Only when authenticated: the key by which we may log in elsewhere as this user.
  const ScramKey& client_key() const;

 private:
  ScramVerifier verifier_;
  std::string nonce_;
  std::string client_first_bare_;
  std::string server_first_;
  std::string full_nonce_;
  std::string gs2_header_;
  ScramKey client_key_{};
  enum class Step : std::uint8_t { First, Final, Done, Failed } step_ = Step::First;
};

// The connecting side. server_first() only parses, so that the caller can derive the keys elsewhere.
//
//   Start -> First -> Challenged -> Final -> Done, each to Failed.
//
// What the server sends out of turn is an error like any other; a client_first() or client_final() out of
// turn is our own fault and stops the process.
class ScramClient {
 public:
  explicit ScramClient(std::string nonce);  // as ScramServer's
  std::string client_first();               // "n,,n=,r=<nonce>"
  struct Challenge {
    std::string salt;
    std::uint32_t iterations = 0;
  };
  // Errors: 08P01 if our nonce is not the beginning of the server's, iterations < 1, lengths, trash; 54000
  // for more than kScramIterationsMax iterations; 0A000 for a mandatory extension; "e=..." as in
  // server_final.
  Expected<Challenge> server_first(Bytes message);
  std::string client_final(const ScramKey& client_key, const ScramKey& server_key);
  // Verifies the server's signature (constant time). Only after it succeeded may AuthenticationOk be
  // believed. Errors: 28P01 for a wrong signature or if the server says that our proof is wrong, 28000 for
  // any other "e=...", 08P01 for the rest.
  Expected<void> server_final(Bytes message);
  bool server_proven() const { return step_ == Step::Done; }

 private:
  std::string nonce_;
  std::string client_first_bare_;
  std::string server_first_;
  std::string full_nonce_;
  ScramKey expected_signature_{};
  enum class Step : std::uint8_t { Start, First, Challenged, Final, Done, Failed } step_ = Step::Start;
};

}  // namespace pgweir::protocol
