// pooler/net/tls_records.h - the records of one TLS 1.3 connection after its handshake (RFC 8446,
// sections 4.6.3, 5, 6 and 7), for the accepting side. No I/O, no thread, no clock.
//
// OpenSSL shakes hands and ciphers. What an SSL object keeps beside that (13 kB) an idle connection has no
// use for, so with the secrets of the handshake this takes its place. Anything that RFC 8446 does not allow
// here ends the connection with the alert that it names: there is no renegotiation, no ticket, no early data
// and no later authentication.
#pragma once

#include <openssl/evp.h>

#include <array>
#include <cstdint>
#include <memory>
#include <optional>
#include <span>
#include <string>

#include "pooler/base/bytes.h"

namespace pgweir::net {

// A traffic secret: as long as the suite's hash. Wiped when it goes.
class TlsSecret {
 public:
  static constexpr std::size_t kMax = 48;

  TlsSecret() = default;
  ~TlsSecret();
  TlsSecret(const TlsSecret&) = default;
  TlsSecret& operator=(const TlsSecret&) = default;

  // From lower or upper case hexadecimal digits; stays empty when these are none or too many.
  void take_hex(const char* digits);
  Bytes view() const { return {reinterpret_cast<const char*>(bytes_.data()), size_}; }
  // HKDF-Expand-Label(this, label, "", size), RFC 8446, section 7.1. No longer than the hash, which `digest`
  // names.
  TlsSecret expand(const char* digest, Bytes label, std::size_t size) const;

 private:
  std::array<unsigned char, kMax> bytes_{};
  std::uint8_t size_ = 0;
};

struct TlsSecrets {
  TlsSecret client;  // client_application_traffic_secret_0
  TlsSecret server;  // server_application_traffic_secret_0
};

struct TlsSuite;
// By OpenSSL's name; nullptr when it is none of those that OpenSSL offers by itself.
const TlsSuite* tls_suite(Bytes name);

// One direction: its key and the number of the next record.
class TlsDirection {
 public:
  enum class Way : std::uint8_t { In, Out };

  TlsDirection(const TlsSuite& suite, const TlsSecret& secret, Way way);

  // Appends one record of this type; `content` is at most 16384 bytes.
  void seal(std::uint8_t type, Bytes content, std::string& out);
  // `record` with its header, of at least kOverhead bytes. Writes content, type and padding to `to`, as many
  // bytes as is told, which are not to be looked at when nothing is told: then the record is a forgery.
  std::optional<std::size_t> unseal(Bytes record, char* to);
  // As a KeyUpdate says.
  void next_key();

  static constexpr std::size_t kHeader = 5, kTag = 16, kOverhead = kHeader + kTag + 1;

 private:
  struct Free {
    void operator()(EVP_CIPHER_CTX* context) const { EVP_CIPHER_CTX_free(context); }
  };
  static constexpr std::size_t kNonce = 12;

  void use_secret();
  std::array<unsigned char, kNonce> next_nonce();

  const TlsSuite& suite_;
  std::unique_ptr<EVP_CIPHER_CTX, Free> cipher_;
  std::uint64_t number_ = 0;
  TlsSecret secret_;
  std::array<unsigned char, kNonce> iv_{};
  Way way_;
};

class TlsRecords {
 public:
  // Open -> Ended (the peer said close_notify), or Failed, see error().
  enum class State : std::uint8_t { Open, Ended, Failed };

  // For the suite that OpenSSL calls so; nullptr when it is none of those that it offers by itself, or when a
  // secret has not the length that it takes.
  static std::unique_ptr<TlsRecords> make(Bytes suite, const TlsSecrets& secrets);

  State state() const { return state_; }
  const char* suite() const;
  const std::string& error() const { return error_; }

  // As TlsEngine's. Bytes of a record that has not come whole are kept here.
  Bytes receive(Bytes in, std::span<char> room, std::string& out);
  void send(Bytes plain, std::string& out);
  void say_goodbye(std::string& out);

  // So many records in a row may bring no data, as with OpenSSL.
  static constexpr int kQuietMax = 32;

 private:
  TlsRecords(const TlsSuite& suite, const TlsSecrets& secrets);
  Bytes next_record(Bytes& in, std::string& out);
  bool check_header(Bytes header, std::string& out);
  std::size_t take(Bytes record, std::span<char> room, std::string& out);
  void take_alert(Bytes alert, std::string& out);
  void take_handshake(Bytes part, std::string& out);
  void fail(std::uint8_t alert, std::string why, std::string& out);

  static constexpr std::size_t kKeyUpdate = 5;  // header of the message, and whether an answer is asked for

  const TlsSuite& suite_;
  TlsDirection in_;
  TlsDirection out_;
  std::string partial_;                    // of a record
  std::string error_;                      // Failed
  std::array<char, kKeyUpdate> update_{};  // what has come of a KeyUpdate
  std::uint8_t update_size_ = 0;
  std::uint8_t quiet_ = 0;
  State state_ = State::Open;
  bool owes_update_ = false;
  bool said_goodbye_ = false;
};

}  // namespace pgweir::net
