#include "pooler/http_api.h"

#include <fmt/format.h>

#include <algorithm>
#include <array>
#include <charconv>
#include <nlohmann/json.hpp>

#include "pooler/base/quoted.h"
#include "protocol/base64.h"

namespace pgweir::http {

namespace {

constexpr std::size_t kNameBytes = 1024;  // of a cursor: three names

enum class Takes : std::uint8_t { Nothing, Limit, Page, PageAndPattern };
struct Row {
  std::string_view path;  // behind /api/v1/
  Resource resource;
  Takes takes = Takes::Nothing;
};
constexpr std::array kRows{Row{"backends", Resource::Backends},
                           Row{"breakers", Resource::Breakers, Takes::Page},
                           Row{"openapi.json", Resource::Document},
                           Row{"overview", Resource::Overview},
                           Row{"pools", Resource::Pools, Takes::Page},
                           Row{"tenants", Resource::Tenants, Takes::PageAndPattern},
                           Row{"tiers", Resource::Tiers},
                           Row{"version", Resource::Version},
                           Row{"waiters", Resource::Waiters, Takes::Limit},
                           Row{"workers", Resource::Workers}};
constexpr std::string_view kBase = "/api/v1/";
// Behind these stands the name of a tenant, whatever is in it.
struct Named {
  std::string_view front;
  Resource resource;
};
constexpr std::array kNamed{Named{"tenants/", Resource::Tenant}, Named{"limits/", Resource::Limits}};

bool takes(Takes what, std::string_view parameter) {
  if (parameter == "limit") return what != Takes::Nothing;
  if (parameter == "cursor") return what == Takes::Page || what == Takes::PageAndPattern;
  return parameter == "like" && what == Takes::PageAndPattern;
}

Response bad_parameter(std::string detail) { return problem(400, "Bad parameter", detail); }

// For a query: what is neither a letter, a digit nor harmless becomes %xx.
std::string escaped(std::string_view text) {
  std::string out;
  for (const char c : text) {
    const bool plain = (c >= '0' && c <= '9') || (c >= 'a' && c <= 'z') || (c >= 'A' && c <= 'Z') ||
                       c == '-' || c == '_' || c == '.';
    if (plain)
      out += c;
    else
      out += fmt::format("%{:02X}", static_cast<unsigned char>(c));
  }
  return out;
}

std::string_view path_of(Resource resource) {
  return std::find_if(kRows.begin(), kRows.end(), [&](const Row& row) { return row.resource == resource; })
      ->path;
}

}  // namespace

Response problem(unsigned status, std::string_view title, std::string_view detail) {
  const nlohmann::json body{
      {"type", "about:blank"}, {"title", title}, {"status", status}, {"detail", detail}};
  return {.status = status,
          .body = body.dump(-1, ' ', false, nlohmann::json::error_handler_t::replace) + "\n",
          .type = "application/problem+json"};
}

Response as_problem(const Response& response) {
  const char* const title = response.status == 401   ? "Unauthorized"
                            : response.status == 405 ? "Method not allowed"
                            : response.status == 413 ? "Content too large"
                            : response.status == 414 ? "URI too long"
                            : response.status == 431 ? "Request header fields too large"
                            : response.status == 503 ? "Service unavailable"
                                                     : "Error";
  std::string detail = response.body;
  while (detail.ends_with('\n')) detail.pop_back();
  Response made = problem(response.status, title, detail);
  made.headers = response.headers;
  return made;
}

std::variant<Call, Response> parse_call(const Request& request) {
  if (request.method != "GET" && request.method != "HEAD") {
    Response refused = problem(405, "Method not allowed", "Only GET and HEAD are answered here.");
    refused.headers = {{"Allow", "GET, HEAD"}};
    return refused;
  }
  const std::string_view path =
      std::string_view(request.path).substr(std::min(kBase.size(), request.path.size()));
  Call call;
  Takes allowed = Takes::Nothing;
  const auto* const named = std::find_if(kNamed.begin(), kNamed.end(), [&](const Named& one) {
    return path.starts_with(one.front) && path.size() > one.front.size();
  });
  if (named != kNamed.end()) {
    call.resource = named->resource;
    call.name = path.substr(named->front.size());
  } else {
    const auto* const row =
        std::find_if(kRows.begin(), kRows.end(), [&](const Row& one) { return one.path == path; });
    if (row == kRows.end())
      return problem(404, "Not found",
                     "There is no such resource. /api/v1/openapi.json lists those there are.");
    call.resource = row->resource;
    allowed = row->takes;
  }
  for (const auto& [name, value] : request.parameters) {
    if (!takes(allowed, name))
      return bad_parameter("There is no parameter " + pgweir::quoted(name) + " here.");
    if (request.parameters.count(name) > 1)
      return bad_parameter("The parameter " + pgweir::quoted(name) + " is given twice.");
    if (name == "like") {
      call.like = value;
    } else if (name == "cursor") {
      auto after = protocol::base64_decode(value, kNameBytes);
      if (!after) return bad_parameter("The cursor must be one from a Link header of this list.");
      call.after = std::move(*after);
    } else {
      const auto [end, error] = std::from_chars(value.data(), value.data() + value.size(), call.limit);
      if (error != std::errc() || end != value.data() + value.size() || call.limit == 0 ||
          call.limit > Call::kLimitMax)
        return bad_parameter(
            fmt::format("limit must lie between 1 and {}, not {}.", Call::kLimitMax, pgweir::quoted(value)));
    }
  }
  return call;
}

std::string link_to_next(const Call& call, std::string_view after) {
  std::string link = fmt::format("<{}{}?limit={}&cursor={}", kBase, path_of(call.resource), call.limit,
                                 escaped(protocol::base64_encode(after)));
  if (call.like != "%") link += "&like=" + escaped(call.like);
  return link + ">; rel=\"next\"";
}

}  // namespace pgweir::http
