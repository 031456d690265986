#include "pooler/snapshot.h"

#include <fmt/format.h>

#include <algorithm>
#include <iterator>

#include "conf/database_url.h"
#include "conf/embedded_tiers.h"
#include "conf/hosts.h"
#include "conf/redis_url.h"
#include "conf/settings.h"
#include "pooler/console.h"

namespace pgweir {

namespace {

using Problems = std::vector<conf::Problem>;

void complain(Problems& problems, const conf::Origin& origin, std::string key, std::string message) {
  problems.push_back({origin, std::move(key), std::move(message)});
}

void add_tiers(Snapshot& snapshot, const std::vector<conf::Row>& rows, Problems& problems) {
  for (const conf::Row& row : rows) {
    tiers::Tier tier;
    if (const tiers::Tier* known = snapshot.directory.tier(row.name)) tier = *known;
    tier.name = row.name;
    for (const conf::Field& field : row.fields)
      if (auto set = tiers::set_tier_field(tier, field.key, field.value); !set)
        complain(problems, field.origin, "tiers." + row.name + "." + field.key, set.error().message);
    if (auto added = snapshot.directory.add_tier(std::move(tier)); !added)
      complain(problems, row.origin, "tiers." + row.name, added.error().message);
  }
}

void add_tenant(Snapshot& snapshot, const conf::Row& row, Problems& problems) {
  const std::string at = "tenants." + row.name;
  const auto& named_by = snapshot.config().tenant_named_by;
  if (is_console_database(row.name) && named_by.size() == 1 &&
      conf::named_by(named_by[0]) == conf::NamedBy::Database)
    return complain(
        problems, row.origin, at,
        "is the console's name, where its clients would come to; name the tenant otherwise and give it "
        "the field database: " +
            row.name);
  tiers::Tenant tenant;
  tenant.name = row.name;
  std::string tier_name = snapshot.config().default_tier;
  conf::Origin tier_origin = row.origin;
  for (const conf::Field& field : row.fields) {
    if (field.key != "tier") continue;
    tier_name = field.value;
    tier_origin = field.origin;
  }
  const tiers::Tier* tier = snapshot.directory.tier(tier_name);
  if (!tier) {
    complain(problems, tier_origin, at + ".tier", "no tier is named \"" + tier_name + "\"");
    return;
  }
  tenant.limits = *tier;
  for (const conf::Field& field : row.fields) {
    if (field.key == "tier") continue;
    auto set = tiers::set_tenant_field(tenant, field.key, field.value);
    if (!set) complain(problems, field.origin, at + "." + field.key, set.error().message);
  }
  if (!snapshot.backend(tenant.backend))
    complain(problems, row.origin, at + ".backend", "no backend is named \"" + tenant.backend + "\"");
  if (!tenant.password.empty())
    if (auto secret = protocol::parse_secret(tenant.password); !secret)
      complain(problems, row.origin, at + ".password", secret.error().message);
  // The first backend is named, so that tenants that leave it out share groups with those that do not.
  if (tenant.backend.empty() && !snapshot.backends.empty())
    tenant.backend = snapshot.backends[0].settings.name;
  if (auto added = snapshot.directory.add_tenant(std::move(tenant)); !added)
    complain(problems, row.origin, at, added.error().message);
}

void add_tenants(Snapshot& snapshot, Problems& problems) {
  for (const conf::Row& row : snapshot.config().tenants) add_tenant(snapshot, row, problems);
}

void add_users(Snapshot& snapshot, const conf::ReadFile& read, Problems& problems) {
  const conf::Config& config = snapshot.config();
  const auto origin = [&](std::string_view key) {
    const auto place = snapshot.loaded.origins.find(key);
    return place == snapshot.loaded.origins.end() ? conf::Origin{} : place->second;
  };
  if (!config.users_file.empty()) {
    const auto text = read(config.users_file);
    if (!text) {
      complain(problems, origin("auth.users_file"), "auth.users_file", text.error());
    } else if (auto list = protocol::parse_user_list(*text); !list) {
      complain(problems, {config.users_file, 0, 0}, "auth.users_file", list.error().message);
    } else {
      snapshot.users = std::move(*list);
    }
  }
  for (const conf::User& user : config.users) {
    auto secret = protocol::parse_secret(user.secret);
    if (!secret) {
      complain(problems, origin("users." + user.name + ".secret"), "users." + user.name,
               secret.error().message);
      continue;
    }
    if (!snapshot.users.emplace(user.name, std::move(*secret)).second)
      complain(problems, origin("users." + user.name + ".secret"), "users." + user.name,
               "is also named in auth.users_file");
  }
  for (const auto& [name, secret] : snapshot.users) ++snapshot.secret_kinds[secret.index()];
}

net::TlsVerify verify_of(conf::TlsMode mode) {
  if (mode == conf::TlsMode::VerifyFull) return net::TlsVerify::Name;
  return mode == conf::TlsMode::VerifyCa ? net::TlsVerify::Chain : net::TlsVerify::None;
}

void add_backends(Snapshot& snapshot, Problems& problems) {
  for (const conf::Backend& backend : snapshot.config().backends) {
    BackendView view;
    view.settings = backend;
    for (const conf::HostPort& each : conf::hosts_of(backend)) {
      net::Endpoint& host = view.hosts.emplace_back(net::Endpoint{each.host, each.port});
      // libpq's convention: a directory stands for the socket in it.
      if (host.is_unix()) host.host += "/.s.PGSQL." + std::to_string(each.port);
    }
    if (backend.tls_mode != conf::TlsMode::Disable && !view.is_unix()) {
      auto tls = net::TlsContext::connecting(
          {backend.tls_ca_file, backend.tls_cert_file, backend.tls_key_file}, verify_of(backend.tls_mode));
      if (tls)
        view.tls = std::move(*tls);
      else
        complain(problems, backend.origin, "backends." + backend.name, tls.error().message);
    }
    snapshot.backends.push_back(std::move(view));
  }
}

void add_client_tls(Snapshot& snapshot, Problems& problems) {
  const conf::Config& config = snapshot.config();
  if (config.client_tls_mode == conf::TlsMode::Disable) return;
  const bool verify = verify_of(config.client_tls_mode) != net::TlsVerify::None;
  auto tls = net::TlsContext::accepting(
      {verify ? config.client_tls_ca_file : "", config.client_tls_cert_file, config.client_tls_key_file},
      verify ? net::TlsVerify::Chain : net::TlsVerify::None,
      config.client_tls_lean ? net::TlsRecordsBy::Us : net::TlsRecordsBy::OpenSsl);
  if (tls) {
    snapshot.client_tls = std::move(*tls);
    return;
  }
  // Told of the setting whose file it is.
  std::string key = "client.tls_mode";
  for (const auto& [name, file] : {std::pair("client.tls_cert_file", &config.client_tls_cert_file),
                                   std::pair("client.tls_key_file", &config.client_tls_key_file),
                                   std::pair("client.tls_ca_file", &config.client_tls_ca_file)}) {
    if (!file->empty() && tls.error().message.find(" " + *file + ":") != std::string::npos) key = name;
  }
  complain(problems, snapshot.loaded.origins[key], key, tls.error().message);
}

void add_postgres(Snapshot& snapshot, Problems& problems) {
  const conf::Config& config = snapshot.config();
  const auto url = conf::parse_database_url(config.postgres_url);
  if (!url) return complain(problems, {}, "tenant_store.postgres_url", url.error());
  // Names of a backend's settings, and what libpq calls them.
  static constexpr std::pair<std::string_view, const char*> kNames[] = {
      {"host", "host"},
      {"port", "port"},
      {"tls_mode", "sslmode"},
      {"tls_ca_file", "sslrootcert"},
      {"tls_cert_file", "sslcert"},
      {"tls_key_file", "sslkey"},
  };
  std::string host = conf::Backend{}.host, port = std::to_string(conf::Backend{}.port);
  PostgresSettings made;
  made.timeout = config.store_timeout;
  made.parameters = {
      {"host", host}, {"user", url->user}, {"password", url->password}, {"dbname", url->database}};
  for (const auto& [key, value] : url->backend) {
    for (const auto& [ours, theirs] : kNames)
      if (key == ours) made.parameters.emplace_back(theirs, value);
    if (key == "host") host = value;
    if (key == "port") port = value;
  }
  made.name = fmt::format("{}:{}/{}", host, port, url->database);
  snapshot.postgres = std::move(made);
}

void add_redis(Snapshot& snapshot, Problems& problems) {
  const conf::Config& config = snapshot.config();
  const auto url = conf::parse_redis_url(config.redis_url);
  if (!url) return complain(problems, {}, "tenant_store.redis_url", url.error());
  RedisSettings redis;
  redis.user = url->user;
  redis.password = url->password;
  redis.database = url->database;
  redis.timeout = config.store_timeout;
  redis.usage_kept = config.store_usage_kept;
  redis.master = url->master;
  if (url->master.empty())
    redis.endpoint = {url->hosts[0].name, url->hosts[0].port};
  else
    for (const auto& host : url->hosts) redis.sentinels.push_back({host.name, host.port});
  if (url->tls) {
    auto tls = net::TlsContext::connecting({config.redis_ca_file, "", ""}, net::TlsVerify::Name,
                                           net::TlsSpeaks::Other);
    if (!tls) return complain(problems, {}, "tenant_store.redis_ca_file", tls.error().message);
    redis.tls = std::move(*tls);
  }
  snapshot.redis = std::move(redis);
}

void add_store(Snapshot& snapshot, Problems& problems) {
  switch (snapshot.config().store_kind) {
    case conf::StoreKind::File: return;
    case conf::StoreKind::Redis: return add_redis(snapshot, problems);
    case conf::StoreKind::Postgres:
      add_postgres(snapshot, problems);
      if (!snapshot.config().redis_url.empty()) add_redis(snapshot, problems);
  }
}

}  // namespace

const BackendView* Snapshot::backend(std::string_view name) const {
  if (name.empty()) return backends.empty() ? nullptr : &backends[0];
  const auto found = std::find_if(backends.begin(), backends.end(),
                                  [&](const BackendView& b) { return b.settings.name == name; });
  return found == backends.end() ? nullptr : &*found;
}

std::optional<tiers::Tenant> Snapshot::tenant(std::string_view database) const {
  if (auto named = directory.find(database)) return named;
  // By a name that nobody has, a tenant's database would be served without its limits.
  if (!config().unknown_tenants || directory.belongs_to_other(database, backends[0].settings.name))
    return std::nullopt;
  tiers::Tenant unknown;
  unknown.name = unknown.database = database;
  unknown.limits = *directory.tier(config().default_tier);  // make_snapshot has looked
  unknown.backend = backends[0].settings.name;
  return unknown;
}

std::size_t Snapshot::secret_kind(std::uint64_t dice) const {
  if (users.empty()) return 0;
  std::size_t nth = dice % users.size();
  std::size_t kind = 0;
  while (nth >= secret_kinds[kind]) nth -= secret_kinds[kind++];
  return kind;
}

bool Snapshot::is_admin(std::string_view user) const {
  const auto& admins = config().console_admins;
  return std::find(admins.begin(), admins.end(), user) != admins.end();
}

bool Snapshot::is_console_user(std::string_view user) const {
  const auto& stats = config().console_stats;
  return is_admin(user) || std::find(stats.begin(), stats.end(), user) != stats.end();
}

tl::expected<std::shared_ptr<const Snapshot>, Problems> make_snapshot(conf::Loaded loaded,
                                                                      const conf::ReadFile& read) {
  auto snapshot = std::make_shared<Snapshot>();
  snapshot->loaded = std::move(loaded);
  Problems problems;
  auto embedded = conf::load_tiers(conf::embedded_tiers(), "conf/tiers.yaml");
  if (!embedded) return tl::unexpected(std::move(embedded.error()));
  add_tiers(*snapshot, *embedded, problems);
  add_tiers(*snapshot, snapshot->config().tiers, problems);
  for (const std::string& way : snapshot->config().tenant_named_by)
    snapshot->naming.ways.push_back(conf::named_by(way));
  snapshot->naming.sni_domain = snapshot->config().sni_domain;
  add_backends(*snapshot, problems);
  add_tenants(*snapshot, problems);
  add_users(*snapshot, read, problems);
  add_client_tls(*snapshot, problems);
  add_store(*snapshot, problems);
  if (!snapshot->directory.tier(snapshot->config().default_tier))
    complain(problems, snapshot->loaded.origins["pool.default_tier"], "pool.default_tier",
             "no tier is named \"" + snapshot->config().default_tier + "\"");
  if (!problems.empty()) return tl::unexpected(std::move(problems));
  return std::shared_ptr<const Snapshot>(std::move(snapshot));
}

tl::expected<std::shared_ptr<const Snapshot>, std::string> with_tenant(const Snapshot& snapshot,
                                                                       const std::string& tenant,
                                                                       const tiers::Change& change) {
  auto next = std::make_shared<Snapshot>(snapshot);
  std::vector<conf::Row>& rows = next->loaded.config.tenants;
  const auto named = [&](const std::string& name) {
    return std::find_if(rows.begin(), rows.end(), [&](const conf::Row& row) { return row.name == name; });
  };
  const conf::Origin origin{"the console", 0, 0};
  auto row = named(tenant);
  if (row == rows.end()) {
    conf::Row own{tenant, origin, {}};
    if (const auto pattern = named(next->directory.row_name(tenant)); pattern != rows.end())
      own.fields = pattern->fields;
    if (const auto record = snapshot.tenant(tenant)) {
      std::erase_if(own.fields, [](const conf::Field& field) { return field.key == "database"; });
      own.fields.push_back({"database", record->database, origin});
    }
    rows.push_back(std::move(own));
    row = std::prev(rows.end());
  }
  tiers::Fields has;
  for (const conf::Field& field : row->fields) has.emplace_back(field.key, field.value);
  const tiers::Change exact = tiers::spelled(has, change);
  std::erase_if(row->fields, [&](const conf::Field& field) {
    const auto set = [&](const auto& each) { return each.first == field.key; };
    return std::find(exact.drop.begin(), exact.drop.end(), field.key) != exact.drop.end() ||
           std::any_of(exact.set.begin(), exact.set.end(), set);
  });
  for (const auto& [key, value] : exact.set) row->fields.push_back({key, value, origin});
  Problems problems;
  add_tenant(*next, *row, problems);
  if (!problems.empty()) return tl::unexpected(conf::describe(problems[0]));
  return std::shared_ptr<const Snapshot>(std::move(next));
}

}  // namespace pgweir
