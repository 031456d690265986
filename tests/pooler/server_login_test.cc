#include "pooler/server_login.h"

#include <catch2/catch.hpp>
#include <vector>

#include "tests/support/logins.h"

using namespace pgweir;
using namespace pgweir::test;
using namespace std::literals;
using Tls = ServerLogin::Tls;
using Want = ServerLogin::Out::Want;

namespace {

constexpr Bytes kNonce = "ournonce";

const protocol::ScramVerifier& verifier() {
  static const auto made = protocol::make_scram_verifier("pencil", "0123456789abcdef", 2);
  return made;
}
protocol::ScramKey client_key_of(Bytes password) {
  return protocol::scram_client_key(
      protocol::scram_salted_password(password, verifier().salt, verifier().iterations));
}

using Secret = std::optional<protocol::Secret>;
Secret none() { return std::nullopt; }
Secret plain() { return protocol::PlainSecret{"pencil"}; }
Secret md5() { return protocol::Md5Secret{protocol::md5_hash_user("pencil", "app")}; }
Secret scram() { return verifier(); }

// What the server may ask for; everything else about it stays trusted.
ServerLogin::Policy only(const char* method) {
  const Bytes m = method;
  return {Tls::Never, true, m == "trust", m == "md5", m == "scram-sha-256", m == "password"};
}
ServerLogin::Policy any(Tls tls = Tls::Never, bool clear_password = true) { return {tls, clear_password}; }

// The core and the least of a driver. Answers in words: what was sent ("ssl", "startup", "p") and what is
// wanted.
struct Login {
  explicit Login(ServerLogin::Policy policy = any(), Secret secret = plain(),
                 std::optional<protocol::ScramKey> key = std::nullopt)
      : core(policy, {"app", std::move(secret), key}, "shop", std::string(kNonce)) {}

  std::string connects() {
    return tell([&](auto& o) { core.connected(o); });
  }
  std::string secured() {
    return tell([&](auto& o) { core.secured(o); });
  }
  std::string hears(Bytes in) {
    const std::string buffer(in);  // a read buffer is used again
    return tell([&](auto& o) { core.bytes(buffer, o); });
  }
  std::string derives(Bytes password = "pencil") {
    const auto& with = core.challenge();
    const auto key = protocol::scram_salted_password(password, with.salt, with.iterations);
    return tell([&](auto& o) { core.derived(key, o); });
  }

  template <class Step>
  std::string tell(Step step) {
    out = {};
    step(out);
    std::string words;
    Bytes rest = out.send;
    if (rest == ssl_request()) {
      words = "ssl";
      rest = {};
    } else if (rest.size() > 8 && rest[0] == 0) {
      words = "startup";
      rest = {};
    }
    for (const std::string& one : split(rest)) words += (words.empty() ? "" : " ") + std::string(1, one[0]);
    const char* wants = "";
    switch (out.want) {
      case Want::More: break;
      case Want::StartTls: wants = "starttls"; break;
      case Want::Derive: wants = "derive"; break;
      case Want::Done: wants = "done"; break;
      case Want::Failed: wants = out.error.sqlstate; break;
    }
    if (!words.empty() && *wants != '\0') words += ' ';
    return words + wants;
  }

  ServerLogin core;
  ServerLogin::Out out;
};

Login begun(ServerLogin::Policy policy = any(), Secret secret = plain(),
            std::optional<protocol::ScramKey> key = std::nullopt) {
  Login login(policy, std::move(secret), key);
  REQUIRE(login.connects() == "startup");
  return login;
}

// A Postgres that knows verifier(), for the rest of a SCRAM exchange.
struct Postgres {
  protocol::ScramServer scram{verifier(), "servernonce"};
  std::string first(const Login& login) {  // answers SASLInitialResponse
    auto answer = scram.client_first(Bytes(login.out.send).substr(5 + sizeof "SCRAM-SHA-256" + 4));
    REQUIRE(answer);
    return auth(11, *answer);
  }
  std::string last(const Login& login) {  // answers SASLResponse; empty: wrong proof
    auto answer = scram.client_final(Bytes(login.out.send).substr(5));
    return answer ? auth(12, *answer) : "";
  }
};

const char kViolation[] = "08P01";

}  // namespace

