// pooler/http_api.h - what is read under /api/v1: requests read into calls, and errors as RFC 9457 has them.
// Pure. pooler/openapi.json tells it to others.
#pragma once

#include <cstddef>
#include <cstdint>
#include <string>
#include <string_view>
#include <variant>

#include "pooler/http_routes.h"

namespace pgweir::http {

enum class Resource : std::uint8_t {
  Backends,
  Breakers,
  Document,
  Limits,
  Overview,
  Pools,
  Tenant,
  Tenants,
  Tiers,
  Version,
  Waiters,
  Workers
};

// A list comes in pages. What stands on the next one comes behind the row that `after` names, whose name may
// be gone by then.
struct Call {
  static constexpr std::uint32_t kLimit = 100, kLimitMax = 1000;
  Resource resource = Resource::Version;
  std::string name{};  // of a Tenant, or of the one that Limits are asked of
  std::uint32_t limit = kLimit;
  std::string after{};  // empty: from the first
  std::string like = "%";
};

inline constexpr const char* kJson = "application/json";

// Of a path under /api/v1/.
std::variant<Call, Response> parse_call(const Request& request);
Response problem(unsigned status, std::string_view title, std::string_view detail);
// The same error for programs.
Response as_problem(const Response& response);
// The header Link of a page behind which more rows stand.
std::string link_to_next(const Call& call, std::string_view after);

}  // namespace pgweir::http
