// pooler/base/planted.h - bugs planted on purpose: the simulator must complain about each
// (tests/sim/planted).
//
// PGWEIR_PLANTED(NAME) is the constant false. Only where the build was configured with -DPGWEIR_PLANTS=ON
// does the simulator's --plant NAME make it true, for one bug at a time. It stands last in its condition:
// then who comes to it has come to where the bug matters, and that is told once.
#pragma once

#ifdef PGWEIR_PLANTS

#include <cstdio>
#include <string_view>

namespace pgweir {
struct Plant {
  std::string_view name;
  bool met = false;

  bool is(std::string_view asked, const char* file, int line) {
    if (asked != name) return false;
    if (!met) std::fprintf(stderr, "planted bug met: %s:%d\n", file, line);
    return met = true;
  }
};
inline Plant planted;
}  // namespace pgweir

#define PGWEIR_PLANTED(NAME) ::pgweir::planted.is(#NAME, __FILE__, __LINE__)

#else
#define PGWEIR_PLANTED(NAME) false
#endif
