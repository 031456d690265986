#include "pooler/net/listen.h"

#include <fmt/format.h>
#include <netinet/tcp.h>
#include <sys/stat.h>
#include <unistd.h>
#include <uv.h>

#include <cerrno>
#include <cstdio>
#include <utility>

#include "pooler/net/address.h"

namespace pgweir::net {

namespace {

tl::unexpected<Error> refuse(const Endpoint& where, const std::string& why) {
  return fail(sqlstate::kConfigFileError, fmt::format("listen on {}: {}", text(where), why));
}

std::string advice(int error, const ListenOptions& options) {
  const char* what = uv_strerror(uv_translate_sys_error(error));
  switch (error) {
    case EADDRINUSE:
      return fmt::format("{}; stop the other program or change {}", what, options.port_setting);
    case EADDRNOTAVAIL: return "this machine does not have the address; use one of its own, or * for all";
    case EACCES:
    case EPERM: return fmt::format("{}; use a port above 1023 or a folder that this user may write", what);
    case ENOENT: return fmt::format("{}; create the folder of the socket first", what);
    default: return what;
  }
}

void set_option(int fd, int level, int name, int value) { setsockopt(fd, level, name, &value, sizeof value); }

// Closes the descriptor unless it is handed out.
class Socket {
 public:
  explicit Socket(int family) : fd_(::socket(family, SOCK_STREAM | SOCK_NONBLOCK | SOCK_CLOEXEC, 0)) {}
  ~Socket() {
    if (fd_ >= 0) ::close(fd_);
  }
  Socket(const Socket&) = delete;
  Socket& operator=(const Socket&) = delete;
  int fd() const { return fd_; }
  int hand_out() { return std::exchange(fd_, -1); }
  void set(int level, int name, int value) const { set_option(fd_, level, name, value); }

 private:
  int fd_;
};

const sockaddr* generic(const auto& address) { return reinterpret_cast<const sockaddr*>(&address); }

Expected<int> open_tcp(const Endpoint& where, const sockaddr_storage& address, bool any,
                       const ListenOptions& options) {
  Socket socket(address.ss_family);
  if (socket.fd() < 0) return refuse(where, advice(errno, options));
  socket.set(SOL_SOCKET, SO_REUSEADDR, 1);
  if (options.shared) socket.set(SOL_SOCKET, SO_REUSEPORT, 1);
  if (address.ss_family == AF_INET6) socket.set(IPPROTO_IPV6, IPV6_V6ONLY, any ? 0 : 1);
  keep_alive(socket.fd());
  if (bind(socket.fd(), generic(address), length(address)) != 0) return refuse(where, advice(errno, options));
  if (::listen(socket.fd(), options.backlog) != 0) return refuse(where, advice(errno, options));
  return socket.hand_out();
}

enum class Path { Free, Stale, Live, Locked, Foreign };

Path look_at(const std::string& path, const sockaddr_un& address) {
  struct stat what;
  if (lstat(path.c_str(), &what) != 0) return Path::Free;
  if (!S_ISSOCK(what.st_mode)) return Path::Foreign;
  const Socket probe(AF_UNIX);
  if (connect(probe.fd(), generic(address), sizeof address) == 0) return Path::Live;
  if (errno == EACCES) return Path::Locked;
  return errno == ECONNREFUSED ? Path::Stale : Path::Live;  // EAGAIN: its queue is full, so it lives
}

Expected<int> open_unix(const Endpoint& where, const ListenOptions& options) {
  auto address = unix_address(where.host);
  if (!address) return refuse(where, "the path is longer than the 107 bytes that a unix socket may have");
  std::string path = where.host;
  Socket socket(AF_UNIX);
  if (socket.fd() < 0) return refuse(where, advice(errno, options));
  switch (look_at(where.host, *address)) {
    case Path::Free: break;
    case Path::Stale:
      if (::unlink(where.host.c_str()) == 0) break;
      return refuse(where,
                    "nobody answers on the socket that is there, and this user may not remove it: remove "
                    "it or change the path");
    case Path::Locked:
      return refuse(where, "this user may not use the socket that is there: remove it or change the path");
    case Path::Live:
      if (options.shared) {
        path += ".new";
        ::unlink(path.c_str());
        address = unix_address(path);
        if (!address) return refuse(where, "the path is too long to be taken over");
        break;
      }
      return refuse(where, "a program answers there already; stop it or change the path");
    case Path::Foreign: return refuse(where, "the file is not a socket; remove it or change the path");
  }
  if (bind(socket.fd(), generic(*address), sizeof *address) != 0)
    return refuse(where, advice(errno, options));
  // Before listen(), so that nobody gets in with wider permissions.
  if (chmod(path.c_str(), options.unix_mode) != 0) return refuse(where, advice(errno, options));
  if (::listen(socket.fd(), options.backlog) != 0) return refuse(where, advice(errno, options));
  // At no moment is there nobody.
  if (path != where.host && ::rename(path.c_str(), where.host.c_str()) != 0)
    return refuse(where, advice(errno, options));
  return socket.hand_out();
}

bool is_all(std::string_view host) { return host == "*" || host == "::"; }

}  // namespace

Expected<int> open_listener(const Endpoint& where, const ListenOptions& options) {
  if (where.is_unix()) return open_unix(where, options);
  const bool all = is_all(where.host);
  const Endpoint named{all ? "::" : where.host, where.port};
  const auto address = literal(named);
  if (!address)
    return refuse(where, "not an IP address; use for example 127.0.0.1, ::1, * or the path of a socket");
  if (all && Socket(AF_INET6).fd() < 0) {  // a kernel without IPv6
    return open_tcp(where, *literal({"0.0.0.0", where.port}), false, options);
  }
  return open_tcp(where, *address, all, options);
}

bool machine_has(const std::string& address) {
  if (is_all(address)) return true;
  const auto name = literal({address, 0});
  if (!name) return true;
  const int fd = ::socket(name->ss_family, SOCK_DGRAM | SOCK_CLOEXEC, 0);
  if (fd < 0) return false;
  const bool has = ::bind(fd, reinterpret_cast<const sockaddr*>(&*name), length(*name)) == 0;
  ::close(fd);
  return has;
}

void keep_alive(int fd) {
  // Two minutes of silence are no reason to wake 10,000 idle clients sooner.
  set_option(fd, SOL_SOCKET, SO_KEEPALIVE, 1);
  set_option(fd, IPPROTO_TCP, TCP_KEEPIDLE, 120);
  set_option(fd, IPPROTO_TCP, TCP_KEEPINTVL, 10);
  set_option(fd, IPPROTO_TCP, TCP_KEEPCNT, 3);
}

std::uint16_t bound_port(int fd) {
  sockaddr_storage address{};
  socklen_t size = sizeof address;
  if (getsockname(fd, reinterpret_cast<sockaddr*>(&address), &size) != 0) return 0;
  return Address::of(reinterpret_cast<const sockaddr*>(&address)).words().port;
}

}  // namespace pgweir::net
