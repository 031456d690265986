#include "pooler/limit_report.h"

#include <fmt/format.h>

#include <algorithm>
#include <utility>

#include "pooler/group.h"
#include "pooler/session.h"
#include "pooler/worker.h"
#include "tiers/limit.h"

namespace pgweir::console {

namespace {

std::string in_use(const Tenant* tenant, std::string_view key) {
  if (key == "max_clients") return std::to_string(tenant ? tenant->clients : 0);
  if (key == "max_server_connections") return std::to_string(tenant ? tenant->lent : 0);
  if (key == "max_waiting_clients") return std::to_string(tenant ? tenant->waiting : 0);
  if (key == "max_pinned_clients") return std::to_string(tenant ? tenant->pins.pinned() : 0);
  if (key == "transactions_per_minute" && tenant && tenant->throttle)
    return fmt::format("{} may begin now", tenant->throttle->left());
  return {};
}

// Of the client that has most.
struct Statements {
  std::size_t count = 0, bytes = 0;
};
Statements most_statements(const Worker& home, const std::string& tenant) {
  Statements most;
  for (const auto& [id, session] : home.sessions()) {
    if (session->tenant().record.name != tenant) continue;
    most.count = std::max(most.count, session->core().statement_count());
    most.bytes = std::max(most.bytes, session->core().statement_bytes());
  }
  return most;
}

std::string rule_of(const Worker& home, const tiers::Tenant& record, const tiers::TierField& field,
                    bool stored) {
  const std::string& name = record.limits.name;
  if (record.stale)
    return fmt::format(
        "the lower of the tenant's own tier and pool.default_tier {}: the tenant store has told no good row "
        "of it for tenant_store.stale_max",
        name);
  // A configured tenant with values of its own has all others from the configuration's tier.
  const bool follows = stored || record.overrides.empty();
  const tiers::Directory& tiers = follows ? home.known_tiers() : home.snapshot().directory;
  const tiers::Directory::Stored& row = tiers.stored(name);
  const bool own = std::binary_search(record.overrides.begin(), record.overrides.end(), field.key);
  std::vector<tiers::Lowered> lowered = record.lowered;
  if (!own) lowered.insert(lowered.end(), row.lowered.begin(), row.lowered.end());
  for (const tiers::Lowered& each : lowered)
    if (each.field == field.key)
      return fmt::format("max_server_connections, which it must not exceed; else it would be {}",
                         each.wanted);
  if (own)
    return stored ? "override: the tenant's row in the tenant store" : "override: the tenant's own row";
  if (std::binary_search(row.fields.begin(), row.fields.end(), field.key))
    return fmt::format("the tenant store: the row of tier {}", name);
  return fmt::format("tier {}", name);
}

void add_waiting(std::vector<LimitView>& rows, const Worker& home, const Tenant& tenant) {
  const Session* longest = nullptr;
  std::size_t waiting = 0;
  for (const auto& [id, session] : home.sessions()) {
    if (&session->tenant() != &tenant || session->core().state() != SessionCore::State::Waiting) continue;
    ++waiting;
    if (!longest || session->since() < longest->since()) longest = session.get();
  }
  std::string why;
  if (longest) {
    const Error error = longest->why_waiting();
    why = fmt::format("{}: {} {}", error.message, error.detail, error.hint);
  }
  const std::size_t logins = home.logins_waiting(tenant.record.name);
  std::string full;
  if (logins > 0) {
    const Error error = tiers::too_many_clients(tenant.record, tenant.clients, home.known_tiers());
    full = fmt::format("{}: {} {}", error.message, error.detail, error.hint);
  }
  rows.push_back({"logins that wait", std::to_string(logins), "", full});
  rows.push_back({"clients that wait", std::to_string(waiting), "", why});
}

}  // namespace

std::vector<LimitView> limits_of(Worker& home, const FoundTenant& found) {
  const tiers::Tenant& record = found.record;
  const Tenant* const tenant = home.tenants().find(record.name);
  // Without clients it is told of no change.
  const tiers::Tenant& holds = tenant && tenant->clients > 0 ? tenant->record : record;
  std::vector<LimitView> rows;
  const bool active = holds.state == tiers::TenantState::Active;
  rows.push_back({"state", std::string(tiers::name(holds.state)), "", active ? "" : holds.reason});
  if (found.silent)
    rows.push_back(
        {"tenant store", "silent", "", "until it answers, what the configuration says of it holds"});
  if (!found.refused.empty()) rows.push_back({"row of the tenant store", "refused", "", found.refused});
  rows.push_back({"tier", holds.limits.name, "", ""});
  const Statements most = most_statements(home, record.name);
  for (const tiers::TierField& field : tiers::tier_fields())
    rows.push_back({std::string(field.key), tiers::tier_text(holds.limits, field),
                    field.key == "max_client_statements"        ? std::to_string(most.count)
                    : field.key == "max_client_statement_bytes" ? std::to_string(most.bytes)
                                                                : in_use(tenant, field.key),
                    rule_of(home, holds, field, found.stored)});
  const BackendBudget& budget = home.shared().budget(holds.backend);
  rows.push_back({"backend", std::to_string(budget.limit()), std::to_string(budget.used()),
                  fmt::format("backends.{}.max_server_connections, of all its tenants", holds.backend)});
  rows.push_back({"pool.prepared_statement_bytes", std::to_string(home.config().prepared_statement_bytes),
                  std::to_string(tenant ? tenant->statements.bytes() : 0),
                  "the configuration, for each tenant"});
  rows.push_back({"client.max", std::to_string(home.config().max_clients),
                  std::to_string(home.shared().sessions.load()), "the configuration, for all tenants"});
  if (!tenant) return rows;
  if (tenant->is_paused())
    rows.push_back({"paused", "yes", "", "PAUSE or KILL on the console; RESUME ends it"});
  if (tenant->grace.until() != kNever) {
    const Duration left = std::max(Duration(), tenant->grace.until() - home.loop().now());
    rows.push_back({"grace", fmt::format("{}s", std::chrono::ceil<std::chrono::seconds>(left).count()), "",
                    "pool.downgrade_grace: then what is beyond the limits is closed, the newest first; never "
                    "while the tenant store is silent"});
  }
  add_waiting(rows, home, *tenant);
  return rows;
}

void gather_limits(Worker& asking, const std::string& tenant,
                   std::function<void(Expected<std::vector<LimitView>>)> done) {
  look_up_as_served(asking, tenant, [&asking, done = std::move(done)](Expected<FoundTenant> found) {
    if (!found) return done(tl::unexpected(std::move(found.error())));
    Worker& home = asking.home_of(found->record);
    home.loop().post([&home, &asking, found = std::move(*found), done] {
      asking.loop().post([done, rows = limits_of(home, found)] { done(rows); });
    });
  });
}

}  // namespace pgweir::console
