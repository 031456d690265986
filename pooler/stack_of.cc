#include "pooler/stack_of.h"

#include <atomic>
#include <cerrno>
#include <csignal>
#include <thread>

#include <execinfo.h>
#include <sys/syscall.h>
#include <unistd.h>

#include "pooler/base/check.h"

namespace pgweir {

namespace {
// A signal's handler is given nothing, so what it fills in stands here.
constexpr int kNone = -1;
std::array<void*, Stack::kDeepest> taken_frames;
std::atomic<int> taken_depth{kNone};
std::atomic<bool> wanted{false};

void take_stack(int) {
  const int before = errno;
  // Nobody asked, or no longer: somebody else sends this signal, or it came late.
  if (wanted.exchange(false))
    taken_depth.store(::backtrace(taken_frames.data(), static_cast<int>(taken_frames.size())));
  errno = before;
}
}  // namespace

void Stack::write(int fd) const { ::backtrace_symbols_fd(frames.data(), static_cast<int>(depth), fd); }

void prepare_stacks() {
  // The first call loads a library, which no handler may.
  void* once[1];
  ::backtrace(once, 1);
  struct sigaction action {};
  action.sa_handler = take_stack;
  action.sa_flags = SA_RESTART;
  sigemptyset(&action.sa_mask);
  PGWEIR_CHECK(::sigaction(SIGUSR2, &action, nullptr) == 0);
}

Stack stack_of(pid_t thread, std::chrono::milliseconds patience) {
  Stack stack;
  taken_depth.store(kNone);
  wanted.store(true);
  if (::syscall(SYS_tgkill, ::getpid(), thread, SIGUSR2) != 0) {
    wanted.store(false);
    return stack;
  }
  constexpr std::chrono::milliseconds kLook{1};
  for (auto waited = kLook; taken_depth.load() == kNone && waited <= patience; waited += kLook)
    std::this_thread::sleep_for(kLook);
  // Had it begun, it is at it: the few microseconds are waited for.
  if (!wanted.exchange(false))
    while (taken_depth.load() == kNone) std::this_thread::yield();
  if (const int depth = taken_depth.load(); depth > 0) {
    stack.frames = taken_frames;
    stack.depth = static_cast<std::size_t>(depth);
  }
  return stack;
}

}  // namespace pgweir
