#include "pooler/http_routes.h"

#include <algorithm>
#include <array>

namespace pgweir::http {

namespace {

struct Route {
  std::string_view path;
  Page page;
};
constexpr std::string_view kApi = "/api/v1/";
constexpr std::array kRoutes{Route{"/", Page::Status}, Route{"/metrics", Page::Metrics},
                             Route{"/healthz", Page::Alive}, Route{"/readyz", Page::Ready}};

}  // namespace

std::variant<Page, Response> route(const Request& request) {
  if (request.path.starts_with(kApi)) return Page::Api;
  const auto* const found = std::find_if(kRoutes.begin(), kRoutes.end(),
                                         [&](const Route& one) { return one.path == request.path; });
  if (found == kRoutes.end()) {
    Response missing{404, "There is nothing here. Known:"};
    for (const Route& one : kRoutes) missing.body.append(" ").append(one.path);
    missing.body.append(" ").append(kApi).append("openapi.json\n");
    return missing;
  }
  if (request.method != "GET" && request.method != "HEAD")
    return Response{
        .status = 405, .body = "Only GET and HEAD are answered here.\n", .headers = {{"Allow", "GET, HEAD"}}};
  return found->page;
}

Response unauthorized(Page page) {
  // A browser asks its user for a name and a password only where it is told so.
  const char* const way = page == Page::Metrics ? "Bearer realm=\"pgweir\"" : "Basic realm=\"pgweir\"";
  return {.status = 401,
          .body =
              "Show the token of http.metrics_token (Authorization: Bearer <token>), or the name and "
              "password of a user of the console. Without a token, hosts of http.allow need neither.\n",
          .headers = {{"WWW-Authenticate", way}}};
}

}  // namespace pgweir::http
