#include "protocol/saslprep.h"

#include <catch2/catch.hpp>
#include <string>

using pgweir::Bytes;
using pgweir::protocol::kSaslprepSizeMax;
using pgweir::protocol::saslprep_password;
using namespace std::literals;

TEST_CASE("a password is prepared as Postgres prepares it") {
  struct Row {
    const char* why;
    Bytes password, prepared;
  };
  const Row row = GENERATE(values<Row>({
      {"RFC 4013: soft hyphen maps to nothing", "I\u00adX", "IX"},
      {"RFC 4013: no transformation", "user", "user"},
      {"RFC 4013: case is kept", "USER", "USER"},
      {"RFC 4013: NFKC", "\u00aa", "a"},
      {"RFC 4013: NFKC", "\u2168", "IX"},
      {"a decomposed letter is composed", "u\u0308", "\u00fc"},
      {"a composed letter stays", "\u00fc", "\u00fc"},
      {"a space that is not ASCII becomes one", "a\u00a0b\u3000c\u200bd", "a b c d"},
      {"a byte order mark goes", "\ufeffab", "ab"},
      {"emoji are newer than Unicode 3.2: unchanged", "\U0001f600\u2168", "\U0001f600\u2168"},
      {"right to left is fine alone", "\u05d0\u05d1", "\u05d0\u05d1"},
      {"mixed directions: unchanged", "a\u05d0\u2168", "a\u05d0\u2168"},
      {"right to left must also end so: unchanged", "\u05d0\u06601\u00a0", "\u05d0\u06601\u00a0"},
      {"prohibited: unchanged", "\u2168\u0007", "\u2168\u0007"},
      {"prohibited before normalisation, though not after it: unchanged", "\u0340\u2168", "\u0340\u2168"},
      {"the direction counts before normalisation: alef symbol", "\u2135x", "\u05d0x"},
      {"nothing would be left: unchanged", "\u00ad\u200c", "\u00ad\u200c"},
      {"an ideograph that Unicode corrected", "\U0002f868", "\u36fc"},
      {"ASCII, even what SASLprep prohibits: unchanged", "a\x07\x7f b", "a\x07\x7f b"},
      {"not UTF-8: unchanged", "\u2168\xff", "\u2168\xff"},
      {"a lone surrogate is not UTF-8: unchanged", "\u2168\xed\xa0\x80", "\u2168\xed\xa0\x80"},
      {"an overlong NUL is not UTF-8: unchanged", "\u2168\xc0\x80", "\u2168\xc0\x80"},
      {"cut off in a character: unchanged", "\u2168\xe2\x85", "\u2168\xe2\x85"},
      {"a NUL inside: unchanged", "\u2168\0x"sv, "\u2168\0x"sv},
      {"nothing", "", ""},
  }));
  CAPTURE(row.why);
  CHECK(saslprep_password(row.password) == row.prepared);
}

TEST_CASE("a password too long for quadratic work passes unchanged") {
  std::string accents;
  while (accents.size() + 2 <= kSaslprepSizeMax) accents += "\u0301";
  accents.replace(0, 2, "\u00aa");
  CHECK(saslprep_password(accents).substr(0, 2) == "\u00e1");
  accents += "\u0301";
  CHECK(saslprep_password(accents) == accents);
}
