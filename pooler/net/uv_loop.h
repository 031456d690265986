// pooler/net/uv_loop.h - Loop on libuv. The only header of the real network that the rest of the program
// sees.
#pragma once

#include <functional>
#include <memory>

#include "pooler/net/loop.h"

namespace pgweir::net {

// Making one sets SIGPIPE to be ignored in the whole process. Destroying one closes all that is open on it
// without a word to the handlers (its streams answer and do nothing from then on), drops what was posted, and
// waits for work on helper threads, whose `done` is not called. Helper threads are libuv's: 4 in the process
// unless UV_THREADPOOL_SIZE says otherwise (pgweir does), of which name resolution takes half at most.
class UvLoop : public Loop {
 public:
  static std::unique_ptr<UvLoop> make();
  // Runs until stop(); call from the thread that owns the loop. stop() may be called from any thread.
  virtual void run() = 0;
  virtual void stop() = 0;
  // Calls `on_signal` on this loop whenever the process receives `signum`. One handler per signal.
  virtual void watch_signal(int signum, std::function<void()> on_signal) = 0;

  // Somebody else's socket, such as a library's.
  enum class Ready : std::uint8_t { Read, Write, Either };
  // Destroying it ends the calls; it has to go before the descriptor is closed, and may go inside of one.
  class Watch {
   public:
    virtual ~Watch() = default;
  };
  // Calls `on_ready` on this loop as long as `fd` is ready for that. One watch at a time per descriptor.
  virtual std::unique_ptr<Watch> watch(int fd, Ready what, std::function<void()> on_ready) = 0;
};

}  // namespace pgweir::net
