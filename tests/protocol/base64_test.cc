#include "protocol/base64.h"

#include <catch2/catch.hpp>
#include <string>

using namespace std::literals;
using pgweir::Bytes;
using pgweir::protocol::base64_decode;
using pgweir::protocol::base64_encode;

TEST_CASE("base64 speaks the examples of RFC 4648") {
  struct Row {
    Bytes raw, text;
  };
  constexpr Row kRows[] = {
      {"", ""},
      {"f", "Zg=="},
      {"fo", "Zm8="},
      {"foo", "Zm9v"},
      {"foob", "Zm9vYg=="},
      {"fooba", "Zm9vYmE="},
      {"foobar", "Zm9vYmFy"},
      {"\xff\xef\xbe", "/+++"},
  };
  for (const auto& row : kRows) {
    CAPTURE(row.text);
    CHECK(base64_encode(row.raw) == row.text);
    CHECK(base64_decode(row.text, 100) == std::string(row.raw));
  }
}

TEST_CASE("every value has one base64 spelling, and any other is refused") {
  const Bytes text =
      GENERATE("Z"sv, "Zg"sv, "Zg="sv, "Zm9"sv, "Zh=="sv, "Zm9="sv, "Zg==Zg=="sv, "===="sv, "=m9v"sv,
               "Z==="sv, "Zm 9"sv, "Zm9\n"sv, "Zm9v\n"sv, "Zm-v"sv, "Zm\x00v"sv, "Zm\xffv"sv, "Zg=v"sv);
  CAPTURE(text);
  CHECK_FALSE(base64_decode(text, 100));
}

TEST_CASE("base64 for more bytes than allowed is refused") {
  CHECK(base64_decode("Zm9v", 3));
  CHECK_FALSE(base64_decode("Zm9v", 2));
  CHECK(base64_decode("Zm8=", 2));
  CHECK_FALSE(base64_decode(std::string(1 << 20, 'A'), 1024));
}

TEST_CASE("every byte survives base64") {
  std::string raw;
  for (int i = 0; i < 256; ++i) {
    raw.push_back(static_cast<char>(i));
    CHECK(base64_decode(base64_encode(raw), raw.size()) == raw);
  }
}
