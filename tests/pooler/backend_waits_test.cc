// How long groups wait for a connection of their backend, and what they get of it: a model of many databases
// for few connections.
#include <catch2/catch.hpp>

#include <algorithm>
#include <cmath>
#include <deque>
#include <functional>
#include <memory>
#include <queue>
#include <random>
#include <tuple>
#include <vector>

#include "pooler/backend_budget.h"

using namespace pgweir;
using std::chrono::milliseconds;
using std::chrono::seconds;

namespace {

constexpr Duration kLogin = milliseconds(16), kTransaction = milliseconds(1);

// A group with what it has of the backend, as Group keeps it.
struct Group {
  explicit Group(std::function<void(Group&)> granted) : claimant([this, granted] { granted(*this); }) {}
  Claimant claimant;
  Claimant::Entitled entitled{0, 1, {}};
  std::deque<Time> waiting;  // since when
  std::deque<Time> idle;     // connections, since when
  bool claimed = false;
  Duration had{};  // time in use
};

class Backend {
 public:
  Backend(std::size_t groups, std::uint32_t connections, std::uint32_t logins, Duration transaction)
      : transaction_(transaction) {
    budget.set_limits(connections, logins);
    for (std::size_t i = 0; i < groups; ++i)
      groups_.push_back(std::make_unique<Group>([this](Group& group) { granted_.push_back(&group); }));
  }
  Group& group(std::size_t i) { return *groups_[i]; }
  std::size_t size() const { return groups_.size(); }
  Group& any() { return group(std::uniform_int_distribution<std::size_t>(0, groups_.size() - 1)(chance_)); }
  Duration about(Duration middle) {
    return Duration(
        std::uniform_int_distribution<Duration::rep>(middle.count() / 2, middle.count() * 3 / 2)(chance_));
  }

  // A client of the group has a transaction to run; `done` is called behind it.
  void ask(Group& group) {
    if (group.idle.empty()) {
      group.waiting.push_back(now_);
      return grow(group);
    }
    group.entitled.idle += now_ - group.idle.back();
    group.idle.pop_back();
    run_one(group, now_, now_, Run{now_, 0});
  }
  std::function<void(Group&, Duration waited)> done;

  void run(Duration length) {
    const Time end = now_ + length;
    while (!events_.empty() && events_.top().at <= end) {
      const Event event = events_.top();
      events_.pop();
      now_ = event.at;
      event.act();
      deliver();
    }
    now_ = end;
  }
  void at(Duration from_now, std::function<void()> act) {
    events_.push({now_ + from_now, ++order_, std::move(act)});
  }
  Time now() const { return now_; }
  BackendBudget budget;

 private:
  struct Event {
    Time at;
    std::uint64_t order;
    std::function<void()> act;
    bool operator<(const Event& other) const { return std::tie(at, order) > std::tie(other.at, other.order); }
  };

