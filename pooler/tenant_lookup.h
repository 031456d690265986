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
  bool stored = false;  // the tenant store knows it, and the configuration need not
};

Error no_such_database(const std::string& name);

// Calls `done` on the asking worker's loop: at once where there is no tenant store, else once that has
// answered.
void look_up(Worker& asking, const std::string& tenant, std::function<void(Expected<FoundTenant>)> done);

}  // namespace pgweir
