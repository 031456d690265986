// pooler/net/tls.h - what a TLS handshake needs, made once from files and shared by all connections of a
// kind.
#pragma once

#include <memory>
#include <string>

#include "pooler/base/error.h"

namespace pgweir::net {

struct TlsFiles {
  std::string ca_file;    // PEM; who is trusted. Empty: for the connecting side those whom the system trusts
  std::string cert_file;  // PEM chain; required for the accepting side
  std::string key_file;   // PEM
};

// For the accepting side Chain and Name are one: a client without a certificate signed by ca_file is refused.
// For the connecting side Chain verifies that a trusted CA signed the certificate, Name also its host name or
// IP.
enum class TlsVerify { None, Chain, Name };

// What is spoken inside. Other offers no ALPN: who speaks something else may refuse a name it does not know.
enum class TlsSpeaks { Postgres, Other };

// Who reads and writes the records of an accepted TLS 1.3 connection when its handshake is done:
// net/tls_records, which keeps a fifth of what OpenSSL keeps for it, or OpenSSL.
enum class TlsRecordsBy { Us, OpenSsl };

// TLS 1.2 or newer, no renegotiation, no compression, no session cache or tickets, buffers released while
// idle. ALPN "postgresql" is offered (connecting) or selected (accepting; a client that offers only others is
// refused, one that offers nothing is not). Thread-safe once made.
class TlsContext {
 public:
  static Expected<std::shared_ptr<TlsContext>> accepting(const TlsFiles& files, TlsVerify verify,
                                                         TlsRecordsBy records = TlsRecordsBy::Us);
  static Expected<std::shared_ptr<TlsContext>> connecting(const TlsFiles& files, TlsVerify verify,
                                                          TlsSpeaks speaks = TlsSpeaks::Postgres);
  ~TlsContext();
  TlsContext(const TlsContext&) = delete;
  TlsContext& operator=(const TlsContext&) = delete;

  struct State;  // OpenSSL's, private to net
  State& state() { return *state_; }

 private:
  explicit TlsContext(std::unique_ptr<State> state);
  std::unique_ptr<State> state_;
};

}  // namespace pgweir::net
