// pooler/redis_settings.h - which Redis, and how to log in to it.
#pragma once

#include <memory>
#include <string>
#include <vector>

#include "pooler/base/time.h"
#include "pooler/net/loop.h"
#include "pooler/net/tls.h"

namespace pgweir {

struct RedisSettings {
  net::Endpoint endpoint;                // where there are no sentinels
  std::vector<net::Endpoint> sentinels;  // they know where the master is
  std::string master;                    // its name
  std::shared_ptr<net::TlsContext> tls;  // null: in the open
  std::string user, password;
  std::uint32_t database = 0;
  Duration timeout{};
  Duration usage_kept{};  // a row of it, after it was written last
};

}  // namespace pgweir
