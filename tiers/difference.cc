#include "tiers/difference.h"

#include <algorithm>
#include <map>
#include <string_view>
#include <utility>
#include <variant>

#include "pooler/base/quoted.h"

namespace pgweir::tiers {

namespace {

using Values = std::map<std::string, std::string, std::less<>>;  // by field_name()

bool is_secret(std::string_view key) {
  const auto fields = tenant_fields();
  return std::any_of(fields.begin(), fields.end(),
                     [key](const TenantField& field) { return field.secret && field.key == key; });
}

Values values_of(const Fields& fields) {
  Values values;
  for (const auto& [key, value] : fields) values.insert_or_assign(field_name(key), value);
  return values;
}

std::string text_of(const Values& values, std::string_view key) {
  const auto at = values.find(key);
  return at == values.end() ? "none" : quoted(at->second);
}

void add(std::string& list, const std::string& one) { list.append(list.empty() ? "" : ", ").append(one); }

Values values_of(const Tier& tier) {
  Values values;
  for (const TierField& field : tier_fields())
    if (!std::holds_alternative<const Ceiling*>(field.member))
      values.emplace(field.key, tier_text(tier, field));
  const auto take = [&values](CeilingKind kind, const Ceilings::Values& parameters) {
    for (const auto& [name, value] : parameters) values.emplace(field_name(field_of({kind, name})), value);
  };
  take(CeilingKind::Limit, tier.ceilings->limits);
  take(CeilingKind::Injected, tier.ceilings->injected);
  take(CeilingKind::Default, tier.ceilings->defaults);
  return values;
}

Fields fields_of(const Tier& tier) {
  const Values values = values_of(tier);
  return {values.begin(), values.end()};
}

std::string text_of(const Tenant& tenant, const TenantField& field) {
  if (const auto* const text = std::get_if<std::string Tenant::*>(&field.member)) return tenant.*(*text);
  if (const auto* const number = std::get_if<std::uint32_t Tenant::*>(&field.member))
    return tenant.*(*number) == 0 ? "" : std::to_string(tenant.*(*number));
  return tenant.state == TenantState::Active ? "" : std::string(name(tenant.state));
}

Fields fields_of(const Tenant& tenant) {
  Fields fields{{"tier", tenant.limits.name}};
  for (const TenantField& field : tenant_fields())
    if (std::string text = text_of(tenant, field); !text.empty())
      fields.emplace_back(field.key, std::move(text));
  if (tenant.overrides.empty()) return fields;
  const Values limits = values_of(tenant.limits);
  for (const std::string& name : tenant.overrides) {
    const auto at = limits.find(name);
    fields.emplace_back(name, at == limits.end() ? std::string(kNoCeiling) : at->second);
  }
  return fields;
}

template <class Row>
using Rows = std::map<std::string_view, const Row*>;

template <class Row>
void compare(Of of, const Rows<Row>& before, const Rows<Row>& after, std::vector<Difference>& found) {
  const auto note = [&](std::string_view name, const Row* was, const Row* is) {
    if (was && is && *was == *is) return;
    std::string what = difference(was ? fields_of(*was) : Fields(), is ? fields_of(*is) : Fields());
    if (!what.empty()) found.push_back({of, std::string(name), std::move(what)});
  };
  auto was = before.begin();
  auto is = after.begin();
  while (was != before.end() || is != after.end()) {
    const bool gone = is == after.end() || (was != before.end() && was->first < is->first);
    const bool fresh = was == before.end() || (is != after.end() && is->first < was->first);
    note(gone ? was->first : is->first, fresh ? nullptr : was->second, gone ? nullptr : is->second);
    if (!fresh) ++was;
    if (!gone) ++is;
  }
}

Rows<Tier> tiers_of(const Directory& directory) {
  Rows<Tier> rows;
  for (const auto& [name, tier] : directory.tiers()) rows.emplace(name, &tier);
  return rows;
}

Rows<Tenant> tenants_of(const Directory& directory) {
  Rows<Tenant> rows;
  for (const auto& [name, tenant] : directory.tenants()) rows.emplace(name, &tenant);
  for (const Tenant& pattern : directory.patterns()) rows.emplace(pattern.name, &pattern);
  return rows;
}

}  // namespace

std::string difference(const Fields& before, const Fields& after) {
  if (after.empty()) return before.empty() ? "" : "gone";
  const Values was = values_of(before), is = values_of(after);
  std::string list;
  for (const auto& [key, value] : is) {
    const auto at = was.find(key);
    if (at != was.end() && at->second == value) continue;
    if (is_secret(key))
      add(list, key);
    else if (before.empty())
      add(list, key + ' ' + quoted(value));
    else
      add(list, key + " from " + text_of(was, key) + " to " + quoted(value));
  }
  for (const auto& [key, value] : was)
    if (!is.contains(key)) add(list, is_secret(key) ? key : key + " from " + quoted(value) + " to none");
  return before.empty() ? "new: " + list : list;
}

std::vector<Difference> differences(const Directory& before, const Directory& after) {
  std::vector<Difference> found;
  compare(Of::Tier, tiers_of(before), tiers_of(after), found);
  compare(Of::Tenant, tenants_of(before), tenants_of(after), found);
  return found;
}

}  // namespace pgweir::tiers
