// pooler/tenant_token.h - what tells Postgres for which tenant a server works, where tenants share a role.
//
// A token is text, and given to a server as the setting kTokenSetting before it runs anything of a tenant:
//
//   1.<key>.<expires>.<pid>.<tenant>.<mac>
//
// with the tenant's name in hexadecimal, the time in seconds since 1970, and the HMAC-SHA-256 of what stands
// before it, of the database and of the role. pgweir.tenant() of packaging/postgres/tenancy.sql reads it. It
// holds for one server process and until it expires: who has seen it cannot use it elsewhere or later, and
// who has not cannot make one. Pure: no clock, no chance.
#pragma once

#include <cstdint>
#include <memory>
#include <string>

#include "pooler/base/bytes.h"
#include "pooler/base/time.h"

namespace pgweir {

inline constexpr Bytes kTokenSetting = "pgweir.tenant_token";

class TenantTokens {
 public:
  struct Bearer {
    Bytes tenant, database, role;
    std::uint32_t pid = 0;
  };
  // What a server was told last; no tenant: nothing that may be relied on.
  struct Told {
    std::string tenant;
    std::string key;
    Time renew_at{};
  };

  // `life`: how long a token holds. It is renewed when half of that is over.
  TenantTokens(std::string secret, Duration life);

  // Whether a server that was told this must be told anew before it works for `tenant`.
  bool due(const Told& told, Bytes tenant, Time now) const {
    return told.tenant != tenant || told.key != key_ || now >= told.renew_at;
  }
  Told telling(Bytes tenant, Time now) const { return {std::string(tenant), key_, now + life_ / 2}; }
  // `wall_s`: seconds since 1970.
  std::string make(const Bearer& bearer, std::int64_t wall_s) const;

 private:
  std::string secret_;
  std::string key_;  // which secret: known by it to who has several
  Duration life_;
};

// What a server is to be told before it runs anything more.
struct Introduction {
  std::string token;
  TenantTokens::Told told;
};

}  // namespace pgweir
