// pooler/snapshot.h - one configuration made ready for use: tenants resolved, secrets parsed, TLS contexts
// loaded.
//
// Immutable and shared by all workers; a reload makes a new one and each worker takes it over between two
// events.
#pragma once

#include <array>
#include <cstddef>
#include <cstdint>
#include <map>
#include <memory>
#include <optional>
#include <string>
#include <string_view>
#include <variant>
#include <vector>

#include "conf/load.h"
#include "pooler/base/error.h"
#include "pooler/naming.h"
#include "pooler/net/loop.h"
#include "pooler/net/tls.h"
#include "pooler/postgres_settings.h"
#include "pooler/redis_settings.h"
#include "protocol/secret.h"
#include "tiers/directory.h"
#include "tiers/record.h"

namespace pgweir {

struct BackendView {
  conf::Backend settings;
  std::vector<net::Endpoint> hosts;  // at least one; all of them unix sockets, or none
  bool is_unix() const { return hosts[0].is_unix(); }
  std::shared_ptr<net::TlsContext> tls;  // null: mode disable
};

struct Snapshot {
  conf::Loaded loaded;
  const conf::Config& config() const { return loaded.config; }
  tiers::Directory directory;
  std::map<std::string, protocol::Secret, std::less<>> users;
  // A kind of secret (index of protocol::Secret) that some user has, each as often as there are such users.
  std::size_t secret_kind(std::uint64_t dice) const;
  std::array<std::size_t, std::variant_size_v<protocol::Secret>> secret_kinds{};  // users with each
  std::shared_ptr<net::TlsContext> client_tls;                                    // null: TLS is not offered
  std::vector<BackendView> backends;
  Naming naming;
  std::optional<RedisSettings> redis;        // the tenant store, or beside Postgres a cache of it
  std::optional<PostgresSettings> postgres;  // the same

  const BackendView* backend(std::string_view name) const;  // empty name: the first
  // The tenant that this database name stands for; empty when there is none.
  std::optional<tiers::Tenant> tenant(std::string_view database) const;
  bool is_admin(std::string_view user) const;
  bool is_console_user(std::string_view user) const;  // admins and stats
};

// Everything that --check-config looks at. Problems carry file, line and column where they have one.
tl::expected<std::shared_ptr<const Snapshot>, std::vector<conf::Problem>> make_snapshot(
    conf::Loaded loaded, const conf::ReadFile& read);

// The same, but for a change of one tenant's row: in memory only. A tenant that a pattern matches, or
// none, gets a row of its own. The error is a sentence.
tl::expected<std::shared_ptr<const Snapshot>, std::string> with_tenant(const Snapshot& snapshot,
                                                                       const std::string& tenant,
                                                                       const tiers::Change& change);

}  // namespace pgweir
