// SCRAM as a LoginCore asks for it, and users whom it does not know.
#include "tests/pooler/login_help.h"

using namespace pgweir;
using namespace pgweir::test;
using namespace std::literals;

TEST_CASE("SCRAM lets the right password in at every cut, and keeps the key that logs in elsewhere") {
  const std::string first = sasl_first("SCRAM-SHA-256", "n,,n=,r=clientnonce");
  for (std::size_t cut = 0; cut < first.size(); ++cut) {
    Login login = asked(Method::Scram);
    CHECK(login.says(Bytes(first).substr(0, cut)).empty());
    CHECK(login.says(Bytes(first).substr(cut)) == "R11");
  }
  const std::size_t size = [] {
    Login login = asked(Method::Scram);
    return scram_final(login, "pencil").size();
  }();
  for (std::size_t cut = 0; cut < size; ++cut) {
    Login login = asked(Method::Scram);
    const std::string final_message = scram_final(login, "pencil");
    CHECK(login.says(Bytes(final_message).substr(0, cut)).empty());
    CHECK(login.says(Bytes(final_message).substr(cut)) == "R12 R0 done");
    REQUIRE(login.core.client_key());
    CHECK(protocol::scram_stored_key(*login.core.client_key()) == verifier().stored_key);
  }
}

TEST_CASE("SCRAM offers one mechanism, by name and with the list's end") {
  Login login = asked(Method::Scram);
  CHECK(login.auth_data() == "SCRAM-SHA-256\0\0"s);
}

TEST_CASE("SCRAM refuses a wrong password without the server's signature, and shows no key") {
  Login login = asked(Method::Scram);
  CHECK(login.says(scram_final(login, "pen")) == kRefused);
  CHECK_FALSE(login.core.client_key());
}

TEST_CASE("SCRAM's first message must be one") {
  struct Row {
    const char* what;
    std::string message;
    std::string answer;
  };
  const std::string good = "n,,n=,r=clientnonce";
  const Row row = GENERATE_COPY(values<Row>({
      {"PLUS", sasl_first("SCRAM-SHA-256-PLUS", good), kViolation},
      {"an older hash", sasl_first("SCRAM-SHA-1", good), kViolation},
      {"no mechanism", sasl_first("", good), kViolation},
      {"the mechanism in small letters", sasl_first("scram-sha-256", good), kViolation},
      {"no initial response", message('p', "SCRAM-SHA-256\0\xff\xff\xff\xff"s), kViolation},
      {"a size beyond the message", message('p', "SCRAM-SHA-256\0\0\0\0\x14"s + good), kViolation},
      {"a size short of it", message('p', "SCRAM-SHA-256\0\0\0\0\x03"s + good), kViolation},
      {"half a size", message('p', "SCRAM-SHA-256\0\0\0"s), kViolation},
      {"an empty response", sasl_first("SCRAM-SHA-256", ""), kViolation},
      {"channel binding", sasl_first("SCRAM-SHA-256", "p=tls-server-end-point,,n=,r=x"), kViolation},
      {"somebody else's name", sasl_first("SCRAM-SHA-256", "n,a=admin,n=,r=x"), "E:0A000:FATAL close"},
      {"no nonce", sasl_first("SCRAM-SHA-256", "n,,n="), kViolation},
      {"an endless nonce", sasl_first("SCRAM-SHA-256", "n,,n=,r=" + std::string(16'000, 'x')), kViolation},
      {"a NUL", sasl_first("SCRAM-SHA-256", "n,,n=,r=\0x"s), kViolation},
      {"the second message", sasl_response("c=biws,r=clientnonceservernonce,p=AAAA"), kViolation},
  }));
  INFO(row.what);
  for (const bool known : {true, false}) {
    Login login = asked(Method::Scram, verifier(), known);
    CHECK(login.says(row.message) == row.answer);
  }
}

TEST_CASE("SCRAM's last message must be one") {
  const std::string proof(43, 'A');
  struct Row {
    const char* what;
    std::string data;
    std::string answer;
  };
  const Row row = GENERATE_COPY(values<Row>({
      {"a wrong proof", "c=biws,r=clientnonceservernonce,p=" + proof + "=", kRefused},
      {"another nonce", "c=biws,r=clientnonceanother,p=" + proof + "=", kViolation},
      {"the client's nonce alone", "c=biws,r=clientnonce,p=" + proof + "=", kViolation},
      {"another binding", "c=eSws,r=clientnonceservernonce,p=" + proof + "=", kViolation},
      {"no proof", "c=biws,r=clientnonceservernonce", kViolation},
      {"a short proof", "c=biws,r=clientnonceservernonce,p=AAAA", kViolation},
      {"nothing", "", kViolation},
      {"the first message again", "n,,n=,r=clientnonce", kViolation},
  }));
  INFO(row.what);
  Login login = at_final();
  CHECK(login.says(sasl_response(row.data)) == row.answer);
}

TEST_CASE("an unknown user goes through the same exchange and reads the same words (R8)") {
  struct Row {
    Method method;
    protocol::Secret secret, stand_in;
  };
  const protocol::ScramKey process_secret{1, 2, 3};
  const Row row = GENERATE_COPY(values<Row>({
      {Method::Password, plain(), protocol::PlainSecret{"\x01\xff"}},
      {Method::Md5, plain(), protocol::PlainSecret{"\x01\xff"}},
      {Method::Scram, verifier(), protocol::mock_scram_verifier("ann", process_secret)},
      {Method::Scram, verifier(), verifier()},
  }));
  std::string known, unknown, known_text, unknown_text;
  for (const bool is_known : {true, false}) {
    Login login;
    REQUIRE(login.says(startup()) == "name");
    std::string& words = is_known ? known : unknown;
    words = login.authenticate(row.method, is_known ? row.secret : row.stand_in, is_known) + " ";
    if (row.method == Method::Scram)
      words += login.says(scram_final(login, "wrong"));
    else
      words += login.says(row.method == Method::Md5 ? md5_answer("wrong") : password("wrong"));
    (is_known ? known_text : unknown_text) = login.error_text();
  }
  CHECK(known == unknown);
  CHECK(known_text == unknown_text);
  CHECK(known_text == "password authentication failed for user \"ann\"");
}

TEST_CASE("an unknown user is refused even with a password that fits the stand-in") {
  Login scram = asked(Method::Scram, verifier(), false);
  CHECK(scram.says(scram_final(scram, "pencil")) == kRefused);
  CHECK_FALSE(scram.core.client_key());
  Login trust;
  REQUIRE(trust.says(startup()) == "name");
  CHECK(trust.authenticate(Method::Trust, plain(), false) == kRefused);
}

TEST_CASE("a plain password against a SCRAM secret is judged by the keys derived from it") {
  struct Row {
    const char* given;
    bool known;
    std::string answer;
  };
  const Row row = GENERATE(
      values<Row>({{"pencil", true, "R0 done"}, {"pen", true, kRefused}, {"pencil", false, kRefused}}));
  Login login = asked(Method::Password, verifier(), row.known);
  REQUIRE(login.says(password(row.given)) == "derive");
  CHECK(login.core.derive_password() == row.given);
  const auto& with = login.core.derive_with();
  // Whoever talks on meanwhile waits.
  CHECK(login.says(query("select 1")).empty());
  CHECK(login.held == query("select 1"));
  CHECK(login.derived(protocol::scram_salted_password(row.given, with.salt, with.iterations)) == row.answer);
  CHECK(login.core.derive_password().empty());
  CHECK(login.core.client_key().has_value() == (row.answer == "R0 done"));
}
