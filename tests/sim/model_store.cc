#include "tests/sim/model_store.h"

#include <chrono>

#include "tests/sim/limits_in_force.h"

namespace pgweir::sim {

namespace {
using std::chrono::milliseconds;
constexpr milliseconds kSoon{3}, kLate{3'000};
constexpr const char* kTier = "sim";

tiers::Fields place_of(const Stage& stage, unsigned tenant) {
  return {{"tier", "sim"},
          {"backend", "main"},
          {"database", database_of(stage, tenant)},
          {"user", "app"},
          {"password", "secret of app"}};
}
}  // namespace

ModelStore::ModelStore(World& world, SimLoop& loop, const Stage& stage, Listener& listener)
    : world_(world), loop_(loop), stage_(stage), listener_(listener) {
  for (unsigned i = 0; i < stage_.tenants; ++i) rows_["tenant" + std::to_string(i)] = place_of(stage_, i);
}

void ModelStore::start() {
  world_.after(world_.between(Duration(50'000), Duration(300'000)), &loop_, [this] { change_one(); });
}

void ModelStore::change_one() {
  const auto tenant = static_cast<unsigned>(world_.rng().below(stage_.tenants));
  const std::string name = "tenant" + std::to_string(tenant);
  tiers::Fields row = place_of(stage_, tenant);
  const std::uint64_t most = world_.between(1, stage_.max_servers);
  row.emplace_back("max_server_connections", std::to_string(most));
  row.emplace_back("pool_size", std::to_string(world_.between(1, most)));
  row.emplace_back("weight", std::to_string(world_.between(1, 8)));
  if (world_.chance(50)) row.emplace_back("lock_timeout", world_.chance(50) ? "3s" : "4s");
  if (world_.chance(15)) {
    row.emplace_back("state", "suspended");
    row.emplace_back("reason", kSuspendedFor);
  }
  if (stage_.rehomes && world_.chance(50))
    for (auto& [key, value] : row)
      if (key == "database") value.insert(0, "other_");
  rows_[name] = std::move(row);
  if (world_.chance(80)) listener_.on_changed(world_.chance(10) ? "*" : name);
  if (world_.chance(25)) change_tier();
  if (world_.now() < Time(stage_.faults_for))
    world_.after(world_.between(Duration(10'000), Duration(400'000)), &loop_, [this] { change_one(); });
  else
    resume_all();
}

// Of all tenants; what their own rows say lies over it.
void ModelStore::change_tier() {
  const std::uint64_t most = world_.between(1, stage_.max_servers);
  tier_ = {{"max_server_connections", std::to_string(most)},
           {"pool_size", std::to_string(world_.between(1, most))},
           {"lock_timeout", world_.chance(50) ? "5s" : "6s"}};
  if (world_.chance(20)) tier_.clear();
  if (world_.chance(80)) listener_.on_changed(std::string("tier:") + kTier);
}

// Who is suspended for good is never served again.
void ModelStore::resume_all() {
  for (auto& [name, row] : rows_) {
    const auto gone = std::erase_if(
        row, [](const auto& field) { return field.first == "state" || field.first == "reason"; });
    if (gone > 0) listener_.on_changed(name);
  }
}

void ModelStore::set(const std::string&, const tiers::Change&, const tiers::Fields&, Done done) { done(""); }

void ModelStore::put_usage(const std::string&, const tiers::Fields&, Done done) {
  done(world_.chance(30) ? "the store is away" : "");
}

void ModelStore::flush() {
  for (Asked& each : std::exchange(asked_, {})) {
    const Duration most = world_.chance(10) ? kLate : kSoon;
    world_.after(world_.between(Duration(100), most), &loop_, [this, asked = std::move(each)] {
      answer(asked);
      flush();
    });
  }
}

void ModelStore::answer(const Asked& asked) {
  const auto& [of, name] = asked;
  const auto found = rows_.find(name);
  tiers::Fields truth;
  if (of == Of::Tier && name == kTier) truth = tier_;
  if (of == Of::Tenant && found != rows_.end()) truth = found->second;
  if (told_.insert(asked).second) return listener_.on_row(of, name, truth);
  switch (world_.rng().below(10)) {
    case 0: return listener_.on_failed(of, name);
    case 1: return listener_.on_row(of, name, tiers::Fields{{"max_clients", "-1"}});
    case 2: return listener_.on_row(of, name, tiers::Fields{{"tier", "nonsense"}, {"state", "9"}});
    case 3: return listener_.on_row(of, name, tiers::Fields{});
    case 4: return listener_.on_row(of, name, fail(sqlstate::kConfigFileError, "is no hash"));
    default: return listener_.on_row(of, name, truth);
  }
}

}  // namespace pgweir::sim
