// Loop::connect: names, refusals, unix sockets, and calling it off.
#include <netinet/tcp.h>
#include <sys/stat.h>

#include "tests/net/help.h"

using namespace pgweir;
using namespace pgweir::net;

namespace {
// A port on which nobody listens: one that was free a moment ago.
std::uint16_t dead_port() {
  const int fd = open_listener({"127.0.0.1", 0}).value();
  const std::uint16_t port = bound_port(fd);
  ::close(fd);
  return port;
}

int descriptor_of(std::uint16_t local_port) {
  for (int fd = 3; fd < 1024; ++fd) {
    sockaddr_in address{}, peer{};
    socklen_t size = sizeof address, peer_size = sizeof peer;
    if (getsockname(fd, reinterpret_cast<sockaddr*>(&address), &size) == 0 && address.sin_family == AF_INET &&
        ntohs(address.sin_port) == local_port &&
        getpeername(fd, reinterpret_cast<sockaddr*>(&peer), &peer_size) == 0) {
      return fd;
    }
  }
  return -1;
}

int option(int fd, int level, int name) {
  int value = -1;
  socklen_t size = sizeof value;
  getsockopt(fd, level, name, &value, &size);
  return value;
}
}  // namespace

TEST_CASE("a connection that cannot be made ends in on_closed with the reason, later") {
  const auto loop = UvLoop::make();
  const std::string port = std::to_string(dead_port());
  struct Row {
    Endpoint to;
    std::string error;
  };
  const auto number = static_cast<std::uint16_t>(std::stoi(port));
  const TempDir dir;
  const std::string long_path = "/tmp/" + std::string(110, 'x');
  const Row rows[] = {
      {{"127.0.0.1", number}, "connect to 127.0.0.1:" + port + ": connection refused"},
      {{"::ffff:127.0.0.1", number}, "connect to [::ffff:127.0.0.1]:" + port + ": connection refused"},
      {{dir.file("none"), 0}, "connect to " + dir.file("none") + ": no such file or directory"},
      {{long_path, 0}, "connect to " + long_path + ": the path is too long for a unix socket"},
      {{"no such name", number}, "connect to no such name:" + port + ": the name does not resolve ("},
      {{"", number}, "connect to :" + port + ": the name does not resolve ("},
      {{std::string(300, 'n'), number},
       "connect to " + std::string(300, 'n') + ":" + port + ": the name does not resolve ("},
  };
  for (const Row& row : rows) {
    CAPTURE(row.to.host);
    Ear ear;
    ear.stream = loop->connect(row.to, ear);
    CHECK(ear.closed.empty());
    REQUIRE(drive(*loop, [&] { return ear.is_closed(); }));
    CHECK(ear.by() == Closed::By::Failure);
    CHECK_THAT(ear.error(), Catch::StartsWith(row.error));
    CHECK(ear.connected == 0);
  }
}

TEST_CASE("a name is tried at all its addresses") {
  const auto loop = UvLoop::make();
  Ear ear;
  SECTION("none answers") {
    const std::uint16_t port = dead_port();
    ear.stream = loop->connect({"localhost", port}, ear);
    REQUIRE(drive(*loop, [&] { return ear.is_closed(); }));
    CHECK_THAT(ear.error(), Catch::StartsWith("connect to localhost:" + std::to_string(port) + ": "));
  }
  SECTION("one answers") {
    Door door;
    const int fd = open_listener({"127.0.0.1", 0}).value();  // not on ::1, which localhost may mean as well
    const auto listener = loop->listen(fd, door);
    ear.stream = loop->connect({"localhost", bound_port(fd)}, ear);
    REQUIRE(drive(*loop, [&] { return ear.connected == 1 && door.ears.size() == 1; }));
    CHECK(ear.stream->peer().host == "127.0.0.1");
  }
}

