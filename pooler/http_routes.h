// pooler/http_routes.h - what an HTTP request asks for, and whether it may have it. Pure.
#pragma once

#include <cstdint>
#include <string>
#include <string_view>
#include <variant>

namespace pgweir::http {

struct Request {
  std::string method;
  std::string path;           // without what stands behind '?'
  std::string authorization;  // the header; empty: none
};

struct Response {
  unsigned status = 200;
  std::string body;
  const char* type = "text/plain; charset=utf-8";
  const char* header = nullptr;  // one more, that this status needs
  const char* header_value = nullptr;
};

enum class Page : std::uint8_t { Metrics, Alive, Ready };

// The page, or the error.
std::variant<Page, Response> route(const Request& request);
// Whether the request shows this token; any does when it is empty.
bool authorized(const Request& request, std::string_view token);
Response unauthorized();

}  // namespace pgweir::http
