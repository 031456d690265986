#include <catch2/catch.hpp>

#include "pooler/base/network.h"
#include "tests/conf/files.h"

using namespace pgweir;
using namespace pgweir::conf::test;

TEST_CASE("loopback is what only this machine reaches") {
  const struct {
    const char* address;
    bool loopback;
  } rows[] = {
      {"127.0.0.1", true},   {"127.8.9.1", true}, {"::1", true},          {"localhost", true},
      {"0.0.0.0", false},    {"::", false},       {"*", false},           {"10.0.0.1", false},
      {"128.0.0.1", false},  {"::2", false},      {"db.internal", false}, {"127.0.0.0/8", false},
      {"localhost.", false}, {"", false},         {"fd00::1", false},     {"::ffff:127.0.0.1", true},
  };
  for (const auto& row : rows) {
    INFO(row.address);
    CHECK(is_loopback(row.address) == row.loopback);
  }
}

TEST_CASE("trust is refused where others than this machine can connect, unless somebody says so") {
  const auto tried = [](const std::string& lines) {
    return problems(load_text("backends: {main: {}}\n" + lines));
  };
  const std::string refusal =
      "f:2:16: auth.method: must not be trust, because listen.addresses has '%': whoever reaches it could be "
      "any "
      "user. Use scram-sha-256, listen on 127.0.0.1 and ::1 alone, or set auth.trust_on_network";
  const auto refused = [&](const std::string& address) {
    std::string text = refusal;
    return text.replace(text.find('%'), 1, address);
  };
  CHECK(tried("auth: {method: trust}").empty());
  CHECK(tried("auth: {method: trust}\nlisten: {addresses: [127.0.0.1, \"::1\", 127.8.9.1]}").empty());
  CHECK(tried("auth: {method: trust}\nlisten: {addresses: [], unix_socket_dir: /run/pgweir}").empty());
  for (const char* address : {"0.0.0.0", "::", "*", "10.1.2.3"})
    CHECK(tried("auth: {method: trust}\nlisten: {addresses: [127.0.0.1, \"" + std::string(address) +
                "\"]}") == refused(address));
  CHECK(tried("auth: {method: trust, trust_on_network: true}\nlisten: {addresses: [\"*\"]}").empty());
  for (const char* method : {"password", "md5", "scram-sha-256"})
    CHECK(tried("auth: {method: " + std::string(method) + "}\nlisten: {addresses: [\"*\"]}").empty());
}
