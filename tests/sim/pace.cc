#include "tests/sim/pace.h"

#include <fmt/format.h>

#include <algorithm>

namespace pgweir::sim {

namespace {
constexpr double kPart = 0.01;   // of a token, which is less than rounding makes
constexpr double kInUse = 0.95;  // of what a rate allows: a token waits for who has just been served
constexpr double kMinuteUs = 60e6;
}  // namespace

double Pace::back_in(Duration time) const {
  return static_cast<double>(time.count()) * stage_.per_minute / kMinuteUs;
}

void Pace::answered(unsigned tenant, Time sent) {
  Tenant& one = tenants_.at(tenant);
  --one.under_way;
  one.done.push_back({sent, world_.now()});
  // Every stretch that ends now and begins where one was sent.
  std::vector<Time> starts;
  for (const Done& each : one.done) starts.push_back(each.sent);
  std::sort(starts.begin(), starts.end());
  for (std::size_t i = 0; i < starts.size(); ++i) {
    const double allowed = stage_.burst + back_in(world_.now() - starts[i]);
    const std::size_t begun = starts.size() - i;
    if (static_cast<double>(begun) > allowed + kPart)
      world_.violation(fmt::format("{} transactions of tenant{} began within {} ms, allowed are {:.1f}",
                                   begun, tenant, (world_.now() - starts[i]).count() / 1000, allowed));
  }
}

// As few as there can be, if what was answered began when it was answered, and what is under way just now.
double Pace::left(const Tenant& tenant) const {
  double left = stage_.burst;
  Time at{};
  for (const Done& each : tenant.done) {
    left = std::min<double>(stage_.burst, left + back_in(each.answered - at)) - 1;
    at = each.answered;
  }
  left = std::min<double>(stage_.burst, left + back_in(world_.now() - at));
  return left - static_cast<double>(tenant.under_way);
}

void Pace::refused(unsigned tenant) {
  Tenant& one = tenants_.at(tenant);
  --one.under_way;
  if (const double there = left(one); there > 1 + kPart)
    world_.violation(fmt::format("a transaction of tenant{} was refused, though {:.1f} more might have begun",
                                 tenant, there));
}

void Pace::judge_saturated(Time from, Time until) const {
  for (unsigned i = 0; i < stage_.tenants; ++i) {
    const auto& all = tenants_[i].done;
    const auto within = std::count_if(all.begin(), all.end(), [&](const Done& each) {
      return each.answered >= from && each.answered < until;
    });
    const double allowed = back_in(until - from);
    if (static_cast<double>(within) < kInUse * allowed - 1)
      world_.violation(fmt::format("tenant{} wanted more all the time, and had {} transactions of {:.1f}", i,
                                   within, allowed));
  }
}

}  // namespace pgweir::sim
