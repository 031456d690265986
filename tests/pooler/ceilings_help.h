// tests/pooler/ceilings_help.h - a place whose tenant is held to ceilings.
#pragma once

#include <string>
#include <utility>
#include <vector>

#include "tests/pooler/session_help.h"

namespace pgweir::test {

struct Held : Place {
  explicit Held(tiers::Inspection inspection = tiers::Inspection::Standard) {
    tenant.limits.inspection = inspection;
    set({{"work_mem", "4MB"}, {"statement_timeout", "10s"}, {"temp_buffers", "1MB"}, {"ceiling.jit", "off"}});
    set({{"inject.app.tenant_id", "{tenant}"}});
  }
  void set(const std::vector<std::pair<std::string, std::string>>& fields) {
    for (const auto& [key, value] : fields) REQUIRE(tiers::set_tier_field(tenant.limits, key, value));
    guard.renew();
  }
};

// What a server says that is asked for the values of what is held for the first time, in the order in which
// it is: the timeout first. Outside of a transaction the others are given time behind that, if it is above.
inline std::string first_values(const std::vector<const char*>& values, bool outside = false) {
  std::string out = parsed();
  for (std::size_t i = 0; i < values.size(); ++i) {
    out += bound() + row(values[i]) + done();
    if (i == 0 && outside) out += parsed() + bound() + row("10s") + done();
  }
  return out + ready(outside ? 'I' : 'T');
}

}  // namespace pgweir::test
