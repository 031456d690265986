#include "pooler/backend_budget.h"

#include <algorithm>
#include <limits>
#include <utility>

#include "pooler/base/check.h"
#include "pooler/base/planted.h"

namespace pgweir {

namespace {
// A group asks only while it may have more.
Rank rank_among_groups(std::uint32_t held, std::uint32_t floor) {
  return rank_of(held, floor, std::numeric_limits<std::uint32_t>::max());
}
}  // namespace

void BackendBudget::set_limits(std::uint32_t connections, std::uint32_t logins) {
  const std::lock_guard<std::mutex> lock(mutex_);
  limit_.store(connections);
  logins_most_ = logins;
  const std::uint32_t used = used_.load();
  surplus_.store(used > connections ? used - connections : 0);
  hand_out();
}

void BackendBudget::charge(Claimant& group) {
  ++used_;
  ++logins_;
  ++group.held_;
}

void BackendBudget::bill(Claimant& group) {
  if (group.held_ > 0) group.use((now_ - group.billed_at_) * group.held_);
  group.billed_at_ = now_;
}

void BackendBudget::entitle(Claimant& group, Claimant::Entitled entitled) {
  const Duration held = (now_ - group.billed_at_) * group.held_;
  const Duration idle = std::exchange(group.idle_billed_, entitled.idle) - entitled.idle;
  if (held + idle > Duration{}) group.seen_ = now_;
  bill(group);
  group.use(idle);
  group.floor_ = entitled.floor;
  group.set_weight(entitled.weight);
  if (group.queued()) queue_.update(group, rank_among_groups(group.held_, group.floor_));
}

bool BackendBudget::take(Claimant& group, Claimant::Entitled entitled, Time now) {
  const std::lock_guard<std::mutex> lock(mutex_);
  now_ = std::max(now_, now);
  entitle(group, entitled);
  PGWEIR_CHECK(!group.queued());
  if (room()) {
    charge(group);
    return true;
  }
  queue_.enter(group, rank_among_groups(group.held_, group.floor_), now_, group.seen_);
  hand_out();
  return false;
}

bool BackendBudget::withdraw(Claimant& group) {
  const std::lock_guard<std::mutex> lock(mutex_);
  if (!group.queued()) return false;
  queue_.leave(group);
  hand_out();
  return true;
}

void BackendBudget::login_over(Time now) {
  const std::lock_guard<std::mutex> lock(mutex_);
  now_ = std::max(now_, now);
  PGWEIR_CHECK(logins_ > 0);
  --logins_;
  hand_out();
}

void BackendBudget::give_back(Claimant& group, Claimant::Entitled entitled, Time now) {
  const std::lock_guard<std::mutex> lock(mutex_);
  now_ = std::max(now_, now);
  entitle(group, entitled);
  PGWEIR_CHECK(group.held_ > 0);
  --group.held_;
  if (group.queued()) queue_.update(group, rank_among_groups(group.held_, group.floor_));
  one_less();
}

void BackendBudget::decline(Claimant& group, Claimant::Entitled entitled, Time now) {
  login_over(now);
  give_back(group, entitled, now);
}

void BackendBudget::decline(Time now) {
  login_over(now);
  const std::lock_guard<std::mutex> lock(mutex_);
  one_less();
}

bool BackendBudget::take_listener() {
  const std::lock_guard<std::mutex> lock(mutex_);
  if (listeners_ >= limit_.load() / 4 || used_.load() >= limit_.load()) return false;
  ++listeners_;
  ++used_;
  return true;
}

void BackendBudget::give_back_listener(Time now) {
  const std::lock_guard<std::mutex> lock(mutex_);
  now_ = std::max(now_, now);
  --listeners_;
  one_less();
}

bool BackendBudget::gives_up(Claimant& group, Claimant::Entitled entitled, bool wanted, bool run_over,
                             Time now) {
  const std::lock_guard<std::mutex> lock(mutex_);
  now_ = std::max(now_, now);
  PGWEIR_CHECK(group.held_ > 0);
  entitle(group, entitled);
  Share* const first = queue_.first();
  if (!first || coming_ >= queue_.size()) return false;
  const Rank without = rank_among_groups(group.held_ - 1, group.floor_);
  const std::int64_t turn = group.virtual_time() + FairQueue::late(now_);
  if (!pgweir::gives_up(without, turn, wanted, run_over, *first)) return false;
  ++coming_;
  return true;
}

void BackendBudget::reclaimed() {
  const std::lock_guard<std::mutex> lock(mutex_);
  ++coming_;
}

bool BackendBudget::floor_wanted() const {
  const std::lock_guard<std::mutex> lock(mutex_);
  const Share* const first = queue_.first();
  return first && first->rank() == Rank::BelowFloor;
}

void BackendBudget::one_less() {
  const std::uint32_t used = --used_;
  if (used <= limit_.load()) surplus_.store(0);
  if (coming_ > 0) --coming_;
  hand_out();
}

// Only groups queue here.
void BackendBudget::grant(Claimant& group) {
  bill(group);
  group.seen_ = now_;
  queue_.leave(group);
  charge(group);
  group.granted_();
}

void BackendBudget::hand_out() {
  while (room()) {
    Share* const first = queue_.first();
    if (!first) break;
    queue_.served(*first);
    grant(static_cast<Claimant&>(*first));
  }
  if (queue_.first() && used_.load() == limit_.load() && PGWEIR_PLANTED(OVERSPEND))
    grant(static_cast<Claimant&>(*queue_.first()));
  starved_.store(!queue_.empty() && used_.load() >= limit_.load());
}

}  // namespace pgweir
