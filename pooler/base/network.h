// pooler/base/network.h - addresses of hosts, and networks as 10.0.0.0/8 or fd00::/8 names them.
//
// IPv4 stands in both as IPv6 maps it, so that a client is the same whichever socket it came by.
#pragma once

#include <arpa/inet.h>

#include <array>
#include <charconv>
#include <cstddef>
#include <cstdint>
#include <cstring>
#include <optional>
#include <string>
#include <string_view>

namespace pgweir {

using HostAddress = std::array<std::uint8_t, 16>;

inline HostAddress mapped(const in_addr& v4) {
  HostAddress address{};
  address[10] = address[11] = 0xff;
  std::memcpy(&address[12], &v4, sizeof v4);
  return address;
}

struct Network {
  HostAddress first{};
  std::size_t bits = 0;  // of it that all of its hosts share

  bool has(const HostAddress& host) const {
    for (std::size_t i = 0; i < bits; ++i)
      if (((first[i / 8] ^ host[i / 8]) >> (7 - i % 8) & 1) != 0) return false;
    return true;
  }
};

// An address with or without the length of a prefix. Nothing where it is none, or where bits stand behind the
// prefix: whoever wrote them meant something else.
inline std::optional<Network> parse_network(std::string_view text) {
  const std::size_t slash = text.find('/');
  const std::string host(text.substr(0, slash));
  Network network;
  std::size_t most = 0;
  in_addr v4{};
  if (::inet_pton(AF_INET, host.c_str(), &v4) == 1) {
    network.first = mapped(v4);
    most = 32;
  } else if (::inet_pton(AF_INET6, host.c_str(), network.first.data()) == 1) {
    most = 128;
  } else {
    return std::nullopt;
  }
  std::size_t given = most;
  if (slash != std::string_view::npos) {
    const std::string_view number = text.substr(slash + 1);
    const auto [end, error] = std::from_chars(number.data(), number.data() + number.size(), given);
    if (error != std::errc() || end != number.data() + number.size() || given > most) return std::nullopt;
  }
  network.bits = 128 - most + given;
  for (std::size_t i = network.bits; i < 128; ++i)
    if ((network.first[i / 8] >> (7 - i % 8) & 1) != 0) return std::nullopt;
  return network;
}

inline bool is_loopback(const HostAddress& host) {
  return parse_network("127.0.0.0/8")->has(host) || parse_network("::1")->has(host);
}

// Whether only this machine reaches a socket that listens there.
inline bool is_loopback(std::string_view address) {
  if (address == "localhost") return true;
  const auto given = parse_network(address);
  return given && given->bits == 128 && is_loopback(given->first);
}

}  // namespace pgweir
