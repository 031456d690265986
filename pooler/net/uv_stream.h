// pooler/net/uv_stream.h - Stream on libuv.
//
//   Connecting --> Open --> Ending --> Closing --> Closed
//                   |  (flush, FIN, wait for the peer's)  (uv_close runs; on_closed to come)
//                   +--> Detached
// Every end passes through Closing, so that on_closed always comes from libuv's close callback. A stream that
// is idle is this object and its UvSocket; all that only some moments need is allocated for those moments.
#pragma once

#include <memory>
#include <string>

#include "pooler/net/address.h"
#include "pooler/net/stream.h"
#include "pooler/net/tls_engine.h"
#include "pooler/net/uv_loop_impl.h"
#include "pooler/net/uv_socket.h"

namespace pgweir::net {

class UvAttempt;

// What the kernel would not take. Frees itself in libuv's callback if the stream let go meanwhile.
struct UvOutbox {
  uv_write_t request;
  UvStream* owner;
  bool in_flight = false;
  std::string sending;  // belongs to `request` while in flight
  std::string waiting;  // goes next
};

class UvStream final : public Stream {
 public:
  static std::unique_ptr<UvStream> accepted(UvLoopImpl& loop, int fd, const Address& peer);
  static std::unique_ptr<UvStream> connecting(UvLoopImpl& loop, const Endpoint& to, Handler& handler,
                                              SocketOptions options);
  static std::unique_ptr<UvStream> adopted(UvLoopImpl& loop, std::unique_ptr<Detached> connection,
                                           Handler& handler);
  ~UvStream() override;
  UvStream(const UvStream&) = delete;
  UvStream& operator=(const UvStream&) = delete;

  using Stream::write;
  void write(std::span<const Bytes> slices) override;
  void gather_writes() override { gathers_ = true; }
  std::size_t unsent() const override;
  void pause_reads() override;
  void resume_reads() override;
  void read_at_least(std::size_t bytes) override;
  void close() override;
  void reset() override;
  void set_handler(Handler& handler) override { handler_ = &handler; }
  void start_tls(TlsContext& context, const std::string& host, Bytes received) override;
  bool secured() const override { return tls_ != nullptr && tls_->secured(); }
  std::string tls_alpn() const override { return tls_ ? tls_->alpn() : ""; }
  std::string tls_sni() const override { return tls_ ? tls_->sni() : ""; }
  std::string tls_description() const override { return tls_ ? tls_->description() : ""; }
  std::string tls_peer_name() const override { return tls_ ? tls_->peer_name() : ""; }
  void keep_alive(Keepalive how) override;
  std::unique_ptr<Detached> detach() override;
  Peer peer() const override { return peer_.words(); }
  Peer local() const override;
  std::int64_t peer_uid() const override;

  // For the attempt to connect:
  UvLoopImpl& loop() { return loop_; }
  void use(UvSocket* socket);  // in place of the one before
  void connected(const Address& peer);
  void connect_failed(std::string error);
  UvAttempt* attempt() { return attempt_.get(); }

  // For the socket, the outbox, the loop's gathered sends, its haste and its end:
  void gone();
  void hurry();
  void sent(int status);
  void send_gathered(Bytes bytes);
  void loop_is_gone();

 private:
  enum class State : std::uint8_t { Connecting, Open, Ending, Closing, Closed, Detached };

  // Kept for moments only. The first says why and for how long; the second holds bytes that may not move on
  // yet.
  struct Ending {
    Closed why;
    Timer deadline;
    std::size_t discarded = 0;
  };
  struct Kept {
    std::string early;   // written before on_secured
    std::string unread;  // decrypted, but reads were paused or the stream moved
    Timer deliver;
  };

  // Life and end, in uv_stream.cc.
  UvStream(UvLoopImpl& loop, Handler* handler, State state);
  void open(int fd, const Address& peer);
  void end(Closed why, Duration patience);
  void half_close();
  void cut_off();
  void finish(Closed why);
  void finish_ending();
  void reset_on_close();
  void abandon();

  // Reading, in uv_stream_read.cc.
  void start_reading();
  static void on_read(uv_stream_t* handle, ssize_t got, const uv_buf_t* buffer);
  void discard(ssize_t got);
  void read_ended(int status);
  void received_ciphertext(Bytes in);
  void secured_now(Bytes plain);
  void deliver_kept();
  void settle_tls();
  Kept& kept();

  // Writing, in uv_stream_write.cc.
  [[gnu::noinline]] void write_early(std::span<const Bytes> slices);
  [[gnu::noinline]] std::size_t count_unsent() const;
  int fd();
  void send(std::span<const Bytes> slices);
  [[gnu::noinline]] void send_in_order(std::span<const Bytes> slices);
  void send_now(std::span<const Bytes> slices);
  void put_out(std::span<const Bytes> slices, std::size_t taken);
  void flush();
  void write_failed(int error);
  void drop_outbox();
  void encrypt(std::span<const Bytes> slices);
  void send_ciphertext();

  UvLoopImpl& loop_;
  UvSocket* socket_ = nullptr;  // frees itself after close()
  Handler* handler_;
  UvOutbox* outbox_ = nullptr;  // only while the kernel would not take all
  std::unique_ptr<TlsEngine> tls_;
  std::unique_ptr<UvAttempt> attempt_;  // Connecting
  std::unique_ptr<Ending> ending_;      // Ending and Closing
  std::unique_ptr<Kept> kept_;
  Address peer_;
  std::int16_t write_error_ =
      0;  // the connection is broken; the read side will say so when it has read the rest
  State state_;
  bool paused_ = false;
  bool gathers_ = false;
  bool gathered_ = false;  // the loop has bytes of ours that it will send at the end of its turn
  int fd_ = -1;            // of socket_, once something was sent
};

}  // namespace pgweir::net
