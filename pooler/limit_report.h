// pooler/limit_report.h - what one tenant may have, which rule says so, how much of it is in use, and why its
// clients wait: the rows of SHOW LIMIT,
// and of /api/v1/limits.
#pragma once

#include <functional>
#include <string>
#include <vector>

#include "pooler/base/error.h"
#include "pooler/console_tables.h"
#include "pooler/tenant_lookup.h"

namespace pgweir {
class Worker;
}

namespace pgweir::console {

// On the thread of the tenant's home. Why clients wait is told by Session::why_waiting, which the notice to
// the client itself is made of, too.
std::vector<LimitView> limits_of(Worker& home, const FoundTenant& found);

// From anywhere: the tenant is looked up and its home asked. `done` comes on the asking worker's loop.
void gather_limits(Worker& asking, const std::string& tenant,
                   std::function<void(Expected<std::vector<LimitView>>)> done);

}  // namespace pgweir::console
