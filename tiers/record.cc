#include "tiers/record.h"

#include <algorithm>
#include <array>
#include <variant>

#include "pooler/base/check.h"
#include "pooler/base/near.h"
#include "pooler/base/quoted.h"

namespace pgweir::tiers {
namespace {

constexpr std::string_view kTierKey = "tier";  // of a tenant; beside the tables

bool is_tier_field(std::string_view key) {
  const auto fields = tier_fields();
  return ceiling_key(key).has_value() ||
         std::any_of(fields.begin(), fields.end(), [&](const TierField& field) { return field.key == key; });
}

bool is_tenant_field(std::string_view key) {
  const auto fields = tenant_fields();
  return key == kTierKey || is_tier_field(key) ||
         std::any_of(fields.begin(), fields.end(),
                     [&](const TenantField& field) { return field.key == key; });
}

// A ceiling above what any tier may have, and floors below, so that only what the row itself says can
// contradict it.
Tier widest() {
  Tier tier;
  for (const TierField& field : tier_fields()) {
    if (field.key == "max_server_connections")
      tier.*std::get<std::uint32_t Tier::*>(field.member) = static_cast<std::uint32_t>(field.most);
    if (field.key == "pool_size" || field.key == "min_server_connections")
      tier.*std::get<std::uint32_t Tier::*>(field.member) = static_cast<std::uint32_t>(field.least);
  }
  return tier;
}

// 0 is no limit.
std::uint32_t rate_of(const Tier& tier) {
  return tier.transactions_per_minute > 0 ? tier.transactions_per_minute : ~0u;
}

// Of these, too.
constexpr std::array kNoneAtZero{&Tier::max_waiting_clients, &Tier::max_client_statements,
                                 &Tier::max_client_statement_bytes};

std::uint32_t count_of(const Tier& tier, std::uint32_t Tier::*field) {
  if (field == &Tier::transactions_per_minute) return rate_of(tier);
  if (field == &Tier::burst)
    return tier.burst > 0 && tier.transactions_per_minute > 0 ? tier.burst : rate_of(tier);
  const bool none = std::find(kNoneAtZero.begin(), kNoneAtZero.end(), field) != kNoneAtZero.end();
  return none && tier.*field == 0 ? ~0u : tier.*field;
}

milliseconds time_of(const Tier& tier, milliseconds Tier::*field) {
  return tier.*field == milliseconds(0) ? milliseconds::max() : tier.*field;
}

// Which way a field is less for its tenant. A word that is neither, and what only the log tells, is the same.
struct Lowers {
  const Tier& from;
  const Tier& to;

