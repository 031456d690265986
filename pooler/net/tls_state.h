// pooler/net/tls_state.h - what a TlsContext holds, for those in this folder who know OpenSSL.
#pragma once

#include <openssl/ssl.h>

#include <memory>
#include <string>

#include "pooler/net/tls.h"

namespace pgweir::net {

struct TlsContext::State {
  struct Free {
    void operator()(SSL_CTX* context) const { SSL_CTX_free(context); }
  };
  std::unique_ptr<SSL_CTX, Free> ssl;
  bool accepting = false;
  bool verify_name = false;
};

// The key log of the accepting side: the engine that is inside a call in this thread wants its secrets.
void hear_tls_secret(const SSL*, const char* line);

// The reason of the first error in OpenSSL's queue of this thread, which is emptied.
std::string take_ssl_error();

}  // namespace pgweir::net
