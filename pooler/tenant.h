// pooler/tenant.h - one tenant while it is active: its limits and how much of them is in use.
//
// Lives on the worker that is the home of its database, with all of its sessions; plain counters suffice.
#pragma once

#include <cstdint>
#include <memory>
#include <string>
#include <vector>

#include "pooler/base/error.h"
#include "pooler/base/list.h"
#include "pooler/base/time.h"
#include "pooler/ceiling_guard.h"
#include "pooler/clocks.h"
#include "pooler/peak.h"
#include "pooler/pins.h"
#include "pooler/startup_settings.h"
#include "pooler/statements.h"
#include "pooler/throttle.h"
#include "pooler/tier_meter.h"
#include "pooler/traffic.h"
#include "tiers/grace.h"
#include "tiers/tier.h"

namespace pgweir {

class Group;

struct Tenant : ListLink<Tenant> {
  tiers::Tenant record;        // replaced by Worker alone, because of:
  StartupRef startup;          // what servers must have been opened with that it is lent
  std::vector<Group*> groups;  // that its sessions are in: one per user
  // Ids of those that they have left: servers may be there yet.
  std::vector<std::uint64_t> left_groups;
  std::uint32_t clients = 0;
  Peak peak_clients;  // recent: since its usage was told last, or since the day began
  Peak peak_lent;
  std::uint32_t lent = 0;     // servers that its sessions hold
  std::uint32_t waiting = 0;  // sessions that wait for one, or for its rate
  tiers::Grace grace;         // of what is beyond a lower plan
  bool paused = false;        // PAUSE of it: whoever asks for a server waits
  bool all_paused = false;    // PAUSE of all: the same
  bool moving = false;        // MOVE: the same, until it is done or called off
  bool disabled = false;      // DISABLE: no new clients
  // MOVE has been: records of the store that say the former, and are no newer, are those of before.
  std::string moved_from;
  std::uint64_t moved_revision = 0;
  std::unique_ptr<Throttle> throttle;  // null: no rate
  PinBook pins{record};
  TenantStatements statements;
  CeilingGuard guard{record};
  Traffic traffic;
  TrafficPeriod period;
  ClockLimits clocks{};      // of its tier
  Duration nearest_alarm{};  // see nearest_alarm()
  TierMeter* meter;          // of the tier that it has now

  Tenant(Time now, TierMeter& tier) : period(now), meter(&tier), since_(now) {}
  Time since() const { return since_; }  // remembered since its first client came
  bool ended() const { return record.state != tiers::TenantState::Active; }
  // What its clients are told then: who logs in, and who is connected.
  Error why_refused() const;
  Error why_ended() const;
  // What a client is told that is closed because of a plan change: `count` of what `limit` bounds were in
  // use.
  Error why_surplus(tiers::Limit limit, std::uint32_t count) const;
  // What it has done since the last call goes into its tier's total. Before its tier changes, before it is
  // forgotten, and before the total is read; so that no total ever falls and none counts anything twice.
  void settle_accounts() {
    traffic.pinned = pins.totals().pinned;
    traffic.unpinned = pins.totals().unpinned;
    traffic.pin_hits = pins.totals().refused;
    if (traffic == accounted_) return;  // as of most
    meter->total += traffic - accounted_;
    accounted_ = traffic;
  }
  bool at_ceiling() const { return lent >= record.limits.max_server_connections; }
  bool may_wait() const {
    const std::uint32_t most = record.limits.max_waiting_clients;
    return most == 0 || waiting < most;
  }
  bool is_paused() const { return paused || all_paused; }
  bool halted() const { return is_paused() || moving; }
  bool may_have_server() const { return !halted() && lent < record.limits.max_server_connections; }

 private:
  Traffic accounted_;
  Time since_;
};

}  // namespace pgweir
