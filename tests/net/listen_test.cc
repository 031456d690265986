#include "pooler/net/listen.h"

#include <sys/resource.h>
#include <sys/stat.h>

#include <fstream>
#include <thread>

#include "tests/net/help.h"

using namespace pgweir;
using namespace pgweir::net;

namespace {
std::string error_of(const Endpoint& where, const ListenOptions& options = {}) {
  const auto fd = open_listener(where, options);
  if (fd) ::close(*fd);
  return fd ? "" : fd.error().message;
}
}  // namespace

TEST_CASE("a listener that cannot be opened says where, why and what to do") {
  const int taken = open_listener({"127.0.0.1", 0}).value();
  const std::uint16_t port = bound_port(taken);
  const TempDir dir;
  std::ofstream(dir.file("file")) << "precious";
  const std::string long_path = "/tmp/" + std::string(110, 'x');
  CHECK(error_of({"127.0.0.1", port}) == "listen on 127.0.0.1:" + std::to_string(port) +
                                             ": address already in use; stop the other program or change "
                                             "listen.port");
  CHECK_THAT(error_of({"127.0.0.1", port}, {.port_setting = "http.port"}),
             Catch::EndsWith("; stop the other program or change http.port"));
  CHECK_THAT(error_of({"192.0.2.1", 5432}),
             Catch::StartsWith("listen on 192.0.2.1:5432: this machine does not have the address; "));
  CHECK_THAT(error_of({"my.host", 5432}), Catch::StartsWith("listen on my.host:5432: not an IP address; "));
  CHECK_THAT(error_of({"", 5432}), Catch::StartsWith("listen on :5432: not an IP address; "));
  CHECK_THAT(error_of({long_path, 0}), Catch::StartsWith("listen on " + long_path + ": the path is longer "));
  CHECK_THAT(error_of({dir.file("no/s"), 0}),
             Catch::Contains("no such file or directory; create the folder"));
  CHECK_THAT(error_of({dir.file("file"), 0}), Catch::Contains("the file is not a socket; remove it or"));
  std::string kept;
  std::ifstream(dir.file("file")) >> kept;
  CHECK(kept == "precious");
  ::close(taken);
}

TEST_CASE("every address family is answered where it was asked for") {
  const std::string host = GENERATE("127.0.0.1", "0.0.0.0", "::1", "::", "*");
  const auto loop = UvLoop::make();
  Door door;
  const auto fd = open_listener({host, 0});
  if (!fd && host.find(':') != std::string::npos) return;  // a machine without IPv6
  const std::uint16_t port = bound_port(fd.value());
  REQUIRE(port != 0);
  const auto listener = loop->listen(*fd, door);
  Ear v4, v6;
  v4.stream = loop->connect({"127.0.0.1", port}, v4);
  v6.stream = loop->connect({"::1", port}, v6);
  REQUIRE(
      drive(*loop, [&] { return v4.connected + v4.is_closed() == 1 && v6.connected + v6.is_closed() == 1; }));
  CAPTURE(host);
  CHECK((v4.connected == 1) == (host != "::1"));
  if (host == "::1") CHECK(v6.connected == 1);
  if (host == "127.0.0.1" || host == "0.0.0.0") CHECK(v6.connected == 0);
  // IPv4 over a dual-stack socket is shown as what it is.
  REQUIRE(drive(*loop,
                [&] { return door.ears.size() == static_cast<std::size_t>(v4.connected + v6.connected); }));
  for (const auto& ear : door.ears) {
    const std::string peer = ear->stream->peer().host;
    CHECK((peer == "127.0.0.1" || peer == "::1"));
  }
}

TEST_CASE("a port can be taken again at once after a program's end") {
  std::uint16_t port = 0;
  {
    Net net;
    port = net.here.port;
    Ear client;
    Ear& server = net.join(client);
    server.stream->close();  // the side that closes first keeps TIME_WAIT
    REQUIRE(net.until([&] { return client.is_closed() && server.is_closed(); }));
  }
  CHECK(error_of({"127.0.0.1", port}) == "");
}

TEST_CASE("a stale unix socket is replaced, a live one is not") {
  const TempDir dir;
  const Endpoint here{dir.file("s")};
  const int first = open_listener(here).value();
  CHECK(error_of(here) ==
        "listen on " + here.host + ": a program answers there already; stop it or change the path");
  struct stat before, after;
  REQUIRE(stat(here.host.c_str(), &before) == 0);
  ::close(first);  // the file stays
  const int second = open_listener(here).value();
  REQUIRE(stat(here.host.c_str(), &after) == 0);
  CHECK((after.st_mode & 0777) == 0777);
  const auto loop = UvLoop::make();
  Door door;
  const auto listener = loop->listen(second, door);
  Ear client;
  client.stream = loop->connect(here, client);
  REQUIRE(drive(*loop, [&] { return client.connected == 1; }));
}

