// conf/hosts.h - the hosts of a backend: "db", "db:5433", "[fd00::1]:5432", "fd00::1",
// "/run/postgresql:5433".
#pragma once

#include <cstdint>
#include <string>
#include <string_view>
#include <vector>

#include <tl/expected.hpp>

#include "conf/config.h"

namespace pgweir::conf {

struct HostPort {
  std::string host;  // without brackets
  std::uint16_t port = 0;
  friend bool operator==(const HostPort&, const HostPort&) = default;
};

// `port` is that of hosts that name none. The error is a sentence without a subject. Whether the host itself
// can be one is not looked at.
tl::expected<HostPort, std::string> parse_host(std::string_view text, std::uint16_t port);

// At least one; of a backend whose settings have been checked.
std::vector<HostPort> hosts_of(const Backend& backend);

}  // namespace pgweir::conf