TEST_CASE("TLS is used as the policy says, whatever the server answers") {
  struct Row {
    Tls tls;
    std::string answer;
    std::string then;
  };
  const Row row = GENERATE(values<Row>({
      {Tls::IfOffered, "S", "starttls"},
      {Tls::IfOffered, "N", "startup"},
      {Tls::IfOffered, "E", "57P03"},
      {Tls::IfOffered, error("53300", "too many", "FATAL"), "57P03"},
      {Tls::IfOffered, "G", "08P01"},
      {Tls::IfOffered, "\0"s, "08P01"},
      {Tls::IfOffered, "s", "08P01"},
      {Tls::IfOffered, "SS", "08P01"},
      {Tls::IfOffered, "NN", "08P01"},
      {Tls::IfOffered, "N" + auth_ok(), "08P01"},
      {Tls::IfOffered, "S" + auth_ok(), "08P01"},
      {Tls::Always, "S", "starttls"},
      {Tls::Always, "N", "08006"},
      {Tls::Always, "E", "57P03"},
      {Tls::Always, "x", "08P01"},
      {Tls::Always, "S" + auth_ok(), "08P01"},
  }));
  Login login(any(row.tls));
  REQUIRE(login.connects() == "ssl");
  CHECK(login.hears(row.answer) == row.then);
  CHECK_FALSE(login.out.from_server);
  if (row.then == "starttls") CHECK(login.secured() == "startup");
  if (row.then == "starttls" || row.then == "startup") CHECK(login.hears(auth_ok() + welcome()) == "done");
}

TEST_CASE("without TLS the startup packet comes first, with our user and database and nothing else") {
  Login login;
  CHECK(login.connects() == "startup");
  CHECK(login.out.send == startup({{"user", "app"}, {"database", "shop"}}));
}

TEST_CASE("a server that talks between its TLS answer and the handshake is refused") {
  Login login(any(Tls::Always));
  login.connects();
  REQUIRE(login.hears("S") == "starttls");
  CHECK(login.hears(auth_ok() + welcome()) == kViolation);
}

TEST_CASE("only pinned methods are answered") {
  struct Row {
    const char* asked;
    std::string request;
  };
  const Row row = GENERATE(values<Row>({{"trust", auth_ok()},
                                        {"password", auth(3)},
                                        {"md5", auth(5, "salt")},
                                        {"scram-sha-256", auth_sasl()}}));
  const char* const pinned = GENERATE("trust", "password", "md5", "scram-sha-256");
  CAPTURE(row.asked, pinned);
  Login login = begun(only(pinned));
  const bool same = Bytes(row.asked) == pinned;
  CHECK(login.hears(row.request) == (same ? (Bytes(pinned) == "trust" ? "" : "p") : "28000"));
  if (same) return;
  CHECK(login.out.send.empty());
  CHECK(login.out.error.hint.find("auth_methods") != std::string::npos);
}

TEST_CASE("a method is answered only with the secret that it takes") {
  struct Row {
    const char* what;
    std::string request;
    Secret secret;
    std::string answer;
  };
  const Row row = GENERATE(values<Row>({
      {"password, plain", auth(3), plain(), "p"},
      {"password, md5", auth(3), md5(), "28P01"},
      {"password, scram", auth(3), scram(), "28P01"},
      {"password, none", auth(3), none(), "28P01"},
      {"md5, plain", auth(5, "salt"), plain(), "p"},
      {"md5, md5", auth(5, "salt"), md5(), "p"},
      {"md5, scram", auth(5, "salt"), scram(), "28P01"},
      {"md5, none", auth(5, "salt"), none(), "28P01"},
      {"scram, plain", auth_sasl(), plain(), "p"},
      {"scram, md5", auth_sasl(), md5(), "28P01"},
      {"scram, scram without a key", auth_sasl(), scram(), "28P01"},
      {"scram, none", auth_sasl(), none(), "28P01"},
      {"trust, none", auth_ok(), none(), ""},
  }));
  INFO(row.what);
  Login login = begun(any(), row.secret);
  CHECK(login.hears(row.request) == row.answer);
  CHECK_FALSE(login.out.from_server);
  CHECK(login.out.error.hint.empty() == (row.answer != "28P01"));
}

