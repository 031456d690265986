#include "pooler/pins.h"

#include <fmt/format.h>

#include "pooler/base/check.h"

namespace pgweir {

namespace {
// What to do instead; in the order of the pins.
struct WayOut {
  Pins pin;
  const char* hint;
};
constexpr std::array<WayOut, 8> kWaysOut = {{
    {pin::kTemp, "Make temporary tables inside a transaction and ON COMMIT DROP"},
    {pin::kCursor, "Read cursors inside their transaction instead of WITH HOLD"},
    {pin::kLock, "Take locks by pg_advisory_xact_lock(), which end with the transaction"},
    {pin::kListen, "LISTEN on fewer connections"},
    {pin::kStatement, "Prepare statements by the protocol, as drivers do, instead of PREPARE"},
    {pin::kSettings, "Use SET LOCAL, or write the setting's name into the text"},
    {pin::kSession, "Connect in transaction mode"},
    {pin::kReplication, "End replication connections that are not needed"},
}};

const char* way_out(Pins why) {
  for (const WayOut& each : kWaysOut)
    if (why == each.pin) return each.hint;
  return "Use what ends with its transaction (SET LOCAL, ON COMMIT DROP, pg_advisory_xact_lock)";
}
}  // namespace

Error PinBook::refuse(Pins why, Bytes sql) {
  return no_room(
      fmt::format("this request may make its client keep a server connection ({})", pin::names(why)),
      way_out(why), sql);
}

Error PinBook::refuse_outsized() {
  return no_room(fmt::format("this client has more settings than follow it to another server, at most {} "
                             "of {} bytes together",
                             kSettingsMost, kSettingsBytesMost),
                 "Have fewer or shorter settings at a time, as by SET LOCAL", {});
}

Error PinBook::no_room(std::string_view because, std::string_view way_out, Bytes sql) {
  ++totals_.refused;
  const tiers::Tier& tier = record_->limits;
  Error error{sqlstate::kConfigurationLimit,
              fmt::format("no room for another pinned client of tenant \"{}\": {}", record_->name, because),
              fmt::format("max_pinned_clients of tier {}: {} of {} clients keep a server connection between "
                          "transactions, or will when theirs ends.",
                          tier.name, pinned_ + claims_, tier.max_pinned_clients),
              remedy(fmt::format("{}, let other clients close what they hold", way_out), tiers::Limit::Pins)};
  if (on_refused) on_refused(tiers::Limit::Pins, error, sql);
  return error;
}

std::string PinBook::remedy(std::string_view way_out, tiers::Limit limit) const {
  return tiers::remedy(way_out, tiers ? tiers() : tiers::Directory(), limit, *record_);
}

void PinBook::refuse_statement(tiers::Limit limit, const Error& error, Bytes sql) const {
  if (on_refused) on_refused(limit, error, sql);
}

void PinBook::drop_claim() {
  PGWEIR_CHECK(claims_ > 0);
  --claims_;
}

void PinBook::change(Pins from, Pins to) {
  if (from == to) return;
  for (std::size_t i = 0; i < reasons_.size(); ++i) {
    const auto bit = static_cast<Pins>(1u << i);
    if ((from & bit) == (to & bit)) continue;
    PGWEIR_CHECK((to & bit) || reasons_[i] > 0);
    (to & bit) ? ++reasons_[i] : --reasons_[i];
  }
  if (from == 0) {
    ++pinned_;
    ++totals_.pinned;
  } else if (to == 0) {
    PGWEIR_CHECK(pinned_ > 0);
    --pinned_;
    ++totals_.unpinned;
  }
}

}  // namespace pgweir
