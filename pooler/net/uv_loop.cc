#include "pooler/net/uv_loop.h"

#include <csignal>
#include <ctime>

#include "pooler/base/check.h"
#include "pooler/net/uv_listener.h"
#include "pooler/net/uv_loop_impl.h"
#include "pooler/net/uv_stream.h"
#include "pooler/net/uv_watch.h"

namespace pgweir::net {

struct UvLoopImpl::Signal {
  uv_signal_t handle;
  std::function<void()> on_signal;
};

struct UvLoopImpl::Work {
  uv_work_t request;
  UvLoopImpl* loop;
  std::function<void()> work;
  std::function<void()> done;
};

std::unique_ptr<UvLoop> UvLoop::make() { return std::make_unique<UvLoopImpl>(); }

UvLoopImpl::UvLoopImpl() : read_buffer_(new char[kReadBytes]) {
  // libuv writes without MSG_NOSIGNAL: a peer that went away must be an error, not the end of the process.
  std::signal(SIGPIPE, SIG_IGN);
  PGWEIR_CHECK(uv_loop_init(&loop_) == 0);
  PGWEIR_CHECK(uv_async_init(&loop_, &async_, on_async) == 0);
  PGWEIR_CHECK(uv_timer_init(&loop_, &timer_) == 0);
  PGWEIR_CHECK(uv_check_init(&loop_, &after_reads_) == 0);
  loop_.data = async_.data = timer_.data = after_reads_.data = this;
  const auto flush = [](uv_check_t* check) { static_cast<UvLoopImpl*>(check->data)->sends_.flush(); };
  PGWEIR_CHECK(uv_check_start(&after_reads_, flush) == 0);
}

UvLoopImpl::~UvLoopImpl() {
  PGWEIR_CHECK(!running_);
  dying_ = true;
  uv_walk(&loop_, close_handle, this);
  uv_run(&loop_, UV_RUN_DEFAULT);  // until every handle's memory is free and no helper thread works for us
  PGWEIR_CHECK(uv_loop_close(&loop_) == 0);
}

void UvLoopImpl::close_handle(uv_handle_t* handle, void* loop) {
  if (uv_is_closing(handle) && handle->type != UV_TCP && handle->type != UV_NAMED_PIPE) return;
  switch (handle->type) {
    case UV_TCP:
    case UV_NAMED_PIPE: {
      UvSocket* socket = UvSocket::of(handle);
      if (socket->owner() != nullptr) socket->owner()->loop_is_gone();
      if (!uv_is_closing(handle)) socket->close();
      return;
    }
    case UV_POLL: return static_cast<PollOwner*>(handle->data)->loop_is_gone();
    case UV_SIGNAL: return uv_close(handle, [](uv_handle_t* h) { delete static_cast<Signal*>(h->data); });
    default:
      PGWEIR_CHECK(handle->data == loop);  // async_, timer_ and after_reads_
      uv_close(handle, nullptr);
  }
}

Time UvLoopImpl::clock() {
  timespec t;
  clock_gettime(CLOCK_MONOTONIC, &t);
  const Time time(std::chrono::duration_cast<Duration>(std::chrono::seconds(t.tv_sec) +
                                                       std::chrono::nanoseconds(t.tv_nsec)));
  if (one_moment_) moment_ = time;
  return time;
}

char* UvLoopImpl::plain_buffer() {
  if (plain_buffer_ == nullptr) plain_buffer_.reset(new char[kPlainBytes]);
  return plain_buffer_.get();
}

void UvLoopImpl::arm(Timer& timer, Time at) {
  timers_.arm(timer, at);
  // When the earliest timer goes or moves away, libuv's one stays: it fires for nothing once, and is set
  // anew.
  if (!firing_ && timers_.next() < timer_set_for_) start_timer();
}

void UvLoopImpl::start_timer() {
  if (timers_.next() == kNever) return;
  timer_set_for_ = timers_.next();
  const auto due = static_cast<std::uint64_t>(
      std::chrono::ceil<std::chrono::milliseconds>(timer_set_for_.time_since_epoch()).count());
  const std::uint64_t cached = uv_now(&loop_);  // what libuv adds the timeout to
  // From on_timer() never 0, which libuv 1.44 would run again before it looks at any socket: what is left in
  // the heap is later than the precise time, which is past the cached one.
  PGWEIR_CHECK(uv_timer_start(&timer_, on_timer, due > cached ? due - cached : 0, 0) == 0);
}

void UvLoopImpl::on_timer(uv_timer_t* timer) {
  auto* loop = static_cast<UvLoopImpl*>(timer->data);
  loop->timer_set_for_ = kNever;
  loop->firing_ = true;
  loop->timers_.run(loop->now());
  loop->firing_ = false;
  loop->start_timer();
}

std::unique_ptr<Stream> UvLoopImpl::connect(const Endpoint& to, Handler& handler, SocketOptions options) {
  return UvStream::connecting(*this, to, handler, options);
}

std::unique_ptr<Listener> UvLoopImpl::listen(int fd, Acceptor& acceptor) {
  return std::make_unique<UvListener>(*this, fd, acceptor);
}

std::unique_ptr<Stream> UvLoopImpl::adopt(std::unique_ptr<Detached> connection, Handler& handler) {
  return UvStream::adopted(*this, std::move(connection), handler);
}

void UvLoopImpl::hurry() {
  hurries_ = true;
  const auto hurry = [](uv_handle_t* handle, void*) {
    if (handle->type != UV_TCP && handle->type != UV_NAMED_PIPE) return;
    if (UvStream* owner = UvSocket::of(handle)->owner(); owner != nullptr) owner->hurry();
  };
  uv_walk(&loop_, hurry, nullptr);
}

void UvLoopImpl::post(std::function<void()> task) {
  bool first;
  {
    const std::lock_guard lock(mutex_);
    first = posted_.empty();
    posted_.push_back(std::move(task));
  }
  if (first) PGWEIR_CHECK(uv_async_send(&async_) == 0);
}

void UvLoopImpl::on_async(uv_async_t* async) {
  auto* loop = static_cast<UvLoopImpl*>(async->data);
  {
    const std::lock_guard lock(loop->mutex_);
    loop->posted_running_.swap(loop->posted_);
  }
  for (auto& task : loop->posted_running_) {
    task();
    task = nullptr;  // what it holds goes before the next one runs
  }
  loop->posted_running_.clear();
  if (loop->stop_) uv_stop(&loop->loop_);
}

void UvLoopImpl::offload(std::function<void()> work, std::function<void()> done) {
  auto* item = new Work{{}, this, std::move(work), std::move(done)};
  item->request.data = item;
  const int rc = uv_queue_work(
      &loop_, &item->request, [](uv_work_t* r) { static_cast<Work*>(r->data)->work(); },
      [](uv_work_t* r, int) {
        const std::unique_ptr<Work> finished(static_cast<Work*>(r->data));
        if (!finished->loop->dying_) finished->done();
      });
  PGWEIR_CHECK(rc == 0);
}

void UvLoopImpl::run() {
  PGWEIR_CHECK(!running_);
  running_ = true;
  if (!stop_) uv_run(&loop_, UV_RUN_DEFAULT);
  stop_ = false;
  running_ = false;
}

void UvLoopImpl::stop() {
  stop_ = true;
  PGWEIR_CHECK(uv_async_send(&async_) == 0);
}

void UvLoopImpl::watch_signal(int signum, std::function<void()> on_signal) {
  auto* signal = new Signal{{}, std::move(on_signal)};
  PGWEIR_CHECK(uv_signal_init(&loop_, &signal->handle) == 0);
  signal->handle.data = signal;
  const int rc = uv_signal_start(
      &signal->handle, [](uv_signal_t* s, int) { static_cast<Signal*>(s->data)->on_signal(); }, signum);
  PGWEIR_CHECK(rc == 0);
}

std::unique_ptr<UvLoop::Watch> UvLoopImpl::watch(int fd, Ready what, std::function<void()> on_ready) {
  return std::make_unique<UvWatch>(*this, fd, what, std::move(on_ready));
}

}  // namespace pgweir::net