TEST_CASE("the password never goes over a line where somebody may listen (R3)") {
  for (const Tls tls : {Tls::Never, Tls::IfOffered, Tls::Always}) {
    Login login(any(tls, false));
    if (login.connects() == "ssl" && login.hears(tls == Tls::Always ? "S" : "N") == "starttls")
      login.secured();
    CHECK(login.hears(auth(3)) == "28000");
    CHECK(login.out.send.empty());
  }
}

TEST_CASE("a password is sent as it is, and MD5 as Postgres reckons it") {
  Login clear = begun();
  clear.hears(auth(3));
  CHECK(clear.out.send == password("pencil"));
  for (const Secret& secret : {plain(), md5()}) {
    Login hashed = begun(any(), secret);
    hashed.hears(auth(5, "salt"));
    CHECK(hashed.out.send ==
          password(protocol::md5_response(protocol::md5_hash_user("pencil", "app"), "salt")));
  }
}

TEST_CASE("each method ends in a login, also cut at every byte") {
  struct Row {
    const char* method;
    std::string request;
  };
  const Row row = GENERATE(values<Row>({{"trust", ""}, {"password", auth(3)}, {"md5", auth(5, "salt")}}));
  const std::string tail = auth_ok() + notice() + welcome();
  for (std::size_t cut = 0; cut <= row.request.size() + tail.size(); ++cut) {
    // The server waits for our answer, so that no cut goes across it.
    Login login = begun(only(row.method));
    const std::size_t in_request = std::min(cut, row.request.size());
    const std::size_t in_tail = cut - in_request;
    if (!row.request.empty()) {
      const std::string head = login.hears(Bytes(row.request).substr(0, in_request));
      CHECK(head + login.hears(Bytes(row.request).substr(in_request)) == "p");
    }
    const std::string head = login.hears(Bytes(tail).substr(0, in_tail));
    CHECK(head == (in_tail == tail.size() ? "done" : ""));
    if (in_tail < tail.size()) CHECK(login.hears(Bytes(tail).substr(in_tail)) == "done");
    CHECK(login.core.parameters().at("TimeZone") == "UTC");
    CHECK(login.core.cancel_pid() == 42);
    CHECK(login.core.cancel_key() == "k3yk");
  }
}

TEST_CASE("SCRAM logs in with a plain password and with the key that a client has shown, at every cut") {
  const bool pass_through = GENERATE(false, true);
  const auto login_in_pieces = [&](std::size_t size) {
    Postgres postgres;
    Login login = pass_through ? begun(only("scram-sha-256"), scram(), client_key_of("pencil"))
                               : begun(only("scram-sha-256"));
    const auto hears = [&](const std::string& bytes) {
      std::string words;
      for (std::size_t at = 0; at < bytes.size(); at += size)
        words += login.hears(Bytes(bytes).substr(at, size));
      return words;
    };
    REQUIRE(hears(auth_sasl()) == "p");
    REQUIRE(hears(postgres.first(login)) == (pass_through ? "p" : "derive"));
    if (!pass_through) REQUIRE(login.derives() == "p");
    const std::string proof = postgres.last(login);
    REQUIRE_FALSE(proof.empty());
    CHECK(hears(proof).empty());
    CHECK(hears(auth_ok() + welcome()) == "done");
  };
  for (std::size_t size = 1; size < 120; ++size) login_in_pieces(size);
}

