// pooler/throttle.h - one tenant's rate, and its sessions that wait for it (at_rate: throttle).
//
// Only a tenant with transactions_per_minute has one. A session stands here before it stands in its group's
// queue, in order of arrival, and its own deadline goes on meanwhile.
#pragma once

#include <cstdint>

#include "pooler/base/list.h"
#include "pooler/net/loop.h"
#include "tiers/rate.h"
#include "tiers/tier.h"

namespace pgweir {

class Session;

class Throttle {
 public:
  Throttle(net::Loop& loop, const tiers::Tier& limits);
  ~Throttle();
  Throttle(const Throttle&) = delete;
  Throttle& operator=(const Throttle&) = delete;

  void change(const tiers::Tier& limits);
  // One transaction may begin; those that wait come first.
  bool take();
  void charge(std::uint64_t transactions) { rate_.charge(transactions, loop_.now()); }
  // Session::on_token follows, unless it leaves before.
  void wait(Session& session);
  void leave(Session& session);
  // The rate has ended: nobody waits any more, and this may go.
  void open();
  // Until the next transaction may begin.
  Duration next_in() const { return rate_.next_at(loop_.now()) - loop_.now(); }
  // Transactions that may begin at once.
  std::uint32_t left() const { return rate_.left(loop_.now()); }

 private:
  void arm();
  void serve();

  net::Loop& loop_;
  tiers::Rate rate_;
  List<Session> waiting_;
  bool open_ = false;
  net::Timer timer_;
};

}  // namespace pgweir
