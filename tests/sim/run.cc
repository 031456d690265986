#include "tests/sim/run.h"

#include <fmt/format.h>

#include <algorithm>
#include <chrono>
#include <limits>

namespace pgweir::sim {

namespace {
using std::chrono::milliseconds;
using std::chrono::seconds;
constexpr Duration kServedAgain = seconds(120);  // every client, after the last fault
constexpr std::size_t kNamedMost = 20;           // of clients that are not
// The ceilings of timed stages, what Postgres comes first by, a cancel that does not help, and some.
constexpr Duration kTransactionMost = milliseconds(2'300), kStatementMost = milliseconds(1'100);
constexpr Duration kStopped = seconds(50);  // shutdown_timeout and what closing takes
// Statements that come before it is known that others have come.
constexpr std::size_t kPipelined = 3;
// What a server is told arrives after the network's latency, each way of a hand-over, and some.
constexpr int kWays = 3;
constexpr Duration kInBetween = milliseconds(5);
// What a client has sent is read before it is known that it has gone.
constexpr Duration kGone = milliseconds(300);
// A primary that stands still; and what is sent to it, until it is known to and the next one was found.
constexpr Duration kFrozenFor = seconds(30), kFrozenMost = seconds(20);
}  // namespace

Run::Run(std::uint64_t seed, const Scene& scene, Mode mode, World::Print print)
    : world_(seed, scene.name, print),
      mode_(mode),
      network_(world_),
      oracle_(world_),
      client_loop_(network_, "clients") {
  stage_.clients = static_cast<unsigned>(world_.between(4, 10));
  stage_.steps = static_cast<unsigned>(world_.between(4, 10));
  stage_.workers = static_cast<unsigned>(world_.between(1, 3));
  stage_.tenants = static_cast<unsigned>(world_.between(1, 3));
  stage_.max_servers = static_cast<unsigned>(world_.between(1, 4));
  stage_.pool_size = static_cast<unsigned>(world_.between(1, stage_.max_servers));
  stage_.weather.latency_most = world_.between(Duration(50), Duration(3'000));
  scene.arrange(stage_, world_);

  ModelPostgres::Options options;
  options.auth = mode_ == Mode::Direct ? ModelPostgres::Auth::Trust : stage_.server_auth;
  if (mode_ == Mode::Pooled && stage_.timed && stage_.manners.leave == 0) {
    options.held_most = kTransactionMost;
    options.statement_most = kStatementMost;
  }
  options.max_connections = mode_ == Mode::Direct ? 1000 : stage_.postgres_connections;
  options.allowed_total = mode_ == Mode::Direct ? 1000 : stage_.backend_servers;
  for (const char* name : {"app", "own", "other", "side"}) {
    const std::string password = "secret of " + std::string(name);
    options.users[name] = {password, protocol::make_scram_verifier(password, "salt of pg", 2)};
  }
  if (mode_ == Mode::Pooled) {
    // Tenants of one group share their servers, and their limits add up.
    for (unsigned i = 0; i < stage_.tenants; ++i)
      for (const auto place : {&where_of, &elsewhere_of})
        for (const char* user : {"app", "own", "other"})
          options.allowed[place(stage_, i, user)] += stage_.max_servers;
    if (stage_.store || stage_.reloads > 0 || stage_.two_users) {
      in_force_.emplace(stage_);
      options.in_force = &*in_force_;
      options.tenant_of = [this](int client) {
        return clients_.at(static_cast<std::size_t>(client))->plan().tenant;
      };
      options.on_the_way = kWays * stage_.weather.latency_most + kInBetween;
    }
    if (stage_.crowded)
      door_.emplace(world_, stage_.tenants, stage_.max_clients, kWays * stage_.weather.latency_most + kGone);
    if (stage_.per_minute > 0) pace_.emplace(world_, stage_);
    options.statements_most = stage_.statements_per_server + kPipelined;
    if (!stage_.session_mode) options.temps_most = std::size_t{stage_.max_pinned} * stage_.tenants;
  }
  notifications_ = std::make_unique<Notifications>(
      world_, stage_.faults.empty() ? Notifications::Line::Sure : Notifications::Line::Lossy);
  make_hosts(options);
  if (mode_ == Mode::Pooled) {
    network_.expose(pooler_at_, kPoolerPort);
    std::vector<net::Endpoint> where;
    for (const auto& host : hosts_) where.push_back(host->where());
    pooler_ = std::make_unique<PoolerInSim>(world_, network_, stage_, std::move(where));
    if (in_force_) world_.after_each = [this] { in_force_->hold(world_.now(), pooler_->limits()); };
  }
  make_clients();
}

Run::~Run() = default;

// Clients without a pooler know one host only.
void Run::make_hosts(const ModelPostgres::Options& options) {
  if (mode_ == Mode::Direct) stage_.hosts = 1;
  const std::size_t primary = stage_.hosts > 1 ? world_.rng().below(stage_.hosts) : 0;
  for (unsigned i = 0; i < stage_.hosts; ++i) {
    ModelPostgres::Options own = options;
    if (stage_.hosts > 1)
      own.role = i == primary ? ModelPostgres::Role::Primary : ModelPostgres::Role::Standby;
    const int port = postgres_at_.port + static_cast<int>(i);
    hosts_.push_back(std::make_unique<ModelPostgres>(
        world_, network_, oracle_, *notifications_,
        net::Endpoint{postgres_at_.host, static_cast<std::uint16_t>(port)}, port, std::move(own)));
  }
  postgres_ = hosts_[primary].get();
  if (stage_.rehomes && mode_ == Mode::Pooled)
    postgres_->on_request = [this](int client, std::uint64_t serial, const std::string& where) {
      clients_.at(static_cast<std::size_t>(client))->seen_at(where, serial);
    };
}

bool Run::has(Fault fault) const {
  return std::find(stage_.faults.begin(), stage_.faults.end(), fault) != stage_.faults.end();
}

ModelClient::Plan Run::plan(int id) {
  ModelClient::Plan plan;
  plan.id = id;
  auto tenant = static_cast<unsigned>(world_.rng().below(stage_.tenants));
  if (stage_.contest) tenant = static_cast<unsigned>(id) % 2;
  // One client of each of the others: it never waits for its own tenant's servers.
  if (stage_.mixed_tiers) tenant = static_cast<unsigned>(id) < stage_.tenants ? static_cast<unsigned>(id) : 0;
  if (stage_.load == Load::Weights || stage_.load == Load::Paced)
    tenant = static_cast<unsigned>(id) % (stage_.tenants - stage_.onlookers);
  plan.onlooker = static_cast<unsigned>(id) < stage_.onlookers;
  if (plan.onlooker) tenant = stage_.tenants - 1 - static_cast<unsigned>(id);
  if (stage_.load == Load::Alone || stage_.load == Load::Floors)
    tenant = static_cast<unsigned>(id) < stage_.tenants ? static_cast<unsigned>(id) : 0;
  plan.tenant = tenant;
  const bool pooled = mode_ == Mode::Pooled;
  plan.to = pooled ? pooler_at_ : postgres_at_;
  // Clients of the pooler have their own names; what Postgres sees is the tenant's user.
  const char* const own = stage_.two_users && id % 3 == 0 ? "other" : "own";
  const std::string server_user = pooled && stage_.own_users ? own : "app";
  plan.user = pooled && !stage_.own_users ? "web" : server_user;
  plan.password = "secret of " + plan.user;
  plan.where = where_of(stage_, tenant, server_user);
  plan.database = pooled ? "tenant" + std::to_string(tenant) : plan.where.substr(0, plan.where.find('/'));
  plan.manners = stage_.manners;
  plan.steps = stage_.steps;
  if (tenant > 0 && pooled) plan.answers_within = stage_.floor_within;
  if (pooled && stage_.answers_within.count() > 0) plan.answers_within = stage_.answers_within;
  plan.canceled_within = stage_.canceled_within;
  if (stage_.hog && id == 0) {
    plan.manners.work = static_cast<unsigned>(kHogged.count());
    plan.manners.idle = 0;
  }
  if (stage_.load != Load::Mixed) {
    plan.manners.work = static_cast<unsigned>(kWork.count());
    const bool visitor = stage_.load == Load::Floors && tenant > 0;
    plan.manners.idle = visitor || stage_.refuses_rate ? 70 : 0;
    plan.manners.leave = visitor ? 25 : 0;
    if (visitor && pooled) plan.welcome_within = stage_.floor_within - kWork;
    const bool once = plan.onlooker || (stage_.load == Load::Alone && tenant > 0);
    plan.steps = once ? 1 : std::numeric_limits<unsigned>::max();
  }
  plan.alive_after = Time(stage_.faults_for);
  plan.may_lose = pooled && !stage_.faults.empty();
  if (stage_.startup_settings && world_.chance(70)) {
    const char* const zones[] = {"Europe/Paris", "Asia/Tokyo", "UTC"};
    if (world_.chance(60)) plan.settings["TimeZone"] = zones[world_.rng().below(3)];
    if (world_.chance(50)) plan.settings["application_name"] = "app" + std::to_string(world_.rng().below(3));
    if (world_.chance(30)) plan.settings["client_encoding"] = "utf8";
    if (world_.chance(30)) plan.settings["work_mem"] = std::to_string(world_.between(1, 3)) + "MB";
    if (world_.chance(20)) plan.settings["DateStyle"] = "ISO";
    plan.manners.startup_settings = true;
  }
  const bool server_faults = has(Fault::KillBackend) || has(Fault::CrashPostgres) ||
                             has(Fault::ResetServer) || has(Fault::SilenceServer) ||
                             has(Fault::SilenceHost) || has(Fault::MovePrimary);
  const bool client_faults = has(Fault::ResetClient) || has(Fault::SilenceClient);
  plan.orderly = pooled;
  plan.may_break = server_faults || client_faults;
  if (server_faults) {
    plan.may_fail = {"08006", "57P01", "57P03"};
    plan.may_refuse = {"08006", "57P03"};
  }
  if (stage_.postgres_connections < 50) {
    for (const char* code : {"53300", "57P03"}) {
      plan.may_fail.insert(code);
      plan.may_refuse.insert(code);
    }
  }
  if (stage_.timed && pooled) {
    plan.timed = plan.may_break = true;
    for (const char* code : {"57014", "25P03", "25P04"}) plan.may_fail.insert(code);
  }
  if (stage_.store && pooled)
    plan.suspended = [this, tenant](Time since) { return in_force_->suspended(tenant, since); };
  if (stage_.rehomes && pooled) {
    plan.led_to = [this, tenant](const std::string& where, Time since) {
      return in_force_->led_to(tenant, where.substr(0, where.find('/')), since);
    };
    plan.may_fail.insert("57P03");  // its home has changed while it logged in
  }
  plan.door = door_ ? &*door_ : nullptr;
  if (stage_.crowded && pooled && !stage_.queues_clients) plan.may_fail.insert("53300");
  plan.pace = pace_ ? &*pace_ : nullptr;
  if (stage_.refuses_rate && pooled) plan.may_refuse.insert("53400");
  plan.session_mode = stage_.session_mode;
  if (stage_.max_pinned < stage_.clients && pooled) {
    plan.may_refuse.insert("53400");
    plan.may_fail.insert("53400");  // behind what no text has shown: elevate()
  }
  if (stage_.shutdown_midway && pooled) {
    plan.may_fail.insert("57P01");
    plan.may_break = true;
  }
  return plan;
}

void Run::misguide(ModelClient::Plan& plan) {
  if (mode_ == Mode::Direct || !world_.chance(stage_.unknown_percent)) return;
  switch (world_.rng().below(3)) {
    case 0:
      plan.password = "wrong";
      plan.must_fail = "28P01";
      break;
    case 1:
      plan.database = "nowhere";
      plan.must_fail = "3D000";
      break;
    default:
      plan.settings["TimeZone"] = "bad/zone";
      plan.must_fail = "22023";
      break;
  }
}

void Run::make_clients() {
  for (unsigned i = 0; i < stage_.clients; ++i) {
    auto made = plan(static_cast<int>(i));
    misguide(made);
    made.eager = mode_ == Mode::Pooled && stage_.client_auth == "trust" && world_.chance(25);
    clients_.push_back(
        std::make_unique<ModelClient>(world_, client_loop_, oracle_, *notifications_, std::move(made)));
    clients_.back()->start(world_.between(Duration(1'000), stage_.arrive_within));
  }
}

void Run::do_fault(Fault fault) {
  SimLoop* const loop = &postgres_->loop();
  const auto back_after = [&](Duration least, Duration most) { return world_.between(least, most); };
  switch (fault) {
    case Fault::KillBackend: return postgres_->kill_one();
    case Fault::TerminateBackend: return postgres_->terminate_one();
    case Fault::CrashPostgres:
    case Fault::StopPostgres: {
      if (!postgres_->running()) return;
      fault == Fault::CrashPostgres ? postgres_->crash() : postgres_->stop();
      const Duration gone = back_after(milliseconds(20), milliseconds(2'000));
      const Duration recovers = back_after(milliseconds(0), milliseconds(500));
      world_.after(gone, loop, [this, recovers, host = postgres_] {
        host->start();
        host->recover_until(world_.now() + recovers);
      });
      return;
    }
    case Fault::ResetServer: return network_.reset_one(postgres_->where());
    case Fault::ResetClient: return network_.reset_one(mode_ == Mode::Pooled ? pooler_at_ : postgres_at_);
    case Fault::SilenceServer: return network_.silence_one(postgres_->where());
    case Fault::SilenceClient: return network_.silence_one(mode_ == Mode::Pooled ? pooler_at_ : postgres_at_);
    case Fault::SilenceHost: {
      const std::size_t which = hosts_.size() > 1 ? world_.rng().below(hosts_.size()) : 0;
      if (hosts_[which]->frozen()) return;  // it could not see that it was given up
      const net::Endpoint host = hosts_[which]->where();
      network_.silence(host, true);
      world_.after(back_after(milliseconds(100), milliseconds(2'000)), loop,
                   [this, host] { network_.silence(host, false); });
      return;
    }
    case Fault::MovePrimary: return move_primary();
  }
}

// One move at a time: until another is promoted, the former one is what postgres_ points to.
void Run::move_primary() {
  std::vector<ModelPostgres*> ready;
  for (const auto& host : hosts_)
    if (host.get() != postgres_ && host->running() && !host->frozen()) ready.push_back(host.get());
  if (ready.empty() || !postgres_->running() || postgres_->standby()) return;
  ModelPostgres* const former = postgres_;
  ModelPostgres* const next = ready[world_.rng().below(ready.size())];
  const Duration leaderless = world_.between(milliseconds(1), milliseconds(2'000));
  if (world_.chance(30)) return freeze_primary(*next, leaderless);
  // Nobody hears of a death on a host that is silent.
  const bool silent = world_.chance(40);
  if (silent) network_.silence(former->where(), true);
  if (world_.chance(70))
    former->crash();
  else
    former->stop();
  former->demote();
  const Duration away = world_.between(milliseconds(1), milliseconds(3'000));
  promote(*next, leaderless);
  world_.after(away, &former->loop(), [this, former, silent] {
    if (silent) network_.silence(former->where(), false);
    former->start();
  });
}

void Run::promote(ModelPostgres& next, Duration leaderless) {
  world_.after(leaderless, &next.loop(), [this, &next] {
    next.promote();
    postgres_ = &next;
  });
}

// Longer than it takes to know that it is, and to find the next one.
void Run::freeze_primary(ModelPostgres& next, Duration leaderless) {
  ModelPostgres& former = *postgres_;
  former.freeze();
  promote(next, leaderless);
  world_.after(leaderless + kFrozenFor, &former.loop(), [this, &former] {
    if (const std::size_t waiting = former.awaited_since(world_.now() - kFrozenMost); waiting > 0)
      world_.violation(std::to_string(waiting) + " answers are still awaited of a host that stands still");
    former.crash();
    former.demote();
    former.start();
  });
}

void Run::schedule_faults() {
  if (!stage_.faults.empty()) {
    Duration at = world_.between(Duration(50'000), Duration(500'000));
    while (at < stage_.faults_for) {
      const Fault fault = stage_.faults[world_.rng().below(stage_.faults.size())];
      // On the loop of whoever is the primary then.
      world_.after(at, nullptr, [this, fault] {
        world_.after(Duration(0), &postgres_->loop(), [this, fault, host = postgres_] {
          if (host == postgres_ && !host->frozen()) do_fault(fault);
        });
      });
      at += world_.between(Duration(20'000), Duration(900'000));
    }
  }
  if (mode_ == Mode::Direct) return;
  for (unsigned i = 0; i < stage_.reloads; ++i)
    world_.after(world_.between(Duration(100'000), Duration(3'000'000)), nullptr, [this] {
      for (const auto& host : hosts_) host->ceilings_changed();
      pooler_->reload();
    });
  // One behind the other.
  Duration next{};
  for (unsigned i = 0; i < stage_.suspends; ++i) {
    const Duration how_long = world_.between(Duration(1'000), Duration(1'500'000));
    next += world_.between(Duration(50'000), Duration(800'000));
    world_.after(next, nullptr, [this, how_long] { pooler_->suspend(how_long); });
    next += how_long;
  }
  if (stage_.shutdown_midway)
    world_.after(world_.between(Duration(300'000), Duration(4'000'000)), nullptr, [this] {
      for (auto& client : clients_) {
        client->wind_up();
        // A server that is told to end says 57P01, too.
        if (stage_.faults.empty()) client->pooler_drains();
      }
      pooler_->shutdown();
    });
}

// Everybody goes on until what they have had is judged.
void Run::play_load() {
  shares_ = std::make_unique<Shares>(world_, stage_);
  postgres_->on_worked = [this](int client, Time since) {
    shares_->worked(clients_.at(static_cast<std::size_t>(client))->plan().tenant, since);
  };
  world_.at(Shares::kUntil, nullptr, [this] {
    if (mode_ == Mode::Pooled) shares_->judge();
    if (pace_ && !stage_.refuses_rate) pace_->judge_saturated(Shares::kFrom, Shares::kUntil);
    for (auto& client : clients_) client->wind_up();
  });
}

// Two tenants that always want more than there is, and what the light one has had when half of the heavy
// one's clients are through: a small part of one server; of two each is sure of one.
void Run::judge_contest() {
  std::uint64_t heavy = 0, light = 0, working = 0;
  for (const auto& client : clients_) {
    const bool is_heavy = client->plan().database == "tenant1";
    if (is_heavy && client->working()) ++working;
    (is_heavy ? heavy : light) += client->answered();
  }
  if (working * 4 > clients_.size()) return;
  judged_ = true;
  const bool fair = stage_.backend_servers == 1 ? light * 2 <= heavy : light * 4 >= heavy;
  if (!fair)
    world_.violation(fmt::format("of {} servers a tenant of weight 1 had {} answers, one of weight 8 had {}",
                                 stage_.backend_servers, light, heavy));
}

bool Run::clients_done() {
  if (stage_.contest && mode_ == Mode::Pooled && !judged_) judge_contest();
  while (clients_through_ < clients_.size() && clients_[clients_through_]->done()) ++clients_through_;
  return clients_through_ == clients_.size();
}

void Run::check_everybody_served() const {
  std::string who;
  std::size_t waiting = 0;
  for (const auto& client : clients_)
    if (!client->done() && ++waiting <= kNamedMost) who += "\n  " + client->describe();
  if (waiting > 0) world_.violation(fmt::format("{} clients are not served in time:{}", waiting, who));
  for (const auto& client : clients_)
    if (client->answered() == 0 && client->plan().must_fail.empty() && !stage_.shutdown_midway)
      world_.violation("was never answered: " + client->describe());
}

// Postgres is there from the start, or comes a little later.
Run::Result Run::play() {
  const Duration late = !stage_.faults.empty() && world_.chance(20) ? Duration(800'000) : Duration(0);
  for (const auto& host : hosts_) {
    const Duration at = host.get() == postgres_ ? late : Duration(0);
    world_.after(at, &host->loop(), [host = host.get()] { host->start(); });
  }
  if (pooler_) pooler_->start();
  schedule_faults();
  if (stage_.load != Load::Mixed) play_load();
  const Time limit = Time(stage_.faults_for + kServedAgain + seconds(stage_.steps));
  world_.run(limit, [this] { return clients_done(); });
  check_everybody_served();
  finish();
  Result result;
  result.trace_hash = world_.trace_hash();
  result.events = world_.events();
  result.rows = oracle_.rows();
  result.servers_most = postgres_->held_most();
  for (const auto& client : clients_) result.answered += client->answered();
  return result;
}

void Run::finish() {
  if (pooler_) {
    if (!stage_.shutdown_midway) pooler_->shutdown();
    if (!world_.run(world_.now() + kStopped, [this] { return pooler_->stopped(); }))
      world_.violation("the pooler does not stop");
  }
  // Everybody hears of the last ends; half-open connections are found out.
  for (const auto& host : hosts_)
    if (host->running()) world_.after(seconds(1), &host->loop(), [host = host.get()] { host->stop(); });
  const auto left = [this] {
    return std::any_of(hosts_.begin(), hosts_.end(), [](const auto& host) { return host->backends() > 0; });
  };
  const auto over = [&] {
    const auto runs = [](const auto& host) { return host->running(); };
    return std::none_of(hosts_.begin(), hosts_.end(), runs) && !left() && client_loop_.streams() == 0;
  };
  if (!world_.run(world_.now() + seconds(200), over) && left())
    world_.violation("server connections are left after the end");
  world_.run(world_.now() + seconds(100), [] { return false; });
  oracle_.check_ledger();
  world_.after_each = {};
  if (pooler_) pooler_->tear_down();
}

}  // namespace pgweir::sim
