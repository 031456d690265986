#include "pooler/tenant_token.h"

#include <fmt/format.h>

#include <chrono>
#include <utility>

#include "protocol/digest.h"

namespace pgweir {

namespace {
constexpr std::size_t kKeyBytes = 8;

std::string hex(Bytes raw) {
  std::string out;
  for (const char c : raw) out += fmt::format("{:02x}", static_cast<unsigned char>(c));
  return out;
}
}  // namespace

// Nobody learns anything of the secret by the name of its key: it is a hash that is cut short.
TenantTokens::TenantTokens(std::string secret, Duration life)
    : secret_(std::move(secret)),
      key_(
          hex(protocol::as_bytes(protocol::hmac_sha256(secret_, "pgweir tenancy key")).substr(0, kKeyBytes))),
      life_(life) {}

std::string TenantTokens::make(const Bearer& bearer, std::int64_t wall_s) const {
  // The second that it is has begun, so the next one counts.
  const std::int64_t expires = wall_s + 1 + std::chrono::ceil<std::chrono::seconds>(life_).count();
  std::string token = fmt::format("1.{}.{}.{}.{}", key_, expires, bearer.pid, hex(bearer.tenant));
  const std::string signed_text = fmt::format("{}.{}.{}", token, hex(bearer.database), hex(bearer.role));
  token += "." + hex(protocol::as_bytes(protocol::hmac_sha256(secret_, signed_text)));
  return token;
}

}  // namespace pgweir
