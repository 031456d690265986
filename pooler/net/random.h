// pooler/net/random.h - the kernel's random numbers, fit for keys and nonces.
#pragma once

#include "pooler/base/rng.h"

namespace pgweir::net {

// Thread-safe. Never fails: it waits for the kernel's pool at boot and stops the program if there is none.
class SystemRng final : public Rng {
 public:
  void fill(void* out, std::size_t size) override;
};

}  // namespace pgweir::net
