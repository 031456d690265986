#include "conf/hosts.h"

#include <algorithm>
#include <charconv>

#include "pooler/base/check.h"
#include "pooler/base/quoted.h"

namespace pgweir::conf {

tl::expected<HostPort, std::string> parse_host(std::string_view text, std::uint16_t port) {
  const std::string_view whole = text;
  const auto wrong = [whole](const std::string& why) {
    return tl::unexpected("must be a host, host:port or [IPv6 address]:port, not " + quoted(whole) + why);
  };
  std::string_view host = text, number;
  bool has_port = false;
  if (text.starts_with('[')) {
    const std::size_t end = text.find(']');
    if (end == std::string_view::npos) return wrong(", whose '[' has no ']'");
    host = text.substr(1, end - 1);
    if (std::count(host.begin(), host.end(), ':') < 2)
      return wrong(", which has no IPv6 address in brackets");
    text.remove_prefix(end + 1);
    if (!text.empty() && text[0] != ':') return wrong("");
    has_port = !text.empty();
    number = text.substr(std::min<std::size_t>(1, text.size()));
  } else if (std::count(text.begin(), text.end(), ':') == 1) {
    const std::size_t colon = text.find(':');
    host = text.substr(0, colon);
    number = text.substr(colon + 1);
    has_port = true;
  }
  if (host.empty()) return wrong(", which names no host");
  if (!has_port) return HostPort{std::string(host), port};
  std::uint16_t given = 0;
  const auto [end, error] = std::from_chars(number.data(), number.data() + number.size(), given);
  if (error != std::errc() || end != number.data() + number.size() || given == 0)
    return wrong("; a port is a number between 1 and 65535");
  return HostPort{std::string(host), given};
}

std::vector<HostPort> hosts_of(const Backend& backend) {
  if (backend.hosts.empty()) return {{backend.host, backend.port}};
  std::vector<HostPort> hosts;
  for (const std::string& text : backend.hosts) {
    auto read = parse_host(text, backend.port);
    PGWEIR_CHECK(read.has_value());
    hosts.push_back(std::move(*read));
  }
  return hosts;
}

}  // namespace pgweir::conf
