#include "pooler/http_routes.h"

#include <fmt/format.h>

#include <algorithm>
#include <array>
#include <charconv>

#include "pooler/http_api.h"

namespace pgweir::http {

namespace {

struct Route {
  std::string_view path;
  Page page;
};
constexpr std::string_view kApi = "/api/v1/";
constexpr std::array kRoutes{Route{"/", Page::Status}, Route{"/metrics", Page::Metrics},
                             Route{"/healthz", Page::Alive}, Route{"/readyz", Page::Ready}};

// Of a GET; no page reads it.
constexpr std::uint64_t kBodyMost = 64 << 10;

bool only_reads(const Request& request) { return request.method == "GET" || request.method == "HEAD"; }
Response not_to_be_read() {
  return {
      .status = 405, .body = "Only GET and HEAD are answered here.\n", .headers = {{"Allow", "GET, HEAD"}}};
}

bool is_of_api(std::string_view path) {
  return path.starts_with(kApi) || path == kApi.substr(0, kApi.size() - 1);
}

// For the path that it asks for: programs read the API.
Response as_read(const Request& request, const Response& response) {
  return is_of_api(request.path) ? as_problem(response) : response;
}

}  // namespace

std::string_view path_of(std::string_view target) {
  constexpr std::string_view kSchemes[] = {"http://", "https://"};
  for (const std::string_view scheme : kSchemes) {
    if (target.size() < scheme.size() || !std::equal(scheme.begin(), scheme.end(), target.begin(),
                                                     [](char a, char b) { return a == (b | 0x20); }))
      continue;
    const std::size_t path = target.find('/', scheme.size());
    return path == std::string_view::npos ? "/" : target.substr(path);
  }
  return target;
}

std::optional<Response> refuse_body(const Request& request, std::string_view length,
                                    std::string_view encoding) {
  if (length.empty() && encoding.empty()) return std::nullopt;
  Response refused;
  if (!only_reads(request)) {
    refused = not_to_be_read();
  } else {
    std::uint64_t size = 0;
    const auto [end, error] = std::from_chars(length.data(), length.data() + length.size(), size);
    if (encoding.empty() && error == std::errc() && end == length.data() + length.size() && size <= kBodyMost)
      return std::nullopt;
    refused = {413, "No request here needs a body.\n"};
  }
  return as_read(request, refused);
}

std::optional<Response> refuse_size(const Request& request, std::size_t line, std::size_t head) {
  if (line > kLineMost)
    return as_read(request,
                   {414, fmt::format("The address of a request has at most {} bytes here.\n", kLineMost)});
  if (head > kHeadMost)
    return as_read(request,
                   {431, fmt::format("A request and its headers have at most {} bytes here.\n", kHeadMost)});
  return std::nullopt;
}

std::variant<Page, Response> route(const Request& request) {
  if (is_of_api(request.path)) return Page::Api;
  const auto* const found = std::find_if(kRoutes.begin(), kRoutes.end(),
                                         [&](const Route& one) { return one.path == request.path; });
  if (found == kRoutes.end()) {
    Response missing{404, "There is nothing here. Known:"};
    for (const Route& one : kRoutes) missing.body.append(" ").append(one.path);
    missing.body.append(" ").append(kApi).append("openapi.json\n");
    return missing;
  }
  if (!only_reads(request)) return not_to_be_read();
  return found->page;
}

Response unauthorized(Page page) {
  // A browser asks its user for a name and a password only where it is told so.
  const char* const way = page == Page::Metrics ? "Bearer realm=\"pgweir\"" : "Basic realm=\"pgweir\"";
  return {.status = 401,
          .body =
              "Show the token of http.metrics_token (Authorization: Bearer <token>), or the name and "
              "password of a user of the console. Without a token, hosts of http.allow need neither, "
              "unless a proxy asks for them, or, on this host, by a name with a dot.\n",
          .headers = {{"WWW-Authenticate", way}}};
}

}  // namespace pgweir::http
