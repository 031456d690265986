// pooler/make_store.h - the store of tenants that the configuration names.
#pragma once

#include <memory>

#include "pooler/base/log.h"
#include "pooler/base/rng.h"
#include "pooler/net/uv_loop.h"
#include "pooler/snapshot.h"
#include "pooler/tier_store.h"

namespace pgweir {

// It has one (tenant_store.kind is not file). All that is given outlives the store.
std::unique_ptr<TierStore> make_store(const Snapshot& snapshot, net::UvLoop& loop, Rng& rng, Log& log,
                                      TierStore::Listener& listener);

}  // namespace pgweir
