#include "pooler/throttle.h"

#include <algorithm>
#include <utility>

#include "pooler/base/check.h"
#include "pooler/base/planted.h"
#include "pooler/session.h"

namespace pgweir {

Throttle::Throttle(net::Loop& loop, const tiers::Tier& limits, std::string tenant, Fleet* fleet)
    : loop_(loop),
      rate_(limits.transactions_per_minute, limits.burst, loop.now()),
      timer_(this, [](void* self) { static_cast<Throttle*>(self)->serve(); }),
      tenant_(std::move(tenant)),
      fleet_(fleet),
      fleet_timer_(this, [](void* self) { static_cast<Throttle*>(self)->ask_fleet(); }) {
  if (fleet_) share_.emplace(limits.transactions_per_minute, limits.burst);
}

Throttle::~Throttle() {
  PGWEIR_CHECK(waiting_.empty());
  *self_ = nullptr;
  loop_.disarm(timer_);
  loop_.disarm(fleet_timer_);
}

void Throttle::change(const tiers::Tier& limits) {
  if (limits.transactions_per_minute == rate_.per_minute() && limits.burst == rate_.burst()) return;
  rate_.change(limits.transactions_per_minute, limits.burst, loop_.now());
  if (share_) share_->change(limits.transactions_per_minute, limits.burst);
  if (!waiting_.empty()) arm();
}

bool Throttle::take() { return open_ || (waiting_.empty() && begin()); }

bool Throttle::begin() {
  const Time now = loop_.now();
  if (!waiting_.empty() && PGWEIR_PLANTED(IGNORE_RATE)) return true;
  if (PGWEIR_PLANTED(SPEND_TWICE) && !rate_.take(now)) return false;
  if ((share_ && !share_->open()) || !rate_.take(now)) return false;
  if (share_) {
    share_->spend(1, now);
    ask_fleet();
  }
  return true;
}

void Throttle::charge(std::uint64_t transactions) {
  if (transactions == 0) return;
  rate_.charge(transactions, loop_.now());
  if (!share_) return;
  share_->spend(transactions, loop_.now());
  ask_fleet();
}

Duration Throttle::next_in() const {
  const Time now = loop_.now();
  const Time own = rate_.next_at(now);
  return (share_ && !share_->open() ? std::max(own, share_->open_at()) : own) - now;
}

// What the fleet denies is spent, wherever that was.
std::uint32_t Throttle::begun() const {
  const std::uint32_t here = rate_.spent_tokens(loop_.now());
  return share_ && !share_->open() ? std::max(here, rate_.burst()) : here;
}

void Throttle::ask_fleet() {
  if (const auto ask = share_->ask(loop_.now())) {
    fleet_->take_rate(loop_, tenant_, *ask, [self = self_](const std::optional<tiers::FleetGrant>& grant) {
      Throttle* const throttle = *self;
      if (throttle == nullptr) return;
      if (grant)
        throttle->share_->answered(*grant, throttle->loop_.now());
      else
        throttle->share_->failed(throttle->loop_.now());
      throttle->ask_fleet();
      if (!throttle->waiting_.empty()) throttle->serve();
    });
  }
  // A timer that fires too early finds nothing to ask, and is set anew; a transaction does not move it.
  const Time due = share_->ask_at();
  if (due != kNever && (!fleet_timer_.armed() || fleet_timer_.at() > due)) loop_.arm(fleet_timer_, due);
}

void Throttle::wait(Session& session) {
  waiting_.push_back(session);
  if (waiting_.size() == 1) arm();
}

void Throttle::leave(Session& session) {
  if (waiting_.has(session)) waiting_.remove(session);
}

// While the fleet denies it, its next answer serves.
void Throttle::arm() {
  if (!share_ || share_->open()) loop_.arm(timer_, rate_.next_at(loop_.now()));
}

// A session that is let go may end its transaction at once and stand here again, behind the others.
void Throttle::serve() {
  for (std::size_t left = waiting_.size(); left > 0 && !waiting_.empty(); --left) {
    if (!begin()) break;
    Session& session = *waiting_.front();
    waiting_.remove(session);
    session.on_token();
  }
  if (!waiting_.empty()) arm();
}

void Throttle::open() {
  open_ = true;  // who asks while this runs does not stand here again
  while (!waiting_.empty()) {
    Session& session = *waiting_.front();
    waiting_.remove(session);
    session.on_token();
  }
}

}  // namespace pgweir
