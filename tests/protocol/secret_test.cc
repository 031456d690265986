#include "protocol/secret.h"

#include <catch2/catch.hpp>
#include <string>
#include <variant>

#include "pooler/base/error.h"

using namespace pgweir;
using namespace pgweir::protocol;
using namespace std::literals;
using Catch::Matchers::Contains;

namespace {

const std::string kVerifier =
    "SCRAM-SHA-256$4096:cpIvHREzP9b4ogjr6u+w3A==$mSh1w5xIs5c7gMplnsGtXXl0Zhg0WyOufYzx/xLP3jU=:"
    "gil+XC9mNZGmFdJNe/gxzvVLWo1jSGr0r8ngMXp7MCM=";

std::string describe(const Secret& secret) {
  if (const auto* plain = std::get_if<PlainSecret>(&secret)) return "plain " + plain->password;
  if (const auto* md5 = std::get_if<Md5Secret>(&secret)) return "md5 " + md5->hex;
  return "scram " + format_scram_verifier(std::get<ScramVerifier>(secret));
}

std::string describe_list(Bytes text) {
  const auto list = parse_user_list(text);
  if (!list) {
    CHECK(list.error().sqlstate == Bytes(sqlstate::kConfigFileError));
    return "error: " + list.error().message;
  }
  std::string out;
  for (const auto& [user, secret] : *list) out += user + " = " + describe(secret) + "; ";
  return out;
}

}  // namespace

TEST_CASE("a secret is an MD5 hash, a SCRAM verifier or else a plain password") {
  struct Row {
    std::string text, kind;
  };
  const Row row = GENERATE(values<Row>({
      {"hunter2", "plain hunter2"},
      {"md5b5244fb76fdb26abb776d58442687616", "md5 b5244fb76fdb26abb776d58442687616"},
      {"md5B5244FB76FDB26ABB776D58442687616", "plain md5B5244FB76FDB26ABB776D58442687616"},
      {"md5b5244fb76fdb26abb776d5844268761", "plain md5b5244fb76fdb26abb776d5844268761"},
      {"md5b5244fb76fdb26abb776d584426876166", "plain md5b5244fb76fdb26abb776d584426876166"},
      {"md5b5244fb76fdb26abb776d5844268761g", "plain md5b5244fb76fdb26abb776d5844268761g"},
      {"MD5b5244fb76fdb26abb776d58442687616", "plain MD5b5244fb76fdb26abb776d58442687616"},
      {kVerifier, "scram " + kVerifier},
      {"SCRAM-SHA-256", "plain SCRAM-SHA-256"},
      {"scram-sha-256$1:x", "plain scram-sha-256$1:x"},
      {" ", "plain  "},
  }));
  CAPTURE(row.text);
  const auto secret = parse_secret(row.text);
  REQUIRE(secret);
  CHECK(describe(*secret) == row.kind);
}

TEST_CASE(
    "a broken verifier is not taken for a password, nor an empty text, and the error does not show it") {
  const std::string text =
      GENERATE(""s, "SCRAM-SHA-256$"s, "SCRAM-SHA-256$4096:tellnobody"s, kVerifier + " ");
  CAPTURE(text);
  const auto secret = parse_secret(text);
  REQUIRE_FALSE(secret);
  CHECK(secret.error().sqlstate == Bytes(sqlstate::kInvalidParameterValue));
  CHECK_THAT(secret.error().message, !Contains("tellnobody"));
}

TEST_CASE("MD5 answers are those of Postgres") {
  CHECK(md5_hash_user("pass", "foo") == "b5244fb76fdb26abb776d58442687616");
  CHECK(md5_hash_user("secret", "alice") == "4a0a68b43b6cd5cf266fa02f196e2371");
  CHECK(md5_response("4a0a68b43b6cd5cf266fa02f196e2371", "\x01\x02\xff\x00"sv) ==
        "md51c9a0c9197f03fd37fa2da58142897aa");
}

TEST_CASE("secrets are equal only if every byte is") {
  CHECK(equal_secret("abc", "abc"));
  CHECK(equal_secret("", {}));
  CHECK_FALSE(equal_secret("abc", "abd"));
  CHECK_FALSE(equal_secret("abc", "bbc"));
  CHECK_FALSE(equal_secret("abc", "ab"));
  CHECK_FALSE(equal_secret("abc", ""));
  CHECK_FALSE(equal_secret("a\0c"sv, "a\0d"sv));
}

