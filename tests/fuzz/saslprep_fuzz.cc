// tests/fuzz/saslprep_fuzz.cc - a password of any bytes is prepared within bounds; ASCII and long ones pass
// unchanged.
#include <algorithm>
#include <cstddef>
#include <cstdint>
#include <string>

#include "pooler/base/check.h"
#include "protocol/saslprep.h"

using namespace pgweir;
using namespace pgweir::protocol;

extern "C" int LLVMFuzzerTestOneInput(const std::uint8_t* data, std::size_t size) {
  const Bytes password(reinterpret_cast<const char*>(data), size);
  const std::string prepared = saslprep_password(password);
  PGWEIR_CHECK(prepared.empty() == password.empty());
  PGWEIR_CHECK(prepared.size() <= 18 * size);
  const bool ascii = std::all_of(data, data + size, [](std::uint8_t byte) { return byte < 0x80; });
  if (ascii || size > kSaslprepSizeMax) PGWEIR_CHECK(prepared == password);
  return 0;
}
