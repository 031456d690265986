// pooler/doctor.h - what of a configuration works here, and what to do where it does not: pgweir doctor.
//
// Pure: what was seen goes in, findings come out. pooler/doctor_rounds.h goes and looks.
#pragma once

#include <chrono>
#include <cstdint>
#include <optional>
#include <string>
#include <string_view>
#include <utility>
#include <vector>

#include "conf/config.h"
#include "pooler/backend_hosts.h"
#include "pooler/base/error.h"
#include "pooler/net/visit.h"

namespace pgweir::doctor {

enum class Health : std::uint8_t { Ok, Warn, Fail };

struct Finding {
  std::string check;  // "backend main: TLS"
  Health health = Health::Ok;
  std::string text;  // what was seen; where it is not well, what to do
};
using Findings = std::vector<Finding>;

inline constexpr std::chrono::hours kExpiresSoon{14 * 24};
inline constexpr std::chrono::seconds kClockWarn{2};
inline constexpr std::chrono::seconds kClockFail{60};

// A name that was looked up.
Finding judge_name(const std::string& check, const std::string& host,
                   const Expected<std::vector<std::string>>& addresses);

// An address that was knocked at. `error` empty: it answered.
struct Knock {
  std::string address, error;
};
// One that answers is enough to serve, but the others are tried, too.
Finding judge_knocks(const std::string& check, const std::vector<Knock>& knocks);

// How the other side answered to TLS. `offered`: it takes TLS at all. `speaks`: it answered as a Postgres
// may.
struct TlsFacts {
  bool offered = false;
  Expected<net::Visit::Certificate> certificate;
  bool speaks = true;
};
Finding judge_tls(const std::string& check, const TlsFacts& facts, conf::TlsMode mode,
                  const std::string& host, std::int64_t now_s);
// A certificate of our own.
Finding judge_own_certificate(const std::string& check, const Expected<net::Visit::Certificate>& certificate,
                              std::int64_t now_s);

struct LoginFacts {
  int version = 0;  // major
  bool superuser = false, bypasses_row_security = false, signals = false, has_tenant_function = false;
  std::uint32_t connections = 0, reserved = 0;
  std::int64_t time_s = 0;  // of its clock
};
// What a login is asked, and what the answer says; nothing: it is no answer to that.
inline constexpr std::string_view kLoginQuery =
    "SELECT pg_catalog.current_setting('server_version_num')::int / 10000,"
    " (SELECT rolsuper FROM pg_catalog.pg_roles WHERE rolname = current_user),"
    " (SELECT rolbypassrls FROM pg_catalog.pg_roles WHERE rolname = current_user),"
    " pg_catalog.pg_has_role(current_user, 'pg_signal_backend', 'USAGE'),"
    " pg_catalog.to_regprocedure('pgweir.tenant()') IS NOT NULL,"
    " pg_catalog.current_setting('max_connections'),"
    " pg_catalog.current_setting('superuser_reserved_connections'),"
    " pg_catalog.floor(extract(epoch FROM pg_catalog.clock_timestamp()))::bigint";
std::optional<LoginFacts> login_facts(const std::vector<std::vector<std::optional<std::string>>>& rows);

// A login that was tried as `role`.
struct Login {
  std::string role, database;
  bool side = false;    // the side role's; else a tenant's
  bool tokens = false;  // the backend has a tenant_secret
};
Finding judge_login(const std::string& check, const Login& login, const Expected<LoginFacts>& facts);
// A host that was asked what it is.
struct HostSeen {
  std::string host;
  Expected<HostRole> role;
};
Finding judge_role(const std::string& check, const HostSeen& seen);
// Whether clients come to a server: `seen` are all hosts of the backend.
Finding judge_roles(const std::string& check, conf::SessionAttrs wanted, const std::vector<HostSeen>& seen);
// What is left for others when all servers of the backend are connected.
Finding judge_connections(const std::string& check, std::uint32_t max_server_connections,
                          const LoginFacts& facts);

// A clock that said `told_s` between `before_s` and `after_s` of ours. `tokens_hold`: how long tenants'
// tokens do, where there are any.
struct ClockFacts {
  std::int64_t told_s = 0, before_s = 0, after_s = 0;
  std::optional<std::chrono::milliseconds> tokens_hold;
};
Finding judge_clock(const std::string& check, const ClockFacts& facts);

// A store that was asked. `complaint` is what its connection said.
Finding judge_store(const std::string& check, bool answered, const std::string& complaint,
                    const std::string& advice);

// What a Redis that has rows of its own does when it is full, by its INFO memory; nothing: it keeps them, or
// does not say.
std::optional<Finding> judge_eviction(const std::string& check, std::string_view info);

// What a store said when it was to take usage; empty: it does.
Finding judge_usage(const std::string& check, const std::string& error, std::string_view advice);

// A port that we would listen on. `error`: "listen on ...", with what to do.
enum class Port : std::uint8_t { Free, Ours, Taken };
Finding judge_port(const std::string& check, const std::string& address, Port port, const std::string& error);

// A file that lines go to. `error` empty: it can be opened. `missing`: the folder that would have to be made.
struct FileFacts {
  std::string path, missing, error;
};
Finding judge_file(const std::string& check, const FileFacts& facts, std::string_view setting);

// A file that holds a secret and has these permissions.
Finding judge_secret_file(const std::string& check, const std::string& path, std::uint32_t permissions);
// Where no certificate is named: whether others than this machine can come, whose passwords and rows then
// cross a network in the clear. `public_one`: an address that they reach; empty: none.
Finding judge_no_certificate(const std::string& check, const std::string& public_one);

struct HostFacts {
  std::uint64_t files_most = 0, files_needed = 0;
  std::optional<std::uint32_t> somaxconn;
  std::uint32_t backlog = 0;
  bool reuse_port = false;
  std::optional<std::uint32_t> migrate_req;
  std::optional<std::pair<std::uint32_t, std::uint32_t>> local_ports;
  std::uint32_t servers_of_one_address = 0;  // that may be connected at a time
};
Findings judge_host(const HostFacts& facts);

Health worst(const Findings& findings);
// For people: check | status | what to do.
std::string table(const Findings& findings);

}  // namespace pgweir::doctor
