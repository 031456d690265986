#include "tiers/directory.h"

#include <algorithm>
#include <iterator>
#include <utility>

#include "pooler/base/check.h"
#include "pooler/base/near.h"
#include "pooler/base/quoted.h"

namespace pgweir::tiers {
namespace {

Expected<void> check_name(std::string_view name, std::string_view what) {
  const std::string subject = "name of a " + std::string(what) + " ";
  if (name.empty()) return fail(sqlstate::kConfigFileError, subject + "must not be empty");
  if (name.size() <= kNameMax) return {};
  return fail(sqlstate::kConfigFileError, subject + quoted(name) + " must have at most " +
                                              std::to_string(kNameMax) + " bytes, not " +
                                              std::to_string(name.size()));
}

// What '*' takes when the pattern matches the name.
std::optional<std::string_view> match(std::string_view pattern, std::string_view name) {
  const std::size_t star = pattern.find('*');
  PGWEIR_CHECK(star != std::string_view::npos);
  const std::string_view head = pattern.substr(0, star), tail = pattern.substr(star + 1);
  if (name.size() < head.size() + tail.size() || !name.starts_with(head) || !name.ends_with(tail)) return {};
  return name.substr(head.size(), name.size() - head.size() - tail.size());
}

// A total order, so that the answer does not depend on the order of the file.
bool before(const Tenant& a, const Tenant& b) {
  return a.name.size() != b.name.size() ? a.name.size() > b.name.size() : a.name < b.name;
}

}  // namespace

Expected<void> Directory::add_tier(Tier tier) {
  if (auto good = check_name(tier.name, "tier"); !good) return good;
  if (tier.name.find('*') != std::string::npos) {
    return fail(sqlstate::kConfigFileError, "name of a tier " + quoted(tier.name) + " must not hold '*'");
  }
  if (auto good = check_tier(tier); !good) return good;
  std::string name = tier.name;
  tiers_.insert_or_assign(std::move(name), std::move(tier));
  return {};
}

Expected<void> Directory::add_tenant(Tenant tenant) {
  if (auto good = check_name(tenant.name, "tenant"); !good) return good;
  if (auto good = check_tier(tenant.limits); !good) return good;
  const auto stars = std::count(tenant.name.begin(), tenant.name.end(), '*');
  if (stars > 1) {
    return fail(sqlstate::kConfigFileError, "name of a tenant " + quoted(tenant.name) +
                                                " must hold at most one '*', not " + std::to_string(stars));
  }
  if (std::count(tenant.database.begin(), tenant.database.end(), '*') > stars) {
    return fail(sqlstate::kConfigFileError, "database " + quoted(tenant.database) +
                                                " must not hold more '*' than the tenant's name " +
                                                quoted(tenant.name));
  }
  if (stars == 0) {
    std::string name = tenant.name;
    suspended_.erase(name);
    if (tenant.state == TenantState::Suspended) suspended_.insert(name);
    if (const auto former = exact_.find(name); former != exact_.end()) count_database(former->second, -1);
    count_database(tenant, 1);
    exact_.insert_or_assign(std::move(name), std::move(tenant));
    return {};
  }
  const auto at = std::lower_bound(patterns_.begin(), patterns_.end(), tenant, before);
  if (at != patterns_.end() && at->name == tenant.name) {
    *at = std::move(tenant);
  } else {
    patterns_.insert(at, std::move(tenant));
  }
  return {};
}

void Directory::count_database(const Tenant& tenant, int more) {
  if (tenant.database.empty() || tenant.database == tenant.name) return;
  auto& backends = databases_[tenant.database];
  const auto place = backends.try_emplace(tenant.backend).first;
  if ((place->second += more) == 0) backends.erase(place);
  if (backends.empty()) databases_.erase(tenant.database);
}

bool Directory::belongs_to_other(std::string_view database, std::string_view backend) const {
  const auto place = databases_.find(database);
  return place != databases_.end() && place->second.contains(backend);
}

const Tier* Directory::tier(std::string_view name) const {
  const auto at = tiers_.find(name);
  return at == tiers_.end() ? nullptr : &at->second;
}

const Directory::Stored& Directory::stored(std::string_view tier) const {
  static const Stored none;
  const auto at = stored_.find(tier);
  return at == stored_.end() ? none : at->second;
}

std::optional<Tenant> Directory::find(std::string_view database) const {
  if (const auto at = exact_.find(database); at != exact_.end()) {
    Tenant found = at->second;
    if (found.database.empty()) found.database = database;
    return found;
  }
  for (const Tenant& pattern : patterns_) {
    const auto taken = match(pattern.name, database);
    if (!taken) continue;
    Tenant found = pattern;
    found.name = database;
    if (found.database.empty()) {
      found.database = database;
    } else if (const auto star = found.database.find('*'); star != std::string::npos) {
      found.database.replace(star, 1, *taken);
    }
    return found;
  }
  return {};
}

std::string Directory::row_name(std::string_view database) const {
  if (exact_.find(database) != exact_.end()) return std::string(database);
  for (const Tenant& pattern : patterns_)
    if (match(pattern.name, database)) return pattern.name;
  return {};
}

Error no_such_tier(std::string_view name, const std::set<std::string_view>& there_are) {
  constexpr std::size_t kListed = 10;
  std::string list;
  for (auto each = there_are.begin(); each != there_are.end(); ++each) {
    if (std::distance(there_are.begin(), each) == kListed) {
      list += " and " + std::to_string(there_are.size() - kListed) + " more";
      break;
    }
    list += (list.empty() ? "" : ", ") + std::string(*each);
  }
  return {sqlstate::kUndefinedObject,
          "no tier is named " + quoted(name) + did_you_mean(name, there_are),
          {},
          "There are " + list + "."};
}

}  // namespace pgweir::tiers
