// conf/config.h - every setting of pgweir, as values that have been checked.
//
// One row per setting stands in conf/settings.cc; parsing, checks, SHOW CONFIG, --print-config and
// conf/reference.md come from those rows. A Config is immutable once loaded and shared by all threads.
#pragma once

#include <chrono>
#include <cstdint>
#include <string>
#include <vector>

#include "pooler/base/log.h"

namespace pgweir::conf {

using std::chrono::milliseconds;

enum class TlsMode : std::uint8_t { Disable, Allow, Prefer, Require, VerifyCa, VerifyFull };
enum class AuthMethod : std::uint8_t { Trust, Password, Md5, ScramSha256 };
enum class Rates : std::uint8_t { Local, Fleet };
// Which of a backend's hosts will do. Auto: any where there is one host, read-write where there are several.
enum class SessionAttrs : std::uint8_t { Auto, Any, ReadWrite, Primary, Standby, PreferStandby, ReadOnly };
const char* name(SessionAttrs attrs);  // as it is written
enum class StoreKind : std::uint8_t { File, Redis, Postgres };
// What of a login names its tenant.
enum class NamedBy : std::uint8_t { Database, User, Sni, Option };
enum class LogFormat : std::uint8_t { Auto, Text, Json };
using pgweir::LogLevel;

// Where a value was written: for messages and for --print-config.
struct Origin {
  std::string where = "default";  // "default", a file's path, "environment"
  int line = 0;                   // from 1; 0: no line
  int column = 0;

  bool operator==(const Origin&) const = default;
};

// A field of a section whose rows belong to another library (tiers, tenants): checked there, reported with
// its origin.
struct Field {
  std::string key;
  std::string value;
  Origin origin;
};
struct Row {
  std::string name;
  Origin origin;
  std::vector<Field> fields;
};

struct Backend {
  std::string name;
  std::string host = "localhost";  // name, address, or the directory of a unix socket (begins with '/')
  std::uint16_t port = 5432;
  std::vector<std::string> hosts;  // instead of host; each may have a port of its own
  SessionAttrs target_session_attrs = SessionAttrs::Auto;
  milliseconds host_timeout{3'000};  // of each, where there are several
  std::uint32_t max_server_connections = 200;
  std::uint32_t max_logins_at_once = 8;
  std::uint32_t breaker_failures = 50;  // percent; 0: the breaker never opens by itself
  std::uint32_t breaker_volume = 20;
  milliseconds breaker_window{10'000};
  milliseconds breaker_open_time{30'000};  // and up to 10 % jitter
  TlsMode tls_mode = TlsMode::Prefer;
  std::string tls_ca_file, tls_cert_file, tls_key_file;
  std::string side_user, side_password;  // of the pooler's own connections; no user: there are none
  std::string side_database = "postgres";
  std::string tenant_secret;  // of tokens that tell tenants of one role apart; empty: none
  milliseconds tenant_token_life{600'000};
  std::vector<std::string> auth_methods;  // pinned, as spelled in auth.method; empty: any that is safe
  Origin origin;
};

struct User {
  std::string name;
  std::string secret;  // as written: plain, md5... or SCRAM-SHA-256$...
};

struct Config {
  // listen
  std::vector<std::string> listen_addresses{"127.0.0.1", "::1"};
  std::uint16_t listen_port = 6432;
  std::string unix_socket_dir;            // empty: none
  std::uint32_t unix_socket_mode = 0777;  // octal in the file
  std::uint32_t backlog = 1024;
  bool reuse_port = false;
  std::uint32_t threads = 0;  // 0: one per core
  // client
  std::uint32_t max_clients = 10'000;
  milliseconds client_login_timeout{10'000};
  milliseconds client_idle_timeout{0};  // 0: never
  milliseconds query_wait_timeout{120'000};
  milliseconds query_timeout{0};
  milliseconds transaction_timeout{0};
  milliseconds idle_transaction_timeout{0};
  TlsMode client_tls_mode = TlsMode::Disable;
  std::string client_tls_cert_file, client_tls_key_file, client_tls_ca_file;
  bool client_tls_lean = true;
  std::vector<std::string> tenant_named_by{"database"};  // of NamedBy; the first that a login has
  std::string sni_domain;                                // a client that asks for acme.<this> names acme
  // server
  milliseconds server_connect_timeout{15'000};
  milliseconds server_silence_max{5'000};  // of its machine, while something is expected of it
  milliseconds server_keepalive{30'000};
  milliseconds server_lifetime{3'600'000};            // less up to 10 % jitter
  milliseconds server_idle_timeout{0};                // never: tiers say it
  milliseconds server_login_retry{100};               // first pause after a failed login; jittered
  bool server_rotation = false;                       // test setting: hand out the least recently used server
  std::uint32_t max_prepared_statements = 200;        // per server
  std::uint32_t prepared_statement_bytes = 64 << 20;  // named statements of one tenant's clients
  std::uint32_t buffer_high_water = 64 << 10;
  // pool (values of tenants whose tier or record does not say otherwise)
  std::string default_tier = "free";
  milliseconds wake_timeout{60'000};      // how long a client may wait for a Postgres that does not answer
  milliseconds downgrade_grace{900'000};  // of what is beyond a lower plan
  milliseconds move_timeout{30'000};      // for transactions of a tenant that is moved
  bool read_functions = true;             // ask Postgres what its functions do to a session
  bool unknown_tenants = true;  // a database that no tenant names: default tier on the first backend
  // tenant_store
  StoreKind store_kind = StoreKind::File;
  std::string redis_url, redis_ca_file;
  std::string postgres_url;
  Rates store_rates = Rates::Local;
  bool store_serve_unreachable = false;  // as unknown_tenants says
  milliseconds store_timeout{1000};
  milliseconds store_ttl{60'000};
  milliseconds store_negative_ttl{10'000};
  milliseconds store_stale_max{900'000};
  milliseconds store_usage_kept{35LL * 24 * 3600 * 1000};
  std::uint32_t store_known_max = 100'000;
  // auth
  AuthMethod auth_method = AuthMethod::ScramSha256;
  bool trust_on_network = false;  // trust, though others than this machine can connect
  std::string users_file;
  std::vector<User> users;  // the section `users`, names unique. load() only looks whether
                            // users_file can be read: whoever knows its format merges it
  // console
  std::vector<std::string> console_admins;
  std::vector<std::string> console_stats;
  bool console_peer = true;  // over the unix socket, who has our uid is an administrator
  // http
  std::uint16_t http_port = 9127;  // 0: none
  std::vector<std::string> http_addresses{"::"};
  std::vector<std::string> http_allow{"127.0.0.0/8", "::1"};
  std::string metrics_token;            // empty: http_allow decides
  std::uint32_t metrics_tenants = 100;  // with series of their own
  // process
  milliseconds shutdown_timeout{30'000};
  milliseconds watchdog{10'000};
  bool watch_file = true;  // the configuration's own
  LogLevel log_level = LogLevel::Info;
  LogFormat log_format = LogFormat::Auto;
  // audit
  std::string audit_target = "off";  // or stdout, or the path of a file
  std::uint32_t audit_file_size = 100 << 20;
  std::uint32_t audit_files = 10;
  // sections with rows of their own
  std::vector<Backend> backends;  // at least one; the first serves what names none
  std::vector<Row> tiers;         // rows over the embedded tier table, in order
  std::vector<Row> tenants;
};

}  // namespace pgweir::conf
