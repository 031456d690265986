#include "pooler/net/uv_listener.h"

#include <netinet/tcp.h>
#include <unistd.h>

#include <cerrno>

#include "pooler/base/check.h"
#include "pooler/net/address.h"
#include "pooler/net/uv_stream.h"

namespace pgweir::net {

UvListener::UvListener(UvLoopImpl& loop, int fd, Acceptor& acceptor)
    : loop_(loop), acceptor_(acceptor), fd_(fd), poll_(new uv_poll_t), resume_(this, [](void* self) {
        static_cast<UvListener*>(self)->watch();
      }) {
  // Accepted sockets inherit these, which saves system calls per connection. On a unix socket they fail.
  const int on = 1;
  setsockopt(fd, IPPROTO_TCP, TCP_NODELAY, &on, sizeof on);
  PGWEIR_CHECK(uv_poll_init(loop.uv(), poll_, fd) == 0);
  poll_->data = static_cast<PollOwner*>(this);
  watch();
}

UvListener::~UvListener() { stop(); }

void UvListener::stop() {
  if (poll_ == nullptr) return;
  poll_->data = nullptr;
  uv_close(reinterpret_cast<uv_handle_t*>(poll_),
           [](uv_handle_t* handle) { delete reinterpret_cast<uv_poll_t*>(handle); });
  poll_ = nullptr;
  ::close(fd_);  // uv_close() has taken it out of epoll already
}

void UvListener::watch() { PGWEIR_CHECK(uv_poll_start(poll_, UV_READABLE, on_readable) == 0); }

void UvListener::on_readable(uv_poll_t* poll, int, int) {
  // The acceptor may destroy the listener; the handle outlives this call and tells.
  for (int i = 0; i < kAcceptsPerTurn && poll->data != nullptr; ++i) {
    if (!static_cast<UvListener*>(static_cast<PollOwner*>(poll->data))->accept_one()) return;
  }
}

bool UvListener::accept_one() {
  sockaddr_storage from{};
  socklen_t size = sizeof from;
  const int fd = accept4(fd_, reinterpret_cast<sockaddr*>(&from), &size, SOCK_NONBLOCK | SOCK_CLOEXEC);
  if (fd >= 0) {
    acceptor_.on_accept(UvStream::accepted(loop_, fd, Address::of(reinterpret_cast<sockaddr*>(&from))));
    return true;
  }
  switch (errno) {
    case EMFILE:
    case ENFILE:
    case ENOBUFS:
    case ENOMEM: pause(errno); return false;
    case EAGAIN: return false;  // another loop was quicker
    default: return true;       // that connection died in the queue; try the next
  }
}

void UvListener::accept_rest() {
  constexpr int kMost = 65536;  // more than any backlog holds
  for (int i = 0; i < kMost && poll_ != nullptr; ++i)
    if (!accept_one()) return;
}

// The socket stays readable, so without a pause the loop would spin until a descriptor comes free.
void UvListener::pause(int error) {
  uv_poll_stop(poll_);
  loop_.arm(resume_, loop_.now() + kPause);
  acceptor_.on_accept_failed(uv_strerror(uv_translate_sys_error(error)));
}

}  // namespace pgweir::net
