#include "protocol/startup.h"

#include <catch2/catch.hpp>

#include "protocol/frame.h"
#include "protocol/messages.h"

using namespace std::literals;
using namespace pgweir;
using namespace pgweir::protocol;

namespace {
std::string packet(std::uint32_t code, Bytes body = {}) {
  std::string out;
  Writer(out, 0).u32(code).bytes(body);
  return out;
}
Expected<Startup> startup(Bytes body, std::uint32_t version = kVersion30) {
  auto first = parse_first_packet(packet(version, body));
  if (!first) return tl::unexpected(first.error());
  return std::get<Startup>(*first);
}
std::string told(const Settings& settings) {
  std::string out;
  for (const auto& [name, value] : settings) out += (out.empty() ? "" : " ") + name + "=" + value;
  return out;
}
std::string options(Bytes text) {
  const auto parsed = parse_options(text);
  return parsed ? told(*parsed) : "error " + std::string(parsed.error().sqlstate);
}
}  // namespace

TEST_CASE("the size of the first packet is known after four bytes and lies within bounds") {
  struct Row {
    std::uint32_t length;
    bool fine;
  };
  for (const Row& row : {Row{0, false},
                         {7, false},
                         {8, true},
                         {10'000, true},
                         {10'001, false},
                         {0x7fffffff, false},
                         {0x80000000, false},
                         {0xffffffff, false}}) {
    CAPTURE(row.length);
    std::string bytes(4, '\0');
    store_u32(bytes.data(), row.length);
    CHECK(*first_packet_size(bytes.substr(0, 3)) == 0);
    const auto size = first_packet_size(bytes);
    CHECK(size.has_value() == row.fine);
    if (size) CHECK(*size == row.length);
  }
}

TEST_CASE("requests for encryption and cancellation are told apart") {
  CHECK(std::holds_alternative<SslRequest>(*parse_first_packet(packet(kSslRequestCode))));
  CHECK(std::holds_alternative<GssRequest>(*parse_first_packet(packet(kGssRequestCode))));
  const auto cancel = parse_first_packet(packet(kCancelRequestCode, "\0\0\1\2abcd"sv));
  CHECK(std::get<CancelRequest>(*cancel).pid == 258);
  CHECK(std::get<CancelRequest>(*cancel).key == "abcd");
  const auto long_key = parse_first_packet(packet(kCancelRequestCode, "\0\0\0\1"s + std::string(256, 'k')));
  CHECK(std::get<CancelRequest>(*long_key).key.size() == 256);
}

TEST_CASE("a malformed first packet is refused") {
  const std::string packets[] = {packet(kSslRequestCode, "x"),
                                 packet(kGssRequestCode, "x"),
                                 packet(kCancelRequestCode),
                                 packet(kCancelRequestCode, "\0\0\0\1abc"sv),
                                 packet(kCancelRequestCode, "\0\0\0\1"s + std::string(257, 'k')),
                                 packet(kVersion30),
                                 packet(kVersion30, "user\0a"sv),
                                 packet(kVersion30, "user\0a\0"sv),
                                 packet(kVersion30, "user\0a\0\0x"sv),
                                 packet(kVersion30, "user\0a\0database"sv),
                                 packet(kVersion30, "user\0a\0\0"sv) + "more",
                                 packet(kVersion30, "user\0a\0\0"sv).substr(0, 10),
                                 "",
                                 "abc",
                                 std::string(8, '\xff')};
  for (const std::string& one : packets) {
    CAPTURE(one);
    const auto parsed = parse_first_packet(one);
    REQUIRE_FALSE(parsed);
    CHECK(parsed.error().sqlstate == std::string(sqlstate::kProtocolViolation));
  }
}

TEST_CASE("a startup message says who, where and how") {
  const auto all =
      startup("user\0u\0database\0d\0application_name\0app\0replication\0database\0TimeZone\0UTC\0\0"sv);
  REQUIRE(all);
  CHECK(all->user == "u");
  CHECK(all->database == "d");
  CHECK(all->replication == Replication::Logical);
  CHECK(told(all->settings) == "application_name=app TimeZone=UTC");
  CHECK_FALSE(all->negotiate);
  CHECK(startup("user\0u\0\0"sv)->database == "u");
  CHECK(startup("user\0u\0database\0\0\0"sv)->database == "u");
  const auto nobody = startup("database\0d\0\0"sv);
  REQUIRE_FALSE(nobody);
  CHECK(nobody.error().sqlstate == std::string(sqlstate::kInvalidAuthorization));
}

TEST_CASE("replication is a boolean of Postgres, or database") {
  struct Row {
    Bytes words;
    Replication meaning;
  };
  for (const Row& row :
       {Row{"true True TRU t yes Y on ON 1", Replication::Physical},
        Row{"false FALSE f no n off of 0", Replication::None}, Row{"database", Replication::Logical}}) {
    for (Bytes rest = row.words; !rest.empty();) {
      const Bytes word = rest.substr(0, rest.find(' '));
      rest.remove_prefix(std::min(rest.size(), word.size() + 1));
      CAPTURE(word);
      const auto parsed = startup("user\0u\0replication\0"s + std::string(word) + "\0\0"s);
      REQUIRE(parsed);
      CHECK(parsed->replication == row.meaning);
    }
  }
  CHECK(startup("user\0u\0\0"sv)->replication == Replication::None);
  for (const Bytes word : {"", "o", "maybe", "Database", "2", "truee", " on", "10"}) {
    CAPTURE(word);
    const auto parsed = startup("user\0u\0replication\0"s + std::string(word) + "\0\0"s);
    REQUIRE_FALSE(parsed);
    CHECK(parsed.error().sqlstate == std::string(sqlstate::kInvalidParameterValue));
    CHECK(parsed.error().message ==
          "invalid value for parameter \"replication\": \"" + std::string(word) + '"');
  }
}

TEST_CASE("of settings named twice the last counts, and a parameter beats options") {
  CHECK(told(startup("user\0u\0a\0001\0b\0002\0a\0003\0\0"sv)->settings) == "b=2 a=3");
  CHECK(told(startup("user\0u\0a\0001\0options\0-c a=2 -c b=3\0\0"sv)->settings) == "b=3 a=1");
  CHECK(startup("user\0u\0options\0-x\0\0"sv).error().sqlstate == std::string(sqlstate::kSyntaxError));
}

TEST_CASE("a packet full of settings is read in one pass") {
  std::string body = "user\0u\0"s;
  for (int i = 0; body.size() < 9'900; ++i) body += std::to_string(i) + "\0\0"s;
  CHECK(startup(body + '\0')->settings.size() > 1'500);
}

TEST_CASE("protocol versions are answered as far as we speak them") {
  struct Row {
    std::uint32_t asked, spoken;
    bool negotiate;
  };
  for (const Row& row : {Row{kVersion30, kVersion30, false},
                         {kVersion30 | 1, kVersion30, true},
                         {kVersion32, kVersion32, false},
                         {kVersion30 | 3, kVersion32, true},
                         {kVersion30 | 9999, kVersion32, true}}) {
    CAPTURE(row.asked);
    const auto parsed = startup("user\0u\0\0"sv, row.asked);
    REQUIRE(parsed);
    CHECK(parsed->version == row.spoken);
    CHECK(parsed->negotiate == row.negotiate);
  }
  const auto option = startup("user\0u\0_pq_.x\0y\0\0"sv);
  CHECK(option->negotiate);
  CHECK(option->unknown_protocol_options == std::vector<std::string>{"_pq_.x"});
  CHECK(option->settings.empty());
  for (const std::uint32_t version : {0u, 2u << 16, 4u << 16, 0xffffffffu})
    CHECK(startup("user\0u\0\0"sv, version).error().sqlstate == std::string(sqlstate::kFeatureNotSupported));
}

TEST_CASE("options are read as the server's command line") {
  struct Row {
    Bytes text;
    std::string settings;
  };
  const Row table[] = {
      {"", ""},
      {"  \t\n", ""},
      {"-c a=b", "a=b"},
      {"-ca=b", "a=b"},
      {"--a=b", "a=b"},
      {"--work-mem=1MB", "work_mem=1MB"},
      {"-c work-mem=1MB", "work_mem=1MB"},
      {"-c a=b -c a=c", "a=c"},
      {"-c a=", "a="},
      {"-c a==b", "a==b"},
      {"-c search_path=a\\ b,\\\\c", "search_path=a b,\\c"},
      {"-c  a=b   --c=d ", "a=b c=d"},
      {"-c a=\"x\"", "a=\"x\""},
      {"-S 64", "work_mem=64"},
      {"-S64", "work_mem=64"},
      {"-c a=b\\", "a=b\\"},
      {"-c=", "error 42601"},
      {"-c", "error 42601"},
      {"-c a", "error 42601"},
      {"-c =b", "error 42601"},
      {"--", ""},
      {"-c a=b --", "a=b"},
      {"-- -c a=b", "error 42601"},
      {"--a", "error 42601"},
      {"-", "error 42601"},
      {"a=b", "error 42601"},
      {"-x", "error 42601"},
      {"-S", "error 42601"},
      // Switches stand in one word, the last of which may have a value there or in the next.
      {"-e", "datestyle=euro"},
      {"-O", "allow_system_table_mods=true"},
      {"-P", "ignore_system_indexes=true"},
      {"-s", "log_statement_stats=true"},
      {"-W 3", "post_auth_delay=3"},
      {"-fs", "enable_seqscan=false"},
      {"-f i -fo -fb", "enable_indexscan=false enable_indexonlyscan=false enable_bitmapscan=false"},
      {"-ft -fn -fm -fhash",
       "enable_tidscan=false enable_nestloop=false enable_mergejoin=false "
       "enable_hashjoin=false"},
      {"-fx", "error 42601"},
      {"-f", "error 42601"},
      {"-t pa", "log_parser_stats=true"},
      {"-tplanner -texecutor", "log_planner_stats=true log_executor_stats=true"},
      {"-t p", "error 42601"},
      {"-t x", "error 42601"},
      {"-d 0", "log_min_messages=notice"},
      {"-d 1", "log_min_messages=debug1"},
      {"-d2", "log_min_messages=debug2 log_statement=all"},
      {"-d 5",
       "log_min_messages=debug5 log_statement=all debug_print_parse=true debug_print_plan=true "
       "debug_print_rewritten=true"},
      {"-d -1", "log_min_messages=notice"},
      {"-d x", "log_min_messages=notice"},
      {"-d 99999999999999999999",
       "log_min_messages=debug2147483647 log_statement=all debug_print_parse=true "
       "debug_print_plan=true debug_print_rewritten=true"},
      {"-esS64", "datestyle=euro log_statement_stats=true work_mem=64"},
      {"-eS 64", "datestyle=euro work_mem=64"},
      {"-eca=b", "datestyle=euro a=b"},
      {"-ec a=b", "datestyle=euro a=b"},
      {"-e-a=b", "datestyle=euro a=b"},
      {"-S -e", "work_mem=-e"},
      // What the server heeds of nobody but its own starter.
      {"-bEjnT -C x -Dx -r file -v3", ""},
      // What is settled when the server starts.
      {"-B 64", "error 55P02"},
      {"-N 5", "error 55P02"},
      {"-p 5", "error 55P02"},
      {"-h x", "error 55P02"},
      {"-i", "error 55P02"},
      {"-k x", "error 55P02"},
      {"-l", "error 55P02"},
      {"-F", "error 55P02"},
      {"-N", "error 42601"},
      {"-:", "error 42601"},
      {"-e-", "error 42601"},
      {"\\", "error 42601"},
  };
  for (const Row& row : table) {
    CAPTURE(row.text);
    CHECK(options(row.text) == row.settings);
  }
}
