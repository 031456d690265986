// tests/sim/model_store.h - a store of tenants whose rows change all the time, and that is slow, fails, lies
// and loses them.
//
// It tells the truth when it is asked for a name for the first time: who is not known yet may be refused, who
// is known must never notice. Rows that change, of tenants and of their tier, keep them within
// Stage::max_servers; now and then a tenant is suspended, until `faults_for` at most, or is at another
// database. What is not told well for long is too old (stage_yaml): then they are held to less.
#pragma once

#include <map>
#include <set>
#include <string>
#include <utility>
#include <vector>

#include "pooler/tier_store.h"
#include "tests/sim/sim_net.h"
#include "tests/sim/stage.h"

namespace pgweir::sim {

class ModelStore final : public TierStore {
 public:
  ModelStore(World& world, SimLoop& loop, const Stage& stage, Listener& listener);

 private:
  using Asked = std::pair<Of, std::string>;
  void start() override;
  void fetch(Of of, const std::string& name) override { asked_.emplace_back(of, name); }
  void set(const std::string& tenant, const tiers::Change& change, const tiers::Fields& whole,
           Done done) override;
  void put_usage(const std::string& key, const tiers::Fields& fields, Done done) override;
  void try_usage(Done done) override { done(""); }
  void flush() override;
  void answer(const Asked& asked);
  void change_one();
  void change_tier();
  void resume_all();

  World& world_;
  SimLoop& loop_;
  const Stage& stage_;
  Listener& listener_;
  std::map<std::string, tiers::Fields> rows_;
  tiers::Fields tier_;
  std::vector<Asked> asked_;
  std::set<Asked> told_;
};

}  // namespace pgweir::sim
