#include "pooler/login_policy.h"

#include <algorithm>

namespace pgweir {

ServerLogin::Policy login_policy(const BackendView& backend, bool plain_refused) {
  ServerLogin::Policy policy;
  switch (backend.settings.tls_mode) {
    case conf::TlsMode::Disable: policy.tls = ServerLogin::Tls::Never; break;
    case conf::TlsMode::Allow:
      policy.tls = plain_refused ? ServerLogin::Tls::Always : ServerLogin::Tls::Never;
      break;
    case conf::TlsMode::Prefer: policy.tls = ServerLogin::Tls::IfOffered; break;
    case conf::TlsMode::Require:
    case conf::TlsMode::VerifyCa:
    case conf::TlsMode::VerifyFull: policy.tls = ServerLogin::Tls::Always; break;
  }
  if (backend.is_unix()) policy.tls = ServerLogin::Tls::Never;
  const bool verified = backend.settings.tls_mode == conf::TlsMode::VerifyFull;
  policy.clear_password = backend.is_unix() || verified;
  const auto& pinned = backend.settings.auth_methods;
  if (!pinned.empty()) {
    const auto has = [&pinned](std::string_view method) {
      return std::find(pinned.begin(), pinned.end(), method) != pinned.end();
    };
    policy.trust = has("trust");
    policy.md5 = has("md5");
    policy.scram = has("scram-sha-256");
    policy.password = has("password");
  }
  return policy;
}

}  // namespace pgweir
