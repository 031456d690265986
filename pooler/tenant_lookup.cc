#include "pooler/tenant_lookup.h"

#include <fmt/format.h>

#include <utility>

#include "pooler/base/quoted.h"
#include "pooler/tier_control.h"
#include "pooler/worker.h"

namespace pgweir {

Error no_such_database(const std::string& name) {
  return {sqlstate::kInvalidCatalogName,
          fmt::format("database {} does not exist", quoted(name)),
          {},
          "SHOW DATABASES lists those that do."};
}

namespace {
Error silent(const std::string& tenant) {
  return {sqlstate::kCannotConnectNow,
          fmt::format("tenant {} cannot be looked up now", quoted(tenant)),
          {},
          "The tenant store does not answer."};
}
}  // namespace

void look_up_as_served(Worker& asking, const std::string& tenant,
                       std::function<void(Expected<FoundTenant>)> done) {
  TierControl* const store = asking.shared().tiers;
  if (!store) {
    auto record = asking.snapshot().tenant(tenant);
    if (!record) return done(tl::unexpected(no_such_database(tenant)));
    return done(FoundTenant{std::move(*record)});
  }
  store->ask(asking.loop(), tenant, [tenant, done = std::move(done)](const TierControl::Answer& is) {
    using Kind = TierControl::Answer::Kind;
    const bool unasked = is.kind == Kind::Unreachable;
    if (is.record) return done(FoundTenant{*is.record, is.kind == Kind::Known, unasked, is.refused});
    if (unasked) return done(tl::unexpected(silent(tenant)));
    done(fail(sqlstate::kInvalidCatalogName, fmt::format("tenant {} does not exist", quoted(tenant)),
              is.refused.empty() ? "Neither the tenant store nor the configuration knows it."
                                 : "The tenant store's row of it was refused: " + is.refused + "."));
  });
}

void look_up(Worker& asking, const std::string& tenant, std::function<void(Expected<FoundTenant>)> done) {
  look_up_as_served(asking, tenant, [tenant, done = std::move(done)](Expected<FoundTenant> found) {
    if (found && found->silent) return done(tl::unexpected(silent(tenant)));
    done(std::move(found));
  });
}

}  // namespace pgweir
