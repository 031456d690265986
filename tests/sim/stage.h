// tests/sim/stage.h - what one run is made of. A scene fills it in; run.cc plays it.
#pragma once

#include <chrono>
#include <cstdint>
#include <functional>
#include <string>
#include <string_view>
#include <vector>

#include "tests/sim/model_postgres.h"
#include "tests/sim/script.h"
#include "tests/sim/sim_net.h"

namespace pgweir::sim {

enum class Fault : std::uint8_t {
  KillBackend,       // one server process dies in the middle of what it says
  TerminateBackend,  // 57P01
  CrashPostgres,     // all of them, and the host is back after a while, recovering at first
  StopPostgres,      // the same in order
  ResetServer,       // the network breaks one connection to Postgres
  ResetClient,       // ... to the pooler
  SilenceServer,     // one connection to Postgres goes half-open
  SilenceClient,
  SilenceHost,  // a whole host cannot be reached for a while
  MovePrimary,  // it dies, falls silent or stands still, a standby is promoted, and it comes back as a
                // standby
};

// Clients that have nothing in mind but transactions of kWork, one after the other, until Shares::kUntil.
enum class Load : std::uint8_t {
  Mixed,    // none: each plays its script
  Weights,  // of all tenants; the nth has the weight 2^n
  Alone,    // of the first tenant; those of others leave at once
  Paced,    // of all tenants, which want more than transactions_per_minute
  Floors,   // of the first tenant, which wants all; each other one has one client, which pauses now and then
};
constexpr std::chrono::milliseconds kWork{50};
constexpr std::chrono::milliseconds kHogged{5'000};

constexpr const char* kSuspendedFor = "invoice 7 is open";  // a tenant of a store

struct Stage {
  unsigned workers = 2;
  unsigned hosts = 1;  // of the backend: a primary and its standbys
  unsigned tenants = 2;
  bool shared_group = false;  // all tenants are one database and role to Postgres
  // Of the tenants the last so many: they share the first one's database, and have a client each that asks
  // once and stays.
  unsigned onlookers = 0;
  unsigned clients = 8;
  Duration arrive_within = std::chrono::milliseconds(400);
  unsigned steps = 8;
  unsigned pool_size = 2;
  unsigned max_servers = 3;  // of a tenant
  unsigned backend_servers = 200;
  unsigned max_clients = 100;   // of a tenant
  unsigned max_pinned = 100;    // of a tenant
  bool crowded = false;         // more clients come than max_clients; nobody but they themselves ends them
  bool queues_clients = false;  // at_clients
  unsigned per_minute = 0, burst = 0;  // transactions of a tenant; 0: as many as they like
  bool refuses_rate = false;           // at_rate
  bool mixed_tiers = false;    // the first tenant is heavy and wants all, the others have one client each
  bool contest = false;        // the second tenant has eight times the weight of the first
  Duration floor_within{};     // clients of those others have their answers within this; 0: whenever
  Duration answers_within{};   // all clients have theirs within this; 0: whenever
  Duration canceled_within{};  // ... of those that they ask to cancel
  bool hog = false;            // the first client works in transactions of kHogged, one after the other
  Load load = Load::Mixed;
  bool rehomes = false;  // with a store: rows name another database now and then
  bool store = false;    // tenants come from a store (model_store.h), whose rows change until `faults_for`
  bool session_mode = false;
  std::size_t postgres_connections = 100;
  Manners manners;
  bool startup_settings = false;
  unsigned unknown_percent = 0;  // clients with a wrong password, database or setting
  std::string client_auth = "trust";
  ModelPostgres::Auth server_auth = ModelPostgres::Auth::Trust;
  bool own_users = false;  // tenants name no server user: the client's own is used, by SCRAM pass-through
  bool two_users = false;  // ... and every third client is another one
  unsigned statements_per_server = 200;
  std::string query_wait = "60s";
  bool fails_fast = false;  // all tiers reject while a breaker is open
  unsigned breaker_volume = 20;
  unsigned breaker_open_ms = 30'000;
  bool timed = false;  // the tier has time ceilings
  bool side_role = false;
  std::string more_settings;  // YAML, whole lines
  Network::Weather weather;
  std::vector<Fault> faults;
  Duration faults_for{};  // from the start
  unsigned reloads = 0;   // each other one has slow transactions told
  unsigned suspends = 0;  // SUSPEND, and RESUME a while later
  bool shutdown_midway = false;
};

struct Scene {
  const char* name;
  const char* about;
  std::function<void(Stage& stage, World& world)> arrange;
};
const std::vector<Scene>& scenes();
// Those that came later and are played by their names: what a seed chooses of the others stays what it was.
const std::vector<Scene>& scenes_by_name();
// Not among them, for it takes long: so many clients come at once to 200 servers, of one tenant or of many.
Scene throng(unsigned clients);
const Scene* find_scene(std::string_view name);

}  // namespace pgweir::sim
