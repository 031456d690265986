// tests/net/tls_help.h - two ends that speak TLS, and OpenSSL's own client to do what ours does not.
#pragma once

#include <openssl/err.h>
#include <openssl/ssl.h>

#include "tests/net/certificates.h"

namespace pgweir::net {

// A listener whose connections speak TLS from the first byte on, and a client that does so too.
struct TlsNet : Net {
  Papers papers;
  std::shared_ptr<TlsContext> server_tls = TlsContext::accepting(papers.for_server, TlsVerify::None).value();
  std::shared_ptr<TlsContext> client_tls =
      TlsContext::connecting({papers.ca, "", ""}, TlsVerify::Name).value();
  std::string host = "db.example";
  Ear client;
  std::function<void(Ear&)> prepare;

  TlsNet() {
    door.greet = [this](Ear& ear) {
      if (prepare) prepare(ear);
      ear.stream->start_tls(*server_tls, "");
    };
    client.when_connected = [this] { client.stream->start_tls(*client_tls, host); };
  }
  Ear& server() { return *door.ears.at(0); }
  void start() { client.stream = loop->connect(here, client); }
  bool settled() {
    return door.ears.size() == 1 && (server().secured || server().is_closed()) &&
           (client.secured || client.is_closed());
  }
  void secure() {
    start();
    REQUIRE(until([this] { return settled(); }));
    INFO(client.error() << " / " << server().error());
    REQUIRE((client.secured == 1 && server().secured == 1));
  }
};

// OpenSSL's own client on a socket of the test's own, to do what ours does not.
struct RawTls : Raw {
  explicit RawTls(const Endpoint& to, int max_version = TLS1_3_VERSION, Bytes alpn = {}) : Raw(to) {
    SSL_CTX_set_security_level(context, 0);
    SSL_CTX_set_cipher_list(context, "ALL:@SECLEVEL=0");
    SSL_CTX_set_min_proto_version(context, TLS1_VERSION);
    SSL_CTX_set_max_proto_version(context, max_version);
    if (!alpn.empty()) {
      SSL_CTX_set_alpn_protos(context, reinterpret_cast<const unsigned char*>(alpn.data()),
                              static_cast<unsigned>(alpn.size()));
    }
    ssl = SSL_new(context);
    SSL_set_fd(ssl, fd());
    SSL_set_connect_state(ssl);
  }
  ~RawTls() {
    SSL_free(ssl);
    SSL_CTX_free(context);
  }
  // Done or failed; `outcome` says which.
  bool shaken() { return settle(SSL_do_handshake(ssl)); }
  bool read_some() {
    char buffer[4096];
    int got;
    while ((got = SSL_read(ssl, buffer, sizeof buffer)) > 0)
      text.append(buffer, static_cast<std::size_t>(got));
    return settle(got);
  }
  SSL_CTX* context = SSL_CTX_new(TLS_client_method());
  SSL* ssl;
  std::string outcome, text;

 private:
  bool settle(int rc) {
    const int error = SSL_get_error(ssl, rc);
    if (error == SSL_ERROR_WANT_READ || error == SSL_ERROR_WANT_WRITE) return false;
    outcome = error == SSL_ERROR_NONE          ? "ok"
              : error == SSL_ERROR_ZERO_RETURN ? "close_notify"
              : error == SSL_ERROR_SSL         ? ERR_reason_error_string(ERR_peek_error())
                                               : "cut";
    ERR_clear_error();
    return true;
  }
};

}  // namespace pgweir::net
