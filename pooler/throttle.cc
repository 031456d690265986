#include "pooler/throttle.h"

#include "pooler/base/check.h"
#include "pooler/session.h"

namespace pgweir {

Throttle::Throttle(net::Loop& loop, const tiers::Tier& limits)
    : loop_(loop),
      rate_(limits.transactions_per_minute, limits.burst, loop.now()),
      timer_(this, [](void* self) { static_cast<Throttle*>(self)->serve(); }) {}

Throttle::~Throttle() {
  PGWEIR_CHECK(waiting_.empty());
  loop_.disarm(timer_);
}

void Throttle::change(const tiers::Tier& limits) {
  if (limits.transactions_per_minute == rate_.per_minute() && limits.burst == rate_.burst()) return;
  rate_.change(limits.transactions_per_minute, limits.burst, loop_.now());
  if (!waiting_.empty()) arm();
}

bool Throttle::take() { return open_ || (waiting_.empty() && rate_.take(loop_.now())); }

void Throttle::wait(Session& session) {
  waiting_.push_back(session);
  if (waiting_.size() == 1) arm();
}

void Throttle::leave(Session& session) {
  if (waiting_.has(session)) waiting_.remove(session);
}

void Throttle::arm() { loop_.arm(timer_, rate_.next_at(loop_.now())); }

// A session that is let go may end its transaction at once and stand here again, behind the others.
void Throttle::serve() {
  for (std::size_t left = waiting_.size(); left > 0 && !waiting_.empty(); --left) {
    if (!rate_.take(loop_.now())) break;
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
