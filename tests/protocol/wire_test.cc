#include "protocol/wire.h"

#include <catch2/catch.hpp>

using namespace std::literals;
using namespace pgweir::protocol;

TEST_CASE("fields are read in network order until the message ends") {
  Reader in(
      "\x01\x02\x03\xff\xfe\xfd\xfc"
      "text\0"
      "ab"sv);
  CHECK(in.u8() == 1);
  CHECK(in.u16() == 0x0203);
  CHECK(in.u32() == 0xfffefdfc);
  CHECK(in.c_string() == "text");
  CHECK(in.bytes(1) == "a");
  CHECK(in.rest() == "b");
  CHECK(in.ok());
  CHECK_FALSE(in.empty());
}

TEST_CASE("past the end a reader answers nothing and stays failed") {
  struct Row {
    const char* what;
    void (*read)(Reader&);
  };
  const Row table[] = {
      {"u8", [](Reader& in) { CHECK(in.u8() == 0); }},
      {"u16", [](Reader& in) { CHECK(in.u16() == 0); }},
      {"u32", [](Reader& in) { CHECK(in.u32() == 0); }},
      {"bytes", [](Reader& in) { CHECK(in.bytes(5).empty()); }},
      {"all", [](Reader& in) { CHECK(in.bytes(std::string::npos).empty()); }},
      {"string", [](Reader& in) { CHECK(in.c_string().empty()); }},
  };
  for (const Row& row : table) {
    CAPTURE(row.what);
    Reader in(row.what == "u8"s ? ""sv : row.what == "u16"s ? "a"sv : "abc"sv);
    row.read(in);
    CHECK_FALSE(in.ok());
    CHECK(in.empty());
    CHECK(in.u8() == 0);
    CHECK(in.bytes(0).empty());
    CHECK_FALSE(in.ok());
  }
}

TEST_CASE("a message is as long as its length says, whatever was there before") {
  std::string out = "before";
  Writer(out, 'T').u8(1).u16(2).u32(3).bytes("\0b"sv).c_string("text");
  CHECK(out == "beforeT\0\0\0\x12\x01\0\x02\0\0\0\x03\0btext\0"s);
  out.clear();
  { Writer(out, 0); }
  CHECK(out == "\0\0\0\x04"s);
}

TEST_CASE("a NUL inside a text does not end it early for the reader") {
  std::string out;
  Writer(out, 'S').c_string("a\0b\0\0c"sv).c_string("\0"sv).c_string("d");
  CHECK(out.substr(5) == "abc\0\0d\0"s);
}

TEST_CASE("every 32-bit number survives") {
  for (std::uint64_t value = 1; value <= 0xffffffff; value = value * 3 + 1) {
    char bytes[4];
    store_u32(bytes, static_cast<std::uint32_t>(value));
    CHECK(load_u32(bytes) == value);
  }
}
