#include <vector>

#include "tests/pooler/login_help.h"

using namespace pgweir;
using namespace pgweir::test;
using namespace std::literals;

TEST_CASE("every first packet is understood at every cut, and nothing is said before it is whole") {
  struct Row {
    std::string packet;
    Tls tls;
    std::string answer;
  };
  const Row row = GENERATE(values<Row>({
      {ssl_request(), Tls::Offered, "S starttls"},
      {ssl_request(), Tls::Required, "S starttls"},
      {ssl_request(), Tls::Off, "N"},
      {gss_request(), Tls::Off, "N"},
      {gss_request(), Tls::Required, "N"},
      {cancel_packet(7, "abcd"), Tls::Off, "cancel"},
      {cancel_packet(7, std::string(256, 'k')), Tls::Required, "cancel"},
      {startup(), Tls::Offered, "name"},
      {startup({{"user", "ann"}}), Tls::Off, "name"},
      {startup({{"user", "ann"}, {"options", "-c search_path=a"}}, protocol::kVersion32), Tls::Off, "name"},
  }));
  for (std::size_t cut = 0; cut <= row.packet.size(); ++cut) {
    Login login(row.tls);
    const bool whole = cut == row.packet.size();
    CHECK(login.says(Bytes(row.packet).substr(0, cut)) == (whole ? row.answer : ""));
    if (!whole) CHECK(login.says(Bytes(row.packet).substr(cut)) == row.answer);
    CHECK(login.held.empty());
  }
  Login slow(row.tls);
  std::string words;
  for (const char byte : row.packet) words += slow.says(Bytes(&byte, 1));
  CHECK(words == row.answer);
}

TEST_CASE("a cancel request yields its key, and what comes behind it is dropped") {
  Login login;
  CHECK(login.says(cancel_packet(7, "abcd") + startup()) == "cancel");
  CHECK(login.core.cancel().pid == 7);
  CHECK(login.core.cancel().key == "abcd");
  CHECK(login.held.empty());
}

TEST_CASE("what somebody wants is unknown until a packet says so, under TLS as well") {
  Login login(Tls::Offered);
  CHECK(login.core.unnamed());
  CHECK(login.says(ssl_request()) == "S starttls");
  CHECK(login.core.unnamed());
  LoginCore::Out out;
  login.core.tls_started("", out);
  CHECK(login.core.unnamed());
  Login canceller, user;
  canceller.says(cancel_packet(7, "abcd"));
  CHECK_FALSE(canceller.core.unnamed());
  user.says(startup());
  CHECK_FALSE(user.core.unnamed());
}

