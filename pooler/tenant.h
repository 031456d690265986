// pooler/tenant.h - one tenant while it is active: its limits and how much of them is in use.
//
// Lives on the worker that is the home of its database, with all of its sessions; plain counters suffice.
#pragma once

#include <cstdint>
#include <string>

#include "pooler/base/time.h"
#include "tiers/tier.h"

namespace pgweir {

// Totals since the start, as SHOW STATS names them. Times in microseconds.
struct Traffic {
  std::uint64_t assignments = 0;
  std::uint64_t transactions = 0;
  std::uint64_t queries = 0;
  std::uint64_t received = 0;
  std::uint64_t sent = 0;
  std::uint64_t transaction_us = 0;
  std::uint64_t query_us = 0;
  std::uint64_t wait_us = 0;
  std::uint64_t errors = 0;
};

struct Tenant {
  tiers::Tenant record;
  std::uint32_t clients = 0;
  std::uint32_t lent = 0;  // servers that its sessions hold
  Traffic traffic;
};

}  // namespace pgweir
