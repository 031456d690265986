// tiers/grace.h - until when a tenant may keep what is beyond a plan that has become smaller.
//
// Plans are compared as somebody gave them to the tenant: what a silent store makes of one (Tenant::stale) is
// none, so nothing begins by it, and what comes after it is compared with what was before. Of several lower
// plans the first one's end stays, until a plan comes that is not lower than what was before all of them.
#pragma once

#include <memory>
#include <string>

#include "pooler/base/time.h"
#include "tiers/record.h"

namespace pgweir::tiers {

class Grace {
 public:
  struct Change {
    Move move = Move::None;
    std::string from;  // name of the tier
  };
  // `after` holds from now on and `before` did until now. `length` of 0: what is beyond may stay.
  Change follow(const Tenant& before, const Tenant& after, Time now, Duration length);
  // kNever: nothing is to be closed. It may have passed while the store was silent.
  Time until() const { return until_; }
  void end();

 private:
  std::unique_ptr<const Tier> plan_;  // before the silence that there is now
  std::unique_ptr<const Tier> from_;  // before the first of the lower plans
  Time until_ = kNever;
};

}  // namespace pgweir::tiers
