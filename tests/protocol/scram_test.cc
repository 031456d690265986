#include "protocol/scram.h"

#include <fcntl.h>
#include <sys/wait.h>
#include <unistd.h>
#include <catch2/catch.hpp>
#include <csignal>
#include <string>
#include <vector>

#include "pooler/base/error.h"
#include "protocol/base64.h"
#include "protocol/digest.h"

using namespace pgweir;
using namespace pgweir::protocol;
using namespace std::literals;
using Catch::Matchers::Contains;

namespace {

// RFC 7677 section 3: user "user", password "pencil".
constexpr Bytes kClientNonce = "rOprNGfwEbeRWgbNEkqO";
constexpr Bytes kServerNonce = "%hvYDpWUa2RaTCAfuxFIlj)hNlF$k0";
const std::string kSalt = *base64_decode("W22ZaJ0SNY7soEsUEjb6gQ==", 16);
constexpr Bytes kClientFirst = "n,,n=user,r=rOprNGfwEbeRWgbNEkqO";
constexpr Bytes kServerFirst =
    "r=rOprNGfwEbeRWgbNEkqO%hvYDpWUa2RaTCAfuxFIlj)hNlF$k0,s=W22ZaJ0SNY7soEsUEjb6gQ==,i=4096";
constexpr Bytes kClientFinal =
    "c=biws,r=rOprNGfwEbeRWgbNEkqO%hvYDpWUa2RaTCAfuxFIlj)hNlF$k0,"
    "p=dHzbZapWIk4jUhN+Ute9ytag9zjfMHgsqmmiz7AndVQ=";
constexpr Bytes kServerFinal = "v=6rriTRBi23WpRR/wtup+mMhUZUn/dB5nLTJRsjl95G4=";

const ScramVerifier& pencil() {
  static const ScramVerifier verifier = make_scram_verifier("pencil", kSalt, 4096);
  return verifier;
}

ScramServer new_server() { return {pencil(), std::string(kServerNonce)}; }

ScramServer challenged_server() {
  ScramServer server = new_server();
  REQUIRE(server.client_first(kClientFirst) == std::string(kServerFirst));
  return server;
}

struct Keys {
  ScramKey client, server;
};
Keys keys_of(Bytes password, const ScramClient::Challenge& challenge) {
  const ScramKey salted = scram_salted_password(password, challenge.salt, challenge.iterations);
  return {scram_client_key(salted), scram_server_key(salted)};
}

const Keys& pencil_keys() {
  static const Keys keys = keys_of("pencil", {kSalt, 4096});
  return keys;
}

ScramClient waiting_client() {  // for the server's first message
  ScramClient client{std::string(kClientNonce)};
  REQUIRE(client.client_first() == "n,,n=,r=rOprNGfwEbeRWgbNEkqO");
  return client;
}

struct Proving {  // a client that waits for the server's last message, and the one it should get
  ScramClient client = waiting_client();
  std::string server_final;
  Proving() {
    ScramServer server = new_server();
    const auto first = server.client_first("n,,n=,r=rOprNGfwEbeRWgbNEkqO");
    REQUIRE(client.server_first(first.value()));
    server_final =
        server.client_final(client.client_final(pencil_keys().client, pencil_keys().server)).value();
  }
};

template <class T>
std::string answer(const Expected<T>& result) {
  return result ? "ok" : std::string(result.error().sqlstate);
}

std::string replaced(Bytes text, Bytes from, Bytes to) {
  const std::size_t at = text.find(from);
  REQUIRE(at != Bytes::npos);
  return std::string(text).replace(at, from.size(), to);
}

// Whether the call stops the process, as a failed PGWEIR_CHECK does.
template <class Call>
bool stops(Call call) {
  const pid_t child = fork();
  if (child == 0) {
    std::signal(SIGABRT, SIG_DFL);
    dup2(open("/dev/null", O_WRONLY | O_CLOEXEC), STDERR_FILENO);
    call();
    _exit(0);
  }
  int status = 0;
  REQUIRE(waitpid(child, &status, 0) == child);
  return WIFSIGNALED(status) && WTERMSIG(status) == SIGABRT;
}

}  // namespace

