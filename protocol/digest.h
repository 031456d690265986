// protocol/digest.h - the three hashes that Postgres logs in with. They cannot fail; libcrypto without one of
// them is a broken installation and stops the process.
#pragma once

#include <array>
#include <cstdint>
#include <string>

#include "pooler/base/bytes.h"

namespace pgweir::protocol {

using Sha256 = std::array<unsigned char, 32>;

inline Bytes as_bytes(const Sha256& digest) {
  return {reinterpret_cast<const char*>(digest.data()), digest.size()};
}

Sha256 sha256(Bytes data);
Sha256 hmac_sha256(Bytes key, Bytes data);
Sha256 pbkdf2_sha256(Bytes password, Bytes salt, std::uint32_t iterations);  // slow; iterations > 0
std::string md5_hex(Bytes data);                                             // 32 lower-case hex digits

// Compares in time that depends only on the lengths.
bool equal_constant_time(Bytes a, Bytes b);

// Empties `secret` so that its letters do not stay behind in memory.
void wipe(std::string& secret);

}  // namespace pgweir::protocol
