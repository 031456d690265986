// pooler/net/uv_watch.h - tells when somebody else's socket can be read or written.
#pragma once

#include <uv.h>

#include <functional>

#include "pooler/net/uv_loop_impl.h"

namespace pgweir::net {

class UvWatch final : public UvLoop::Watch, private PollOwner {
 public:
  UvWatch(UvLoopImpl& loop, int fd, UvLoop::Ready what, std::function<void()> on_ready);
  ~UvWatch() override;
  UvWatch(const UvWatch&) = delete;
  UvWatch& operator=(const UvWatch&) = delete;

 private:
  void loop_is_gone() override;
  static void on_event(uv_poll_t* poll, int status, int events);

  uv_poll_t* poll_;  // frees itself in its close callback; null once the loop is gone
  std::function<void()> on_ready_;
};

}  // namespace pgweir::net
