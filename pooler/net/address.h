// pooler/net/address.h - a socket address small enough to keep in every connection, and its text.
#pragma once

#include <netinet/in.h>
#include <sys/socket.h>
#include <sys/un.h>

#include <array>
#include <cstdint>
#include <optional>
#include <string>

#include "pooler/net/loop.h"
#include "pooler/net/stream.h"

namespace pgweir::net {

// IPv4 addresses that came over an IPv6 socket are kept and shown as IPv4.
class Address {
 public:
  Address() = default;
  static Address unix_socket();
  static Address of(const sockaddr* from);
  bool is_unix() const { return family_ == Family::Unix; }
  Peer words() const;  // host empty when unknown

 private:
  enum class Family : std::uint8_t { Unknown, V4, V6, Unix };
  std::array<std::uint8_t, 16> ip_{};
  std::uint16_t port_ = 0;
  Family family_ = Family::Unknown;
};

// "db.example:5432", "[::1]:5432" or the path.
std::string text(const Endpoint& endpoint);
// The address that an IPv4 or IPv6 literal (with or without a zone) stands for; none for names.
std::optional<sockaddr_storage> literal(const Endpoint& endpoint);
// None when the path is too long for the kernel.
std::optional<sockaddr_un> unix_address(const std::string& path);
socklen_t length(const sockaddr_storage& address);

}  // namespace pgweir::net
