// What SECURITY.md says of a configuration that says nothing.
#include <catch2/catch.hpp>

#include "pooler/base/network.h"
#include "tests/conf/files.h"

using namespace pgweir;
using namespace pgweir::conf;
using namespace pgweir::conf::test;

TEST_CASE("defaults are safe") {
  const auto loaded = load_text("backends: {main: {}}");
  REQUIRE(problems(loaded).empty());
  const Config& config = loaded->config;
  for (const std::string& address : config.listen_addresses) CHECK(is_loopback(address));
  CHECK_FALSE(config.listen_addresses.empty());
  CHECK(config.auth_method == AuthMethod::ScramSha256);
  CHECK_FALSE(config.trust_on_network);
  CHECK((config.users.empty() && config.users_file.empty()));
  CHECK((config.console_admins.empty() && config.console_stats.empty()));
  CHECK(config.http_allow == std::vector<std::string>{"127.0.0.0/8", "::1"});
  CHECK(config.metrics_token.empty());
  CHECK(config.backends[0].tls_mode == TlsMode::Prefer);
  CHECK(config.backends[0].tenant_secret.empty());
}

TEST_CASE("TLS is offered to clients from the moment that a certificate is named") {
  const auto mode = [](const std::string& client) {
    const auto loaded = load_text("backends: {main: {}}\nclient: {" + client + "}");
    REQUIRE(problems(loaded).empty());
    return loaded->config.client_tls_mode;
  };
  CHECK(mode("max: 5") == TlsMode::Disable);
  CHECK(mode("tls_cert_file: c, tls_key_file: k") == TlsMode::Prefer);
  CHECK(mode("tls_cert_file: c, tls_key_file: k, tls_mode: disable") == TlsMode::Disable);
  CHECK(mode("tls_cert_file: c, tls_key_file: k, tls_mode: require") == TlsMode::Require);
  CHECK(problems(load_text("backends: {main: {}}\nclient: {tls_cert_file: c}")).find("client.tls_key_file") !=
        std::string::npos);
}
