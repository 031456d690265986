#include "pooler/tier_control.h"

#include <fmt/format.h>

#include <algorithm>
#include <utility>

#include "pooler/base/check.h"
#include "pooler/base/quoted.h"
#include "pooler/net/wall_clock.h"
#include "protocol/secret.h"

namespace pgweir {

namespace {

tiers::Catalog::Rules rules_of(const std::shared_ptr<const Snapshot>& snapshot) {
  const conf::Config& config = snapshot->config();
  tiers::Catalog::Rules rules;
  rules.ttl = config.store_ttl;
  rules.negative_ttl = config.store_negative_ttl;
  rules.stale_max = config.store_stale_max;
  rules.known_max = config.store_known_max;
  rules.vanished = config.store_kind == conf::StoreKind::Postgres ? tiers::Catalog::Vanished::Believed
                                                                  : tiers::Catalog::Vanished::Doubted;
  rules.default_tier = config.default_tier;
  rules.first_backend = snapshot->backends[0].settings.name;
  rules.directory = {snapshot, &snapshot->directory};
  rules.check = [snapshot](const tiers::Tenant& record) -> Expected<void> {
    if (!snapshot->backend(record.backend))
      return fail(sqlstate::kConfigFileError,
                  "backend must be the name of a backend, not " + quoted(record.backend));
    if (record.password.empty()) return {};
    const auto secret = protocol::parse_secret(record.password);
    if (!secret) return fail(sqlstate::kConfigFileError, "password " + secret.error().message);
    return {};
  };
  rules.unknown = [snapshot](std::string_view tenant) { return snapshot->tenant(tenant); };
  rules.unreachable = rules.unknown;
  if (!config.store_serve_unreachable)
    rules.unreachable = [snapshot](std::string_view tenant) { return snapshot->directory.find(tenant); };
  return rules;
}

std::string seconds(Duration d) {
  return fmt::format("{}s", std::chrono::duration_cast<std::chrono::seconds>(d).count());
}

}  // namespace

TierControl::TierControl(net::Loop& loop, Log& log, std::shared_ptr<const Snapshot> snapshot,
                         const MakeStore& make)
    : loop_(loop),
      log_(log),
      snapshot_(std::move(snapshot)),
      catalog_(rules_of(snapshot_)),
      store_(make(*this)),
      orders_(catalog_, *store_, log_),
      timer_(this, [](void* self) { static_cast<TierControl*>(self)->tick(); }) {}

TierControl::~TierControl() = default;

void TierControl::start(News news) {
  loop_.post([this, news = std::move(news)] {
    news_ = news;
    store_->start();
    tick();
  });
}

void TierControl::ask(net::Loop& asker, std::string tenant, std::function<void(const Answer&)> done) {
  loop_.post([this, &asker, tenant = std::move(tenant), done = std::move(done)] {
    Answer answer = catalog_.ask(tenant, loop_.now());
    if (answer.kind == Answer::Kind::Pending)
      asking_[tenant].push_back({&asker, done});
    else
      asker.post([answer = std::move(answer), done] { done(answer); });
    obey();
  });
}

void TierControl::watch(tiers::Tenant record) {
  loop_.post([this, record = std::move(record)] {
    catalog_.watch(record, loop_.now());
    obey();
  });
}

void TierControl::unwatch(std::string tenant) {
  loop_.post([this, tenant = std::move(tenant)] { catalog_.unwatch(tenant); });
}

void TierControl::take_snapshot(std::shared_ptr<const Snapshot> snapshot) {
  loop_.post([this, snapshot = std::move(snapshot)] {
    snapshot_ = snapshot;
    catalog_.set_rules(rules_of(snapshot_), loop_.now());
    obey();
  });
}

void TierControl::set(net::Loop& asker, std::string tenant, tiers::Change change, TenantOrders::Done done) {
  loop_.post([this, &asker, tenant = std::move(tenant), change = std::move(change), done = std::move(done)] {
    orders_.begin(tenant, change, [&asker, done](const Expected<void>& changed) {
      asker.post([done, changed] { done(changed); });
    });
    obey();
  });
}

void TierControl::add_usage(std::vector<UsageDelta> deltas) {
  loop_.post([this, deltas = std::move(deltas)] {
    if (!usage_) return;
    for (const UsageDelta& delta : deltas)
      if (!usage_->add(delta, net::today(), loop_.now()) && usage_->lost_today() == 1)
        log_.warn("usage of further tenants is not kept", {{"rows", usage_->size()}});
    put_usage();
  });
}

void TierControl::try_usage(net::Loop& asker, TierStore::Done done) {
  loop_.post([this, &asker, done = std::move(done)] {
    store_->try_usage(
        [&asker, done](const std::string& error) { asker.post([done, error] { done(error); }); });
    store_->flush();
  });
}

void TierControl::finish_usage(net::Loop& asker, std::function<void()> done) {
  loop_.post([this, &asker, done = std::move(done)] {
    usage_done_ = [&asker, done] { asker.post(done); };
    usage_end_at_ = loop_.now() + kUsageWait;
    usage_end_most_ = usage_hurried_ ? usage_end_at_ : loop_.now() + kUsageWaitMost;
    usage_retry_at_ = {};
    put_usage();
  });
}

void TierControl::hurry_usage() {
  loop_.post([this] {
    usage_hurried_ = true;
    usage_end_most_ = std::min(usage_end_most_, loop_.now() + kUsageWait);
  });
}

// Some rows at a time; each answer asks for the next.
void TierControl::put_usage() {
  if (usage_ && loop_.now() >= usage_retry_at_) {
    const std::size_t at_once = store_->usage_at_once();
    while (usage_asked_ < at_once && loop_.now() >= usage_retry_at_) {
      const auto row = usage_->next();
      if (!row) break;
      ++usage_asked_;
      store_->put_usage(row->key, row->fields, [this, key = row->key](const std::string& error) {
        --usage_asked_;
        usage_written(key, error);
        put_usage_soon();
      });
    }
    store_->flush();
  }
  const Time end = std::min(usage_end_at_, usage_end_most_);
  if (!usage_done_ || (usage_ && !usage_->clean() && loop_.now() < end)) return;
  if (usage_ && !usage_->clean())
    log_.warn("usage is lost", {{"rows", usage_->unwritten()},
                                {"of_the_last", seconds(usage_->behind(loop_.now()))},
                                {"error", usage_error_}});
  std::exchange(usage_done_, nullptr)();
}

// Once for all that are answered together.
void TierControl::put_usage_soon() {
  if (std::exchange(usage_posted_, true)) return;
  loop_.post([this] {
    usage_posted_ = false;
    put_usage();
  });
}

void TierControl::usage_written(const std::string& key, const std::string& error) {
  const Duration late = usage_->behind(loop_.now());
  switch (usage_->written(key, error.empty(), net::today(), loop_.now())) {
    case UsageBook::News::None: break;
    case UsageBook::News::Refused:
      log_.warn("usage is not kept",
                {{"error", error}, {"hint", usage_hint(snapshot_->config().store_kind)}});
      break;
    case UsageBook::News::Taken: log_.info("usage is kept again", {{"late", seconds(late)}}); break;
  }
  if (error.empty()) {
    usage_end_at_ = loop_.now() + kUsageWait;
    return;
  }
  usage_error_ = error;
  usage_retry_at_ = loop_.now() + (usage_done_ ? Duration(kUsageRetryAtEnd) : Duration(kUsageRetry));
}

void TierControl::take_rate(net::Loop& asker, std::string tenant, const tiers::FleetAsk& ask,
                            TierStore::Granted done) {
  loop_.post([this, &asker, tenant = std::move(tenant), ask, done = std::move(done)] {
    store_->take_rate(tenant, ask, [&asker, done](const std::optional<tiers::FleetGrant>& grant) {
      asker.post([done, grant] { done(grant); });
    });
    store_->flush();
  });
}

void TierControl::suspensions(net::Loop& asker, std::string after, std::size_t most,
                              std::function<void(const std::vector<tiers::Tenant>&)> done) {
  loop_.post([this, &asker, after = std::move(after), most, done = std::move(done)] {
    asker.post([done, found = catalog_.suspensions(after, most, loop_.now())] { done(found); });
  });
}

void TierControl::figures(net::Loop& asker, std::function<void(const Figures&)> done) {
  loop_.post([this, &asker, done = std::move(done)] {
    asker.post([done, figures = Figures{
                          catalog_.totals(), catalog_.known(), catalog_.watched(), catalog_.suspended(),
                          catalog_.stale(), catalog_.silent(loop_.now()), usage_ ? usage_->failures() : 0,
                          usage_ && usage_->failing() > 0 ? usage_->behind(loop_.now()) : Duration{}}] {
      done(figures);
    });
  });
}

void TierControl::on_row(TierStore::Of of, const std::string& name, const Expected<tiers::Fields>& fields) {
  if (news_.answered) std::exchange(news_.answered, nullptr)();
  catalog_.row(of, name, fields, loop_.now());
  orders_.on_row(of, name, fields, loop_.now());
  obey();
}

void TierControl::on_no_row(TierStore::Of of, const std::string& name) {
  catalog_.no_row(of, name, loop_.now());
  orders_.on_row(of, name, tiers::Fields(), loop_.now());
  obey();
}

void TierControl::on_failed(TierStore::Of of, const std::string& name) {
  catalog_.failed(of, name, loop_.now());
  orders_.on_failed(of, name);
  obey();
}

void TierControl::on_changed(const std::string& what) {
  catalog_.changed(what, loop_.now());
  obey();
}

void TierControl::tick() {
  catalog_.tick(loop_.now());
  put_usage();
  obey();
  loop_.arm(timer_, loop_.now() + kTick);
}

// The store may answer a fetch() at once: then this loop goes on, not a second one inside it.
void TierControl::obey() {
  if (obeying_) return;
  obeying_ = true;
  for (auto actions = catalog_.take_actions(); !actions.empty(); actions = catalog_.take_actions()) {
    tell_tiers();
    for (const tiers::Catalog::Action& action : actions) {
      switch (action.kind) {
        case tiers::Catalog::Action::Kind::Fetch: store_->fetch(action.of, action.name); break;
        case tiers::Catalog::Action::Kind::Settled: settle(action.name, action.answer); break;
        case tiers::Catalog::Action::Kind::Changed:
          if (news_.changed) news_.changed(*action.answer.record);
          break;
        case tiers::Catalog::Action::Kind::Differs:
          if (news_.differs) news_.differs({action.of, action.name, action.reason});
          break;
        case tiers::Catalog::Action::Kind::Refused:
          log_.warn("row of the tenant store refused",
                    {{action.of == TierStore::Of::Tier ? "tier" : "tenant", quoted(action.name)},
                     {"reason", action.reason}});
          break;
        case tiers::Catalog::Action::Kind::Lowered:
          log_.warn("row of the tenant store contradicts itself or its tier",
                    {{action.of == TierStore::Of::Tier ? "tier" : "tenant", quoted(action.name)},
                     {"reason", action.reason}});
          break;
        case tiers::Catalog::Action::Kind::Strange:
          log_.warn("field of the tenant store has no meaning",
                    {{action.of == TierStore::Of::Tier ? "tier" : "tenant", quoted(action.name)},
                     {"field", quoted(action.reason)}});
          break;
      }
    }
  }
  obeying_ = false;
  tell_tiers();
  store_->flush();
}

// In front of records that follow them: who explains a record has the tiers that it was made of.
void TierControl::tell_tiers() {
  if (std::exchange(tiers_told_, catalog_.tiers_version()) != catalog_.tiers_version() && news_.tiers)
    news_.tiers(catalog_.tiers(loop_.now()));
}

void TierControl::settle(const std::string& tenant, const Answer& answer) {
  const auto place = asking_.find(tenant);
  if (place == asking_.end()) return;
  std::vector<Asker> waiting = std::move(place->second);
  asking_.erase(place);
  for (Asker& one : waiting) one.loop->post([answer, done = std::move(one.done)] { done(answer); });
}

}  // namespace pgweir
