#include "conf/settings.h"

#include <algorithm>
#include <array>
#include <limits>
#include <type_traits>
#include <utility>

#include "conf/hosts.h"
#include "pooler/base/check.h"
#include "pooler/base/near.h"
#include "pooler/base/network.h"
#include "pooler/base/quoted.h"
#include "pooler/base/units.h"

namespace pgweir::conf {
namespace {

using ConfigRow = Setting<Config>;
constexpr auto kReload = Applies::OnReload;
constexpr auto kRestart = Applies::OnRestart;
constexpr std::int64_t kPathMax = 4095;     // Linux's PATH_MAX without its end
constexpr std::int64_t kSocketDirMax = 90;  // leaves room for /.s.PGSQL.65535 in a sockaddr_un
constexpr std::int64_t kHostMax = 253;      // longest DNS name
constexpr std::int64_t kHostsMost = 16;
constexpr std::int64_t kPasswordMax = 1000;
constexpr std::int64_t kNameMax = 63;  // what Postgres keeps of a name
constexpr std::int64_t kTimeMax = 365 * kDayMs;

constexpr std::array kSettings{
    // listen
    ConfigRow{
        "listen.addresses", &Config::listen_addresses, Form::Address, 0, 64, kRestart,
        "Addresses to listen on; `::` and `*` stand for all, IPv6 and IPv4. None: the unix socket alone."},
    ConfigRow{"listen.port", &Config::listen_port, Form::Plain, 1, 65535, kRestart,
              "Port, also in the name of the unix socket."},
    ConfigRow{"listen.unix_socket_dir", &Config::unix_socket_dir, Form::SocketDir, 0, kSocketDirMax, kRestart,
              "Directory of the unix socket `.s.PGSQL.<port>`; empty: none."},
    ConfigRow{"listen.unix_socket_mode", &Config::unix_socket_mode, Form::Octal, 0, 0777, kRestart,
              "Permissions of the unix socket, octal."},
    ConfigRow{"listen.backlog", &Config::backlog, Form::Plain, 1, 65535, kRestart,
              "Connections that the kernel keeps waiting to be accepted."},
    ConfigRow{"listen.reuse_port", &Config::reuse_port, Form::Plain, 0, 0, kRestart,
              "Let another pgweir of the same user listen on the same addresses at the same time "
              "(SO_REUSEPORT), so that a new one can be started before the old one is told to end. The unix "
              "socket has no such thing: the new one takes it over."},
    // client
    ConfigRow{"client.max", &Config::max_clients, Form::Plain, 1, 1'000'000, kReload,
              "Clients that may be connected at a time, over all tenants; some more may be about to log in."},
    ConfigRow{"client.login_timeout", &Config::client_login_timeout, Form::Plain, 100, kHourMs, kReload,
              "How long a client may take from connecting to the end of its login."},
    ConfigRow{"client.idle_timeout", &Config::client_idle_timeout, Form::Plain, 0, kTimeMax, kReload,
              "How long a client may be idle outside a transaction before it is disconnected."},
    ConfigRow{"client.query_wait_timeout", &Config::query_wait_timeout, Form::Plain, 0, kDayMs, kReload,
              "How long a client may queue for a server before it is refused."},
    ConfigRow{
        "client.query_timeout", &Config::query_timeout, Form::Plain, 0, kTimeMax, kReload,
        "How long one request may run on a server; then the client's connection is ended (FATAL, 57014), "
        "and the server's with it."},
    ConfigRow{"client.transaction_timeout", &Config::transaction_timeout, Form::Plain, 0, kTimeMax, kReload,
              "How long one transaction may hold a server."},
    ConfigRow{"client.idle_transaction_timeout", &Config::idle_transaction_timeout, Form::Plain, 0, kTimeMax,
              kReload, "How long a client may be idle inside a transaction."},
    ConfigRow{
        "client.tls_mode", &Config::client_tls_mode, Form::Plain, 0, 0, kReload,
        "Whether clients may (allow, prefer) or must (require) use TLS, and with a certificate (verify-ca, "
        "verify-full). Where it is not written and `client.tls_cert_file` is: `prefer`."},
    ConfigRow{"client.tls_cert_file", &Config::client_tls_cert_file, Form::Path, 0, kPathMax, kReload,
              "PEM file with our certificate chain, shown to clients."},
    ConfigRow{"client.tls_key_file", &Config::client_tls_key_file, Form::Path, 0, kPathMax, kReload,
              "PEM file with the key of that certificate."},
    ConfigRow{"client.tls_ca_file", &Config::client_tls_ca_file, Form::Path, 0, kPathMax, kReload,
              "PEM file with the authorities that may sign clients' certificates."},
    ConfigRow{
        "client.tls_lean", &Config::client_tls_lean, Form::Plain, 0, 0, kReload,
        "Whether OpenSSL's part in a TLS 1.3 connection ends with its handshake, but for the ciphers: an "
        "idle client then costs 3.7 kB. false: OpenSSL does it all, for 14.5 kB. For clients that connect "
        "from then on."},
    ConfigRow{
        "client.tenant_named_by", &Config::tenant_named_by, Form::NamedBy, 1, 4, kReload,
        "What of a login names its tenant, the first that it has: `option` (`options=-c "
        "pgweir.tenant=acme`), `sni` (a TLS client that asks for `acme.` and client.sni_domain), `user` "
        "(`alice.acme`), `database`, which every login has. Postgres does not see the naming part; where "
        "it is not the database, the tenant's record says which database is meant."},
    ConfigRow{"client.sni_domain", &Config::sni_domain, Form::Host, 0, kHostMax, kReload,
              "Domain whose hosts are named for tenants."},
    // server
    ConfigRow{"server.connect_timeout", &Config::server_connect_timeout, Form::Plain, 100, kHourMs, kReload,
              "How long connecting and logging in to Postgres may take."},
    ConfigRow{"server.silence_max", &Config::server_silence_max, Form::Plain, 0, kHourMs, kReload,
              "How long Postgres's machine may acknowledge nothing of what it was sent, or answer no probe "
              "while the answer to a request is awaited, before its connection is given up "
              "(TCP_USER_TIMEOUT, which is told 500 ms less, or half of it, since the kernel counts from "
              "when it sends something again; and keepalive in whole seconds for requests that have run "
              "for a second, and for the connection that listens for clients). "
              "It may be silent for as long as it works: its kernel answers. Only in a login, before our "
              "password is out, "
              "is it not waited for longer: for its first word, in the TLS handshake, for the way that it "
              "wants to be "
              "convinced, for a SCRAM challenge. never: what the kernel does, and "
              "server.connect_timeout. For connections made from then on."},
    ConfigRow{"server.keepalive", &Config::server_keepalive, Form::Plain, 0, kDayMs, kReload,
              "How long an idle connection to Postgres is silent before its machine is probed, in whole "
              "seconds. Each probe is a packet. For connections made from then on."},
    ConfigRow{"server.lifetime", &Config::server_lifetime, Form::Plain, 0, kTimeMax, kReload,
              "Age at which a server connection is replaced when it is free, less up to 10 % by chance."},
    ConfigRow{"server.idle_timeout", &Config::server_idle_timeout, Form::Plain, 0, kTimeMax, kReload,
              "How long a server connection may be idle before it is closed, at most: a tier's "
              "server_idle_timeout may be shorter."},
    ConfigRow{
        "server.login_retry", &Config::server_login_retry, Form::Plain, 10, kMinuteMs, kReload,
        "Shortest pause after a failed login to Postgres. While it goes on failing, the pause is a tenth "
        "of the time since the first failure, at most 1s. Jitter takes away up to half."},
    ConfigRow{"server.rotation", &Config::server_rotation, Form::Plain, 0, 0, kReload,
              "Hand out the server that has rested longest instead of the last one used. For tests."},
    ConfigRow{"server.max_prepared_statements", &Config::max_prepared_statements, Form::Plain, 0, 100'000,
              kReload, "Named statements kept prepared on one server connection."},
    // pool
    ConfigRow{
        "pool.prepared_statement_bytes", &Config::prepared_statement_bytes, Form::Size, 64 * kKilobyte,
        kGigabyte, kReload,
        "Memory that the named statements of one tenant's clients may take, each text counted once; more "
        "are refused (53400). All tenants together may take as many times that. What nobody has "
        "prepared any more is kept for whoever asks for it next, as long as all texts of its "
        "database and user take no more than this."},
    ConfigRow{"pool.buffer_high_water", &Config::buffer_high_water, Form::Size, 4 * kKilobyte, 64 * kMegabyte,
              kReload, "Bytes waiting for one side at which reading from the other side stops."},
    ConfigRow{"pool.default_tier", &Config::default_tier, Form::Name, 1, kNameMax, kReload,
              "Tier of tenants that name none."},
    ConfigRow{"pool.wake_timeout", &Config::wake_timeout, Form::Plain, 0, kHourMs, kReload,
              "How long a client may wait while its Postgres cannot be reached or is starting; it holds "
              "instead of the tier's queue_timeout."},
    ConfigRow{
        "pool.unknown_tenants", &Config::unknown_tenants, Form::Plain, 0, 0, kReload,
        "Whether a database that no tenant names is served, in the default tier, from the first backend. One "
        "that a tenant of the configuration has by another name is not; of those in a tenant store that is "
        "not "
        "known."},
    ConfigRow{
        "pool.read_functions", &Config::read_functions, Form::Plain, 0, 0, kReload,
        "Ask Postgres, when a pool is opened, when functions were made and about every 30s in use, which "
        "functions of the users' own change their session (set_config, temporary tables ...), and treat "
        "statements that name them like those that show it. Off, what such functions leave behind "
        "reaches the next client of the same database and user."},
    ConfigRow{"pool.downgrade_grace", &Config::downgrade_grace, Form::Plain, 0, 30 * kDayMs, kReload,
              "How long after a plan change to a lower tier clients and transactions beyond its limits may "
              "stay; then the newest are closed. never: they stay until they leave."},
    ConfigRow{
        "pool.move_timeout", &Config::move_timeout, Form::Plain, 100, kHourMs, kReload,
        "How long MOVE waits for the transactions of its tenant, whose new ones wait meanwhile; then it "
        "is called off. The order may say otherwise."},
    // tenant_store
    ConfigRow{"tenant_store.kind", &Config::store_kind, Form::Plain, 0, 0, kRestart,
              "Where tenants and tiers come from beside this configuration. What the store does not know is "
              "looked up here."},
    ConfigRow{
        "tenant_store.redis_url", &Config::redis_url, Form::Plain, 0, 2048, kRestart,
        "`redis://user:password@host:port/database`, or `rediss://` for TLS; with Sentinel "
        "`redis+sentinel://user:password@host:26379,host2:26379/mymaster/0`, or `rediss+sentinel://`: user, "
        "password and database are those of Redis, the sentinels have no password. With kind postgres it "
        "keeps "
        "copies of rows for tenant_store.ttl, passwords of server users among them.",
        Secrecy::Secret},
    ConfigRow{"tenant_store.redis_ca_file", &Config::redis_ca_file, Form::Path, 0, kPathMax, kRestart,
              "PEM file with the authorities that may sign its certificate; empty: those that the system "
              "trusts."},
    ConfigRow{
        "tenant_store.postgres_url", &Config::postgres_url, Form::Plain, 0, 2048, kRestart,
        "`postgres://user:password@host:port/database?sslmode=verify-full&sslrootcert=/path`, the database "
        "that packaging/postgres/tenant_store.sql was run on. It must reach Postgres itself, or LISTEN would "
        "hear nothing.",
        Secrecy::Secret},
    ConfigRow{"tenant_store.timeout", &Config::store_timeout, Form::Plain, 10, kMinuteMs, kRestart,
              "How long the store may take to connect or to answer. Those wait who are not known yet, and "
              "who come back "
              "without clients after more than tenant_store.stale_max."},
    ConfigRow{"tenant_store.ttl", &Config::store_ttl, Form::Plain, 100, kDayMs, kReload,
              "Age at which what is known of a tenant is looked up again, without waiting; up to a quarter "
              "earlier, each at a time of its own, so that a store is not asked for all of them at once."},
    ConfigRow{"tenant_store.negative_ttl", &Config::store_negative_ttl, Form::Plain, 100, kDayMs, kReload,
              "How long it is remembered that the store does not know a tenant."},
    ConfigRow{
        "tenant_store.stale_max", &Config::store_stale_max, Form::Plain, 1000, 30 * kDayMs, kReload,
        "How long a tenant's last good record holds while the store is down or tells nonsense, or while its "
        "Redis does not have it any more; then he is held to pool.default_tier, or to his own tier where "
        "that is lower. His database, his user and that he is suspended stay as they were. A record that is "
        "as old because nobody asked for it is looked up first. A row that is deleted in Postgres is gone "
        "at once. Must be at least twice tenant_store.ttl and tenant_store.timeout."},
    ConfigRow{
        "tenant_store.serve_unreachable", &Config::store_serve_unreachable, Form::Plain, 0, 0, kReload,
        "Whether a tenant of whom nothing is known yet is served as pool.unknown_tenants says while the "
        "store cannot be asked. His record may name another database than that of his name, and say "
        "that he is suspended."},
    ConfigRow{
        "tenant_store.rates", &Config::store_rates, Form::Plain, 0, 0, kRestart,
        "`fleet`: all pgweirs of one Redis count a tenant's transactions_per_minute together, in buckets "
        "`pgweir:rate:<tenant>`, asked for a tenth of a second of tokens at a time. Beyond the rate they "
        "may have those, and what begins before the first answer. `local`, and while Redis is silent: each "
        "for itself."},
    ConfigRow{"tenant_store.usage_kept", &Config::store_usage_kept, Form::Plain, 2 * kDayMs, 400 * kDayMs,
              kRestart,
              "How long a tenant's usage of a day stays in Redis after it was written last, where `kind` is "
              "`redis`. In Postgres it stays until you delete it."},
    ConfigRow{"tenant_store.known_max", &Config::store_known_max, Form::Plain, 100, 10'000'000, kReload,
              "Tenants without clients that are remembered, the last used ones."},
    // auth
    ConfigRow{"auth.method", &Config::auth_method, Form::Plain, 0, 0, kReload,
              "How clients prove who they are. `trust`, which asks for no proof, is refused where "
              "`listen.addresses` has others than loopback ones."},
    ConfigRow{"auth.trust_on_network", &Config::trust_on_network, Form::Plain, 0, 0, kReload,
              "Takes `trust` there all the same: whoever reaches the port can be any user."},
    ConfigRow{
        "auth.users_file", &Config::users_file, Form::Path, 0, kPathMax, kReload,
        "File with a line `\"user\" \"secret\"` per user, beside the section `users`. Both stand in double "
        "quotes, and a quote in them is written twice; percent signs and backslashes stand for themselves, "
        "unlike in DATABASE_URL. Empty lines and lines that begin with ; or # are passed over."},
    // console
    ConfigRow{"console.admins", &Config::console_admins, Form::Name, 0, 1000, kReload,
              "Users who may give any command on the console (database `pgweir`)."},
    ConfigRow{"console.stats", &Config::console_stats, Form::Name, 0, 1000, kReload,
              "Users who may only look at the console. What tiers and tenants inject, and their defaults, "
              "are masked for them."},
    ConfigRow{
        "console.peer", &Config::console_peer, Form::Plain, 0, 0, kReload,
        "Over the unix socket, a client of the same operating system user as pgweir's may log in to the "
        "console as `pgbouncer` or `pgweir`, without a password, and give any command."},
    // http
    ConfigRow{
        "http.port", &Config::http_port, Form::Plain, 0, 65535, kRestart,
        "Port of the status page, /api/v1, /metrics, /healthz and /readyz; 0: none of them. The variable "
        "PORT sets it, too."},
    ConfigRow{"http.addresses", &Config::http_addresses, Form::Address, 1, 64, kRestart,
              "Addresses on which they are served; `::` and `*` stand for all, IPv6 and IPv4."},
    ConfigRow{"http.allow", &Config::http_allow, Form::Network, 0, 64, kReload,
              "Networks whose hosts may read /metrics, the status page and /api/v1 without proving who they "
              "are, unless http.metrics_token is set, a proxy asks for them, or, on this host, they ask by a "
              "name with a dot (`Host: app.example.com`). Users of the console may from everywhere (HTTP "
              "Basic)."},
    ConfigRow{"http.metrics_token", &Config::metrics_token, Form::Plain, 0, 1000, kReload,
              "Who shows it as `Authorization: Bearer` may read them from everywhere, and then http.allow "
              "counts no more; empty: there is none.",
              Secrecy::Secret},
    ConfigRow{"http.metrics_tenants", &Config::metrics_tenants, Form::Plain, 0, 10'000, kReload,
              "Tenants that have series of their own in /metrics: those with most load."},
    // process
    ConfigRow{"process.threads", &Config::threads, Form::Plain, 0, 256, kRestart,
              "Worker threads; 0: one per core."},
    ConfigRow{"process.shutdown_timeout", &Config::shutdown_timeout, Form::Plain, 0, kHourMs, kReload,
              "How long transactions may go on after a request to stop; 1ms: not at all, 0 or never: as long "
              "as they take."},
    ConfigRow{
        "process.watchdog", &Config::watchdog, Form::Plain, 0, kHourMs, kRestart,
        "How long a thread's loop may stand still before the process aborts, so that it is started anew; "
        "where it stands is told after a second already. At least 2s; never: it is only told."},
    ConfigRow{
        "process.watch_file", &Config::watch_file, Form::Plain, 0, 0, kRestart,
        "Whether the configuration file is read again, as by RELOAD, when it has changed. It is looked at "
        "twice "
        "a second and read when it has been the same for a fifth of one; other files that it names are not "
        "looked at."},
    // log
    ConfigRow{"log.level", &Config::log_level, Form::Plain, 0, 0, kReload,
              "Least important event that is logged."},
    ConfigRow{"log.format", &Config::log_format, Form::Plain, 0, 0, kRestart,
              "Text for people, JSON for programs; auto: text on a terminal, else JSON."},
    // audit
    ConfigRow{"audit.target", &Config::audit_target, Form::AuditTarget, 1, kPathMax, kRestart,
              "Where the audit stream (pooler/audit.md) goes: `off`, `stdout` (between the lines of the log) "
              "or the path of a file, which SIGHUP opens anew."},
    ConfigRow{"audit.file_size", &Config::audit_file_size, Form::Size, 64 * kKilobyte, kGigabyte, kRestart,
              "Size at which that file is put aside as `audit.1.json` (for `audit.json`) and begun anew."},
    ConfigRow{"audit.files", &Config::audit_files, Form::Plain, 1, 1000, kRestart,
              "Files put aside that are kept; the oldest is deleted."},
};

using BackendRow = Setting<Backend>;
constexpr std::array kBackendSettings{
    BackendRow{"host", &Backend::host, Form::Host, 1, kHostMax, kReload,
               "Name or address of the Postgres host, or the directory of its unix socket."},
    BackendRow{"port", &Backend::port, Form::Plain, 1, 65535, kReload, "Its port."},
    BackendRow{"hosts", &Backend::hosts, Form::HostPort, 0, kHostsMost, kReload,
               "Several hosts of one Postgres, a primary and its standbys, instead of host: names, addresses "
               "or directories, each with a port of its own behind a colon or that of port (IPv6 in "
               "brackets). One of them is used at a time, the last that was good first; the others are tried "
               "when it does not answer or does not fit any more."},
    BackendRow{"target_session_attrs", &Backend::target_session_attrs, Form::Plain, 0, 0, kReload,
               "Which of them fits, as with libpq: any; read-write (no standby, and "
               "default_transaction_read_only is off), read-only (what is not), primary, standby; "
               "prefer-standby (any, where there is "
               "no standby). auto: any for one host, read-write for several."},
    BackendRow{"host_timeout", &Backend::host_timeout, Form::Plain, 100, kHourMs, kReload,
               "How long connecting and logging in to one of several hosts may take before the next one is "
               "tried; at most server.connect_timeout."},
    BackendRow{"max_server_connections", &Backend::max_server_connections, Form::Plain, 1, 10'000, kReload,
               "Connections to it at most, over all tenants."},
    BackendRow{"max_logins_at_once", &Backend::max_logins_at_once, Form::Plain, 1, 1'000, kReload,
               "Connections that log in to it at a time, over all tenants."},
    BackendRow{"breaker_failures", &Backend::breaker_failures, Form::Plain, 0, 100, kReload,
               "Percent of failures among its last logins at which its circuit breaker opens: connections "
               "that are refused or time out, logins that do, servers that die. What it refuses to one "
               "database or user counts for a breaker of theirs alone, by the same rules. 0: never."},
    BackendRow{"breaker_volume", &Backend::breaker_volume, Form::Plain, 1, 100'000, kReload,
               "Logins and deaths in the window below which it does not open."},
    BackendRow{"breaker_window", &Backend::breaker_window, Form::Plain, 1'000, kHourMs, kReload,
               "How far back it looks, in ten steps."},
    BackendRow{"breaker_open_time", &Backend::breaker_open_time, Form::Plain, 10, kHourMs, kReload,
               "How long it stays open, and up to 10 % more, before one connection probes for clients whose "
               "tier rejects (`at_breaker`). For clients that wait one probes all the time, first after "
               "server.login_retry, then every second; and so it does where target_session_attrs wants a "
               "primary, which may be another host by then, beside clients that are refused."},
    BackendRow{"tls_mode", &Backend::tls_mode, Form::Plain, 0, 0, kReload,
               "Whether connections to it use TLS, as libpq's sslmode."},
    BackendRow{"tls_ca_file", &Backend::tls_ca_file, Form::Path, 0, kPathMax, kReload,
               "PEM file with the authorities that may sign its certificate."},
    BackendRow{"tls_cert_file", &Backend::tls_cert_file, Form::Path, 0, kPathMax, kReload,
               "PEM file with our certificate, shown to it."},
    BackendRow{"tls_key_file", &Backend::tls_key_file, Form::Path, 0, kPathMax, kReload,
               "PEM file with the key of that certificate."},
    BackendRow{"auth_methods", &Backend::auth_methods, Form::AuthMethod, 0, 8, kReload,
               "Methods by which we may log in to it. Empty: any, trust and md5 among them, and password "
               "only over a "
               "unix socket or verify-full; who must not believe a host that asks for no proof writes "
               "scram-sha-256."},
    BackendRow{
        "side_user", &Backend::side_user, Form::Name, 0, kNameMax, kReload,
        "Role of the pooler's own, with the rights of packaging/postgres/side_role.sql. With it, server "
        "processes that go on when their time is up are ended; without it only their connection is."},
    BackendRow{"side_password", &Backend::side_password, Form::Plain, 0, kPasswordMax, kReload,
               "Its password.", Secrecy::Secret},
    BackendRow{"side_database", &Backend::side_database, Form::Name, 1, kNameMax, kReload,
               "Database that it connects to."},
    BackendRow{"tenant_secret", &Backend::tenant_secret, Form::Plain, 0, kPasswordMax, kReload,
               "With it, every server is told by a signed token for which tenant it works, so that row level "
               "security can tell tenants of one role apart (packaging/postgres/README.md). At least 32 "
               "bytes, the same as in tenancy.sql. Empty: no tokens.",
               Secrecy::Secret},
    BackendRow{"tenant_token_life", &Backend::tenant_token_life, Form::Plain, 1'000, kDayMs, kReload,
               "How long such a token holds. It is renewed between two transactions when half of that is "
               "over."},
};

template <class Enum>
struct Choice {
  std::string_view name;
  Enum value;
};
constexpr std::array kTlsModes{
    Choice<TlsMode>{"disable", TlsMode::Disable},    Choice<TlsMode>{"allow", TlsMode::Allow},
    Choice<TlsMode>{"prefer", TlsMode::Prefer},      Choice<TlsMode>{"require", TlsMode::Require},
    Choice<TlsMode>{"verify-ca", TlsMode::VerifyCa}, Choice<TlsMode>{"verify-full", TlsMode::VerifyFull}};
constexpr std::array kAuthMethods{
    Choice<AuthMethod>{"trust", AuthMethod::Trust}, Choice<AuthMethod>{"password", AuthMethod::Password},
    Choice<AuthMethod>{"md5", AuthMethod::Md5}, Choice<AuthMethod>{"scram-sha-256", AuthMethod::ScramSha256}};
constexpr std::array kStoreKinds{Choice<StoreKind>{"file", StoreKind::File},
                                 Choice<StoreKind>{"redis", StoreKind::Redis},
                                 Choice<StoreKind>{"postgres", StoreKind::Postgres}};
constexpr std::array kRates{Choice<Rates>{"local", Rates::Local}, Choice<Rates>{"fleet", Rates::Fleet}};
constexpr std::array kSessionAttrs{Choice<SessionAttrs>{"auto", SessionAttrs::Auto},
                                   Choice<SessionAttrs>{"any", SessionAttrs::Any},
                                   Choice<SessionAttrs>{"read-write", SessionAttrs::ReadWrite},
                                   Choice<SessionAttrs>{"read-only", SessionAttrs::ReadOnly},
                                   Choice<SessionAttrs>{"primary", SessionAttrs::Primary},
                                   Choice<SessionAttrs>{"standby", SessionAttrs::Standby},
                                   Choice<SessionAttrs>{"prefer-standby", SessionAttrs::PreferStandby}};
constexpr std::array kNamedBy{Choice<NamedBy>{"database", NamedBy::Database},
                              Choice<NamedBy>{"user", NamedBy::User}, Choice<NamedBy>{"sni", NamedBy::Sni},
                              Choice<NamedBy>{"option", NamedBy::Option}};
constexpr std::array kLogLevels{
    Choice<LogLevel>{"debug", LogLevel::Debug}, Choice<LogLevel>{"info", LogLevel::Info},
    Choice<LogLevel>{"warn", LogLevel::Warn}, Choice<LogLevel>{"error", LogLevel::Error}};
constexpr std::array kLogFormats{Choice<LogFormat>{"auto", LogFormat::Auto},
                                 Choice<LogFormat>{"text", LogFormat::Text},
                                 Choice<LogFormat>{"json", LogFormat::Json}};
// The first of each value is how it is printed.
constexpr std::array kSwitches{Choice<bool>{"true", true}, Choice<bool>{"false", false},
                               Choice<bool>{"on", true},   Choice<bool>{"off", false},
                               Choice<bool>{"yes", true},  Choice<bool>{"no", false}};

constexpr const auto& choices(bool) { return kSwitches; }
constexpr const auto& choices(TlsMode) { return kTlsModes; }
constexpr const auto& choices(AuthMethod) { return kAuthMethods; }
constexpr const auto& choices(StoreKind) { return kStoreKinds; }
constexpr const auto& choices(Rates) { return kRates; }
constexpr const auto& choices(SessionAttrs) { return kSessionAttrs; }
constexpr const auto& choices(NamedBy) { return kNamedBy; }
constexpr const auto& choices(LogLevel) { return kLogLevels; }
constexpr const auto& choices(LogFormat) { return kLogFormats; }

template <class Value>
inline constexpr bool kIsNumber = std::is_same_v<Value, std::uint16_t> ||
                                  std::is_same_v<Value, std::uint32_t> || std::is_same_v<Value, milliseconds>;

template <class Value>
constexpr Unit unit_of(Form form) {
  if constexpr (std::is_same_v<Value, milliseconds>) return Unit::Milliseconds;
  if (form == Form::Size) return Unit::Bytes;
  return form == Form::Octal ? Unit::Octal : Unit::Count;
}

template <class Owner, class Value>
constexpr Value value_type(Value Owner::*) {
  return Value{};
}
template <class Pointer>
using Pointee = decltype(value_type(Pointer{}));

// Bounds must fit the member, keys must be unique: a mistake in the tables does not compile.
template <class Table>
constexpr bool well_formed(const Table& table) {
  for (std::size_t i = 0; i < table.size(); ++i) {
    for (std::size_t j = 0; j < i; ++j) {
      if (table[i].key == table[j].key) return false;
    }
    const bool fits = std::visit(
        [&](auto member) {
          using Value = Pointee<decltype(member)>;
          if (table[i].least < 0 || table[i].least > table[i].most) return false;
          if constexpr (std::is_same_v<Value, std::uint16_t> || std::is_same_v<Value, std::uint32_t>) {
            return table[i].most > 0 && table[i].most <= std::int64_t{std::numeric_limits<Value>::max()};
          }
          return true;
        },
        table[i].member);
    if (!fits || table[i].help.empty()) return false;
  }
  return true;
}
static_assert(well_formed(kSettings));
static_assert(well_formed(kBackendSettings));

template <class Table>
std::string join_names(const Table& table) {
  std::string out;
  for (const auto& choice : table) out += (out.empty() ? "" : ", ") + std::string(choice.name);
  return out;
}

template <class Value>
tl::expected<Value, std::string> choose(std::string_view text) {
  const auto& table = choices(Value{});
  std::vector<std::string_view> names;
  for (const auto& choice : table) {
    if (choice.name == text) return choice.value;
    names.push_back(choice.name);
  }
  return tl::unexpected("must be one of " + join_names(table) + ", not " + quoted(text) +
                        did_you_mean(text, names));
}

using Checked = tl::expected<void, std::string>;
Checked wrong(std::string why) { return tl::unexpected(std::move(why)); }

Checked check_host(std::string_view text, std::string_view what) {
  const bool plain = std::all_of(text.begin(), text.end(), [](char c) {
    return (c >= 'a' && c <= 'z') || (c >= 'A' && c <= 'Z') || (c >= '0' && c <= '9') || c == '.' ||
           c == ':' || c == '-' || c == '_' || c == '%' || c == '*';
  });
  // One colon alone is no IPv6 address but a port behind a host.
  if (plain && std::count(text.begin(), text.end(), ':') != 1) return {};
  return wrong("must be " + std::string(what) + " without port or brackets, not " + quoted(text));
}

// To listen on.
Checked check_address(std::string_view text) {
  if (auto host = check_host(text, "an address such as 127.0.0.1, ::1 or *"); !host) return host;
  const std::size_t zone = text.find('%');  // of IPv6: an interface
  if (text == "*" || (parse_network(text.substr(0, zone)) &&
                      (zone == std::string_view::npos || text.find(':') != std::string_view::npos)))
    return {};
  return wrong("must be an IP address or *, not " + quoted(text) + ": names are not looked up here");
}

Checked check_text(std::string_view text, Form form) {
  if (has_control(text)) return wrong("must not hold control characters");
  switch (form) {
    case Form::Plain:
    case Form::Size:
    case Form::Octal:
    case Form::Path: return {};
    case Form::SocketDir:
      if (text.empty() || text[0] == '/') return {};
      return wrong("must be a directory that begins with '/', not " + quoted(text));
    case Form::Name:
      if (text.size() <= kNameMax) return {};
      return wrong("must have at most " + std::to_string(kNameMax) + " bytes, not " +
                   std::to_string(text.size()));
    case Form::Address: return check_address(text);
    case Form::Network:
      if (parse_network(text)) return {};
      return wrong("must be a network such as 10.0.0.0/8 or fd00::/8, with no bits behind the prefix, not " +
                   quoted(text));
    case Form::Host:
      if (text.empty()) return {};
      if (text[0] == '/') {
        if (text.size() <= kSocketDirMax) return {};
        return wrong("must have at most " + std::to_string(kSocketDirMax) + " bytes for a unix socket, not " +
                     std::to_string(text.size()));
      }
      if (text.find('*') != std::string_view::npos)
        return wrong("must be a single host, not " + quoted(text));
      if (text.find(',') != std::string_view::npos)
        return wrong("must be a single host, not " + quoted(text) + "; several stand in hosts");
      return check_host(text, "a name, an address or a directory");
    case Form::HostPort: {
      auto read = parse_host(text, 1);
      if (!read) return wrong(std::move(read.error()));
      return check_text(read->host, Form::Host);
    }
    case Form::AuthMethod: {
      auto chosen = choose<AuthMethod>(text);
      return chosen ? Checked{} : wrong(std::move(chosen.error()));
    }
    case Form::AuditTarget:
      if (text == "off" || text == "stdout" || text[0] == '/') return {};
      return wrong("must be off, stdout or a path that begins with '/', not " + quoted(text));
    case Form::NamedBy: {
      auto chosen = choose<NamedBy>(text);
      return chosen ? Checked{} : wrong(std::move(chosen.error()));
    }
  }
  return {};
}

std::vector<std::string> split(std::string_view text) {
  std::vector<std::string> items;
  while (!text.empty()) {
    const std::size_t comma = std::min(text.find(','), text.size());
    std::string_view item = text.substr(0, comma);
    while (!item.empty() && item.front() == ' ') item.remove_prefix(1);
    while (!item.empty() && item.back() == ' ') item.remove_suffix(1);
    items.emplace_back(item);
    if (comma == text.size()) break;
    text.remove_prefix(comma + 1);
    if (text.empty()) items.emplace_back();
  }
  return items;
}

std::string amount(std::int64_t least, std::int64_t most, std::string_view what) {
  const std::string end = std::to_string(most) + " " + std::string(what);
  return least == 0 ? "at most " + end : "between " + std::to_string(least) + " and " + end;
}

}  // namespace

std::span<const Setting<Config>> settings() { return kSettings; }
std::span<const Setting<Backend>> backend_settings() { return kBackendSettings; }

bool has_control(std::string_view text) {
  return std::any_of(text.begin(), text.end(), [](char c) {
    const auto byte = static_cast<unsigned char>(c);
    return byte < 0x20 || byte == 0x7f;
  });
}

template <class Owner>
tl::expected<void, std::string> assign_list(Owner& owner, const Setting<Owner>& setting,
                                            std::vector<std::string> items) {
  const auto* const member = std::get_if<std::vector<std::string> Owner::*>(&setting.member);
  if (!member) return wrong("must be a single value, not a list");
  const auto count = static_cast<std::int64_t>(items.size());
  if (count < setting.least || count > setting.most) {
    return wrong("must have " + amount(setting.least, setting.most, "items") + ", not " +
                 std::to_string(count));
  }
  for (const std::string& item : items) {
    if (item.empty()) return wrong("must not have empty items");
    if (auto good = check_text(item, setting.form); !good) return good;
  }
  owner.*(*member) = std::move(items);
  return {};
}

template <class Owner>
tl::expected<void, std::string> assign(Owner& owner, const Setting<Owner>& setting, std::string_view text) {
  return std::visit(
      [&](auto member) -> Checked {
        using Value = Pointee<decltype(member)>;
        if constexpr (kIsNumber<Value>) {
          auto number = parse_within(text, unit_of<Value>(setting.form), setting.least, setting.most);
          if (!number) return wrong(std::move(number.error().message));
          if constexpr (std::is_same_v<Value, milliseconds>) {
            owner.*member = milliseconds(*number);
          } else {
            owner.*member = static_cast<Value>(*number);
          }
          return {};
        } else if constexpr (std::is_same_v<Value, std::vector<std::string>>) {
          return assign_list(owner, setting, split(text));
        } else if constexpr (std::is_same_v<Value, std::string>) {
          const auto size = static_cast<std::int64_t>(text.size());
          if (size < setting.least || size > setting.most) {
            return wrong("must have " + amount(setting.least, setting.most, "bytes") + ", not " +
                         std::to_string(size));
          }
          if (auto good = check_text(text, setting.form); !good) return good;
          owner.*member = text;
          return {};
        } else {
          auto chosen = choose<Value>(text);
          if (!chosen) return wrong(std::move(chosen.error()));
          owner.*member = *chosen;
          return {};
        }
      },
      setting.member);
}

template <class Owner>
std::string text_of(const Owner& owner, const Setting<Owner>& setting) {
  return std::visit(
      [&](auto member) -> std::string {
        using Value = Pointee<decltype(member)>;
        const auto& value = owner.*member;
        if constexpr (std::is_same_v<Value, milliseconds>) {
          return format_duration(value);
        } else if constexpr (kIsNumber<Value>) {
          return format_quantity(std::int64_t{value}, unit_of<Value>(setting.form));
        } else if constexpr (std::is_same_v<Value, std::string>) {
          return value;
        } else if constexpr (std::is_same_v<Value, std::vector<std::string>>) {
          std::string out;
          for (const std::string& item : value) out += (out.empty() ? "" : ",") + item;
          return out;
        } else {
          for (const auto& choice : choices(value)) {
            if (choice.value == value) return std::string(choice.name);
          }
          return {};
        }
      },
      setting.member);
}

template <class Owner>
std::string allowed(const Setting<Owner>& setting) {
  return std::visit(
      [&](auto member) -> std::string {
        using Value = Pointee<decltype(member)>;
        if constexpr (kIsNumber<Value>) {
          return allowed_range(unit_of<Value>(setting.form), setting.least, setting.most);
        } else if constexpr (std::is_same_v<Value, std::vector<std::string>>) {
          const std::string list = "list of " + amount(setting.least, setting.most, "items");
          if (setting.form == Form::NamedBy) return list + ": " + join_names(kNamedBy);
          return setting.form == Form::AuthMethod ? list + ": " + join_names(kAuthMethods) : list;
        } else if constexpr (std::is_same_v<Value, std::string>) {
          return amount(setting.least, setting.most, "bytes");
        } else {
          return join_names(choices(Value{}));
        }
      },
      setting.member);
}

const char* name(SessionAttrs attrs) {
  for (const auto& choice : kSessionAttrs)
    if (choice.value == attrs) return choice.name.data();
  return "";
}

NamedBy named_by(std::string_view item) {
  const auto chosen = choose<NamedBy>(item);
  PGWEIR_CHECK(chosen.has_value());
  return *chosen;
}

std::string environment_name(std::string_view key) {
  std::string out = "PGWEIR_";
  for (const char c : key) {
    if (c == '.') {
      out += "__";
    } else {
      out += c >= 'a' && c <= 'z' ? static_cast<char>(c - 'a' + 'A') : c;
    }
  }
  return out;
}

#define PGWEIR_FOR(Owner)                                                                       \
  template Checked assign<Owner>(Owner&, const Setting<Owner>&, std::string_view);              \
  template Checked assign_list<Owner>(Owner&, const Setting<Owner>&, std::vector<std::string>); \
  template std::string text_of<Owner>(const Owner&, const Setting<Owner>&);                     \
  template std::string allowed<Owner>(const Setting<Owner>&);
PGWEIR_FOR(Config)
PGWEIR_FOR(Backend)
#undef PGWEIR_FOR

}  // namespace pgweir::conf
