#include "pooler/net/inherited.h"

#include <fcntl.h>
#include <fmt/format.h>
#include <sys/socket.h>
#include <sys/un.h>

#include <cerrno>
#include <charconv>
#include <cstring>
#include <optional>

#include "pooler/net/address.h"
#include "pooler/net/listen.h"

namespace pgweir::net {

namespace {

std::optional<long> whole(std::string_view text) {
  long number = 0;
  const auto [end, error] = std::from_chars(text.data(), text.data() + text.size(), number);
  if (error != std::errc{} || end != text.data() + text.size()) return {};
  return number;
}

// None: not a socket.
std::optional<int> option(int fd, int name) {
  int value = 0;
  socklen_t size = sizeof value;
  if (getsockopt(fd, SOL_SOCKET, name, &value, &size) != 0) return {};
  return value;
}

std::string name_of(int fd) {
  sockaddr_storage address{};
  socklen_t size = sizeof address;
  if (getsockname(fd, reinterpret_cast<sockaddr*>(&address), &size) != 0) return "unknown";
  if (address.ss_family != AF_UNIX) {
    const Peer own = Address::of(reinterpret_cast<const sockaddr*>(&address)).words();
    return text(Endpoint{own.host, own.port});
  }
  sockaddr_un path{};
  std::memcpy(&path, &address, sizeof path);
  return path.sun_path[0] == '/' ? std::string(path.sun_path, strnlen(path.sun_path, sizeof path.sun_path))
                                 : "a unix socket";
}

}  // namespace

int inherited_count(std::string_view listen_pid, std::string_view listen_fds, long own_pid) {
  if (whole(listen_pid) != own_pid) return 0;
  const long count = whole(listen_fds).value_or(0);
  return count > 0 && count <= kInheritedMax ? static_cast<int>(count) : 0;
}

Expected<std::vector<Inherited>> take_inherited(int count) {
  std::vector<Inherited> all;
  for (int fd = kFirstInherited; fd < kFirstInherited + count; ++fd) {
    const auto refuse = [&](std::string_view why) {
      return fail(sqlstate::kConfigFileError, fmt::format("inherited descriptor {}: {}", fd, why));
    };
    const auto type = option(fd, SO_TYPE), domain = option(fd, SO_DOMAIN);
    if (!type || !domain) return refuse("not a socket; LISTEN_FDS counts one too many");
    if (*type != SOCK_STREAM || option(fd, SO_ACCEPTCONN) != 1)
      return refuse("not a stream socket that listens; use ListenStream= and Accept=no in the socket unit");
    if (::fcntl(fd, F_SETFD, FD_CLOEXEC) != 0 || ::fcntl(fd, F_SETFL, O_RDWR | O_NONBLOCK) != 0)
      return refuse(std::strerror(errno));
    if (*domain != AF_UNIX) keep_alive(fd);
    all.push_back({fd, name_of(fd)});
  }
  return all;
}

}  // namespace pgweir::net
