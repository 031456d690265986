#include "pooler/net/uv_watch.h"

#include <utility>

#include "pooler/base/check.h"

namespace pgweir::net {

namespace {

int events_of(UvLoop::Ready what) {
  switch (what) {
    case UvLoop::Ready::Read: return UV_READABLE;
    case UvLoop::Ready::Write: return UV_WRITABLE;
    case UvLoop::Ready::Either: break;
  }
  return UV_READABLE | UV_WRITABLE;
}

}  // namespace

UvWatch::UvWatch(UvLoopImpl& loop, int fd, UvLoop::Ready what, std::function<void()> on_ready)
    : poll_(new uv_poll_t), on_ready_(std::move(on_ready)) {
  PGWEIR_CHECK(uv_poll_init(loop.uv(), poll_, fd) == 0);
  poll_->data = static_cast<PollOwner*>(this);
  PGWEIR_CHECK(uv_poll_start(poll_, events_of(what), on_event) == 0);
}

UvWatch::~UvWatch() { loop_is_gone(); }

void UvWatch::loop_is_gone() {
  if (poll_ == nullptr) return;
  poll_->data = nullptr;
  uv_close(reinterpret_cast<uv_handle_t*>(poll_),
           [](uv_handle_t* handle) { delete reinterpret_cast<uv_poll_t*>(handle); });
  poll_ = nullptr;
}

// An error is for the owner of the socket to find, who is told that there is something to read.
void UvWatch::on_event(uv_poll_t* poll, int, int) {
  // The call may destroy the watch, and with it the function that runs.
  const auto on_ready = static_cast<UvWatch*>(static_cast<PollOwner*>(poll->data))->on_ready_;
  on_ready();
}

}  // namespace pgweir::net
