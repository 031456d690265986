// conf/load_checks.cc - what settings say of each other, once each of them is right by itself.
#include <algorithm>
#include <utility>

#include "conf/database_url.h"
#include "conf/embedded_tiers.h"
#include "conf/hosts.h"
#include "conf/loader.h"
#include "conf/redis_url.h"
#include "pooler/base/near.h"
#include "pooler/base/network.h"
#include "pooler/base/quoted.h"
#include "pooler/base/units.h"

namespace pgweir::conf {

void Loader::cross_check(const std::string& path) {
  const Config& config = loaded_.config;
  const bool verify_clients = verifies(config.client_tls_mode);
  if (config.client_tls_mode != TlsMode::Disable) {
    need("client.tls_cert_file", config.client_tls_cert_file, "client.tls_mode", "offers TLS");
    need("client.tls_key_file", config.client_tls_key_file, "client.tls_mode", "offers TLS");
    if (verify_clients) need("client.tls_ca_file", config.client_tls_ca_file, "client.tls_mode", "verifies");
  }
  if (config.listen_addresses.empty() && config.unix_socket_dir.empty()) {
    complain(origin("listen.addresses"), "listen.addresses",
             "must not be empty unless listen.unix_socket_dir is set: nobody could connect");
  }
  if (!config.users_file.empty()) {
    if (auto text = (*read_)(config.users_file); !text) {
      complain(origin("auth.users_file"), "auth.users_file", std::move(text.error()));
    }
  }
  constexpr milliseconds kWatchdogLeast{2'000};
  if (config.watchdog.count() > 0 && config.watchdog < kWatchdogLeast)
    complain(origin("process.watchdog"), "process.watchdog", "must be at least 2s, or never");
  const bool tried = std::any_of(problems_.begin(), problems_.end(), [](const Problem& problem) {
    return problem.key.starts_with("backends") || problem.key.starts_with("DATABASE_URL");
  });
  if (config.backends.empty() && !tried) {
    complain({path.empty() ? std::string(kEnvironment) : path, 0, 0}, "backends",
             "at least one is needed: write \"backends: {main: {host: localhost}}\" or set DATABASE_URL");
  }
  for (const Backend& backend : config.backends) {
    check_backend(backend);
    check_tenant_secret(backend);
  }
  check_ports();
  check_trust();
  check_naming();
  check_store();
  check_names();
}

void Loader::check_naming() {
  const Config& config = loaded_.config;
  const std::string key = "client.tenant_named_by";
  const auto& ways = config.tenant_named_by;
  for (std::size_t i = 0; i < ways.size(); ++i) {
    if (std::find(ways.begin(), ways.begin() + static_cast<std::ptrdiff_t>(i), ways[i]) !=
        ways.begin() + static_cast<std::ptrdiff_t>(i))
      complain(origin(key), key, "must not name " + ways[i] + " twice");
    if (named_by(ways[i]) == NamedBy::Database && i + 1 < ways.size())
      complain(origin(key), key, "must have database last: every login has one, so nothing behind it counts");
    if (named_by(ways[i]) != NamedBy::Sni) continue;
    if (config.sni_domain.empty())
      complain(origin(key), "client.sni_domain", "must be set, because " + key + " has sni");
    if (config.client_tls_mode == TlsMode::Disable)
      complain(origin(key), "client.tls_mode", "must not be disable, because " + key + " has sni");
  }
  if (config.sni_domain.starts_with('/') || config.sni_domain.starts_with('.') ||
      config.sni_domain.find(':') != std::string::npos)
    complain(origin("client.sni_domain"), "client.sni_domain",
             "must be a domain such as db.example.com, not " + quoted(config.sni_domain));
}

void Loader::check_store() {
  const Config& config = loaded_.config;
  const std::string url = "tenant_store.redis_url", ca = "tenant_store.redis_ca_file";
  const bool redis = config.store_kind == StoreKind::Redis;
  if (redis) need(url, config.redis_url, "tenant_store.kind", "is redis");
  if (config.store_kind == StoreKind::File && !config.redis_url.empty())
    complain(origin(url), url, "would not be used, because tenant_store.kind is file");
  if (!config.redis_url.empty()) {
    const auto address = parse_redis_url(config.redis_url);
    if (!address) complain(origin(url), url, address.error());
    if (address && !address->tls && !config.redis_ca_file.empty())
      complain(origin(ca), ca,
               "would not be used, because tenant_store.redis_url is not rediss:// or rediss+sentinel://");
  }
  const std::string postgres = "tenant_store.postgres_url";
  if (config.store_kind == StoreKind::Postgres)
    need(postgres, config.postgres_url, "tenant_store.kind", "is postgres");
  else if (!config.postgres_url.empty())
    complain(origin(postgres), postgres, "would not be used, because tenant_store.kind is not postgres");
  if (!config.postgres_url.empty()) {
    const auto address = parse_database_url(config.postgres_url);
    if (!address)
      complain(origin(postgres), postgres, address.error());
    else if (std::any_of(address->backend.begin(), address->backend.end(), [](const auto& setting) {
               return setting.first == "hosts" || setting.first == "target_session_attrs";
             }))
      complain(origin(postgres), postgres, "must name a single host, without target_session_attrs");
    else if (address->user.empty())
      complain(origin(postgres), postgres, "must name a user: postgres://user:password@host/database");
  }
  if (config.store_rates == Rates::Fleet && config.redis_url.empty())
    complain(origin("tenant_store.rates"), "tenant_store.rates",
             "must be local, because tenant_store.redis_url names no Redis");
  // A lookup may be late or fail once.
  const auto least = 2 * config.store_ttl + config.store_timeout;
  if (config.store_stale_max < least)
    complain(origin("tenant_store.stale_max"), "tenant_store.stale_max",
             "must be at least " + format_duration(least) +
                 ", twice tenant_store.ttl and tenant_store.timeout, or records would be too old before they "
                 "are looked up again");
}

bool Loader::verifies(TlsMode mode) { return mode == TlsMode::VerifyCa || mode == TlsMode::VerifyFull; }

void Loader::need(const std::string& key, const std::string& value, const std::string& mode,
                  std::string_view why) {
  if (value.empty()) complain(origin(mode), key, "must be set, because " + mode + " " + std::string(why));
}

void Loader::check_backend(const Backend& backend) {
  const std::string dotted = "backends." + backend.name;
  const auto place = [&](std::string_view field) {
    const Origin written = origin(dotted + "." + std::string(field));
    return written == Origin{} ? backend.origin : written;
  };
  const std::vector<HostPort> hosts = hosts_of(backend);
  const auto in_directory = std::count_if(hosts.begin(), hosts.end(),
                                          [](const HostPort& each) { return each.host.starts_with('/'); });
  const bool is_unix = in_directory > 0;
  if (!backend.hosts.empty() && origin(dotted + ".host") != Origin{})
    complain(place("hosts"), dotted + ".hosts", "give hosts or host, not both");
  for (std::size_t i = 1; i < hosts.size(); ++i)
    if (std::find(hosts.begin(), hosts.begin() + static_cast<std::ptrdiff_t>(i), hosts[i]) !=
        hosts.begin() + static_cast<std::ptrdiff_t>(i))
      complain(place("hosts"), dotted + ".hosts", "has " + quoted(backend.hosts[i]) + " twice");
  if (is_unix && in_directory != std::ssize(hosts))
    complain(place("hosts"), dotted + ".hosts", "must be all directories of unix sockets, or none");
  const bool wants_tls = backend.tls_mode == TlsMode::Require || verifies(backend.tls_mode);
  if (is_unix && wants_tls) {
    complain(place("tls_mode"), dotted + ".tls_mode",
             "must be disable, allow or prefer, because host is a unix socket, which has no TLS");
  } else if (verifies(backend.tls_mode) && backend.tls_ca_file.empty()) {
    complain(place("tls_mode"), dotted + ".tls_ca_file", "must be set, because tls_mode verifies");
  }
  if (backend.tls_cert_file.empty() != backend.tls_key_file.empty()) {
    const bool has_cert = !backend.tls_cert_file.empty();
    complain(place(has_cert ? "tls_cert_file" : "tls_key_file"),
             dotted + (has_cert ? ".tls_key_file" : ".tls_cert_file"),
             std::string("must be set together with ") + (has_cert ? "tls_cert_file" : "tls_key_file"));
  }
}

// Who names a certificate means it to be used.
void Loader::prefer_tls() {
  Config& config = loaded_.config;
  const bool named = !config.client_tls_cert_file.empty() || !config.client_tls_key_file.empty();
  if (named && origin("client.tls_mode") == Origin{}) config.client_tls_mode = TlsMode::Prefer;
}

void Loader::check_trust() {
  const Config& config = loaded_.config;
  if (config.auth_method != AuthMethod::Trust || config.trust_on_network) return;
  for (const std::string& address : config.listen_addresses) {
    if (is_loopback(address)) continue;
    complain(origin("auth.method"), "auth.method",
             "must not be trust, because listen.addresses has " + quoted(address) +
                 ": whoever reaches it could be any user. Use scram-sha-256, listen on 127.0.0.1 and ::1 "
                 "alone, or set auth.trust_on_network");
    return;
  }
}

// Else it is told by bind(), after all else has been started.
void Loader::check_ports() {
  const Config& config = loaded_.config;
  const std::vector<std::string>&ours = config.listen_addresses, &theirs = config.http_addresses;
  if (config.http_port != config.listen_port || ours.empty() || theirs.empty()) return;
  const auto is_every = [](const std::string& address) {
    return address == "*" || address == "::" || address == "0.0.0.0";
  };
  const auto meets = [&](const std::string& address) {
    return is_every(address) || std::find(ours.begin(), ours.end(), address) != ours.end();
  };
  if (std::none_of(ours.begin(), ours.end(), is_every) && std::none_of(theirs.begin(), theirs.end(), meets))
    return;
  const bool chosen = origin("http.port") != Origin{};
  const std::string key = chosen ? "http.port" : "listen.port", other = chosen ? "listen.port" : "http.port";
  complain(origin(key), key,
           "must not be " + std::to_string(config.http_port) + ", which is " + other +
               ": HTTP and clients of Postgres need a port each");
}

// Whoever may guess it can be any tenant.
void Loader::check_tenant_secret(const Backend& backend) {
  constexpr std::size_t kLeast = 32;
  const std::string& secret = backend.tenant_secret;
  if (secret.empty() || secret.size() >= kLeast) return;
  const std::string key = "backends." + backend.name + ".tenant_secret";
  complain(origin(key), key,
           "must have at least " + std::to_string(kLeast) + " bytes, not " + std::to_string(secret.size()) +
               ": make one by \"openssl rand -hex 32\"");
}

void Loader::check_names() {
  const Config& config = loaded_.config;
  Names tiers, backends;
  if (const auto shipped = load_tiers(embedded_tiers(), "conf/tiers.yaml")) {
    for (const Row& row : *shipped) tiers.insert(row.name);
  }
  for (const Row& row : config.tiers) tiers.insert(row.name);
  for (const Backend& backend : config.backends) backends.insert(backend.name);
  check_name(tiers, "tier", config.default_tier, origin("pool.default_tier"), "pool.default_tier");
  for (const Row& row : config.tenants) {
    for (const Field& field : row.fields) {
      const std::string key = "tenants." + row.name + "." + field.key;
      if (field.key == "tier") check_name(tiers, "tier", field.value, field.origin, key);
      // Without any backend that is what has been said already.
      if (field.key == "backend" && !field.value.empty() && !backends.empty()) {
        check_name(backends, "backend", field.value, field.origin, key);
      }
    }
  }
}

void Loader::check_name(const Names& names, std::string_view what, const std::string& name,
                        const Origin& where, const std::string& key) {
  if (names.contains(name) || problems_.size() > kMaxProblems) return;
  constexpr std::size_t kListed = 10;
  std::string advice = did_you_mean(name, names);
  if (advice.empty() && names.size() <= kListed)
    for (const std::string& each : names) advice += (advice.empty() ? "; there are " : ", ") + each;
  complain(where, key, "no " + std::string(what) + " is named " + quoted(name) + advice);
}

}  // namespace pgweir::conf
