#include "pooler/scheduler.h"

#include <algorithm>
#include <tuple>

#include "pooler/base/check.h"
#include "pooler/base/planted.h"

namespace pgweir {

namespace {
constexpr std::int64_t kUnit = 1024;  // virtual time of a microsecond at weight 1

std::int64_t virtual_of(Duration used, std::uint32_t weight) { return used.count() * kUnit / weight; }
}  // namespace

Rank rank_of(std::uint32_t held, std::uint32_t floor, std::uint32_t ceiling) {
  if (PGWEIR_PLANTED(IGNORE_FLOOR)) floor = 0;
  if (held >= ceiling) return Rank::AtCeiling;
  return held < floor ? Rank::BelowFloor : Rank::AboveFloor;
}

bool Share::Place::operator<(const Place& other) const {
  return std::tie(rank, turn, order) < std::tie(other.rank, other.turn, other.order);
}

std::int64_t Share::bill() {
  if (weight_ == 1 && PGWEIR_PLANTED(SKEW_SHARES)) unbilled_ = unbilled_ * 9 / 10;
  virtual_time_ += virtual_of(unbilled_, PGWEIR_PLANTED(IGNORE_WEIGHT) ? 1 : weight_);
  unbilled_ = {};
  return virtual_time_;
}

void Share::set_weight(std::uint32_t weight) {
  PGWEIR_CHECK(weight > 0);
  if (weight == weight_) return;
  bill();
  weight_ = weight;
}

std::int64_t FairQueue::late(Time since) { return virtual_of(since.time_since_epoch(), 1) / kWaitedPerUsed; }

void FairQueue::enter(Share& share, Rank rank) {
  share.late_ = 0;
  put(share, rank, kRemembered);
}

void FairQueue::enter(Share& share, Rank rank, Time now, Time seen) {
  share.late_ = late(now);
  share.bill();
  const std::int64_t more = std::max<std::int64_t>(share.virtual_time_ - clock_, 0);
  share.virtual_time_ -= std::min(more, late(now) - late(seen));
  put(share, rank, now - seen > kAway ? Duration{} : kBehind);
}

void FairQueue::put(Share& share, Rank rank, Duration credit) {
  PGWEIR_CHECK(!share.queued());
  share.bill();
  // Who is new has no past to be given credit for.
  share.virtual_time_ =
      std::clamp(share.virtual_time_, clock_ - (share.known_ ? virtual_of(credit, share.weight_) : 0),
                 clock_ + virtual_of(kRemembered, share.weight_));
  share.known_ = true;
  share.place_ = places_.insert({rank, share.virtual_time_ + share.late_, ++order_, &share}).first;
}

void FairQueue::leave(Share& share) {
  PGWEIR_CHECK(share.queued());
  places_.erase(*share.place_);
  share.place_.reset();
}

void FairQueue::update(Share& share, Rank rank) {
  PGWEIR_CHECK(share.queued());
  const std::int64_t turn = share.bill() + share.late_;
  const auto place = *share.place_;
  if (place->rank == rank && place->turn == turn) return;
  // Often it stays where it is, and alone it does so always.
  const Share::Place moved{rank, turn, place->order, &share};
  const auto next = std::next(place);
  const bool stays =
      (next == places_.end() || moved < *next) && (place == places_.begin() || *std::prev(place) < moved);
  if (!stays) {
    auto node = places_.extract(place);
    node.value() = moved;
    share.place_ = places_.insert(std::move(node)).position;
    return;
  }
  place->rank = rank;
  place->turn = turn;
}

Share* FairQueue::at(std::set<Share::Place>::iterator place) const {
  return place == places_.end() || place->rank == Rank::AtCeiling ? nullptr : place->share;
}

Share* FairQueue::first() const { return at(places_.begin()); }

Share* FairQueue::after(const Share& share) const { return at(std::next(*share.place_)); }

void FairQueue::served(Share& share) {
  // Those below their floor are served whatever they have used: the clock goes by the others, if there are
  // any.
  const auto above = places_.lower_bound({Rank::AboveFloor, INT64_MIN, 0, nullptr});
  const bool any = above != places_.end() && above->rank == Rank::AboveFloor;
  const Share& by = any ? *above->share : share;
  clock_ = std::max(clock_, (*by.place_)->turn - by.late_);
}

bool gives_up(Rank without, std::int64_t turn, bool wanted, bool run_over, const Share& first) {
  if (!wanted) return without != Rank::BelowFloor || first.rank() == Rank::BelowFloor;
  if (first.rank() != without && !PGWEIR_PLANTED(FINISH_RUN)) return first.rank() < without;
  return run_over && first.turn() < turn;
}

}  // namespace pgweir
