#include "protocol/digest.h"

#include <catch2/catch.hpp>
#include <string>

#include "protocol/base64.h"

using namespace pgweir::protocol;

namespace {
std::string b64(const Sha256& digest) { return base64_encode(as_bytes(digest)); }
}  // namespace

TEST_CASE("the hashes are those of their standards") {
  CHECK(b64(sha256("abc")) == "ungWv48Bz+pBQUDeXa4iI7ADYaOWF3qctBD/YfIAFa0=");                        // FIPS 180-2
  CHECK(b64(sha256({})) == "47DEQpj8HBSa+/TImW+5JCeuQeRkm5NMpJWZG3hSuFU=");
  CHECK(b64(hmac_sha256("Jefe", "what do ya want for nothing?")) ==
        "W9zBRr9gdU5qBCQIlXXHWgA/CJ0nOYOdx1jslkyewDhD"
        "" +
            std::string());
  CHECK(md5_hex("") == "d41d8cd98f00b204e9800998ecf8427e");                                           // RFC 1321
  CHECK(md5_hex("message digest") == "f96b697d7cb7938d525a2f31aaf161d0");
}
