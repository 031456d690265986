// pooler/naming.h - which tenant a login means, and what is left of its user name.
#pragma once

#include <string>
#include <string_view>
#include <vector>

#include "conf/config.h"
#include "protocol/startup.h"

namespace pgweir {

// A setting of ours among those for Postgres.
inline constexpr const char* kTenantOption = "pgweir.tenant";

struct Naming {
  std::vector<conf::NamedBy> ways;  // in order; the first that the login has counts
  std::string sni_domain;
};

struct Named {
  std::string tenant;
  std::string user;  // without the tenant's suffix
  bool suffixed = false;
};

// Never fails: without any other name there is the database, which may well name no tenant. `sni` is the host
// that a TLS client asked for.
Named name_tenant(const Naming& naming, const protocol::Startup& startup, std::string_view sni);

}  // namespace pgweir
