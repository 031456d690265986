// pooler/base/check.h - what we believe about our own code, checked in release builds too.
//
// A peer that misbehaves is never a reason for a check: that is an Error. A check that fails means that this
// program is wrong, and going on could hand one client's bytes to another, so it says where and stops.
#pragma once

#include <cstdio>
#include <cstdlib>

namespace pgweir {
[[noreturn]] inline void check_failed(const char* what, const char* file, int line) {
  std::fprintf(stderr, "pgweir: check failed: %s (%s:%d)\n", what, file, line);
  std::abort();
}
}  // namespace pgweir

#define PGWEIR_CHECK(condition) \
  (__builtin_expect(!(condition), 0) ? ::pgweir::check_failed(#condition, __FILE__, __LINE__) : void())