TEST_CASE("a user list is read as PgBouncer reads it") {
  struct Row {
    const char* why;
    Bytes text;
    std::string list;
  };
  const Row row = GENERATE(values<Row>({
      {"nothing", "", ""},
      {"one user", R"("a" "x")", "a = plain x; "},
      {"two users", "\"b\" \"y\"\n\"a\" \"x\"\n", "a = plain x; b = plain y; "},
      {"lines of Windows", "\"a\" \"x\"\r\n\r\n\"b\" \"y\"\r\n", "a = plain x; b = plain y; "},
      {"comments and empty lines", ";\"c\" \"z\"\n#\"d\" \"z\"\n\n  \t\n  ; \"\n\"a\" \"x\"",
       "a = plain x; "},
      {"blanks", " \t\"a\"\t  \"x\"  ", "a = plain x; "},
      {"text behind the secret", "\"a\" \"x\" \"2030\" what # ever\n\"b\" \"y\"z",
       "a = plain x; b = plain y; "},
      {"doubled quotes", R"("a""b" """x""")", "a\"b = plain \"x\"; "},
      {"a name of one quote", R"("""" "x")", "\" = plain x; "},
      {"no escapes", R"("a\" "\n%41%")", "a\\ = plain \\n%41%; "},
      {"blanks inside quotes", R"(" a " " x ")", " a  = plain  x ; "},
      {"signs of a comment inside quotes", R"(";" "#")", "; = plain #; "},
      {"an MD5 secret", R"("a" "md5b5244fb76fdb26abb776d58442687616")",
       "a = md5 b5244fb76fdb26abb776d58442687616; "},
      {"names differ by case", "\"a\" \"x\"\n\"A\" \"y\"", "A = plain y; a = plain x; "},
      {"bytes that are not ASCII", "\"\xc3\xa9\" \"\xff\"", "\xc3\xa9 = plain \xff; "},
      {"an empty secret lets nobody in", "\"a\" \"\"\n\"b\" \"y\"", "b = plain y; "},
  }));
  CAPTURE(row.why);
  CHECK(describe_list(row.text) == row.list);
  CHECK(describe_list("\"v\" \"" + kVerifier + "\"") == "v = scram " + kVerifier + "; ");
}

TEST_CASE("a broken user list names its line and what is wrong") {
  constexpr auto kForm = R"(the line must read "user" "secret", with both in double quotes)";
  constexpr auto kSecret = "the secret behind the user must stand in double quotes on the same line";
  struct Row {
    Bytes text;
    std::string line, what;
  };
  const Row row = GENERATE_COPY(values<Row>({
      {"a x", "1", kForm},
      {"\"a\" \"x\"\n\nb", "3", kForm},
      {"; comment\n\"a", "2", kForm},
      {"\"a\"\"", "1", kForm},
      {"\"", "1", kForm},
      {"\xef\xbb\xbf\"a\" \"x\"", "1", kForm},
      {"\"a\"", "1", R"(a space must stand between "user" and "secret")"},
      {"\"a\";\"x\"", "1", R"(a space must stand between "user" and "secret")"},
      {"\"a\" ", "1", kSecret},
      {"\"a\" x", "1", kSecret},
      {"\"a\" \"x", "1", kSecret},
      {"\"a\" \"x\"\"", "1", kSecret},
      {"\"a\" \"x\ny\"", "1", kSecret},
      {"\"a\"\n\"x\"", "1", R"(a space must stand between "user" and "secret")"},
      {"\n\"\" \"x\"", "2", "the user name is empty"},
      {"\"a\" \"x\"\n\"b\" \"y\"\n\"a\" \"x\"", "3",
       "the user already stands in line 1; keep one of the two"},
      {"\"a\" \"\"\n\"a\" \"x\"", "2", "the user already stands in line 1; keep one of the two"},
      {"\"a\" \"x\0\""sv, "1", "the line holds a NUL byte"},
      {"\n\n\"a\" \"SCRAM-SHA-256$4096:tellnobody\"", "3",
       "user \"a\": malformed SCRAM verifier: the second $ is missing"},
      {"\"a\" \"SCRAM-SHA-256$100001:c2FsdA==$AAAA:AAAA\"", "1",
       "user \"a\": SCRAM iterations must lie between 1 and 100000, not 100001"},
      {"\"a\" \"SCRAM-SHA-256$99999999999:c2FsdA==$AAAA:AAAA\"", "1",
       "user \"a\": SCRAM iterations must lie between 1 and 100000"},
  }));
  CAPTURE(row.text);
  CHECK(describe_list(row.text) == "error: user list, line " + row.line + ": " + row.what);
}

TEST_CASE("a user list has at most 100,000 users and 1 MB") {
  const auto list_of = [](std::size_t users) {
    std::string text;
    for (std::size_t i = 0; i < users; ++i) {
      const char name[] = {static_cast<char>('A' + i % 50), static_cast<char>('A' + i / 50 % 50),
                           static_cast<char>('A' + i / 2500)};
      text.append("\"").append(name, 3).append("\" \"x\"\n");
    }
    return text;
  };
  const auto full = parse_user_list(list_of(kUserListUsersMax));
  REQUIRE(full);
  CHECK(full->size() == kUserListUsersMax);
  CHECK(describe_list(list_of(kUserListUsersMax + 1)) ==
        "error: user list, line 100001: the list must have at most 100000 users");

  CHECK(describe_list(std::string(kUserListSizeMax, '\n')).empty());
  CHECK(describe_list(std::string(kUserListSizeMax + 1, '\n')) ==
        "error: the user list must have at most 1048576 bytes, not 1048577");
}
