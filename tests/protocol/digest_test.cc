#include "protocol/digest.h"

#include <catch2/catch.hpp>
#include <string>

#include "protocol/base64.h"

using namespace pgweir::protocol;

namespace {
std::string text(const Sha256& digest) { return base64_encode(as_bytes(digest)); }
}  // namespace

TEST_CASE("the hashes answer as their standards say") {
  CHECK(text(sha256("abc")) == "ungWv48Bz+pBQUDeXa4iI7ADYaOWF3qctBD/YfIAFa0=");  // FIPS 180-2
  CHECK(text(hmac_sha256("Jefe", "what do ya want for nothing?")) ==             // RFC 4231
        "W9zBRr9gdU5qBCQmCJV1x1oAPwidJzmDnexYuWTsOEM=");
  CHECK(text(pbkdf2_sha256("passwd", "salt", 1)) ==  // RFC 7914
        "VawEblbjCJ/sFpHCJUS2BflBhSFt3gRl5oudV8INrLw=");
  CHECK(text(pbkdf2_sha256("Password", "NaCl", 80'000)) == "TdzY9guYviGDDO5e8icB+WQaRBjQTAQUrv8Ih2s0q1Y=");
  CHECK(md5_hex("message digest") == "f96b697d7cb7938d525a2f31aaf161d0");  // RFC 1321
}

TEST_CASE("the hashes take empty views") {
  CHECK(text(sha256({})) == "47DEQpj8HBSa+/TImW+5JCeuQeRkm5NMpJWZG3hSuFU=");
  CHECK(text(hmac_sha256({}, {})) == "thNnmggU2ex3L5XXeMNfxf8Wl8STcVZTxscSFEKSxa0=");
  CHECK(text(pbkdf2_sha256({}, "salt", 2)) == "YjhEZiZNqtxBRAGMa9hkZIJys02omA0xUh/8zpKuADs=");
  CHECK(md5_hex({}) == "d41d8cd98f00b204e9800998ecf8427e");
  CHECK(equal_constant_time({}, ""));
}
