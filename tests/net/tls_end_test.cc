// How TLS connections end, in order and otherwise.
#include "tests/net/tls_help.h"

using namespace pgweir;
using namespace pgweir::net;

TEST_CASE("TLS: orderly and other ends, as both sides see them") {
  TlsNet net;
  SECTION("close says close_notify behind everything") {
    RawTls client(net.here);
    REQUIRE(net.until([&] { return client.shaken() && net.server().secured; }));
    const std::string last = pattern(8'000'000);
    net.server().stream->write(last);
    net.server().stream->close();
    REQUIRE(net.until([&] { return client.read_some(); }));
    CHECK(client.outcome == "close_notify");
    CHECK(client.text == last);
    client.shut();
    REQUIRE(net.until([&] { return net.server().is_closed(); }));
    CHECK(net.server().error() == "");
  }
  SECTION("a client that leaves without close_notify is nothing special") {
    RawTls client(net.here);
    REQUIRE(net.until([&] { return client.shaken() && net.server().secured; }));
    SSL_write(client.ssl, "bye", 3);
    client.shut();
    REQUIRE(net.until([&] { return net.server().is_closed(); }));
    CHECK(net.server().in == "bye");
    CHECK(net.server().by() == Closed::By::Peer);
    CHECK(net.server().error() == "");
  }
  SECTION("a reset") {
    net.secure();
    net.server().stream->reset();
    REQUIRE(net.until([&] { return net.client.is_closed() && net.server().is_closed(); }));
    CHECK(net.client.error() == "connection reset by peer");
  }
  SECTION("a FIN in the middle of the handshake") {
    Raw client(net.here);
    client.send("\x16\x03\x01");
    client.shut();
    REQUIRE(net.until([&] { return !net.door.ears.empty() && net.server().is_closed(); }));
    CHECK(net.server().by() == Closed::By::Failure);
    CHECK(net.server().error() == "TLS handshake: the peer closed the connection");
  }
  SECTION("no TLS at all") {
    Raw client(net.here);
    client.send("select 1; -- this is plaintext");
    REQUIRE(net.until([&] { return !net.door.ears.empty() && client.ended(); }));
    client.shut();
    REQUIRE(net.until([&] { return net.server().is_closed(); }));
    CHECK(net.server().by() == Closed::By::Failure);
    CHECK(net.server().error() == "TLS handshake: wrong version number");
  }
  SECTION("garbage after good bytes") {
    RawTls client(net.here);
    REQUIRE(net.until([&] { return client.shaken() && net.server().secured; }));
    SSL_write(client.ssl, "good", 4);
    client.send(Bytes("\x17\x03\x03\x00\x20 this record was never encrypted", 37));
    REQUIRE(net.until([&] { return client.read_some(); }));
    CHECK(client.outcome == "sslv3 alert bad record mac");
    client.shut();
    REQUIRE(net.until([&] { return net.server().is_closed(); }));
    CHECK(net.server().in == "good");
    CHECK(net.server().by() == Closed::By::Failure);
    CHECK(net.server().error() == "TLS: decryption failed or bad record mac");
  }
}

TEST_CASE("TLS: a server that is cut off is told from one that takes its leave") {
  TlsNet net;
  net.secure();
  // The server's descriptor is half closed behind TLS's back.
  for (int fd = 3; fd < 1024; ++fd) {
    sockaddr_in local{}, peer{};
    socklen_t size = sizeof local;
    if (getsockname(fd, reinterpret_cast<sockaddr*>(&local), &size) == 0 &&
        getpeername(fd, reinterpret_cast<sockaddr*>(&peer), &size) == 0 &&
        ntohs(local.sin_port) == net.here.port) {
      ::shutdown(fd, SHUT_WR);
    }
  }
  REQUIRE(net.until([&] { return net.client.is_closed(); }));
  CHECK(net.client.by() == Closed::By::Peer);
  CHECK(net.client.error() == "TLS connection cut: the peer sent no close_notify");
}

TEST_CASE("TLS: close and reset during the handshake") {
  TlsNet net;
  const bool by_reset = GENERATE(false, true);
  net.client.when_connected = [&] {
    net.client.stream->start_tls(*net.client_tls, net.host);
    net.client.stream->write("never");
    by_reset ? net.client.stream->reset() : net.client.stream->close();
  };
  net.start();
  REQUIRE(net.until([&] { return net.client.is_closed(); }));
  CHECK(net.client.by() == Closed::By::Us);
  CHECK(net.client.secured == 0);
}

TEST_CASE("TLS: a whole conversation that came with the end of the handshake is heard, and then its end") {
  TlsNet net;
  Ear moved;
  const bool moves = GENERATE(false, true);
  net.prepare = [&](Ear& ear) {
    ear.when_secured = [&] {
      if (!moves) return ear.stream->pause_reads();
      auto packed = ear.stream->detach();
      ear.stream.reset();
      moved.stream = net.loop->adopt(std::move(packed), moved);
    };
  };
  RawTls client(net.here);
  // All of it is in the socket before the loop looks there again; and no FIN follows.
  REQUIRE(net.until([&] {
    if (!client.shaken()) return false;
    SSL_write(client.ssl, "bye", 3);
    SSL_shutdown(client.ssl);
    return true;
  }));
  REQUIRE(net.until([&] { return net.server().secured == 1; }));
  if (!moves) {
    CHECK_FALSE(net.until([&] { return !net.server().in.empty() || net.server().is_closed(); }, 10ms));
    net.server().stream->resume_reads();
  }
  Ear& server = moves ? moved : net.server();
  REQUIRE(net.until([&] { return server.is_closed(); }, 3s));
  CHECK(server.in == "bye");
  CHECK(server.by() == Closed::By::Peer);
  REQUIRE(net.until([&] { return client.read_some(); }));
  CHECK(client.outcome == "close_notify");
}
