// pooler/tier_store.h - where rows of tenants and tiers are fetched from. Lives on one loop, and goes when
// that does not run any more.
#pragma once

#include <functional>
#include <optional>
#include <string>

#include "tiers/catalog.h"
#include "tiers/fleet_rate.h"

namespace pgweir {

class TierStore {
 public:
  using Of = tiers::Catalog::Of;

  class Listener {
   public:
    virtual ~Listener() = default;
    // Every fetch() is answered once, by one of these, maybe before it returns.
    virtual void on_row(Of of, const std::string& name, const Expected<tiers::Fields>& fields) = 0;
    // No row can have that name: nobody was asked.
    virtual void on_no_row(Of of, const std::string& name) = 0;
    virtual void on_failed(Of of, const std::string& name) = 0;
    // A tenant, "tier:<name>" or "*" has changed, or may have: changes were missed.
    virtual void on_changed(const std::string& what) = 0;
  };

  virtual ~TierStore() = default;
  virtual void start() = 0;
  virtual void fetch(Of of, const std::string& name) = 0;
  // Changes a tenant's row and tells everybody. Where the row has gone meanwhile, one that loses rows
  // writes `whole`, the row as changed, and any other fails. `done` is called once, maybe before this
  // returns, with what went wrong; empty: nothing.
  using Done = std::function<void(const std::string& error)>;
  virtual void set(const std::string& tenant, const tiers::Change& change, const tiers::Fields& whole,
                   Done done) = 0;
  // Sets a row of usage, whole. Of two with the same key the first is answered before the second is given.
  virtual void put_usage(const std::string& key, const tiers::Fields& fields, Done done) = 0;
  // How many of them it should be given before it has answered: as it writes them together.
  virtual std::size_t usage_at_once() const { return 100; }
  // Whether it would take one, by something that is in nobody's sums and does not stay.
  virtual void try_usage(Done done) = 0;
  // Asks the bucket of a tenant that a fleet has in common. `done` is called once, maybe before this returns;
  // nothing: the store has none, or does not answer.
  using Granted = std::function<void(const std::optional<tiers::FleetGrant>&)>;
  virtual void take_rate(const std::string& tenant, const tiers::FleetAsk& ask, Granted done) {
    (void)tenant, (void)ask;
    done({});
  }
  virtual void flush() = 0;  // sends what was fetched since; nothing else does
};

}  // namespace pgweir
