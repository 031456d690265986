#include "tiers/redis_codec.h"

#include <catch2/catch.hpp>

using namespace pgweir;
using namespace pgweir::tiers;
using Catch::Matchers::Contains;
using Catch::Matchers::EndsWith;
using Catch::Matchers::StartsWith;

namespace {

std::string text(const RedisReply& reply) {
  switch (reply.kind) {
    case RedisReply::Kind::Nil: return "nil";
    case RedisReply::Kind::Integer: return std::to_string(reply.integer);
    case RedisReply::Kind::Text: return "'" + reply.text + "'";
    case RedisReply::Kind::Failure: return "!" + reply.text;
    case RedisReply::Kind::TooMuch: return "too much";
    case RedisReply::Kind::Array: break;
  }
  std::string all = "[";
  for (const RedisReply& each : reply.elements) all += (all.size() > 1 ? " " : "") + text(each);
  return all + "]";
}

// All replies in these bytes, given in pieces of this size; the error at the end if there is one.
std::string read(Bytes in, std::size_t step) {
  RedisReader reader;
  std::string all;
  while (!in.empty()) {
    const Bytes part = in.substr(0, step);
    in.remove_prefix(part.size());
    CHECK(reader.held_bytes() <= RedisReader::kReplyBytesMax);
    if (auto fed = reader.feed(part); !fed) return all + "error: " + fed.error().message;
    for (;;) {
      auto reply = reader.next();
      if (!reply) return all + "error: " + reply.error().message;
      if (!*reply) break;
      all += text(**reply) + "\n";
    }
  }
  return all;
}

std::string bulk(const std::string& value) {
  return "$" + std::to_string(value.size()) + "\r\n" + value + "\r\n";
}

}  // namespace

TEST_CASE("replies are read however they are cut") {
  const std::string in =
      "+OK\r\n-WRONGTYPE "
      "no\r\n:-7\r\n$-1\r\n*-1\r\n*0\r\n$0\r\n\r\n*4\r\n$1\r\na\r\n$2\r\n\r\n\r\n$-1\r\n:3\r\n";
  const std::string expected = "'OK'\n!WRONGTYPE no\n-7\nnil\nnil\n[]\n''\n['a' '\r\n' nil 3]\n";
  CHECK(read(in, in.size()) == expected);
  CHECK(read(in, 1) == expected);
  CHECK(read(in, 3) == expected);
}

TEST_CASE("the answer of a sentinel is an address, or nothing") {
  const auto master = [](std::vector<std::string> words) {
    RedisReply reply;
    reply.kind = RedisReply::Kind::Array;
    for (std::string& word : words) {
      reply.elements.emplace_back().kind = RedisReply::Kind::Text;
      reply.elements.back().text = std::move(word);
    }
    const auto found = redis_master(reply);
    return found ? found->first + " " + std::to_string(found->second) : "none";
  };
  CHECK(master({"10.0.0.7", "6379"}) == "10.0.0.7 6379");
  for (const auto& wrong : std::vector<std::vector<std::string>>{{},
                                                                 {"a"},
                                                                 {"a", "b", "c"},
                                                                 {"", "1"},
                                                                 {"a", ""},
                                                                 {"a", "0"},
                                                                 {"a", "70000"},
                                                                 {"a", "-1"},
                                                                 {"a", "1x"},
                                                                 {"/tmp/socket", "1"},
                                                                 {std::string("a\0b", 3), "1"},
                                                                 {std::string(256, 'a'), "1"}})
    CHECK(master(wrong) == "none");
  CHECK(redis_master(RedisReply{}) == std::nullopt);
  RedisReply info{RedisReply::Kind::Text, 0, "# Replication\r\nrole:master\r\nconnected_slaves:0\r\n", {}};
  CHECK(redis_is_master(info));
  info.text = "# Replication\r\nrole:slave\r\nmaster_host:role:master\r\n";
  CHECK_FALSE(redis_is_master(info));
}

TEST_CASE("a grant is two numbers, and no more than was asked for") {
  const FleetAsk ask{60, 5, 0, 4};
  RedisReply reply;
  reply.kind = RedisReply::Kind::Array;
  reply.elements.resize(2);
  for (RedisReply& each : reply.elements) each.kind = RedisReply::Kind::Integer;
  reply.elements[0].integer = 4;
  reply.elements[1].integer = 1500;
  REQUIRE(redis_grant(reply, ask));
  CHECK(redis_grant(reply, ask)->granted == 4);
  CHECK(redis_grant(reply, ask)->wait == std::chrono::microseconds(1500));
  reply.elements[0].integer = 5;
  CHECK_FALSE(redis_grant(reply, ask));
  reply.elements[0].integer = -1;
  CHECK_FALSE(redis_grant(reply, ask));
  reply.elements[0].integer = 1;
  reply.elements[1].integer = -1;
  CHECK_FALSE(redis_grant(reply, ask));
  reply.elements[1].kind = RedisReply::Kind::Text;
  CHECK_FALSE(redis_grant(reply, ask));
  reply.elements.pop_back();
  CHECK_FALSE(redis_grant(reply, ask));
  CHECK_FALSE(redis_grant({RedisReply::Kind::Failure, 0, "ERR unknown command", {}}, ask));
}

