#include "pooler/net/address.h"

#include <arpa/inet.h>
#include <fmt/compile.h>
#include <fmt/format.h>
#include <uv.h>

#include <cstring>

namespace pgweir::net {

Address Address::unix_socket() {
  Address a;
  a.family_ = Family::Unix;
  return a;
}

Address Address::of(const sockaddr* from) {
  Address a;
  if (from->sa_family == AF_INET) {
    sockaddr_in v4;
    std::memcpy(&v4, from, sizeof v4);
    std::memcpy(a.ip_.data(), &v4.sin_addr, 4);
    a.port_ = ntohs(v4.sin_port);
    a.family_ = Family::V4;
  } else if (from->sa_family == AF_INET6) {
    sockaddr_in6 v6;
    std::memcpy(&v6, from, sizeof v6);
    const std::uint8_t* ip = v6.sin6_addr.s6_addr;
    const bool mapped = IN6_IS_ADDR_V4MAPPED(&v6.sin6_addr);
    std::memcpy(a.ip_.data(), mapped ? ip + 12 : ip, mapped ? 4 : 16);
    a.port_ = ntohs(v6.sin6_port);
    a.family_ = mapped ? Family::V4 : Family::V6;
  } else if (from->sa_family == AF_UNIX) {
    a.family_ = Family::Unix;
  }
  return a;
}

Peer Address::words() const {
  char out[INET6_ADDRSTRLEN] = {};
  switch (family_) {
    case Family::Unknown: return {};
    case Family::Unix: return {"unix", 0};
    case Family::V4:  // inet_ntop() is slow for what a console may show 20,000 times
      return {fmt::format(FMT_COMPILE("{}.{}.{}.{}"), ip_[0], ip_[1], ip_[2], ip_[3]), port_};
    case Family::V6: inet_ntop(AF_INET6, ip_.data(), out, sizeof out); break;
  }
  return {out, port_};
}

std::string text(const Endpoint& endpoint) {
  if (endpoint.is_unix()) return endpoint.host;
  const bool brackets = endpoint.host.find(':') != std::string::npos;
  return fmt::format(fmt::runtime(brackets ? "[{}]:{}" : "{}:{}"), endpoint.host, endpoint.port);
}

std::optional<sockaddr_storage> literal(const Endpoint& endpoint) {
  sockaddr_storage out{};
  sockaddr_in v4;
  sockaddr_in6 v6;
  if (uv_ip4_addr(endpoint.host.c_str(), endpoint.port, &v4) == 0) {
    std::memcpy(&out, &v4, sizeof v4);
  } else if (uv_ip6_addr(endpoint.host.c_str(), endpoint.port, &v6) == 0) {
    std::memcpy(&out, &v6, sizeof v6);
  } else {
    return {};
  }
  return out;
}

std::optional<sockaddr_un> unix_address(const std::string& path) {
  sockaddr_un out{};
  out.sun_family = AF_UNIX;
  if (path.size() >= sizeof out.sun_path) return {};
  std::memcpy(out.sun_path, path.c_str(), path.size() + 1);
  return out;
}

socklen_t length(const sockaddr_storage& address) {
  return address.ss_family == AF_INET6 ? sizeof(sockaddr_in6) : sizeof(sockaddr_in);
}

}  // namespace pgweir::net
