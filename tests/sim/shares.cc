#include "tests/sim/shares.h"

#include <fmt/format.h>

#include <algorithm>
#include <cmath>
#include <numeric>

namespace pgweir::sim {

namespace {
constexpr double kOff = 0.05;    // from a fair share
constexpr double kInUse = 0.85;  // of the servers' time; the rest is hand-overs, and logins
double seconds_of(Duration time) { return std::chrono::duration<double>(time).count(); }
}  // namespace

void Shares::worked(unsigned tenant, Time since) {
  const Time from = std::max(since, kFrom), until = std::min(world_.now(), kUntil);
  if (from < until) had_.at(tenant) += until - from;
}

void Shares::judge() const {
  switch (stage_.load) {
    case Load::Mixed:
    case Load::Paced:           // Pace does
    case Load::Floors: return;  // a floor is judged by its client, with every answer
    case Load::Weights: return judge_weights();
    case Load::Alone: return judge_alone();
  }
}

void Shares::judge_weights() const {
  const double all = seconds_of(std::accumulate(had_.begin(), had_.end(), Duration{}));
  const double there_was = seconds_of(kUntil - kFrom) * stage_.backend_servers;
  if (all < kInUse * there_was)
    world_.violation(fmt::format("of {:.1f} s of servers {:.1f} s were used", there_was, all));
  const unsigned tenants = stage_.tenants - stage_.onlookers;
  unsigned weights = 0;
  for (unsigned i = 0; i < tenants; ++i) weights += weight_of(i);
  for (unsigned i = 0; i < tenants; ++i) {
    const double fair = all * weight_of(i) / weights, had = seconds_of(had_[i]);
    if (std::abs(had / fair - 1) > kOff)
      world_.violation(fmt::format("tenant{} of weight {} had {:.2f} s of servers instead of {:.2f} s", i,
                                   weight_of(i), had, fair));
  }
}

void Shares::judge_alone() const {
  const unsigned ceiling = std::min(stage_.max_servers, stage_.backend_servers);
  const double most = seconds_of(kUntil - kFrom) * ceiling, had = seconds_of(had_[0]);
  if (had > most || had < kInUse * most)
    world_.violation(fmt::format(
        "alone, with a ceiling of {}, it had {:.2f} s of servers instead of {:.2f} s", ceiling, had, most));
}

}  // namespace pgweir::sim
