// pooler/net/tls_engine.h - TLS of one connection, without the connection.
//
// Ciphertext comes in and goes out by the caller's buffers; between two calls the engine holds only what
// it cannot do without, and belongs to no thread. So it may move between loops together with its socket.
// What has been accepted with TLS 1.3 goes over from OpenSSL's SSL object to TlsRecords when the handshake is
// done.
#pragma once

#include <cstddef>
#include <memory>
#include <span>
#include <string>

#include "pooler/base/bytes.h"
#include "pooler/net/tls.h"
#include "pooler/net/tls_records.h"

struct ssl_st;

namespace pgweir::net {

class TlsEngine {
 public:
  // Handshaking -> Open -> Ended (the peer said close_notify); Failed from any of them, see error().
  enum class State : unsigned char { Handshaking, Open, Ended, Failed };

  TlsEngine(TlsContext& context, const std::string& host);
  ~TlsEngine();
  TlsEngine(const TlsEngine&) = delete;
  TlsEngine& operator=(const TlsEngine&) = delete;

  State state() const { return state_; }
  bool secured() const { return secured_; }  // the handshake was finished once
  bool accepting() const { return accepting_; }
  std::string error() const { return error_ ? *error_ : ""; }

  // Takes all of `in` and decrypts into `room`, of which the result is the used part; `room` must hold `in`
  // and one record (16 kB and a bit), or may be empty during the handshake. Appends to `out` what must be
  // sent: the handshake, or an alert.
  Bytes receive(Bytes in, std::span<char> room, std::string& out);
  // Appends `plain`, encrypted, to `out`. Only when secured.
  void send(Bytes plain, std::string& out);
  // Appends a close_notify, once, if the handshake was finished.
  void say_goodbye(std::string& out);

  std::string alpn() const;
  std::string sni() const;
  std::string peer_name() const;    // common name of the verified peer
  std::string description() const;  // "TLSv1.3 TLS_AES_256_GCM_SHA384"

 private:
  // Of a connection that TlsRecords has taken over.
  struct Taken {
    std::unique_ptr<TlsRecords> records;
    std::string alpn, sni, peer_name;
  };

  void shake_hands();
  void take_over();
  Bytes receive_taken(Bytes in, std::span<char> room, std::string& out);
  void failed(const char* doing);

  ssl_st* ssl_ = nullptr;                // until it is taken over
  std::unique_ptr<TlsSecrets> secrets_;  // accepting, during a handshake of TLS 1.3
  std::unique_ptr<Taken> taken_;
  std::unique_ptr<std::string> error_;  // Failed
  State state_ = State::Handshaking;
  bool accepting_;
  bool secured_ = false;
};

}  // namespace pgweir::net
