// tiers/directory.h - all tenants of the file table, found by the database name that a client asks for.
#pragma once

#include <map>
#include <optional>
#include <set>
#include <string>
#include <string_view>
#include <vector>

#include "pooler/base/error.h"
#include "tiers/tier.h"

namespace pgweir::tiers {

// Immutable once built; shared by all workers. Exact names win over patterns, longer patterns over shorter
// ones.
class Directory {
 public:
  // Adds or replaces. Errors: a name that is empty, too long or has more than one '*' (a tier's: any), fields
  // that contradict each other (check_tier).
  Expected<void> add_tier(Tier tier);
  Expected<void> add_tenant(Tenant tenant);
  const Tier* tier(std::string_view name) const;

  // The record for this database name with '*' resolved (name and, unless the record has one, database are
  // the client's); empty when no tenant matches.
  std::optional<Tenant> find(std::string_view database) const;
  // The name of the row that find() answers from; empty: there is none.
  std::string row_name(std::string_view database) const;
  const std::map<std::string, Tier, std::less<>>& tiers() const { return tiers_; }
  const std::map<std::string, Tenant, std::less<>>& tenants() const { return exact_; }
  const std::vector<Tenant>& patterns() const { return patterns_; }

 private:
  std::map<std::string, Tier, std::less<>> tiers_;
  std::map<std::string, Tenant, std::less<>> exact_;
  std::vector<Tenant> patterns_;  // longest fixed part first
};

// What to answer about a tier that nobody knows; names at most ten of those that there are.
Error no_such_tier(std::string_view name, const std::set<std::string_view>& there_are);

}  // namespace pgweir::tiers
