#include "conf/settings.h"

#include <catch2/catch.hpp>

#include <set>

using namespace pgweir::conf;

namespace {

template <class Owner>
void defaults_agree(std::span<const Setting<Owner>> table) {
  for (const auto& setting : table) {
    CAPTURE(std::string(setting.key));
    const Owner fresh;
    Owner again;
    const auto done = assign(again, setting, text_of(fresh, setting));
    // An empty list is the one default that no text stands for.
    if (!done) FAIL(done.error());
    CHECK(text_of(again, setting) == text_of(fresh, setting));
    CHECK_FALSE(allowed(setting).empty());
  }
}

template <class Owner>
std::string try_text(std::span<const Setting<Owner>> table, std::string_view key, std::string_view text) {
  for (const auto& setting : table) {
    if (setting.key != key) continue;
    Owner owner;
    const std::string before = text_of(owner, setting);
    const auto done = assign(owner, setting, text);
    if (done) return "= " + text_of(owner, setting);
    CHECK(text_of(owner, setting) == before);
    return done.error();
  }
  return "no such key";
}

}  // namespace

TEST_CASE("every default is allowed, and its text is read back") {
  defaults_agree(settings());
  defaults_agree(backend_settings());
}

TEST_CASE("every setting has a section, and the settings of a section stand together") {
  std::set<std::string_view> sections;
  std::string_view last;
  for (const auto& setting : settings()) {
    const auto dot = setting.key.find('.');
    REQUIRE(dot != std::string_view::npos);
    CHECK(setting.key.find('.', dot + 1) == std::string_view::npos);
    // The environment separates by two underscores.
    CHECK(setting.key.find("__") == std::string_view::npos);
    const auto section = setting.key.substr(0, dot);
    if (section == last) continue;
    CHECK(sections.insert(section).second);
    last = section;
  }
}

TEST_CASE("texts become values, or a sentence") {
  struct Row {
    std::string_view key, text, result;
  };
  const Row rows[] = {
      {"listen.port", "010", "= 10"},
      {"listen.port", "65535", "= 65535"},
      {"listen.port", "70000", "must lie between 1 and 65535, not 70000"},
      {"listen.port", "0", "must lie between 1 and 65535, not 0"},
      {"listen.port", "6432.0", "must be a whole number between 1 and 65535, not '6432.0'"},
      {"listen.addresses", "0.0.0.0, ::", "= 0.0.0.0,::"},
      {"listen.addresses", "*", "= *"},
      {"listen.addresses", "fe80::1%eth0", "= fe80::1%eth0"},
      {"listen.addresses", "", "= "},
      {"listen.addresses", "::1,,::", "must not have empty items"},
      {"listen.addresses", "::1,", "must not have empty items"},
      {"listen.addresses", "127.0.0.1:6432",
       "must be an address such as 127.0.0.1, ::1 or * without port or brackets, not '127.0.0.1:6432'"},
      {"listen.addresses", "[::1]",
       "must be an address such as 127.0.0.1, ::1 or * without port or brackets, not '[::1]'"},
      {"listen.addresses", "localhost",
       "must be an IP address or *, not 'localhost': names are not looked up here"},
      {"http.addresses", "10.0.0", "must be an IP address or *, not '10.0.0': names are not looked up here"},
      {"listen.addresses", "127.0.0.1%eth0",
       "must be an IP address or *, not '127.0.0.1%eth0': names are not looked up here"},
      {"listen.unix_socket_dir", "/run/pgweir", "= /run/pgweir"},
      {"listen.unix_socket_dir", "run", "must be a directory that begins with '/', not 'run'"},
      {"listen.unix_socket_mode", "0770", "= 0770"},
      {"listen.unix_socket_mode", "770", "= 0770"},
      {"listen.unix_socket_mode", "1777", "must lie between 00 and 0777, not 1777"},
      {"listen.unix_socket_mode", "rwx",
       "must be an octal number such as 0770 (between 00 and 0777), not 'rwx'"},
      {"client.login_timeout", "never", "must lie between 100ms and 1h, not never"},
      {"client.idle_timeout", "never", "= never"},
      {"client.idle_timeout", "0", "= never"},
      {"client.idle_timeout", "90min", "= 90min"},
      {"client.idle_timeout", "366d", "must be never or at most 365d, not 366d"},
      {"client.tls_mode", "require", "= require"},
      {"client.tls_mode", "verify_full",
       "must be one of disable, allow, prefer, require, verify-ca, verify-full, not 'verify_full'; did you "
       "mean "
       "verify-full?"},
      {"pool.buffer_high_water", "64kB", "= 64kB"},
      {"pool.buffer_high_water", "1", "must lie between 4kB and 64MB, not 1"},
      {"pool.prepared_statement_bytes", "1073741824", "= 1GB"},
      {"pool.default_tier", "", "must have between 1 and 63 bytes, not 0"},
      {"pool.unknown_tenants", "off", "= false"},
      {"pool.unknown_tenants", "yes", "= true"},
      {"pool.unknown_tenants", "1", "must be one of true, false, on, off, yes, no, not '1'"},
      {"auth.method", "scram", "must be one of trust, password, md5, scram-sha-256, not 'scram'"},
      {"console.admins", "ops, root", "= ops,root"},
      {"log.level", "warning", "must be one of debug, info, warn, error, not 'warning'"},
      {"log.format", "jsn", "must be one of auto, text, json, not 'jsn'; did you mean json?"},
      {"audit.target", "stdout", "= stdout"},
      {"audit.target", "/var/log/audit.json", "= /var/log/audit.json"},
      {"audit.target", "of", "must be off, stdout or a path that begins with '/', not 'of'"},
      {"audit.target", "", "must have between 1 and 4095 bytes, not 0"},
      {"auth.users_file", "a\nb", "must not hold control characters"},
  };
  for (const Row& row : rows) {
    CAPTURE(std::string(row.key), std::string(row.text));
    CHECK(try_text(settings(), row.key, row.text) == row.result);
  }
  const Row backend_rows[] = {
      {"host", "db.railway.internal", "= db.railway.internal"},
      {"host", "2001:db8::1", "= 2001:db8::1"},
      {"host", "/run/postgresql", "= /run/postgresql"},
      {"host", "", "must have between 1 and 253 bytes, not 0"},
      {"host", "db:5432",
       "must be a name, an address or a directory without port or brackets, not 'db:5432'"},
      {"host", "a b", "must be a name, an address or a directory without port or brackets, not 'a b'"},
      {"host", "*", "must be a single host, not '*'"},
      {"auth_methods", "md5,scram-sha-256", "= md5,scram-sha-256"},
      {"auth_methods", "md5,scram", "must be one of trust, password, md5, scram-sha-256, not 'scram'"},
      {"max_server_connections", "0", "must lie between 1 and 10000, not 0"},
  };
  for (const Row& row : backend_rows) {
    CAPTURE(std::string(row.key), std::string(row.text));
    CHECK(try_text(backend_settings(), row.key, row.text) == row.result);
  }
  CHECK(try_text(backend_settings(), "host", "/" + std::string(90, 'x')) ==
        "must have at most 90 bytes for a unix socket, not 91");
}

TEST_CASE("the environment's name follows from the key") {
  CHECK(environment_name("listen.port") == "PGWEIR_LISTEN__PORT");
  CHECK(environment_name("client.tls_cert_file") == "PGWEIR_CLIENT__TLS_CERT_FILE");
}
