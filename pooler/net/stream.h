// pooler/net/stream.h - one connection, and who is told what happens to it.
//
// Streams and their handlers live on one loop's thread. The rules that every implementation (libuv,
// simulator) keeps, and that tests/net checks:
//   - a view given to on_bytes dies when the call returns;
//   - write() takes bytes or keeps a copy of what the socket would not take; it never fails in place: a
//   broken
//     connection is reported by on_closed, later, from the loop;
//   - on_closed comes exactly once, never from inside a call into the stream, and nothing comes after it;
//   only
//     then may the stream be destroyed (or after detach(), or when its loop does not run any more and so will
//     never tell). close() and reset() may be called more than once;
//   - what the peer sent before its end is delivered before on_closed, also when our writes fail already;
//   - after close() or reset() no further on_bytes, on_drained or on_secured comes, and writes are dropped.
#pragma once

#include <cstddef>
#include <cstdint>
#include <memory>
#include <span>
#include <string>

#include "pooler/base/bytes.h"

namespace pgweir::net {

class TlsContext;

// How a connection ended. `error` is empty for an orderly end (the peer's FIN, or our own close() or
// reset()). It is not when the peer of a connection that we made sent its FIN without TLS's close_notify
// (By::Peer), and when close() had to cut off bytes that the peer did not take (By::Us).
struct Closed {
  enum class By : std::uint8_t { Peer, Us, Failure };
  By by = By::Peer;
  std::string error;
  bool timed_out = false;  // By::Failure: the peer's machine has been silent for too long
};

class Handler {
 public:
  virtual ~Handler() = default;
  virtual void on_connected() {}  // streams made by Loop::connect: the connection stands
  virtual void on_secured() {}    // start_tls() finished its handshake; bytes are plaintext from here on
  virtual void on_bytes(Bytes in) = 0;
  virtual void on_drained() {}  // unsent() fell to 0 after a write had left bytes behind
  virtual void on_closed(const Closed& why) = 0;
};

// After how much silence the peer's machine is asked whether it is there, and how long after that again, in
// seconds. idle 0: never.
struct Keepalive {
  int idle = 30, interval = 10;
};

// A socket address in words, for SHOW and logs. For unix sockets host is "unix" and port 0.
struct Peer {
  std::string host;
  std::uint16_t port = 0;
};

// A connection between two loops: file descriptor and TLS state, with no handler. Move it to the other loop's
// thread by Loop::post and give it to Loop::adopt there. Destroying it closes the connection.
class Detached {
 public:
  virtual ~Detached() = default;
};

class Stream {
 public:
  virtual ~Stream() = default;

  // Sends the slices in order as one gathered write where the kernel allows it.
  virtual void write(std::span<const Bytes> slices) = 0;
  void write(Bytes bytes) { write(std::span<const Bytes>(&bytes, 1)); }
  // From now on small writes made while the loop reads may wait until it has read all that came in with that,
  // and are not counted as unsent meanwhile. For streams that are not moved to another loop any more.
  virtual void gather_writes() {}
  // Bytes accepted by write() and not yet taken by the kernel.
  virtual std::size_t unsent() const = 0;

  virtual void pause_reads() = 0;
  virtual void resume_reads() = 0;
  // From now on the loop need not wake for fewer bytes than these, unless they are the peer's last: somebody
  // knows that as many come. 1, the default: for any. A system call; does nothing where the kernel cannot.
  virtual void read_at_least(std::size_t /*bytes*/) {}

  // Sends what is unsent, says TLS's close_notify and FIN, and waits for the peer's FIN, so that the last
  // bytes arrive even if the peer is still sending (what it sends is dropped). All in at most 5 s (see
  // Loop::hurry) and 1 MB; a
  // peer that has not taken everything by then is reset. on_closed(By::Us) tells that the connection is gone
  // on both sides.
  virtual void close() = 0;
  // Ends the connection at once, with a RST where the transport has one, so that the peer cannot take what it
  // has received for a whole answer.
  virtual void reset() = 0;

  // In place of SocketOptions::keepalive, from now on: a few system calls. Does nothing where there is no
  // TCP.
  virtual void keep_alive(Keepalive /*how*/) {}

  virtual void set_handler(Handler& handler) = 0;

  // From here on bytes on the wire are TLS. `host` is the name or address to verify when the context verifies
  // names, and to send as SNI (names only); empty for the accepting side. `received` are the first bytes of
  // the handshake if on_bytes has brought them already (direct TLS); whoever negotiated in plaintext checks
  // instead that nothing came behind the request. Ends in on_secured, or in on_closed with Failure and the
  // reason. What is written before on_secured is kept and goes out encrypted (unless close() comes first).
  virtual void start_tls(TlsContext& context, const std::string& host, Bytes received = {}) = 0;
  virtual bool secured() const = 0;
  // The protocol chosen by ALPN, empty if none; SNI name that the peer asked for; TLS version and cipher.
  virtual std::string tls_alpn() const = 0;
  virtual std::string tls_sni() const = 0;
  virtual std::string tls_description() const = 0;
  // The common name in the peer's verified certificate; empty without one.
  virtual std::string tls_peer_name() const { return {}; }

  // Takes the connection off this loop. Only of a connection that stands, with unsent() == 0, reads on, and
  // outside of a TLS handshake. The caller keeps the bytes that it has received and not used; the stream is
  // dead afterwards (no on_closed) and may be destroyed at once, also from inside its handler's calls. Costs
  // a descriptor for a moment; when there is none left, the adopted stream comes up only to report that.
  virtual std::unique_ptr<Detached> detach() = 0;

  virtual Peer peer() const = 0;  // also after the end
  virtual Peer local() const = 0;
  // The uid at the other end of a unix socket; -1 when there is none.
  virtual std::int64_t peer_uid() const = 0;
};

}  // namespace pgweir::net
