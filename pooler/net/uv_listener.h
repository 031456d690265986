// pooler/net/uv_listener.h - accepts connections on a listening socket.
//
// Built on uv_poll and accept4, not on uv_listen: that one sleeps after every accept when sockets are shared.
#pragma once

#include <uv.h>

#include "pooler/net/loop.h"
#include "pooler/net/timer_heap.h"
#include "pooler/net/uv_loop_impl.h"

namespace pgweir::net {

class UvListener final : public Listener, private PollOwner {
 public:
  UvListener(UvLoopImpl& loop, int fd, Acceptor& acceptor);  // takes over fd
  ~UvListener() override;
  UvListener(const UvListener&) = delete;
  UvListener& operator=(const UvListener&) = delete;
  void accept_rest() override;

 private:
  static constexpr int kAcceptsPerTurn = 16;  // leaves some to the other loops that share the socket
  static constexpr auto kPause = std::chrono::milliseconds(100);

  void loop_is_gone() override { stop(); }
  static void on_readable(uv_poll_t* poll, int status, int events);
  bool accept_one();  // false: nobody else is waiting
  void watch();
  void pause(int error);
  void stop();

  UvLoopImpl& loop_;
  Acceptor& acceptor_;
  int fd_;
  uv_poll_t* poll_;  // frees itself in its close callback; null once the loop is gone
  Timer resume_;
};

}  // namespace pgweir::net
