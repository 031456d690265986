// tests/net/help.h - what the tests of this folder share: a handler that remembers, a door that accepts, a
// loop that is driven until something has come true, and raw sockets to see what a peer sees.
#pragma once

#include <arpa/inet.h>
#include <dirent.h>
#include <fcntl.h>
#include <netinet/in.h>
#include <netinet/tcp.h>
#include <sys/socket.h>
#include <sys/un.h>
#include <unistd.h>

#include <catch2/catch.hpp>
#include <cerrno>
#include <chrono>
#include <cstdlib>
#include <functional>
#include <memory>
#include <string>
#include <vector>

#include "pooler/net/listen.h"
#include "pooler/net/uv_loop.h"

namespace pgweir::net {

using namespace std::chrono_literals;

// Runs the loop until `done` (asked every millisecond) or for `patience` at most; tells which.
inline bool drive(UvLoop& loop, const std::function<bool()>& done, Duration patience = 20s) {
  struct Watch {
    UvLoop& loop;
    const std::function<bool()>& done;
    Time deadline;
    bool came = false;
    Timer timer{this, [](void* self) { static_cast<Watch*>(self)->look(); }};
    void look() {
      came = done();
      if (came || loop.now() > deadline) return loop.stop();
      loop.arm(timer, loop.now() + 1ms);
    }
  } watch{loop, done, loop.now() + patience};
  loop.arm(watch.timer, loop.now());
  loop.run();
  return watch.came;
}

// Owns a stream and remembers what it was told. Hooks run after the remembering.
struct Ear : Handler {
  std::unique_ptr<Stream> stream;
  std::string in;
  int connected = 0, secured = 0, drained = 0;
  std::vector<Closed> closed;
  std::function<void()> when_connected, when_secured, when_drained, when_closed;
  std::function<void(Bytes)> when_bytes;

  void on_connected() override {
    ++connected;
    if (when_connected) when_connected();
  }
  void on_secured() override {
    ++secured;
    if (when_secured) when_secured();
  }
  void on_bytes(Bytes bytes) override {
    in += bytes;
    if (when_bytes) when_bytes(bytes);
  }
  void on_drained() override {
    ++drained;
    if (when_drained) when_drained();
  }
  void on_closed(const Closed& why) override {
    closed.push_back(why);
    if (when_closed) when_closed();
  }
  void echo() {
    when_bytes = [this](Bytes bytes) { stream->write(bytes); };
  }
  bool is_closed() const { return !closed.empty(); }
  std::string error() const { return closed.empty() ? "still open" : closed[0].error; }
  Closed::By by() const { return closed.at(0).by; }
};

struct Door : Acceptor {
  std::vector<std::unique_ptr<Ear>> ears;
  std::vector<std::string> failures;
  std::function<void(Ear&)> greet;
  void on_accept(std::unique_ptr<Stream> stream) override {
    ears.push_back(std::make_unique<Ear>());
    Ear& ear = *ears.back();
    ear.stream = std::move(stream);
    ear.stream->set_handler(ear);
    if (greet) greet(ear);
  }
  void on_accept_failed(const std::string& why) override { failures.push_back(why); }
};

// A loop with a listener on a free port of 127.0.0.1.
struct Net {
  std::unique_ptr<UvLoop> loop = UvLoop::make();
  Door door;
  int fd = open_listener({"127.0.0.1", 0}).value();
  Endpoint here{"127.0.0.1", bound_port(fd)};
  std::unique_ptr<Listener> listener = loop->listen(fd, door);

  bool until(const std::function<bool()>& done, Duration patience = 20s) {
    return drive(*loop, done, patience);
  }
  // Connects `ear` and waits for both sides; the accepted one is the result.
  Ear& join(Ear& ear) {
    const std::size_t before = door.ears.size();
    ear.stream = loop->connect(here, ear);
    REQUIRE(until([&] { return ear.connected == 1 && door.ears.size() == before + 1; }));
    return *door.ears.back();
  }
};

// A socket of the test's own, not on the loop.
class Raw {
 public:
  explicit Raw(const Endpoint& to) : fd_(::socket(AF_INET, SOCK_STREAM | SOCK_CLOEXEC, 0)) {
    sockaddr_in address{};
    address.sin_family = AF_INET;
    address.sin_port = htons(to.port);
    inet_pton(AF_INET, to.host.c_str(), &address.sin_addr);
    REQUIRE(::connect(fd_, reinterpret_cast<sockaddr*>(&address), sizeof address) == 0);
    const int on = 1;
    setsockopt(fd_, IPPROTO_TCP, TCP_NODELAY, &on, sizeof on);
    fcntl(fd_, F_SETFL, O_NONBLOCK);
  }
  ~Raw() { shut(); }
  Raw(const Raw&) = delete;
  Raw& operator=(const Raw&) = delete;
  int fd() const { return fd_; }
  void shut() {
    if (fd_ >= 0) ::close(fd_);
    fd_ = -1;
  }
  void reset() {
    const linger now{1, 0};
    setsockopt(fd_, SOL_SOCKET, SO_LINGER, &now, sizeof now);
    shut();
  }
  std::size_t send(Bytes bytes) const {
    const ssize_t sent = ::send(fd_, bytes.data(), bytes.size(), MSG_NOSIGNAL);
    return sent > 0 ? static_cast<std::size_t>(sent) : 0;
  }
  // Takes what there is; true when the end has come, of which end() tells: "EOF" or the error.
  bool ended() {
    char buffer[65536];
    for (;;) {
      const ssize_t got = ::recv(fd_, buffer, sizeof buffer, 0);
      if (got > 0) {
        in.append(buffer, static_cast<std::size_t>(got));
        continue;
      }
      if (got < 0 && errno == EAGAIN) return false;
      end = got == 0 ? "EOF" : errno == ECONNRESET ? "ECONNRESET" : "other";
      return true;
    }
  }
  std::string in;
  std::string end;

 private:
  int fd_;
};

// A folder that goes with everything in it.
class TempDir {
 public:
  TempDir() {
    char name[] = "/tmp/pgweir-net-XXXXXX";
    REQUIRE(mkdtemp(name) != nullptr);
    path_ = name;
  }
  ~TempDir() {
    if (DIR* dir = opendir(path_.c_str())) {
      while (const dirent* entry = readdir(dir)) ::unlink(file(entry->d_name).c_str());
      closedir(dir);
    }
    ::rmdir(path_.c_str());
  }
  TempDir(const TempDir&) = delete;
  TempDir& operator=(const TempDir&) = delete;
  std::string file(const std::string& name) const { return path_ + "/" + name; }

 private:
  std::string path_;
};

// Bytes of which any loss, doubling or swap shows.
inline std::string pattern(std::size_t size) {
  std::string out(size, '\0');
  std::uint32_t x = 12345;
  for (char& c : out) {
    x = x * 1664525 + 1013904223;
    c = static_cast<char>(x >> 24);
  }
  return out;
}

}  // namespace pgweir::net
