#include "pooler/backend_gate.h"

#include <fmt/format.h>

#include <algorithm>

#include "pooler/base/check.h"
#include "pooler/base/quoted.h"
#include "pooler/worker.h"

namespace pgweir {

namespace {
using Outcome = Breaker::Outcome;
using State = Breaker::State;

// Without a database it is that of the backend.
void log_change(Worker& worker, const BreakerView& view, State state, const std::string& backend,
                const std::string& database = {}, const std::string& user = {}) {
  const Log::Fields fields = {{"backend", backend}, {"database", database},
                              {"user", user},       {"failures", view.failures},
                              {"of", view.volume},  {"error", view.last_error}};
  switch (state) {
    case State::Closed: return worker.log().info("breaker closed", fields);
    case State::HalfOpen: return worker.log().info("breaker half-open", fields);
    case State::Open: return worker.log().warn("breaker opened", fields);
  }
}
}  // namespace

BackendGate::BackendGate(Worker& worker, const GroupKey& key)
    : worker_(worker), key_(key), backend_(worker.shared().breaker(key.backend)) {
  own_ = worker.breakers().find(key);
  if (!own_) own_ = std::make_shared<NotedBreaker>(worker.rng().u64());
  take_rules();
  const Breaker::Order ordered = worker.breaker_orders().of(key.backend, key.database);
  if (ordered != own_->core.ordered()) order(ordered);
}

void BackendGate::take_rules() {
  if (const BackendView* backend = worker_.snapshot().backend(key_.backend))
    own_->core.set_rules(breaker_rules(backend->settings, worker_.config().server_login_retry));
}

bool BackendGate::shut() const {
  return own_->core.ordered() == Breaker::Order::Open ||
         backend_.view(worker_.loop().now()).ordered == Breaker::Order::Open;
}

Time BackendGate::try_at(Breaker::Patience patience) const {
  const Time now = worker_.loop().now();
  const Time backend = backend_.closed() ? now : backend_.try_at(now, patience);
  return std::max(backend, own_->core.try_at(now, patience));
}

bool BackendGate::begin(Breaker::Patience patience) {
  const Time now = worker_.loop().now();
  if (own_->core.try_at(now, patience) > now) return false;
  const auto [may, changed] = backend_.begin(now, patience);
  if (changed) tell_breaker(worker_, key_.backend, *changed);
  if (!may) return false;
  const State before = own_->core.state();
  PGWEIR_CHECK(own_->core.begin(now, patience));
  if (own_->core.state() != before) own_changed(own_->core.state());
  return true;
}

void BackendGate::login_worked() {
  note_backend(Outcome::Worked, {});
  note_own(Outcome::Worked, {});
}

void BackendGate::login_failed(const Error& error, Teller teller, Stage stage) {
  const LoginVerdict verdict = login_verdict(error, teller, stage);
  note_backend(verdict.backend, error.message);
  note_own(verdict.scope, error.message);
}

void BackendGate::login_given_up() {
  if (!rationed()) return;
  note_backend(Outcome::Nothing, {});
  note_own(Outcome::Nothing, {});
}

void BackendGate::server_died(const std::string& why) {
  const auto changed = backend_.died(key_.database, worker_.loop().now(), why);
  if (changed) tell_breaker(worker_, key_.backend, *changed);
  note_own(Outcome::Died, why);
}

void BackendGate::begin_anew() {
  if (own_->core.ordered() == Breaker::Order::Auto) order(Breaker::Order::Auto);
}

void BackendGate::order(Breaker::Order order) {
  const State before = own_->core.state();
  own_->core.order(order, worker_.loop().now());
  if (order != Breaker::Order::Auto) worker_.breakers().keep(key_, own_, worker_.loop().now());
  if (own_->core.state() != before) own_changed(own_->core.state());
}

void BackendGate::backend_moved() {
  if (const auto changed = backend_.begin_anew(worker_.loop().now()))
    tell_breaker(worker_, key_.backend, *changed);
}

void BackendGate::count_rejected() {
  backend_.count_rejected();
  if (own_->core.state() != State::Closed) ++own_->rejected;
}

Error BackendGate::refusal() const {
  const Time now = worker_.loop().now();
  const bool of_all = !backend_.closed();
  const BreakerView view = of_all ? backend_.view(now) : own_->view(now);
  const std::string whose = of_all ? fmt::format("backend {}", quoted(key_.backend))
                                   : fmt::format("database {}, user {} on backend {}", quoted(key_.database),
                                                 quoted(key_.user), quoted(key_.backend));
  Error error{sqlstate::kCannotConnectNow, fmt::format("{}: its circuit breaker is open", whose), {}, {}};
  if (view.ordered == Breaker::Order::Open) {
    error.detail = "An administrator has opened it.";
    error.hint = "Try again later; BREAKER CLOSE or BREAKER AUTO on the console ends it.";
    return error;
  }
  error.detail = fmt::format("{} of the last {} logins and servers have failed, the last one with: {}",
                             view.opening_failures, view.opening_volume, view.last_error);
  const double left = static_cast<double>(std::max(view.next_try - now, Duration::zero()).count()) / 1e6;
  error.hint = fmt::format("Try again in {:.1f}s: the next connection is tried by then.", left);
  return error;
}

void BackendGate::note_backend(Outcome outcome, const std::string& error) {
  const auto changed = backend_.note(outcome, worker_.loop().now(), error);
  if (changed) tell_breaker(worker_, key_.backend, *changed);
}

void BackendGate::note_own(Outcome outcome, const std::string& error) {
  const Time now = worker_.loop().now();
  const auto changed = own_->note(outcome, now, error);
  if (outcome == Outcome::Failed || outcome == Outcome::Died) worker_.breakers().keep(key_, own_, now);
  if (changed) own_changed(*changed);
}

void BackendGate::own_changed(State state) {
  log_change(worker_, own_->view(worker_.loop().now()), state, key_.backend, key_.database, key_.user);
  if (state == State::HalfOpen) return;
  // The group may be in the middle of something, and gone when that is over.
  worker_.loop().post([&worker = worker_, key = key_] {
    const auto group = worker.groups().find(key);
    if (group != worker.groups().end()) group->second->breaker_changed();
  });
}

void tell_breaker(Worker& worker, const std::string& backend, State state) {
  Shared& shared = worker.shared();
  log_change(worker, shared.breaker(backend).view(worker.loop().now()), state, backend);
  if (state == State::HalfOpen) return;
  for (Worker* each : shared.workers) each->loop().post([each, backend] { each->breaker_changed(backend); });
}

}  // namespace pgweir
