#include "pooler/heartbeat.h"

#include <utility>

#include "pooler/base/check.h"

namespace pgweir {

Heartbeat::Heartbeat(std::vector<net::Loop*> loops, Duration interval, std::function<void()> alive)
    : loops_(std::move(loops)),
      interval_(interval),
      alive_(std::move(alive)),
      timer_(this, [](void* self) { static_cast<Heartbeat*>(self)->ask(); }) {
  PGWEIR_CHECK(!loops_.empty() && interval_ > Duration::zero());
  loops_[0]->arm(timer_, loops_[0]->now() + interval_);
}

void Heartbeat::ask() {
  PGWEIR_CHECK(silent_ == 0);
  silent_ = loops_.size();
  for (net::Loop* loop : loops_) loop->post([this] { loops_[0]->post([this] { answered(); }); });
}

void Heartbeat::answered() {
  PGWEIR_CHECK(silent_ > 0);
  if (--silent_ > 0) return;
  alive_();
  loops_[0]->arm(timer_, loops_[0]->now() + interval_);
}

}  // namespace pgweir
