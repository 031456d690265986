#include "pooler/net/tls_engine.h"

#include <arpa/inet.h>
#include <fmt/format.h>
#include <openssl/bio.h>
#include <openssl/err.h>
#include <openssl/ssl.h>
#include <openssl/x509v3.h>

#include <algorithm>
#include <cstring>
#include <utility>

#include "pooler/base/check.h"
#include "pooler/net/tls_state.h"

namespace pgweir::net {

namespace {
bool is_ip(const std::string& host) {
  unsigned char ip[sizeof(in6_addr)];
  return inet_pton(AF_INET, host.c_str(), ip) == 1 || inet_pton(AF_INET6, host.c_str(), ip) == 1;
}

bool expect_name(SSL* ssl, const std::string& host) {
  if (host.empty()) return false;  // OpenSSL would take any name
  X509_VERIFY_PARAM* param = SSL_get0_param(ssl);
  X509_VERIFY_PARAM_set_hostflags(param, X509_CHECK_FLAG_NO_PARTIAL_WILDCARDS);
  return (is_ip(host) ? X509_VERIFY_PARAM_set1_ip_asc(param, host.c_str())
                      : X509_VERIFY_PARAM_set1_host(param, host.data(), host.size())) == 1;
}

// The caller's buffers as OpenSSL sees them, through a BIO that has none of its own. A BIO with its lock is
// 208 bytes, and only one engine of a thread is ever inside a call: so a thread has one, and lends it. An
// engine that moved to another thread keeps a reference to the one it left, which it does not use again.
class Wire {
 public:
  static Wire& of_this_thread() {
    thread_local Wire wire;
    return wire;
  }
  Wire(const Wire&) = delete;
  Wire& operator=(const Wire&) = delete;
  ~Wire() { BIO_free(bio_); }

  void carry(SSL* ssl, Bytes in, std::string& out, std::unique_ptr<TlsSecrets>* secrets = nullptr) {
    PGWEIR_CHECK(out_ == nullptr);
    in_ = in;
    out_ = &out;
    secrets_ = secrets;
    if (SSL_get_rbio(ssl) == bio_) return;
    PGWEIR_CHECK(BIO_up_ref(bio_) == 1);
    SSL_set_bio(ssl, bio_, bio_);
  }
  Bytes unread() const { return in_; }
  bool all_read() const { return in_.empty(); }
  void rest() {
    in_ = {};
    out_ = nullptr;
    secrets_ = nullptr;
  }
  // A line of NSS's key log: which secret, the client's random, the secret.
  void hear(Bytes line) {
    if (secrets_ == nullptr) return;
    const std::size_t at = line.rfind(' ');
    if (at == Bytes::npos) return;
    const Bytes label = line.substr(0, line.find(' '));
    const bool client = label == "CLIENT_TRAFFIC_SECRET_0";
    if (!client && label != "SERVER_TRAFFIC_SECRET_0") return;
    if (*secrets_ == nullptr) *secrets_ = std::make_unique<TlsSecrets>();
    (client ? (*secrets_)->client : (*secrets_)->server).take_hex(line.data() + at + 1);
  }

 private:
  Wire() : bio_(BIO_new(method())) {
    PGWEIR_CHECK(bio_ != nullptr);
    BIO_set_data(bio_, this);
    BIO_set_init(bio_, 1);
  }
  static const BIO_METHOD* method();
  static Wire& of(BIO* bio) { return *static_cast<Wire*>(BIO_get_data(bio)); }

