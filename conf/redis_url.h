// conf/redis_url.h - where a Redis is: redis://[user][:password@]host[:port][/database], rediss:// for TLS.
//
// Percent signs in user and password are decoded, IPv6 hosts stand in brackets. What would be ignored is an
// error. Errors never repeat the text, any part of which may be a secret.
#pragma once

#include <cstdint>
#include <string>
#include <string_view>

#include <tl/expected.hpp>

namespace pgweir::conf {

struct RedisUrl {
  bool tls = false;
  std::string host;
  std::uint16_t port = 6379;
  std::string user, password;  // empty: not given
  std::uint32_t database = 0;
};

tl::expected<RedisUrl, std::string> parse_redis_url(std::string_view text);

}  // namespace pgweir::conf
