// tiers/difference.h - what has changed of tenants and tiers, in words that an auditor reads. Pure.
#pragma once

#include <string>
#include <vector>

#include "tiers/directory.h"
#include "tiers/record.h"

namespace pgweir::tiers {

// `tier from 'free' to 'pro', work_mem from none to '8MB', password`: secrets by their names only. "new" and
// all that it has, or "gone", where there was or is nothing. Empty: nothing is different.
std::string difference(const Fields& before, const Fields& after);

struct Difference {
  Of of = Of::Tenant;
  std::string name;  // of the tenant, perhaps a pattern, or of the tier
  std::string what;  // as above
};
// Tiers first, each kind in the order of its names. Of a tenant what its own row says, not what its tier
// does.
std::vector<Difference> differences(const Directory& before, const Directory& after);

}  // namespace pgweir::tiers