  bool operator()(std::uint32_t Tier::*field) const { return count_of(to, field) < count_of(from, field); }
  bool operator()(milliseconds Tier::*field) const {
    return field != &Tier::slow_transaction && time_of(to, field) < time_of(from, field);
  }
  bool operator()(bool Tier::*field) const {
    return field == &Tier::clocks ? to.*field && !(from.*field) : !(to.*field) && from.*field;
  }
  bool operator()(AtCeiling Tier::*field) const { return to.*field < from.*field; }
  bool operator()(AtRate Tier::*field) const { return to.*field < from.*field; }
  bool operator()(Inspection Tier::*field) const { return to.*field > from.*field; }
  bool operator()(PoolMode Tier::*) const { return false; }
  bool operator()(const Ceiling*) const { return false; }  // with those that are no fields: lowers_ceilings()
};

// Whether a session may have any of these words, or this number, no more.
bool lowers_ceiling(std::string_view name, std::string_view from, std::string_view to) {
  for (;;) {
    const std::size_t end = from.find('|');
    if (judge(name, to, from.substr(0, end)).kind != Verdict::Kind::Within) return true;
    if (end == std::string_view::npos) return false;
    from.remove_prefix(end + 1);
  }
}

bool lowers_ceilings(const Ceilings& from, const Ceilings& to) {
  return std::any_of(to.limits.begin(), to.limits.end(), [&](const auto& limit) {
    const auto was = from.limits.find(limit.first);
    return was == from.limits.end() || lowers_ceiling(limit.first, was->second, limit.second);
  });
}

std::uint32_t lower_count(std::uint32_t Tier::*field, std::uint32_t a, std::uint32_t b) {
  const bool none = std::find(kNoneAtZero.begin(), kNoneAtZero.end(), field) != kNoneAtZero.end();
  if (none && (a == 0 || b == 0)) return std::max(a, b);
  return std::min(a, b);
}

}  // namespace

template <class Set>
Expected<Row> Row::checked(const Fields& fields, std::string_view what, Set set) {
  const std::string subject = "a row of a " + std::string(what) + " must have at most ";
  if (fields.size() > kRowFieldsMax)
    return fail(sqlstate::kConfigFileError,
                subject + std::to_string(kRowFieldsMax) + " fields, not " + std::to_string(fields.size()));
  std::size_t bytes = 0, kept = 0;
  for (const auto& [key, value] : fields) bytes += key.size() + value.size();
  if (bytes > kRowBytesMax)
    return fail(sqlstate::kConfigFileError,
                subject + std::to_string(kRowBytesMax) + " bytes, not " + std::to_string(bytes));
  Row row;
  const bool tenant = what == "tenant";
  const auto known = [tenant](std::string_view key) {
    return tenant ? is_tenant_field(key) : is_tier_field(key);
  };
  for (const auto& [key, value] : fields) {
    if (!known(key)) {
      ++row.unknown_;
      continue;
    }
    if (value.find('\0') != std::string::npos)
      return fail(sqlstate::kConfigFileError, key + " must not hold control characters");
    const auto same = [&key = key](const auto& field) { return field.first == key; };
    if (std::count_if(fields.begin(), fields.end(), same) > 1)
      return fail(sqlstate::kConfigFileError, key + " is given twice");
    if (auto good = set(key, value); !good) return tl::unexpected(good.error());
    kept += key.size() + value.size() + 2;
  }
  row.packed_.reserve(kept);
  for (const auto& [key, value] : fields) {
    if (!known(key)) continue;
    row.packed_.append(key).push_back('\0');
    row.packed_.append(value).push_back('\0');
  }
  return row;
}

Expected<Row> Row::of_tier(const Fields& fields) {
  Tier tier = widest();
  auto row = checked(fields, "tier", [&](const std::string& key, const std::string& value) {
    return set_tier_field(tier, key, value);
  });
  if (!row) return row;
  if (auto good = check_tier(tier); !good) return tl::unexpected(good.error());
  return row;
}

Expected<Row> Row::of_tenant(const Fields& fields) {
  Tenant tenant;
  tenant.limits = widest();
  auto row =
      checked(fields, "tenant", [&](const std::string& key, const std::string& value) -> Expected<void> {
        if (key != kTierKey) return set_tenant_field(tenant, key, value);
        if (value.empty() || value.size() > kNameMax)
          return fail(sqlstate::kConfigFileError,
                      "tier must be the name of a tier, of 1 to " + std::to_string(kNameMax) + " bytes");
        return {};
      });
  if (!row) return row;
  if (auto good = check_tier(tenant.limits); !good) return tl::unexpected(good.error());
  return row;
}

template <class Visit>
void Row::each(Visit visit) const {
  std::string_view rest = packed_;
  const auto take = [&rest] {
    const std::size_t end = rest.find('\0');
    PGWEIR_CHECK(end != std::string_view::npos);
    const std::string_view head = rest.substr(0, end);
    rest.remove_prefix(end + 1);
    return head;
  };
  while (!rest.empty()) {
    const std::string_view key = take();
    visit(key, take());
  }
}

std::string_view Row::get(std::string_view key) const {
  std::string_view found;
  each([&](std::string_view name, std::string_view value) {
    if (name == key) found = value;
  });
  return found;
}

Fields Row::fields() const {
  Fields all;
  each([&](std::string_view key, std::string_view value) { all.emplace_back(key, value); });
  return all;
}

Change spelled(const Fields& row, const Change& change) {
  Change exact{change.set, {}};
  for (const auto& [key, value] : row) {
    const std::string name = field_name(key);
    const auto given = [&key = key](const auto& field) { return field.first == key; };
    const auto replaced = [&](const auto& field) { return field_name(field.first) == name; };
    const auto dropped = [&](const std::string& each) { return field_name(each) == name; };
    if (std::any_of(change.drop.begin(), change.drop.end(), dropped) ||
        (std::none_of(change.set.begin(), change.set.end(), given) &&
         std::any_of(change.set.begin(), change.set.end(), replaced)))
      exact.drop.push_back(key);
  }
  return exact;
}

Error no_override(std::string_view tenant, std::string_view key, const Fields& row) {
  std::vector<std::string> has;
  for (const auto& [name, value] : row)
    if (is_tier_field(name)) has.push_back(field_name(name));
  std::sort(has.begin(), has.end());
  std::string list;
  for (const std::string& name : has) list += (list.empty() ? "" : ", ") + name;
  return {sqlstate::kUndefinedObject,
          "tenant " + quoted(tenant) + " has no value of its own for " + std::string(key) +
              did_you_mean(key, has),
          {},
          list.empty() ? "All that it has is its tier's." : "It has its own " + list + "."};
}

Fields with(Fields row, const Change& change) {
  std::erase_if(row, [&](const auto& field) {
    return std::find(change.drop.begin(), change.drop.end(), field.first) != change.drop.end();
  });
  for (const auto& [key, value] : change.set) {
    const auto same = [&key = key](const auto& field) { return field.first == key; };
    if (const auto has = std::find_if(row.begin(), row.end(), same); has != row.end())
      has->second = value;
    else
      row.emplace_back(key, value);
  }
  return row;
}

Expected<void> Row::apply(Tier& tier, std::vector<Lowered>& lowered) const {
  Expected<void> good;
  each([&](std::string_view key, std::string_view value) {
    if (auto set = set_tier_field(tier, key, value); !set && good) good = std::move(set);
  });
  lowered = lower_floors(tier);
  return good;
}

Expected<void> Row::apply(Tenant& tenant) const {
  Expected<void> good;
  each([&](std::string_view key, std::string_view value) {
    if (key == kTierKey) return;
    if (auto set = set_tenant_field(tenant, key, value); !set && good) good = std::move(set);
  });
  tenant.lowered = lower_floors(tenant.limits);
  return good;
}

void follow(Tenant& tenant, const Tenant& newer) {
  tenant.limits = newer.limits;
  tenant.state = newer.state;
  tenant.reason = newer.reason;
  tenant.version = newer.version;
  tenant.stale = newer.stale;
  tenant.revision = newer.revision;
  tenant.overrides = newer.overrides;
  tenant.lowered = newer.lowered;
}

Move move_between(const Tier& from, const Tier& to) {
  if (from == to) return Move::None;
  const auto fields = tier_fields();
  const bool lowers = std::any_of(fields.begin(), fields.end(), [&](const TierField& field) {
    return std::visit(Lowers{from, to}, field.member);
  });
  return lowers || lowers_ceilings(*from.ceilings, *to.ceilings) ? Move::Downgrade : Move::Upgrade;
}

Tier lower_of(Tier a, const Tier& b) {
  const Tier& slower = rate_of(b) < rate_of(a) ? b : a;
  const std::uint32_t per_minute = slower.transactions_per_minute, burst = slower.burst;
  for (const TierField& field : tier_fields())
    if (const auto* const count = std::get_if<std::uint32_t Tier::*>(&field.member))
      a.*(*count) = lower_count(*count, a.*(*count), b.*(*count));
  a.inspection = std::max(a.inspection, b.inspection);
  a.replication = a.replication && b.replication;
  a.transactions_per_minute = per_minute;
  a.burst = burst;
  a.ceilings = stricter_of(*b.ceilings, *a.ceilings);
  return a;
}

bool Row::knows_of_tier(std::string_view key) { return is_tier_field(key); }
bool Row::knows_of_tenant(std::string_view key) { return is_tenant_field(key); }

}  // namespace pgweir::tiers