TEST_CASE("a first packet that cannot be one is refused as soon as that shows") {
  struct Row {
    const char* what;
    std::string bytes;
    std::string answer;
  };
  const Row row = GENERATE(values<Row>({
      {"length 0", length_of_first(0), kViolation},
      {"length 7", length_of_first(7), kViolation},
      {"length 10001", length_of_first(10'001), kViolation},
      {"length 2^31 - 1", length_of_first(0x7fffffff), kViolation},
      {"length 2^31", length_of_first(0x80000000), kViolation},
      {"length 2^32 - 1", length_of_first(0xffffffff), kViolation},
      {"direct TLS", "\x16\x03\x01\x02\x00\x01"s, kViolation},
      {"HTTP", "GET / HTTP/1.1\r\n", kViolation},
      {"SSLRequest with a body", first_packet(protocol::kSslRequestCode, "x"), kViolation},
      {"GSSENCRequest with a body", first_packet(protocol::kGssRequestCode, "x"), kViolation},
      {"cancel without a key", cancel_packet(7, ""), kViolation},
      {"cancel with 3 bytes of key", cancel_packet(7, "abc"), kViolation},
      {"cancel with 257 bytes of key", cancel_packet(7, std::string(257, 'k')), kViolation},
      {"protocol 2.0", startup({{"user", "ann"}}, 2 << 16), "E:0A000:FATAL close"},
      {"protocol 4.0", startup({{"user", "ann"}}, 4 << 16), "E:0A000:FATAL close"},
      {"protocol 0.0", first_packet(0), "E:0A000:FATAL close"},
      {"no terminator", first_packet(protocol::kVersion30, "user\0ann\0"s), kViolation},
      {"no value", first_packet(protocol::kVersion30, "user\0"s), kViolation},
      {"no NUL", first_packet(protocol::kVersion30, "user"), kViolation},
      {"bytes behind the terminator", first_packet(protocol::kVersion30, "user\0ann\0\0x"s), kViolation},
      {"empty", first_packet(protocol::kVersion30), kViolation},
      {"no user", startup({{"database", "shop"}}), "E:28000:FATAL close"},
      {"an empty user", startup({{"user", ""}}), "E:28000:FATAL close"},
      {"options that loop elsewhere", startup({{"user", "ann"}, {"options", "-c="}}), "E:42601:FATAL close"},
  }));
  INFO(row.what);
  for (std::size_t cut = 0; cut < row.bytes.size(); ++cut) {
    Login login;
    std::string words = login.says(Bytes(row.bytes).substr(0, cut));
    if (words.empty()) words = login.says(Bytes(row.bytes).substr(cut));
    CHECK(words == row.answer);
    CHECK(login.says(startup()).empty());
  }
}

TEST_CASE("the longest startup packet is taken, one byte more is not") {
  const std::size_t rest = startup({{"user", "ann"}, {"application_name", ""}}).size();
  Login longest, longer;
  const std::string fits(protocol::kMaxStartupPacket - rest, 'a');
  CHECK(longest.says(startup({{"user", "ann"}, {"application_name", fits}})) == "name");
  CHECK(longer.says(startup({{"user", "ann"}, {"application_name", fits + "a"}})) == kViolation);
}

TEST_CASE("encryption may be asked for once each, in any order, and only in the open") {
  struct Row {
    Tls tls;
    std::vector<std::string> packets;
    std::string answers;
  };
  const std::string s = ssl_request(), g = gss_request(), begin = startup();
  const Row row = GENERATE_COPY(values<Row>({
      {Tls::Off, {s, begin}, "N|name|"},
      {Tls::Off, {g, s, begin}, "N|N|name|"},
      {Tls::Off, {s, g, begin}, "N|N|name|"},
      {Tls::Off, {s, s}, "N|" + kViolation + "|"},
      {Tls::Off, {g, g}, "N|" + kViolation + "|"},
      {Tls::Off, {s, g, s}, "N|N|" + kViolation + "|"},
      {Tls::Off, {g, s, g}, "N|N|" + kViolation + "|"},
      {Tls::Offered, {g, s, begin}, "N|S starttls|name|"},
      {Tls::Offered, {s, begin}, "S starttls|name|"},
      {Tls::Offered, {s, s}, "S starttls|" + kViolation + "|"},
      {Tls::Offered, {s, g}, "S starttls|" + kViolation + "|"},
      {Tls::Offered, {begin}, "name|"},
      {Tls::Required, {s, begin}, "S starttls|name|"},
      {Tls::Required, {s, cancel_packet(1, "abcd")}, "S starttls|cancel|"},
  }));
  Login login(row.tls);
  std::string answers;
  for (const std::string& packet : row.packets) {
    const std::string words = login.says(packet);
    answers += words + "|";
    if (words != "S starttls") continue;
    LoginCore::Out started;
    login.core.tls_started({}, started);
    login.secured = true;
  }
  CHECK(answers == row.answers);
}

TEST_CASE("TLS from the first byte needs the protocol's name, and an offer of TLS (R7)") {
  const std::string hello("\x16\x03\x01\x02\x00", 5);
  for (const Bytes alpn : {Bytes("postgresql"), Bytes("http/1.1"), Bytes("")}) {
    LoginCore core(Tls::Required);
    LoginCore::Out out;
    core.bytes(hello, false, out);
    CHECK(out.want == Want::StartTls);
    CHECK(out.consumed == 0);
    CHECK(out.send.empty());
    LoginCore::Out started;
    core.tls_started(alpn, started);
    CHECK(started.want == (alpn == "postgresql" ? Want::More : Want::Close));
    CHECK(started.send.empty());
  }
  LoginCore core(Tls::Off);
  LoginCore::Out out;
  core.bytes(hello, false, out);
  CHECK(out.want == Want::Close);
}

TEST_CASE("a byte behind a request for encryption ends the connection before anything is answered (R7)") {
  const std::string request = GENERATE(ssl_request(), gss_request());
  const Tls tls = GENERATE(Tls::Off, Tls::Offered, Tls::Required);
  const std::string stuffed =
      GENERATE("x"s, "\0"s, startup(), ssl_request(), gss_request(), password("pencil"));
  Login login(tls);
  CHECK(login.says(request + stuffed) == kViolation);
  Login parts(tls);
  parts.says(Bytes(request).substr(0, 5));
  CHECK(parts.says(request.substr(5) + stuffed) == kViolation);
}

TEST_CASE("bytes in the open while TLS is being started end the connection (R7)") {
  Login login(Tls::Offered);
  REQUIRE(login.says(ssl_request()) == "S starttls");
  CHECK(login.says(startup()) == kViolation);
}

TEST_CASE("where TLS is required nobody logs in without it, and a cancel needs none") {
  Login login(Tls::Required);
  CHECK(login.says(startup()) == "E:28000:FATAL close");
  CHECK(login.error_text() == "connection requires TLS");
  Login without_certificate(Tls::RequiredWithCertificate);
  CHECK(without_certificate.says(startup()) == "E:28000:FATAL close");
  CHECK(without_certificate.error().hint.find("sslcert") != std::string::npos);
  Login after_gss(Tls::Required);
  CHECK(after_gss.says(gss_request()) == "N");
  CHECK(after_gss.says(startup()) == "E:28000:FATAL close");
}

TEST_CASE("a second StartupMessage never changes who somebody is (R1)") {
  const std::string second = startup({{"user", "admin"}, {"database", "pgweir"}});
  const auto with = GENERATE(Method::Password, Method::Md5, Method::Scram);
  SECTION("instead of the password") {
    Login login = asked(with);
    CHECK(login.says(second) == kViolation);
    CHECK(login.core.startup().user == "ann");
  }
  SECTION("behind the first one") {
    Login login;
    REQUIRE(login.says(startup() + second) == "name");
    CHECK(login.authenticate(with, secret_for(with)) == (with == Method::Password ? "R3 "
                                                         : with == Method::Md5    ? "R5 "
                                                                                  : "R10 ") +
                                                            kViolation);
    CHECK(login.core.startup().user == "ann");
    CHECK(login.core.startup().database == "shop");
  }
  SECTION("in the middle of SCRAM") {
    Login login = at_final();
    CHECK(login.says(second) == kViolation);
  }
  SECTION("after the login it is left to the session") {
    Login login;
    REQUIRE(login.says(startup() + second) == "name");
    CHECK(login.authenticate(Method::Trust, plain()) == "R0 done");
    CHECK(login.says({}).empty());
    CHECK(login.held == second);
    CHECK(login.core.startup().user == "ann");
  }
}

TEST_CASE(
    "NegotiateProtocolVersion is sent once, before the method, and never names more than was asked for") {
  struct Row {
    std::uint32_t version;
    std::vector<std::string> options;
    std::string answer;
  };
  const Row row = GENERATE(values<Row>({
      {3 << 16, {}, "R3"},
      {3 << 16 | 1, {}, "v3.0+0 R3"},
      {3 << 16 | 2, {}, "R3"},
      {3 << 16 | 3, {}, "v3.2+0 R3"},
      {3 << 16 | 9999, {}, "v3.2+0 R3"},
      {3 << 16 | 0xffff, {"_pq_.a"}, "v3.2+1 R3"},
      {3 << 16, {"_pq_.a"}, "v3.0+1 R3"},
      {3 << 16 | 2, {"_pq_.a", "_pq_.b"}, "v3.2+2 R3"},
  }));
  std::string body = z("user") + z("ann");
  for (const std::string& option : row.options) body += z(option) + z("on");
  Login login;
  REQUIRE(login.says(first_packet(row.version, body + '\0')) == "name");
  CHECK(login.last.empty());  // the connection may move to another worker now
  CHECK(login.authenticate(Method::Password, plain()) == row.answer);
  CHECK(login.says(password("pencil")) == "R0 done");
}

TEST_CASE("each method lets the right password in and nothing else") {
  struct Row {
    Method method;
    protocol::Secret secret;
    std::string message;
    std::string answer;
  };
  const Row row = GENERATE(values<Row>({
      {Method::Password, plain(), password("pencil"), "R0 done"},
      {Method::Password, plain(), password("pencil "), kRefused},
      {Method::Password, plain(), password("Pencil"), kRefused},
      {Method::Password, plain(), password("penci"), kRefused},
      {Method::Password, plain(), md5_answer("pencil"), kRefused},
      {Method::Password, plain(), password(""), kRefused},
      {Method::Password, md5(), password("pencil"), "R0 done"},
      {Method::Password, md5(), password("pen"), kRefused},
      {Method::Password, md5(), password("md5" + protocol::md5_hash_user("pencil", "ann")), kRefused},
      {Method::Password, verifier(), password("pencil"), "derive"},
      {Method::Password, verifier(), password(""), kRefused},
      {Method::Md5, plain(), md5_answer("pencil"), "R0 done"},
      {Method::Md5, plain(), md5_answer("pen"), kRefused},
      {Method::Md5, plain(), password("pencil"), kRefused},
      {Method::Md5, plain(), password(""), kRefused},
      {Method::Md5, md5(), md5_answer("pencil"), "R0 done"},
      {Method::Md5, md5(), md5_answer("pen"), kRefused},
      {Method::Md5, md5(), password("md5" + protocol::md5_hash_user("pencil", "ann")), kRefused},
      {Method::Md5, md5(), password(protocol::md5_response(protocol::md5_hash_user("pencil", "bob"), kSalt4)),
       kRefused},
  }));
  Login login = asked(row.method, row.secret);
  CHECK(login.says(row.message) == row.answer);
  Login unknown = asked(row.method, row.secret, false);
  const std::string answer = unknown.says(row.message);
  CHECK(answer == (row.answer == "R0 done" ? kRefused : row.answer));
}

TEST_CASE("an answer that is no answer is refused at once, whatever the method") {
  const auto method = GENERATE(Method::Password, Method::Md5, Method::Scram);
  struct Row {
    const char* what;
    std::string bytes;
  };
  const Row row = GENERATE(values<Row>({
      {"a query", query("select 1")},
      {"a Sync", sync_message()},
      {"a Terminate", terminate()},
      {"the first byte of another type", "Q"},
      {"an SSLRequest", ssl_request()},
      {"a cancel", cancel_packet(1, "abcd")},
      {"length 0", header('p', 0)},
      {"length 3", header('p', 3)},
      {"one byte too long", header('p', LoginCore::kMessageMax + 1)},
      {"length 2^31 - 1", header('p', 0x7fffffff)},
      {"length 2^32 - 1", header('p', 0xffffffff)},
      {"an empty body", message('p')},
      {"no NUL", message('p', "pencil")},
      {"bytes behind the NUL", message('p', "pencil\0x"s)},
      {"two NULs", message('p', "pencil\0\0"s)},
  }));
  INFO(row.what);
  Login login = asked(method);
  CHECK(login.says(row.bytes) == kViolation);
  CHECK(login.says(password("pencil")).empty());
}

TEST_CASE("a password message is understood at every cut") {
  struct Row {
    Method method;
    std::string message;
  };
  const Row row =
      GENERATE(values<Row>({{Method::Password, password("pencil")}, {Method::Md5, md5_answer("pencil")}}));
  for (std::size_t cut = 0; cut < row.message.size(); ++cut) {
    Login login = asked(row.method);
    CHECK(login.says(Bytes(row.message).substr(0, cut)).empty());
    CHECK(login.says(Bytes(row.message).substr(cut)) == "R0 done");
  }
}

TEST_CASE("the longest password message is taken and refused for its password only") {
  Login login = asked(Method::Password);
  CHECK(login.says(password(std::string(LoginCore::kMessageMax - 5, 'x'))) == kRefused);
}

TEST_CASE("what a client sends before it is asked waits and is used then") {
  Login login;
  REQUIRE(login.says(startup() + password("pencil") + query("select 1")) == "name");
  CHECK(login.says("").empty());
  CHECK(login.authenticate(Method::Password, plain()) == "R3 R0 done");
  CHECK(login.held == query("select 1"));
}

TEST_CASE("a refusal after the login is a FATAL error behind AuthenticationOk, and the last word") {
  Login login = asked(Method::Password);
  REQUIRE(login.says(password("pencil")) == "R0 done");
  CHECK(login.refused({sqlstate::kInvalidCatalogName, "no", {}, {}}) == "E:3D000:FATAL close");
  CHECK(login.says(query("select 1")).empty());
}

TEST_CASE("a login can be ended in every state with one FATAL error") {
  const Error late{sqlstate::kQueryCanceled, "too late", {}, {}};
  Login first, named, tls(Tls::Offered);
  CHECK(first.refused(late) == "E:57014:FATAL close");
  named.says(startup());
  CHECK(named.refused(late) == "E:57014:FATAL close");
  tls.says(ssl_request());
  CHECK(tls.refused(late) == "E:57014:FATAL close");
  for (const Method method : {Method::Password, Method::Md5, Method::Scram}) {
    Login login = asked(method);
    CHECK(login.refused(late) == "E:57014:FATAL close");
    CHECK(login.says(password("pencil")).empty());
  }
}

TEST_CASE("a login that ends says why, from a closed set") {
  Login open(Tls::Required);
  open.says(startup());
  CHECK(open.refusal == "tls");
  Login led_astray(Tls::Offered);
  REQUIRE(led_astray.says("\x16") == "starttls");
  LoginCore::Out out;
  led_astray.core.tls_started("h2", out);
  led_astray.take(out);
  CHECK(led_astray.refusal == "tls");
  Login garbage;
  garbage.says("GET / HTTP/1.1\r\n\r\n");
  CHECK(garbage.refusal == "protocol");
  for (const bool known : {true, false}) {
    Login wrong = asked(Method::Password, plain(), known);
    wrong.says(password(known ? "pen" : "pencil"));
    CHECK(wrong.refusal == "password");
  }
  Login empty = asked(Method::Md5);
  empty.says(password(""));
  CHECK(empty.refusal == "password");
  Login query_first = asked(Method::Scram);
  query_first.says(query("select 1"));
  CHECK(query_first.refusal == "protocol");
  Login late = asked(Method::Password);
  late.refused({sqlstate::kQueryCanceled, "too late", {}, {}});
  CHECK(late.refusal == "slow");
}

TEST_CASE("it is known whether a login waits for its client or for us") {
  Login login(Tls::Offered);
  CHECK(login.core.awaits_client());
  login.says(ssl_request());
  CHECK(login.core.awaits_client());
  for (const Method method : {Method::Password, Method::Md5, Method::Scram}) {
    Login named;
    REQUIRE(named.says(startup()) == "name");
    CHECK_FALSE(named.core.awaits_client());
    named.authenticate(method, secret_for(method));
    CHECK(named.core.awaits_client());
  }
  Login derives = asked(Method::Password, verifier());
  REQUIRE(derives.says(password("pencil")) == "derive");
  CHECK_FALSE(derives.core.awaits_client());
}