TEST_CASE("unix sockets") {
  const auto loop = UvLoop::make();
  const TempDir dir;
  const Endpoint here{dir.file("s")};
  Door door;
  door.greet = [](Ear& ear) { ear.echo(); };
  const auto listener = loop->listen(open_listener(here, {.unix_mode = 0700}).value(), door);
  struct stat what;
  REQUIRE(stat(here.host.c_str(), &what) == 0);
  CHECK((what.st_mode & 0777) == 0700);
  Ear client;
  client.stream = loop->connect(here, client);
  REQUIRE(drive(*loop, [&] { return client.connected == 1 && door.ears.size() == 1; }));
  Ear& server = *door.ears[0];
  CHECK(server.stream->peer().host == "unix");
  CHECK(client.stream->peer().host == "unix");
  CHECK(server.stream->local().host == "unix");
  CHECK(server.stream->peer_uid() == static_cast<std::int64_t>(getuid()));
  const std::string all = pattern(3'000'000);
  client.stream->write(all);
  REQUIRE(drive(*loop, [&] { return client.in.size() == all.size(); }));
  CHECK(client.in == all);
  SECTION("close") {
    server.stream->close();
    REQUIRE(drive(*loop, [&] { return client.is_closed() && server.is_closed(); }));
    CHECK(client.by() == Closed::By::Peer);
    CHECK(client.error() == "");
  }
  SECTION("reset") {
    server.stream->reset();
    REQUIRE(drive(*loop, [&] { return client.is_closed() && server.is_closed(); }));
    CHECK(server.by() == Closed::By::Us);
  }
}

TEST_CASE("connecting can be called off at any moment, and ends once") {
  const bool by_close = GENERATE(false, true);
  Net net;
  Ear ear;
  SECTION("while resolving") { ear.stream = net.loop->connect({"localhost", net.here.port}, ear); }
  SECTION("while connecting") { ear.stream = net.loop->connect(net.here, ear); }
  SECTION("while failing") { ear.stream = net.loop->connect({"127.0.0.1", dead_port()}, ear); }
  SECTION("to a unix socket") { ear.stream = net.loop->connect({"/nowhere/at/all"}, ear); }
  SECTION("when it failed at once") { ear.stream = net.loop->connect({std::string(300, 'n'), 1}, ear); }
  ear.stream->write("never");
  if (by_close) {
    ear.stream->close();
  } else {
    ear.stream->reset();
  }
  ear.stream->reset();
  CHECK(ear.closed.empty());
  REQUIRE(net.until([&] { return ear.is_closed(); }));
  CHECK(ear.connected == 0);
  CHECK_FALSE(net.until([&] { return ear.closed.size() > 1 || ear.connected > 0; }, 10ms));
}

TEST_CASE("outgoing connections notice a dead machine, and neither side waits to fill packets") {
  Net net;
  Ear client, silent;
  Ear& server = net.join(client);
  const int out = descriptor_of(client.stream->local().port);
  const int in = descriptor_of(server.stream->local().port);
  REQUIRE((out >= 0 && in >= 0));
  CHECK(option(out, IPPROTO_TCP, TCP_NODELAY) == 1);
  CHECK(option(out, SOL_SOCKET, SO_KEEPALIVE) == 1);
  CHECK(option(out, IPPROTO_TCP, TCP_KEEPIDLE) == 30);
  CHECK(option(out, IPPROTO_TCP, TCP_KEEPINTVL) == 10);
  CHECK(option(out, IPPROTO_TCP, TCP_KEEPCNT) == 3);
  CHECK(option(out, IPPROTO_TCP, TCP_USER_TIMEOUT) == 14500);
  CHECK(option(in, IPPROTO_TCP, TCP_NODELAY) == 1);
  CHECK(option(in, SOL_SOCKET, SO_KEEPALIVE) == 1);
  CHECK((fcntl(in, F_GETFD) & FD_CLOEXEC) != 0);
  CHECK((fcntl(out, F_GETFD) & FD_CLOEXEC) != 0);
  silent.stream = net.loop->connect(net.here, silent, {.keepalive = {0, 0}, .silence_max = 5s});
  REQUIRE(net.until([&] { return silent.connected == 1; }));
  CHECK(option(descriptor_of(silent.stream->local().port), SOL_SOCKET, SO_KEEPALIVE) == 0);
  CHECK(option(descriptor_of(silent.stream->local().port), IPPROTO_TCP, TCP_USER_TIMEOUT) == 4500);
  client.stream->keep_alive({2, 1});
  CHECK(option(out, IPPROTO_TCP, TCP_KEEPIDLE) == 2);
  CHECK(option(out, IPPROTO_TCP, TCP_KEEPINTVL) == 1);
  client.stream->keep_alive({0, 0});
  CHECK(option(out, SOL_SOCKET, SO_KEEPALIVE) == 0);
}
