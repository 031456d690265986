// pooler/net/uv_stream_read.cc - the reading half of UvStream, in plaintext and through TLS.
//
// A handler may do anything in its calls, also detach and destroy this stream: after each call look at the
// socket, which lives on, before touching a member.
#include <sys/socket.h>

#include "pooler/base/check.h"
#include "pooler/net/uv_stream.h"

namespace pgweir::net {

namespace {
constexpr std::size_t kDiscardMax = 1 << 20;
constexpr auto kAlertMax =
    std::chrono::seconds(1);  // for the peer to take the alert that says what went wrong

int pending_error(int fd) {
  int error = 0;
  socklen_t size = sizeof error;
  if (getsockopt(fd, SOL_SOCKET, SO_ERROR, &error, &size) != 0 || error == 0) return 0;
  return uv_translate_sys_error(error);
}
}  // namespace

void UvStream::start_reading() {
  const int rc = uv_read_start(
      socket_->stream(),
      [](uv_handle_t* handle, std::size_t, uv_buf_t* buffer) {
        *buffer = {static_cast<UvLoopImpl*>(handle->loop->data)->read_buffer(), UvLoopImpl::kReadBytes};
      },
      on_read);
  PGWEIR_CHECK(rc == 0);
}

void UvStream::on_read(uv_stream_t* handle, ssize_t got, const uv_buf_t* buffer) {
  UvStream* self = UvSocket::of(handle)->owner();
  if (got == 0 || self == nullptr) return;
  const UvLoopImpl::OneMoment moment(self->loop_);
  switch (self->state_) {
    case State::Open:
      if (got < 0) return self->read_ended(static_cast<int>(got));
      PGWEIR_CHECK(self->handler_ != nullptr && !self->paused_);
      if (self->tls_ != nullptr)
        return self->received_ciphertext({buffer->base, static_cast<std::size_t>(got)});
      return self->handler_->on_bytes({buffer->base, static_cast<std::size_t>(got)});
    case State::Ending: return self->discard(got);
    case State::Connecting:
    case State::Closing:
    case State::Closed:
    case State::Detached: return;
  }
}

void UvStream::discard(ssize_t got) {
  if (got < 0) return finish_ending();
  ending_->discarded += static_cast<std::size_t>(got);
  if (ending_->discarded > kDiscardMax) cut_off();
}

void UvStream::read_ended(int status) {
  if (kept_ != nullptr && !kept_->unread.empty()) {
    UvSocket* socket = socket_;
    deliver_kept();
    if (socket->owner() == nullptr || state_ != State::Open) return;
  }
  // libuv says EOF also when a RST came right behind the last bytes; and a write may have met the RST first.
  int error = status != UV_EOF ? status : pending_error(socket_->fd());
  if (error == 0) error = write_error_;
  if (tls_ != nullptr && !tls_->secured()) {
    const char* reason = error != 0 ? uv_strerror(error) : "the peer closed the connection";
    return finish({Closed::By::Failure, std::string("TLS handshake: ") + reason});
  }
  if (error != 0) return finish({Closed::By::Failure, uv_strerror(error), error == UV_ETIMEDOUT});
  // Clients that leave without close_notify are a daily sight; a server that does so has crashed or been cut
  // off.
  const bool cut = tls_ != nullptr && !tls_->accepting() && tls_->state() == TlsEngine::State::Open;
  finish({Closed::By::Peer, cut ? "TLS connection cut: the peer sent no close_notify" : ""});
}

void UvStream::pause_reads() {
  if (paused_ || (state_ != State::Open && state_ != State::Connecting)) return;
  paused_ = true;
  if (state_ == State::Connecting) return;
  uv_read_stop(socket_->stream());
  if (write_error_ != 0)
    finish({Closed::By::Failure, uv_strerror(write_error_),
            write_error_ == UV_ETIMEDOUT});  // no read would tell
}

void UvStream::read_at_least(std::size_t bytes) {
  if (state_ != State::Open) return;
  const int least = static_cast<int>(bytes);
  // Where it fails, more wakes.
  setsockopt(socket_->fd(), SOL_SOCKET, SO_RCVLOWAT, &least, sizeof least);
}

void UvStream::resume_reads() {
  if (!paused_ || (state_ != State::Open && state_ != State::Connecting)) return;
  paused_ = false;
  if (state_ == State::Connecting) return;
  start_reading();
  const bool unread = kept_ != nullptr && !kept_->unread.empty();
  if (tls_ != nullptr && (unread || tls_->state() > TlsEngine::State::Open)) {
    loop_.arm(kept().deliver, loop_.now());
  }
}

UvStream::Kept& UvStream::kept() {
  if (kept_ == nullptr) {
    const auto deliver = [](void* self) { static_cast<UvStream*>(self)->deliver_kept(); };
    kept_.reset(new Kept{{}, {}, Timer(this, deliver)});
  }
  return *kept_;
}

void UvStream::start_tls(TlsContext& context, const std::string& host, Bytes received) {
  PGWEIR_CHECK(state_ != State::Connecting && tls_ == nullptr);
  if (state_ != State::Open) return;
  tls_ = std::make_unique<TlsEngine>(context, host);
  // A first flight never completes a handshake, so there is nothing to decrypt yet.
  tls_->receive(received, {}, loop_.ciphertext());
  send_ciphertext();
  settle_tls();
}

void UvStream::received_ciphertext(Bytes in) {
  UvSocket* socket = socket_;
  const bool was_secured = tls_->secured();
  const Bytes plain = tls_->receive(in, {loop_.plain_buffer(), UvLoopImpl::kPlainBytes}, loop_.ciphertext());
  send_ciphertext();
  if (state_ != State::Open) return;
  if (!was_secured && tls_->secured()) return secured_now(plain);
  if (kept_ != nullptr && !kept_->unread.empty()) {
    kept_->unread.append(plain);
    return deliver_kept();
  }
  if (!plain.empty()) {
    handler_->on_bytes(plain);
    if (socket->owner() == nullptr) return;
  }
  settle_tls();
}

void UvStream::secured_now(Bytes plain) {
  UvSocket* socket = socket_;
  const std::string early = kept_ != nullptr ? std::move(kept_->early) : std::string();
  kept_.reset();
  if (!early.empty()) write(early);
  if (state_ != State::Open) return;
  if (!plain.empty()) kept().unread = plain;  // on_secured may pause, or detach
  handler_->on_secured();
  if (socket->owner() == nullptr) return;
  deliver_kept();
}

void UvStream::deliver_kept() {
  if (state_ != State::Open || paused_) return;
  UvSocket* socket = socket_;
  const std::string bytes = kept_ != nullptr ? std::move(kept_->unread) : std::string();
  kept_.reset();
  if (!bytes.empty()) {
    handler_->on_bytes(bytes);
    if (socket->owner() == nullptr) return;
  }
  settle_tls();
}

// Acts on what TLS has come to, once the handler has got all bytes from before that.
void UvStream::settle_tls() {
  if (state_ != State::Open || paused_) return;
  switch (tls_->state()) {
    case TlsEngine::State::Handshaking:
    case TlsEngine::State::Open: return;
    case TlsEngine::State::Ended:
      tls_->say_goodbye(loop_.ciphertext());
      send_ciphertext();
      if (state_ == State::Open) finish({Closed::By::Peer, ""});
      return;
    case TlsEngine::State::Failed: return end({Closed::By::Failure, tls_->error()}, kAlertMax);
  }
}

}  // namespace pgweir::net
