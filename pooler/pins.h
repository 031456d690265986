// pooler/pins.h - the clients of one tenant that keep a server between transactions: how many, why, and how
// many may (max_pinned_clients of its tier).
//
// A client whose open transaction does what will pin it holds a claim until the transaction has ended, so
// that two of them do not take the last place. What cannot be read beforehand, like a CALL, is refused when
// there is no place left but claims none: of those that run at once, some may come to be pinned beyond the
// budget.
#pragma once

#include <array>
#include <cstddef>
#include <cstdint>
#include <functional>

#include "pooler/audit.h"
#include "pooler/base/bytes.h"
#include "pooler/base/error.h"
#include "tiers/limit.h"
#include "tiers/tier.h"

namespace pgweir {

class PinBook {
 public:
  // Since the start.
  struct Totals {
    std::uint64_t pinned = 0;    // clients that came to keep a server
    std::uint64_t unpinned = 0;  // ... and gave it back
    std::uint64_t refused = 0;   // requests

    Totals& operator+=(const Totals& other) {
      pinned += other.pinned;
      unpinned += other.unpinned;
      refused += other.refused;
      return *this;
    }
    friend bool operator==(const Totals&, const Totals&) = default;
  };
  using Reasons = std::array<std::uint32_t, pin::kNames.size()>;  // clients by reason, in the order of kNames

  // `record` outlives this; its limits may change, and who is pinned by then stays it.
  explicit PinBook(const tiers::Tenant& record) : record_(&record) {}
  PinBook(const PinBook&) = delete;
  PinBook& operator=(const PinBook&) = delete;

  const tiers::Tenant& tenant() const { return *record_; }
  // `counted`: for a client that is one of them already.
  bool has_room(bool counted = false) const {
    return std::uint64_t{pinned_} + claims_ - (counted ? 1 : 0) < record_->limits.max_pinned_clients;
  }
  // What a client is told whose request might pin it for `why`. Counted. `sql`: its text, where that is at
  // hand.
  Error refuse(Pins why, Bytes sql = {});
  // The same for a client that has more settings than are carried from server to server (kSettingsMost).
  Error refuse_outsized();
  // A named statement is refused, of which its client has as many as it may have: not counted here.
  void refuse_statement(tiers::Limit limit, const Error& error, Bytes sql) const;
  // What to do at a limit of the tenant's tier, and which tier allows more.
  std::string remedy(std::string_view way_out, tiers::Limit limit) const;
  // The tiers that there are, for that; nobody has set it: none is named.
  std::function<const tiers::Directory&()> tiers;
  // Called by both.
  std::function<void(tiers::Limit limit, const Error& error, Bytes sql)> on_refused;
  void claim() { ++claims_; }
  void drop_claim();
  // One client's reasons change.
  void change(Pins from, Pins to);

  std::uint32_t pinned() const { return pinned_; }
  const Reasons& reasons() const { return reasons_; }
  const Totals& totals() const { return totals_; }

 private:
  Error no_room(std::string_view because, std::string_view way_out, Bytes sql);

  const tiers::Tenant* record_;
  std::uint32_t pinned_ = 0;
  std::uint32_t claims_ = 0;
  Reasons reasons_{};
  Totals totals_;
};

}  // namespace pgweir
