// pooler/throttle.h - one tenant's rate, and its sessions that wait for it (at_rate: throttle).
//
// Only a tenant with transactions_per_minute has one. A session stands here before it stands in its group's
// queue, in order of arrival, and its own deadline goes on meanwhile. With a fleet, its bucket is asked ahead
// of use (tiers::FleetRate).
#pragma once

#include <cstdint>
#include <functional>
#include <memory>
#include <optional>
#include <string>

#include "pooler/base/list.h"
#include "pooler/net/loop.h"
#include "tiers/fleet_rate.h"
#include "tiers/rate.h"
#include "tiers/tier.h"

namespace pgweir {

class Session;

class Throttle {
 public:
  // The buckets that several processes have in common.
  class Fleet {
   public:
    virtual ~Fleet() = default;
    // `done` runs on `asker`; nothing: there was no answer.
    virtual void take_rate(net::Loop& asker, std::string tenant, const tiers::FleetAsk& ask,
                           std::function<void(const std::optional<tiers::FleetGrant>&)> done) = 0;
  };

  // `fleet` outlives this; null: this process counts for itself.
  Throttle(net::Loop& loop, const tiers::Tier& limits, std::string tenant, Fleet* fleet);
  ~Throttle();
  Throttle(const Throttle&) = delete;
  Throttle& operator=(const Throttle&) = delete;

  void change(const tiers::Tier& limits);
  // One transaction may begin; those that wait come first.
  bool take();
  void charge(std::uint64_t transactions);
  // Session::on_token follows, unless it leaves before.
  void wait(Session& session);
  void leave(Session& session);
  const List<Session>& waiting() const { return waiting_; }  // they are in no group's queue
  // The rate has ended: nobody waits any more, and this may go.
  void open();
  // Until the next transaction may begin.
  Duration next_in() const;
  // Those that have begun, of the burst.
  std::uint32_t begun() const;
  // Transactions that may begin at once.
  std::uint32_t left() const { return share_ && !share_->open() ? 0 : rate_.left(loop_.now()); }

 private:
  bool begin();
  void arm();
  void serve();
  void ask_fleet();

  net::Loop& loop_;
  tiers::Rate rate_;
  List<Session> waiting_;
  bool open_ = false;
  net::Timer timer_;
  const std::string tenant_;
  Fleet* const fleet_;
  std::optional<tiers::FleetRate> share_;  // with a fleet
  net::Timer fleet_timer_;                 // for what is to be asked later
  // Who has asked the fleet may be gone when the answer comes.
  std::shared_ptr<Throttle*> self_ = std::make_shared<Throttle*>(this);
};

}  // namespace pgweir
