// pooler/stack_of.h - the stack of another thread of this process, while it stands still.
//
// The thread is interrupted by SIGUSR2 and takes down its own return addresses (backtrace(3)); whatever it
// does goes on afterwards. One caller at a time.
#pragma once

#include <array>
#include <chrono>
#include <cstddef>

#include <sys/types.h>

namespace pgweir {

struct Stack {
  static constexpr std::size_t kDeepest = 64;
  std::array<void*, kDeepest> frames{};
  std::size_t depth = 0;  // 0: it did not answer, as a thread does that the kernel or a debugger keeps

  // Function names as far as they are known, one frame a line. Allocates nothing: the thread that stands
  // still may be in the allocator.
  void write(int fd) const;
};

// Before the first stack_of(): from then on SIGUSR2 has this meaning.
void prepare_stacks();
Stack stack_of(pid_t thread, std::chrono::milliseconds patience);

}  // namespace pgweir
