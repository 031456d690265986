// pooler/tier_meter.h - what one worker counts for each tier: how long things took, as they happen, and the
// sums of its tenants, as they are accounted for.
#pragma once

#include <cstdint>

#include "pooler/ceiling_tally.h"
#include "pooler/histogram.h"
#include "pooler/traffic.h"

namespace pgweir {

struct TierMeter {
  Histogram query;        // from the request to the end of its answer
  Histogram transaction;  // how long a server was held for it
  Histogram wait;         // for a server; most find one at once
  Histogram wake;         // of the first client that asked while no server was connected
  Histogram connect;      // of a client: from its connection to its session
  Traffic total;
  CeilingTally ceilings;
  std::uint64_t promotions = 0, demotions = 0;  // of tenants that came to this tier
  std::uint64_t suspensions = 0;                // of its tenants

  TierMeter& operator+=(const TierMeter& other) {
    query += other.query;
    transaction += other.transaction;
    wait += other.wait;
    wake += other.wake;
    connect += other.connect;
    total += other.total;
    add(ceilings, other.ceilings);
    promotions += other.promotions;
    demotions += other.demotions;
    suspensions += other.suspensions;
    return *this;
  }
};

}  // namespace pgweir