TEST_CASE("a server answers the client of RFC 7677 as the RFC does") {
  ScramServer server = new_server();
  CHECK(server.client_first(kClientFirst) == std::string(kServerFirst));
  CHECK_FALSE(server.authenticated());
  CHECK(server.client_final(kClientFinal) == std::string(kServerFinal));
  CHECK(server.authenticated());
  CHECK(server.client_key() == pencil_keys().client);
}

TEST_CASE("client and server agree on any password, and each proves that it knows it") {
  const std::string password = GENERATE("pencil"s, ""s, "p\xc3\xa4ssw\xc3\xb6rd"s, "\xff\xfe"s, "a,=b\0c"s,
                                        std::string(5000, 'x'), "\u2168\u00ad"s);
  ScramServer server(make_scram_verifier(password, "salt", 2), "server-nonce");
  ScramClient client("client-nonce");
  const auto first = server.client_first(client.client_first());
  REQUIRE(first);
  const auto challenge = client.server_first(*first);
  REQUIRE(challenge);
  CHECK(challenge->salt == "salt");
  CHECK(challenge->iterations == 2);
  const Keys keys = keys_of(password, *challenge);
  const auto final = server.client_final(client.client_final(keys.client, keys.server));
  REQUIRE(final);
  CHECK_FALSE(client.server_proven());
  CHECK(client.server_final(*final));
  CHECK(client.server_proven());
  CHECK(server.client_key() == keys.client);
}

TEST_CASE("the key learned from one login opens the next, without the password") {
  ScramServer front = challenged_server();
  REQUIRE(front.client_final(kClientFinal));
  ScramServer back(pencil(), "another");
  ScramClient client("fresh");
  REQUIRE(client.server_first(back.client_first(client.client_first()).value()));
  const auto final = back.client_final(client.client_final(front.client_key(), pencil().server_key));
  REQUIRE(final);
  CHECK(client.server_final(*final));
}

TEST_CASE("a password makes the verifier that Postgres makes of it") {
  struct Row {
    Bytes password, verifier;  // from Postgres 15
  };
  const Row row = GENERATE(values<Row>({
      {"pencil",
       "SCRAM-SHA-256$4096:cpIvHREzP9b4ogjr6u+w3A==$mSh1w5xIs5c7gMplnsGtXXl0Zhg0WyOufYzx/xLP3jU=:"
       "gil+XC9mNZGmFdJNe/gxzvVLWo1jSGr0r8ngMXp7MCM="},
      {"x\u00a0y\u00adz",
       "SCRAM-SHA-256$4096:4gmDMk/TQJoRWBNjszkzFg==$W+ugRVrWWLrEQipiXDGWcK8obv3+Sfm+0npBt0DpHDQ=:"
       "yejvZEMh6jDsBhyR1yemxL4Wo9ZnQZSHo08Zp9QGmRw="},
      {"\ufb01\u2168",
       "SCRAM-SHA-256$4096:tDgvS/uqUeBXIOhztzhvzw==$hHe4hiZpWD7JZi/Khcd4mwRr+1Q3RWliiSUb+y9CNBQ=:"
       "RtbQ1IHk8Hxz5z+hniv7QDa8lFVdV1IhpdkurLzr+D8="},
      {"\u05d0\u05d1",
       "SCRAM-SHA-256$4096:9wq0cbLiJQTv/mtseYuJ8w==$OUHf6EXAMYWr5+KCGVsPbygb+9cf8Nw5WvxF0sGAOhU=:"
       "fjTcEWbLXVVpn8+wcxZhxFSRV2fRAyLogifDCg/LIUY="},
      {"a\u05d0",
       "SCRAM-SHA-256$4096:fOLxZckcGSzI6U6hMEGvtQ==$k/9/vDWpSTR/KflfK8BQZ/7z//bkSJE2vcBo1TAy81s=:"
       "g+TxD4OEEAWvbsJ2CB1J25N+0HmcZyljde/u/mJLeeg="},
      {"\u0221",
       "SCRAM-SHA-256$4096:w2DatOODqo+FwRBpejVvYw==$70Td87+iYjUWvxXLCgSERb2lxkdhbBtvNvW7U9FXbc4=:"
       "gfoWAN2Cz0g1aNelEMNGu4w2W7DfPEDLg0SbsKL8jMQ="},
      {"\u0340a",
       "SCRAM-SHA-256$4096:2F8vVC8QA7I5RdwufiOnsg==$wmJMkgoPOc5/M3DOBW5xhUNlQesvmLyMEjn23YR4F24=:"
       "lPKSpLmG/xeHrk153OhO1BVK+Yur2ccGKRu60u7WNCk="},
      {"\u2135x",
       "SCRAM-SHA-256$4096:gyEIhI0f8r476Kxl6QdEIA==$blf3uq+DMNn/Q9kG/xFlAoGCym83F79u2GW8sS+Xq9g=:"
       "MCvUTcVv/6cFapv9CCOxAapZcLcYK3yZjJOoRsPUABY="},
  }));
  CAPTURE(row.password);
  const auto verifier = parse_scram_verifier(row.verifier);
  REQUIRE(verifier);
  const ScramVerifier ours = make_scram_verifier(row.password, verifier->salt, verifier->iterations);
  CHECK(format_scram_verifier(ours) == row.verifier);
}

