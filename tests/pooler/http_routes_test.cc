#include "pooler/http_routes.h"

#include <catch2/catch.hpp>

using namespace pgweir::http;

namespace {
std::string read(const char* method, const char* path) {
  const auto routed = route({method, path, ""});
  if (const auto* page = std::get_if<Page>(&routed)) {
    switch (*page) {
      case Page::Metrics: return "metrics";
      case Page::Alive: return "alive";
      case Page::Ready: return "ready";
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
               {"GET", "/", "404"},
               {"GET", "/metrics/", "404"},
               {"GET", "/METRICS", "404"},
               {"GET", "", "404"},
               {"DELETE", "/x", "404"}};
  for (const auto& one : cases) {
    INFO(one.method << " " << one.path);
    CHECK(read(one.method, one.path) == one.answer);
  }
}

TEST_CASE("a token must be shown whole, as a bearer") {
  const auto shows = [](const char* header, const char* token) {
    return authorized({"GET", "/metrics", header}, token);
  };
  CHECK(shows("", ""));
  CHECK(shows("Basic eA==", ""));
  CHECK(shows("Bearer secret", "secret"));
  CHECK(shows("bearer secret", "secret"));
  for (const char* wrong : {"", "secret", "Bearer", "Bearer ", "Bearer secre", "Bearer secrets",
                            "Bearer  secret", "Basic secret", "Bearer SECRET"}) {
    INFO(wrong);
    CHECK_FALSE(shows(wrong, "secret"));
  }
  CHECK(unauthorized().status == 401);
}
