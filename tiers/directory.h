// tiers/directory.h - all tenants of the file table, found by the database name that a client asks for.
#pragma once

#include <map>
#include <optional>
#include <set>
#include <string>
#include <string_view>
#include <utility>
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

  // Where a tier's values come from, when a tenant store has a row of it; empty: the configuration alone.
  struct Stored {
    std::vector<std::string> fields;  // that hold by the row, by field_name(), in order
    std::vector<Lowered> lowered;
  };
  void note_stored(const std::string& tier, Stored stored) {
    stored_.insert_or_assign(tier, std::move(stored));
  }
  const Stored& stored(std::string_view tier) const;

  // The record for this database name with '*' resolved (name and, unless the record has one, database are
  // the client's); empty when no tenant matches.
  std::optional<Tenant> find(std::string_view database) const;
  // Whether a tenant by another name, no pattern, has this database of a backend.
  bool belongs_to_other(std::string_view database, std::string_view backend) const;
  // The name of the row that find() answers from; empty: there is none.
  std::string row_name(std::string_view database) const;
  const std::map<std::string, Tier, std::less<>>& tiers() const { return tiers_; }
  const std::map<std::string, Tenant, std::less<>>& tenants() const { return exact_; }
  const std::vector<Tenant>& patterns() const { return patterns_; }
  // Names of those that are no patterns.
  const std::set<std::string, std::less<>>& suspended() const { return suspended_; }

 private:
  void count_database(const Tenant& tenant, int more);

  std::map<std::string, Tier, std::less<>> tiers_;
  std::map<std::string, Stored, std::less<>> stored_;
  std::map<std::string, Tenant, std::less<>> exact_;
  std::vector<Tenant> patterns_;  // longest fixed part first
  std::set<std::string, std::less<>> suspended_;
  // How many of exact_ have a database that is not of their name, by that and its backend.
  std::map<std::string, std::map<std::string, int, std::less<>>, std::less<>> databases_;
};

// What to answer about a tier that nobody knows; names at most ten of those that there are.
Error no_such_tier(std::string_view name, const std::set<std::string_view>& there_are);

}  // namespace pgweir::tiers