TEST_CASE("a verifier has one spelling, within bounds; every other text is an error that does not show it") {
  const std::string good = format_scram_verifier(pencil());
  REQUIRE(parse_scram_verifier(good));
  CHECK(format_scram_verifier(*parse_scram_verifier(good)) == good);
  CHECK(parse_scram_verifier(replaced(good, "$4096:", "$1:")));
  CHECK(parse_scram_verifier(replaced(good, "$4096:", "$100000:")));
  CHECK(parse_scram_verifier(
      replaced(good, "W22ZaJ0SNY7soEsUEjb6gQ==", base64_encode(std::string(1024, 's')))));

  struct Edit {
    std::string from, to;
  };
  const Edit edit = GENERATE(values<Edit>({
      {"SCRAM-SHA-256$", ""},
      {"SCRAM-SHA-256$", "SCRAM-SHA-512$"},
      {"SCRAM-SHA-256$", " SCRAM-SHA-256$"},
      {"$4096:", "$:"},
      {"$4096:", "$0:"},
      {"$4096:", "$-1:"},
      {"$4096:", "$+4096:"},
      {"$4096:", "$04096:"},
      {"$4096:", "$ 4096:"},
      {"$4096:", "$4096x:"},
      {"$4096:", "$100001:"},
      {"$4096:", "$4294971392:"},  // 2^32 + 4096
      {"$4096:", "$99999999999999999999999:"},
      {"$4096:", "$4096"},
      {"W22ZaJ0SNY7soEsUEjb6gQ==", ""},
      {"W22ZaJ0SNY7soEsUEjb6gQ==", "W22ZaJ0SNY7soEsUEjb6gQ"},
      {"W22ZaJ0SNY7soEsUEjb6gQ==", "W22ZaJ0SNY7soEsUEjb6gR=="},
      {"W22ZaJ0SNY7soEsUEjb6gQ==", base64_encode(std::string(1025, 's'))},
      {"==$", "=="},
      {"==$", "==$$"},
      {"==$", "==$AAAA"},
      {"=:", "="},
      {"=:", "=:="},
      {"=:", "=::"},
      {"=:", "=:x"},
  }));
  const std::string text = replaced(good, edit.from, edit.to);
  CAPTURE(text);
  const auto result = parse_scram_verifier(text);
  REQUIRE(answer(result) == sqlstate::kInvalidParameterValue);
  CHECK_THAT(result.error().message + result.error().detail + result.error().hint, !Contains("W22Z"));
}

TEST_CASE("no beginning of a verifier is a verifier") {
  const std::string good = format_scram_verifier(pencil());
  for (std::size_t size = 0; size < good.size(); ++size)
    CHECK_FALSE(parse_scram_verifier(good.substr(0, size)));
  CHECK_FALSE(parse_scram_verifier(good + "\n"));
}

