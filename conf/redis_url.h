// conf/redis_url.h - where a Redis is: redis://[user][:password@]host[:port][/database], rediss:// for TLS;
// or which sentinels know that: redis+sentinel://[user][:password@]host[:port][,host ...]/master[/database].
//
// Percent signs in user and password are decoded, IPv6 hosts stand in brackets. What would be ignored is an
// error. Errors never repeat the text, any part of which may be a secret.
#pragma once

#include <cstdint>
#include <string>
#include <string_view>
#include <vector>

#include <tl/expected.hpp>

namespace pgweir::conf {

struct RedisUrl {
  struct Host {
    std::string name;
    std::uint16_t port = 0;
  };
  bool tls = false;
  std::vector<Host> hosts;     // the Redis; or, of a `master`, the sentinels
  std::string master;          // empty: without sentinels
  std::string user, password;  // of Redis; empty: not given
  std::uint32_t database = 0;
};

tl::expected<RedisUrl, std::string> parse_redis_url(std::string_view text);

}  // namespace pgweir::conf
