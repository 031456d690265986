#include "pooler/http_access.h"

#include <catch2/catch.hpp>

#include "pooler/snapshot.h"
#include "protocol/base64.h"

using namespace pgweir;
using namespace pgweir::http;

namespace {

Snapshot configured(const char* token = "") {
  Snapshot snapshot;
  snapshot.loaded.config.metrics_token = token;
  snapshot.loaded.config.console_admins = {"ops", "md5", "scram"};
  snapshot.loaded.config.console_stats = {"reader"};
  snapshot.users.emplace("ops", protocol::PlainSecret{"s:cret"});
  snapshot.users.emplace("reader", protocol::PlainSecret{"re4der"});
  snapshot.users.emplace("app", protocol::PlainSecret{"s3cret"});
  snapshot.users.emplace("md5", protocol::Md5Secret{protocol::md5_hash_user("pass", "md5")});
  snapshot.users.emplace("scram", protocol::make_scram_verifier("pass", "0123456789abcdef", 4096));
  return snapshot;
}

Request from(const char* host, std::string authorization = "", bool forwarded = false) {
  Request request{.method = "GET", .path = "/metrics", .authorization = std::move(authorization)};
  request.from = parse_network(host)->first;
  request.forwarded = forwarded;
  return request;
}

std::string verdict(const Request& request, const Snapshot& snapshot) {
  const auto found = access(request, snapshot);
  if (const auto* login = std::get_if<Login>(&found)) return login->user + "/" + login->password;
  switch (std::get<Access>(found)) {
    case Access::Allowed: return "allowed";
    case Access::Unproven: return "unproven";
    case Access::WrongToken: return "wrong token";
    case Access::Unreadable: break;
  }
  return "unreadable";
}

std::string basic(const char* login) { return "Basic " + protocol::base64_encode(login); }

}  // namespace

TEST_CASE("without a token neighbours may read, unless a proxy asks") {
  const Snapshot open = configured();
  CHECK(verdict(from("127.0.0.1"), open) == "allowed");
  CHECK(verdict(from("::1"), open) == "allowed");
  CHECK(verdict(from("10.0.0.1"), open) == "unproven");
  CHECK(verdict(from("127.0.0.1", "", true), open) == "unproven");
  Snapshot wider = configured();
  wider.loaded.config.http_allow = {"10.0.0.0/8"};
  CHECK(verdict(from("10.9.9.9"), wider) == "allowed");
  CHECK(verdict(from("127.0.0.1"), wider) == "unproven");
}

TEST_CASE("on this host nobody may read by a name that a stranger can give to it") {
  const auto asks = [](const char* from_host, const char* host) {
    Request request = from(from_host);
    request.host = host;
    return verdict(request, configured());
  };
  for (const char* host :
       {"", "localhost", "localhost:9127", "LocalHost.", "app.LOCALHOST:80", "localhost.localdomain",
        "127.0.0.1", "127.0.0.1:9127", "[::1]:9127", "[::1]", "myhost:9127", "10.1.2.3:80"}) {
    INFO(host);
    CHECK(asks("127.0.0.1", host) == "allowed");
    CHECK(asks("::1", host) == "allowed");
  }
  for (const char* host :
       {"evil.example.com", "evil.example.com:9127", "evil.example.com.", "localhost.evil.com",
        "127.0.0.1.evil.com", "evillocalhost.com", "1.2.3.4.5", "metrics.local"}) {
    INFO(host);
    CHECK(asks("127.0.0.1", host) == "unproven");
    CHECK(asks("::1", host) == "unproven");
  }
  // Other hosts are let in by configuration, and have a name for this one.
  Snapshot wider = configured();
  wider.loaded.config.http_allow = {"10.0.0.0/8"};
  Request request = from("10.9.9.9");
  request.host = "pgweir.internal.example.com:9127";
  CHECK(verdict(request, wider) == "allowed");
}

