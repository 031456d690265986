#include "tiers/catalog.h"

#include <algorithm>
#include <set>

#include "pooler/base/check.h"
#include "pooler/base/quoted.h"
#include "tiers/difference.h"

namespace pgweir::tiers {

namespace {
constexpr std::string_view kAll = "*";
constexpr std::string_view kTierPrefix = "tier:";
constexpr std::string_view kGone = "it is not in the tenant store any more";

// Of a row that bounds the configuration's tier, and no more: what holds by it, and is not the
// configuration's.
void keep_lower(Directory::Stored& stored, const Tier& configured, const Tier& holds) {
  for (const TierField& field : tier_fields()) {
    const auto is_it = [&field](std::string_view name) { return name == field.key; };
    if (tier_text(configured, field) == tier_text(holds, field)) {
      std::erase_if(stored.fields, is_it);
      std::erase_if(stored.lowered, [&](const Lowered& each) { return is_it(each.field); });
    } else if (const auto* const count = std::get_if<std::uint32_t Tier::*>(&field.member)) {
      for (Lowered& each : stored.lowered)
        if (is_it(each.field)) each.wanted = std::min(each.wanted, configured.*(*count));
    }
  }
}
}  // namespace

Catalog::Catalog(Rules rules) : rules_(std::move(rules)) {}

Catalog::~Catalog() {
  for (List<Entry>* list : {&watched_, &known_, &absent_})
    while (Entry* one = list->front()) list->remove(*one);
}

void Catalog::set_rules(Rules rules, Time now) {
  rules_ = std::move(rules);
  ++tiers_version_;
  update_all(now);
}

Catalog::Entry& Catalog::entry(std::string_view tenant) {
  const auto [place, fresh] = entries_.try_emplace(std::string(tenant));
  if (fresh) {
    place->second.name = &place->first;
    ++asked_count_;
  }
  return place->second;
}

void Catalog::set_state(Entry& one, State state) {
  if (is_waited_for(one)) --asked_count_;
  if (is_known(one)) --known_count_;
  one.state = state;
  if (is_waited_for(one)) ++asked_count_;
  if (is_known(one)) ++known_count_;
}

// Its row or its state has been set.
void Catalog::note_suspension(const Entry& one) {
  if (is_known(one) && one.row.get("state") == name(TenantState::Suspended))
    suspended_.insert(*one.name);
  else
    suspended_.erase(*one.name);
}

// Null: the store has no row of it that is known.
const Catalog::Entry* Catalog::known_entry(const std::string& tenant) const {
  const auto at = entries_.find(tenant);
  return at != entries_.end() && is_known(at->second) ? &at->second : nullptr;
}

std::size_t Catalog::suspended() const {
  const auto& configured = rules_.directory->suspended();
  return suspended_.size() +
         static_cast<std::size_t>(std::count_if(configured.begin(), configured.end(),
                                                [this](const auto& name) { return !known_entry(name); }));
}

std::vector<Tenant> Catalog::suspensions(std::string_view after, std::size_t most, Time now) const {
  std::vector<Tenant> found;
  const auto& configured = rules_.directory->suspended();
  auto stored = suspended_.upper_bound(after);
  auto named = configured.upper_bound(after);
  while (found.size() < most && (stored != suspended_.end() || named != configured.end())) {
    const bool by_store = named == configured.end() || (stored != suspended_.end() && *stored <= *named);
    const std::string tenant(by_store ? *stored : std::string_view(*named));
    if (by_store) ++stored;
    if (named != configured.end() && *named == tenant) ++named;
    const Entry* const one = known_entry(tenant);
    found.push_back(one ? resolve(tenant, one->row, is_stale(*one, now), now)
                        : *rules_.directory->find(tenant));
  }
  return found;
}

// Into the list where it belongs, as the one used last; makes room there.
void Catalog::place(Entry& one) {
  for (List<Entry>* list : {&watched_, &known_, &absent_})
    if (list->has(one)) list->remove(one);
  if (one.watchers > 0) return watched_.push_back(one);
  const auto keep = [this, &one](List<Entry>& list, std::size_t most) {
    while (list.size() >= std::max<std::size_t>(most, 1)) forget(*list.front());
    list.push_back(one);
  };
  switch (one.state) {
    case State::Asked:
    case State::Awaited: return;  // until it is settled
    case State::Known: return keep(known_, rules_.known_max);
    case State::Absent: return keep(absent_, kAbsentMax);
  }
}

void Catalog::forget(Entry& one) {
  PGWEIR_CHECK(one.watchers == 0);
  suspended_.erase(*one.name);
  for (List<Entry>* list : {&known_, &absent_})
    if (list->has(one)) list->remove(one);
  PGWEIR_CHECK(one.state != State::Awaited);
  if (one.state == State::Asked) --asked_count_;
  if (one.state == State::Known) --known_count_;
  end_fetch(one.fetching);
  entries_.erase(entries_.find(*one.name));
}

// For somebody who waits for it.
template <class Thing>
void Catalog::fetch(Thing& thing, Of of, const std::string& name) {
  if (std::exchange(thing.fetching.now, true)) return;
  ++totals_.fetched;
  actions_.push_back({Action::Kind::Fetch, of, name, {}, {}});
}

// Now, or as soon as others have been answered.
template <class Thing>
void Catalog::refresh(Thing& thing, Of of, const std::string& name, Why why) {
  Fetching& fetching = thing.fetching;
  if (fetching.now) return;
  if (refreshes_ < kRefreshesMax) {
    ++refreshes_;
    fetching.refresh = true;
    return fetch(thing, of, name);
  }
  if (std::exchange(why == Why::Old ? fetching.queued : fetching.hurried, true)) return;
  (why == Why::Old ? old_ : changed_).push_back({of, name, why});
}

// One that was only old may have been looked up since.
template <class Thing>
void Catalog::begin_due(Thing& thing, const Due& due, Time now) {
  (due.why == Why::Old ? thing.fetching.queued : thing.fetching.hurried) = false;
  if (due.why == Why::Changed || thing.next_at <= now) refresh(thing, due.of, due.name, due.why);
}

// Whether it changed meanwhile.
bool Catalog::end_fetch(Fetching& fetching) {
  if (std::exchange(fetching.refresh, false)) --refreshes_;
  fetching.now = false;
  return std::exchange(fetching.again, false);
}

void Catalog::refresh_next(Time now) {
  while (refreshes_ < kRefreshesMax && !(changed_.empty() && old_.empty())) {
    std::deque<Due>& queue = changed_.empty() ? old_ : changed_;
    const Due due = std::move(queue.front());
    queue.pop_front();
    if (due.of == Of::Tier) {
      if (const auto at = tiers_.find(due.name); at != tiers_.end()) begin_due(at->second, due, now);
    } else if (const auto at = entries_.find(due.name); at != entries_.end()) {
      begin_due(at->second, due, now);
    }
  }
}

// When a row that is good now is to be looked up again: each after a time of its own, so that those which
// came together do not stay together.
Time Catalog::old_at(std::string_view name, Time now) const {
  constexpr std::size_t kParts = 1024;
  const auto part = static_cast<std::int64_t>(std::hash<std::string_view>()(name) % kParts);
  return now + rules_.ttl - rules_.ttl / (4 * kParts) * part;
}

// Whether who asks for a known one has to wait for its lookup: of a row that is as old because nobody asked,
// nobody can say whether it holds. Where the store would not answer, it is as if it had been asked.
bool Catalog::await(Entry& one, Time now) {
  if (one.state == State::Awaited) return one.watchers == 0;
  if (one.watchers > 0 || one.next_at > now || !too_old(one.good_at, now)) return false;
  if (silent(now) < kRetry && asked_count_ < kAskedMax) return true;
  one.in_vain = true;
  return false;
}

Catalog::Answer Catalog::ask(std::string_view tenant, Time now) {
  ++totals_.asked;
  const auto at = entries_.find(std::string(tenant));
  if (at == entries_.end() || (at->second.state == State::Absent && at->second.watchers == 0 &&
                               at->second.next_at <= now && !at->second.fetching.now)) {
    if (at != entries_.end()) forget(at->second);
    // A flood of names must not grow; whoever comes behind it is as one whom the store cannot tell about.
    if (asked_count_ >= kAskedMax)
      return {Answer::Kind::Unreachable, from(rules_.unreachable, std::string(tenant), now)};
    Entry& fresh = entry(tenant);
    fetch(fresh, Of::Tenant, *fresh.name);
    return {};
  }
  Entry& one = at->second;
  if (one.state == State::Asked) {
    fetch(one, Of::Tenant, *one.name);
    return {};
  }
  if (is_known(one) && await(one, now)) {
    set_state(one, State::Awaited);
    place(one);
    fetch(one, Of::Tenant, *one.name);
    return {};
  }
  ++totals_.known;
  if (one.next_at <= now) refresh(one, Of::Tenant, *one.name, Why::Old);
  place(one);
  return answer(one, now);
}

bool Catalog::ask_tier(const std::string& name) {
  TierEntry* const one = tier_entry(name);
  if (one) fetch(*one, Of::Tier, name);
  return one != nullptr;
}

std::shared_ptr<const Directory> Catalog::tiers(Time now) const {
  const auto all = std::make_shared<Directory>();
  for (const auto& [name, configured] : rules_.directory->tiers()) (void)all->add_tier(configured);
  for (const auto& [name, one] : tiers_) {
    if (one.row.empty()) continue;
    Directory::Stored stored;
    const Tier* const configured = rules_.directory->tier(name);
    Tier holds = over_configured(name, one.row, stored.lowered);
    for (const auto& [key, value] : one.row.fields()) stored.fields.push_back(field_name(key));
    std::sort(stored.fields.begin(), stored.fields.end());
    if (configured && too_old(one.good_at, now)) {
      holds = lower_of(*configured, holds);
      keep_lower(stored, *configured, holds);
    }
    // A row that does not fit to what the configuration says by now is left out.
    if (all->add_tier(std::move(holds))) all->note_stored(name, std::move(stored));
  }
  return all;
}

Error Catalog::no_tier(std::string_view name, Time now) const {
  std::set<std::string_view> there_are;
  for (const auto& [each, tier] : rules_.directory->tiers()) there_are.insert(each);
  for (const auto& [each, one] : tiers_)
    if (has_tier(each, now)) there_are.insert(each);
  return no_such_tier(name, there_are);
}

Fields Catalog::last_row(std::string_view tenant) const {
  const auto at = entries_.find(std::string(tenant));
  return at == entries_.end() ? Fields() : at->second.row.fields();
}

Expected<void> Catalog::takes(const std::string& tenant, const Fields& fields, Time now) const {
  const auto row = Row::of_tenant(fields);
  return row ? fits(tenant, *row, now) : tl::unexpected(row.error());
}

void Catalog::watch(const Tenant& record, Time now) {
  Entry& one = entry(record.name);
  if (++one.watchers > 1) return;
  one.told = std::make_unique<Tenant>(record);
  place(one);
  if (one.state == State::Asked)
    fetch(one, Of::Tenant, *one.name);  // forgotten meanwhile
  else
    update(one, now);
}

void Catalog::unwatch(std::string_view tenant) {
  const auto at = entries_.find(std::string(tenant));
  PGWEIR_CHECK(at != entries_.end() && at->second.watchers > 0);
  Entry& one = at->second;
  if (--one.watchers > 0) return;
  one.told.reset();
  one.stale = false;
  place(one);
  // He was served without a row, and nobody is left for whom it would be asked for.
  if (one.state == State::Asked && !one.fetching.now) forget(one);
}

std::size_t Catalog::stale() const {
  std::size_t count = 0;
  for (const Entry* one = watched_.front(); one != nullptr; one = List<Entry>::next(*one))
    count += one->stale ? 1 : 0;
  return count;
}

void Catalog::row(Of of, std::string_view name, const Expected<Fields>& fields, Time now) {
  failing_since_.reset();
  take(of, name, fields, now);
  refresh_next(now);
}

void Catalog::no_row(Of of, std::string_view name, Time now) {
  take(of, name, Fields(), now);
  refresh_next(now);
}

void Catalog::failed(Of of, std::string_view name, Time now) {
  ++totals_.failed;
  if (!failing_since_) failing_since_ = now;
  lose(of, name, now);
  refresh_next(now);
}

void Catalog::take(Of of, std::string_view name, const Expected<Fields>& fields, Time now) {
  if (of == Of::Tier) {
    const auto at = tiers_.find(name);
    if (at == tiers_.end()) return;
    const bool again = end_fetch(at->second.fetching);
    tier_row(at->first, at->second, fields, now);
    if (again) refresh(at->second, of, at->first, Why::Changed);
    return;
  }
  const auto at = entries_.find(std::string(name));
  if (at == entries_.end()) return;  // forgotten meanwhile
  Entry& one = at->second;
  const bool again = end_fetch(one.fetching);
  tenant_row(one, fields, now);
  if (!again || !entries_.contains(std::string(name))) return;
  one.fetching.again = one.fetching.now;  // it waits for its tier
  refresh(one, of, *one.name, Why::Changed);
}

void Catalog::lose(Of of, std::string_view name, Time now) {
  if (of == Of::Tier) {
    const auto at = tiers_.find(name);
    if (at == tiers_.end()) return;
    end_fetch(at->second.fetching);
    at->second.next_at = now + kRetry;
    if (has_tier(name, now)) return serve_waiting(at->second, now);
    // Whether their rows are good cannot be said.
    for (const auto& [tenant, row] : std::exchange(at->second.waiting, {})) lose(Of::Tenant, tenant, now);
    return;
  }
  const auto at = entries_.find(std::string(name));
  if (at == entries_.end()) return;
  Entry& one = at->second;
  end_fetch(one.fetching);
  one.next_at = now + kRetry;
  one.in_vain = true;
  switch (one.state) {
    case State::Known:
    case State::Absent: return;
    case State::Awaited: set_state(one, State::Known); return settle(one, true, now);
    case State::Asked: break;
  }
  actions_.push_back({Action::Kind::Settled,
                      of,
                      *one.name,
                      {Answer::Kind::Unreachable, from(rules_.unreachable, *one.name, now)},
                      {}});
  if (one.watchers == 0) forget(one);
}

void Catalog::changed(std::string_view what, Time now) {
  if (what == kAll) {
    if (all_at_ && now - *all_at_ < kAllAtMost)
      all_asked_ = true;
    else
      all_due(now);
    return;
  }
  if (what.starts_with(kTierPrefix)) {
    const auto tier = tiers_.find(what.substr(kTierPrefix.size()));
    if (tier == tiers_.end()) return;
    tier->second.fetching.again = tier->second.fetching.now;
    return refresh(tier->second, Of::Tier, tier->first, Why::Changed);
  }
  const auto at = entries_.find(std::string(what));
  if (at == entries_.end()) return;
  at->second.fetching.again = at->second.fetching.now;
  refresh(at->second, Of::Tenant, at->first, Why::Changed);
}

void Catalog::all_due(Time now) {
  all_at_ = now;
  all_asked_ = false;
  for (auto& [name, one] : entries_) {
    one.next_at = now;
    one.fetching.again = one.fetching.now;
  }
  for (auto& [name, tier] : tiers_) {
    tier.next_at = now;
    tier.fetching.again = tier.fetching.now;
  }
  tick(now);
}

void Catalog::tick(Time now) {
  if (all_asked_ && now - *all_at_ >= kAllAtMost) return all_due(now);
  tier_entry(rules_.default_tier);
  for (auto& [name, tier] : tiers_) {
    if (tier.next_at <= now) refresh(tier, Of::Tier, name, Why::Old);
    if (!tier.row.empty() && !tier.old_told && too_old(tier.good_at, now)) {
      tier.old_told = true;
      ++tiers_version_;
    }
  }
  for (Entry* one = watched_.front(); one != nullptr; one = List<Entry>::next(*one)) {
    if (one->next_at <= now) refresh(*one, Of::Tenant, *one->name, Why::Old);
    if (!one->stale && is_stale(*one, now)) update(*one, now);
  }
}

// Perhaps one with a slip in it, perhaps the platform's own.
void Catalog::note_strange(Of of, const std::string& name, const Fields& fields) {
  for (const auto& [key, value] : fields) {
    if (of == Of::Tier ? Row::knows_of_tier(key) : Row::knows_of_tenant(key)) continue;
    if (strange_.size() < kStrangeMax && strange_.insert(key).second)
      actions_.push_back({Action::Kind::Strange, of, name, {}, key});
  }
}

void Catalog::tenant_row(Entry& one, const Expected<Fields>& fields, Time now) {
  if (!fields) return refuse(one, fields.error().message, now);
  if (fields->empty()) return nothing(one, now);
  auto row = Row::of_tenant(*fields);
  if (!row) return refuse(one, row.error().message, now);
  if (row->unknown_fields() > 0) note_strange(Of::Tenant, *one.name, *fields);
  const std::string name(tier_of(*row));
  TierEntry* tier = tier_entry(name);
  if (!tier) return refuse(one, "tier must be one of at most " + std::to_string(kTiersMax) + " tiers", now);
  if (tier->answered || (tier->next_at > now && has_tier(name, now)))
    return accept(one, std::move(*row), now);
  if (tier->next_at > now) return lose(Of::Tenant, *one.name, now);  // as its tier was, just now
  fetch(*tier, Of::Tier, name);
  one.fetching.now = true;  // not settled yet
  tier->waiting.emplace_back(*one.name, std::move(*row));
}

void Catalog::tier_row(const std::string& name, TierEntry& one, const Expected<Fields>& fields, Time now) {
  const bool was_answered = std::exchange(one.answered, true);
  one.next_at = old_at(name, now);
  const auto complain = [&](const std::string& reason) {
    ++totals_.refused;
    if (!std::exchange(one.complained, true))
      actions_.push_back({Action::Kind::Refused, Of::Tier, name, {}, reason});
  };
  bool differs = false;
  if (!fields) {
    complain(fields.error().message);
  } else if (fields->empty()) {
    // The tier of the configuration holds again, once it is sure that the store was not just emptied; those
    // whose own rows are gone, too, get no more by that.
    const bool believed = rules_.vanished == Vanished::Believed;
    if (!one.row.empty()) ++totals_.vanished;
    if (!one.row.empty() && (believed || too_old(one.good_at, now))) {
      tell_difference(Of::Tier, name, one.row, Row());
      one.last = std::exchange(one.row, Row());
      differs = true;
    }
    if (believed) one.last = Row();
  } else if (auto row = Row::of_tier(*fields); !row) {
    complain(row.error().message);
  } else if (auto good = fits(name, *row); !good) {
    complain(good.error().message);
  } else {
    if (row->unknown_fields() > 0) note_strange(Of::Tier, name, *fields);
    differs = !(one.row == *row) || too_old(one.good_at, now);
    if (was_answered && !(one.row == *row)) tell_difference(Of::Tier, name, one.row, *row);
    one.row = std::move(*row);
    one.last = Row();
    one.good_at = now;
    one.complained = one.old_told = false;
    std::vector<Lowered> lowered;
    const Tier made = over_configured(name, one.row, lowered);
    tell_lowered(Of::Tier, name, lowered, made, one.lowered_told);
  }
  serve_waiting(one, now);
  if (!differs) return;
  ++tiers_version_;
  update_all(now);
}

void Catalog::serve_waiting(TierEntry& tier, Time now) {
  for (auto& [name, row] : std::exchange(tier.waiting, {})) {
    const auto at = entries_.find(name);
    if (at == entries_.end()) continue;
    const bool again = end_fetch(at->second.fetching);
    accept(at->second, std::move(row), now);
    if (again) refresh(at->second, Of::Tenant, name, Why::Changed);
  }
}

void Catalog::accept(Entry& one, Row row, Time now) {
  if (auto good = fits(*one.name, row, now); !good) return refuse(one, good.error().message, now);
  const bool was_waited_for = is_waited_for(one);
  if (!(one.row == row)) {
    if (is_known(one)) tell_difference(Of::Tenant, *one.name, one.row, row);
    one.row = std::move(row);
  }
  one.good_at = now;
  one.next_at = old_at(*one.name, now);
  one.deleted = one.in_vain = false;
  one.refused.reset();
  set_state(one, State::Known);
  note_suspension(one);
  settle(one, was_waited_for, now);
}

// One that is known must not grow too old because he was once not to be read.
Duration Catalog::vain_ttl(const Entry& one) const {
  return is_known(one) ? std::min(rules_.ttl, rules_.negative_ttl) : rules_.negative_ttl;
}

void Catalog::nothing(Entry& one, Time now) {
  const bool was_waited_for = is_waited_for(one);
  one.next_at = now + vain_ttl(one);
  one.refused.reset();
  one.in_vain = true;
  if (is_known(one)) ++totals_.vanished;
  if (is_known(one) && rules_.vanished == Vanished::Doubted) {
    set_state(one, State::Known);
    if (was_waited_for) settle(one, true, now);
    return;
  }
  if (is_known(one)) {
    one.deleted = true;
    tell_difference(Of::Tenant, *one.name, one.row, Row());
    one.row = Row();
  }
  set_state(one, State::Absent);
  note_suspension(one);
  settle(one, was_waited_for, now);
}

void Catalog::refuse(Entry& one, const std::string& reason, Time now) {
  ++totals_.refused;
  if (!one.refused) actions_.push_back({Action::Kind::Refused, Of::Tenant, *one.name, {}, reason});
  one.refused = std::make_unique<std::string>(reason);
  one.next_at = now + vain_ttl(one);
  one.in_vain = true;
  if (!is_waited_for(one)) return;
  set_state(one, is_known(one) ? State::Known : State::Absent);
  settle(one, true, now);
}

// Its state has been set.
void Catalog::settle(Entry& one, bool was_waited_for, Time now) {
  place(one);
  if (was_waited_for)
    actions_.push_back({Action::Kind::Settled, Of::Tenant, *one.name, answer(one, now), {}});
  update(one, now);
}

void Catalog::update(Entry& one, Time now) {
  if (one.watchers == 0 || one.state == State::Asked) return;
  one.stale = is_stale(one, now);
  Answer is = answer(one, now);
  // Without a record new clients are refused; those that are here stay what they are, unless it was deleted.
  if (!is.record && !one.deleted) return;
  if (!is.record) {
    is.record = *one.told;
    is.record->state = TenantState::Suspended;
    is.record->reason = kGone;
    is.record->revision = ++revision_;
  }
  one.told->revision = is.record->revision;
  if (*one.told == *is.record) return;
  *one.told = *is.record;
  actions_.push_back({Action::Kind::Changed, Of::Tenant, *one.name, std::move(is), {}});
}

void Catalog::update_all(Time now) {
  for (Entry* one = watched_.front(); one != nullptr; one = List<Entry>::next(*one)) update(*one, now);
}

// Null: there are too many.
Catalog::TierEntry* Catalog::tier_entry(const std::string& name) {
  if (const auto at = tiers_.find(name); at != tiers_.end()) return &at->second;
  if (tiers_.size() >= kTiersMax)
    std::erase_if(tiers_, [](const auto& each) {
      return each.second.row.empty() && !each.second.fetching.now && each.second.waiting.empty();
    });
  return tiers_.size() >= kTiersMax ? nullptr : &tiers_[name];
}

std::string_view Catalog::tier_of(const Row& row) const {
  const std::string_view named = row.get("tier");
  return named.empty() ? std::string_view(rules_.default_tier) : named;
}

Tier Catalog::over_configured(std::string_view name, const Row& row, std::vector<Lowered>& lowered) const {
  const Tier* const configured = rules_.directory->tier(name);
  Tier made = configured ? *configured : Tier{};
  made.name = name;
  (void)row.apply(made, lowered);  // see fits()
  return made;
}

// Ceilings do not rise because nobody can say any more what a tier's row was.
std::optional<Tier> Catalog::tier(std::string_view name, Time now) const {
  const Tier* const configured = rules_.directory->tier(name);
  const auto at = tiers_.find(name);
  if (at == tiers_.end() || at->second.row.empty())
    return configured ? std::optional(*configured) : std::nullopt;
  std::vector<Lowered> lowered;
  const Tier was = over_configured(name, at->second.row, lowered);
  return configured && too_old(at->second.good_at, now) ? lower_of(*configured, was) : was;
}

std::optional<Tier> Catalog::lowest_tier(std::string_view name, Time now) const {
  const std::optional<Tier> is = tier(name, now);
  const auto at = tiers_.find(name);
  if (at == tiers_.end()) return is;
  const Row& last = at->second.last;
  if (last.empty()) return is;
  std::vector<Lowered> lowered;
  const Tier was = over_configured(name, last, lowered);
  return is ? lower_of(*is, was) : was;
}

// With the tier that it names.
Expected<void> Catalog::fits(const std::string& tenant, const Row& row, Time now) const {
  const std::optional<Tier> base = tier(tier_of(row), now);
  if (!base)
    return fail(sqlstate::kConfigFileError, "tier must be the name of a tier, not " + quoted(tier_of(row)));
  Tenant record;
  record.limits = *base;
  if (auto good = row.apply(record); !good) return good;
  if (auto good = check_tier(record.limits); !good) return good;
  return rules_.check ? rules_.check(resolve(tenant, row, false, now)) : Expected<void>();
}

// With the configuration's tier of that name.
Expected<void> Catalog::fits(const std::string& name, const Row& row) const {
  const Tier* const configured = rules_.directory->tier(name);
  Tier made = configured ? *configured : Tier{};
  std::vector<Lowered> lowered;
  if (auto good = row.apply(made, lowered); !good) return good;
  return check_tier(made);
}

Tenant Catalog::resolve(const std::string& name, const Row& row, bool stale, Time now) const {
  Tenant record;
  const auto as_it_is = [&](std::string_view tier_name) {
    return stale ? lowest_tier(tier_name, now) : tier(tier_name, now);
  };
  const std::optional<Tier> own = as_it_is(tier_of(row));
  const std::optional<Tier> fallback = own && !stale ? std::nullopt : as_it_is(rules_.default_tier);
  record.limits = own ? *own : *fallback;
  (void)row.apply(record);  // see fits()
  // Ceilings never rise because a store is silent.
  if (stale) record.limits = lower_of(*fallback, record.limits);
  record.stale = stale;
  record.name = name;
  if (record.database.empty()) record.database = name;
  if (record.backend.empty()) record.backend = rules_.first_backend;
  return record;
}

std::optional<Tenant> Catalog::from(const Elsewhere& elsewhere, const std::string& name, Time now) {
  if (!elsewhere) return {};
  std::optional<Tenant> record = elsewhere(name);
  if (!record) return {};
  // Without values of its own, it follows the tier as the store has it.
  if (record->overrides.empty()) {
    if (const auto now_is = tier(record->limits.name, now)) record->limits = *now_is;
  }
  record->revision = ++revision_;
  return record;
}

Catalog::Answer Catalog::answer(Entry& one, Time now) {
  PGWEIR_CHECK(one.state != State::Asked);
  const std::string refused = one.refused ? *one.refused : "";
  if (one.state == State::Absent)
    return {Answer::Kind::Unknown, from(rules_.unknown, *one.name, now), refused};
  Tenant record = resolve(*one.name, one.row, is_stale(one, now), now);
  if (!record.stale) tell_lowered(Of::Tenant, *one.name, record.lowered, record.limits, one.lowered_told);
  record.revision = ++revision_;
  return {Answer::Kind::Known, std::move(record), refused};
}

void Catalog::tell_difference(Of of, const std::string& name, const Row& was, const Row& is) {
  if (std::string what = difference(was.fields(), is.fields()); !what.empty())
    actions_.push_back({Action::Kind::Differs, of, name, {}, std::move(what)});
}

// Once, until it is over.
void Catalog::tell_lowered(Of of, const std::string& name, const std::vector<Lowered>& lowered,
                           const Tier& limits, bool& told) {
  if (!std::exchange(told, !lowered.empty()) && told)
    actions_.push_back({Action::Kind::Lowered, of, name, {}, text(lowered, limits)});
}

}  // namespace pgweir::tiers
