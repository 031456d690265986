// pooler/tenant_lookup.h - a tenant's record, wherever it comes from: for whoever asks by name and is no
// client.
#pragma once

#include <functional>
#include <string>

#include "pooler/base/error.h"
#include "tiers/tier.h"

namespace pgweir {

class Worker;

struct FoundTenant {
  tiers::Tenant record;
  bool stored = false;    // the tenant store knows it, and the configuration need not
  bool silent = false;    // it cannot be asked
  std::string refused{};  // why its newest row of it is not followed; empty: it is, or there is none
};

Error no_such_database(const std::string& name);

// As it would be served now, also while the tenant store cannot be asked. Calls `done` on the asking worker's
// loop: at once where there is no tenant store, else once that has answered.
void look_up_as_served(Worker& asking, const std::string& tenant,
                       std::function<void(Expected<FoundTenant>)> done);

// The same, but while the store cannot be asked that is the answer.
void look_up(Worker& asking, const std::string& tenant, std::function<void(Expected<FoundTenant>)> done);

}  // namespace pgweir
