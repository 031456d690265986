#include "pooler/net/tls_records.h"

#include <fmt/format.h>

#include <catch2/catch.hpp>
#include <vector>

#include "pooler/net/tls_state.h"
#include "tests/net/tls_help.h"

using namespace pgweir;
using namespace pgweir::net;

namespace {

constexpr int kAlert = 21, kHandshake = 22, kData = 23;

std::string hex(Bytes bytes) {
  std::string out;
  for (const char c : bytes) out += fmt::format("{:02x}", static_cast<unsigned char>(c));
  return out;
}

std::string unhex(Bytes digits) {
  std::string out;
  for (std::size_t i = 0; i + 1 < digits.size(); i += 2) {
    out += static_cast<char>(std::stoi(std::string(digits.substr(i, 2)), nullptr, 16));
  }
  return out;
}

struct Suite {
  const char* name;
  const char* digest;
  const char* cipher;
  std::size_t key_size;
  std::size_t secret_size;
};
const Suite kSuites[] = {
    {"TLS_AES_256_GCM_SHA384", "SHA384", "AES-256-GCM", 32, 48},
    {"TLS_CHACHA20_POLY1305_SHA256", "SHA256", "ChaCha20-Poly1305", 32, 32},
    {"TLS_AES_128_GCM_SHA256", "SHA256", "AES-128-GCM", 16, 32},
};

TlsSecret secret_of(char digit, std::size_t size) {
  TlsSecret secret;
  secret.take_hex(std::string(size * 2, digit).c_str());
  REQUIRE(secret.view().size() == size);
  return secret;
}

// The other end. Its records are sealed here once more, any inner bytes that a test wants; what comes back it
// reads by TlsRecords with the secrets changed over.
struct Client {
  explicit Client(const Suite& which = kSuites[0])
      : suite(which),
        secrets{secret_of('a', which.secret_size), secret_of('5', which.secret_size)},
        server(TlsRecords::make(which.name, secrets)),
        reader(TlsRecords::make(which.name, {secrets.server, secrets.client})),
        secret(secrets.client) {
    REQUIRE(server != nullptr);
  }
  std::string seal(int type, Bytes content, std::size_t padding = 0) {
    std::string inner(content);
    inner += static_cast<char>(type);
    return seal_inner(inner + std::string(padding, '\0'));
  }
  std::string seal_inner(const std::string& inner) {
    const std::size_t length = inner.size() + 16;
    std::string record = {23, 3, 3, static_cast<char>(length >> 8), static_cast<char>(length & 0xff)};
    const TlsSecret key = secret.expand(suite.digest, "key", suite.key_size);
    std::string nonce(secret.expand(suite.digest, "iv", 12).view());
    for (std::size_t i = 0; i < 8; ++i) nonce[11 - i] ^= static_cast<char>(number >> (8 * i));
    ++number;
    EVP_CIPHER* cipher = EVP_CIPHER_fetch(nullptr, suite.cipher, nullptr);
    EVP_CIPHER_CTX* context = EVP_CIPHER_CTX_new();
    const auto bytes = [](Bytes of) { return reinterpret_cast<const unsigned char*>(of.data()); };
    std::vector<unsigned char> body(inner.size() + 16);
    int size = 0;
    REQUIRE(EVP_EncryptInit_ex2(context, cipher, bytes(key.view()), bytes(nonce), nullptr) == 1);
    REQUIRE(EVP_EncryptUpdate(context, nullptr, &size, bytes(record), 5) == 1);
    REQUIRE(EVP_EncryptUpdate(context, body.data(), &size, bytes(inner), static_cast<int>(inner.size())) ==
            1);
    REQUIRE(EVP_EncryptFinal_ex(context, body.data() + size, &size) == 1);
    REQUIRE(EVP_CIPHER_CTX_ctrl(context, EVP_CTRL_AEAD_GET_TAG, 16, body.data() + inner.size()) == 1);
    EVP_CIPHER_CTX_free(context);
    EVP_CIPHER_free(cipher);
    return record.append(reinterpret_cast<const char*>(body.data()), body.size());
  }
  void next_key() {
    secret = secret.expand(suite.digest, "traffic upd", suite.secret_size);
    number = 0;
  }
  // What the server makes of it; what it answers waits in `answer`.
  std::string give(Bytes records) {
    std::vector<char> room(records.size() + 16645);
    return std::string(server->receive(records, room, answer));
  }
  // What the client makes of what the server has sent.
  std::string hear() {
    std::vector<char> room(answer.size() + 16645);
    std::string none;
    const std::string heard(reader->receive(answer, room, none));
    answer.clear();
    return heard;
  }

