// tiers/catalog.h - the tenants and tiers that a store has told us of: what is known, for how long, and what
// must be asked for.
//
// The store is advice (R4). Whoever is known does not wait for it: his last good row answers while a fresh
// one is fetched. A row is stale when it is older than `stale_max` and was asked for in vain since: then he
// is held to the default tier, or to his own where that is lower. One that is as old because nobody asked is
// looked up first, which only who has no clients here waits for, and nobody while the store is known to be
// silent. Garbage never replaces a good row. A row that has vanished is doubted or believed (Vanished): of a
// cache that was emptied it is treated as silence, of a table it is news.
//
// Pure: the time is passed in, what must be done comes out as actions. One row per 250 bytes or so:
//
//   (none) --ask--> Asked --row--> Known <--garbage, nothing, failure--> Known
//                     |             |--ask, too old--> Awaited --row, garbage, nothing, failure--> Known
//                     |---nothing, garbage--> Absent (until negative_ttl)
//                     |---failure--> (none), or to be asked again while he has clients
//
// A tenant that has clients is watched: it is never forgotten, and every change of its record is told.
//
// Of lookups that nobody waits for only some are under way at a time, however many are due at once, so that
// one that somebody waits for stands behind few of them; what has changed comes before what is only old.
#pragma once

#include <cstddef>
#include <cstdint>
#include <deque>
#include <functional>
#include <map>
#include <memory>
#include <optional>
#include <set>
#include <string>
#include <string_view>
#include <unordered_map>
#include <utility>
#include <vector>

#include "pooler/base/list.h"
#include "pooler/base/time.h"
#include "tiers/directory.h"
#include "tiers/record.h"

namespace pgweir::tiers {

class Catalog {
 public:
  static constexpr std::size_t kTiersMax = 1000;
  static constexpr std::size_t kAbsentMax = 10'000;     // names that the store does not know
  static constexpr std::size_t kStrangeMax = 64;        // names of unknown fields that are told
  static constexpr std::size_t kAskedMax = 10'000;      // lookups that somebody waits for
  static constexpr std::size_t kRefreshesMax = 32;      // lookups under way that nobody waits for
  static constexpr std::chrono::seconds kRetry{2};      // after a lookup that failed
  static constexpr std::chrono::seconds kAllAtMost{1};  // pause between two times that all is asked for anew

  // What it means that the store has no row any more of a tenant or tier that it had.
  enum class Vanished : std::uint8_t {
    Doubted,   // nothing: it may have been emptied. To stop a tenant, suspend him. Of a tier: for stale_max
    Believed,  // somebody deleted it: at once. Clients that nothing else serves end as those of a suspended
               // one
  };

  // What the configuration says.
  struct Rules {
    Duration ttl = std::chrono::minutes(1);            // of a row that is known, at most
    Duration negative_ttl = std::chrono::seconds(10);  // of a name that is not
    Duration stale_max = std::chrono::minutes(15);
    std::size_t known_max = 100'000;
    Vanished vanished = Vanished::Doubted;
    std::string default_tier;
    std::string first_backend;
    // Tiers of the configuration, below those of the store; has default_tier.
    std::shared_ptr<const Directory> directory;
    // What a record must fit to beyond its own fields; the error is a sentence without secrets.
    std::function<Expected<void>(const Tenant&)> check;
    // The record of a tenant that the store does not know; nothing: it is refused.
    std::function<std::optional<Tenant>(std::string_view)> unknown;
    // The same of one of whom nothing is known while the store cannot be asked.
    std::function<std::optional<Tenant>(std::string_view)> unreachable;
  };

  struct Answer {
    enum class Kind : std::uint8_t {
      Known,        // `record` is the store's
      Unknown,      // the store does not have it; `record` is the configuration's, if any
      Unreachable,  // the store could not be asked; `record` likewise
      Pending,      // a Settled will come
    };
    Kind kind = Kind::Pending;
    std::optional<Tenant> record;
    std::string
        refused{};  // why the store's newest row of it is not followed; empty: it is, or there is none
  };

  using Of = tiers::Of;
  struct Action {
    enum class Kind : std::uint8_t {
      Fetch,    // row(), no_row() or failed() must follow
      Settled,  // `answer`, for all who wait for this tenant
      Changed,  // the record of a watched tenant; `answer` is never Pending
      Differs,  // a row that was known, watched or not; `reason` says in what, see difference()
      Refused,  // a row is garbage: to be logged, `reason` says why
      Lowered,  // a row contradicts what it lies over: to be logged, `reason` says what was lowered
      Strange,  // a row has a field of a name that nobody knows, `reason`: to be logged, once for each name
    };
    Kind kind = Kind::Fetch;
    Of of = Of::Tenant;
    std::string name;
    Answer answer;
    std::string reason;
  };

