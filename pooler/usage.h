// pooler/usage.h - what this process has counted for each tenant on each day, and what of it a store has not
// been told yet.
//
// A row of the store belongs to one tenant, day (UTC) and run of a process, and holds totals, not
// differences: written twice, after an answer that was lost, it says the same. A run that is killed leaves
// what it wrote last, and the next run writes rows of its own; so does one whose clock is set back over
// midnight, since it has forgotten what the store has of that day. Pure.
#pragma once

#include <cstddef>
#include <cstdint>
#include <deque>
#include <map>
#include <optional>
#include <string>
#include <string_view>
#include <vector>

#include "conf/config.h"
#include "pooler/base/time.h"
#include "pooler/console_tables.h"
#include "tiers/record.h"

namespace pgweir {

// What one tenant has done since it was told last. Peaks are since then, too, or since the day began.
struct UsageDelta {
  std::string tenant;
  Traffic passed;
  std::uint32_t peak_clients = 0, peak_servers = 0;
};

// What is due where a store answers and takes none.
std::string_view usage_hint(conf::StoreKind kind);

class UsageBook {
 public:
  static constexpr std::size_t kRowsMax = 200'000;

  // `instance`: no other run of any process has the same. `began`: nothing was counted before.
  explicit UsageBook(std::string instance, Time began = {})
      : instance_(std::move(instance)), complete_until_(began) {}
  UsageBook(const UsageBook&) = delete;
  UsageBook& operator=(const UsageBook&) = delete;

  // What was counted since it was told last, a TrafficPeriod ago at most. `day`: since 1970. False: there is
  // no room for another tenant on that day, and it is lost.
  bool add(const UsageDelta& delta, std::int64_t day, Time now);
  struct Row {
    std::string key;  // "2026-01-31:<instance>:<tenant>"; "<instance>~2" behind the first clock set back
    tiers::Fields fields;
  };
  // One that the store has not been told; written() must follow.
  std::optional<Row> next();
  // What somebody should hear of: the first row that the store does not take, and that it has taken all such.
  enum class News : std::uint8_t { None, Refused, Taken };
  // Whether the store has it. Rows of former days are forgotten when it does.
  News written(const std::string& key, bool good, std::int64_t today, Time now);
  // The store has been told all.
  bool clean() const { return dirty_ == 0; }
  std::size_t unwritten() const { return dirty_; }  // rows of which it has not
  // Rows that it did not take when it was told them last, and how often it did not take one, or there was no
  // room.
  std::size_t failing() const { return failing_; }
  std::uint64_t failures() const { return failures_; }
  // From when on the store lacks something, until now; zero while it is clean().
  Duration behind(Time now) const { return clean() ? Duration{} : now - complete_until_; }
  std::size_t size() const { return rows_.size(); }
  // How often there was no room on this day.
  std::uint64_t lost_today() const { return lost_today_; }

 private:
  enum class State : std::uint8_t { Clean, Dirty, Writing, WritingAndDirty };
  struct Entry {
    console::StatsRow total;
    std::int64_t day = 0;
    State state = State::Clean;
    bool failing = false;
  };
  using Rows = std::map<std::string, Entry>;
  void begin(std::int64_t day);

  const std::string instance_;
  unsigned set_back_ = 0;  // so often the clock was, over midnight
  Rows rows_;
  std::deque<Rows::iterator> due_;  // those that are Dirty; what fails goes behind the others
  std::size_t dirty_ = 0;           // rows that are not Clean
  std::int64_t day_ = 0;            // that goes on
  std::uint64_t lost_today_ = 0;
  std::size_t failing_ = 0;
  std::uint64_t failures_ = 0;
  Time complete_until_;  // what was counted before is in the store
};

}  // namespace pgweir
