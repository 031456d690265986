#include "pooler/net/tls.h"

#include <fstream>

#include "tests/net/tls_help.h"

using namespace pgweir;
using namespace pgweir::net;

TEST_CASE("TLS: an echo, with what both sides know of each other") {
  TlsNet net;
  net.prepare = [](Ear& ear) { ear.echo(); };
  net.secure();
  CHECK(net.client.stream->secured());
  CHECK(net.client.stream->tls_alpn() == "postgresql");
  CHECK(net.server().stream->tls_alpn() == "postgresql");
  CHECK(net.server().stream->tls_sni() == "db.example");
  CHECK(net.client.stream->tls_description() == "TLSv1.3 TLS_AES_256_GCM_SHA384");
  const Bytes slices[] = {"select", "", " 1"};
  net.client.stream->write(slices);
  REQUIRE(net.until([&] { return net.client.in == "select 1"; }));
  net.client.stream->close();
  REQUIRE(net.until([&] { return net.client.is_closed() && net.server().is_closed(); }));
  CHECK(net.client.by() == Closed::By::Us);
  CHECK(net.server().by() == Closed::By::Peer);
  CHECK(net.server().error() == "");
}

TEST_CASE("TLS: 10 MB in both directions at once") {
  TlsNet net;
  net.secure();
  const std::string up = pattern(10'000'000), down = pattern(10'500'000);
  net.client.stream->write(up);
  net.server().stream->write(down);
  CHECK(net.client.stream->unsent() > 0);
  REQUIRE(
      net.until([&] { return net.client.in.size() == down.size() && net.server().in.size() == up.size(); }));
  CHECK(net.client.in == down);
  CHECK(net.server().in == up);
  REQUIRE(net.until([&] { return net.client.drained == 1 && net.server().drained == 1; }));
}

