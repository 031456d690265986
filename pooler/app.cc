#include "pooler/app.h"

#include <fmt/format.h>

#include <algorithm>
#include <utility>

#include "conf/change.h"
#include "pooler/audit_stream.h"
#include "pooler/base/check.h"
#include "pooler/shared.h"
#include "pooler/tier_control.h"
#include "pooler/worker.h"

namespace pgweir {

namespace {
Error shutting_down() {
  return {sqlstate::kAdminShutdown,
          "terminating connection: the pooler is shutting down",
          {},
          "Connect again; another instance may already serve."};
}

void tell(AuditStream& audit, const tiers::Difference& one) {
  const bool tenant = one.of == tiers::Of::Tenant;
  audit.record(tenant ? AuditEvent::TenantChanged : AuditEvent::TierChanged, AuditOutcome::Success,
               {{tenant ? AuditKey::Tenant : AuditKey::Tier, one.name}, {AuditKey::Changed, one.what}});
}

// The stream has room for some thousand lines, also those of others.
void tell(AuditStream& audit, const std::vector<tiers::Difference>& all) {
  constexpr std::size_t kMost = 1000;
  for (std::size_t i = 0; i < std::min(all.size(), kMost); ++i) tell(audit, all[i]);
  if (all.size() > kMost)
    tell(audit, tiers::Difference{tiers::Of::Tenant, "*",
                                  fmt::format("{} more rows have changed", all.size() - kMost)});
}
}  // namespace

App::App(const std::vector<WorkerParts>& workers, Log& log, std::shared_ptr<const Snapshot> snapshot,
         Reload reload, std::function<void()> on_stopped)
    : shared_(std::make_unique<Shared>(log)),
      reload_(std::make_shared<const Reload>(std::move(reload))),
      on_stopped_(std::move(on_stopped)),
      deadline_(this, [](void* self) { static_cast<App*>(self)->out_of_time(); }) {
  PGWEIR_CHECK(!workers.empty() && workers.size() <= 256);
  shared_->app = this;
  workers[0].rng.fill(shared_->process_secret.data(), shared_->process_secret.size());
  set_budgets(*snapshot);
  for (std::uint32_t i = 0; i < workers.size(); ++i) {
    workers_.push_back(std::make_unique<Worker>(i, workers[i].loop, workers[i].rng, *shared_, snapshot));
    shared_->workers.push_back(workers_.back().get());
  }
}

App::~App() = default;

void App::use(TierControl& tiers) {
  shared_->tiers = &tiers;
  shared_->readiness.require(Readiness::Need::TierStore);
  tiers.start({.changed =
                   [this](const tiers::Tenant& record) {
                     for (auto& worker : workers_)
                       worker->loop().post([&w = *worker, record] { w.tenant_changed(record); });
                   },
               .answered = [this] { shared_->readiness.met(Readiness::Need::TierStore); },
               .tiers =
                   [this](const TierControl::Tiers& known) {
                     for (auto& worker : workers_)
                       worker->loop().post([&w = *worker, known] { w.take_tiers(known); });
                   },
               .differs =
                   [this](const tiers::Difference& one) {
                     if (shared_->audit) tell(*shared_->audit, one);
                   }});
}

void App::listen(const std::vector<std::vector<int>>& fds) {
  PGWEIR_CHECK(fds.size() == workers_.size());
  for (std::size_t i = 0; i < fds.size(); ++i)
    workers_[i]->loop().post([&w = *workers_[i], own = fds[i]] {
      for (const int fd : own) w.listen(fd);
    });
  // Connections that come before a worker accepts them wait in the sockets.
  shared_->readiness.met(Readiness::Need::Listening);
}

void App::reload(std::function<void(bool)> done) {
  Answer answer = [done = std::move(done)](const Changed& changed) { done(changed.has_value()); };
  // Files may have changed since the front one was read.
  if (readings_.size() > 1 && readings_.back().whole) {
    readings_.back().answers.push_back(std::move(answer));
    return;
  }
  read({[reload = reload_, moved = moved_](const Snapshot&) -> Fresh {
          Fresh fresh = (*reload)();
          for (const auto& [name, move] : moved) {
            const auto record = fresh ? (*fresh)->tenant(name) : std::nullopt;
            if (record && record->backend == move.from && (*fresh)->backend(move.to))
              fresh = with_tenant(**fresh, name, {.set = {{"backend", move.to}}});
          }
          return fresh;
        },
        {std::move(answer)},
        "configuration reloaded",
        true});
}

void App::let_change(conf::ReadFile read) {
  read_file_ = std::make_shared<const conf::ReadFile>(std::move(read));
}

void App::change(const std::string& key, const std::string& value, std::function<void(const Changed&)> done) {
  PGWEIR_CHECK(read_file_);
  const auto make = [key, value, read = read_file_](const Snapshot& now) -> Fresh {
    auto changed = conf::change(now.loaded, key, value, *read);
    if (!changed) return tl::unexpected(std::move(changed.error()));
    auto made = make_snapshot(std::move(*changed), *read);
    if (!made) return tl::unexpected(conf::describe(made.error().front()));
    return std::move(*made);
  };
  read({make, {std::move(done)}, "setting changed"});
}

void App::change_tenant(const std::string& tenant, const tiers::Change& change,
                        std::function<void(const Changed&)> done) {
  const auto make = [tenant, change](const Snapshot& now) { return with_tenant(now, tenant, change); };
  read({make, {std::move(done)}, "tenant changed"});
}

void App::move_tenant(const tiers::Tenant& record, const std::string& to,
                      std::function<void(const Changed&)> done) {
  // Known to every reload that is asked for from now on.
  const auto before = moved_;
  remember_move(record.name, record.backend, to);
  change_tenant(record.name, {.set = {{"backend", to}}},
                [this, before, name = record.name, done = std::move(done)](const Changed& changed) {
                  if (!changed) {
                    moved_.erase(name);
                    if (const auto was = before.find(name); was != before.end()) moved_.insert(*was);
                  }
                  done(changed);
                });
}

// Back where the configuration has it, there is nothing to remember.
void App::remember_move(const std::string& tenant, const std::string& from, const std::string& to) {
  const auto known = moved_.find(tenant);
  const std::string configured = known == moved_.end() ? from : known->second.from;
  moved_.erase(tenant);
  if (configured != to) moved_[tenant] = {configured, to};
}

void App::read(Reading reading) {
  readings_.push_back(std::move(reading));
  if (readings_.size() == 1) read_next();
}

void App::read_next() {
  struct Made {
    Fresh fresh;
    std::vector<tiers::Difference> differences;  // for the audit stream, if there is one
  };
  const auto made = std::make_shared<Made>();
  workers_[0]->loop().offload(
      [made, make = readings_.front().make, now = workers_[0]->snapshot_ref(),
       told = shared_->audit != nullptr] {
        made->fresh = make(*now);
        if (told && made->fresh)
          made->differences = tiers::differences(now->directory, (*made->fresh)->directory);
      },
      [this, made] { put_in_force(made->fresh, std::move(made->differences)); });
}

void App::put_in_force(const Fresh& fresh, std::vector<tiers::Difference> differences) {
  if (!fresh) {
    if (readings_.front().whole)
      shared_->log.error("reload failed, the old configuration stays", {{"error", fresh.error()}});
    return answer(tl::unexpected(fresh.error()));
  }
  const conf::Config& config = (*fresh)->config();
  for (const std::string& key : conf::needs_restart(workers_[0]->config(), config))
    shared_->log.warn("setting changes at the next start only", {{"setting", key}});
  shared_->log.set_level(config.log_level);
  set_budgets(**fresh);
  if (!differences.empty())
    workers_[0]->loop().offload(
        [audit = shared_->audit, differences = std::move(differences)] { tell(*audit, differences); }, [] {});
  if (shared_->tiers) shared_->tiers->take_snapshot(*fresh);
  // Counted on the first worker's thread only.
  auto left = std::make_shared<std::size_t>(workers_.size());
  for (auto& worker : workers_)
    worker->loop().post([this, &w = *worker, snapshot = *fresh, left] {
      w.take_snapshot(snapshot);
      workers_[0]->loop().post([this, left] {
        if (--*left > 0) return;
        shared_->log.info(readings_.front().news);
        answer({});
      });
    });
}

void App::set_budgets(const Snapshot& snapshot) {
  for (const BackendView& backend : snapshot.backends) {
    shared_->budget(backend.settings.name)
        .set_limits(backend.settings.max_server_connections, backend.settings.max_logins_at_once);
    shared_->breaker(backend.settings.name)
        .set_rules(breaker_rules(backend.settings, snapshot.config().server_login_retry));
  }
}

void App::answer(const Changed& changed) {
  const std::vector<Answer> answers = std::move(readings_.front().answers);
  readings_.pop_front();
  if (!readings_.empty()) read_next();
  for (const Answer& each : answers) each(changed);
}

void App::shutdown(Wait wait) {
  if (stopping_) {
    if (shared_->tiers) shared_->tiers->hurry_usage();
    return close_all();
  }
  stopping_ = true;
  shared_->readiness.stop();
  shared_->log.info("shutting down");
  on_stopping_();
  Worker& first = *workers_[0];
  const Duration patience = first.config().shutdown_timeout;
  if (wait == Wait::Transactions && patience > Duration(0))
    first.loop().arm(deadline_, first.loop().now() + patience);
  auto left = std::make_shared<std::size_t>(workers_.size());
  for (auto& worker : workers_)
    worker->loop().post([this, &w = *worker, &first, left, wait] {
      w.on_empty = [this, &w, &first, left] {
        w.roll_periods();
        first.loop().post([this, &first, left] {
          if (--*left > 0) return;
          first.loop().disarm(deadline_);
          if (!shared_->tiers) return on_stopped_();
          shared_->tiers->finish_usage(first.loop(), [this] { on_stopped_(); });
        });
      };
      if (wait == Wait::Clients)
        w.let_clients_leave(shutting_down());
      else
        w.drain(shutting_down());
    });
}

void App::out_of_time() {
  shared_->log.warn("shutdown_timeout is over");
  close_all();
}

// A worker tells its count before it can tell that it is empty.
void App::close_all() {
  struct Round {
    std::size_t left, cut_off = 0;
  };
  const auto round = std::make_shared<Round>(Round{workers_.size()});
  for (auto& worker : workers_)
    worker->loop().post([this, &w = *worker, round] {
      const std::size_t cut_off = w.close_all(shutting_down());
      workers_[0]->loop().post([this, round, cut_off] {
        cut_off_ += cut_off;
        round->cut_off += cut_off;
        if (--round->left > 0 || round->cut_off == 0) return;
        shared_->log.warn("transactions cut off", {{"count", round->cut_off}});
      });
    });
}

}  // namespace pgweir