  struct Totals {
    std::uint64_t asked = 0, known = 0;  // lookups, and those that were answered at once
    std::uint64_t fetched = 0, failed = 0;
    std::uint64_t refused = 0;  // rows with wrong values
    std::uint64_t vanished = 0;
  };

  explicit Catalog(Rules rules);
  ~Catalog();
  Catalog(const Catalog&) = delete;
  Catalog& operator=(const Catalog&) = delete;

  // A reload. Records of watched tenants that it changes are told.
  void set_rules(Rules rules, Time now);

  Answer ask(std::string_view tenant, Time now);
  // The tenant has its first client, with this record; its last one has gone. Calls may overlap when a tenant
  // has clients in several places.
  void watch(const Tenant& record, Time now);
  void unwatch(std::string_view tenant);

  // What was fetched; no fields: the store has no such row.
  void row(Of of, std::string_view name, const Expected<Fields>& fields, Time now);
  void no_row(Of of, std::string_view name, Time now);  // the store, which was not asked, cannot have it
  void failed(Of of, std::string_view name, Time now);
  // Somebody says that it has changed: a tenant, "tier:<name>", or "*".
  void changed(std::string_view what, Time now);
  // Whether the configuration has this tier, or the store told of it.
  bool has_tier(std::string_view name, Time now) const { return tier(name, now).has_value(); }
  // Asks the store for one that it has not told of; false: of too many already.
  bool ask_tier(const std::string& name);
  // What to answer where has_tier() says no.
  Error no_tier(std::string_view name, Time now) const;
  // The configuration's tiers as the store changes them, and those that it has told of: as they hold for who
  // follows them. Another number tiers_version() says that they may be different.
  std::shared_ptr<const Directory> tiers(Time now) const;
  std::uint64_t tiers_version() const { return tiers_version_; }
  // The tier that a tenant's row names.
  std::string_view tier_of(const Row& row) const;
  // What the store said last of a tenant that was good; no fields: nothing.
  Fields last_row(std::string_view tenant) const;
  // Whether this row of a tenant would be taken. Its tier is known, or it would not.
  Expected<void> takes(const std::string& tenant, const Fields& fields, Time now) const;
  // To be called several times a second.
  void tick(Time now);

  std::vector<Action> take_actions() { return std::exchange(actions_, {}); }
  const Totals& totals() const { return totals_; }
  std::size_t known() const { return known_count_; }
  std::size_t watched() const { return watched_.size(); }
  // Of the watched: whose row is older than stale_max, and was asked for in vain. Looks at each.
  std::size_t stale() const;
  // Suspended ones that are known: by their rows; by the configuration, where the store has none of them.
  std::size_t suspended() const;
  // The records of those whom the store's rows or the configuration suspend, behind `after` and in the order
  // of their names, at most `most`. Where the two differ the row holds, so an active one may be among them.
  std::vector<Tenant> suspensions(std::string_view after, std::size_t most, Time now) const;
  // How long nothing that was asked for has been answered; zero when the last answer was one.
  Duration silent(Time now) const { return failing_since_ ? now - *failing_since_ : Duration{}; }
  std::size_t size() const { return entries_.size(); }
  // Of whom nothing can be answered before the store does.
  std::size_t asked() const { return asked_count_; }

 private:
  enum class State : std::uint8_t { Asked, Known, Awaited, Absent };
  // What is looked up, or is to be.
  struct Fetching {
    bool now = false;
    bool again = false;                    // it changed meanwhile
    bool refresh = false;                  // nobody waited when it began: one of refreshes_
    bool queued = false, hurried = false;  // in old_, in changed_
  };
  enum class Why : std::uint8_t { Old, Changed };
  struct Due {
    Of of;
    std::string name;
    Why why;
  };
  struct Entry : ListLink<Entry> {
    Row row;                       // Known, Awaited
    Time good_at{};                // when the store said so last
    Time next_at{};                // when it is to be asked again
    std::unique_ptr<Tenant> told;  // watched: what its clients are held to
    const std::string* name = nullptr;
    std::uint32_t watchers = 0;
    State state = State::Asked;
    Fetching fetching;
    bool in_vain = false;                  // it was asked for since good_at, and there was no good row
    bool lowered_told = false;             // that its floors are
    std::unique_ptr<std::string> refused;  // why the newest row is: it is garbage, which has been told
    bool stale = false;                    // the watchers know
    bool deleted = false;                  // it had a row, and that it has none is believed
  };
  struct TierEntry {
    Row row;
    Row last;  // what it was until it was gone: who is held to less gets no more than that
    Time good_at{};
    Time next_at{};
    Fetching fetching;
    bool answered = false;
    bool complained = false;
    bool lowered_told = false;
    bool old_told = false;                             // by tiers_version(): its row is too old
    std::vector<std::pair<std::string, Row>> waiting;  // tenants' rows that name it
  };