TEST_CASE("TLS: many sizes of writes, in pieces of pieces") {
  TlsNet net;
  const bool gathers = GENERATE(false, true);
  net.prepare = [gathers](Ear& ear) {
    if (gathers) ear.stream->gather_writes();
    ear.echo();
  };
  net.secure();
  const std::string all = pattern(400'000);
  std::size_t at = 0;
  for (std::size_t size = 0; at < all.size(); size = size * 3 / 2 + 1) {
    size = std::min(size, all.size() - at);
    const Bytes piece = Bytes(all).substr(at, size);
    const Bytes slices[] = {piece.substr(0, size / 3), piece.substr(size / 3)};
    net.client.stream->write(slices);
    at += size;
  }
  REQUIRE(net.until([&] { return net.client.in.size() == all.size(); }));
  CHECK(net.client.in == all);
}

TEST_CASE("TLS begins after a plaintext yes, from inside on_bytes") {
  TlsNet net;
  net.door.greet = [&](Ear& ear) {
    ear.when_bytes = [&net, &ear](Bytes) {
      if (ear.stream->secured()) return;
      ear.stream->write("S");
      ear.stream->start_tls(*net.server_tls, "");
    };
  };
  net.client.when_connected = [&] { net.client.stream->write("may I?"); };
  net.client.when_bytes = [&](Bytes in) {
    if (in == "S") net.client.stream->start_tls(*net.client_tls, "db.example");
  };
  net.secure();
  net.client.stream->write("hello");
  REQUIRE(net.until([&] { return net.server().in == "may I?hello"; }));
}

TEST_CASE("direct TLS: the first bytes of the handshake have been received as plaintext") {
  TlsNet net;
  net.door.greet = [&](Ear& ear) {
    ear.when_bytes = [&net, &ear](Bytes in) {
      if (!ear.stream->secured()) ear.stream->start_tls(*net.server_tls, "", in);
    };
  };
  net.secure();
  net.server().in.clear();
  net.client.stream->write("hello");
  REQUIRE(net.until([&] { return net.server().in == "hello"; }));
  CHECK(net.server().stream->tls_sni() == "db.example");
}

TEST_CASE("TLS: what is written before the handshake has finished goes out when it has") {
  TlsNet net;
  net.client.when_connected = [&] {
    net.client.stream->start_tls(*net.client_tls, net.host);
    net.client.stream->write("early ");
    net.client.stream->write("bird");
    CHECK(net.client.stream->unsent() == 10);
  };
  net.client.when_secured = [&] { net.client.stream->write(" flies"); };
  SECTION("and reaches a handler that is ready") {
    net.secure();
    REQUIRE(net.until([&] { return net.server().in == "early bird flies"; }));
  }
  SECTION("and waits for one that pauses in on_secured") {
    net.prepare = [](Ear& ear) { ear.when_secured = [&ear] { ear.stream->pause_reads(); }; };
    net.secure();
    net.client.stream->close();
    CHECK_FALSE(net.until([&] { return !net.server().in.empty() || net.server().is_closed(); }, 30ms));
    net.server().stream->resume_reads();
    CHECK(net.server().in.empty());  // not from inside the call
    REQUIRE(net.until([&] { return net.server().is_closed(); }));
    CHECK(net.server().in == "early bird flies");
  }
}

TEST_CASE("TLS: names and authorities are verified as asked") {
  struct Row {
    const char* title;
    TlsVerify verify;
    bool stranger;
    const char* host;
    const char* error;  // nullptr: it works
    const char* sni;
  };
  const Row rows[] = {
      {"right name", TlsVerify::Name, false, "db.example", nullptr, "db.example"},
      {"right address, which is no SNI", TlsVerify::Name, false, "127.0.0.1", nullptr, ""},
      {"wrong name", TlsVerify::Name, false, "other.example", "hostname mismatch", ""},
      {"wrong address", TlsVerify::Name, false, "127.0.0.2", "IP address mismatch", ""},
      {"wrong address, IPv6", TlsVerify::Name, false, "::1", "IP address mismatch", ""},
      {"no name", TlsVerify::Name, false, "", "there is no host name to verify", ""},
      {"wrong name, chain only", TlsVerify::Chain, false, "other.example", nullptr, "other.example"},
      {"wrong authority", TlsVerify::Name, true, "db.example", "unable to get local issuer certificate", ""},
      {"wrong authority, chain only", TlsVerify::Chain, true, "db.example",
       "unable to get local issuer certificate", ""},
      {"wrong authority, not verified", TlsVerify::None, true, "db.example", nullptr, "db.example"},
  };
  for (const Row& row : rows) {
    CAPTURE(row.title);
    TlsNet net;
    net.host = row.host;
    const TlsFiles files{row.stranger ? net.papers.strangers_ca : net.papers.ca, "", ""};
    net.client_tls = TlsContext::connecting(files, row.verify).value();
    net.start();
    REQUIRE(net.until([&] { return net.settled(); }));
    if (row.error == nullptr) {
      CHECK(net.client.secured == 1);
      CHECK(net.server().stream->tls_sni() == row.sni);
      continue;
    }
    REQUIRE(net.until([&] { return net.client.is_closed() && net.server().is_closed(); }));
    CHECK(net.client.by() == Closed::By::Failure);
    CHECK_THAT(net.client.error(), Catch::StartsWith("TLS handshake: ") && Catch::Contains(row.error));
    CHECK(net.client.secured + net.server().secured == 0);
    CHECK(net.server().by() == Closed::By::Failure);
  }
}

TEST_CASE("TLS: a client must show its certificate when that is asked for") {
  TlsNet net;
  net.server_tls = TlsContext::accepting(net.papers.for_server, TlsVerify::Chain).value();
  SECTION("it has one") {
    net.client_tls = TlsContext::connecting(net.papers.for_client, TlsVerify::Name).value();
    net.secure();
  }
  SECTION("it has none") {
    net.start();
    REQUIRE(net.until([&] { return net.settled() && net.client.is_closed() && net.server().is_closed(); }));
    CHECK(net.server().by() == Closed::By::Failure);
    CHECK(net.server().error() == "TLS handshake: peer did not return a certificate");
    CHECK(net.server().secured == 0);
    CHECK(net.client.error() == "TLS: tlsv13 alert certificate required");
  }
}

TEST_CASE("TLS: old versions and foreign protocols are refused") {
  struct Row {
    int version;
    std::string alpn;  // as on the wire
    std::string outcome, selected, server_error;
  };
  const std::string ours = "\x0apostgresql", http = "\x08http/1.1";
  const Row rows[] = {
      {TLS1_3_VERSION, ours, "ok", "postgresql", ""},
      {TLS1_2_VERSION, ours, "ok", "postgresql", ""},
      {TLS1_2_VERSION, http + ours, "ok", "postgresql", ""},
      {TLS1_3_VERSION, "", "ok", "", ""},
      {TLS1_3_VERSION, http, "tlsv1 alert no application protocol", "",
       "TLS handshake: no application protocol"},
      {TLS1_1_VERSION, ours, "tlsv1 alert protocol version", "", "TLS handshake: unsupported protocol"},
      {TLS1_VERSION, "", "tlsv1 alert protocol version", "", "TLS handshake: unsupported protocol"},
  };
  for (const Row& row : rows) {
    CAPTURE(row.version, row.alpn);
    TlsNet net;
    RawTls client(net.here, row.version, row.alpn);
    REQUIRE(net.until([&] { return client.shaken(); }));
    CHECK(client.outcome == row.outcome);
    REQUIRE(net.door.ears.size() == 1);
    if (row.server_error.empty()) {
      REQUIRE(net.until([&] { return net.server().secured == 1; }));
      CHECK(net.server().stream->tls_alpn() == row.selected);
    } else {
      client.shut();
      REQUIRE(net.until([&] { return net.server().is_closed(); }));
      CHECK(net.server().error() == row.server_error);
      CHECK(net.server().by() == Closed::By::Failure);
    }
  }
}

TEST_CASE("TLS: a client may not renegotiate") {
  TlsNet net;
  RawTls client(net.here, TLS1_2_VERSION);
  REQUIRE(net.until([&] { return client.shaken(); }));
  SSL_renegotiate(client.ssl);
  SSL_do_handshake(client.ssl);
  REQUIRE(net.until([&] { return client.read_some(); }));
  CHECK(client.outcome == "no renegotiation");
  CHECK(net.server().secured == 1);
}

TEST_CASE("TLS: back-pressure, and pauses in the middle of bulk") {
  TlsNet net;
  net.secure();
  const std::string all = pattern(6'000'000);
  int pauses = 0;
  Ear& server = net.server();
  server.when_bytes = [&](Bytes) {
    if (++pauses % 5 != 0) return;
    server.stream->pause_reads();
    net.loop->post([&] { server.stream->resume_reads(); });
  };
  net.client.stream->write(all);
  REQUIRE(net.until([&] { return server.in.size() == all.size(); }));
  CHECK(server.in == all);
  CHECK(pauses > 5);
}

TEST_CASE("TLS: files that do not fit are refused with the reason") {
  Papers papers;
  const auto error = [](const auto& made) { return made ? "" : made.error().message; };
  TlsFiles files = papers.for_server;
  files.cert_file = papers.dir.file("none");
  CHECK(error(TlsContext::accepting(files, TlsVerify::None)) ==
        "TLS: cannot use the certificate file " + files.cert_file + ": no such file or directory");
  files = papers.for_server;
  files.key_file = papers.for_client.key_file;
  CHECK(error(TlsContext::accepting(files, TlsVerify::None)) ==
        "TLS: cannot use the key file " + files.key_file + ": key values mismatch");
  files = papers.for_server;
  files.ca_file = papers.dir.file("empty");
  std::ofstream(files.ca_file) << "";
  CHECK_THAT(error(TlsContext::accepting(files, TlsVerify::Chain)),
             Catch::StartsWith("TLS: cannot use the CA file " + files.ca_file + ": "));
  CHECK_THAT(error(TlsContext::connecting({files.ca_file, "", ""}, TlsVerify::Name)),
             Catch::StartsWith("TLS: cannot use the CA file " + files.ca_file + ": "));
  files.ca_file = "";
  CHECK_THAT(error(TlsContext::accepting(files, TlsVerify::Chain)), Catch::Contains("needs a CA file"));
  CHECK(error(TlsContext::accepting(files, TlsVerify::None)) == "");
  CHECK(error(TlsContext::connecting({}, TlsVerify::Name)) == "");
  CHECK(error(TlsContext::connecting({}, TlsVerify::None)) == "");
}
