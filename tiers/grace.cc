#include "tiers/grace.h"

#include <utility>

namespace pgweir::tiers {

Grace::Change Grace::follow(const Tenant& before, const Tenant& after, Time now, Duration length) {
  const Change holds{move_between(before.limits, after.limits), before.limits.name};
  if (after.stale) {
    if (!before.stale) plan_ = std::make_unique<const Tier>(before.limits);
    return holds;
  }
  const auto kept = std::exchange(plan_, nullptr);
  const Tier& was = kept && before.stale ? *kept : before.limits;
  const Move move = move_between(was, after.limits);
  if (from_) {
    if (move_between(*from_, after.limits) != Move::Downgrade) end();
  } else if (move == Move::Downgrade && length.count() > 0) {
    from_ = std::make_unique<const Tier>(was);
    until_ = now + length;
  }
  // Back to the same plan, more holds than did in the silence.
  return move == Move::None ? holds : Change{move, was.name};
}

void Grace::end() {
  from_.reset();
  until_ = kNever;
}

}  // namespace pgweir::tiers
