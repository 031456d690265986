// pooler/http_routes.h - what an HTTP request asks for, and whether it may have it. Pure.
#pragma once

#include <cstddef>
#include <cstdint>
#include <functional>
#include <map>
#include <optional>
#include <span>
#include <string>
#include <string_view>
#include <utility>
#include <variant>
#include <vector>

#include "pooler/base/network.h"

namespace pgweir::http {

using Parameters = std::multimap<std::string, std::string, std::less<>>;

struct Request {
  std::string method;
  std::string path;             // without what stands behind '?'
  std::string authorization{};  // the header; empty: none
  std::string host{};           // the same
  HostAddress from{};
  std::uint16_t port = 0;   // ... which it came from
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

// Behind a '?' there is nothing any more. `http://host/path`, as one asks a proxy, is the same as `/path`.
std::string_view path_of(std::string_view target);
// Answered before a body is read, which no page wants: nothing where it may be, and is dropped. `length` and
// `encoding`: Content-Length and Transfer-Encoding; empty: none.
std::optional<Response> refuse_body(const Request& request, std::string_view length,
                                    std::string_view encoding);
// The first line and all of the head, in bytes: what is longer than any request here needs to be is refused.
inline constexpr std::size_t kLineMost = 8 << 10, kHeadMost = 16 << 10;
std::optional<Response> refuse_size(const Request& request, std::size_t line, std::size_t head);
// The page, or the error.
std::variant<Page, Response> route(const Request& request);
Response unauthorized(Page page);

}  // namespace pgweir::http
