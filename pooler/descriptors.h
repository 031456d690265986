// pooler/descriptors.h - how many file descriptors a configuration may need.
#pragma once

#include <cstdint>

#include "conf/config.h"
#include "pooler/shared.h"

namespace pgweir {

// Each client and each server takes one.
inline std::uint64_t descriptors_needed(const conf::Config& config) {
  constexpr std::uint64_t kOfOurOwn = 64;
  std::uint64_t needed = kOfOurOwn + std::uint64_t{config.max_clients} + Shared::kSpareLogins;
  for (const conf::Backend& backend : config.backends) needed += backend.max_server_connections;
  return needed;
}

}  // namespace pgweir
