#include "protocol/digest.h"

#include <openssl/crypto.h>
#include <openssl/evp.h>

#include <climits>
#include <cstddef>

#include "pooler/base/check.h"

namespace pgweir::protocol {
namespace {

const unsigned char* data_of(Bytes bytes) {
  // An empty view may hold a null pointer, which libcrypto takes for "no key" or "no salt".
  return reinterpret_cast<const unsigned char*>(bytes.empty() ? "" : bytes.data());
}

}  // namespace

Sha256 sha256(Bytes data) {
  Sha256 digest{};
  std::size_t size = 0;
  const int ok = EVP_Q_digest(nullptr, "SHA256", nullptr, data.data(), data.size(), digest.data(), &size);
  PGWEIR_CHECK(ok == 1 && size == digest.size());
  return digest;
}

Sha256 hmac_sha256(Bytes key, Bytes data) {
  Sha256 digest{};
  std::size_t size = 0;
  const auto* made = EVP_Q_mac(nullptr, "HMAC", nullptr, "SHA256", nullptr, data_of(key), key.size(),
                               data_of(data), data.size(), digest.data(), digest.size(), &size);
  PGWEIR_CHECK(made != nullptr && size == digest.size());
  return digest;
}

Sha256 pbkdf2_sha256(Bytes password, Bytes salt, std::uint32_t iterations) {
  PGWEIR_CHECK(password.size() <= INT_MAX && salt.size() <= INT_MAX);
  PGWEIR_CHECK(iterations > 0 && iterations <= INT_MAX);
  Sha256 key{};
  const int ok =
      PKCS5_PBKDF2_HMAC(reinterpret_cast<const char*>(data_of(password)), static_cast<int>(password.size()),
                        data_of(salt), static_cast<int>(salt.size()), static_cast<int>(iterations),
                        EVP_sha256(), static_cast<int>(key.size()), key.data());
  PGWEIR_CHECK(ok == 1);
  return key;
}

std::string md5_hex(Bytes data) {
  constexpr std::string_view kHexDigits = "0123456789abcdef";
  std::array<unsigned char, 16> digest{};
  std::size_t size = 0;
  // "-fips": where the machine's default is FIPS-only, MD5 is still what Postgres asks for.
  const int ok = EVP_Q_digest(nullptr, "MD5", "-fips", data.data(), data.size(), digest.data(), &size);
  PGWEIR_CHECK(ok == 1 && size == digest.size());
  std::string hex;
  hex.reserve(2 * digest.size());
  for (const unsigned char byte : digest) {
    hex.push_back(kHexDigits[byte >> 4]);
    hex.push_back(kHexDigits[byte & 15]);
  }
  return hex;
}

bool equal_constant_time(Bytes a, Bytes b) {
  return a.size() == b.size() && (a.empty() || CRYPTO_memcmp(a.data(), b.data(), a.size()) == 0);
}

void wipe(std::string& secret) {
  OPENSSL_cleanse(secret.data(), secret.size());
  secret.clear();
}

}  // namespace pgweir::protocol
