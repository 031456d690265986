#include "pooler/net/tls.h"

#include <fmt/format.h>
#include <openssl/err.h>

#include <algorithm>
#include <cstring>

#include "pooler/base/check.h"
#include "pooler/net/tls_state.h"

namespace pgweir::net {

namespace {

constexpr unsigned char kAlpn[] = "\x0apostgresql";  // as on the wire: length, then name
constexpr unsigned kAlpnBytes = sizeof kAlpn - 1;

// Like PostgreSQL 17: who offers protocols and not ours has come to the wrong door (or was sent there).
int select_alpn(SSL*, const unsigned char** out, unsigned char* out_size, const unsigned char* offered,
                unsigned offered_size, void*) {
  unsigned char* chosen = nullptr;
  const int rc = SSL_select_next_proto(&chosen, out_size, kAlpn, kAlpnBytes, offered, offered_size);
  *out = chosen;
  return rc == OPENSSL_NPN_NEGOTIATED ? SSL_TLSEXT_ERR_OK : SSL_TLSEXT_ERR_ALERT_FATAL;
}

tl::unexpected<Error> refuse(const char* what, const std::string& file) {
  return fail(sqlstate::kConfigFileError, fmt::format("TLS: {} {}: {}", what, file, take_ssl_error()));
}

void set_common(SSL_CTX* ssl) {
  PGWEIR_CHECK(SSL_CTX_set_min_proto_version(ssl, TLS1_2_VERSION) == 1);
  SSL_CTX_set_options(ssl, SSL_OP_NO_RENEGOTIATION | SSL_OP_NO_COMPRESSION | SSL_OP_NO_TICKET |
                               SSL_OP_CIPHER_SERVER_PREFERENCE);
  SSL_CTX_set_mode(ssl, SSL_MODE_RELEASE_BUFFERS | SSL_MODE_ACCEPT_MOVING_WRITE_BUFFER);
  SSL_CTX_set_session_cache_mode(ssl, SSL_SESS_CACHE_OFF);
}

Expected<void> load_identity(SSL_CTX* ssl, const TlsFiles& files) {
  if (SSL_CTX_use_certificate_chain_file(ssl, files.cert_file.c_str()) != 1) {
    return refuse("cannot use the certificate file", files.cert_file);
  }
  if (SSL_CTX_use_PrivateKey_file(ssl, files.key_file.c_str(), SSL_FILETYPE_PEM) != 1 ||
      SSL_CTX_check_private_key(ssl) != 1) {
    return refuse("cannot use the key file", files.key_file);
  }
  return {};
}

Expected<void> load_trust(SSL_CTX* ssl, const TlsFiles& files, bool accepting) {
  if (files.ca_file.empty()) {
    if (SSL_CTX_set_default_verify_paths(ssl) == 1) return {};
    return refuse("cannot load", "the system's trusted authorities");
  }
  if (SSL_CTX_load_verify_locations(ssl, files.ca_file.c_str(), nullptr) != 1) {
    return refuse("cannot use the CA file", files.ca_file);
  }
  if (accepting) SSL_CTX_set_client_CA_list(ssl, SSL_load_client_CA_file(files.ca_file.c_str()));
  return {};
}

// A key file behind a passphrase would make OpenSSL ask on the terminal.
int no_passphrase(char*, int, int, void*) { return -1; }

}  // namespace

std::string take_ssl_error() {
  const unsigned long code = ERR_peek_error();
  const char* reason = ERR_reason_error_string(code);
  std::string out = reason != nullptr        ? reason
                    : ERR_SYSTEM_ERROR(code) ? std::strerror(ERR_GET_REASON(code))
                                             : "unknown reason";
  ERR_clear_error();
  std::transform(out.begin(), out.begin() + 1, out.begin(),
                 [](char c) { return c >= 'A' && c <= 'Z' ? static_cast<char>(c - 'A' + 'a') : c; });
  return out;
}

TlsContext::TlsContext(std::unique_ptr<State> state) : state_(std::move(state)) {}
TlsContext::~TlsContext() = default;

Expected<std::shared_ptr<TlsContext>> TlsContext::accepting(const TlsFiles& files, TlsVerify verify,
                                                            TlsRecordsBy records) {
  ERR_clear_error();
  auto state = std::make_unique<State>();
  state->accepting = true;
  state->ssl.reset(SSL_CTX_new(TLS_server_method()));
  SSL_CTX* ssl = state->ssl.get();
  PGWEIR_CHECK(ssl != nullptr);
  set_common(ssl);
  SSL_CTX_set_num_tickets(ssl, 0);
  if (records == TlsRecordsBy::Us) SSL_CTX_set_keylog_callback(ssl, hear_tls_secret);
  SSL_CTX_set_alpn_select_cb(ssl, select_alpn, nullptr);
  SSL_CTX_set_default_passwd_cb(ssl, no_passphrase);
  if (auto loaded = load_identity(ssl, files); !loaded) return tl::unexpected(loaded.error());
  if (verify != TlsVerify::None) {
    if (files.ca_file.empty()) {
      return fail(sqlstate::kConfigFileError,
                  "TLS: verifying clients needs a CA file: name the one that signs their certificates");
    }
    if (auto loaded = load_trust(ssl, files, true); !loaded) return tl::unexpected(loaded.error());
    SSL_CTX_set_verify(ssl, SSL_VERIFY_PEER | SSL_VERIFY_FAIL_IF_NO_PEER_CERT, nullptr);
  }
  return std::shared_ptr<TlsContext>(new TlsContext(std::move(state)));
}

Expected<std::shared_ptr<TlsContext>> TlsContext::connecting(const TlsFiles& files, TlsVerify verify,
                                                             TlsSpeaks speaks) {
  ERR_clear_error();
  auto state = std::make_unique<State>();
  state->verify_name = verify == TlsVerify::Name;
  state->ssl.reset(SSL_CTX_new(TLS_client_method()));
  SSL_CTX* ssl = state->ssl.get();
  PGWEIR_CHECK(ssl != nullptr);
  set_common(ssl);
  if (speaks == TlsSpeaks::Postgres) PGWEIR_CHECK(SSL_CTX_set_alpn_protos(ssl, kAlpn, kAlpnBytes) == 0);
  SSL_CTX_set_default_passwd_cb(ssl, no_passphrase);
  if (!files.cert_file.empty()) {
    if (auto loaded = load_identity(ssl, files); !loaded) return tl::unexpected(loaded.error());
  }
  if (verify != TlsVerify::None) {
    if (auto loaded = load_trust(ssl, files, false); !loaded) return tl::unexpected(loaded.error());
    SSL_CTX_set_verify(ssl, SSL_VERIFY_PEER, nullptr);
  }
  return std::shared_ptr<TlsContext>(new TlsContext(std::move(state)));
}

}  // namespace pgweir::net