TEST_CASE("the first message of a client is well-formed or refused") {
  const std::string nonce_max(kScramNonceMax, 'n');
  const std::string fill(kScramMessageMax - "n,,n=,r=a"sv.size(), 'u');
  struct Row {
    std::string message, answer;
  };
  const Row row = GENERATE_COPY(values<Row>({
      {"n,,n=,r=abc", "ok"},
      {"y,,n=,r=abc", "ok"},
      {"n,,n=anything at all=2C,r=abc", "ok"},  // the user is the startup message's
      {"n,,n=,r=abc,x=extension,y=,z=a=b", "ok"},
      {"n,,n=,r=" + nonce_max, "ok"},
      {"n,,n=" + fill + ",r=a", "ok"},
      {"n,,n=" + fill + "u,r=a", "08P01"},
      {"n,,n=,r=" + nonce_max + "n", "08P01"},
      {"p=tls-server-end-point,,n=,r=abc", "08P01"},
      {"p,,n=,r=abc", "08P01"},
      {"p=,,n=,r=abc", "08P01"},
      {"n,a=admin,n=,r=abc", "0A000"},
      {"n,,m=must,n=,r=abc", "0A000"},
      {"n,x,n=,r=abc", "08P01"},
      {"n,n=,r=abc", "08P01"},
      {"N,,n=,r=abc", "08P01"},
      {"nn,,n=,r=abc", "08P01"},
      {",,n=,r=abc", "08P01"},
      {"", "08P01"},
      {"n", "08P01"},
      {"n,,", "08P01"},
      {"n,,r=abc", "08P01"},
      {"n,,r=abc,n=", "08P01"},
      {"n,,n=", "08P01"},
      {"n,,n=,", "08P01"},
      {"n,,n=,r=", "08P01"},
      {"n,,n=,r=,x=y", "08P01"},
      {"n,,n,r=abc", "08P01"},
      {"n,,n=,r=a b", "08P01"},
      {"n,,n=,r=a\x7f", "08P01"},
      {"n,,n=,r=\xc3\xa9", "08P01"},
      {"n,,n=,r=abc,", "08P01"},
      {"n,,n=,r=abc,,", "08P01"},
      {"n,,n=,r=abc,x", "08P01"},
      {"n,,n=,r=abc,1=x", "08P01"},
      {"n,,n=,r=abc,xy=z", "08P01"},
      {"n,,n=,r=abc\0"s, "08P01"},
      {"n,,n=a\0b,r=abc"s, "08P01"},
  }));
  CAPTURE(row.message);
  ScramServer server = new_server();
  const auto result = server.client_first(row.message);
  CHECK(answer(result) == row.answer);
  if (result) CHECK_THAT(*result, Contains(std::string(kServerNonce) + ",s=W22ZaJ0SNY7soEsUEjb6gQ==,i=4096"));
}

TEST_CASE("the last message of a client is exactly right or refused") {
  struct Row {
    std::string from, to, answer;
  };
  const Row row = GENERATE(values<Row>({
      {"biws", "biws", "ok"},
      {"biws", "eSws", "08P01"},      // "y,,", but the first message said "n,,"
      {"biws", "biwsAAAA", "08P01"},  // channel binding data
      {"biws", "", "08P01"},
      {"c=biws,", "", "08P01"},
      {"c=biws,r", "d=biws,r", "08P01"},
      {"r=rOpr", "r=xOpr", "08P01"},
      {"hNlF$k0", "hNlF$k", "08P01"},
      {"hNlF$k0", "hNlF$k00", "08P01"},
      {"%hvYDpWUa2RaTCAfuxFIlj)hNlF$k0", "", "08P01"},  // the client's own part only
      {"rOprNGfwEbeRWgbNEkqO%", "%", "08P01"},          // ours only
      {",p=", ",x=y,p=", "28P01"},                      // well-formed, but not what was signed
      {",p=", ",m=y,p=", "28P01"},
      {",p=", ",xy,p=", "08P01"},
      {",p=", ",,p=", "08P01"},
      {",p=", "p=", "08P01"},
      {",p=", ",q=", "08P01"},
      {"p=dHzb", "p=eHzb", "28P01"},
      {"AndVQ=", "AndVR=", "08P01"},  // another spelling of the same bytes
      {"AndVQ=", "AndVQ", "08P01"},
      {"AndVQ=", "AndV", "08P01"},
      {"AndVQ=", "AndVQ=,", "08P01"},
      {"AndVQ=", "AndVQ=,x=y", "08P01"},
      {"AndVQ=", "AndVQ==", "08P01"},
      {"AndVQ=", "AndVQ=AAAA", "08P01"},
      {"AndVQ=", "AndVQ=\n", "08P01"},
      {"AndVQ=", "AndVQ=\0"s, "08P01"},
      {"AndVQ=", "AndVQ=" + std::string(kScramMessageMax, 'x'), "08P01"},
      {"p=dHzbZapWIk4jUhN+Ute9ytag9zjfMHgsqmmiz7AndVQ=", "p=AAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAA=",
       "28P01"},
      {"p=dHzbZapWIk4jUhN+Ute9ytag9zjfMHgsqmmiz7AndVQ=", "p=", "08P01"},
  }));
  const std::string message = replaced(kClientFinal, row.from, row.to);
  CAPTURE(message);
  ScramServer server = challenged_server();
  CHECK(answer(server.client_final(message)) == row.answer);
  CHECK(server.authenticated() == (row.answer == "ok"));
}

