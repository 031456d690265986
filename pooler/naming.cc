#include "pooler/naming.h"

#include <algorithm>
#include <optional>

namespace pgweir {

namespace {

char lower(char c) { return c >= 'A' && c <= 'Z' ? static_cast<char>(c | 0x20) : c; }

bool same_word(std::string_view a, std::string_view b) {
  return std::equal(a.begin(), a.end(), b.begin(), b.end(),
                    [](char x, char y) { return lower(x) == lower(y); });
}

std::optional<std::string> by_option(const protocol::Settings& settings) {
  for (const auto& [name, value] : settings)
    if (same_word(name, kTenantOption) && !value.empty()) return value;
  return {};
}

// Host names know no case, so the tenant is taken in lower case.
std::optional<std::string> by_sni(std::string_view host, std::string_view domain) {
  if (domain.empty() || host.size() <= domain.size() + 1) return {};
  const std::string_view head = host.substr(0, host.size() - domain.size() - 1);
  if (host[head.size()] != '.' || !same_word(host.substr(head.size() + 1), domain)) return {};
  std::string tenant(head);
  std::transform(tenant.begin(), tenant.end(), tenant.begin(), lower);
  return tenant;
}

// The last dot parts them: tenants have none in their names where users may.
bool by_user(const std::string& user, Named& named) {
  const std::size_t dot = user.rfind('.');
  if (dot == std::string::npos || dot == 0 || dot + 1 == user.size()) return false;
  named = {user.substr(dot + 1), user.substr(0, dot), true};
  return true;
}

}  // namespace

Named name_tenant(const Naming& naming, const protocol::Startup& startup, std::string_view sni) {
  Named named{startup.database, startup.user, false};
  for (const conf::NamedBy way : naming.ways) {
    std::optional<std::string> tenant;
    switch (way) {
      case conf::NamedBy::Database: return named;
      case conf::NamedBy::Option: tenant = by_option(startup.settings); break;
      case conf::NamedBy::Sni: tenant = by_sni(sni, naming.sni_domain); break;
      case conf::NamedBy::User:
        if (by_user(startup.user, named)) return named;
        break;
    }
    if (!tenant) continue;
    named.tenant = std::move(*tenant);
    return named;
  }
  // None of the ways that are allowed: an empty name is nobody's.
  named.tenant.clear();
  return named;
}

}  // namespace pgweir
