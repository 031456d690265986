// pooler/redis_settings.h - which Redis, and how to log in to it.
#pragma once

#include <memory>
#include <string>

#include "pooler/base/time.h"
#include "pooler/net/loop.h"
#include "pooler/net/tls.h"

namespace pgweir {

struct RedisSettings {
  net::Endpoint endpoint;
  std::shared_ptr<net::TlsContext> tls;  // null: in the open
  std::string user, password;
  std::uint32_t database = 0;
  Duration timeout{};
};

}  // namespace pgweir
