#include "pooler/server_login.h"

#include <algorithm>
#include <array>

#include "pooler/base/check.h"
#include "protocol/frame.h"
#include "protocol/messages.h"

namespace pgweir {

using protocol::AuthRequest;
using Want = ServerLogin::Out::Want;

namespace {
constexpr Bytes kMechanism = "SCRAM-SHA-256";
constexpr std::size_t kParameterBytesMax = 16 << 10;  // Postgres reports a few hundred
constexpr std::size_t kParameterCost = 64;            // of a name and a value beside their letters
constexpr std::size_t kCancelKeyMin = 4, kCancelKeyMax = 256;

// Error holds a static SQLSTATE; a server's own becomes the entry of this list, or a general one.
const char* known_sqlstate(const std::string& code) {
  static constexpr std::array kKnown = {"28000", "28P01", "3D000", "42501", "53300", "53400", "57P01",
                                        "57P02", "57P03", "57P05", "55000", "0A000", "22023", "42704",
                                        "53000", "53100", "53200", "58000", "XX000", "08P01"};
  const auto* found = std::find_if(kKnown.begin(), kKnown.end(), [&](const char* k) { return code == k; });
  return found != kKnown.end() ? *found : sqlstate::kConnectionFailure;
}
}  // namespace

ServerLogin::ServerLogin(Policy policy, ServerCredentials credentials, std::string database,
                         std::string nonce, protocol::Settings settings)
    : policy_(policy),
      credentials_(std::move(credentials)),
      database_(std::move(database)),
      settings_(std::move(settings)),
      nonce_(std::move(nonce)) {}

bool ServerLogin::prompt() const {
  switch (state_) {
    case State::TlsAnswer:
    case State::Tls:
    case State::Auth:
    case State::SaslFirst: return true;
    case State::Start:
    case State::Answered:
    case State::Deriving:
    case State::SaslFinal:
    case State::Proven:
    case State::Params:
    case State::Ended: break;
  }
  return false;
}

void ServerLogin::connected(Out& out) {
  PGWEIR_CHECK(state_ == State::Start);
  if (policy_.tls == Tls::Never) return start_up(out);
  protocol::put_ssl_request(out.send);
  state_ = State::TlsAnswer;
}

void ServerLogin::secured(Out& out) {
  PGWEIR_CHECK(state_ == State::Tls);
  start_up(out);
}

void ServerLogin::start_up(Out& out) {
  protocol::put_startup(out.send, protocol::kVersion30, credentials_.user, database_, settings_);
  state_ = State::Auth;
}

void ServerLogin::bytes(Bytes in, Out& out) {
  if (state_ == State::TlsAnswer) return tls_answer(in, out);
  if (!held_.empty()) held_.append(in);
  const Bytes all = held_.empty() ? in : Bytes(held_);
  Bytes rest = all;
  while (out.want == Want::More && state_ != State::Deriving && rest.size() >= protocol::kHeaderBytes) {
    const std::uint32_t length = protocol::load_u32(rest.data() + 1);
    if (length < 4 || length > protocol::kMaxAuthMessage)
      return failed(sqlstate::kProtocolViolation, "server sent a message of impossible length during login",
                    out);
    const std::size_t size = std::size_t{length} + 1;
    if (rest.size() < size) break;
    message(rest[0], rest.substr(protocol::kHeaderBytes, length - 4), out);
    rest.remove_prefix(size);
  }
  if (out.want == Want::Failed) return;
  if (out.want == Want::Done && !rest.empty())
    return failed(sqlstate::kProtocolViolation, "server talks on after its login", out);
  if (rest.size() > protocol::kMaxAuthMessage)
    return failed(sqlstate::kProtocolViolation, "server talks on while it waits for our answer", out);
  if (held_.empty())
    held_ = rest;
  else
    held_.erase(0, all.size() - rest.size());
}

void ServerLogin::tls_answer(Bytes in, Out& out) {
  const bool one = in.size() == 1;  // what comes behind would be read as if it had come encrypted
  if (one && in[0] == 'S') {
    state_ = State::Tls;
    out.want = Want::StartTls;
  } else if (one && in[0] == 'N' && policy_.tls == Tls::IfOffered) {
    start_up(out);
  } else if (one && in[0] == 'N') {
    failed({sqlstate::kConnectionFailure,
            "server does not offer TLS, which this backend's tls_mode asks for",
            {},
            "Let Postgres offer it (ssl = on), or set the backend's tls_mode to prefer."},
           out);
  } else if (!in.empty() && in[0] == 'E') {
    // What it says is anybody's word.
    failed(sqlstate::kCannotConnectNow, "server refused the connection before TLS began", out);
  } else {
    failed(sqlstate::kProtocolViolation, "server gave no proper answer to the request for TLS", out);
  }
}

void ServerLogin::message(char type, Bytes body, Out& out) {
  const bool talks = state_ != State::Start && state_ != State::Tls && state_ != State::Ended;
  switch (type) {
    case 'N':
      if (!talks) break;
      return;
    case 'E': {
      if (!talks) break;
      const protocol::ErrorFields fields = protocol::parse_error(body);
      failed({known_sqlstate(fields.sqlstate),
              fields.message.empty() ? "server refused the login and did not say why" : fields.message,
              fields.detail, fields.hint},
             out);
      out.from_server = true;
      return;
    }
    case 'R':
      if (!talks || state_ == State::Params) break;
      return auth_request(body, out);
    case 'S':
      if (state_ != State::Params) break;
      return parameter(body, out);
    case 'K': {
      if (state_ != State::Params || !cancel_key_.empty()) break;
      protocol::Reader in(body);
      cancel_pid_ = in.u32();
      if (in.rest().size() < kCancelKeyMin || in.rest().size() > kCancelKeyMax) break;
      cancel_key_ = in.rest();
      return;
    }
    case 'Z':
      if (state_ != State::Params || body != "I" || parameters_.empty()) break;
      state_ = State::Ended;
      out.want = Want::Done;
      return;
    default: break;
  }
  failed(sqlstate::kProtocolViolation, "server sent an unexpected message during login", out);
}

void ServerLogin::parameter(Bytes body, Out& out) {
  protocol::Reader in(body);
  const Bytes name = in.c_string();
  const Bytes value = in.c_string();
  if (!in.ok() || !in.empty())
    return failed(sqlstate::kProtocolViolation, "server reported a malformed parameter during login", out);
  parameter_bytes_ += body.size() + kParameterCost;
  if (parameter_bytes_ > kParameterBytesMax)
    return failed(sqlstate::kProtocolViolation, "server reported too many parameters during login", out);
  parameters_[std::string(name)] = value;
}

void ServerLogin::auth_request(Bytes body, Out& out) {
  protocol::Reader in(body);
  const std::uint32_t code = in.u32();
  if (!in.ok())
    return failed(sqlstate::kProtocolViolation, "server sent a malformed authentication request", out);
  const protocol::Secret* secret = credentials_.secret ? &*credentials_.secret : nullptr;
  const auto* plain = secret ? std::get_if<protocol::PlainSecret>(secret) : nullptr;
  const auto* md5 = secret ? std::get_if<protocol::Md5Secret>(secret) : nullptr;
  const auto not_pinned = [&](const char* method) {
    failed({sqlstate::kInvalidAuthorization,
            std::string("server asks for authentication by ") + method +
                ", which is not among this backend's auth_methods",
            {},
            "Let pg_hba.conf ask for one of them, or add this one to the backend's auth_methods."},
           out);
  };
  switch (static_cast<AuthRequest>(code)) {
    case AuthRequest::Ok:
      if (!in.empty()) break;
      if (state_ == State::Auth && !policy_.trust)
        return failed(
            {sqlstate::kInvalidAuthorization,
             "server asks for no authentication, and trust is not among this backend's auth_methods",
             {},
             "Let pg_hba.conf ask for one of them, or add trust to the backend's auth_methods."},
            out);
      if (state_ == State::SaslFirst || state_ == State::SaslFinal)
        return failed({sqlstate::kInvalidAuthorization,
                       "server did not prove that it knows the key",
                       {},
                       "Check that the pooler reached the right server, and nobody between them."},
                      out);
      state_ = State::Params;
      stage_ = Stage::Authenticated;
      return;
    case AuthRequest::CleartextPassword:
      if (state_ != State::Auth || !in.empty()) break;
      if (!policy_.password) return not_pinned("password");
      if (!policy_.clear_password)
        return failed(
            sqlstate::kInvalidAuthorization,
            "server asks for a plain password, which would show it to the network: use scram-sha-256 "
            "there, or this backend's tls_mode verify-full",
            out);
      if (!plain)
        return failed({sqlstate::kInvalidPassword,
                       "no plain password known for the server's user",
                       {},
                       "Write it into the user list, or let pg_hba.conf ask for scram-sha-256."},
                      out);
      protocol::put_password(out.send, plain->password);
      state_ = State::Answered;
      return;
    case AuthRequest::Md5Password: {
      if (state_ != State::Auth) break;
      const Bytes salt = in.rest();
      if (salt.size() != 4) break;
      if (!policy_.md5) return not_pinned("md5");
      if (!plain && !md5)
        return failed({sqlstate::kInvalidPassword,
                       "no password or MD5 secret known for the server's user",
                       {},
                       "Write one into the user list, or let pg_hba.conf ask for scram-sha-256."},
                      out);
      const std::string hex = md5 ? md5->hex : protocol::md5_hash_user(plain->password, credentials_.user);
      protocol::put_password(out.send, protocol::md5_response(hex, salt));
      state_ = State::Answered;
      return;
    }
    case AuthRequest::Sasl:
      if (state_ != State::Auth) break;
      if (!policy_.scram) return not_pinned("scram-sha-256");
      return sasl_start(in.rest(), out);
    case AuthRequest::SaslContinue: {
      if (state_ != State::SaslFirst) break;
      auto challenge = scram_->server_first(in.rest());
      if (!challenge) return failed(std::move(challenge.error()), out);
      challenge_ = std::move(*challenge);
      if (plain) {
        state_ = State::Deriving;
        out.want = Want::Derive;
        return;
      }
      const auto& verifier = std::get<protocol::ScramVerifier>(*secret);
      if (verifier.salt != challenge_.salt || verifier.iterations != challenge_.iterations)
        return failed(
            sqlstate::kInvalidPassword,
            "the SCRAM secret in the user list is not the one that the server holds: copy rolpassword again",
            out);
      return sasl_answer(*credentials_.client_key, verifier.server_key, out);
    }
    case AuthRequest::SaslFinal: {
      if (state_ != State::SaslFinal) break;
      auto proof = scram_->server_final(in.rest());
      if (!proof) return failed(std::move(proof.error()), out);
      state_ = State::Proven;
      return;
    }
  }
  failed(sqlstate::kProtocolViolation, "server sent an unexpected or unsupported authentication request",
         out);
}

void ServerLogin::sasl_start(Bytes mechanisms, Out& out) {
  protocol::Reader in(mechanisms);
  bool offered = false;
  while (in.ok() && !in.empty()) {
    const Bytes mechanism = in.c_string();
    if (mechanism.empty()) break;
    offered = offered || mechanism == kMechanism;
  }
  if (!offered)
    return failed({sqlstate::kInvalidAuthorization,
                   "server does not offer SCRAM-SHA-256",
                   {},
                   "Let pg_hba.conf ask for scram-sha-256."},
                  out);
  const protocol::Secret* secret = credentials_.secret ? &*credentials_.secret : nullptr;
  // A key that was learnt before the secret changed opens nothing.
  const auto* verifier = secret ? std::get_if<protocol::ScramVerifier>(secret) : nullptr;
  const bool pass_through = verifier && credentials_.client_key &&
                            protocol::scram_stored_key(*credentials_.client_key) == verifier->stored_key;
  if (!pass_through && !(secret && std::holds_alternative<protocol::PlainSecret>(*secret)))
    return failed(
        {sqlstate::kInvalidPassword,
         "the server asks for SCRAM, and neither a plain password nor a SCRAM secret whose owner has logged "
         "in here by SCRAM is known for its user",
         {},
         "Write the password into the user list, or let clients log in by scram-sha-256."},
        out);
  scram_.emplace(nonce_);
  protocol::put_sasl_initial(out.send, kMechanism, scram_->client_first());
  state_ = State::SaslFirst;
  stage_ = Stage::Challenged;
}

const std::string& ServerLogin::password() const {
  return std::get<protocol::PlainSecret>(*credentials_.secret).password;
}

void ServerLogin::derived(const protocol::ScramKey& salted_password, Out& out) {
  PGWEIR_CHECK(state_ == State::Deriving);
  sasl_answer(protocol::scram_client_key(salted_password), protocol::scram_server_key(salted_password), out);
  if (!held_.empty()) bytes({}, out);
}

void ServerLogin::sasl_answer(const protocol::ScramKey& client_key, const protocol::ScramKey& server_key,
                              Out& out) {
  protocol::put_sasl_response(out.send, scram_->client_final(client_key, server_key));
  state_ = State::SaslFinal;
}

void ServerLogin::failed(Error error, Out& out) {
  out.want = Want::Failed;
  out.send.clear();
  out.error = std::move(error);
  held_ = {};
  state_ = State::Ended;
}

}  // namespace pgweir