TEST_CASE("a key that does not open the secret is not tried") {
  Login login = begun(any(), scram(), client_key_of("the password before"));
  CHECK(login.hears(auth_sasl()) == "28P01");
  CHECK(login.out.send.empty());
}

TEST_CASE("a client's key is of no use at a server with another salt or other iterations") {
  const auto [salt, iterations] =
      GENERATE(std::pair{"MDEyMzQ1Njc4OWFiY2RlZA=="s, "2"s}, std::pair{"MDEyMzQ1Njc4OWFiY2RlZg=="s, "3"s});
  Login login = begun(any(), scram(), client_key_of("pencil"));
  REQUIRE(login.hears(auth_sasl()) == "p");
  CHECK(login.hears(auth(11, "r=ournonceX,s=" + salt + ",i=" + iterations)) == "28P01");
  CHECK(login.out.send.empty());
}

TEST_CASE("AuthenticationOk counts only where one may come (R3)") {
  const auto state = GENERATE("asked nothing", "after our first", "after our last", "while keys are derived",
                              "after a wrong proof");
  CAPTURE(state);
  const Bytes where = state;
  Login login = begun(only("scram-sha-256"));
  if (where == "asked nothing") {
    CHECK(login.hears(auth_ok() + welcome()) == "28000");
    return;
  }
  Postgres postgres;
  REQUIRE(login.hears(auth_sasl()) == "p");
  if (where == "after our first") {
    CHECK(login.hears(auth_ok() + welcome()) == "28000");
    return;
  }
  REQUIRE(login.hears(postgres.first(login)) == "derive");
  if (where == "while keys are derived") {
    CHECK(login.hears(auth_ok() + welcome()).empty());
    CHECK(login.derives() == "28000");
    CHECK(login.out.send.empty());
    return;
  }
  REQUIRE(login.derives() == "p");
  if (where == "after our last")
    CHECK(login.hears(auth_ok() + welcome()) == "28000");
  else
    CHECK(login.hears(auth(12, "v=" + std::string(43, 'A') + "=") + auth_ok() + welcome()) == "28P01");
}

TEST_CASE("a server that does not know our key does not get past us") {
  Postgres postgres;
  Login login = begun(any(), protocol::PlainSecret{"not pencil"});
  REQUIRE(login.hears(auth_sasl()) == "p");
  REQUIRE(login.hears(postgres.first(login)) == "derive");
  REQUIRE(login.derives("not pencil") == "p");
  CHECK(postgres.last(login).empty());
}

TEST_CASE("iterations that would cost us time are refused before anything is derived (R3)") {
  const auto [iterations, code] = GENERATE(table<std::string, std::string>({{"100001", "54000"},
                                                                            {"2147483647", "54000"},
                                                                            {"99999999999999999999", "54000"},
                                                                            {"0", "08P01"},
                                                                            {"-1", "08P01"},
                                                                            {"", "08P01"},
                                                                            {"4096x", "08P01"}}));
  Login login = begun();
  REQUIRE(login.hears(auth_sasl()) == "p");
  CHECK(login.hears(auth(11, "r=ournonceX,s=MDEyMzQ1Njc4OWFiY2RlZg==,i=" + iterations)) == code);
}

TEST_CASE("a malformed challenge or proof ends the login") {
  const std::string challenge =
      GENERATE(""s, "r=theirnonce,s=MDEy,i=1"s, "r=ournonce,s=MDEy,i=1"s, "r=ournonceX,s=,i=1"s,
               "r=ournonceX,s=???,i=1"s, "r=ournonceX,i=1"s, "r=ournonceX,s=MDEy"s, "s=MDEy,i=1,r=ournonceX"s,
               "\0"s, "r=ournonce" + std::string(2000, 'x') + ",s=MDEy,i=1",
               "r=ournonceX,s=" + std::string(4000, 'A') + ",i=1");
  Login login = begun();
  REQUIRE(login.hears(auth_sasl()) == "p");
  CHECK(login.hears(auth(11, challenge)) == kViolation);
  Postgres postgres;
  Login later = begun();
  REQUIRE(later.hears(auth_sasl()) == "p");
  REQUIRE(later.hears(postgres.first(later)) == "derive");
  REQUIRE(later.derives() == "p");
  CHECK(later.hears(auth(12, challenge)) == kViolation);
}

