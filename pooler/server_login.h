// pooler/server_login.h - our login to a Postgres, from the first byte to its first ReadyForQuery.
//
//   Start [-> TlsAnswer [-> Tls]] -> Auth -> Params -> Ended        trust: AuthenticationOk at once
//                                    Auth -> Answered -> Params     our password or its MD5 is out
//                                    Auth -> SaslFirst [-> Deriving] -> SaslFinal -> Proven -> Params
//
// The server is taken for hostile (R3): only pinned methods are answered, a password is sent in clear only
// where the driver says that nobody can listen, iterations are capped, and after SCRAM has begun
// AuthenticationOk counts only once the server has proven that it knows our key. Pure: the driver sends,
// secures and derives keys elsewhere.
#pragma once

#include <cstdint>
#include <optional>
#include <string>

#include "pooler/base/bytes.h"
#include "pooler/base/error.h"
#include "pooler/login_verdict.h"
#include "pooler/settings.h"
#include "protocol/scram.h"
#include "protocol/secret.h"
#include "protocol/startup.h"

namespace pgweir {

// As whom we log in. With a SCRAM secret, `client_key` (learnt when the client logged in to us) is what opens
// the door.
struct ServerCredentials {
  std::string user;
  std::optional<protocol::Secret> secret;
  std::optional<protocol::ScramKey> client_key;
};

class ServerLogin {
 public:
  enum class Tls : std::uint8_t { Never, IfOffered, Always };
  struct Policy {
    Tls tls = Tls::Never;
    bool clear_password = false;  // the path is private: a unix socket, or TLS with a verified name
    bool trust = true, md5 = true, scram = true, password = true;  // pinned methods
  };
  struct Out {
    enum class Want : std::uint8_t { More, StartTls, Derive, Done, Failed };
    Want want = Want::More;
    std::string send;
    Error error;               // of Failed; sqlstate as the server said it where it said one
    bool from_server = false;  // `error` is the server's own refusal
  };

  // `settings`: what the connection begins with.
  ServerLogin(Policy policy, ServerCredentials credentials, std::string database, std::string nonce,
              protocol::Settings settings = {});

  void connected(Out& out);
  void secured(Out& out);
  void bytes(Bytes in, Out& out);

  // While Derive is wanted: PBKDF2 of password() with challenge(); then derived().
  const std::string& password() const;
  const protocol::ScramClient::Challenge& challenge() const { return challenge_; }
  void derived(const protocol::ScramKey& salted_password, Out& out);

  // The server has been asked for what takes an honest one no time: whether it offers TLS, the handshake, how
  // it wants to be convinced, a SCRAM challenge. Behind our password come LDAP, PAM, locks and what the
  // database loads.
  bool prompt() const;

  Stage stage() const { return stage_; }

  // After Done. A server that gives no key cannot be asked to cancel: cancel_key() is empty.
  const SettingsMap::Values& parameters() const { return parameters_; }
  std::uint32_t cancel_pid() const { return cancel_pid_; }
  const std::string& cancel_key() const { return cancel_key_; }

 private:
  enum class State : std::uint8_t {
    Start,
    TlsAnswer,
    Tls,
    Auth,
    Answered,
    SaslFirst,
    Deriving,
    SaslFinal,
    Proven,
    Params,
    Ended
  };
  void start_up(Out& out);
  void tls_answer(Bytes in, Out& out);
  void message(char type, Bytes body, Out& out);
  void auth_request(Bytes body, Out& out);
  void sasl_start(Bytes mechanisms, Out& out);
  void sasl_answer(const protocol::ScramKey& client_key, const protocol::ScramKey& server_key, Out& out);
  void parameter(Bytes body, Out& out);
  void failed(Error error, Out& out);
  void failed(const char* code, std::string message, Out& out) {
    failed({code, std::move(message), {}, {}}, out);
  }

  Policy policy_;
  ServerCredentials credentials_;
  std::string database_;
  protocol::Settings settings_;
  State state_ = State::Start;
  Stage stage_ = Stage::Unknown;
  std::string
      held_;  // of an unfinished message, or what came while keys are derived; at most kMaxAuthMessage
  std::optional<protocol::ScramClient> scram_;
  std::string nonce_;
  protocol::ScramClient::Challenge challenge_;
  SettingsMap::Values parameters_;
  std::size_t parameter_bytes_ = 0;
  std::uint32_t cancel_pid_ = 0;
  std::string cancel_key_;
};

}  // namespace pgweir
