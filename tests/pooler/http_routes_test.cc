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
               {"GET", "/api/v1", "404"},
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
