#include "pooler/login_core.h"

#include <utility>

#include "pooler/base/check.h"
#include "protocol/digest.h"
#include "protocol/frame.h"
#include "protocol/messages.h"

namespace pgweir {

using protocol::AuthRequest;
using Want = LoginCore::Out::Want;

namespace {
constexpr char kTlsHandshake = 0x16;  // first byte of a ClientHello; no startup packet begins with it
constexpr Bytes kAlpn = "postgresql";
constexpr Bytes kMechanism = "SCRAM-SHA-256";

Error malformed(const char* what) { return {sqlstate::kProtocolViolation, what, {}, {}}; }
}  // namespace

void LoginCore::bytes(Bytes in, bool secured, Out& out) {
  if (in.empty()) return;
  switch (state_) {
    case State::First: return first_packet(in, secured, out);
    case State::Tls:
      return stop(LoginRefusal::Protocol, malformed("received unencrypted data after encryption request"),
                  out);
    // A client that talks before it is asked is kept waiting; the driver bounds what it keeps.
    case State::Naming:
    case State::Deriving: return;
    case State::Password:
    case State::Md5:
    case State::SaslFirst:
    case State::SaslFinal: break;
    case State::Done: return;
    case State::Closed: out.consumed = in.size(); return;
  }
  if (in[0] != 'p') return stop(LoginRefusal::Protocol, malformed("expected password response"), out);
  if (in.size() < protocol::kHeaderBytes) return;
  const std::uint32_t length = protocol::load_u32(in.data() + 1);
  if (length < 4 || length > kMessageMax)
    return stop(LoginRefusal::Protocol,
                {sqlstate::kProtocolViolation,
                 "invalid password packet size: " + std::to_string(length) + " bytes",
                 {},
                 "From 4 to " + std::to_string(kMessageMax) + " are allowed."},
                out);
  if (in.size() < std::size_t{length} + 1) return;
  out.consumed = std::size_t{length} + 1;
  auth_message(in.substr(protocol::kHeaderBytes, length - 4), out);
}

void LoginCore::tls_started(Bytes alpn, Out& out) {
  PGWEIR_CHECK(state_ == State::Tls);
  state_ = State::First;
  // Without an SSLRequest in front, only the protocol's name tells our client from one that was led astray.
  if (direct_ && alpn != kAlpn) {
    out.want = Want::Close;
    out.reason = "direct TLS without ALPN \"postgresql\"";
    out.refusal = LoginRefusal::Tls;
    state_ = State::Closed;
  }
}

void LoginCore::first_packet(Bytes in, bool secured, Out& out) {
  if (in[0] == kTlsHandshake && !secured && !asked_tls_ && !asked_gss_ && tls_ != TlsPolicy::Off) {
    direct_ = true;
    out.want = Want::StartTls;
    state_ = State::Tls;
    return;
  }
  const auto size = protocol::first_packet_size(in);
  if (!size) return stop(LoginRefusal::Protocol, size.error(), out);
  if (*size == 0 || in.size() < *size) return;
  auto packet = protocol::parse_first_packet(in.substr(0, *size));
  if (!packet) return stop(LoginRefusal::Protocol, packet.error(), out);
  out.consumed = *size;

  if (std::holds_alternative<protocol::SslRequest>(*packet) ||
      std::holds_alternative<protocol::GssRequest>(*packet)) {
    // Whoever asks must wait for the answer: what comes behind would be read as if it had come encrypted
    // (R7).
    if (in.size() > *size)
      return stop(LoginRefusal::Protocol, malformed("received unencrypted data after encryption request"),
                  out);
    const bool ssl = std::holds_alternative<protocol::SslRequest>(*packet);
    if (std::exchange(ssl ? asked_tls_ : asked_gss_, true) || secured)
      return stop(LoginRefusal::Protocol, malformed("second encryption request"), out);
    if (!ssl || tls_ == TlsPolicy::Off) {
      out.send.push_back('N');
      return;
    }
    out.send.push_back('S');
    out.want = Want::StartTls;
    state_ = State::Tls;
    return;
  }
  if (auto* cancel = std::get_if<protocol::CancelRequest>(&*packet)) {
    cancel_ = std::move(*cancel);
    state_ = State::Closed;
    out.consumed = in.size();
    out.want = Want::Cancel;
    return;
  }
  if (tls_ >= TlsPolicy::Required && !secured)
    return stop(LoginRefusal::Tls,
                {sqlstate::kInvalidAuthorization,
                 "connection requires TLS",
                 {},
                 tls_ == TlsPolicy::Required
                     ? "Connect with sslmode=require."
                     : "Connect with sslmode=require, and with a certificate (sslcert, sslkey)."},
                out);
  startup_ = std::move(std::get<protocol::Startup>(*packet));
  state_ = State::Naming;
  out.want = Want::Name;
}

void LoginCore::authenticate(Credentials credentials, std::string nonce, std::string salt, Out& out) {
  PGWEIR_CHECK(state_ == State::Naming);
  credentials_ = std::move(credentials);
  // Never a higher version than was asked for: libpq takes that for an attack.
  if (startup_.negotiate)
    protocol::put_negotiate(out.send, startup_.version, startup_.unknown_protocol_options);
  switch (credentials_.method) {
    case Method::Trust: return verdict(true, out);
    case Method::Password:
      protocol::put_auth(out.send, AuthRequest::CleartextPassword);
      state_ = State::Password;
      return;
    case Method::Md5:
      salt_ = std::move(salt);
      protocol::put_auth(out.send, AuthRequest::Md5Password, salt_);
      state_ = State::Md5;
      return;
    case Method::Scram:
      scram_.emplace(std::get<protocol::ScramVerifier>(credentials_.secret), std::move(nonce));
      protocol::put_auth(out.send, AuthRequest::Sasl, std::string(kMechanism) + std::string(2, '\0'));
      state_ = State::SaslFirst;
      return;
  }
}

void LoginCore::auth_message(Bytes body, Out& out) {
  if (state_ == State::SaslFirst) return sasl_first(body, out);
  if (state_ == State::SaslFinal) {
    auto final_message = scram_->client_final(body);
    if (!final_message) {
      if (Bytes(final_message.error().sqlstate) != sqlstate::kInvalidPassword)
        return stop(LoginRefusal::Protocol, final_message.error(), out);
      return verdict(false, out);
    }
    if (!credentials_.known) return verdict(false, out);
    client_key_ = scram_->client_key();
    protocol::put_auth(out.send, AuthRequest::SaslFinal, *final_message);
    return verdict(true, out);
  }
  protocol::Reader in(body);
  const Bytes given = in.c_string();
  if (!in.ok() || !in.empty()) return stop(LoginRefusal::Protocol, malformed("invalid password packet"), out);
  if (given.empty())
    return stop(LoginRefusal::Password,
                {sqlstate::kInvalidPassword, "empty password returned by client", {}, {}}, out);
  if (state_ == State::Md5) {
    std::string hex;
    if (const auto* plain = std::get_if<protocol::PlainSecret>(&credentials_.secret))
      hex = protocol::md5_hash_user(plain->password, startup_.user);
    else
      hex = std::get<protocol::Md5Secret>(credentials_.secret).hex;
    return verdict(protocol::equal_secret(given, protocol::md5_response(hex, salt_)), out);
  }
  if (const auto* plain = std::get_if<protocol::PlainSecret>(&credentials_.secret))
    return verdict(protocol::equal_secret(given, plain->password), out);
  if (const auto* md5 = std::get_if<protocol::Md5Secret>(&credentials_.secret))
    return verdict(protocol::equal_secret(protocol::md5_hash_user(given, startup_.user), md5->hex), out);
  password_ = given;
  state_ = State::Deriving;
  out.want = Want::Derive;
}

void LoginCore::derived(const protocol::ScramKey& salted_password, Out& out) {
  PGWEIR_CHECK(state_ == State::Deriving);
  protocol::wipe(password_);
  const protocol::ScramKey key = protocol::scram_client_key(salted_password);
  const protocol::ScramKey stored = protocol::scram_stored_key(key);
  const bool right =
      protocol::equal_secret(protocol::as_bytes(stored), protocol::as_bytes(derive_with().stored_key));
  if (right && credentials_.known) client_key_ = key;
  verdict(right, out);
}

void LoginCore::sasl_first(Bytes body, Out& out) {
  protocol::Reader in(body);
  const Bytes mechanism = in.c_string();
  const std::uint32_t size = in.u32();
  const Bytes message = in.bytes(size);
  if (!in.ok() || !in.empty()) return stop(LoginRefusal::Protocol, malformed("malformed SASL response"), out);
  if (mechanism != kMechanism)
    return stop(LoginRefusal::Protocol, malformed("client selected an invalid SASL authentication mechanism"),
                out);
  auto answer = scram_->client_first(message);
  if (!answer) return stop(LoginRefusal::Protocol, answer.error(), out);
  protocol::put_auth(out.send, AuthRequest::SaslContinue, *answer);
  state_ = State::SaslFinal;
}

void LoginCore::verdict(bool right, Out& out) {
  if (!right || !credentials_.known)
    return stop(LoginRefusal::Password,
                {sqlstate::kInvalidPassword,
                 "password authentication failed for user \"" + startup_.user + "\"",
                 {},
                 {}},
                out);
  state_ = State::Done;
  protocol::put_auth(out.send, AuthRequest::Ok);
  out.want = Want::Done;
}

bool LoginCore::awaits_client() const {
  switch (state_) {
    case State::First:
    case State::Tls:
    case State::Password:
    case State::Md5:
    case State::SaslFirst:
    case State::SaslFinal: return true;
    case State::Naming:
    case State::Deriving:
    case State::Done:
    case State::Closed: return false;
  }
  return false;
}

void LoginCore::refuse(LoginRefusal why, const Error& error, Out& out) { stop(why, error, out); }

void LoginCore::stop(LoginRefusal why, const Error& error, Out& out) {
  protocol::put_error(out.send, "FATAL", error);
  out.want = Want::Close;
  out.reason = error.message;
  out.sqlstate = error.sqlstate;
  out.refusal = why;
  state_ = State::Closed;
}

}  // namespace pgweir
