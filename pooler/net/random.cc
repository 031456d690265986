#include "pooler/net/random.h"

#include <sys/random.h>

#include <cerrno>

#include "pooler/base/check.h"

namespace pgweir::net {

void SystemRng::fill(void* out, std::size_t size) {
  char* at = static_cast<char*>(out);
  while (size > 0) {
    const ssize_t got = getrandom(at, size, 0);
    PGWEIR_CHECK(got > 0 || errno == EINTR);
    if (got <= 0) continue;
    at += got;
    size -= static_cast<std::size_t>(got);
  }
}

}  // namespace pgweir::net