TEST_CASE("SCRAM is spoken only where it is offered by its name") {
  const auto [offer, answer] = GENERATE(table<std::string, std::string>({
      {z("SCRAM-SHA-256-PLUS") + z("SCRAM-SHA-256") + '\0', "p"},
      {z("SCRAM-SHA-256-PLUS") + '\0', "28000"},
      {z("SCRAM-SHA-1") + '\0', "28000"},
      {"\0"s, "28000"},
      {"", "28000"},
      {"SCRAM-SHA-256", "28000"},
  }));
  Login login = begun();
  CHECK(login.hears(auth(10, offer)) == answer);
}

TEST_CASE("every message out of turn ends the login") {
  struct Row {
    const char* what;
    std::string bytes;
  };
  const Row row = GENERATE(values<Row>({
      {"welcome before AuthenticationOk", welcome()},
      {"a parameter before it", parameter("TimeZone", "UTC")},
      {"a key before it", backend_key()},
      {"ready before it", ready()},
      {"a row", row_description()},
      {"a notification", notification()},
      {"NegotiateProtocolVersion", message('v', std::string(8, '\0'))},
      {"an unknown type", message('?')},
      {"a challenge", auth(11, "r=ournonceX,s=MDEy,i=1")},
      {"a proof", auth(12, "v=AAAA")},
      {"GSSAPI", auth(7)},
      {"SSPI", auth(9)},
      {"Kerberos", auth(2)},
      {"an unknown request", auth(13)},
      {"the greatest request", auth(0xffffffff)},
      {"an empty request", message('R')},
      {"half a request", message('R', "\0\0"s)},
      {"Ok with a body", auth(0, "x")},
      {"password with a body", auth(3, "x")},
      {"md5 without salt", auth(5)},
      {"md5 with 3 bytes of salt", auth(5, "sal")},
      {"md5 with 5 bytes of salt", auth(5, "salty")},
      {"Ok twice", auth_ok() + auth_ok()},
      {"a request after Ok", auth_ok() + auth(3)},
      {"two passwords", auth(3) + auth(3)},
      {"two hashes", auth(5, "salt") + auth(5, "pepp")},
      {"a password and a hash", auth(3) + auth(5, "salt")},
      {"SCRAM twice", auth_sasl() + auth_sasl()},
      {"SCRAM, then a password", auth_sasl() + auth(3)},
      {"a password, then SCRAM", auth(3) + auth_sasl()},
      {"a parameter without a value", auth_ok() + message('S', z("TimeZone"))},
      {"a parameter with more", auth_ok() + message('S', z("a") + z("b") + "c")},
      {"an empty parameter", auth_ok() + message('S')},
      {"a key without a key", auth_ok() + backend_key(1, "")},
      {"a key of 3 bytes", auth_ok() + backend_key(1, "abc")},
      {"a key of 257 bytes", auth_ok() + backend_key(1, std::string(257, 'k'))},
      {"half a pid", auth_ok() + message('K', "abc")},
      {"two keys", auth_ok() + backend_key() + backend_key()},
      {"ready without any parameter", auth_ok() + backend_key() + ready()},
      {"ready in a transaction", auth_ok() + parameter("a", "b") + ready('T')},
      {"ready in a failed one", auth_ok() + parameter("a", "b") + ready('E')},
      {"ready and more", auth_ok() + parameter("a", "b") + message('Z', "II")},
      {"ready and nothing", auth_ok() + parameter("a", "b") + message('Z')},
      {"talk behind the login", auth_ok() + welcome() + notice()},
      {"a byte behind the login", auth_ok() + welcome() + "x"},
      {"a second welcome", auth_ok() + welcome() + welcome()},
  }));
  INFO(row.what);
  Login login = begun();
  CHECK(login.hears(row.bytes) == kViolation);
  CHECK(login.out.send.empty());
  Login drop_by_drop = begun();
  std::string words;
  bool done = false;
  for (std::size_t i = 0; i < row.bytes.size() && drop_by_drop.out.want != Want::Failed; ++i) {
    words = drop_by_drop.hears(Bytes(row.bytes).substr(i, 1));
    done = done || words == "done";
  }
  CHECK((done || words == kViolation));
}

