// pooler/net/uv_loop_impl.h - the loop behind uv_loop.h, as the streams and listeners of this folder see it.
#pragma once

#include <uv.h>

#include <atomic>
#include <functional>
#include <memory>
#include <mutex>
#include <string>
#include <vector>

#include "pooler/net/uv_loop.h"
#include "pooler/net/uv_sends.h"

namespace pgweir::net {

// Whom the `data` of a uv_poll_t names; null when that one has gone.
class PollOwner {
 public:
  virtual ~PollOwner() = default;
  virtual void loop_is_gone() = 0;
};

class UvLoopImpl final : public UvLoop {
 public:
  UvLoopImpl();
  ~UvLoopImpl() override;
  UvLoopImpl(const UvLoopImpl&) = delete;
  UvLoopImpl& operator=(const UvLoopImpl&) = delete;

  // While one read is being dealt with the clock is looked at once only.
  class OneMoment {
   public:
    explicit OneMoment(UvLoopImpl& loop) : loop_(loop) { loop_.one_moment_ = true; }
    ~OneMoment() {
      loop_.one_moment_ = false;
      loop_.moment_ = Time{};
    }
    OneMoment(const OneMoment&) = delete;
    OneMoment& operator=(const OneMoment&) = delete;

   private:
    UvLoopImpl& loop_;
  };
  void arm(Timer& timer, Time at) override;
  void disarm(Timer& timer) override { timers_.disarm(timer); }
  std::unique_ptr<Stream> connect(const Endpoint& to, Handler& handler, SocketOptions options) override;
  std::unique_ptr<Listener> listen(int fd, Acceptor& acceptor) override;
  std::unique_ptr<Stream> adopt(std::unique_ptr<Detached> connection, Handler& handler) override;
  void hurry() override;
  void post(std::function<void()> task) override;
  void offload(std::function<void()> work, std::function<void()> done) override;
  void run() override;
  void stop() override;
  void watch_signal(int signum, std::function<void()> on_signal) override;
  std::unique_ptr<Watch> watch(int fd, Ready what, std::function<void()> on_ready) override;

  uv_loop_t* uv() { return &loop_; }
  bool hurries() const { return hurries_; }
  bool running() const { return running_; }
  bool reads() const { return one_moment_; }  // a stream's handler is being told what came in
  UvSends& sends() { return sends_; }

  // All reads of the loop go here: a stream's callback has used the bytes up before another one reads.
  static constexpr std::size_t kReadBytes = 65536;
  char* read_buffer() { return read_buffer_.get(); }
  // What TLS makes of one read: at most that, and the record of which earlier reads had brought a part.
  static constexpr std::size_t kPlainBytes = kReadBytes + 32768;
  char* plain_buffer();
  // Empty between two calls into the streams; whoever encrypts fills it, sends it and clears it.
  std::string& ciphertext() { return ciphertext_; }

 private:
  struct Signal;
  struct Work;
  Time clock() override;
  static void on_async(uv_async_t* async);
  static void on_timer(uv_timer_t* timer);
  static void close_handle(uv_handle_t* handle, void* loop);
  void start_timer();

  uv_loop_t loop_;
  uv_async_t async_;
  uv_timer_t timer_;
  uv_check_t after_reads_;
  UvSends sends_;
  TimerHeap timers_;
  Time timer_set_for_ = kNever;
  bool one_moment_ = false;
  bool firing_ = false;
  bool hurries_ = false;
  bool running_ = false;
  bool dying_ = false;
  std::unique_ptr<char[]> read_buffer_;
  std::unique_ptr<char[]> plain_buffer_;
  std::string ciphertext_;
  std::atomic<bool> stop_{false};
  std::mutex mutex_;  // guards posted_
  std::vector<std::function<void()>> posted_;
  std::vector<std::function<void()>> posted_running_;  // kept for its capacity
};

}  // namespace pgweir::net
