// pooler/login_core.h - a client from its first byte to AuthenticationOk.
//
//   First --SSLRequest--> Tls --> First        (with GSSENCRequest at most once each, nothing behind it, R7)
//   First --StartupMessage--> Naming --authenticate()--> Password | Md5 | SaslFirst -> SaslFinal | Deriving
//   --> Done
//
// Exactly one StartupMessage is read, ever; user and database are const afterwards (R1). The verdict on the
// user comes only at the end, after the same exchange that a known user sees (R8). Pure: the driver sends,
// secures, derives keys elsewhere and closes.
#pragma once

#include <cstdint>
#include <optional>
#include <string>

#include "pooler/base/bytes.h"
#include "pooler/base/error.h"
#include "pooler/login_refusal.h"
#include "protocol/scram.h"
#include "protocol/secret.h"
#include "protocol/startup.h"

namespace pgweir {

class LoginCore {
 public:
  enum class TlsPolicy : std::uint8_t { Off, Offered, Required, RequiredWithCertificate };
  enum class Method : std::uint8_t { Trust, Password, Md5, Scram };

  struct Out {
    enum class Want : std::uint8_t {
      More,      // bytes
      StartTls,  // after sending; what was not consumed is TLS already; then tls_started()
      Name,      // startup() is known, nothing to send: find the tenant, then authenticate()
      Cancel,    // cancel() is known; then close
      Derive,    // the SCRAM keys of derive_password() for `derive`, elsewhere; then derived()
      Done,      // authenticated
      Close,     // after sending
    };
    Want want = Want::More;
    std::size_t consumed = 0;
    std::string send;
    std::string reason;                             // of Close, for the log
    std::string sqlstate;                           // of the error that was sent, if one was
    LoginRefusal refusal = LoginRefusal::Protocol;  // of Close
  };

  // Of a password or SASL message. Postgres takes 64 kB; no secret that we hold is as long as this.
  static constexpr std::uint32_t kMessageMax = 16 << 10;

  explicit LoginCore(TlsPolicy tls) : tls_(tls) {}

  void bytes(Bytes in, bool secured, Out& out);
  void tls_started(Bytes alpn, Out& out);

  // Has said neither who it is nor that it wants a cancel.
  bool unnamed() const { return state_ == State::First || state_ == State::Tls; }
  // It goes on with what the client says next; otherwise with what we have to do.
  bool awaits_client() const;
  const protocol::Startup& startup() const { return startup_; }
  const protocol::CancelRequest& cancel() const { return cancel_; }

  // What is known about the user; `known` false: `secret` is a stand-in that no password fits.
  struct Credentials {
    Method method = Method::Scram;
    protocol::Secret secret;
    bool known = false;
  };
  // `nonce`: printable, for SCRAM; `salt`: 4 bytes, for MD5.
  void authenticate(Credentials credentials, std::string nonce, std::string salt, Out& out);

  // Method Password with a SCRAM secret: the password to derive from, and with what.
  const std::string& derive_password() const { return password_; }
  const protocol::ScramVerifier& derive_with() const {
    return std::get<protocol::ScramVerifier>(credentials_.secret);
  }
  void derived(const protocol::ScramKey& salted_password, Out& out);

  // After Done: the key that logs in elsewhere as this user, if the exchange has shown it to us.
  const std::optional<protocol::ScramKey>& client_key() const { return client_key_; }

  // Ends the login with a FATAL error.
  void refuse(LoginRefusal why, const Error& error, Out& out);

 private:
  enum class State : std::uint8_t {
    First,
    Tls,
    Naming,
    Password,
    Md5,
    SaslFirst,
    SaslFinal,
    Deriving,
    Done,
    Closed
  };
  void first_packet(Bytes in, bool secured, Out& out);
  void auth_message(Bytes body, Out& out);
  void sasl_first(Bytes body, Out& out);
  void verdict(bool right, Out& out);
  void stop(LoginRefusal why, const Error& error, Out& out);

  TlsPolicy tls_;
  State state_ = State::First;
  bool direct_ = false;  // TLS from the first byte
  bool asked_tls_ = false;
  bool asked_gss_ = false;
  protocol::Startup startup_;
  protocol::CancelRequest cancel_;
  Credentials credentials_;
  std::string salt_;
  std::string password_;
  std::optional<protocol::ScramServer> scram_;
  std::optional<protocol::ScramKey> client_key_;
};

}  // namespace pgweir
