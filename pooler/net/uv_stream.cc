#include "pooler/net/uv_stream.h"

#include <fcntl.h>
#include <fmt/format.h>
#include <unistd.h>

#include <algorithm>
#include <cerrno>

#include "pooler/base/check.h"
#include "pooler/net/uv_attempt.h"

namespace pgweir::net {

namespace {
constexpr auto kEndingMax = std::chrono::seconds(5);

class UvDetached final : public Detached {
 public:
  UvDetached() = default;
  ~UvDetached() override {
    if (fd >= 0) ::close(fd);
  }
  UvDetached(const UvDetached&) = delete;
  UvDetached& operator=(const UvDetached&) = delete;

  int fd = -1;
  int error = 0;  // why there is no fd
  Address peer;
  std::unique_ptr<TlsEngine> tls;
  std::string unread;
  std::int16_t write_error = 0;
};
}  // namespace

UvStream::UvStream(UvLoopImpl& loop, Handler* handler, State state)
    : loop_(loop), handler_(handler), state_(state) {}

void UvStream::open(int fd, const Address& peer) {
  peer_ = peer;
  if (peer.is_unix()) {
    socket_ = UvSocket::unix_socket(loop_.uv(), this);
    PGWEIR_CHECK(uv_pipe_open(socket_->as_pipe(), fd) == 0);
  } else {
    socket_ = UvSocket::tcp(loop_.uv(), this);
    PGWEIR_CHECK(uv_tcp_open(socket_->as_tcp(), fd) == 0);
  }
  start_reading();
}

std::unique_ptr<UvStream> UvStream::accepted(UvLoopImpl& loop, int fd, const Address& peer) {
  std::unique_ptr<UvStream> stream(new UvStream(loop, nullptr, State::Open));
  stream->open(fd, peer);
  return stream;
}

std::unique_ptr<UvStream> UvStream::connecting(UvLoopImpl& loop, const Endpoint& to, Handler& handler,
                                               SocketOptions options) {
  std::unique_ptr<UvStream> stream(new UvStream(loop, &handler, State::Connecting));
  stream->socket_ =
      UvSocket::tcp(loop.uv(), stream.get());  // to be closed by while the name is being resolved
  stream->attempt_ = std::make_unique<UvAttempt>(*stream, to, options);
  stream->attempt_->start();
  return stream;
}

void UvStream::use(UvSocket* socket) {
  socket_->let_go();
  socket_->close();
  socket_ = socket;
}

void UvStream::connected(const Address& peer) {
  PGWEIR_CHECK(state_ == State::Connecting);
  attempt_.reset();
  peer_ = peer;
  state_ = State::Open;
  if (!paused_) start_reading();
  if (outbox_ != nullptr) flush();
  handler_->on_connected();
}

void UvStream::connect_failed(std::string error) { finish({Closed::By::Failure, std::move(error)}); }

std::unique_ptr<Detached> UvStream::detach() {
  PGWEIR_CHECK(state_ == State::Open && !paused_ && unsent() == 0);
  PGWEIR_CHECK(tls_ == nullptr || tls_->secured());
  auto moved = std::make_unique<UvDetached>();
  // libuv cannot let go of a descriptor without closing it.
  moved->fd = fcntl(socket_->fd(), F_DUPFD_CLOEXEC, 3);
  moved->error = errno;
  moved->peer = peer_;
  moved->tls = std::move(tls_);
  if (kept_ != nullptr) moved->unread = std::move(kept_->unread);
  moved->write_error = write_error_;
  abandon();
  state_ = State::Detached;
  return moved;
}

std::unique_ptr<UvStream> UvStream::adopted(UvLoopImpl& loop, std::unique_ptr<Detached> connection,
                                            Handler& handler) {
  auto& moved = static_cast<UvDetached&>(*connection);
  std::unique_ptr<UvStream> stream(new UvStream(loop, &handler, State::Open));
  if (moved.fd < 0) {
    stream->peer_ = moved.peer;
    stream->socket_ = UvSocket::tcp(loop.uv(), stream.get());
    stream->finish({Closed::By::Failure, uv_strerror(uv_translate_sys_error(moved.error))});
    return stream;
  }
  stream->open(std::exchange(moved.fd, -1), moved.peer);
  stream->tls_ = std::move(moved.tls);
  stream->write_error_ = moved.write_error;
  if (stream->tls_ != nullptr && (!moved.unread.empty() || stream->tls_->state() != TlsEngine::State::Open)) {
    stream->kept().unread = std::move(moved.unread);
    loop.arm(stream->kept_->deliver, loop.now());
  }
  return stream;
}

UvStream::~UvStream() {
  if (state_ == State::Closed || state_ == State::Detached) return;
  PGWEIR_CHECK(!loop_.running());
  abandon();
}

void UvStream::abandon() {
  if (std::exchange(gathered_, false)) loop_.sends().forget(*this);
  socket_->let_go();
  if (!uv_is_closing(socket_->handle())) socket_->close();
  socket_ = nullptr;
  drop_outbox();
  attempt_.reset();
  ending_.reset();
  kept_.reset();
}

void UvStream::loop_is_gone() {
  abandon();
  state_ = State::Closed;
}

void UvStream::close() {
  switch (state_) {
    case State::Connecting: return finish({Closed::By::Us, ""});
    case State::Open: return end({Closed::By::Us, ""}, kEndingMax);
    case State::Ending:
    case State::Closing:
    case State::Closed:
    case State::Detached: return;
  }
}

void UvStream::reset() {
  switch (state_) {
    case State::Connecting: return finish({Closed::By::Us, ""});
    case State::Open: reset_on_close(); return finish({Closed::By::Us, ""});
    case State::Ending: reset_on_close(); return finish_ending();
    case State::Closing:
    case State::Closed:
    case State::Detached: return;
  }
}

// Lets the kernel answer with RST and forget what it still holds. Unix sockets have no such thing.
void UvStream::reset_on_close() {
  const linger at_once{1, 0};
  setsockopt(socket_->fd(), SOL_SOCKET, SO_LINGER, &at_once, sizeof at_once);
}

void UvStream::end(Closed why, Duration patience) {
  PGWEIR_CHECK(state_ == State::Open);
  if (tls_ != nullptr) {
    tls_->say_goodbye(loop_.ciphertext());
    send_ciphertext();
  }
  if (gathered_) loop_.sends().flush();
  if (state_ != State::Open) return;  // broken meanwhile
  state_ = State::Ending;
  kept_.reset();
  const auto on_deadline = [](void* self) { static_cast<UvStream*>(self)->cut_off(); };
  ending_.reset(new Ending{std::move(why), Timer(this, on_deadline)});
  if (write_error_ != 0) return finish_ending();
  loop_.arm(ending_->deadline,
            loop_.now() + (loop_.hurries() ? std::min<Duration>(patience, Loop::kLastWords) : patience));
  if (paused_) start_reading();
  if (outbox_ == nullptr) half_close();
}

void UvStream::hurry() {
  if (state_ == State::Ending) loop_.arm(ending_->deadline, loop_.now() + Loop::kLastWords);
}

void UvStream::half_close() {
  if (::shutdown(socket_->fd(), SHUT_WR) != 0) finish_ending();
}

void UvStream::cut_off() {
  if (const std::size_t left = unsent(); left > 0) {
    reset_on_close();
    if (ending_->why.error.empty()) {
      ending_->why.error = fmt::format("cut off: the peer did not take the last {} bytes", left);
    }
  }
  finish_ending();
}

void UvStream::finish(Closed why) {
  if (ending_ == nullptr) ending_.reset(new Ending{std::move(why), Timer(nullptr, nullptr)});
  finish_ending();
}

void UvStream::finish_ending() {
  PGWEIR_CHECK(state_ == State::Connecting || state_ == State::Open || state_ == State::Ending);
  loop_.disarm(ending_->deadline);
  state_ = State::Closing;
  attempt_.reset();
  kept_.reset();
  socket_->close();
}

void UvStream::gone() {
  PGWEIR_CHECK(state_ == State::Closing && handler_ != nullptr);
  socket_ = nullptr;
  drop_outbox();
  state_ = State::Closed;
  const Closed why = std::move(ending_->why);
  ending_.reset();
  handler_->on_closed(why);
}

void UvStream::keep_alive(Keepalive how) {
  if (state_ == State::Open && !peer_.is_unix()) set_keepalive(socket_->fd(), how);
}

Peer UvStream::local() const {
  sockaddr_storage address{};
  socklen_t size = sizeof address;
  if (socket_ == nullptr || getsockname(socket_->fd(), reinterpret_cast<sockaddr*>(&address), &size) != 0)
    return {};
  return Address::of(reinterpret_cast<const sockaddr*>(&address)).words();
}

std::int64_t UvStream::peer_uid() const {
  ucred who{};
  socklen_t size = sizeof who;
  if (!peer_.is_unix() || socket_ == nullptr) return -1;
  return getsockopt(socket_->fd(), SOL_SOCKET, SO_PEERCRED, &who, &size) == 0 ? who.uid : -1;
}

}  // namespace pgweir::net
