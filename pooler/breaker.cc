#include "pooler/breaker.h"

#include <algorithm>

#include "pooler/base/check.h"
#include "pooler/base/planted.h"
#include "pooler/retry.h"

namespace pgweir {

void Breaker::set_rules(const Rules& rules) {
  // Buckets of another length cannot be told apart from these.
  if (rules.window != rules_.window) buckets_ = {};
  rules_ = rules;
  PGWEIR_CHECK(bucket_length() > Duration::zero());
}

Breaker::State Breaker::state() const {
  switch (order_) {
    case Order::Auto: return state_;
    case Order::Open: return State::Open;
    case Order::Close: return State::Closed;
  }
  return state_;
}

Time Breaker::try_at(Time now, Patience patience) const {
  if (order_ == Order::Open) return kNever;
  if (state() == State::Closed) return now;
  const bool waits = patience == Patience::Waits || rules_.hosts_change;
  return waits ? patient_try_at() : hasty_try_at();
}

Time Breaker::patient_try_at() const {
  return state() == State::HalfOpen ? probe_at_ + kProbePatience : waits_until_;
}
Time Breaker::hasty_try_at() const {
  return state() == State::HalfOpen ? probe_at_ + rules_.open_time : open_until_;
}

bool Breaker::begin(Time now, Patience patience) {
  if (try_at(now, patience) > now) return false;
  if (state() == State::Closed) return true;
  early_ = rules_.hosts_change && hasty_try_at() > now;
  state_ = State::HalfOpen;
  probe_at_ = now;
  return true;
}

void Breaker::note(Outcome outcome, Time now) {
  switch (outcome) {
    case Outcome::Worked:
    case Outcome::Answered:
      down_since_ = kNever;
      for (Bucket& each : buckets_) each.dead = 0;
      if (state_ != State::Closed) close();
      if (outcome == Outcome::Worked) ++bucket(now).good;
      return;
    case Outcome::Failed: ++bucket(now).bad; return fail(now);
    case Outcome::Died:
      ++bucket(now).dead;
      // Those that were connected before may die one by one: that says nothing new.
      if (state_ == State::Closed) return fail(now);
      ++failed_;
      return;
    case Outcome::Nothing:
      if (state_ == State::HalfOpen) open(now);
      return;
  }
}

void Breaker::fail(Time now) {
  ++failed_;
  if (down_since_ == kNever) down_since_ = now;
  if (state_ != State::Closed) return open(now);
  if (order_ != Order::Auto || rules_.failures_percent == 0) return;
  const Bucket all = count(now);
  const std::uint64_t volume = std::uint64_t{all.good} + all.bad;
  if (volume < rules_.least_volume || all.bad * std::uint64_t{100} < rules_.failures_percent * volume) return;
  ++opened_;
  open(now);
}

void Breaker::open(Time now) {
  state_ = State::Open;
  const auto jitter_most = static_cast<std::uint64_t>(rules_.open_time.count() / kJitterPart);
  open_until_ = now + rules_.open_time + Duration(static_cast<std::int64_t>(dice() % (jitter_most + 1)));
  const Duration down_for = down_since_ == kNever ? Duration::zero() : now - down_since_;
  waits_until_ = std::min(open_until_, now + retry_pause(down_for, rules_.shortest_retry, dice()));
  if (PGWEIR_PLANTED(NO_PATIENCE)) waits_until_ = open_until_;
}

void Breaker::close() {
  state_ = State::Closed;
  buckets_ = {};
}

void Breaker::order(Order order, Time now) {
  if (order == Order::Open && order_ != Order::Open && state() == State::Closed) ++opened_;
  order_ = order;
  if (order == Order::Open) return open(now);
  close();
  down_since_ = kNever;
}

Breaker::Bucket& Breaker::bucket(Time now) {
  const std::int64_t number = now.time_since_epoch() / bucket_length();
  Bucket& place = buckets_[static_cast<std::size_t>(number) % kBuckets];
  if (place.number != number) place = {.number = number};
  return place;
}

// Those that have died are among the bad ones.
Breaker::Bucket Breaker::count(Time now) const {
  const std::int64_t number = now.time_since_epoch() / bucket_length();
  Bucket sum;
  for (const Bucket& each : buckets_) {
    if (each.number <= number - static_cast<std::int64_t>(kBuckets) || each.number > number) continue;
    sum.good += each.good;
    sum.bad += each.bad + each.dead;
  }
  return sum;
}

std::uint32_t Breaker::volume(Time now) const {
  const Bucket all = count(now);
  return all.good + all.bad;
}

bool Breaker::quiet(Time now) const {
  return order_ == Order::Auto && volume(now) == 0 && (state_ == State::Closed || now >= open_until_);
}

// splitmix64
std::uint64_t Breaker::dice() {
  std::uint64_t mixed = chance_ += 0x9e3779b97f4a7c15U;
  mixed = (mixed ^ (mixed >> 30)) * 0xbf58476d1ce4e5b9U;
  mixed = (mixed ^ (mixed >> 27)) * 0x94d049bb133111ebU;
  return mixed ^ (mixed >> 31);
}

}  // namespace pgweir
