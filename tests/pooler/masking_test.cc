#include "pooler/masking.h"

#include <catch2/catch.hpp>

#include <cstdint>
#include <iterator>
#include <string>

using pgweir::masked;

TEST_CASE("what no log may keep is taken out") {
  const struct {
    const char *text, *left;
  } cases[] = {
      {"user \"bob.b+x@mail.example.com\" is unknown", "user \"***@mail.example.com\" is unknown"},
      {"Write to a@b.co.", "Write to ***@b.co."},
      {"card 4111 1111 1111 1111 ok", "card ***1111 ok"},
      {"4111-1111-1111-1111", "***1111"},
      {"378282246310005", "***0005"},
      {"postgres://bob:pa@ss/w@db:5432/x", "postgres://bob:***@db:5432/x"},
      {"password=hush", "password=***"},
      {"host=x password='hu sh' port=1", "host=x password='***' port=1"},
      {"ALTER USER u PASSWORD 'x y'", "ALTER USER u PASSWORD '***'"},
      {"{\"token\": \"abc\", \"n\": 1}", "{\"token\": \"***\", \"n\": 1}"},
      {"api_key: abc, next", "api_key: ***, next"},
      {"Authorization: Bearer abcdefgh12345", "Authorization: ***"},
      {"saw Bearer abcdefgh12345", "saw Bearer ***"},
      {"key sk_live_0123456789abcdef0", "key ***"},
      {"jwt eyJhbGciOiJIUzI1NiJ9.eyJzdWIiOiIxIn0.abc_-x!", "jwt ***!"},
  };
  for (const auto& one : cases) {
    INFO(one.text);
    CHECK(masked(one.text) == one.left);
  }
}

TEST_CASE("what only looks a little like it stays") {
  for (const char* text : {"", "password authentication failed for user \"bob\"", "4111 1111 1111 1112",
                           "123456789012", "a@b", "@", "x @ y.z", "550e8400-e29b-41d4-a716-446655440000",
                           "127.0.0.1:5432", "tenant acme-1 at 2026-11-21 11:12:13", "token is missing",
                           "a.b.c", "://", "skating is fine", "host db.example.com:5432", "bearer of news"}) {
    INFO(text);
    CHECK(masked(text) == text);
  }
}

TEST_CASE("any bytes can be masked, and nothing comes in but the mask") {
  const std::string parts[] = {"@",   "a", ".",   "4111111111111111", " ", "password", "=", "'", "://", ":",
                               "eyJ", "-", "\xff"};
  std::uint64_t seed = 7;
  for (int round = 0; round < 3000; ++round) {
    std::string text;
    for (int i = 0; i < 12; ++i) {
      seed = seed * 6364136223846793005ULL + 1442695040888963407ULL;
      text += parts[(seed >> 33) % std::size(parts)];
    }
    INFO(text);
    const std::string once = masked(text);
    std::size_t from = 0;
    for (const char c : once) {
      if (c == '*') continue;
      from = text.find(c, from);
      REQUIRE(from != std::string::npos);
      ++from;
    }
  }
}