TEST_CASE("a proxy is known by the headers that it adds, however they are spelt") {
  for (const char* name : {"X-Forwarded-For",  "x-forwarded-proto",
                           "X-FORWARDED-HOST", "X-Forwarded",
                           "Forwarded",        "Via",
                           "X-Real-IP",        "x-real-ip",
                           "X-Client-IP",      "X-Cluster-Client-Ip",
                           "True-Client-IP",   "CF-Connecting-IP",
                           "CF-Ray",           "Fly-Client-IP",
                           "Fastly-Client-IP", "X-Envoy-External-Address",
                           "X-Amzn-Trace-Id",  "X-Azure-ClientIP",
                           "X-Railway-Edge",   "X-Original-Forwarded-For",
                           "X-ProxyUser-Ip",   "CDN-Loop",
                           "X-Varnish",        "Proxy-Connection"}) {
    INFO(name);
    CHECK(is_of_proxy(name));
  }
  for (const char* name :
       {"Host", "User-Agent", "Accept", "Accept-Encoding", "Authorization", "Connection", "Cookie",
        "X-Prometheus-Scrape-Timeout-Seconds", "X-Request-Id", "Viable", "traceparent", ""}) {
    INFO(name);
    CHECK_FALSE(is_of_proxy(name));
  }
}

TEST_CASE("a token must be shown whole, as a bearer, and then nobody is a neighbour") {
  const Snapshot snapshot = configured("secret");
  CHECK(verdict(from("8.8.8.8", "Bearer secret"), snapshot) == "allowed");
  CHECK(verdict(from("8.8.8.8", "bearer secret", true), snapshot) == "allowed");
  CHECK(verdict(from("127.0.0.1"), snapshot) == "unproven");
  for (const char* wrong : {"Bearer ", "Bearer secre", "Bearer secrets", "Bearer  secret", "Bearer SECRET"}) {
    INFO(wrong);
    CHECK(verdict(from("127.0.0.1", wrong), snapshot) == "wrong token");
  }
  for (const char* wrong : {"secret", "Bearer", "Basic secret", "Bearer-secret"}) {
    INFO(wrong);
    CHECK(verdict(from("127.0.0.1", wrong), snapshot) == "unreadable");
  }
  CHECK(verdict(from("8.8.8.8", "Bearer "), configured()) == "wrong token");
  CHECK(verdict(from("8.8.8.8", "Bearer x"), configured()) == "wrong token");  // there is none
}

TEST_CASE("a name and a password are for the console's users to show") {
  const Snapshot snapshot = configured("secret");
  CHECK(verdict(from("8.8.8.8", basic("ops:s:cret")), snapshot) == "ops/s:cret");
  for (const char* wrong : {"nocolon", ""})
    CHECK(verdict(from("8.8.8.8", basic(wrong)), snapshot) == "unreadable");
  CHECK(verdict(from("8.8.8.8", "Basic !!!"), snapshot) == "unreadable");
  CHECK(verdict(from("8.8.8.8", basic(std::string(5000, ':').c_str())), snapshot) == "unreadable");

  const struct {
    const char *user, *password;
    bool fits;
  } cases[] = {{"ops", "s:cret", true},
               {"reader", "re4der", true},
               {"md5", "pass", true},
               {"scram", "pass", true},
               {"scram", "Pass", false},
               {"md5", "x", false},
               {"ops", "", false},
               {"app", "s3cret", false},
               {"nobody", "s3cret", false},
               {"reader", "", false},
               {"", "", false}};
  for (const auto& one : cases) {
    INFO(one.user << " " << one.password);
    CHECK(fits({one.user, one.password}, snapshot, {}) == one.fits);
  }
}

TEST_CASE("an address is told as it is written") {
  for (const char* host : {"192.0.2.1", "0.0.0.0", "2001:db8::1", "::1", "fe80::1"})
    CHECK(address_text(parse_network(host)->first) == host);
}
