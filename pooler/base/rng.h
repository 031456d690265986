// pooler/base/rng.h - chance comes in by the front door, so that a simulated run is repeated by its seed.
#pragma once

#include <cstddef>
#include <cstdint>

namespace pgweir {

// Production draws from the kernel's generator (unpredictable: cancel keys and nonces come from here);
// the simulator from a seed.
class Rng {
 public:
  virtual ~Rng() = default;
  virtual void fill(void* out, std::size_t size) = 0;

  std::uint64_t u64() {
    std::uint64_t value = 0;
    fill(&value, sizeof value);
    return value;
  }
  // Uniform enough for jitter in [0, bound); bound > 0.
  std::uint64_t below(std::uint64_t bound) { return u64() % bound; }
};

}  // namespace pgweir