  BIO* bio_;
  Bytes in_;                                        // not read yet
  std::string* out_ = nullptr;                      // during a call
  std::unique_ptr<TlsSecrets>* secrets_ = nullptr;  // during a call that wants them
};

const BIO_METHOD* Wire::method() {
  static const BIO_METHOD* const method = [] {
    BIO_METHOD* m = BIO_meth_new(BIO_get_new_index() | BIO_TYPE_SOURCE_SINK, "wire");
    BIO_meth_set_write(m, [](BIO* bio, const char* data, int size) {
      of(bio).out_->append(data, static_cast<std::size_t>(size));
      return size;
    });
    BIO_meth_set_read(m, [](BIO* bio, char* data, int size) {
      Bytes& in = of(bio).in_;
      BIO_clear_retry_flags(bio);
      if (in.empty()) {
        BIO_set_retry_read(bio);
        return -1;
      }
      const std::size_t count = std::min(in.size(), static_cast<std::size_t>(size));
      std::memcpy(data, in.data(), count);
      in.remove_prefix(count);
      return static_cast<int>(count);
    });
    BIO_meth_set_ctrl(m, [](BIO*, int what, long, void*) -> long { return what == BIO_CTRL_FLUSH ? 1 : 0; });
    return m;
  }();
  return method;
}
}  // namespace

void hear_tls_secret(const SSL*, const char* line) { Wire::of_this_thread().hear(line); }

TlsEngine::TlsEngine(TlsContext& context, const std::string& host) : accepting_(context.state().accepting) {
  ssl_ = SSL_new(context.state().ssl.get());
  PGWEIR_CHECK(ssl_ != nullptr);
  if (accepting_) {
    SSL_set_accept_state(ssl_);
    return;
  }
  SSL_set_connect_state(ssl_);
  if (context.state().verify_name && !expect_name(ssl_, host)) {
    state_ = State::Failed;
    error_ = std::make_unique<std::string>("TLS handshake: there is no host name to verify");
    return;
  }
  if (!host.empty() && !is_ip(host)) SSL_set_tlsext_host_name(ssl_, host.c_str());
}

TlsEngine::~TlsEngine() { SSL_free(ssl_); }

Bytes TlsEngine::receive(Bytes in, std::span<char> room, std::string& out) {
  if (state_ == State::Ended || state_ == State::Failed) return {};
  if (taken_ != nullptr) return receive_taken(in, room, out);
  ERR_clear_error();
  Wire& wire = Wire::of_this_thread();
  wire.carry(ssl_, in, out, accepting_ && state_ == State::Handshaking ? &secrets_ : nullptr);
  if (state_ == State::Handshaking) {
    shake_hands();
    if (state_ == State::Open && secrets_ != nullptr) take_over();
    if (taken_ != nullptr) {
      const Bytes unread = wire.unread();
      wire.rest();
      return receive_taken(unread, room, out);
    }
  }
  std::size_t size = 0;
  // An SSL_read that finds nothing costs as much as one that does, so it is not tried.
  while (state_ == State::Open && !room.empty() && (!wire.all_read() || SSL_pending(ssl_) > 0)) {
    std::size_t got = 0;
    PGWEIR_CHECK(size < room.size());
    if (SSL_read_ex(ssl_, room.data() + size, room.size() - size, &got) == 1) {
      size += got;
      continue;
    }
    const int error = SSL_get_error(ssl_, 0);
    if (error == SSL_ERROR_WANT_READ) break;
    if (error == SSL_ERROR_ZERO_RETURN) {
      state_ = State::Ended;
    } else {
      failed("TLS");
    }
  }
  PGWEIR_CHECK(wire.all_read() || state_ == State::Ended || state_ == State::Failed);
  wire.rest();
  return {room.data(), size};
}

void TlsEngine::shake_hands() {
  const int rc = SSL_do_handshake(ssl_);
  if (rc == 1) {
    state_ = State::Open;
    secured_ = true;
  } else if (SSL_get_error(ssl_, rc) != SSL_ERROR_WANT_READ) {
    failed("TLS handshake");
  }
}

// OpenSSL has read the handshake's records and nothing behind them. What it has read ahead all the same, and
// a suite that TlsRecords does not know, stay with it.
void TlsEngine::take_over() {
  const std::unique_ptr<TlsSecrets> secrets = std::move(secrets_);
  if (SSL_version(ssl_) != TLS1_3_VERSION || SSL_has_pending(ssl_) != 0) return;
  auto records = TlsRecords::make(SSL_get_cipher_name(ssl_), *secrets);
  if (records == nullptr) return;
  taken_.reset(new Taken{std::move(records), alpn(), sni(), peer_name()});
  SSL_free(std::exchange(ssl_, nullptr));
}

Bytes TlsEngine::receive_taken(Bytes in, std::span<char> room, std::string& out) {
  TlsRecords& records = *taken_->records;
  const Bytes plain = records.receive(in, room, out);
  switch (records.state()) {
    case TlsRecords::State::Open: break;
    case TlsRecords::State::Ended: state_ = State::Ended; break;
    case TlsRecords::State::Failed:
      state_ = State::Failed;
      error_ = std::make_unique<std::string>(records.error());
      break;
  }
  return plain;
}

void TlsEngine::failed(const char* doing) {
  state_ = State::Failed;
  error_ = std::make_unique<std::string>(fmt::format("{}: {}", doing, take_ssl_error()));
  const long verdict = SSL_get_verify_result(ssl_);
  if (verdict != X509_V_OK) *error_ += fmt::format(" ({})", X509_verify_cert_error_string(verdict));
}

void TlsEngine::send(Bytes plain, std::string& out) {
  if (plain.empty() || state_ == State::Failed) return;
  PGWEIR_CHECK(secured_);
  if (taken_ != nullptr) return taken_->records->send(plain, out);
  ERR_clear_error();
  Wire& wire = Wire::of_this_thread();
  wire.carry(ssl_, {}, out);
  std::size_t written = 0;
  // The wire takes everything, so a write is whole or it is broken for good.
  if (SSL_write_ex(ssl_, plain.data(), plain.size(), &written) != 1) failed("TLS");
  wire.rest();
}

void TlsEngine::say_goodbye(std::string& out) {
  if (!secured_ || state_ == State::Failed) return;
  if (taken_ != nullptr) return taken_->records->say_goodbye(out);
  if ((SSL_get_shutdown(ssl_) & SSL_SENT_SHUTDOWN) != 0) return;
  ERR_clear_error();
  Wire& wire = Wire::of_this_thread();
  wire.carry(ssl_, {}, out);
  SSL_shutdown(ssl_);
  wire.rest();
}

std::string TlsEngine::alpn() const {
  if (taken_ != nullptr) return taken_->alpn;
  const unsigned char* name = nullptr;
  unsigned size = 0;
  SSL_get0_alpn_selected(ssl_, &name, &size);
  return {reinterpret_cast<const char*>(name), size};
}

std::string TlsEngine::sni() const {
  if (taken_ != nullptr) return taken_->sni;
  const char* name = SSL_get_servername(ssl_, TLSEXT_NAMETYPE_host_name);
  return name != nullptr ? name : "";
}

std::string TlsEngine::peer_name() const {
  if (taken_ != nullptr) return taken_->peer_name;
  if (SSL_get_verify_result(ssl_) != X509_V_OK) return {};
  const std::unique_ptr<X509, decltype(&X509_free)> certificate(SSL_get1_peer_certificate(ssl_), X509_free);
  if (!certificate) return {};
  X509_NAME* subject = X509_get_subject_name(certificate.get());
  const int at = X509_NAME_get_index_by_NID(subject, NID_commonName, -1);
  if (at < 0) return {};
  unsigned char* text = nullptr;
  const int size = ASN1_STRING_to_UTF8(&text, X509_NAME_ENTRY_get_data(X509_NAME_get_entry(subject, at)));
  if (size < 0) return {};
  std::string name(reinterpret_cast<const char*>(text), static_cast<std::size_t>(size));
  OPENSSL_free(text);
  return name;
}

std::string TlsEngine::description() const {
  if (taken_ != nullptr) return fmt::format("TLSv1.3 {}", taken_->records->suite());
  return fmt::format("{} {}", SSL_get_version(ssl_), SSL_get_cipher_name(ssl_));
}

}  // namespace pgweir::net