TEST_CASE("lengths that cannot be are refused by the header alone") {
  const std::uint32_t length =
      GENERATE(0u, 3u, protocol::kMaxAuthMessage + 1, 0x7fffffffu, 0x80000000u, 0xffffffffu);
  const char type = GENERATE('R', 'E', 'N', 'S', 'K', 'Z', '?');
  std::string header(5, type);
  protocol::store_u32(header.data() + 1, length);
  Login login = begun();
  CHECK(login.hears(header) == kViolation);
}

TEST_CASE("the longest message is taken, and one kept for its rest costs no more than itself") {
  Login login = begun();
  REQUIRE(login.hears(auth_ok()).empty());
  const std::string longest = message('N', std::string(protocol::kMaxAuthMessage - 4, 'x'));
  for (int i = 0; i < 50; ++i) {
    CHECK(login.hears(longest.substr(0, 40'000)).empty());
    CHECK(login.hears(longest.substr(40'000)).empty());
  }
  CHECK(login.hears(welcome()) == "done");
}

TEST_CASE("a server that talks without end while we derive keys is refused (R12)") {
  Postgres postgres;
  Login login = begun();
  REQUIRE(login.hears(auth_sasl()) == "p");
  REQUIRE(login.hears(postgres.first(login)) == "derive");
  CHECK(login.hears(notice()).empty());
  std::string words;
  std::size_t heard = 0;
  const std::string noise = notice(std::string(1000, 'x'));
  while (words.empty() && heard < 1'000'000) {
    words = login.hears(noise);
    heard += noise.size();
  }
  CHECK(words == kViolation);
  CHECK(heard < 70'000);
}

TEST_CASE("what comes while keys are derived is read behind them") {
  Postgres postgres;
  Login login = begun();
  REQUIRE(login.hears(auth_sasl()) == "p");
  REQUIRE(login.hears(postgres.first(login)) == "derive");
  CHECK(login.hears(error("57P01", "going down", "FATAL")).empty());
  CHECK(login.derives() == "57P01");
  CHECK(login.out.from_server);
}

TEST_CASE("parameters without end are refused, repeated ones keep the last value (R12)") {
  Login login = begun();
  REQUIRE(login.hears(auth_ok()).empty());
  std::string words;
  int count = 0;
  const bool large = GENERATE(false, true);
  while (words.empty() && count < 100'000) {
    words = login.hears(parameter("p" + std::to_string(++count), large ? std::string(60'000, 'v') : ""));
  }
  CHECK(words == kViolation);
  CHECK(count < 1000);
  Login again = begun();
  CHECK(again.hears(auth_ok() + parameter("a", "1") + parameter("a", "2") + ready()) == "done");
  CHECK(again.core.parameters() == SettingsMap::Values{{"a", "2"}});
}

TEST_CASE("a server may give no cancel key, or a long one") {
  Login bare = begun();
  CHECK(bare.hears(auth_ok() + parameter("a", "b") + ready()) == "done");
  CHECK(bare.core.cancel_key().empty());
  Login full = begun();
  const std::string key(256, 'k');
  CHECK(full.hears(auth_ok() + parameter("a", "b") + backend_key(1, key) + ready()) == "done");
  CHECK(full.core.cancel_key() == key);
}

TEST_CASE("a server's refusal is passed on with its SQLSTATE where it has one that we know") {
  struct Row {
    std::string bytes;
    std::string sqlstate;
    std::string text;
  };
  const std::string no_reason = "server refused the login and did not say why";
  const Row row = GENERATE_COPY(values<Row>({
      {error("28P01", "wrong", "FATAL"), "28P01", "wrong"},
      {error("3D000", "no such database", "FATAL"), "3D000", "no such database"},
      {error("53300", "too many", "FATAL"), "53300", "too many"},
      {error("57P03", "starting up", "FATAL"), "57P03", "starting up"},
      {error("ZZ999", "new in Postgres 40", "FATAL"), "08006", "new in Postgres 40"},
      {message('E', z("SFATAL") + z("Mno code") + '\0'), "08006", "no code"},
      {message('E', z("C28P0") + z("Mshort code") + '\0'), "08006", "short code"},
      {message('E', z("C28P01") + '\0'), "28P01", no_reason},
      {message('E', "\0"s), "08006", no_reason},
      {message('E'), "08006", no_reason},
      {message('E', "Mno NUL"), "08006", no_reason},
      {message('E', std::string(60'000, 'M')), "08006", no_reason},
  }));
  Login login = begun();
  CHECK(login.hears(row.bytes) == row.sqlstate);
  CHECK(login.out.from_server);
  CHECK(login.out.error.message == row.text);
  Login late = begun();
  REQUIRE(late.hears(auth_ok() + parameter("a", "b")).empty());
  CHECK(late.hears(row.bytes + welcome()) == row.sqlstate);
}

TEST_CASE("a server is waited for patiently once it has our password to check, or has let us in") {
  SECTION("TLS, then SCRAM") {
    Login login(any(Tls::Always));
    Postgres postgres;
    CHECK_FALSE(login.core.prompt());
    REQUIRE(login.connects() == "ssl");
    CHECK(login.core.prompt());
    REQUIRE(login.hears("S") == "starttls");
    CHECK(login.core.prompt());
    REQUIRE(login.secured() == "startup");
    CHECK(login.core.prompt());
    REQUIRE(login.hears(auth_sasl()) == "p");
    CHECK(login.core.prompt());
    REQUIRE(login.hears(postgres.first(login)) == "derive");
    CHECK_FALSE(login.core.prompt());  // it waits for us
    REQUIRE(login.derives() == "p");
    CHECK_FALSE(login.core.prompt());
    REQUIRE(login.hears(postgres.last(login)) == "");
    CHECK_FALSE(login.core.prompt());
    REQUIRE(login.hears(auth_ok()) == "");
    CHECK_FALSE(login.core.prompt());
  }
  SECTION("TLS declined") {
    Login login(any(Tls::IfOffered));
    REQUIRE(login.connects() == "ssl");
    REQUIRE(login.hears("N") == "startup");
    CHECK(login.core.prompt());
  }
  SECTION("a notice does not change that, nor does half a message") {
    Login login = begun();
    REQUIRE(login.hears(auth(3).substr(0, 3)) == "");
    CHECK(login.core.prompt());
  }
  SECTION("passwords in clear, which may go to LDAP or PAM, and MD5") {
    for (const std::string& asked : {auth(3), auth(5, "salt")}) {
      Login login = begun();
      REQUIRE(login.hears(asked) == "p");
      CHECK_FALSE(login.core.prompt());
    }
  }
  SECTION("trust") {
    Login login = begun();
    REQUIRE(login.hears(auth_ok()) == "");
    CHECK_FALSE(login.core.prompt());
  }
  SECTION("a refusal") {
    Login login(any(Tls::Always));
    REQUIRE(login.connects() == "ssl");
    REQUIRE(login.hears("N") == "08006");
    CHECK_FALSE(login.core.prompt());
  }
}
