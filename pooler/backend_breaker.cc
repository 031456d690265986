#include "pooler/backend_breaker.h"

#include "pooler/backend_hosts.h"

namespace pgweir {

Breaker::Rules breaker_rules(const conf::Backend& backend, conf::milliseconds shortest_retry) {
  return {backend.breaker_failures,  backend.breaker_volume, backend.breaker_window,
          backend.breaker_open_time, shortest_retry,         wants_primary(session_attrs(backend))};
}

std::optional<Breaker::State> NotedBreaker::note(Breaker::Outcome outcome, Time now,
                                                 const std::string& error) {
  const Breaker::State before = core.state();
  core.note(outcome, now);
  if (outcome == Breaker::Outcome::Failed || outcome == Breaker::Outcome::Died) last_error = error;
  if (before == Breaker::State::Closed && core.state() == Breaker::State::Open) {
    opening_failures = core.failures(now);
    opening_volume = core.volume(now);
  }
  return core.state() == before ? std::nullopt : std::optional(core.state());
}

BreakerView NotedBreaker::view(Time now) const {
  return {core.state(),  core.ordered(),   core.failures(now), core.volume(now),
          core.opened(), core.failed(),    rejected,           core.try_at(now, Breaker::Patience::FailsFast),
          last_error,    opening_failures, opening_volume};
}

void BackendBreaker::set_rules(const Breaker::Rules& rules) {
  const std::lock_guard<std::mutex> lock(mutex_);
  noted_.core.set_rules(rules);
}

template <class Step>
BackendBreaker::Change BackendBreaker::change(Step step) {
  const std::lock_guard<std::mutex> lock(mutex_);
  const Breaker::State before = noted_.core.state();
  step(noted_);
  const Breaker::State after = noted_.core.state();
  closed_.store(after == Breaker::State::Closed, std::memory_order_relaxed);
  return after == before ? std::nullopt : Change(after);
}

Time BackendBreaker::try_at(Time now, Breaker::Patience patience) const {
  const std::lock_guard<std::mutex> lock(mutex_);
  return noted_.core.try_at(now, patience);
}

bool BackendBreaker::probes_early() const {
  const std::lock_guard<std::mutex> lock(mutex_);
  return noted_.core.probes_early();
}

std::pair<bool, BackendBreaker::Change> BackendBreaker::begin(Time now, Breaker::Patience patience) {
  if (closed()) return {true, {}};
  bool may = false;
  const Change changed = change([&](NotedBreaker& noted) { may = noted.core.begin(now, patience); });
  return {may, changed};
}

BackendBreaker::Change BackendBreaker::note(Breaker::Outcome outcome, Time now, const std::string& error) {
  return change([&](NotedBreaker& noted) {
    if (outcome == Breaker::Outcome::Worked || outcome == Breaker::Outcome::Answered) died_.clear();
    noted.note(outcome, now, error);
  });
}

BackendBreaker::Change BackendBreaker::died(const std::string& database, Time now, const std::string& error) {
  return change([&](NotedBreaker& noted) {
    if (died_.insert(database).second) noted.note(Breaker::Outcome::Died, now, error);
  });
}

BackendBreaker::Change BackendBreaker::order(Breaker::Order order, Time now) {
  return change([&](NotedBreaker& noted) { noted.core.order(order, now); });
}

BackendBreaker::Change BackendBreaker::begin_anew(Time now) {
  return change([&](NotedBreaker& noted) {
    if (noted.core.ordered() == Breaker::Order::Auto) noted.core.order(Breaker::Order::Auto, now);
  });
}

BreakerView BackendBreaker::view(Time now) const {
  const std::lock_guard<std::mutex> lock(mutex_);
  BreakerView view = noted_.view(now);
  view.rejected = rejected_.load(std::memory_order_relaxed);
  return view;
}

}  // namespace pgweir
