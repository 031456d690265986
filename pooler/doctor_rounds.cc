#include "pooler/doctor_rounds.h"

#include <fmt/format.h>
#include <sys/resource.h>
#include <sys/stat.h>
#include <unistd.h>

#include <algorithm>
#include <cerrno>
#include <cstdlib>
#include <cstring>
#include <filesystem>
#include <fstream>
#include <map>
#include <optional>
#include <set>
#include <tuple>

#include "pooler/base/network.h"
#include "pooler/descriptors.h"
#include "pooler/load_snapshot.h"
#include "pooler/net/address.h"
#include "pooler/net/listen.h"
#include "pooler/net/random.h"
#include "pooler/net/uv_loop.h"
#include "pooler/net/wall_clock.h"
#include "pooler/probe.h"
#include "pooler/process.h"
#include "pooler/redis_connection.h"
#include "pooler/usage.h"
#include "protocol/frame.h"
#include "protocol/messages.h"

namespace pgweir::doctor {

namespace {

constexpr net::Patience kNamePatience{5'000}, kKnockPatience{3'000}, kTalkPatience{5'000};
constexpr std::size_t kTenantsTried = 20;  // of the configuration, with passwords that are known
constexpr std::string_view kAnybody = "pgweir-doctor";

// The first bytes that a client sends.
std::string startup(std::uint32_t code, Bytes parameters) {
  std::string out;
  for (const std::uint32_t word : {static_cast<std::uint32_t>(8 + parameters.size()), code})
    for (int shift = 24; shift >= 0; shift -= 8) out.push_back(static_cast<char>(word >> shift & 0xff));
  return out.append(parameters);
}
constexpr std::uint32_t kSslRequest = 80877103, kVersion3 = 196608;

// Postgres's own errors name the routine that raised them.
bool is_pgweir(const std::string& answer) {
  if (answer.size() < protocol::kHeaderBytes || answer[0] != 'E') return false;
  const Bytes body = Bytes(answer).substr(protocol::kHeaderBytes);
  return protocol::parse_error(body).message == "no PostgreSQL user name specified in startup packet" &&
         body.find(Bytes("\0R", 2)) == Bytes::npos;
}

std::optional<std::uint32_t> kernel_number(const char* path, std::uint32_t* second = nullptr) {
  std::ifstream file(path);
  std::uint32_t value = 0;
  if (!(file >> value)) return {};
  if (second && !(file >> *second)) return {};
  return value;
}

// Empty: all are this machine's alone. Sockets of a service manager are not known here.
std::string public_address(const conf::Config& config) {
  for (const std::string& address : config.listen_addresses)
    if (!is_loopback(address)) return net::text({address, config.listen_port});
  return {};
}

// What the start would meet with, which makes the folders that are missing. Nothing is made here.
FileFacts look_at_file(const std::string& name) {
  namespace fs = std::filesystem;
  const auto seen = [&](int error, const fs::path& missing = {}) {
    return FileFacts{name, missing.string(), error == 0 ? std::string() : std::strerror(error)};
  };
  const fs::path path = fs::absolute(name);
  std::error_code ignored;
  if (!path.has_filename() || fs::is_directory(path, ignored)) return seen(EISDIR);
  if (fs::exists(path, ignored)) return seen(::access(path.c_str(), W_OK) == 0 ? 0 : errno);
  fs::path folder = path.parent_path(), missing;
  for (; !fs::exists(folder, ignored) && folder.has_relative_path(); folder = folder.parent_path())
    if (missing.empty()) missing = folder;
  if (!fs::is_directory(folder, ignored)) return seen(ENOTDIR, missing);
  return seen(::access(folder.c_str(), W_OK | X_OK) == 0 ? 0 : errno, missing);
}

// Asks a Redis for its time, and what it does when it is full, which it need not say.
class RedisVisit final : public RedisConnection::User {
 public:
  RedisVisit(const RedisSettings& settings)
      : loop_(net::UvLoop::make()),
        deadline_(loop_.get(), [](void* loop) { static_cast<net::UvLoop*>(loop)->stop(); }),
        connection_(*loop_, rng_, log_, settings, *this, false) {
    loop_->arm(deadline_, loop_->now() + kTalkPatience);
    connection_.start();
    loop_->run();
    loop_->disarm(deadline_);
  }
  bool answered() const { return reply_.has_value(); }
  const std::string& complaint() const { return log_.text(); }
  std::optional<std::int64_t> time_s() const {
    if (!reply_ || reply_->elements.empty()) return {};
    return std::strtoll(reply_->elements[0].text.c_str(), nullptr, 10);
  }
  // Empty: it may not be asked.
  const std::string& memory() const { return memory_; }

 private:
  void on_redis_up() override {
    std::string out;
    tiers::put_redis(out, {"TIME"});
    connection_.send(out);
    out.clear();
    tiers::put_redis(out, {"INFO", "memory"});
    connection_.send(out);
    connection_.write();
  }
  void on_redis_reply(tiers::RedisReply reply) override {
    if (!reply_) return void(reply_ = std::move(reply));
    if (reply.kind != tiers::RedisReply::Kind::Failure) memory_ = std::move(reply.text);
    loop_->stop();
  }
  void on_redis_message(const std::string&) override {}
  void on_redis_down() override { loop_->stop(); }

  std::unique_ptr<net::UvLoop> loop_;
  net::SystemRng rng_;
  LastWarning log_;
  net::Timer deadline_;
  RedisConnection connection_;
  std::optional<tiers::RedisReply> reply_;  // to the first
  std::string memory_;
};

}  // namespace

Findings Rounds::go() {
  for (const BackendView& each : snapshot_->backends) backend(each);
  redis();
  tenant_store();
  own_certificates();
  secret_files();
  audit_file();
  ports();
  host();
  return std::move(findings_);
}

bool Rounds::reach(const std::string& check, const net::Endpoint& endpoint) {
  std::vector<std::string> addresses{endpoint.host};
  if (!endpoint.is_unix() && !net::literal(endpoint)) {
    const auto found = net::resolve(endpoint.host, kNamePatience);
    say(judge_name(check + ": name", endpoint.host, found));
    if (!found || found->empty()) return false;
    addresses = *found;
  }
  std::vector<Knock> knocks;
  address_.clear();
  for (const std::string& address : addresses) {
    const auto visit = net::Visit::to({address, endpoint.port}, kKnockPatience);
    if (visit && address_.empty()) address_ = address;
    knocks.push_back({net::text({address, endpoint.port}), visit ? "" : visit.error().message});
  }
  say(judge_knocks(check + ": port", knocks));
  return !address_.empty();
}

void Rounds::backend(const BackendView& view) {
  const std::string check = "backend " + view.settings.name;
  bool reached = false;
  for (const net::Endpoint& each : view.hosts)
    if (host_of(view, each, view.hosts.size() == 1 ? check : check + ", " + net::text(each))) reached = true;
  if (!reached) return;
  logins(view, check);
  roles(view, check);
}

void Rounds::roles(const BackendView& view, const std::string& check) {
  const conf::SessionAttrs wanted = session_attrs(view.settings);
  if (!asks_role(wanted)) return;
  std::optional<ProbeLogin> as;
  if (!SideConnection::possible(view)) {
    for (const auto& [name, tenant] : snapshot_->directory.tenants()) {
      const BackendView* const its = snapshot_->backend(tenant.backend);
      if (its && its->settings.name == view.settings.name) as = login_of(*snapshot_, tenant);
      if (as) break;
    }
    if (!as) return;  // which logins() tells
  }
  std::vector<HostSeen> seen;
  for (const net::Endpoint& host : view.hosts) {
    const auto rows = ask_server(view, host, as, {kRoleQuery});
    Expected<HostRole> role = fail(sqlstate::kProtocolViolation, "the server sent no proper answer");
    if (!rows)
      role = tl::unexpected(rows.error());
    else if (rows->size() == 1 && (*rows)[0].size() == 1)
      if (const auto told = role_of_row((*rows)[0][0], false)) role = *told;
    seen.push_back({net::text(host), role});
    say(judge_role(check + ", " + net::text(host) + ": role", seen.back()));
  }
  say(judge_roles(check + ": roles", wanted, seen));
}

bool Rounds::host_of(const BackendView& view, const net::Endpoint& endpoint, const std::string& check) {
  if (!reach(check, endpoint)) return false;
  if (endpoint.is_unix()) return true;
  TlsFacts facts;
  if (auto visit = net::Visit::to({address_, endpoint.port}, kKnockPatience)) {
    const std::string answer = visit->ask(startup(kSslRequest, {}), 1, kTalkPatience);
    facts.offered = answer == "S";
    facts.speaks =
        facts.offered || answer == "N" || answer.starts_with('E');  // an error: too many clients, perhaps
    if (facts.offered)
      facts.certificate = visit->shake_hands(endpoint.host, view.settings.tls_ca_file, kTalkPatience);
  }
  say(judge_tls(check + ": TLS", facts, view.settings.tls_mode, endpoint.host, net::wall_clock_s()));
  return true;
}

std::optional<LoginFacts> Rounds::login(const BackendView& view, const std::string& check, const Login& as,
                                        bool side, const tiers::Tenant* tenant) {
  const std::int64_t before_s = net::wall_clock_s();
  const auto rows = ask_server(view, side ? std::nullopt : login_of(*snapshot_, *tenant), {kLoginQuery});
  const std::int64_t after_s = net::wall_clock_s() + 1;
  Expected<LoginFacts> facts = tl::unexpected(Error{});
  if (!rows)
    facts = tl::unexpected(rows.error());
  else if (const auto told = login_facts((*rows)[0]))
    facts = *told;
  else
    facts = fail(sqlstate::kProtocolViolation, "the server sent no proper answer");
  say(judge_login(check, as, facts));
  if (!facts) return {};
  const std::string clock = "backend " + view.settings.name + ": clock";
  const auto is_it = [&](const Finding& finding) { return finding.check == clock; };
  if (std::none_of(findings_.begin(), findings_.end(), is_it)) {
    ClockFacts told{facts->time_s, before_s, after_s, {}};
    if (as.tokens) told.tokens_hold = view.settings.tenant_token_life;
    say(judge_clock(clock, told));
    say(judge_connections("backend " + view.settings.name + ": connections",
                          view.settings.max_server_connections, *facts));
  }
  return *facts;
}

void Rounds::logins(const BackendView& view, const std::string& check) {
  const conf::Backend& settings = view.settings;
  const bool tokens = !settings.tenant_secret.empty();
  bool tried = false;
  if (SideConnection::possible(view)) {
    login(view, check + ": side role", {settings.side_user, settings.side_database, true, tokens}, true,
          nullptr);
    tried = true;
  } else {
    say({check + ": side role", Health::Warn,
         "there is none, so queries that catch cancels go on beyond their ceilings: run "
         "packaging/postgres/side_role.sql and set side_user"});
  }
  // As whom and where: many tenants may be the same to Postgres.
  std::set<std::tuple<std::string, std::string>> seen;
  std::size_t left_out = 0;
  for (const auto& [name, tenant] : snapshot_->directory.tenants()) {
    const BackendView* const its = snapshot_->backend(tenant.backend);
    const auto as = login_of(*snapshot_, tenant);
    if (!its || its->settings.name != settings.name || !as) continue;
    if (!seen.emplace(as->credentials.user, as->database).second) continue;
    if (seen.size() > kTenantsTried) {
      ++left_out;
      continue;
    }
    login(view, "tenant " + name, {as->credentials.user, as->database, false, tokens}, false, &tenant);
    tried = true;
  }
  if (left_out > 0)
    say({check + ": tenants", Health::Ok, fmt::format("{} more logins were not tried", left_out)});
  if (!tried)
    say({check + ": login", Health::Warn,
         "none was tried, since no password for it is known here: set side_user, or give a tenant user and "
         "password"});
}

void Rounds::redis() {
  if (!snapshot_->redis) return;
  const RedisSettings& settings = *snapshot_->redis;
  const bool sentinels = !settings.sentinels.empty();
  bool reached = false;
  std::size_t number = 0;
  if (!sentinels) reached = reach("redis", settings.endpoint);
  for (const net::Endpoint& sentinel : settings.sentinels)
    reached = reach(fmt::format("redis: sentinel {}", ++number), sentinel) || reached;
  if (!reached) return;
  if (!sentinels && settings.tls) {
    TlsFacts facts{true, net::Visit::Certificate{}};
    auto visit = net::Visit::to({address_, settings.endpoint.port}, kKnockPatience);
    if (!visit)
      facts.certificate = tl::unexpected(visit.error());
    else
      facts.certificate =
          visit->shake_hands(settings.endpoint.host, snapshot_->config().redis_ca_file, kTalkPatience);
    say(judge_tls("redis: TLS", facts, conf::TlsMode::VerifyFull, settings.endpoint.host,
                  net::wall_clock_s()));
  }
  const std::int64_t before_s = net::wall_clock_s();
  const RedisVisit visit(settings);
  const std::int64_t after_s = net::wall_clock_s() + 1;
  say(judge_store("redis: login", visit.answered(), visit.complaint(),
                  "look at user, password and number in tenant_store.redis_url"));
  if (const auto time_s = visit.time_s()) say(judge_clock("redis: clock", {*time_s, before_s, after_s, {}}));
  // Of a cache rows may go at any time.
  if (snapshot_->config().store_kind == conf::StoreKind::Redis)
    if (const auto evicts = judge_eviction("redis: eviction", visit.memory())) say(*evicts);
}

void Rounds::tenant_store() {
  const conf::Config& config = snapshot_->config();
  if (config.store_kind == conf::StoreKind::File) return;
  if (config.unknown_tenants)
    say({"tenant store: unknown tenants", Health::Warn,
         "pool.unknown_tenants is on: who asks for a tenant's database by its own name is another tenant, "
         "without that one's limits; set it to false"});
  const bool postgres = config.store_kind == conf::StoreKind::Postgres;
  std::string complaint;
  const auto answer = find_tenant(snapshot_, std::string(kAnybody), complaint);
  say(judge_store("tenant store", answer.kind != tiers::Catalog::Answer::Kind::Unreachable, complaint,
                  postgres
                      ? "look at tenant_store.postgres_url, and run packaging/postgres/tenant_store.sql there"
                      : "look at the Redis of tenant_store.redis_url and at its ACLs"));
  if (answer.kind == tiers::Catalog::Answer::Kind::Unreachable) return;
  say(judge_usage("tenant store: usage", try_usage(snapshot_), usage_hint(config.store_kind)));
}

void Rounds::own_certificates() {
  const conf::Config& config = snapshot_->config();
  if (config.client_tls_mode != conf::TlsMode::Disable)
    say(judge_own_certificate("clients: certificate", net::certificate_in(config.client_tls_cert_file),
                              net::wall_clock_s()));
  else
    say(judge_no_certificate("clients: certificate", public_address(config)));
  for (const BackendView& view : snapshot_->backends)
    if (!view.settings.tls_cert_file.empty())
      say(judge_own_certificate("backend " + view.settings.name + ": our certificate",
                                net::certificate_in(view.settings.tls_cert_file), net::wall_clock_s()));
}

void Rounds::secret_files() {
  const conf::Config& config = snapshot_->config();
  const auto look = [this](const std::string& check, const std::string& path) {
    struct stat what {};
    if (!path.empty() && ::stat(path.c_str(), &what) == 0)
      say(judge_secret_file(check, path, what.st_mode & 07777U));
  };
  look("secrets: users", config.users_file);
  look("secrets: TLS key", config.client_tls_key_file);
  for (const BackendView& view : snapshot_->backends)
    look(fmt::format("secrets: TLS key for {}", view.settings.name), view.settings.tls_key_file);
}

void Rounds::audit_file() {
  const std::string& target = snapshot_->config().audit_target;
  if (target == "off" || target == "stdout") return;
  say(judge_file("audit: file", look_at_file(target), "audit.target"));
}

void Rounds::ports() {
  const conf::Config& config = snapshot_->config();
  const auto is_chosen = [&](std::string_view key) {
    const auto origin = snapshot_->loaded.origins.find(key);
    return origin != snapshot_->loaded.origins.end() && origin->second.where != "default";
  };
  const auto knock = [](net::Endpoint at) {
    if (at.host == "*" || at.host == "::") at.host = net::machine_has("::1") ? "::1" : "127.0.0.1";
    if (at.host == "0.0.0.0") at.host = "127.0.0.1";
    return net::Visit::to(at, kKnockPatience);
  };
  const auto look = [&](const std::string& check, const net::Endpoint& at, const char* setting, bool chosen,
                        const auto& ask_ours) {
    if (!at.is_unix() && at.port == 0) return;
    if (!at.is_unix() && !net::machine_has(at.host)) {
      // Of addresses that nobody has asked for, those that there are will do.
      if (chosen)
        say({check, Health::Fail, fmt::format("this machine does not have {}: leave it out", at.host)});
      return;
    }
    const auto fd = net::open_listener(at, {.port_setting = setting});
    if (fd) {
      ::close(*fd);
      if (at.is_unix()) ::unlink(at.host.c_str());
      return say(judge_port(check, net::text(at), Port::Free, ""));
    }
    auto visit = knock(at);
    const bool ours = visit && ask_ours(*visit);
    say(judge_port(check, net::text(at), ours ? Port::Ours : Port::Taken, fd.error().message));
  };
  const auto speaks_ours = [](net::Visit& visit) {
    // The parameters have a database and no user, which is an error before anybody has to log in.
    return is_pgweir(visit.ask(startup(kVersion3, Bytes("database\0pgweir\0\0", 17)), 1024, kTalkPatience));
  };
  const auto serves_ours = [](net::Visit& visit) {
    const std::string answer =
        visit.ask("GET /pgweir-doctor HTTP/1.0\r\n\r\n", std::size_t{64} << 10, kTalkPatience);
    return answer.find("openapi.json") != std::string::npos ||
           answer.find("http.metrics_token") != std::string::npos;
  };
  for (const std::string& address : config.listen_addresses)
    look("port: clients", {address, config.listen_port}, "listen.port", is_chosen("listen.addresses"),
         speaks_ours);
  if (!config.unix_socket_dir.empty())
    look("port: clients", {fmt::format("{}/.s.PGSQL.{}", config.unix_socket_dir, config.listen_port), 0},
         "listen.port", true, speaks_ours);
  for (const std::string& address : config.http_addresses)
    look("port: http", {address, config.http_port}, "http.port", is_chosen("http.addresses"), serves_ours);
}

void Rounds::host() {
  const conf::Config& config = snapshot_->config();
  HostFacts facts;
  rlimit limit{};
  if (::getrlimit(RLIMIT_NOFILE, &limit) == 0) facts.files_most = limit.rlim_max;
  facts.files_needed = descriptors_needed(config);
  facts.backlog = config.backlog;
  facts.somaxconn = kernel_number("/proc/sys/net/core/somaxconn");
  facts.reuse_port = config.reuse_port;
  facts.migrate_req = kernel_number("/proc/sys/net/ipv4/tcp_migrate_req");
  std::uint32_t last = 0;
  if (const auto first = kernel_number("/proc/sys/net/ipv4/ip_local_port_range", &last))
    facts.local_ports = {*first, last};
  std::map<std::string, std::uint32_t> servers;
  for (const BackendView& view : snapshot_->backends)
    for (const net::Endpoint& each : view.hosts)
      if (!each.is_unix())
        facts.servers_of_one_address = std::max(
            facts.servers_of_one_address, servers[net::text(each)] += view.settings.max_server_connections);
  for (Finding& finding : judge_host(facts)) say(std::move(finding));
}

}  // namespace pgweir::doctor

namespace pgweir::process {

cli::Exit doctor(const std::string& path) {
  const auto snapshot = load_snapshot(path, read_environment());
  if (!snapshot) {
    tell(snapshot.error());
    return cli::Exit::Config;
  }
  const doctor::Findings findings = doctor::Rounds(*snapshot).go();
  fmt::print("{}", doctor::table(findings));
  switch (doctor::worst(findings)) {
    case doctor::Health::Ok: return cli::Exit::Fine;
    case doctor::Health::Warn: return cli::Exit::Weak;
    case doctor::Health::Fail: return cli::Exit::Wrong;
  }
  return cli::Exit::Wrong;
}

}  // namespace pgweir::process
