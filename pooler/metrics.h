// pooler/metrics.h - the figures of all workers at one moment, and the text that Prometheus reads.
//
// A tier's series are of all its tenants. Series of their own have only the tenants with most load, so that a
// scrape has a bound however many there are; under the names of PgBouncer's exporter all others stand
// together as database "(others)". Pure: no socket, no clock.
#pragma once

#include <cstddef>
#include <cstdint>
#include <functional>
#include <map>
#include <optional>
#include <span>
#include <string>
#include <string_view>
#include <vector>

#include "pooler/console_tables.h"
#include "pooler/deployment.h"
#include "pooler/login_refusal.h"
#include "pooler/tier_meter.h"
#include "pooler/traffic.h"

namespace pgweir::metrics {

// By what tenants are chosen that have series of their own.
struct Standing {
  std::uint64_t busy_us = 0;  // in the last whole minute: time on servers and in the queue
  std::uint32_t clients = 0;
  std::string_view name;
};

struct TenantSample {
  std::string name, tier;
  std::uint64_t busy_us = 0;  // see Standing
  double queries_per_minute = 0;
  double uptime_s = 0;  // since its first client came, as far as that is remembered
  Traffic total;
  // By user; beyond kUsersMost of them the others together, under kOthers.
  std::map<std::string, console::PoolRow, std::less<>> pools;
  console::DatabaseRow database;
  Breaker::State breaker = Breaker::State::Closed;

  static constexpr std::size_t kUsersMost = 10;
  console::PoolRow& pool_of(std::string_view user);
  console::PoolRow pool() const;  // all of them
};

struct TierSample {
  std::uint64_t tenants = 0;
  TierMeter meter;
  console::PoolRow rest;  // pools of its tenants that are not among the top
  console::PinRow pins;   // of all its tenants
  RefusedLogins refused_logins{};
};

// What one worker tells, or all of them together.
struct Sample {
  std::map<std::string, TierSample> tiers;
  RefusedLogins refused_nameless{};  // logins for which no tenant was known
  std::vector<TenantSample> top;
  std::vector<console::WorkerRow> workers;
  std::uint64_t pools = 0;  // pairs of a tenant and a user that have clients
};

struct Surroundings {
  std::vector<console::BackendRow> backends;
  std::vector<console::BreakerRow> breakers;  // of backends
  std::uint64_t max_clients = 0;
  std::uint64_t databases = 0;             // that are configured
  std::uint64_t users = 0;                 // as well
  std::uint64_t suspended = 0;             // tenants that are known
  std::optional<console::StoreRow> store;  // nothing: tenants come from the configuration alone
  DeploymentLabels deployment;
};

// The names of the tenants with most load, at most a number of them, whatever the order in which they come.
class Top {
 public:
  explicit Top(std::size_t most) : most_(most) {}
  void add(const Standing& one);
  std::vector<std::string> take();  // in any order
  void clear() { heap_.clear(); }

 private:
  struct Place {
    std::uint64_t busy_us;
    std::uint32_t clients;
    std::string name;
    Standing standing() const { return {busy_us, clients, name}; }
  };
  static bool before(const Place& a, const Place& b);

  std::size_t most_;
  std::vector<Place> heap_;  // the one with least load in front
};

// What all tenants without series of their own have done. It never falls, though tenants come to have series
// and cease to: whoever comes takes its history along only as far as that was not shown as the others' yet.
class Rest {
 public:
  Traffic update(const Traffic& total, std::span<const TenantSample> top);

 private:
  std::map<std::string, Traffic, std::less<>> shown_;  // in the last scrape
  Traffic apart_;                                      // of `total`, what is not in the rest
  Traffic last_;
};

// One of all; at most `most` stay in `top`.
Sample unite(std::vector<Sample> parts, std::size_t most);
std::string text(const Sample& sample, const Surroundings& around, Rest& rest);

// As a label may have it: valid UTF-8, and two names are never the same. A backslash becomes two, and a byte
// that is no UTF-8 \xff.
std::string label(std::string_view name);
inline constexpr std::string_view kOthers = "(others)";

}  // namespace pgweir::metrics
