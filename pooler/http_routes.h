// pooler/http_routes.h - what an HTTP request asks for, and whether it may have it. Pure.
#pragma once

#include <cstdint>
#include <functional>
#include <map>
#include <span>
#include <string>
#include <string_view>
#include <utility>
#include <variant>
#include <vector>

#include "pooler/base/network.h"

namespace pgweir::http {

using Parameters = std::map<std::string, std::string, std::less<>>;

struct Request {
  std::string method;
  std::string path;             // without what stands behind '?'
  std::string authorization{};  // the header; empty: none
  HostAddress from{};
  bool forwarded = false;   // a proxy says that it asks for somebody else
  Parameters parameters{};  // what stands behind '?'
};

struct Response {
  unsigned status = 200;
  std::string body;
  const char* type = "text/plain; charset=utf-8";
  std::vector<std::pair<const char*, std::string>> headers{};  // more of them, that this one needs
};

enum class Page : std::uint8_t { Metrics, Alive, Ready, Status, Api };

// The page, or the error.
std::variant<Page, Response> route(const Request& request);
Response unauthorized(Page page);

}  // namespace pgweir::http