TEST_CASE("a reply that is more than anything we ask for is passed over, and those behind it are read") {
  const std::string long_text(RedisReader::kReplyBytesMax + 1, 'x');
  std::string many, lists;
  for (int i = 0; i < 513; ++i) many += bulk("\r\n$7"), lists += ":1\r\n";
  for (const std::string& in : {
           bulk(long_text),
           "*2\r\n" + bulk("a") + bulk(long_text),
           "*4\r\n" + bulk(long_text) + "$-1\r\n:7\r\n" + bulk("a"),
           "*2\r\n" + bulk(std::string(40'000, '*')) + bulk(std::string(40'000, '\n')),
           "*513\r\n" + many,
           "*513\r\n" + lists,
       })
    for (const std::size_t step : {std::size_t{1}, std::size_t{999}, std::size_t{64 << 10}})
      CHECK(read("+OK\r\n" + in + in + ":1\r\n", step) == "'OK'\ntoo much\ntoo much\n1\n");
  // As much as is passed over at most; what is on its way is not kept.
  std::string most = "*3\r\n$8\r\npassword\r\n$" + std::to_string(60 << 20) + "\r\n";
  most += std::string(60 << 20, 'x') + "\r\n$1\r\ny\r\n:2\r\n";
  CHECK(read(most, 64 << 10) == "too much\n2\n");
}

TEST_CASE("a reply that has no end in sight, or is none, ends the connection before anything is kept") {
  const std::string long_text(RedisReader::kReplyBytesMax + 1, 'x');
  std::string endless = "*10000000\r\n";
  for (int i = 0; i < 900; ++i) endless += bulk(std::string(99'999, 'x'));
  const struct {
    std::string in;
    const char* says;
  } rows[] = {
      {"*100000000\r\n", "too long"},
      {endless, "too long"},
      {"*-7\r\n", "out of range"},
      {"$-2\r\n", "out of range"},
      {"*1\r\n*1\r\n$1\r\na\r\n", "nested"},
      {"*600\r\n*0\r\n", "nested"},
      {"$999999999999\r\n" + long_text + long_text, "too long"},
      {"$99999999999999999999999\r\n", "Protocol error"},
      {"$ 1\r\n", "Protocol error"},
      {"$05\r\nhello\r\n", "Bad bulk string length"},
      {"*x\r\n", "Protocol error"},
      {":1x\r\n", "Bad integer value"},
      {"+" + long_text + long_text, "too long"},
      {"hello\r\n", "Protocol error"},
      {"%1\r\n+a\r\n+b\r\n", "Protocol error"},
  };
  for (const auto& row : rows)
    for (const std::size_t step : {std::size_t{1000}, row.in.size()})
      CHECK_THAT(read(row.in, step), Contains("error: Redis: ") && Contains(row.says));
}

TEST_CASE("commands are written with their lengths, whatever is in a name") {
  std::string out;
  put_redis(out, {"AUTH", "us er", std::string_view("\0\r\n", 3)});
  CHECK(out == std::string("*3\r\n$4\r\nAUTH\r\n$5\r\nus er\r\n$3\r\n\0\r\n\r\n", 34));
  out.clear();
  put_redis_fetch(out, kRedisTenantKey, "a\r\nDEL x");
  CHECK(out == "*2\r\n$7\r\nHGETALL\r\n$22\r\npgweir:tenant:a\r\nDEL x\r\n");
}

TEST_CASE("a change of a hash tells how much of it is what") {
  std::string out;
  put_redis_set(out, "pgweir:tenant:a", {{{"tier", "pro"}, {"reason", ""}}, {"weight"}}, {{"tier", "pro"}});
  CHECK_THAT(out, StartsWith("*13\r\n$4\r\nEVAL\r\n"));
  CHECK_THAT(out, EndsWith("$1\r\n1\r\n$15\r\npgweir:tenant:a\r\n$1\r\n4\r\n$1\r\n1\r\n"
                           "$4\r\ntier\r\n$3\r\npro\r\n$6\r\nreason\r\n$0\r\n\r\n$6\r\nweight\r\n"
                           "$4\r\ntier\r\n$3\r\npro\r\n"));
}

TEST_CASE("a hash becomes fields, anything else is refused") {
  const auto fields = [](const std::string& in) {
    RedisReader reader;
    REQUIRE(reader.feed(in));
    auto reply = reader.next();
    REQUIRE((reply && *reply));
    return redis_fields(std::move(**reply));
  };
  const auto good = fields("*4\r\n$4\r\ntier\r\n$3\r\npro\r\n$1\r\na\r\n$0\r\n\r\n");
  REQUIRE(good);
  CHECK(*good == Fields{{"tier", "pro"}, {"a", ""}});
  CHECK(fields("*0\r\n")->empty());
  for (const char* wrong :
       {"*1\r\n$1\r\na\r\n", "*2\r\n:1\r\n:2\r\n", "*2\r\n$1\r\na\r\n$-1\r\n", "+OK\r\n", "$-1\r\n"})
    CHECK(fields(wrong).error().message == "must be a hash of texts");
  CHECK_THAT(fields(bulk(std::string(RedisReader::kReplyBytesMax, 'x'))).error().message,
             Contains("must be a hash of at most 128 fields and 16384 bytes"));
  CHECK_THAT(fields("-WRONGTYPE Operation\r\n").error().message, Contains("WRONGTYPE"));
}

TEST_CASE("only messages of our channel are heard") {
  const auto message = [](const std::string& in) {
    RedisReader reader;
    REQUIRE(reader.feed(in));
    return redis_message(reader.next()->value());
  };
  CHECK(message("*3\r\n$7\r\nmessage\r\n$14\r\npgweir:changed\r\n$4\r\nacme\r\n") == "acme");
  CHECK(message("*3\r\n$7\r\nmessage\r\n$5\r\nother\r\n$4\r\nacme\r\n") == std::nullopt);
  CHECK(message("*3\r\n$9\r\nsubscribe\r\n$14\r\npgweir:changed\r\n:1\r\n") == std::nullopt);
  CHECK(message("*3\r\n$7\r\nmessage\r\n$14\r\npgweir:changed\r\n:4\r\n") == std::nullopt);
  CHECK(message("+PONG\r\n") == std::nullopt);
}
