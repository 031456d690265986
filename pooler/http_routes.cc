#include "pooler/http_routes.h"

#include <algorithm>
#include <array>

#include "protocol/secret.h"

namespace pgweir::http {

namespace {

struct Route {
  std::string_view path;
  Page page;
};
constexpr std::array kRoutes{Route{"/metrics", Page::Metrics}, Route{"/healthz", Page::Alive},
                             Route{"/readyz", Page::Ready}};
constexpr std::string_view kScheme = "bearer ";

bool is_scheme(std::string_view text) {
  return std::equal(text.begin(), text.end(), kScheme.begin(), kScheme.end(),
                    [](char a, char b) { return (a >= 'A' && a <= 'Z' ? a | 0x20 : a) == b; });
}

}  // namespace

std::variant<Page, Response> route(const Request& request) {
  const auto* const found = std::find_if(kRoutes.begin(), kRoutes.end(),
                                         [&](const Route& one) { return one.path == request.path; });
  if (found == kRoutes.end()) {
    Response missing{404, "There is nothing here. Known:"};
    for (const Route& one : kRoutes) missing.body.append(" ").append(one.path);
    missing.body += '\n';
    return missing;
  }
  if (request.method != "GET" && request.method != "HEAD")
    return Response{.status = 405,
                    .body = "Only GET and HEAD are answered here.\n",
                    .header = "Allow",
                    .header_value = "GET, HEAD"};
  return found->page;
}

bool authorized(const Request& request, std::string_view token) {
  if (token.empty()) return true;
  const std::string_view given = request.authorization;
  return is_scheme(given.substr(0, kScheme.size())) &&
         protocol::equal_secret(given.substr(kScheme.size()), token);
}

Response unauthorized() {
  return {.status = 401,
          .body = "Show the token of http.metrics_token: Authorization: Bearer <token>.\n",
          .header = "WWW-Authenticate",
          .header_value = "Bearer realm=\"pgweir\""};
}

}  // namespace pgweir::http
