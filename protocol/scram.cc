#include "protocol/scram.h"

#include <algorithm>
#include <charconv>
#include <limits>
#include <optional>
#include <string_view>
#include <system_error>
#include <utility>

#include "pooler/base/check.h"
#include "protocol/base64.h"
#include "protocol/digest.h"
#include "protocol/saslprep.h"

namespace pgweir::protocol {
namespace {

constexpr Bytes kVerifierPrefix = "SCRAM-SHA-256$";
constexpr std::size_t kMockSaltSize = 16;         // as Postgres's salts
constexpr std::size_t kServerErrorShownMax = 64;  // of the server's own words in our message

tl::unexpected<Error> malformed(std::string_view what) {
  return fail(sqlstate::kProtocolViolation, "malformed SCRAM message: " + std::string(what));
}

tl::unexpected<Error> unsupported(std::string_view what) {
  return fail(sqlstate::kFeatureNotSupported, "SCRAM " + std::string(what) + " is not supported");
}

bool is_printable(Bytes text) {  // RFC 5802 "printable": visible ASCII without the comma
  return std::ranges::all_of(text, [](char c) { return c >= 0x21 && c <= 0x7e && c != ','; });
}

bool is_nonce(Bytes text) { return !text.empty() && text.size() <= kScramNonceMax && is_printable(text); }

// What every message must be before it is looked into.
Expected<void> check_envelope(Bytes message) {
  if (message.empty()) return malformed("it is empty");
  if (message.size() > kScramMessageMax) return malformed("it is longer than 65536 bytes");
  if (message.find('\0') != Bytes::npos) return malformed("it holds a NUL byte");
  return {};
}

struct Attribute {
  char name = 0;
  Bytes value;
};

// Takes one "x=value" and the comma behind it off the front. Nothing if there is none, or nothing behind the
// comma.
std::optional<Attribute> take_attribute(Bytes& rest) {
  if (rest.size() < 2 || rest[1] != '=') return std::nullopt;
  const char name = rest[0];
  if (!((name >= 'a' && name <= 'z') || (name >= 'A' && name <= 'Z'))) return std::nullopt;
  const std::size_t comma = std::min(rest.find(','), rest.size());
  if (comma + 1 == rest.size()) return std::nullopt;
  const Attribute attribute{name, rest.substr(2, comma - 2)};
  rest.remove_prefix(std::min(comma + 1, rest.size()));
  return attribute;
}

std::optional<Bytes> take_attribute(Bytes& rest, char name) {
  const auto attribute = take_attribute(rest);
  if (!attribute || attribute->name != name) return std::nullopt;
  return attribute->value;
}

// Optional extensions at the end of a message: ignored, but well-formed.
bool only_extensions(Bytes rest) {
  while (!rest.empty()) {
    if (!take_attribute(rest)) return false;
  }
  return true;
}

std::optional<ScramKey> decode_key(Bytes text) {
  const auto raw = base64_decode(text, std::tuple_size_v<ScramKey>);
  if (!raw || raw->size() != std::tuple_size_v<ScramKey>) return std::nullopt;
  ScramKey key{};
  std::ranges::transform(*raw, key.begin(), [](char c) { return static_cast<unsigned char>(c); });
  return key;
}

std::optional<std::string> decode_salt(Bytes text) {
  auto salt = base64_decode(text, kScramSaltMax);
  if (!salt || salt->empty()) return std::nullopt;
  return salt;
}

// A positive decimal number without leading zeros. One that does not fit becomes the greatest that does,
// which every caller finds too great.
std::optional<std::uint32_t> decode_count(Bytes text) {
  if (text.empty() || text.front() < '1' || text.front() > '9') return std::nullopt;
  std::uint32_t count = 0;
  const char* end = text.data() + text.size();
  const auto result = std::from_chars(text.data(), end, count);
  if (result.ptr != end) return std::nullopt;
  return result.ec == std::errc{} ? count : std::numeric_limits<std::uint32_t>::max();
}

std::string too_many_iterations(std::uint32_t given) {
  const bool fits = given < std::numeric_limits<std::uint32_t>::max();  // see decode_count
  return "SCRAM iterations must lie between 1 and " + std::to_string(kScramIterationsMax) +
         (fits ? ", not " + std::to_string(given) : "");
}

bool equal(const ScramKey& a, const ScramKey& b) { return equal_constant_time(as_bytes(a), as_bytes(b)); }

ScramKey exclusive_or(const ScramKey& a, const ScramKey& b) {
  ScramKey out{};
  for (std::size_t i = 0; i < out.size(); ++i) out[i] = static_cast<unsigned char>(a[i] ^ b[i]);
  return out;
}

// The AuthMessage of RFC 5802 section 3, which both proofs sign.
std::string auth_message(Bytes client_first_bare, Bytes server_first, Bytes client_final_without_proof) {
  std::string out;
  out.reserve(client_first_bare.size() + server_first.size() + client_final_without_proof.size() + 2);
  return out.append(client_first_bare)
      .append(1, ',')
      .append(server_first)
      .append(1, ',')
      .append(client_final_without_proof);
}

// "e=..." of a server: its words go into our message only as far as they are short and plain.
tl::unexpected<Error> refused_by_server(Bytes message) {
  const Bytes reason = message.substr(2, message.find(',') - 2);
  const bool wrong_proof = reason == "invalid-proof" || reason == "unknown-user";
  const bool plain = !reason.empty() && reason.size() <= kServerErrorShownMax && is_printable(reason);
  return fail(
      wrong_proof ? sqlstate::kInvalidPassword : sqlstate::kInvalidAuthorization,
      "the server refused SCRAM authentication: " + (plain ? std::string(reason) : "no readable reason"),
      "Check the user and password with which the pooler logs in to the server.");
}

}  // namespace

Expected<ScramVerifier> parse_scram_verifier(Bytes text) {
  const auto bad = [](std::string_view what) {
    return fail(sqlstate::kInvalidParameterValue, "malformed SCRAM verifier: " + std::string(what),
                "It must read SCRAM-SHA-256$<iterations>:<salt>$<StoredKey>:<ServerKey>, as in pg_authid.");
  };
  if (!text.starts_with(kVerifierPrefix)) return bad("it does not begin with SCRAM-SHA-256$");
  const Bytes body = text.substr(kVerifierPrefix.size());
  const std::size_t dollar = body.find('$');
  if (dollar == Bytes::npos) return bad("the second $ is missing");
  const Bytes how = body.substr(0, dollar);
  const Bytes keys = body.substr(dollar + 1);
  const std::size_t how_colon = how.find(':');
  const std::size_t keys_colon = keys.find(':');
  if (how_colon == Bytes::npos || keys_colon == Bytes::npos) return bad("a colon is missing");

  const auto iterations = decode_count(how.substr(0, how_colon));
  if (!iterations) return bad("the iterations are not a positive number");
  if (*iterations > kScramIterationsMax)
    return fail(sqlstate::kInvalidParameterValue, too_many_iterations(*iterations));
  auto salt = decode_salt(how.substr(how_colon + 1));
  if (!salt) return bad("the salt is not base64 of 1 to 1024 bytes");
  const auto stored_key = decode_key(keys.substr(0, keys_colon));
  const auto server_key = decode_key(keys.substr(keys_colon + 1));
  if (!stored_key || !server_key) return bad("a key is not base64 of 32 bytes");
  return ScramVerifier{*iterations, *std::move(salt), *stored_key, *server_key};
}

std::string format_scram_verifier(const ScramVerifier& verifier) {
  return std::string(kVerifierPrefix) + std::to_string(verifier.iterations) + ':' +
         base64_encode(verifier.salt) + '$' + base64_encode(as_bytes(verifier.stored_key)) + ':' +
         base64_encode(as_bytes(verifier.server_key));
}

ScramKey scram_salted_password(Bytes password, Bytes salt, std::uint32_t iterations) {
  PGWEIR_CHECK(iterations >= 1 && iterations <= kScramIterationsMax);
  PGWEIR_CHECK(!salt.empty() && salt.size() <= kScramSaltMax);
  return pbkdf2_sha256(saslprep_password(password), salt, iterations);
}

ScramKey scram_client_key(const ScramKey& salted_password) {
  return hmac_sha256(as_bytes(salted_password), "Client Key");
}
ScramKey scram_stored_key(const ScramKey& client_key) { return sha256(as_bytes(client_key)); }
ScramKey scram_server_key(const ScramKey& salted_password) {
  return hmac_sha256(as_bytes(salted_password), "Server Key");
}

ScramVerifier make_scram_verifier(Bytes password, Bytes salt, std::uint32_t iterations) {
  const ScramKey salted = scram_salted_password(password, salt, iterations);
  return {iterations, std::string(salt), scram_stored_key(scram_client_key(salted)),
          scram_server_key(salted)};
}

ScramVerifier mock_scram_verifier(Bytes user, const ScramKey& process_secret) {
  const auto derive = [&](std::string_view use) {
    return hmac_sha256(as_bytes(process_secret), std::string(use).append(user));
  };
  // A StoredKey is a hash; nobody knows what hashes to this one, so no proof can fit.
  const ScramKey salt = derive("salt:");
  return {kScramIterations, std::string(as_bytes(salt).substr(0, kMockSaltSize)), derive("stored key:"),
          derive("server key:")};
}

ScramServer::ScramServer(ScramVerifier verifier, std::string nonce)
    : verifier_(std::move(verifier)), nonce_(std::move(nonce)) {
  PGWEIR_CHECK(is_nonce(nonce_));
  PGWEIR_CHECK(verifier_.iterations >= 1);
  PGWEIR_CHECK(!verifier_.salt.empty() && verifier_.salt.size() <= kScramSaltMax);
}

Expected<std::string> ScramServer::client_first(Bytes message) {
  // Failed until the message has proven well-formed: every early return below ends the login.
  const bool in_turn = std::exchange(step_, Step::Failed) == Step::First;
  if (!in_turn) return malformed("it came out of turn");
  if (const auto ok = check_envelope(message); !ok) return tl::unexpected(ok.error());

  if (message.starts_with("p=")) return malformed("channel binding was not offered");
  if (!message.starts_with("n,") && !message.starts_with("y,")) {
    return malformed("the channel binding flag is missing");
  }
  if (message.substr(2).starts_with("a=")) return unsupported("authorization identity");
  if (!message.substr(2).starts_with(',')) return malformed("the GS2 header does not end in ',,'");
  const Bytes bare = message.substr(3);
  if (bare.starts_with("m=")) return unsupported("mandatory extension");

  Bytes rest = bare;
  if (!take_attribute(rest, 'n')) return malformed("the user name (n=) is missing");
  const auto nonce = take_attribute(rest, 'r');
  if (!nonce) return malformed("the nonce (r=) is missing");
  if (!is_nonce(*nonce)) return malformed("the nonce is not 1 to 1024 printable characters");
  if (!only_extensions(rest)) return malformed("trash behind the nonce");

  gs2_header_ = message.substr(0, 3);
  client_first_bare_ = bare;
  full_nonce_ = std::string(*nonce) + nonce_;
  server_first_ = "r=" + full_nonce_ + ",s=" + base64_encode(verifier_.salt) +
                  ",i=" + std::to_string(verifier_.iterations);
  step_ = Step::Final;
  return server_first_;
}

Expected<std::string> ScramServer::client_final(Bytes message) {
  const bool in_turn = std::exchange(step_, Step::Failed) == Step::Final;
  if (!in_turn) return malformed("it came out of turn");
  if (const auto ok = check_envelope(message); !ok) return tl::unexpected(ok.error());

  Bytes rest = message;
  const auto binding = take_attribute(rest, 'c');
  if (!binding) return malformed("the channel binding (c=) is missing");
  if (*binding != base64_encode(gs2_header_))
    return malformed("the channel binding is not that of the first message");
  const auto nonce = take_attribute(rest, 'r');
  if (!nonce) return malformed("the nonce (r=) is missing");
  if (*nonce != full_nonce_) return malformed("the nonce is not the one agreed on");
  Bytes before_proof = rest;
  auto last = take_attribute(rest);
  while (last && last->name != 'p') {
    before_proof = rest;
    last = take_attribute(rest);
  }
  if (!last) return malformed("the proof (p=) is missing");
  if (!rest.empty()) return malformed("trash behind the proof");
  const auto proof = decode_key(last->value);
  if (!proof) return malformed("the proof is not base64 of 32 bytes");

  const Bytes without_proof = message.substr(0, message.size() - before_proof.size() - 1);
  const std::string signed_text = auth_message(client_first_bare_, server_first_, without_proof);
  const ScramKey signature = hmac_sha256(as_bytes(verifier_.stored_key), signed_text);
  const ScramKey client_key = exclusive_or(*proof, signature);
  if (!equal(scram_stored_key(client_key), verifier_.stored_key)) {
    return fail(sqlstate::kInvalidPassword, "password authentication failed");
  }
  client_key_ = client_key;
  step_ = Step::Done;
  return "v=" + base64_encode(as_bytes(hmac_sha256(as_bytes(verifier_.server_key), signed_text)));
}

const ScramKey& ScramServer::client_key() const {
  PGWEIR_CHECK(step_ == Step::Done);
  return client_key_;
}

ScramClient::ScramClient(std::string nonce) : nonce_(std::move(nonce)) { PGWEIR_CHECK(is_nonce(nonce_)); }

std::string ScramClient::client_first() {
  PGWEIR_CHECK(step_ == Step::Start);
  step_ = Step::First;
  client_first_bare_ = "n=,r=" + nonce_;  // Postgres takes the user from the startup message
  return "n,," + client_first_bare_;
}

Expected<ScramClient::Challenge> ScramClient::server_first(Bytes message) {
  const bool in_turn = std::exchange(step_, Step::Failed) == Step::First;
  if (!in_turn) return malformed("it came out of turn");
  if (const auto ok = check_envelope(message); !ok) return tl::unexpected(ok.error());
  if (message.starts_with("e=")) return refused_by_server(message);
  if (message.starts_with("m=")) return unsupported("mandatory extension");

  Bytes rest = message;
  const auto nonce = take_attribute(rest, 'r');
  if (!nonce) return malformed("the nonce (r=) is missing");
  if (!is_nonce(*nonce)) return malformed("the nonce is not 1 to 1024 printable characters");
  if (!nonce->starts_with(nonce_)) return malformed("the server's nonce does not begin with ours");
  if (nonce->size() == nonce_.size()) return malformed("the server added nothing to our nonce");
  const auto salt_text = take_attribute(rest, 's');
  if (!salt_text) return malformed("the salt (s=) is missing");
  auto salt = decode_salt(*salt_text);
  if (!salt) return malformed("the salt is not base64 of 1 to 1024 bytes");
  const auto count_text = take_attribute(rest, 'i');
  if (!count_text) return malformed("the iterations (i=) are missing");
  const auto iterations = decode_count(*count_text);
  if (!iterations) return malformed("the iterations are not a positive number");
  if (*iterations > kScramIterationsMax)
    return fail(sqlstate::kProgramLimit, too_many_iterations(*iterations));
  if (!only_extensions(rest)) return malformed("trash behind the iterations");

  server_first_ = message;
  full_nonce_ = *nonce;
  step_ = Step::Challenged;
  return Challenge{*std::move(salt), *iterations};
}

std::string ScramClient::client_final(const ScramKey& client_key, const ScramKey& server_key) {
  PGWEIR_CHECK(step_ == Step::Challenged);
  step_ = Step::Final;
  const std::string without_proof = "c=biws,r=" + full_nonce_;  // biws: "n,," in base64
  const std::string signed_text = auth_message(client_first_bare_, server_first_, without_proof);
  const ScramKey signature = hmac_sha256(as_bytes(scram_stored_key(client_key)), signed_text);
  expected_signature_ = hmac_sha256(as_bytes(server_key), signed_text);
  return without_proof + ",p=" + base64_encode(as_bytes(exclusive_or(client_key, signature)));
}

Expected<void> ScramClient::server_final(Bytes message) {
  const bool in_turn = std::exchange(step_, Step::Failed) == Step::Final;
  if (!in_turn) return malformed("it came out of turn");
  if (const auto ok = check_envelope(message); !ok) return tl::unexpected(ok.error());
  if (message.starts_with("e=")) return refused_by_server(message);

  Bytes rest = message;
  const auto value = take_attribute(rest, 'v');
  if (!value) return malformed("the server's signature (v=) is missing");
  const auto signature = decode_key(*value);
  if (!signature) return malformed("the server's signature is not base64 of 32 bytes");
  if (!only_extensions(rest)) return malformed("trash behind the server's signature");
  if (!equal(*signature, expected_signature_)) {
    return fail(sqlstate::kInvalidPassword, "the server did not prove that it knows the password",
                "Check that the pooler reached the right server and holds the user's current password.");
  }
  step_ = Step::Done;
  return {};
}

}  // namespace pgweir::protocol