  Claimant::Entitled entitled(const Group& group) const {
    Claimant::Entitled now = group.entitled;
    for (const Time since : group.idle) now.idle += now_ - since;
    return now;
  }
  void grow(Group& group) {
    if (group.claimed || group.waiting.empty()) return;
    if (budget.take(group.claimant, entitled(group), now_)) return login(group);
    group.claimed = true;
    reclaim();
    deliver();
  }
  // The connection that has been idle for the longest.
  void reclaim() {
    if (!budget.starved()) return;
    Group* oldest = nullptr;
    for (const auto& each : groups_)
      if (!each->idle.empty() && (!oldest || each->idle.front() < oldest->idle.front())) oldest = each.get();
    if (!oldest) return;
    oldest->entitled.idle += now_ - oldest->idle.front();
    oldest->idle.pop_front();
    budget.reclaimed();
    budget.give_back(oldest->claimant, entitled(*oldest), now_);
  }
  void deliver() {
    while (!granted_.empty()) {
      Group& group = *granted_.front();
      granted_.pop_front();
      group.claimed = false;
      if (group.waiting.empty())
        budget.decline(group.claimant, entitled(group), now_);
      else
        login(group);
    }
    reclaim();
    if (!granted_.empty()) deliver();
  }
  void login(Group& group) {
    at(about(kLogin), [this, &group, began = now_] {
      group.had += now_ - began;
      budget.login_over(now_);
      next(group, Run{now_, 0});
    });
  }
  void run_one(Group& group, Time asked, Time begun, Run run) {
    at(about(transaction_), [this, &group, asked, begun, run]() mutable {
      group.had += now_ - begun;
      ++run.transactions;
      done(group, now_ - asked);
      next(group, run);
    });
  }
  void next(Group& group, Run run) {
    const bool over = run.over(now_);
    if (budget.starved() &&
        budget.gives_up(group.claimant, entitled(group), !group.waiting.empty(), over, now_)) {
      budget.give_back(group.claimant, entitled(group), now_);
      return grow(group);
    }
    if (over) run = Run{now_, 0};
    if (group.waiting.empty()) return group.idle.push_back(now_);
    const Time asked = group.waiting.front();
    group.waiting.pop_front();
    run_one(group, asked, now_, run);
    grow(group);
  }

  const Duration transaction_;
  std::vector<std::unique_ptr<Group>> groups_;
  std::deque<Group*> granted_;
  std::priority_queue<Event> events_;
  std::uint64_t order_ = 0;
  std::mt19937 chance_{1};
  Time now_ = Time(seconds(1000));
};

}  // namespace

TEST_CASE("who asks now and then waits hardly longer than in the order of arrival") {
  // Of the clients of many databases few ask at a time, so that nearly each needs a login.
  constexpr int kInFlight = 50;
  constexpr std::uint32_t kLogins = 8;
  Backend backend(1000, 100, kLogins, kTransaction);
  std::vector<Duration> waits;
  backend.done = [&](Group&, Duration waited) {
    if (backend.now() > Time(seconds(1010))) waits.push_back(waited);
    backend.at({}, [&] { backend.ask(backend.any()); });
  };
  for (int i = 0; i < kInFlight; ++i) backend.at(milliseconds(i), [&] { backend.ask(backend.any()); });
  backend.run(seconds(30));
  std::sort(waits.begin(), waits.end());
  REQUIRE(waits.size() > 5000);
  const Duration in_order = kLogin * kInFlight / kLogins;
  CHECK(waits[waits.size() * 99 / 100] < 2 * in_order);
  CHECK(waits.back() < 4 * in_order);
}

TEST_CASE("groups that want more connections than there are have them by their weights within 5 %") {
  for (const std::size_t tenants : {8U, 40U, 200U}) {
    Backend backend(tenants, 20, 8, milliseconds(5));
    for (std::size_t i = 0; i < tenants; ++i) backend.group(i).entitled.weight = 1U << (i % 4);
    backend.done = [&](Group& group, Duration) { backend.at({}, [&] { backend.ask(group); }); };
    for (std::size_t i = 0; i < tenants; ++i)
      for (int client = 0; client < 20; ++client)
        backend.at({}, [&backend, i] { backend.ask(backend.group(i)); });
    backend.run(seconds(20));
    for (std::size_t i = 0; i < tenants; ++i) backend.group(i).had = {};
    backend.run(seconds(60));
    std::vector<double> by_weight(4);
    double all = 0;
    for (std::size_t i = 0; i < tenants; ++i) {
      by_weight[i % 4] += static_cast<double>(backend.group(i).had.count());
      all += static_cast<double>(backend.group(i).had.count());
    }
    for (std::size_t i = 0; i < 4; ++i) {
      const double fair = all * (1U << i) / 15;
      INFO(tenants << " tenants, weight " << (1U << i) << ": " << by_weight[i] / fair);
      CHECK(std::abs(by_weight[i] / fair - 1) < 0.05);
    }
    INFO(tenants);
    CHECK(all > 0.85 * 60e6 * 20);
  }
}