TEST_CASE("two loops on two threads share one listening socket") {
  const int fd = open_listener({"127.0.0.1", 0}).value();
  const Endpoint here{"127.0.0.1", bound_port(fd)};
  std::atomic<int> accepted{0};
  struct Worker {
    explicit Worker(int listening, std::atomic<int>& accepted) {
      door.greet = [&accepted](Ear& ear) {
        ear.echo();
        ++accepted;
      };
      listener = loop->listen(listening, door);
      thread = std::thread([this] { loop->run(); });
    }
    ~Worker() {
      loop->stop();
      thread.join();
    }
    std::unique_ptr<UvLoop> loop = UvLoop::make();
    Door door;
    std::unique_ptr<Listener> listener;
    std::thread thread;
  };
  Worker one(dup(fd), accepted), two(fd, accepted);
  constexpr int kClients = 200;
  const auto loop = UvLoop::make();
  std::vector<std::unique_ptr<Ear>> clients;
  for (int i = 0; i < kClients; ++i) {
    clients.push_back(std::make_unique<Ear>());
    Ear& client = *clients.back();
    client.when_connected = [&client] { client.stream->write("hello"); };
    client.stream = loop->connect(here, client);
  }
  const auto all_answered = [&] {
    return std::all_of(clients.begin(), clients.end(), [](const auto& c) { return c->in == "hello"; });
  };
  REQUIRE(drive(*loop, all_answered));
  CHECK(accepted == kClients);
}

TEST_CASE("without a free descriptor the listener waits quietly and goes on later") {
  Net net;
  Raw first(net.here);
  REQUIRE(net.until([&] { return net.door.ears.size() == 1; }));
  Raw second(net.here), third(net.here);  // the kernel has made them; nobody has accepted them
  rlimit old;
  REQUIRE(getrlimit(RLIMIT_NOFILE, &old) == 0);
  const int lowest_free = dup(0);
  ::close(lowest_free);
  const rlimit none{static_cast<rlim_t>(lowest_free), old.rlim_max};
  REQUIRE(setrlimit(RLIMIT_NOFILE, &none) == 0);
  const bool accepted = net.until([&] { return net.door.ears.size() > 1; }, 250ms);
  const std::size_t failures = net.door.failures.size();
  REQUIRE(setrlimit(RLIMIT_NOFILE, &old) == 0);
  CHECK_FALSE(accepted);
  CHECK(failures >= 2);
  CHECK(failures <= 4);  // one per 100 ms: no spinning
  CHECK(net.door.failures.at(0) == "too many open files");
  REQUIRE(net.until([&] { return net.door.ears.size() == 3; }));
}

TEST_CASE("a listener may be destroyed by its own acceptor") {
  Net net;
  net.door.greet = [&](Ear&) { net.listener.reset(); };
  Raw one(net.here), two(net.here);
  REQUIRE(net.until([&] { return net.door.ears.size() == 1; }));
  CHECK_FALSE(net.until([&] { return net.door.ears.size() > 1; }, 10ms));
  CHECK(error_of(net.here) == "");  // nobody listens there any more
}

TEST_CASE("two processes may share an address where both say so") {
  const bool both = GENERATE(true, false);
  const ListenOptions shared{.shared = true}, own{.shared = both};
  const int first = open_listener({"127.0.0.1", 0}, own).value();
  const auto second = open_listener({"127.0.0.1", bound_port(first)}, shared);
  CHECK(second.has_value() == both);
  ::close(first);
  if (second) ::close(*second);
}

TEST_CASE("the path of a unix socket is taken over, and who has connected to the former one is accepted") {
  const auto loop = UvLoop::make();
  const TempDir dir;
  const Endpoint here{dir.file("s"), 0};
  Door former, present;
  auto listener = loop->listen(open_listener(here).value(), former);
  Ear early, late;
  early.stream = loop->connect(here, early);
  const auto next = loop->listen(open_listener(here, {.shared = true}).value(), present);
  late.stream = loop->connect(here, late);
  listener->accept_rest();
  listener.reset();
  REQUIRE(
      drive(*loop, [&] { return early.connected == 1 && late.connected == 1 && present.ears.size() == 1; }));
  CHECK(former.ears.size() == 2);  // one is the look whether somebody lives there
}
