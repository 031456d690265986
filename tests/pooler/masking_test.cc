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
      {"access_token=hunter2", "access_token=***"},
      {"client_secret=hunter2&x=1", "client_secret=***&x=1"},
      {"PGPASSWORD=hunter2 psql", "PGPASSWORD=*** psql"},
      {"psql --password=hunter2", "psql --password=***"},
      {"x-api-key: hunter2", "x-api-key: ***"},
      {"-c app.token=hunter2", "-c app.token=***"},
      {"secret_access_key=hunter2 api.key=hunter2", "secret_access_key=*** api.key=***"},
      {"AccessKey=hunter2", "AccessKey=***"},
      {"db_passwd: hunter2, pass=hunter2", "db_passwd: ***, pass=***"},
      {"user_password='hun ter2'", "user_password='***'"},
      {"{'refresh_token': 'hunter2'}", "{'refresh_token': '***'}"},
      {"a%20password=hunter2", "a%20password=***"},
      {"github_pat_11ABCDEFG0hunter2abcdefXYZ", "***"},
      {"glpat-hunter2hunter2abcd.", "***"},
      {"rk_live_hunter2hunter2abcd", "***"},
      {"AIzahunter2hunter2abcdefghij", "***"},
      {"xoxa-2-hunter2hunter2 xoxr-hunter2hunter2hu", "*** ***"},
      {"ghs_hunter2hunter2hunter2", "***"},
      {"Basic YWxpY2U6aHVudGVyMmh1bnRlcg==", "Basic ***"},
      {"b\xc3\xb6"
       "b@m\xc3\xbcnchen.de",
       "***@m\xc3\xbcnchen.de"},
      {"j\xc3\xb6rg@example.com", "***@example.com"},
      {"to=bob%40example.com&x", "to=***%40example.com&x"},
      {"4111.1111.1111.1111", "***1111"},
      {"card 4111_1111_1111_1111, ok", "card ***1111, ok"},
      {"3782.822463.10005", "***0005"},
      {"card-4111111111111111", "card-***1111"},
      {"user.4111111111111111", "user.***1111"},
      {"+4111111111111111 %4111111111111111", "+***1111 %***1111"},
      {"id-4111-1111-1111-1111", "id-***1111"},
      {"SCRAM-SHA-256$4096:c2FsdA==$c3RvcmVk:c2VydmVy.", "SCRAM-SHA-256$***"},
      {"is md5c1adc2b4f4b5f1d0a1b2c3d4e5f60718, ok", "is md5***, ok"},
      {"password hunter2", "password ***"},
      {"password='a''hunter2' x", "password='***' x"},
      {"password=a,hunter2", "password=***"},
      {"password%3Dhunter2", "password%3D***"},
      {"pw=hunter2 passcode=hunter2", "pw=*** passcode=***"},
      {"credential=hunter2 credentials: hunter2 auth=hunter2", "credential=*** credentials: *** auth=***"},
      {"postgres://bob:pa'hunter2@db/x", "postgres://bob:***@db/x"},
      {"postgres://bob:pa hunter2@db/x", "postgres://bob:***@db/x"},
      {"card4111111111111111", "card***1111"},
      {"cc_4111111111111111", "cc_***1111"},
      {"4111/1111/1111/1111", "***1111"},
      {"4111:1111:1111:1111", "***1111"},
      {"4111\t1111\t1111\t1111", "***1111"},
      {"bob@localhost", "***@localhost"},
      {"o'x@example.com", "***@example.com"},
      {"bob!x@example.com", "***@example.com"},
      {"deploy-ghp_hunter2hunter2hunter2", "deploy-***"},
      {"ci.ghp_hunter2hunter2hunter2 a_npm_hunter2hunter2hunter2", "ci.*** a_***"},
      {"ya29.hunter2hunter2hunter2", "***"},
      {"SG.hunter2hunter2.hunter2hunter2", "***"},
      {"hf_hunter2hunter2hunter2 dop_v1_hunter2hunter2hunter2", "*** ***"},
      {"whsec_hunter2hunter2hunter2 shpat_hunter2hunter2hunter2", "*** ***"},
      {"sbp_hunter2hunter2hunter2 napi_hunter2hunter2hunter2", "*** ***"},
      {"pypi-hunter2hunter2hunter2", "***"},
      {"jwt eyJhbGciOiJIUzI1NiJ9.eyJzdWIiOiIxIn0.abc_-x!", "jwt ***!"},
  };
  for (const auto& one : cases) {
    INFO(one.text);
    CHECK(masked(one.text) == one.left);
  }
}

TEST_CASE("what only looks a little like it stays") {
  for (const char* text : {"",
                           "password authentication failed for user \"bob\"",
                           "4111 1111 1111 1112",
                           "123456789012",
                           "a@b",
                           "@",
                           "x @ y.z",
                           "550e8400-e29b-41d4-a716-446655440000",
                           "127.0.0.1:5432",
                           "tenant acme-1 at 2026-11-21 11:12:13",
                           "token is missing",
                           "a.b.c",
                           "://",
                           "skating is fine",
                           "host db.example.com:5432",
                           "bearer of news",
                           "basic security and basic arithmetics",
                           "SET key = value",
                           "turkey:5432 compass:5432",
                           "at 1732280125.123452",
                           "192.168.100.200 10.20.30.40",
                           "50%40 of it",
                           "postgres://db:5432/x for bob@a",
                           "16/B374D848 0/1700000000",
                           "2026-11-21 11:12:13.123456 took 1234567.890 ms",
                           "sg.example-company-name.com",
                           "sha4111111111111112",
                           "md5 d41d8cd98f00b204e9800998ecf8427e",
                           "token for acme1234",
                           "authorization failed for user1",
                           "it's x",
                           "3.14159265358979"}) {
    INFO(text);
    CHECK(masked(text) == text);
  }
}

TEST_CASE("any bytes can be masked, and nothing comes in but the mask") {
  const std::string parts[] = {
      "@", "a",    ".",   "4111111111111111", " ",   "password", "=", "'", "://", ":", "eyJ",
      "-", "\xff", "%40", "basic ",           "key", "_"};
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
