// detach() and adopt(): a connection moves from one loop to another, with traffic, plain and TLS.
#include <atomic>
#include <thread>

#include "tests/net/certificates.h"

using namespace pgweir;
using namespace pgweir::net;

namespace {

struct Worker {
  Worker() : thread([this] { loop->run(); }) {}
  ~Worker() {
    loop->stop();
    thread.join();
  }
  std::unique_ptr<UvLoop> loop = UvLoop::make();
  std::thread thread;
};

// Echoes, and after every `kStay` bytes packs up and goes on to the other worker. Belongs to the loop that it
// is on; one loop lets go before the other takes over.
struct Traveller : Handler {
  static constexpr std::size_t kStay = 60'000;
  UvLoop* home = nullptr;
  UvLoop* other = nullptr;
  TlsContext* tls = nullptr;
  std::unique_ptr<Stream> stream;
  std::size_t here = 0;
  bool leaving = false;
  std::atomic<int> moves{0};
  std::atomic<bool> closed{false};

  void on_secured() override {
    leaving = true;
    go_if_empty();  // at once: bytes of the same read may be waiting behind the handshake
  }
  void on_bytes(Bytes in) override {
    stream->write(in);
    here += in.size();
    if (here < kStay) return;
    leaving = true;
    go_if_empty();
  }
  void on_drained() override { go_if_empty(); }
  void on_closed(const Closed&) override { closed = true; }

  void go_if_empty() {
    if (!leaving || stream->unsent() > 0) return;
    leaving = false;
    here = 0;
    auto packed = std::make_shared<std::unique_ptr<Detached>>(stream->detach());
    stream.reset();  // from inside its own call
    std::swap(home, other);
    ++moves;
    home->post([this, packed] { stream = home->adopt(std::move(*packed), *this); });
  }
};

struct Arrivals : Acceptor {
  Traveller& traveller;
  explicit Arrivals(Traveller& t) : traveller(t) {}
  void on_accept(std::unique_ptr<Stream> stream) override {
    traveller.stream = std::move(stream);
    traveller.stream->set_handler(traveller);
    if (traveller.tls != nullptr) traveller.stream->start_tls(*traveller.tls, "");
  }
};

}  // namespace

TEST_CASE("a connection moves between two loops under traffic and loses nothing") {
  const std::string kind = GENERATE("tcp", "unix", "tls");
  CAPTURE(kind);
  Papers papers;
  const auto server_tls = TlsContext::accepting(papers.for_server, TlsVerify::None).value();
  const auto client_tls = TlsContext::connecting({papers.ca, "", ""}, TlsVerify::Name).value();
  const int fd =
      open_listener(kind == "unix" ? Endpoint{papers.dir.file("s")} : Endpoint{"127.0.0.1", 0}).value();
  const Endpoint where =
      kind == "unix" ? Endpoint{papers.dir.file("s")} : Endpoint{"127.0.0.1", bound_port(fd)};

  Traveller traveller;
  Arrivals arrivals(traveller);
  std::unique_ptr<Listener> listener;
  const auto loop = UvLoop::make();
  Ear client;
  const std::string all = pattern(10'000'000);
  {
    Worker one, two;
    traveller.home = one.loop.get();
    traveller.other = two.loop.get();
    if (kind == "tls") traveller.tls = server_tls.get();
    one.loop->post([&] { listener = one.loop->listen(fd, arrivals); });
    std::size_t sent = 0;
    const auto send = [&] {
      while (sent < all.size() && client.stream->unsent() < 200'000) {
        const std::size_t size = std::min<std::size_t>(30'000, all.size() - sent);
        client.stream->write(Bytes(all).substr(sent, size));
        sent += size;
      }
    };
    client.when_connected = [&] {
      if (kind == "tls") {
        client.stream->start_tls(*client_tls, "db.example");
        client.stream->write(Bytes(all).substr(0, 100));  // arrives together with the end of the handshake
        sent = 100;
      } else {
        send();
      }
    };
    client.when_secured = client.when_drained = send;
    client.when_bytes = [&](Bytes) { send(); };
    client.stream = loop->connect(where, client);
    REQUIRE(drive(
        *loop, [&] { return client.in.size() == all.size() || client.is_closed(); }, 60s));
    CHECK(client.error() == "still open");
    CHECK(client.in == all);
    CHECK(traveller.moves > 3);  // how many there are depends on how large the reads were
    client.stream->close();
    REQUIRE(drive(*loop, [&] { return client.is_closed() && traveller.closed; }));
  }
  listener.reset();
}

TEST_CASE("TLS: bytes that came with the end of the handshake move along") {
  Net net;
  Papers papers;
  const auto server_tls = TlsContext::accepting(papers.for_server, TlsVerify::None).value();
  const auto client_tls = TlsContext::connecting({papers.ca, "", ""}, TlsVerify::Name).value();
  std::unique_ptr<Detached> packed;
  net.door.greet = [&](Ear& ear) {
    ear.when_secured = [&] {
      packed = ear.stream->detach();
      ear.stream.reset();
    };
    ear.stream->start_tls(*server_tls, "");
  };
  Ear client, server;
  std::uint16_t client_port = 0;
  client.when_connected = [&] {
    client.stream->start_tls(*client_tls, "db.example");
    client.stream->write("early bird");
    client_port = client.stream->local().port;
  };
  SECTION("adopted") {
    client.when_secured = [&] { client.stream->close(); };
    client.stream = net.loop->connect(net.here, client);
    REQUIRE(net.until([&] { return packed != nullptr; }));
    server.stream = net.loop->adopt(std::move(packed), server);
    CHECK(server.stream->secured());
    CHECK(server.stream->tls_sni() == "db.example");
    CHECK(server.stream->peer().port == client_port);
    CHECK(server.in.empty());
    REQUIRE(net.until([&] { return server.is_closed(); }));
    CHECK(server.in == "early bird");
    CHECK(server.by() == Closed::By::Peer);
  }
  SECTION("dropped on the way: the peer sees the end") {
    client.stream = net.loop->connect(net.here, client);
    REQUIRE(net.until([&] { return packed != nullptr && client.secured == 1; }));
    packed.reset();
    REQUIRE(net.until([&] { return client.is_closed(); }));
    CHECK(client.by() == Closed::By::Peer);
  }
}

TEST_CASE("a stream may detach in on_accept, and be adopted by the same loop") {
  Net net;
  Ear server, client;
  net.door.greet = [&](Ear& ear) {
    auto packed = ear.stream->detach();
    ear.stream.reset();
    server.echo();
    server.stream = net.loop->adopt(std::move(packed), server);
  };
  client.when_connected = [&] { client.stream->write("hello"); };
  client.stream = net.loop->connect(net.here, client);
  REQUIRE(net.until([&] { return client.in == "hello"; }));
  CHECK(server.stream->peer().port == client.stream->local().port);
}
