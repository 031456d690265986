#include "tests/sim/stage.h"

#include <algorithm>

namespace pgweir::sim {

namespace {
using std::chrono::milliseconds;

void rude(Stage& stage) {
  stage.manners.leave = 15;
  stage.manners.cancel = 8;
}

void calm(Stage&, World&) {}

void crowd(Stage& stage, World& world) {
  stage.clients = static_cast<unsigned>(world.between(10, 24));
  stage.pool_size = 1;
  stage.max_servers = static_cast<unsigned>(world.between(1, 2));
  stage.steps = 4;
}

void leavers(Stage& stage, World&) {
  rude(stage);
  stage.manners.leave = 30;
}

void statements(Stage& stage, World& world) {
  stage.manners.named = 40;
  stage.manners.prepared = 30;
  stage.manners.pipeline = 10;
  stage.manners.extended = 8;
  stage.manners.unnamed = 12;
  stage.manners.leave = 4;
  stage.steps = 14;
  stage.statements_per_server = static_cast<unsigned>(world.between(1, 4));
}

void shapes(Stage& stage, World& world) {
  stage.manners.shapes = 50;
  stage.manners.prepared = stage.manners.traces = 0;
  stage.manners.leave = 4;
  stage.shared_group = world.chance(50);
  stage.pool_size = 1;
  stage.max_servers = static_cast<unsigned>(world.between(2, 4));
  stage.statements_per_server = static_cast<unsigned>(world.between(1, 6));
}

void settings(Stage& stage, World& world) {
  stage.startup_settings = true;
  stage.manners.settings = 30;
  stage.manners.traces = 25;
  stage.manners.startup_settings = true;
  stage.manners.leave = world.chance(50) ? 8 : 0;
}

void pins(Stage& stage, World& world) {
  settings(stage, world);
  stage.manners.traces = 40;
  stage.manners.extended = 20;
  stage.max_pinned = static_cast<unsigned>(world.between(0, 2));
  stage.tenants = 1;
}

void residents(Stage& stage, World& world) {
  settings(stage, world);
  stage.session_mode = true;
  stage.pool_size = 1;
  stage.manners.cancel = 5;
  stage.max_servers = static_cast<unsigned>(world.between(2, 4));
  if (world.chance(50)) stage.max_pinned = static_cast<unsigned>(world.between(1, 4));
}

void listeners(Stage& stage, World& world) {
  stage.manners.channels = 60;
  stage.manners.leave = world.chance(40) ? 8 : 0;
  stage.manners.settings = 3;
  stage.manners.traces = 3;
  stage.clients = static_cast<unsigned>(world.between(5, 12));
  stage.steps = 14;
  stage.shared_group = world.chance(30);
  if (world.chance(20)) stage.backend_servers = static_cast<unsigned>(world.between(2, 9));
  if (world.chance(20)) stage.max_pinned = static_cast<unsigned>(world.between(0, 2));
  if (world.chance(30)) stage.reloads = 2;
}

void deaf(Stage& stage, World& world) {
  listeners(stage, world);
  stage.faults = {Fault::KillBackend, Fault::TerminateBackend, Fault::ResetServer, Fault::StopPostgres,
                  Fault::CrashPostgres};
  stage.faults_for = milliseconds(4'000);
}

void bulk(Stage& stage, World& world) {
  stage.manners.bulk = 30;
  stage.manners.copy = 20;
  const bool huge = world.chance(15);
  stage.manners.bulk_rows = huge ? 8 : 100;
  stage.manners.bulk_bytes = huge ? 400'000 : world.chance(30) ? 15'000 : 2'000;
  stage.manners.leave = world.chance(50) ? 8 : 0;
  stage.clients = 5;
  stage.steps = 5;
}

void cancels(Stage& stage, World&) {
  stage.manners.cancel = 45;
  stage.manners.leave = 5;
  stage.clients = 8;
  stage.steps = 6;
}

void holders(Stage& stage, World& world) {
  stage.manners.savepoints = 40;
  stage.manners.holds = 30;
  stage.manners.extended = stage.manners.named = 5;
  stage.manners.pipeline = stage.manners.copy = stage.manners.bulk = 0;
  stage.manners.leave = world.chance(40) ? 8 : 0;
  stage.shared_group = world.chance(50);
  stage.pool_size = 1;
  stage.max_servers = static_cast<unsigned>(world.between(2, 4));
  stage.steps = 12;
  if (world.chance(70)) return;
  stage.faults = {Fault::KillBackend, Fault::TerminateBackend, Fault::ResetServer};
  stage.faults_for = milliseconds(3'000);
}

// Hardly a server for all of them, who must give it back for the others to be served in time.
void one_server(Stage& stage) {
  stage.tenants = 1;
  stage.clients = 4;
  stage.pool_size = stage.max_servers = 1;
  stage.answers_within = milliseconds(2'500);
  stage.manners = {};
  stage.manners.copy = stage.manners.bulk = stage.manners.traces = stage.manners.settings = 0;
}

void deserters(Stage& stage, World&) {
  one_server(stage);
  stage.manners.desert = 40;
}

void moderate(Stage& stage, World&) {
  one_server(stage);
  stage.steps = 4;
  stage.manners.let_go = 50;
}

void quitters(Stage& stage, World&) {
  one_server(stage);
  stage.hog = true;
  stage.answers_within = {};
  stage.canceled_within = milliseconds(500);
  stage.manners = {};
  stage.manners.idle = stage.manners.extended = stage.manners.pipeline = stage.manners.named = 0;
  stage.manners.prepared = stage.manners.unnamed = stage.manners.copy = stage.manners.bulk = 0;
  stage.manners.settings = stage.manners.traces = stage.manners.flush = 0;
  stage.manners.give_up = 100;
}

void clocks(Stage& stage, World& world) {
  stage.timed = true;
  stage.side_role = world.chance(70);
  stage.manners.tarry = 40;
  stage.manners.leave = world.chance(50) ? 10 : 0;
  stage.manners.cancel = world.chance(30) ? 10 : 0;
  stage.server_auth = world.chance(50) ? ModelPostgres::Auth::Scram : ModelPostgres::Auth::Trust;
}

void logins(Stage& stage, World& world) {
  stage.clients = 14;
  stage.steps = 3;
  stage.unknown_percent = 30;
  stage.startup_settings = true;
  const char* const methods[] = {"scram-sha-256", "md5", "password"};
  stage.client_auth = methods[world.rng().below(3)];
  const ModelPostgres::Auth servers[] = {ModelPostgres::Auth::Scram, ModelPostgres::Auth::Md5,
                                         ModelPostgres::Auth::Trust};
  stage.server_auth = servers[world.rng().below(3)];
  if (stage.client_auth == "scram-sha-256" && stage.server_auth != ModelPostgres::Auth::Md5)
    stage.own_users = world.chance(50);
}

void scarce(Stage& stage, World& world) {
  stage.tenants = 4;
  stage.clients = 16;
  stage.steps = 4;
  stage.pool_size = 2;
  stage.max_servers = 4;
  if (world.chance(50)) {
    stage.backend_servers = static_cast<unsigned>(world.between(2, 6));
  } else {
    stage.postgres_connections = static_cast<std::size_t>(world.between(3, 8));
  }
}

void shared(Stage& stage, World& world) {
  stage.shared_group = true;
  stage.tenants = 3;
  stage.clients = 12;
  stage.manners.leave = world.chance(50) ? 8 : 0;
}

// Nothing but transactions, one after the other.
void busy(Stage& stage) {
  stage.steps = 12;
  stage.manners.bulk = stage.manners.copy = stage.manners.flush = stage.manners.traces = 0;
  stage.manners.settings = stage.manners.idle = 0;
}

// All users of a tenant have its servers together, and none of them waits for another one's clients to go.
void users(Stage& stage, World& world) {
  busy(stage);
  stage.own_users = stage.two_users = true;
  stage.client_auth = "scram-sha-256";
  stage.server_auth = ModelPostgres::Auth::Scram;
  stage.shared_group = world.chance(40);
  stage.tenants = stage.shared_group ? 2 : 1;
  stage.pool_size = 1;
  stage.max_servers = static_cast<unsigned>(world.between(1, 3));
  stage.clients = static_cast<unsigned>(world.between(9, 18));
  stage.steps = 60;
  stage.manners.work = 20;
  stage.answers_within = milliseconds(2'000);
}

// All but the first tenant are sure of the one server that they need, and the first takes whatever there is.
void tiers(Stage& stage, World& world) {
  busy(stage);
  stage.mixed_tiers = true;
  stage.tenants = static_cast<unsigned>(world.between(2, 4));
  stage.clients = stage.tenants + 12;
  stage.pool_size = 1;
  stage.max_servers = stage.backend_servers = stage.tenants + static_cast<unsigned>(world.between(0, 2));
  stage.floor_within = milliseconds(300);
}

void contest(Stage& stage, World& world) {
  busy(stage);
  stage.contest = true;
  stage.arrive_within = milliseconds(20);
  stage.shared_group = true;
  stage.tenants = 2;
  stage.clients = 24;
  stage.pool_size = 1;
  stage.max_servers = 2;  // of which each tenant is sure of one
  stage.backend_servers = static_cast<unsigned>(world.between(1, 2));
}

// Tenants of one group, or with a database each.
void saturated(Stage& stage, World& world, Load load, unsigned clients_each) {
  stage.load = load;
  stage.shared_group = world.chance(50);
  stage.tenants = 3;
  stage.pool_size = 1;
  stage.clients = stage.tenants * clients_each;
  stage.weather.latency_most = Duration(300);
}

void weights(Stage& stage, World& world) {
  stage.max_servers = stage.backend_servers = static_cast<unsigned>(world.between(8, 12));
  saturated(stage, world, Load::Weights, stage.backend_servers + 6);
}

// Who shares the database of one of them does not weigh for it while he only stands there.
void onlookers(Stage& stage, World& world) {
  weights(stage, world);
  stage.shared_group = false;
  stage.onlookers = static_cast<unsigned>(world.between(1, 20));
  stage.tenants += stage.onlookers;
  stage.clients += stage.onlookers;
}

void alone(Stage& stage, World& world) {
  saturated(stage, world, Load::Alone, 8);
  stage.max_servers = static_cast<unsigned>(world.between(3, 8));
  stage.backend_servers = stage.max_servers + static_cast<unsigned>(world.between(0, 3));
}

// One transaction's time to wait, another one's to work, and what the way takes, and a login: behind it
// functions are read, by 12 kB of queries, of which a narrow wire takes 128 bytes at a time.
void floors(Stage& stage, World& world) {
  saturated(stage, world, Load::Floors, 6);
  stage.max_servers = stage.backend_servers = stage.tenants + static_cast<unsigned>(world.between(0, 3));
  stage.floor_within = 2 * kWork + milliseconds(stage.shared_group ? 10 : 60);
}

// More clients than there are places for.
void places(Stage& stage, World& world) {
  stage.crowded = true;
  stage.queues_clients = world.chance(50);
  stage.tenants = static_cast<unsigned>(world.between(1, 2));
  stage.max_clients = static_cast<unsigned>(world.between(1, 4));
  stage.clients = static_cast<unsigned>(world.between(6, 14));
  stage.steps = 3;
  if (world.chance(50)) rude(stage);
  if (world.chance(30)) stage.reloads = 2;
}

// A reload leaves a rate as it is, with what is spent of it.
void paces(Stage& stage, World& world) {
  stage.load = Load::Paced;
  stage.tenants = static_cast<unsigned>(world.between(1, 3));
  stage.shared_group = world.chance(50);
  stage.clients = 3 * stage.tenants;
  stage.pool_size = stage.max_servers = 3;
  stage.per_minute = static_cast<unsigned>(world.between(120, 600));
  stage.burst = static_cast<unsigned>(world.between(1, 10));
  stage.refuses_rate = world.chance(40);
  if (world.chance(50)) stage.reloads = 3;
}

// A tenant's last client leaves something behind, its ceilings change, and it comes again.
void heirs(Stage& stage, World& world) {
  stage.tenants = static_cast<unsigned>(world.between(1, 2));
  stage.shared_group = stage.tenants > 1;
  stage.clients = stage.tenants + static_cast<unsigned>(world.between(0, 2));
  stage.pool_size = 1;
  stage.max_servers = static_cast<unsigned>(world.between(1, 2));
  stage.manners.linger = 40;
  stage.reloads = 10;
}

void stored(Stage& stage, World& world) {
  stage.store = true;
  stage.shared_group = world.chance(40);
  stage.clients = static_cast<unsigned>(world.between(6, 12));
  stage.max_servers = static_cast<unsigned>(world.between(1, 4));
  stage.pool_size = 1;
  stage.faults_for = milliseconds(4'000);
  if (world.chance(50)) stage.backend_servers = static_cast<unsigned>(world.between(2, 4));
  if (world.chance(40)) {
    rude(stage);
    stage.manners.linger = 5;
  }
  if (world.chance(30)) stage.reloads = 2;
}

// Who is connected stays where he is; who comes is where the tenant is by then.
void movers(Stage& stage, World& world) {
  stored(stage, world);
  stage.rehomes = true;
  stage.clients = static_cast<unsigned>(world.between(6, 12));
  stage.manners.leave = 15;
}

// Ceilings change beside a tenant that does nothing for long and whose servers nobody else can use by then.
void remade(Stage& stage, World& world) {
  stored(stage, world);
  one_server(stage);
  stage.tenants = 2;
  stage.max_servers = 2;
  stage.shared_group = true;
  stage.backend_servers = static_cast<unsigned>(world.between(1, 2));
  stage.steps = 4;
  stage.manners.let_go = 50;
  stage.manners.prepared = 0;  // may keep the one server of a tenant for long
  stage.reloads = 0;
}

void deaths(Stage& stage, World& world) {
  stage.faults = {Fault::KillBackend, Fault::TerminateBackend, Fault::ResetServer};
  stage.faults_for = milliseconds(3'000);
  stage.manners.bulk = 15;
  if (world.chance(40)) rude(stage);
}

void outages(Stage& stage, World& world) {
  stage.faults = {Fault::CrashPostgres, Fault::StopPostgres, Fault::KillBackend};
  stage.faults_for = milliseconds(4'000);
  if (world.chance(40)) rude(stage);
}

// A breaker that opens at the first trouble.
void breakers(Stage& stage, World& world) {
  outages(stage, world);
  stage.faults.push_back(Fault::TerminateBackend);
  if (world.chance(30)) stage.faults.push_back(Fault::SilenceHost);
  stage.fails_fast = world.chance(60);
  stage.breaker_volume = static_cast<unsigned>(world.between(1, 4));
  // Who waits does not wait for that.
  stage.breaker_open_ms = static_cast<unsigned>(world.between(50, stage.fails_fast ? 3'000 : 600'000));
  stage.tenants = static_cast<unsigned>(world.between(1, 4));
  stage.shared_group = world.chance(30);
  if (world.chance(30)) stage.reloads = 2;
}

void hosts(Stage& stage, World& world) {
  stage.hosts = static_cast<unsigned>(world.between(2, 3));
  stage.faults = {Fault::MovePrimary, Fault::MovePrimary, Fault::KillBackend};
  if (world.chance(40)) stage.faults.push_back(Fault::SilenceHost);
  if (world.chance(30)) stage.faults.push_back(Fault::CrashPostgres);
  stage.faults_for = milliseconds(6'000);
  stage.steps = static_cast<unsigned>(world.between(8, 16));
  stage.tenants = static_cast<unsigned>(world.between(1, 3));
  if (world.chance(40)) rude(stage);
  if (world.chance(30)) stage.reloads = 2;
  // Nobody waits for the new primary, and yet it is found long before the breaker would try again.
  stage.fails_fast = world.chance(30);
  if (!stage.fails_fast) return;
  stage.breaker_volume = static_cast<unsigned>(world.between(1, 4));
  stage.breaker_open_ms = 600'000;
}

void bad_network(Stage& stage, World& world) {
  stage.faults = {Fault::ResetServer, Fault::ResetClient, Fault::SilenceServer, Fault::SilenceClient};
  if (world.chance(30)) stage.faults.push_back(Fault::SilenceHost);
  stage.faults_for = milliseconds(4'000);
  stage.weather.latency_most = Duration(20'000);
  stage.weather.cut_percent = 60;
  stage.weather.short_percent = 30;
  stage.weather.room_most = 4 << 10;
}

void reloads(Stage& stage, World& world) {
  stage.reloads = 4;
  if (world.chance(50)) rude(stage);
  if (world.chance(60)) stage.suspends = static_cast<unsigned>(world.between(1, 3));
}

void drain(Stage& stage, World& world) {
  if (world.chance(60)) crowd(stage, world);
  stage.shutdown_midway = true;
  stage.steps = 30;
  if (world.chance(50)) rude(stage);
}

void storm(Stage& stage, World& world) {
  crowd(stage, world);
  stage.clients = 10;
  stage.max_servers = 3;
  rude(stage);
  stage.startup_settings = world.chance(50);
  stage.manners.startup_settings = stage.startup_settings;
  stage.statements_per_server = 3;
  stage.faults = {Fault::KillBackend,   Fault::TerminateBackend, Fault::ResetServer,  Fault::ResetClient,
                  Fault::SilenceClient, Fault::CrashPostgres,    Fault::StopPostgres, Fault::SilenceServer};
  stage.faults_for = milliseconds(4'000);
  stage.reloads = 2;
  stage.shutdown_midway = world.chance(20);
  if (!stage.shutdown_midway && world.chance(30)) stage.suspends = 2;
}

void besiege(Stage& stage, World& world, unsigned clients) {
  constexpr unsigned kServers = 200;
  busy(stage);
  stage.clients = stage.max_clients = clients;
  stage.arrive_within = milliseconds(50);
  stage.steps = 1;
  stage.tenants = world.chance(50) ? 1 : static_cast<unsigned>(world.between(2, 40));
  stage.shared_group = world.chance(50);
  stage.backend_servers = kServers;
  stage.postgres_connections = kServers + 50;
  // Together they want more than there is, or each comes to its own ceiling first.
  const unsigned fair = kServers / stage.tenants;
  stage.max_servers = world.chance(50) ? std::min(kServers, 2 * fair) : std::max(1U, fair * 3 / 4);
  stage.pool_size = std::min(fair, stage.max_servers);
}
}  // namespace

Scene throng(unsigned clients) {
  return {"throng", "very many clients at once",
          [clients](Stage& stage, World& world) { besiege(stage, world, clients); }};
}

const std::vector<Scene>& scenes() {
  static const std::vector<Scene> all{
      {"calm", "no fault at all: nothing may fail", calm},
      {"crowd", "many clients for one or two servers", crowd},
      {"leavers", "clients leave in the middle of everything", leavers},
      {"statements", "named prepared statements, few of them per server", statements},
      {"shapes", "prepared statements whose tables change", shapes},
      {"settings", "settings that follow a client, and traces that must not", settings},
      {"pins", "few places for clients that leave traces", pins},
      {"residents", "session mode", residents},
      {"listeners", "LISTEN and NOTIFY", listeners},
      {"deaf", "the same, and the connection that listens is lost", deaf},
      {"bulk", "big rows, COPY, slow readers", bulk},
      {"cancels", "cancel requests, running and queued", cancels},
      {"deserters", "clients that leave long queries behind on the one server", deserters},
      {"moderate", "clients that take their traces from the one server away", moderate},
      {"quitters", "clients that cancel what waits for the one server", quitters},
      {"clocks", "requests and transactions beyond the time ceilings of their tier", clocks},
      {"logins", "passwords, right and wrong; unknown databases, bad settings", logins},
      {"scarce", "more tenants than server connections", scarce},
      {"shared", "tenants that share one server group", shared},
      {"users", "tenants with two users each, which want more than they may have", users},
      {"tiers", "one tenant wants all, others are sure of a little", tiers},
      {"contest", "two tenants of different weight want more than there is", contest},
      {"weights", "tenants of different weights always want more than there is", weights},
      {"onlookers", "the same, beside tenants that do nothing", onlookers},
      {"alone", "one tenant wants all, and nobody else is there", alone},
      {"floors", "one tenant always wants all, and others one server now and then", floors},
      {"places", "more clients than their tenants may have", places},
      {"paces", "more transactions than their tenants may begin", paces},
      {"heirs", "tenants leave servers behind and come again with other ceilings", heirs},
      {"store", "tenants come from a store that changes, fails and lies", stored},
      {"movers", "the same, and rows that name another database", movers},
      {"deaths", "server processes die in the middle of a row", deaths},
      {"outages", "Postgres crashes, stops and comes back", outages},
      {"breakers", "the same, and the pooler soon stops to knock", breakers},
      {"hosts", "the primary moves to a standby; hosts fall silent", hosts},
      {"network", "slow links, resets, half-open connections", bad_network},
      {"reloads", "the configuration is read again under load, and all is suspended for a while", reloads},
      {"drain", "shutdown under load", drain},
      {"storm", "all of it at once", storm},
  };
  return all;
}

const std::vector<Scene>& scenes_by_name() {
  static const std::vector<Scene> all{
      {"holders", "savepoints, SET LOCAL, cursors and locks that outlive their transaction", holders},
      {"remade", "servers that nobody can use any more, at a backend that is full", remade},
  };
  return all;
}

const Scene* find_scene(std::string_view name) {
  for (const auto* const all : {&scenes(), &scenes_by_name()})
    for (const Scene& scene : *all)
      if (name == scene.name) return &scene;
  return nullptr;
}

}  // namespace pgweir::sim
