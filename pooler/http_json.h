// pooler/http_json.h - the answers of /api/v1 and of the status page. Rows are those of the console's SHOW
// commands, with the same names. Pure, and for helper threads: a list may be long.
#pragma once

#include <cstdint>
#include <deque>
#include <string>
#include <vector>

#include "pooler/base/error.h"
#include "pooler/console_show.h"
#include "pooler/http_api.h"
#include "pooler/metrics.h"

namespace pgweir::http {

// The sums of all tenants at one moment.
struct Moment {
  std::int64_t time_s = 0;  // since 1970
  std::uint64_t clients = 0, waiting = 0, servers = 0;
  Traffic total;
};
Moment moment(const metrics::Sample& sample, std::int64_t time_s);

// What the status page shows, as it was lately.
struct Overview {
  metrics::Sample sample;
  std::vector<console::BackendRow> backends;
  std::deque<Moment> history;  // the oldest first
};

std::string backends_json(const std::vector<console::BackendRow>& rows);
std::string overview_json(const Overview& overview);
std::string version_json();
// `limits`: the rows of SHOW LIMIT, or why there are none.
Response limits_answer(const std::string& tenant, const Expected<std::vector<console::LimitView>>& limits);
// Of calls that need a report: Breakers, Pools, Tenant, Tenants, Tiers, Waiters, Workers.
Response answer(const Call& call, const console::Report& report, const console::Beside& beside);

}  // namespace pgweir::http