  const Suite& suite;
  TlsSecrets secrets;
  std::unique_ptr<TlsRecords> server, reader;
  TlsSecret secret;
  std::uint64_t number = 0;
  std::string answer;
};

const std::string kUpdate("\x18\0\0\1\0", 5), kUpdateAsks("\x18\0\0\1\1", 5);

}  // namespace

TEST_CASE("the keys and the first record of RFC 8448, section 3") {
  TlsSecrets secrets;
  secrets.client.take_hex("9e40646ce79a7f9dc05af8889bce6552875afa0b06df0087f792ebb7c17504a5");
  secrets.server.take_hex("a11af9f05531f856ad47116b45a950328204b4f44bfb6b3a4b4f1f3fcb631643");
  CHECK(hex(secrets.client.expand("SHA256", "key", 16).view()) == "17422dda596ed5d9acd890e3c63f5051");
  CHECK(hex(secrets.client.expand("SHA256", "iv", 12).view()) == "5b78923dee08579033e523d9");
  CHECK(hex(secrets.server.expand("SHA256", "key", 16).view()) == "9f02283b6c9c07efc26bb9f2ac92e356");
  CHECK(hex(secrets.server.expand("SHA256", "iv", 12).view()) == "cf782b88dd83549aadf1e984");
  const auto records = TlsRecords::make("TLS_AES_128_GCM_SHA256", secrets);
  std::vector<char> room(20'000);
  std::string out;
  const Bytes plain = records->receive(unhex("1703030043a23f7054b62c94d0affafe8228ba55cbefacea42f914aa66bcab3"
                                             "f2b9819a8a5b46b395bd54a9a20441e2b62974e1f"
                                             "5a6292a2977014bd1e3deae63aeebb21694915e4"),
                                       room, out);
  std::string counted;
  for (char c = 0; c < 50; ++c) counted += c;
  CHECK(plain == counted);
  CHECK(out.empty());
}

TEST_CASE("a suite that is not known, and secrets that do not fit it, are left to OpenSSL") {
  const TlsSecrets short_ones{secret_of('a', 32), secret_of('b', 32)};
  CHECK(TlsRecords::make("TLS_AES_128_GCM_SHA256", short_ones) != nullptr);
  CHECK(TlsRecords::make("TLS_AES_128_CCM_SHA256", short_ones) == nullptr);
  CHECK(TlsRecords::make("TLS_AES_256_GCM_SHA384", short_ones) == nullptr);
  CHECK(TlsRecords::make("TLS_AES_128_GCM_SHA256", {secret_of('a', 32), {}}) == nullptr);
  for (const char* digits : {"", "0", "xyzw"}) {
    TlsSecret secret;
    secret.take_hex(digits);
    CHECK(secret.view().empty());
  }
  TlsSecret too_long;
  too_long.take_hex(std::string(98, '1').c_str());
  CHECK(too_long.view().empty());
  ERR_clear_error();
}

TEST_CASE("data of any size goes both ways, cut anywhere") {
  constexpr std::size_t kUp[] = {1, 2, 16'383, 16'384, 7'230}, kDown[] = {0, 1, 16'384, 16'385, 40'000};
  for (const Suite& suite : kSuites) {
    CAPTURE(suite.name);
    const std::string text = pattern(40'000);
    Client client(suite);
    std::string records;
    for (const std::size_t size : kUp) {
      records += client.seal(kData, Bytes(text).substr(0, size), size % 300 < 200 ? size % 7 : 0);
    }
    const std::size_t cut = GENERATE(as<std::size_t>{}, 1, 3, 4, 5, 6, 100, 16'405, 16'406, 1'000'000);
    std::string heard;
    for (Bytes left = records; !left.empty(); left.remove_prefix(std::min(left.size(), cut))) {
      heard += client.give(left.substr(0, cut));
    }
    std::string expected;
    for (const std::size_t size : kUp) expected += text.substr(0, size);
    CHECK(heard == expected);
    for (const std::size_t size : kDown) {
      client.server->send(Bytes(text).substr(0, size), client.answer);
      CHECK(client.hear() == text.substr(0, size));
    }
    CHECK(client.server->state() == TlsRecords::State::Open);
  }
}

TEST_CASE("what RFC 8446 does not allow behind a handshake ends the connection with an alert") {
  struct Row {
    const char* what;
    int type;
    std::string content;
    std::size_t padding;
    const char* error;  // "" for what is allowed
    const char* alert;
  };
  const Row rows[] = {
      {"data", kData, "x", 0, "", ""},
      {"data with much padding", kData, "x", 16'000, "", ""},
      {"no data", kData, "", 0, "", ""},
      {"the longest data", kData, std::string(16'384, 'x'), 0, "", ""},
      {"longer data", kData, std::string(16'385, 'x'), 0, "TLS: data length too long",
       "TLS: tlsv1 alert record overflow"},
      {"nothing but padding", 0, "", 100, "TLS: bad record type", "TLS: sslv3 alert unexpected message"},
      {"an unknown type", 99, "x", 0, "TLS: unexpected record", "TLS: sslv3 alert unexpected message"},
      {"change_cipher_spec", 20, "\x01", 0, "TLS: unexpected record", "TLS: sslv3 alert unexpected message"},
      {"a ClientHello",
       kHandshake,
       {1, 0, 0, 1, 0},
       0,
       "TLS: unexpected message",
       "TLS: sslv3 alert unexpected message"},
      {"no handshake at all", kHandshake, "", 0, "TLS: unexpected message",
       "TLS: sslv3 alert unexpected message"},
      {"a key update", kHandshake, kUpdate, 0, "", ""},
      {"a key update and more", kHandshake, kUpdate + kUpdate, 0, "TLS: unexpected message",
       "TLS: sslv3 alert unexpected message"},
      {"a key update of two bytes",
       kHandshake,
       {24, 0, 0, 2, 0},
       0,
       "TLS: unexpected message",
       "TLS: sslv3 alert unexpected message"},
      {"a key update with a strange wish",
       kHandshake,
       {24, 0, 0, 1, 2},
       0,
       "TLS: bad key update",
       "TLS: sslv3 alert illegal parameter"},
      {"half an alert", kAlert, "\x01", 0, "TLS: invalid alert", "TLS: tlsv1 alert decode error"},
      {"two alerts", kAlert, {1, 90, 1, 90}, 0, "TLS: invalid alert", "TLS: tlsv1 alert decode error"},
      {"user_canceled", kAlert, {1, 90}, 0, "", ""},
      {"an alert", kAlert, {2, 42}, 0, "TLS: sslv3 alert bad certificate", ""},
      {"an alert of no name", kAlert, Bytes("\x02\xc8", 2).data(), 0, "TLS: alert 200", ""},
      {"an alert that only warns", kAlert, {1, 48}, 0, "TLS: tlsv1 alert unknown ca", ""},
      {"an alert of another name", kAlert, {2, 120}, 0, "TLS: tlsv1 alert no application protocol", ""},
  };
  for (const Row& row : rows) {
    CAPTURE(row.what);
    Client client;
    client.give(client.seal(row.type, row.content, row.padding));
    CHECK(client.server->error() == row.error);
    const bool good = std::string(row.error).empty();
    CHECK((client.server->state() == TlsRecords::State::Open) == good);
    client.hear();
    CHECK(client.reader->error() == row.alert);
    if (good) continue;
    // It is over: nothing is heard and nothing is said.
    CHECK(client.give(client.seal(kData, "more")).empty());
    client.server->send("more", client.answer);
    client.server->say_goodbye(client.answer);
    CHECK(client.answer.empty());
  }
}

TEST_CASE("a header that no record can have is refused before the rest of it has come") {
  const std::pair<std::string, const char*> rows[] = {
      {unhex("1703034101"), "TLS: encrypted length too long"},
      {unhex("170303ffff"), "TLS: encrypted length too long"},
      {unhex("1703030010"), "TLS: length too short"},
      {unhex("1703030000"), "TLS: length too short"},
      {unhex("1603030020"), "TLS: bad record type"},
      {unhex("1503030002"), "TLS: bad record type"},
      {unhex("1403030001"), "TLS: bad record type"},
      {"GET / ", "TLS: bad record type"},
  };
  for (const auto& [header, error] : rows) {
    CAPTURE(hex(header));
    Client whole, dripped;
    whole.give(header);
    CHECK(whole.server->error() == error);
    for (const char c : header) dripped.give({&c, 1});
    CHECK(dripped.server->error() == error);
    CHECK(dripped.answer == whole.answer);
  }
}

TEST_CASE("a record of which one bit is another, or that comes twice, is not believed") {
  Client original;
  const std::string record = original.seal(kData, "select");
  for (std::size_t at = 0; at < record.size() * 8; ++at) {
    CAPTURE(at);
    std::string forged = record;
    forged[at / 8] = static_cast<char>(forged[at / 8] ^ 1 << at % 8);
    Client client;
    CHECK(client.give(forged + std::string(17'000, '\0')).empty());
    CHECK(client.server->state() == TlsRecords::State::Failed);
  }
  CHECK(original.give(record) == "select");
  CHECK(original.give(record).empty());
  CHECK(original.server->error() == "TLS: decryption failed or bad record mac");
  original.hear();
  CHECK(original.reader->error() == "TLS: sslv3 alert bad record mac");
}

TEST_CASE("keys are changed as the client says") {
  Client client(kSuites[GENERATE(0, 1, 2)]);
  SECTION("and not ours, when it does not ask") {
    client.give(client.seal(kHandshake, kUpdate));
    client.next_key();
    CHECK(client.give(client.seal(kData, "under the second key")) == "under the second key");
    CHECK(client.answer.empty());
  }
  SECTION("ours too when it asks: once for all questions of a moment, and then under the new key") {
    std::string records;
    for (int i = 0; i < 3; ++i) {
      records += client.seal(kHandshake, kUpdateAsks);
      client.next_key();
    }
    records += client.seal(kData, "fourth key");
    CHECK(client.give(records) == "fourth key");
    CHECK(client.answer.size() == 5 + 5 + 1 + 16);
    client.server->send("second key of ours", client.answer);
    CHECK(client.hear() == "second key of ours");
  }
  SECTION("also in pieces") {
    for (const char c : kUpdate) client.give(client.seal(kHandshake, {&c, 1}));
    client.next_key();
    CHECK(client.give(client.seal(kData, "x")) == "x");
  }
  SECTION("but no data may come between the pieces") {
    client.give(client.seal(kHandshake, kUpdate.substr(0, 3)));
    CHECK(client.give(client.seal(kData, "x")).empty());
    CHECK(client.server->error() == "TLS: unexpected message");
  }
  SECTION("and the old key is no good any more") {
    client.give(client.seal(kHandshake, kUpdate));
    client.number = 0;
    CHECK(client.give(client.seal(kData, "x")).empty());
    CHECK(client.server->error() == "TLS: decryption failed or bad record mac");
  }
}

TEST_CASE("records without data are counted") {
  Client client;
  for (int round = 0; round < 3; ++round) {
    for (int i = 0; i < TlsRecords::kQuietMax; ++i) client.give(client.seal(kData, ""));
    CHECK(client.give(client.seal(kData, "x")) == "x");
  }
  for (int i = 0; i <= TlsRecords::kQuietMax; ++i) client.give(client.seal(kData, ""));
  CHECK(client.server->error() == "TLS: too many records without data");
}

TEST_CASE("both sides take their leave, each by itself") {
  Client client;
  const std::string data = client.seal(kData, "bye"), goodbye = client.seal(kAlert, Bytes("\x01\0", 2));
  CHECK(client.give(data + goodbye + "whatever") == "bye");
  CHECK(client.server->state() == TlsRecords::State::Ended);
  client.server->send("and the same to you", client.answer);
  client.server->say_goodbye(client.answer);
  const std::size_t said = client.answer.size();
  client.server->say_goodbye(client.answer);
  client.server->send("too late", client.answer);
  CHECK(client.answer.size() == said);
  CHECK(client.hear() == "and the same to you");
  CHECK(client.reader->state() == TlsRecords::State::Ended);
}

TEST_CASE("TLS: OpenSSL's client pads its records, changes keys and has them changed, with each suite") {
  const TlsRecordsBy records = GENERATE(TlsRecordsBy::Us, TlsRecordsBy::OpenSsl);
  for (const Suite& suite : kSuites) {
    CAPTURE(suite.name);
    TlsNet net;
    net.server_tls = TlsContext::accepting(net.papers.for_server, TlsVerify::None, records).value();
    const bool heard = SSL_CTX_get_keylog_callback(net.server_tls->state().ssl.get()) != nullptr;
    CHECK(heard == (records == TlsRecordsBy::Us));  // no secret, no taking over
    net.prepare = [](Ear& ear) { ear.echo(); };
    RawTls client(net.here);
    SSL_set_ciphersuites(client.ssl, suite.name);
    SSL_set_block_padding(client.ssl, 512);
    REQUIRE(net.until([&] { return client.shaken(); }));
    std::string all;
    for (const int update :
         {SSL_KEY_UPDATE_NOT_REQUESTED, SSL_KEY_UPDATE_REQUESTED, SSL_KEY_UPDATE_REQUESTED}) {
      const std::string text = pattern(3'000);
      all += text;
      REQUIRE(SSL_write(client.ssl, text.data(), static_cast<int>(text.size())) ==
              static_cast<int>(text.size()));
      REQUIRE(net.until([&] { return client.read_some() || client.text.size() == all.size(); }));
      CHECK(client.text == all);
      REQUIRE(SSL_key_update(client.ssl, update) == 1);
      REQUIRE(SSL_do_handshake(client.ssl) == 1);
    }
    CHECK(net.server().stream->tls_description() == std::string("TLSv1.3 ") + suite.name);
    SSL_shutdown(client.ssl);
    REQUIRE(net.until([&] { return client.read_some(); }));
    CHECK(client.outcome == "close_notify");
    REQUIRE(net.until([&] { return net.server().is_closed(); }));
    CHECK(net.server().by() == Closed::By::Peer);
  }
}
