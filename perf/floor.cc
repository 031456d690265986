// perf/floor.cc - the least that a transaction pooler can cost: it moves bytes and looks for a trailing
// ReadyForQuery.
//
//   perf_floor LISTEN-PORT SERVER-PORT USER DATABASE SERVERS
//
// Both ports on 127.0.0.1. Logs its servers in by trust when it starts, and answers every client's startup
// with what the last of them said. Parses nothing, checks nothing, trusts everybody: for measurements on the
// loopback only. A client prefers the server that it had before, so that prepared statements work while
// servers are not shared.
#include <arpa/inet.h>
#include <netinet/tcp.h>
#include <sys/epoll.h>
#include <sys/socket.h>
#include <unistd.h>

#include <array>
#include <cerrno>
#include <cstdint>
#include <cstdio>
#include <cstdlib>
#include <cstring>
#include <deque>
#include <memory>
#include <string>
#include <string_view>
#include <vector>

namespace {

constexpr std::size_t kBufferSize = 65'536;
constexpr std::string_view kReadyIdle{"Z\0\0\0\5I", 6};

enum class Kind : std::uint8_t { Listener, Client, Server };

struct Peer {
  Kind kind;
  int fd = -1;
  Peer* other = nullptr;  // the server of a client in a transaction, and back
  std::string unsent;     // what the socket did not take; while there is any, `other` is not read
  std::string held;       // bytes of a client that waits for a server, or of a half startup packet
  std::string tail;       // of a server: the last bytes seen, as many as a ReadyForQuery has
  std::size_t home = 0;   // of a client: the server it had before
  bool welcome = false;   // of a client: the startup is answered
  bool waiting = false;
  bool idle = false;  // of a server
  bool gone = false;
};

std::array<char, kBufferSize> buffer;
int poller = -1;
std::string greeting;
std::vector<std::unique_ptr<Peer>> servers;
std::vector<Peer*> free_servers;
std::deque<Peer*> waiters;
std::vector<std::unique_ptr<Peer>> graveyard;  // freed after the batch of events that may still name them

[[noreturn]] void die(const char* what) {
  std::perror(what);
  std::exit(1);
}

void watch(Peer& peer, std::uint32_t events, int operation) {
  epoll_event event{};
  event.events = events;
  event.data.ptr = &peer;
  if (epoll_ctl(poller, operation, peer.fd, &event) != 0) die("epoll_ctl");
}

sockaddr_in loopback(std::uint16_t port) {
  sockaddr_in address{};
  address.sin_family = AF_INET;
  address.sin_port = htons(port);
  address.sin_addr.s_addr = htonl(INADDR_LOOPBACK);
  return address;
}

void no_delay(int fd) {
  const int on = 1;
  setsockopt(fd, IPPROTO_TCP, TCP_NODELAY, &on, sizeof on);
}

// Sends what the socket takes and keeps the rest; `from` is not read until that has gone out.
void deliver(Peer& to, Peer& from, std::string_view bytes) {
  if (to.unsent.empty()) {
    const ssize_t sent = send(to.fd, bytes.data(), bytes.size(), MSG_NOSIGNAL | MSG_DONTWAIT);
    if (sent == static_cast<ssize_t>(bytes.size())) return;
    if (sent > 0) bytes.remove_prefix(static_cast<std::size_t>(sent));
  }
  to.unsent.append(bytes);
  watch(to, EPOLLIN | EPOLLOUT, EPOLL_CTL_MOD);
  watch(from, 0, EPOLL_CTL_MOD);
}

void drained(Peer& to) {
  const ssize_t sent = send(to.fd, to.unsent.data(), to.unsent.size(), MSG_NOSIGNAL | MSG_DONTWAIT);
  if (sent > 0) to.unsent.erase(0, static_cast<std::size_t>(sent));
  if (!to.unsent.empty()) return;
  watch(to, EPOLLIN, EPOLL_CTL_MOD);
  if (to.other) watch(*to.other, EPOLLIN, EPOLL_CTL_MOD);
}

void link(Peer& client, Peer& server, std::string_view bytes) {
  server.idle = false;
  client.other = &server;
  server.other = &client;
  deliver(server, client, bytes);
}

Peer* free_server(Peer& client) {
  if (free_servers.empty()) return nullptr;
  Peer* wanted = servers[client.home].get();
  std::size_t at = free_servers.size() - 1;
  if (wanted->idle) {
    while (free_servers[at] != wanted) --at;
  }
  Peer* server = free_servers[at];
  free_servers[at] = free_servers.back();
  free_servers.pop_back();
  return server;
}

void release(Peer& server) {
  server.other->other = nullptr;
  server.other = nullptr;
  while (!waiters.empty()) {
    Peer* client = waiters.front();
    waiters.pop_front();
    client->waiting = false;
    const std::string bytes = std::move(client->held);
    client->held.clear();
    link(*client, server, bytes);
    return;
  }
  server.idle = true;
  free_servers.push_back(&server);
}

void close_client(Peer& client) {
  // A client that leaves in a transaction takes its server along; benchmarks do not.
  if (client.other) die("client left in a transaction");
  if (client.waiting) std::erase(waiters, &client);
  close(client.fd);
  client.gone = true;
  graveyard.emplace_back(&client);
}

void startup(Peer& client, std::string_view bytes) {
  client.held.append(bytes);
  if (client.held.size() < 8) return;
  std::uint32_t size = 0;
  std::uint32_t code = 0;
  std::memcpy(&size, client.held.data(), 4);
  std::memcpy(&code, client.held.data() + 4, 4);
  if (client.held.size() < ntohl(size)) return;
  client.held.erase(0, ntohl(size));
  constexpr std::uint32_t kSslRequest = 80877103;
  constexpr std::uint32_t kGssRequest = 80877104;
  if (ntohl(code) == kSslRequest || ntohl(code) == kGssRequest) {
    if (send(client.fd, "N", 1, MSG_NOSIGNAL) != 1) die("send");
    return startup(client, {});
  }
  client.welcome = true;
  if (send(client.fd, greeting.data(), greeting.size(), MSG_NOSIGNAL) < 0) die("send");
}

void client_bytes(Peer& client, std::string_view bytes) {
  if (!client.welcome) return startup(client, bytes);
  if (client.other) return deliver(*client.other, client, bytes);
  if (!client.waiting && bytes.front() == 'X') return close_client(client);
  if (!client.waiting) {
    if (Peer* server = free_server(client)) {
      for (std::size_t n = 0; n < servers.size(); ++n) {
        if (servers[n].get() == server) client.home = n;
      }
      return link(client, *server, bytes);
    }
    client.waiting = true;
    waiters.push_back(&client);
  }
  client.held.append(bytes);
}

void server_bytes(Peer& server, std::string_view bytes) {
  if (!server.other) die("a server talks while idle");
  deliver(*server.other, server, bytes);
  if (bytes.size() >= kReadyIdle.size()) {
    server.tail = bytes.substr(bytes.size() - kReadyIdle.size());
  } else {
    server.tail.append(bytes);
    if (server.tail.size() > kReadyIdle.size()) server.tail.erase(0, server.tail.size() - kReadyIdle.size());
  }
  if (server.tail == kReadyIdle && server.other->unsent.empty()) release(server);
}

void readable(Peer& peer) {
  const ssize_t size = recv(peer.fd, buffer.data(), buffer.size(), 0);
  if (size < 0 && (errno == EAGAIN || errno == EINTR)) return;
  if (size <= 0) {
    if (peer.kind == Kind::Server) die("a server left");
    return close_client(peer);
  }
  const std::string_view bytes{buffer.data(), static_cast<std::size_t>(size)};
  if (peer.kind == Kind::Server) return server_bytes(peer, bytes);
  client_bytes(peer, bytes);
}

void writable(Peer& peer) {
  drained(peer);
  // The last of an answer may only have gone out now.
  if (peer.kind == Kind::Client && peer.unsent.empty() && peer.other && peer.other->tail == kReadyIdle)
    release(*peer.other);
}

void accept_one(const Peer& listener) {
  static std::size_t count = 0;
  const int fd = accept4(listener.fd, nullptr, nullptr, SOCK_NONBLOCK | SOCK_CLOEXEC);
  if (fd < 0) return;
  no_delay(fd);
  auto* client = new Peer{};  // owned by the poller's event until close_client()
  client->kind = Kind::Client;
  client->fd = fd;
  client->home = count++ % servers.size();
  watch(*client, EPOLLIN, EPOLL_CTL_ADD);
}

std::string startup_packet(std::string_view user, std::string_view database) {
  std::string body{"\0\3\0\0user\0", 9};
  body.append(user).push_back('\0');
  body.append("database").push_back('\0');
  body.append(database).append(2, '\0');
  const std::uint32_t size = htonl(static_cast<std::uint32_t>(body.size() + 4));
  return std::string(reinterpret_cast<const char*>(&size), 4) + body;
}

void connect_server(std::uint16_t port, std::string_view packet) {
  auto server = std::make_unique<Peer>();
  server->kind = Kind::Server;
  server->fd = socket(AF_INET, SOCK_STREAM | SOCK_CLOEXEC, 0);
  const sockaddr_in address = loopback(port);
  if (connect(server->fd, reinterpret_cast<const sockaddr*>(&address), sizeof address) != 0) die("connect");
  no_delay(server->fd);
  if (send(server->fd, packet.data(), packet.size(), MSG_NOSIGNAL) < 0) die("send");
  greeting.clear();
  while (!greeting.ends_with(kReadyIdle)) {
    const ssize_t size = recv(server->fd, buffer.data(), buffer.size(), 0);
    if (size <= 0) die("login refused");
    greeting.append(buffer.data(), static_cast<std::size_t>(size));
  }
  server->idle = true;
  free_servers.push_back(server.get());
  watch(*server, EPOLLIN, EPOLL_CTL_ADD);
  servers.push_back(std::move(server));
}

void listen_on(Peer& listener, std::uint16_t port) {
  listener.fd = socket(AF_INET, SOCK_STREAM | SOCK_NONBLOCK | SOCK_CLOEXEC, 0);
  const int on = 1;
  setsockopt(listener.fd, SOL_SOCKET, SO_REUSEADDR, &on, sizeof on);
  const sockaddr_in address = loopback(port);
  if (bind(listener.fd, reinterpret_cast<const sockaddr*>(&address), sizeof address) != 0) die("bind");
  if (listen(listener.fd, 1024) != 0) die("listen");
  watch(listener, EPOLLIN, EPOLL_CTL_ADD);
}

[[noreturn]] void serve() {
  std::array<epoll_event, 256> events{};
  while (true) {
    const int count = epoll_wait(poller, events.data(), static_cast<int>(events.size()), -1);
    if (count < 0 && errno != EINTR) die("epoll_wait");
    for (int n = 0; n < count; ++n) {
      const epoll_event& event = events[static_cast<std::size_t>(n)];
      auto& peer = *static_cast<Peer*>(event.data.ptr);
      if (peer.gone) continue;
      if (peer.kind == Kind::Listener) {
        accept_one(peer);
        continue;
      }
      if (event.events & EPOLLOUT) writable(peer);
      if (!peer.gone && (event.events & (EPOLLIN | EPOLLHUP | EPOLLERR))) readable(peer);
    }
    graveyard.clear();
  }
}

}  // namespace

int main(int argc, char** argv) {
  if (argc != 6) {
    std::fprintf(stderr, "usage: perf_floor LISTEN-PORT SERVER-PORT USER DATABASE SERVERS\n");
    return 64;
  }
  poller = epoll_create1(EPOLL_CLOEXEC);
  const std::string packet = startup_packet(argv[3], argv[4]);
  for (int n = std::atoi(argv[5]); n > 0; --n)
    connect_server(static_cast<std::uint16_t>(std::atoi(argv[2])), packet);
  Peer listener{};
  listener.kind = Kind::Listener;
  listen_on(listener, static_cast<std::uint16_t>(std::atoi(argv[1])));
  serve();
}
