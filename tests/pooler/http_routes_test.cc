#include "pooler/http_routes.h"

#include <catch2/catch.hpp>

using namespace pgweir::http;

namespace {
std::string read(const char* method, const char* path) {
  const auto routed = route({.method = method, .path = path});
  if (const auto* page = std::get_if<Page>(&routed)) {
    switch (*page) {
      case Page::Metrics: return "metrics";
      case Page::Alive: return "alive";
      case Page::Ready: return "ready";
      case Page::Status: return "status";
      case Page::Api: return "api";
    }
  }
  return std::to_string(std::get<Response>(routed).status);
}
}  // namespace

TEST_CASE("a path has one page, for those who only read") {
  const struct {
    const char *method, *path, *answer;
  } cases[] = {{"GET", "/metrics", "metrics"},
               {"HEAD", "/metrics", "metrics"},
               {"GET", "/healthz", "alive"},
               {"GET", "/readyz", "ready"},
               {"POST", "/readyz", "405"},
               {"get", "/healthz", "405"},
               {"GET", "/", "status"},
               {"POST", "/", "405"},
               {"GET", "/api/v1/tenants", "api"},
               {"POST", "/api/v1/", "api"},
               {"GET", "/api/v1", "api"},
               {"GET", "/api/v1x", "404"},
               {"GET", "/api/v2/tenants", "404"},
               {"GET", "/metrics/", "404"},
               {"GET", "/METRICS", "404"},
               {"GET", "", "404"},
               {"DELETE", "/x", "404"}};
  for (const auto& one : cases) {
    INFO(one.method << " " << one.path);
    CHECK(read(one.method, one.path) == one.answer);
  }
}

TEST_CASE("a browser is told to ask for a password, a scraper for its token") {
  CHECK(unauthorized(Page::Metrics).headers[0].second == "Bearer realm=\"pgweir\"");
  CHECK(unauthorized(Page::Status).headers[0].second == "Basic realm=\"pgweir\"");
  CHECK(unauthorized(Page::Api).status == 401);
}

TEST_CASE("a target in absolute form names the same page") {
  CHECK(path_of("/healthz") == "/healthz");
  CHECK(path_of("http://x/healthz") == "/healthz");
  CHECK(path_of("HTTPS://x:1/api/v1/tiers") == "/api/v1/tiers");
  CHECK(path_of("http://x") == "/");
  CHECK(path_of("http:/x") == "http:/x");
  CHECK(path_of("").empty());
}

TEST_CASE("a body that nobody reads is refused before it comes") {
  const struct {
    const char *method, *path, *length, *encoding;
    unsigned status;  // 0: served
    const char* type;
  } cases[] = {{"GET", "/healthz", "", "", 0, ""},
               {"GET", "/healthz", "0", "", 0, ""},
               {"GET", "/healthz", "100", "", 0, ""},
               {"POST", "/healthz", "", "", 0, ""},  // route() refuses it
               {"GET", "/healthz", "99999999999", "", 413, "text/plain; charset=utf-8"},
               {"GET", "/healthz", "99999999999999999999999", "", 413, "text/plain; charset=utf-8"},
               {"GET", "/healthz", "-1", "", 413, "text/plain; charset=utf-8"},
               {"GET", "/api/v1/tiers", "", "chunked", 413, "application/problem+json"},
               {"POST", "/healthz", "5", "", 405, "text/plain; charset=utf-8"},
               {"POST", "/api/v1/tiers", "99999999999", "", 405, "application/problem+json"}};
  for (const auto& one : cases) {
    INFO(one.method << " " << one.path << " " << one.length);
    const auto refused = refuse_body({.method = one.method, .path = one.path}, one.length, one.encoding);
    CHECK((refused ? refused->status : 0) == one.status);
    CHECK(std::string(refused ? refused->type : "") == one.type);
    if (refused && refused->status == 405) CHECK(refused->headers[0].second == "GET, HEAD");
  }
}

TEST_CASE("a head that is longer than any needs to be is refused in the language of its page") {
  const struct {
    const char* path;
    std::size_t line, head;
    unsigned status;  // 0: served
    const char* type;
  } cases[] = {{"/metrics", 30, 200, 0, ""},
               {"/metrics", kLineMost, kHeadMost, 0, ""},
               {"/metrics", kLineMost + 1, kHeadMost, 414, "text/plain; charset=utf-8"},
               {"/metrics", 30, kHeadMost + 1, 431, "text/plain; charset=utf-8"},
               {"/", kLineMost + 1, kHeadMost + 1, 414, "text/plain; charset=utf-8"},
               {"/api/v1/tenants", kLineMost + 1, kLineMost + 1, 414, "application/problem+json"},
               {"/api/v1/none", 30, kHeadMost + 1, 431, "application/problem+json"}};
  for (const auto& one : cases) {
    INFO(one.path << " " << one.line << " " << one.head);
    const auto refused = refuse_size({.method = "GET", .path = one.path}, one.line, one.head);
    CHECK((refused ? refused->status : 0) == one.status);
    CHECK(std::string(refused ? refused->type : "") == one.type);
    if (refused) CHECK(refused->body.find("at most ") != std::string::npos);
  }
}
