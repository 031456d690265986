#include "tests/sim/stage_config.h"

#include <fmt/format.h>

#include "pooler/net/address.h"
#include "protocol/scram.h"
#include "tests/sim/limits_in_force.h"
#include "tests/sim/shares.h"

namespace pgweir::sim {

namespace {
constexpr unsigned kClientsBeside = 100;  // that have left and are not forgotten yet

// Few iterations: what a password costs is not what is simulated.
std::string secret_of(const Stage& stage, const std::string& user) {
  const std::string password = "secret of " + user;
  if (stage.client_auth == "md5") return password;
  return protocol::format_scram_verifier(protocol::make_scram_verifier(password, "salt of pg", 2));
}
}  // namespace

std::string stage_yaml(const Stage& stage, const std::vector<net::Endpoint>& hosts, unsigned round) {
  std::vector<std::string> named;
  for (const net::Endpoint& host : hosts) named.push_back(net::text(host));
  const std::string where = hosts.size() == 1
                                ? fmt::format("host: {}, port: {}", hosts[0].host, hosts[0].port)
                                : fmt::format("hosts: [{}], host_timeout: 1s", fmt::join(named, ", "));

  std::string text = fmt::format(
      "client: {{ query_wait_timeout: {}, max: {}, login_timeout: 100s }}\n"
      "server: {{ max_prepared_statements: {}, lifetime: {} }}\n"
      "pool: {{ unknown_tenants: false, default_tier: sim }}\n"
      "auth: {{ method: {} }}\n"
      "process: {{ shutdown_timeout: 20s }}\n"
      "backends:\n  main: {{ {}, max_server_connections: {}, tls_mode: disable,"
      " breaker_volume: {}, breaker_open_time: {}ms{} }}\n",
      stage.query_wait, stage.clients + kClientsBeside, stage.statements_per_server,
      round % 2 == 0 ? "1h" : "30min", stage.client_auth, where,
      round % 2 == 1 && stage.backend_servers > 1 ? stage.backend_servers - 1 : stage.backend_servers,
      stage.breaker_volume, stage.breaker_open_ms,
      stage.side_role ? ", side_user: side, side_password: \"secret of side\"" : "");
  text += fmt::format(
      "tiers:\n  sim: {{ pool_size: {}, max_server_connections: {}, max_clients: {}, queue_timeout: {}s,"
      " max_pinned_clients: {}, pool_mode: {}, at_breaker: {}, work_mem: 4MB, lock_timeout: {}s{}{}{}{} }}\n",
      round % 3 == 0 ? stage.pool_size : 1, round % 3 == 2 ? 1 : stage.max_servers, stage.max_clients,
      100 + round, stage.max_pinned, stage.session_mode ? "session" : "transaction",
      stage.fails_fast ? "reject" : "queue", 8 + round % 2,
      stage.timed ? ", statement_timeout: 300ms, idle_in_transaction_session_timeout: 400ms, "
                    "transaction_timeout: 1500ms"
                  : "",
      round % 2 == 1 ? ", slow_transaction: 5ms" : "", stage.queues_clients ? ", at_clients: queue" : "",
      stage.per_minute > 0
          ? fmt::format(", transactions_per_minute: {}, burst: {}, at_rate: {}", stage.per_minute,
                        stage.burst, stage.refuses_rate ? "reject" : "throttle")
          : "");
  text += stage.store ? "tenant_store: { ttl: 300ms, timeout: 400ms, stale_max: 1s }\ntenants: {}\n"
                      : "tenants:\n";
  for (unsigned i = 0; i < stage.tenants && !stage.store; ++i) {
    const std::string database = database_of(stage, i);
    const char* const login = stage.own_users ? "" : ", user: app, password: \"secret of app\"";
    std::string tier;
    if (stage.mixed_tiers) tier = i == 0 ? ", weight: 8, pool_size: 1" : ", weight: 1, pool_size: 1";
    if (stage.contest) tier = i == 1 ? ", weight: 8" : ", weight: 1";
    if (stage.load == Load::Weights)
      tier = fmt::format(", weight: {}", i < stage.tenants - stage.onlookers ? weight_of(i) : 8);
    if (stage.load == Load::Floors) tier = i == 0 ? ", weight: 8" : ", weight: 1";
    text += fmt::format("  tenant{}: {{ tier: sim, backend: main, database: {}{}{} }}\n", i, database, login,
                        tier);
  }
  text += "users:\n";
  for (const char* user : {"web", "own", "other"})
    text += fmt::format("  {}: \"{}\"\n", user, secret_of(stage, user));
  return text + stage.more_settings;
}

std::shared_ptr<const Snapshot> stage_snapshot(const Stage& stage, const std::vector<net::Endpoint>& hosts,
                                               unsigned round) {
  const auto read = [&](const std::string& path) -> tl::expected<std::string, std::string> {
    if (path == "stage.yaml") return stage_yaml(stage, hosts, round);
    return tl::unexpected(path + ": no such file");
  };
  const auto stop = [](const std::vector<conf::Problem>& problems) {
    for (const conf::Problem& problem : problems) std::fprintf(stderr, "%s\n", describe(problem).c_str());
    std::abort();
  };
  auto loaded = conf::load("stage.yaml", {}, read);
  if (!loaded) stop(loaded.error());
  auto snapshot = make_snapshot(std::move(*loaded), read);
  if (!snapshot) stop(snapshot.error());
  return *snapshot;
}

}  // namespace pgweir::sim
