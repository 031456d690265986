#include <string>

#include "conf/load.h"
#include "conf/platform.h"
#include "conf/settings.h"

namespace pgweir::conf {
namespace {

// A '|' would end a table's cell.
std::string cell(std::string_view text) {
  std::string out;
  for (const char c : text) out += c == '|' ? std::string("\\|") : std::string(1, c);
  return out;
}

template <class Owner>
std::string line(const Setting<Owner>& setting, const Owner& fresh, std::string_view key,
                 const std::string& name) {
  const std::string fallback = text_of(fresh, setting);
  return "| `" + std::string(key) + "` | `" + name + "` | " +
         (fallback.empty() ? "" : "`" + cell(fallback) + "`") + " | " + cell(allowed(setting)) + " | " +
         (setting.applies == Applies::OnReload ? "reload" : "restart") + " | " + cell(setting.help) + " |\n";
}

std::string platform_names() {
  std::string out =
      "Together with `DATABASE_URL`, names that images of PgBouncer use are read, too; without it they are "
      "left "
      "alone, and `PGWEIR_...` for the same thing wins.\n\n| variable | sets |\n|---|---|\n";
  for (const PlatformVariable& variable : kPlatformVariables) {
    std::string sets;
    const auto add = [&](std::string_view key, std::string_view whose) {
      if (key.empty()) return;
      sets += (sets.empty() ? "`" : ", `") + std::string(key) + "`" + std::string(whose);
    };
    add(variable.setting, "");
    for (const std::string_view field : variable.fields) add(field, " of its tenant");
    out += "| `" + std::string(variable.name) + "` | " + sets + " |\n";
  }
  return out;
}

constexpr std::string_view kHead =
    "| key | environment | default | allowed | takes effect on | meaning |\n|---|---|---|---|---|---|\n";

}  // namespace

std::string reference() {
  std::string out =
      "# Settings\n\n"
      "Made from the tables in `conf/settings.cc`; edit those, not this page.\n\n"
      "A configuration is a YAML file of sections (`listen: {port: 6432}` sets `listen.port`), and every "
      "setting "
      "can come from the environment too, which wins over the file; an empty variable counts as not set. "
      "Lists are "
      "YAML lists, or texts with commas. Durations: a whole number and `ms`, `s`, `min`, `h` or `d` (none: "
      "milliseconds), or `never`. Sizes: a whole number and `B`, `kB`, `MB`, `GB` or `TB` (none: bytes). "
      "Switches: "
      "`true`, `false`, `on`, `off`, `yes`, `no`. Numbers are decimal, whatever they begin with. Anchors, "
      "aliases "
      "and tags are refused; a file has at most 1 MB.\n\n"
      "A setting that takes effect on reload (SIGHUP, RELOAD on the console, or a change of the file, see "
      "`process.watch_file`) holds for clients and "
      "servers "
      "that are connected already, too. Servers that it would have made differently are replaced, idle ones "
      "at once, others as they come free; so are those beyond a lower limit. What is part of a login holds "
      "from the next login on: `client.max`, `client.login_timeout`, TLS with clients, `auth`, users, a "
      "tier's "
      "`max_clients`, and which backend, database and user a tenant has. Files of certificates and keys are "
      "read again each time, for the next connections.\n";
  std::string_view section;
  const Config fresh;
  for (const auto& setting : settings()) {
    const std::string_view own = setting.key.substr(0, setting.key.find('.'));
    if (own != section) {
      section = own;
      out += "\n## " + std::string(own) + "\n\n" + std::string(kHead);
    }
    out += line(setting, fresh, setting.key, environment_name(setting.key));
  }
  out +=
      "\n## backends\n\n"
      "A row per Postgres host; at least one. The first serves tenants that name none. `backends: {main: "
      "{host: "
      "db.internal}}` or `PGWEIR_BACKENDS__MAIN__HOST`.\n\n" +
      std::string(kHead);
  const Backend backend;
  for (const auto& setting : backend_settings()) {
    out +=
        line(setting, backend, setting.key, environment_name("backends.<name>." + std::string(setting.key)));
  }
  out +=
      "\n## users\n\n"
      "A row per user who may log in, beside those of `auth.users_file`: `alice: \"secret\"`, `alice: "
      "{secret: "
      "...}` or `alice: {secret_file: /run/secrets/alice}`; in the environment `PGWEIR_USERS__ALICE__SECRET` "
      "or "
      "`..._SECRET_FILE`. A secret is a password, `md5` and 32 hexadecimal digits, or `SCRAM-SHA-256$...` as "
      "Postgres stores it, with at most 100,000 iterations. One newline at the end of a secret's file is "
      "dropped.\n"
      "\n## tiers, tenants\n\n"
      "Rows of the fields in [tiers/reference.md](../tiers/reference.md): `tiers: {free: {pool_size: 3}}`, "
      "`tenants: {acme: {tier: pro, backend: main}, \"demo_*\": {tier: free}}`; in the environment "
      "`PGWEIR_TENANTS__ACME__TIER`. A tenant's `password` may stand in a file: `password_file`.\n\n"
      "A whole table of tiers can be one variable, `PGWEIR_TIERS`, as YAML or JSON with or without the "
      "section's name (`{pro: {pool_size: 30}, gold: {weight: 6}}`), or a file that `PGWEIR_TIERS_FILE` "
      "names. It goes over the configuration file field by field, and `PGWEIR_TIERS__PRO__POOL_SIZE` over "
      "it.\n"
      "\n## DATABASE_URL\n\n"
      "`postgres://user:password@host:port/database?sslmode=...` (or `DATABASE_URL_FILE`, a file that holds "
      "it) makes "
      "the backend `default`, the user with that secret, and a tenant for the database that uses both, so "
      "that no "
      "file is needed. `sslmode`, `sslrootcert`, `sslcert` and `sslkey` set the backend's TLS. Parameters "
      "that would "
      "be ignored where they matter are refused.\n\n" +
      platform_names() +
      "\n## REDIS_URL\n\n"
      "`REDIS_URL` (or `REDIS_URL_FILE`) is `tenant_store.redis_url` where `tenant_store.kind` is `redis` "
      "and "
      "nothing else says it; else it is left alone.\n"
      "\n## PORT\n\n"
      "Platforms that choose the port of a service's health check say so in `PORT`: it is `http.port`, "
      "unless "
      "`PGWEIR_HTTP__PORT` says otherwise.\n"
      "\n## Secrets in files\n\n"
      "Each variable above that holds a secret may end in `_FILE` and then names a file that holds it; so "
      "may "
      "`tenant_store.redis_url` and `tenant_store.postgres_url` in the file, as `redis_url_file` and "
      "`postgres_url_file`, and the secrets of backends, as `side_password_file` and `tenant_secret_file`.\n";
  return out;
}

}  // namespace pgweir::conf
