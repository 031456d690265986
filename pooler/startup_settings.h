// pooler/startup_settings.h - what a tenant's server connections are opened with, and what its clients may
// ask for as they connect.
//
// Equal settings are one object per worker, so "is this server one of this tenant's" is a comparison of
// pointers.
#pragma once

#include <chrono>
#include <map>
#include <memory>
#include <string>
#include <vector>

#include "pooler/base/error.h"
#include "pooler/base/time.h"
#include "pooler/settings.h"
#include "protocol/startup.h"
#include "tiers/tier.h"

namespace pgweir {

using StartupSettings = tiers::Ceilings::Values;
using StartupRef = std::shared_ptr<const StartupSettings>;

class StartupBook {
 public:
  // Those of this record, whose name is the tenant's.
  StartupRef of(const tiers::Tenant& record);

 private:
  void sweep();
  std::map<StartupSettings, std::weak_ptr<const StartupSettings>> known_;
  std::size_t sweep_at_ = 64;
};

// What Postgres of this major version is told of them.
protocol::Settings startup_parameters(const StartupSettings& settings, int version);
// Of the parameter server_version, such as "15.4 (Debian ...)"; 0 where it says none.
int major_version(Bytes server_version);

// How long a server may be idle in a pool and still be lent, where Postgres ends it after `most`: the rest of
// the time is for the way, and for a loop that is late. 0: it is not to be pooled.
inline constexpr std::chrono::milliseconds kIdleMargin{1000}, kPooledIdleLeast{20};
Duration pooled_idle(std::chrono::milliseconds most);

// Takes the place of what a client asked for by what its tenant may have. Names are tiers::parameter_name()s
// or as Postgres reports them. Errors: a value that cannot be compared, or is not the client's to choose;
// where the tier has ceilings, a parameter that nobody knows. `lowered`: the parameters whose values gave
// way.
Expected<void> hold_to_ceilings(SettingsMap::Values& wanted, const tiers::Tenant& record,
                                std::vector<std::string>& lowered);

}  // namespace pgweir
