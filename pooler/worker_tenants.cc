// pooler/worker_tenants.cc - Worker: its tenants, and what changes of their records do.
#include <algorithm>

#include "pooler/base/planted.h"
#include "pooler/tier_control.h"
#include "pooler/worker.h"
#include "protocol/trace_context.h"
#include "tiers/limit.h"

namespace pgweir {

namespace {
// What happens often is told the 1st, 10th, 100th time.
bool is_power_of_ten(std::uint64_t count) {
  while (count > 1 && count % 10 == 0) count /= 10;
  return count == 1;
}
}  // namespace

Worker& Worker::home_of(const tiers::Tenant& tenant) const {
  if (const auto claimed = shared_.home_claimed(tenant.name)) return *shared_.workers[*claimed];
  const std::size_t hash = std::hash<std::string>{}(tenant.backend + '\0' + tenant.database);
  return *shared_.workers[hash % shared_.workers.size()];
}

bool Worker::may_be_home(const std::string& tenant) const {
  const auto claimed = shared_.home_claimed(tenant);
  return !claimed || *claimed == index_;
}

void Worker::leave_home(const std::string& name) {
  Tenant* const tenant = tenants_.find(name);
  const auto has_servers = [this](std::uint64_t id) {
    const Group* const group = groups_.find(id);
    return group && group->tenants().empty() && !group->servers().empty();
  };
  if (tenant && (tenant->clients > 0 ||
                 std::any_of(tenant->left_groups.begin(), tenant->left_groups.end(), has_servers)))
    return;
  shared_.leave_home(name, index_);
  if (tenant) forget_where_strange(*tenant);
}

void Worker::forget_where_strange(const Tenant& tenant) {
  if (tenant.clients > 0 || &home_of(tenant.record) == this) return;
  loop_.post([this, name = tenant.record.name] {
    Tenant* const strange = tenants_.find(name);
    if (strange && strange->clients == 0 && &home_of(strange->record) != this) tenants_.forget(*strange);
  });
}

Tenant& Worker::tenant(const tiers::Tenant& record) {
  Tenant* const known = tenants_.find(record.name);
  // A login may come before the same news of the store does.
  if (known && known->clients > 0) follow_all({&record, 1});
  const bool changes = !known || known->record.limits != record.limits;
  Tenant& tenant = tenants_.get(record, loop_.now(), all_paused_);
  record_changed(tenant);
  if (changes) limits_changed(tenant);
  return tenant;
}

// Never the text of a statement.
void Worker::tell_held(const Tenant& tenant, const CeilingGuard::Held& held, std::uint64_t count) {
  const std::string name(held.parameter), found(held.value);
  const tiers::Tenant& record = tenant.record;
  if (AuditStream* trail = audit()) switch (held.route) {
      case CeilingRoute::Lowered:
        trail->record(AuditEvent::CeilingLowered, AuditOutcome::Success,
                      {{AuditKey::Tenant, record.name},
                       {AuditKey::Tier, record.limits.name},
                       {AuditKey::Parameter, name},
                       {AuditKey::Times, count}});
        break;
      case CeilingRoute::Refused:
        trail->record(AuditEvent::CeilingRefused, AuditOutcome::Failure,
                      {{AuditKey::Tenant, record.name},
                       {AuditKey::Tier, record.limits.name},
                       {AuditKey::Parameter, name},
                       {AuditKey::Times, count}});
        break;
      case CeilingRoute::Enforced:
        trail->record(AuditEvent::CeilingEnforced, AuditOutcome::Success,
                      {{AuditKey::Tenant, record.name},
                       {AuditKey::Tier, record.limits.name},
                       {AuditKey::Parameter, name},
                       {AuditKey::Found, found},
                       {AuditKey::Times, count}});
        break;
      case CeilingRoute::Canceled:
      case CeilingRoute::Ended: break;
    }
  const auto traced = protocol::trace_context(held.sql, held.sql).value_or(protocol::TraceContext{});
  const LogField trace = LogField::ours("trace.id", traced.trace_id);
  const LogField span = LogField::ours("span.id", traced.span_id);
  switch (held.route) {
    case CeilingRoute::Lowered:
      return log().info("ceiling_lowered", {{"tenant", record.name},
                                            {"tier", record.limits.name},
                                            {"parameter", name},
                                            {"times", count},
                                            trace,
                                            span});
    case CeilingRoute::Refused:
      return log().warn("ceiling_refused", {{"tenant", record.name},
                                            {"tier", record.limits.name},
                                            {"parameter", name},
                                            {"times", count},
                                            trace,
                                            span});
    case CeilingRoute::Enforced:
      if (found.empty())
        return log().warn(
            "ceiling_enforced",
            {{"tenant", record.name}, {"tier", record.limits.name}, {"parameter", name}, {"times", count}});
      return log().warn("ceiling_enforced", {{"tenant", record.name},
                                             {"tier", record.limits.name},
                                             {"parameter", name},
                                             {"found", found},
                                             {"times", count}});
    // Each is told where it happens: ceiling_clock.
    case CeilingRoute::Canceled:
    case CeilingRoute::Ended: return;
  }
}

// Where more come than can be looked at, the rest does without its fingerprint.
void Worker::tell_slow(SlowTransaction slow) {
  if (slow_told_ == kSlowMost) return tell(log(), slow, Fingerprint::LeftOut);
  ++slow_told_;
  loop_.offload([&log = log(), slow = std::move(slow)] { tell(log, slow, Fingerprint::Told); },
                [this] { --slow_told_; });
}

bool Worker::renew_guard(Tenant& tenant) {
  tenant.clocks = clock_limits(tenant.record.limits);
  tenant.nearest_alarm = nearest_alarm(tenant.clocks);
  if (!tenant.guard.on_held)
    tenant.guard.on_held = [this, &tenant](const CeilingGuard::Held& held, std::uint64_t count) {
      ++tenant.meter->ceilings[std::string(held.parameter)].of(held.route);
      if (is_power_of_ten(count)) tell_held(tenant, held, count);
    };
  if (!tenant.pins.tiers) tenant.pins.tiers = [this]() -> const tiers::Directory& { return known_tiers(); };
  if (!tenant.pins.on_refused)
    tenant.pins.on_refused = [this, &tenant](tiers::Limit limit, const Error& error, Bytes sql) {
      if (limit != tiers::Limit::Pins) ++(tenant.traffic.*hits_of(limit));  // those the book counts
      const auto traced = protocol::trace_context(sql, sql).value_or(protocol::TraceContext{});
      log().info("request_refused", {{"tenant", tenant.record.name},
                                     {"tier", tenant.record.limits.name},
                                     {"sqlstate", error.sqlstate},
                                     {"reason", error.message},
                                     LogField::ours("trace.id", traced.trace_id),
                                     LogField::ours("span.id", traced.span_id)});
    };
  return tenant.guard.renew();
}

void Worker::ceilings_changed(const std::unordered_set<const Tenant*>& of) {
  if (of.empty()) return;
  for (auto& [id, session] : sessions_)
    if (of.contains(&session->tenant())) session->ceilings_changed();
}

bool Worker::renew_startup(Tenant& tenant) {
  const StartupRef before = std::exchange(tenant.startup, startups_.of(tenant.record));
  return before && before != tenant.startup;
}

void Worker::startups_changed(const std::set<std::pair<std::string, std::string>>& where) {
  if (where.empty()) return;
  for (auto& [key, group] : groups_.by_key())
    if (where.contains({key.backend, key.database})) group->startup_changed();
}

void Worker::record_changed(Tenant& tenant) {
  if (renew_guard(tenant)) ceilings_changed({&tenant});
  if (renew_startup(tenant)) startups_changed({{tenant.record.backend, tenant.record.database}});
}

// A tier that changes is news of all its tenants at once: what looks at all sessions or groups is done once
// for many of them, and the loop serves clients between those.
void Worker::tenant_changed(const tiers::Tenant& record) {
  changes_.push_back(record);
  if (changes_.size() == 1) loop_.post([this] { take_changes(); });
}

void Worker::take_changes() {
  constexpr std::size_t kAtOnce = 500;
  const auto end = changes_.begin() + static_cast<std::ptrdiff_t>(std::min(changes_.size(), kAtOnce));
  const std::vector<tiers::Tenant> records(std::make_move_iterator(changes_.begin()),
                                           std::make_move_iterator(end));
  changes_.erase(changes_.begin(), end);
  if (!changes_.empty()) loop_.post([this] { take_changes(); });
  follow_all(records);
}

void Worker::follow_all(std::span<const tiers::Tenant> records) {
  std::vector<std::string> changed;
  std::vector<Group*> groups;
  std::unordered_set<const Tenant*> held_anew, suspended;
  std::unordered_set<const Group*> noted;
  std::set<std::pair<std::string, std::string>> begun_anew;
  for (const tiers::Tenant& record : records) {
    Tenant* const tenant = tenants_.find(record.name);
    if (!tenant || tenant->record.revision >= record.revision) continue;
    if (follow(*tenant, record)) suspended.insert(tenant);
    if (renew_guard(*tenant)) held_anew.insert(tenant);
    if (renew_startup(*tenant)) begun_anew.emplace(tenant->record.backend, tenant->record.database);
    for (Group* group : tenant->groups)
      if (noted.insert(group).second) groups.push_back(group);
    changed.push_back(record.name);
  }
  ceilings_changed(held_anew);
  startups_changed(begun_anew);
  for (Group* group : groups) group->limits_changed();
  end_suspended(suspended);
  // Transactions that may begin now, and a login that is let in, which may make room among tenants.
  for (const std::string& name : changed)
    if (Tenant* const tenant = tenants_.find(name)) rate_changed(*tenant);
  for (const std::string& name : changed)
    if (Tenant* const tenant = tenants_.find(name)) give_places(*tenant);
}

bool Worker::follow(Tenant& tenant, const tiers::Tenant& record) {
  const tiers::Tenant before = tenant.record;
  tiers::follow(tenant.record, record);
  tenants_.change(tenant, tenant.record.limits);
  const bool suspended = record.state == tiers::TenantState::Suspended;
  const auto [move, from] = tenant.grace.follow(before, record, loop_.now(), config().downgrade_grace);
  switch (move) {
    case tiers::Move::None: break;
    case tiers::Move::Upgrade:
    case tiers::Move::Downgrade: {
      const bool up = move == tiers::Move::Upgrade;
      if (from != record.limits.name) ++(up ? tenant.meter->promotions : tenant.meter->demotions);
      log().info(
          up ? "tier_upgrade" : "tier_downgrade",
          {{"tenant", record.name}, {"from", from}, {"to", record.limits.name}, {"version", record.version}});
      if (AuditStream* trail = audit())
        trail->record(up ? AuditEvent::TierUpgrade : AuditEvent::TierDowngrade, AuditOutcome::Success,
                      {{AuditKey::Tenant, record.name},
                       {AuditKey::TierBefore, from},
                       {AuditKey::Tier, record.limits.name}});
    }
  }
  watch_grace(tenant);
  forget_where_strange(tenant);
  if (record.state == before.state) return false;
  log().info(suspended ? "tenant_suspended" : "tenant_resumed",
             {{"tenant", record.name}, {"reason", record.reason}, {"version", record.version}});
  if (AuditStream* trail = audit())
    trail->record(suspended ? AuditEvent::TenantSuspended : AuditEvent::TenantResumed, AuditOutcome::Success,
                  {{AuditKey::Tenant, record.name}, {AuditKey::Reason, record.reason}});
  if (suspended) ++tenant.meter->suspensions;
  return suspended;
}

// Whoever is in a transaction ends with it.
void Worker::end_suspended(const std::unordered_set<const Tenant*>& tenants) {
  if (tenants.empty()) return;
  std::vector<Session*> idle;
  for (auto& [id, session] : sessions_)
    if (tenants.contains(&session->tenant()) &&
        (session->between_transactions() || PGWEIR_PLANTED(CUT_SUSPENDED)))
      idle.push_back(session.get());
  for (Session* session : idle) session->end(session->tenant().why_ended());
}

// A silent store closes nobody: whose grace ends meanwhile is looked at again when it speaks.
void Worker::watch_grace(Tenant& tenant) {
  const Time until = tenant.grace.until();
  if (until == kNever || tenant.record.stale) return;
  graces_.insert(tenant.record.name);
  if (!grace_timer_.armed() || grace_timer_.at() > until) loop_.arm(grace_timer_, until);
}

void Worker::end_graces() {
  Time next = kNever;
  std::vector<Tenant*> over;
  for (auto place = graces_.begin(); place != graces_.end();) {
    Tenant* const tenant = tenants_.find(*place);
    const Time until = tenant && !tenant->record.stale ? tenant->grace.until() : kNever;
    if (until > loop_.now()) {
      next = std::min(next, until);
      place = until == kNever ? graces_.erase(place) : std::next(place);
      continue;
    }
    tenant->grace.end();
    over.push_back(tenant);
    place = graces_.erase(place);
  }
  if (next != kNever) loop_.arm(grace_timer_, next);
  if (over.empty()) return;
  std::unordered_map<const Tenant*, std::vector<Session*>> sessions;
  for (const Tenant* tenant : over) sessions[tenant];
  for (auto& [id, session] : sessions_)
    if (const auto of = sessions.find(&session->tenant()); of != sessions.end())
      of->second.push_back(session.get());
  for (const Tenant* tenant : over) close_surplus(*tenant, sessions[tenant]);
}

// Of clients those that came last, of transactions those that began last.
void Worker::close_surplus(const Tenant& tenant, const std::vector<Session*>& sessions) {
  const auto close_newest = [&](tiers::Limit limit, auto concerns, auto when) {
    const std::uint32_t allowed = tenant.record.limits.*tiers::row_of(limit).member;
    std::vector<Session*> all;
    for (Session* session : sessions)
      if (!session->closing() && concerns(*session)) all.push_back(session);
    if (all.size() <= allowed) return;
    const Error why = tenant.why_surplus(limit, static_cast<std::uint32_t>(all.size()));
    std::sort(all.begin(), all.end(),
              [&](const Session* a, const Session* b) { return when(*a) > when(*b); });
    all.resize(all.size() - allowed);
    log().info("surplus closed after a downgrade", {{"tenant", tenant.record.name},
                                                    {"tier", tenant.record.limits.name},
                                                    {"limit", tiers::row_of(limit).key},
                                                    {"clients", all.size()}});
    for (Session* session : all) session->end(why);
  };
  close_newest(
      tiers::Limit::Clients, [](const Session&) { return true; },
      [](const Session& session) { return session.connected_at(); });
  close_newest(
      tiers::Limit::Servers, [](const Session& session) { return session.server() != nullptr; },
      [](const Session& session) { return session.since(); });
}

void Worker::definitions_changed(const GroupKey& where) {
  for (auto& [key, group] : groups_.by_key())
    if (key.backend == where.backend && key.database == where.database)
      group->definitions_changed(key.user == where.user ? RoutineBook::By::Own : RoutineBook::By::Others);
}

void Worker::leave_database(const std::string& backend, const std::string& database) {
  for (Worker* each : shared_.workers)
    each->loop().post([each, backend, database] {
      for (auto& [key, group] : each->groups_.by_key())
        if (key.backend == backend && key.database == database && group->tenants().empty())
          group->close_unused("its database is to be dropped, renamed or copied");
      each->after_change();
    });
}

void Worker::routines_read(const Group& by) {
  for (auto& [key, group] : groups_.by_key())
    if (group.get() != &by && key.backend == by.key().backend && key.database == by.key().database)
      group->books.routines.confirm(by.books.routines);
}

void Worker::renew_servers(const GroupKey& by, NewStarts whose) {
  const auto concerned = [=, backend = by.backend, database = by.database,
                          user = by.user](const GroupKey& key) {
    return key.backend == backend &&
           ((whose & starts::kOfAll) || ((whose & starts::kOfUser) && key.user == user) ||
            ((whose & starts::kOfDatabase) && key.database == database));
  };
  for (Worker* each : shared_.workers)
    each->loop().post([each, concerned] {
      for (auto& [key, group] : each->groups_.by_key())
        if (concerned(key)) group->renew_servers();
      each->after_change();
    });
}

void Worker::limits_changed(Tenant& tenant) {
  const std::vector<Group*> groups = tenant.groups;
  for (Group* group : groups) group->limits_changed();
  rate_changed(tenant);
  give_places(tenant);
}

void Worker::rate_changed(Tenant& tenant) {
  const tiers::Tier& limits = tenant.record.limits;
  if (limits.transactions_per_minute > 0) {
    if (tenant.throttle && PGWEIR_PLANTED(RENEW_RATE)) {
      tenant.throttle->open();
      tenant.throttle.reset();
    }
    if (tenant.throttle)
      tenant.throttle->change(limits);
    else
      tenant.throttle =
          std::make_unique<Throttle>(loop_, limits, tenant.record.name,
                                     config().store_rates == conf::Rates::Fleet ? shared_.tiers : nullptr);
  } else if (tenant.throttle) {
    tenant.throttle->open();
    tenant.throttle.reset();
  }
}

}  // namespace pgweir