TEST_CASE("an extension that the client signed is ignored, and 'y' is echoed in the channel binding") {
  struct Row {
    Bytes first, before_proof;
  };
  const Row row = GENERATE(values<Row>({
      {"n,,n=,r=abc", "c=biws,r=abcXYZ"},
      {"n,,n=,r=abc,x=1", "c=biws,r=abcXYZ,y=2,z="},
      {"y,,n=,r=abc", "c=eSws,r=abcXYZ"},
  }));
  ScramServer server(pencil(), "XYZ");
  const auto first = server.client_first(row.first);
  REQUIRE(first);
  const std::string signed_text =
      std::string(row.first.substr(3)) + "," + *first + "," + std::string(row.before_proof);
  ScramKey proof = hmac_sha256(as_bytes(pencil().stored_key), signed_text);
  for (std::size_t i = 0; i < proof.size(); ++i) {
    proof[i] = static_cast<unsigned char>(proof[i] ^ pencil_keys().client[i]);
  }
  const auto final =
      server.client_final(std::string(row.before_proof) + ",p=" + base64_encode(as_bytes(proof)));
  CHECK(final == "v=" + base64_encode(as_bytes(hmac_sha256(as_bytes(pencil().server_key), signed_text))));
}

TEST_CASE("the first message of a server is well-formed or refused") {
  const std::string nonce_max(kScramNonceMax - kClientNonce.size(), 'n');
  const std::string salt_max = base64_encode(std::string(kScramSaltMax, 's'));
  const std::string salt_over = base64_encode(std::string(kScramSaltMax + 1, 's'));
  const std::string nonce = "r=" + std::string(kClientNonce);
  struct Row {
    std::string message, answer;
  };
  const Row row = GENERATE_COPY(values<Row>({
      {std::string(kServerFirst), "ok"},
      {nonce + "x,s=QQ==,i=1", "ok"},
      {nonce + "x,s=QQ==,i=100000", "ok"},
      {nonce + "x,s=QQ==,i=4096,x=extension,y=", "ok"},
      {nonce + nonce_max + ",s=" + salt_max + ",i=4096", "ok"},
      {nonce + nonce_max + "n,s=QQ==,i=4096", "08P01"},
      {nonce + "x,s=" + salt_over + ",i=4096", "08P01"},
      {nonce + "x,s=QQ==,i=4096,x=" + std::string(kScramMessageMax, 'x'), "08P01"},
      {nonce + ",s=QQ==,i=4096", "08P01"},  // nothing added
      {"r=x" + std::string(kClientNonce) + ",s=QQ==,i=4096", "08P01"},
      {"r=,s=QQ==,i=4096", "08P01"},
      {"r=rOprNGfwEbeRWgbNEkq,s=QQ==,i=4096", "08P01"},
      {nonce + "x y,s=QQ==,i=4096", "08P01"},
      {nonce + "x,s=,i=4096", "08P01"},
      {nonce + "x,s=Q,i=4096", "08P01"},
      {nonce + "x,s=QQ==", "08P01"},
      {nonce + "x,i=4096,s=QQ==", "08P01"},
      {nonce + "x,s=QQ==,i=", "08P01"},
      {nonce + "x,s=QQ==,i=0", "08P01"},
      {nonce + "x,s=QQ==,i=-1", "08P01"},
      {nonce + "x,s=QQ==,i=+1", "08P01"},
      {nonce + "x,s=QQ==,i=01", "08P01"},
      {nonce + "x,s=QQ==,i=1.5", "08P01"},
      {nonce + "x,s=QQ==,i=1 ", "08P01"},
      {nonce + "x,s=QQ==,i=0x10", "08P01"},
      {nonce + "x,s=QQ==,i=100001", "54000"},
      {nonce + "x,s=QQ==,i=2147483648", "54000"},
      {nonce + "x,s=QQ==,i=4294967297", "54000"},  // 2^32 + 1
      {nonce + "x,s=QQ==,i=18446744073709551617", "54000"},
      {nonce + "x,s=QQ==,i=" + std::string(60'000, '9'), "54000"},
      {nonce + "x,s=QQ==,i=4096,", "08P01"},
      {nonce + "x,s=QQ==,i=4096,trash", "08P01"},
      {nonce + "x,s=QQ==,i=4096\0"s, "08P01"},
      {"m=must," + nonce + "x,s=QQ==,i=4096", "0A000"},
      {"e=other-error", "28000"},
      {"e=unknown-user", "28P01"},
      {"", "08P01"},
      {"r", "08P01"},
      {"r=", "08P01"},
      {std::string(kServerFinal), "08P01"},
  }));
  CAPTURE(row.message);
  ScramClient client = waiting_client();
  CHECK(answer(client.server_first(row.message)) == row.answer);
}

TEST_CASE("only the right signature proves the server") {
  Proving p;
  struct Row {
    std::string message, answer;
  };
  const std::string good = p.server_final;
  const Row row = GENERATE_COPY(values<Row>({
      {good, "ok"},
      {good + ",x=extension", "ok"},
      {good + ",", "08P01"},
      {good + ",trash", "08P01"},
      {good + "AAAA", "08P01"},
      {good + "\n", "08P01"},
      {good + "\0"s, "08P01"},
      {good + ",x=" + std::string(kScramMessageMax, 'x'), "08P01"},
      {std::string(kServerFinal), "28P01"},  // right for other messages
      {"v=AAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAA=", "28P01"},
      {"v=", "08P01"},
      {"v=AAAA", "08P01"},
      {"x=y," + good, "08P01"},
      {"e=invalid-proof", "28P01"},
      {"e=invalid-proof,x=y", "28P01"},
      {"e=other-error", "28000"},
      {"e=", "28000"},
      {"e=\x1b[2J", "28000"},
      {"e=" + std::string(1000, 'x'), "28000"},
      {"", "08P01"},
      {std::string(kServerFirst), "08P01"},
  }));
  CAPTURE(row.message);
  const auto result = p.client.server_final(row.message);
  CHECK(answer(result) == row.answer);
  CHECK(p.client.server_proven() == (row.answer == "ok"));
  if (!result) {  // the server's words are repeated only if they are harmless
    CHECK(result.error().message.size() < 200);
    CHECK_THAT(result.error().message, !Contains("\x1b"));
  }
}

TEST_CASE("a server that says why it refused us is quoted") {
  Proving p;
  CHECK(p.client.server_final("e=invalid-proof").error().message ==
        "the server refused SCRAM authentication: invalid-proof");
}

TEST_CASE("a message cut anywhere never logs anybody in") {
  const std::string final_message = Proving().server_final;
  for (std::size_t size = 0; size < kClientFirst.size(); ++size) {
    ScramServer server = new_server();
    if (server.client_first(kClientFirst.substr(0, size))) {  // a shorter nonce is a nonce: the proof fails
      CHECK(size > "n,,n=user,r="sv.size());
      CHECK_FALSE(server.client_final(kClientFinal));
    }
    CHECK_FALSE(server.authenticated());
  }
  for (std::size_t size = 0; size < kServerFirst.size(); ++size) {
    ScramClient client = waiting_client();
    if (const auto challenge =
            client.server_first(kServerFirst.substr(0, size))) {  // fewer iterations: another key
      CHECK(challenge->iterations < 4096);
      CHECK_FALSE(
          challenged_server().client_final(client.client_final(pencil_keys().client, pencil_keys().server)));
    }
  }
  for (std::size_t size = 0; size < kClientFinal.size(); ++size) {
    ScramServer server = challenged_server();
    CHECK(answer(server.client_final(kClientFinal.substr(0, size))) == "08P01");
    CHECK_FALSE(server.authenticated());
  }
  for (std::size_t size = 0; size < final_message.size(); ++size) {
    Proving p;
    CHECK(answer(p.client.server_final(final_message.substr(0, size))) == "08P01");
    CHECK_FALSE(p.client.server_proven());
  }
}

TEST_CASE("one changed bit anywhere never logs anybody in") {
  const auto flipped = [](Bytes message, std::size_t bit) {
    std::string out(message);
    out[bit / 8] = static_cast<char>(out[bit / 8] ^ 1 << bit % 8);
    return out;
  };
  const std::string final_message = Proving().server_final;
  for (std::size_t bit = 3 * 8; bit < kClientFirst.size() * 8; ++bit) {
    ScramServer server = new_server();
    if (server.client_first(flipped(kClientFirst, bit))) CHECK_FALSE(server.client_final(kClientFinal));
  }
  for (std::size_t bit = 0; bit < kClientFinal.size() * 8; ++bit) {
    ScramServer server = challenged_server();
    CHECK_FALSE(server.client_final(flipped(kClientFinal, bit)));
  }
  for (std::size_t bit = 0; bit < final_message.size() * 8; ++bit) {
    Proving p;
    CHECK_FALSE(p.client.server_final(flipped(final_message, bit)));
  }
}

TEST_CASE("wrong keys are refused, on either side") {
  const Keys& keys = pencil_keys();
  ScramServer server = new_server();
  ScramClient client = waiting_client();
  REQUIRE(client.server_first(server.client_first("n,,n=,r=rOprNGfwEbeRWgbNEkqO").value()));
  SECTION("the client does not know the password") {
    const auto result = server.client_final(client.client_final(scram_client_key(keys.client), keys.server));
    CHECK(answer(result) == "28P01");
    CHECK(result.error().message == "password authentication failed");
  }
  SECTION("the server does not know it") {
    const auto final = server.client_final(client.client_final(keys.client, scram_server_key(keys.client)));
    REQUIRE(final);
    CHECK(answer(client.server_final(*final)) == "28P01");
  }
}

TEST_CASE("a step out of turn is an error for a peer, and so is everything after an error") {
  SECTION("a proof before the challenge") {
    ScramServer server = new_server();
    CHECK(answer(server.client_final(kClientFinal)) == "08P01");
    CHECK(answer(server.client_first(kClientFirst)) == "08P01");
  }
  SECTION("two first messages") {
    ScramServer server = challenged_server();
    CHECK(answer(server.client_first(kClientFirst)) == "08P01");
    CHECK(answer(server.client_final(kClientFinal)) == "08P01");
  }
  SECTION("a second try after a wrong proof") {
    ScramServer server = challenged_server();
    CHECK(answer(server.client_final(replaced(kClientFinal, "p=dHzb", "p=eHzb"))) == "28P01");
    CHECK(answer(server.client_final(kClientFinal)) == "08P01");
  }
  SECTION("a second try after a malformed first message") {
    ScramServer server = new_server();
    CHECK(answer(server.client_first("trash")) == "08P01");
    CHECK(answer(server.client_first(kClientFirst)) == "08P01");
  }
  SECTION("anything after success ends it") {
    ScramServer server = challenged_server();
    REQUIRE(server.client_final(kClientFinal));
    CHECK(answer(server.client_final(kClientFinal)) == "08P01");
    CHECK_FALSE(server.authenticated());
  }
  SECTION("a server that speaks first") {
    ScramClient client{std::string(kClientNonce)};
    CHECK(answer(client.server_first(kServerFirst)) == "08P01");
  }
  SECTION("a server that skips the challenge") {
    ScramClient client = waiting_client();
    CHECK(answer(client.server_final(kServerFinal)) == "08P01");
    CHECK(answer(client.server_first(kServerFirst)) == "08P01");
  }
  SECTION("a server that sends two challenges") {
    ScramClient client = waiting_client();
    REQUIRE(client.server_first(kServerFirst));
    CHECK(answer(client.server_first(kServerFirst)) == "08P01");
  }
  SECTION("a server that ends before our proof") {
    ScramClient client = waiting_client();
    REQUIRE(client.server_first(kServerFirst));
    CHECK(answer(client.server_final(kServerFinal)) == "08P01");
  }
  SECTION("a server that tries again after a wrong signature") {
    Proving p;
    CHECK(answer(p.client.server_final(kServerFinal)) == "28P01");
    CHECK(answer(p.client.server_final(p.server_final)) == "08P01");
    CHECK_FALSE(p.client.server_proven());
  }
  SECTION("a server that goes on after success") {
    Proving p;
    REQUIRE(p.client.server_final(p.server_final));
    CHECK(answer(p.client.server_final(p.server_final)) == "08P01");
    CHECK_FALSE(p.client.server_proven());
  }
}

TEST_CASE("our own calls out of turn stop the process") {
  const Keys& keys = pencil_keys();
  CHECK_FALSE(stops([] {}));
  CHECK(stops([] { waiting_client().client_first(); }));
  CHECK(stops([&] { ScramClient("n").client_final(keys.client, keys.server); }));
  CHECK(stops([&] { waiting_client().client_final(keys.client, keys.server); }));
  CHECK(stops([&] { Proving().client.client_final(keys.client, keys.server); }));
  CHECK(stops([&] {
    ScramClient client = waiting_client();
    (void)client.server_first("trash");
    client.client_final(keys.client, keys.server);
  }));
  CHECK(stops([] { (void)new_server().client_key(); }));
  CHECK(stops([] { (void)challenged_server().client_key(); }));
  CHECK(stops([] { ScramClient client(""); }));
  CHECK(stops([] { ScramClient client("a,b"); }));
  CHECK(stops([] { ScramServer server(pencil(), ""); }));
  CHECK(stops([] { ScramServer server({}, "nonce"); }));
  CHECK(stops([] { (void)scram_salted_password("x", "salt", 0); }));
  CHECK(stops([] { (void)scram_salted_password("x", "salt", kScramIterationsMax + 1); }));
  CHECK(stops([] { (void)scram_salted_password("x", "", 1); }));
}

TEST_CASE("an unknown user looks like a known one, today and tomorrow, and cannot log in") {
  ScramKey secret{};
  secret[0] = 1;
  ScramKey other_secret{};
  other_secret[0] = 2;
  const ScramVerifier alice = mock_scram_verifier("alice", secret);
  CHECK(alice.iterations == kScramIterations);
  CHECK(alice.salt.size() == 16);
  CHECK(parse_scram_verifier(format_scram_verifier(alice)));

  CHECK(mock_scram_verifier("alice", secret).salt == alice.salt);
  CHECK(mock_scram_verifier("bob", secret).salt != alice.salt);
  CHECK(mock_scram_verifier("", secret).salt != alice.salt);
  CHECK(mock_scram_verifier("alice", other_secret).salt != alice.salt);
  CHECK(alice.stored_key != alice.server_key);

  const std::vector<ScramKey> guesses = {ScramKey{}, secret, alice.stored_key, alice.server_key,
                                         scram_client_key(scram_salted_password("", alice.salt, 4096))};
  for (const ScramKey& guess : guesses) {
    ScramServer server(alice, "server");
    ScramClient client("client");
    REQUIRE(client.server_first(server.client_first(client.client_first()).value()));
    CHECK(answer(server.client_final(client.client_final(guess, guess))) == "28P01");
  }
}