  static bool is_known(const Entry& one) { return one.state == State::Known || one.state == State::Awaited; }
  static bool is_waited_for(const Entry& one) {
    return one.state == State::Asked || one.state == State::Awaited;
  }
  Entry& entry(std::string_view tenant);
  void place(Entry& entry);
  void forget(Entry& entry);
  void set_state(Entry& entry, State state);
  void note_suspension(const Entry& entry);
  const Entry* known_entry(const std::string& tenant) const;
  template <class Thing>
  void fetch(Thing& thing, Of of, const std::string& name);
  template <class Thing>
  void refresh(Thing& thing, Of of, const std::string& name, Why why);
  template <class Thing>
  void begin_due(Thing& thing, const Due& due, Time now);
  bool end_fetch(Fetching& fetching);
  void refresh_next(Time now);
  Time old_at(std::string_view name, Time now) const;
  void lose(Of of, std::string_view name, Time now);
  void take(Of of, std::string_view name, const Expected<Fields>& fields, Time now);
  void tenant_row(Entry& entry, const Expected<Fields>& fields, Time now);
  void tier_row(const std::string& name, TierEntry& tier, const Expected<Fields>& fields, Time now);
  void accept(Entry& entry, Row row, Time now);
  Duration vain_ttl(const Entry& entry) const;  // until it is asked again behind no good row
  void nothing(Entry& entry, Time now);
  void refuse(Entry& entry, const std::string& reason, Time now);
  void settle(Entry& entry, bool was_waited_for, Time now);
  bool await(Entry& entry, Time now);
  void update(Entry& entry, Time now);
  void update_all(Time now);
  void all_due(Time now);
  TierEntry* tier_entry(const std::string& name);
  void serve_waiting(TierEntry& tier, Time now);
  // Of a row that is too old: the lower of it and the configuration's.
  std::optional<Tier> tier(std::string_view name, Time now) const;
  // Of those who are held to less: the lower of what it is and what the store said last.
  std::optional<Tier> lowest_tier(std::string_view name, Time now) const;
  Tier over_configured(std::string_view name, const Row& row, std::vector<Lowered>& lowered) const;
  Tenant resolve(const std::string& name, const Row& row, bool stale, Time now) const;
  Expected<void> fits(const std::string& tenant, const Row& row, Time now) const;
  Expected<void> fits(const std::string& tier, const Row& row) const;
  Answer answer(Entry& entry, Time now);
  void tell_difference(Of of, const std::string& name, const Row& was, const Row& is);
  void tell_lowered(Of of, const std::string& name, const std::vector<Lowered>& lowered, const Tier& limits,
                    bool& told);
  void note_strange(Of of, const std::string& name, const Fields& fields);
  using Elsewhere = std::function<std::optional<Tenant>(std::string_view)>;
  std::optional<Tenant> from(const Elsewhere& elsewhere, const std::string& name, Time now);
  bool too_old(Time good_at, Time now) const { return now - good_at > rules_.stale_max; }
  bool is_stale(const Entry& one, Time now) const {
    return is_known(one) && one.in_vain && too_old(one.good_at, now);
  }

  Rules rules_;
  std::unordered_map<std::string, Entry> entries_;
  List<Entry> watched_, known_, absent_;  // the last two longest unused first
  std::size_t known_count_ = 0, asked_count_ = 0;
  std::set<std::string_view> suspended_;  // Known, by their rows; keys of entries_
  std::map<std::string, TierEntry, std::less<>> tiers_;
  std::size_t refreshes_ = 0;  // under way
  // Due, in the order in which they came. Each is at most once in each queue, and once more for every time
  // that it was forgotten since.
  std::deque<Due> changed_, old_;
  bool all_asked_ = false;  // "*" came too soon after another
  std::optional<Time> all_at_;
  std::optional<Time> failing_since_;
  std::uint64_t revision_ = 0, tiers_version_ = 0;
  std::vector<Action> actions_;
  Totals totals_;
  std::set<std::string> strange_;
};

}  // namespace pgweir::tiers
