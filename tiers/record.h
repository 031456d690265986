// tiers/record.h - one row of a tenant store: fields as a Redis hash or a table has them, checked once and
// kept small.
//
// Whoever fills the store is believed in nothing (R12): number of fields and bytes are bounded, a wrong value
// refuses the whole row, unknown fields are counted and dropped. Reasons name the key and what is allowed,
// never a secret.
#pragma once

#include <cstddef>
#include <cstdint>
#include <string>
#include <string_view>
#include <utility>
#include <vector>

#include "pooler/base/error.h"
#include "tiers/tier.h"

namespace pgweir::tiers {

using Fields = std::vector<std::pair<std::string, std::string>>;

inline constexpr std::size_t kRowFieldsMax = 128;
inline constexpr std::size_t kRowBytesMax = 16 << 10;  // keys and values together

enum class Of : std::uint8_t { Tenant, Tier };

// A row whose known fields are right, each by itself and those of a pair together. 100,000 of them are kept,
// so it is one string.
class Row {
 public:
  static Expected<Row> of_tier(const Fields& fields);
  static Expected<Row> of_tenant(const Fields& fields);

  bool empty() const { return packed_.empty(); }
  std::size_t bytes() const { return packed_.capacity(); }
  // The value of a field, empty if it has none.
  std::string_view get(std::string_view key) const;
  // Without the fields that nobody knows.
  Fields fields() const;
  // Over what `tier` says already; floors that exceed the ceiling afterwards are lowered to it, and come in
  // `lowered`. The error is of the first field that does not fit to what is there; it is left out, all others
  // are set.
  Expected<void> apply(Tier& tier, std::vector<Lowered>& lowered) const;
  // As above; `tenant.limits` is its tier already. Sets `tenant.lowered`.
  Expected<void> apply(Tenant& tenant) const;
  std::uint32_t unknown_fields() const { return unknown_; }
  static bool knows_of_tier(std::string_view key);
  static bool knows_of_tenant(std::string_view key);

  friend bool operator==(const Row& a, const Row& b) { return a.packed_ == b.packed_; }

 private:
  template <class Set>
  static Expected<Row> checked(const Fields& fields, std::string_view what, Set set);
  template <class Visit>
  void each(Visit visit) const;

  std::string packed_;  // key NUL value NUL ..., known fields only
  std::uint32_t unknown_ = 0;
};

// What is to be different in a row.
struct Change {
  Fields set{};                     // changed or added
  std::vector<std::string> drop{};  // keys of fields of a tier, which are the tenant's own no more
  bool empty() const { return set.empty() && drop.empty(); }
};
// The same, in the spelling that fields of a tier have in this row: of each there is one at most afterwards.
Change spelled(const Fields& row, const Change& change);
// What to answer to who drops a field that the row does not have.
Error no_override(std::string_view tenant, std::string_view key, const Fields& row);
// The row behind it.
Fields with(Fields row, const Change& change);

// Neither is above the other: counts are the lower ones, all else is a's.
Tier lower_of(Tier a, const Tier& b);

// What may change under a tenant's connected clients: limits and state. Where they are connected to stays.
void follow(Tenant& tenant, const Tenant& newer);

// What a change of limits is to the tenant: with any field that gives it less than before a downgrade, be it
// a count, a time, a ceiling or what happens at a limit; a name alone is an upgrade.
enum class Move : std::uint8_t { None, Upgrade, Downgrade };
Move move_between(const Tier& from, const Tier& to);

}  // namespace pgweir::tiers
