#include "pooler/notify.h"

#include <fmt/format.h>
#include <sys/socket.h>
#include <sys/un.h>
#include <unistd.h>

#include <cerrno>
#include <charconv>
#include <cstddef>
#include <cstring>
#include <utility>

namespace pgweir {

namespace {

tl::unexpected<Error> refuse(std::string_view address, std::string_view why) {
  return fail(sqlstate::kConfigFileError, fmt::format("NOTIFY_SOCKET {}: {}", address, why));
}

template <class Number>
std::optional<Number> whole(std::string_view text) {
  Number number{};
  const auto [end, error] = std::from_chars(text.data(), text.data() + text.size(), number);
  if (error != std::errc{} || end != text.data() + text.size()) return {};
  return number;
}

}  // namespace

Expected<Notifier> Notifier::to(std::string_view address) {
  if (address.empty()) return Notifier(-1);
  sockaddr_un name{};
  name.sun_family = AF_UNIX;
  if (address.front() != '/' && address.front() != '@')
    return refuse(address, "neither a path nor '@' and a name");
  if (address.size() >= sizeof name.sun_path)
    return refuse(address, "longer than a unix socket's path may be");
  address.copy(name.sun_path, address.size());
  const bool abstract = address.front() == '@';
  if (abstract) name.sun_path[0] = '\0';
  // A path ends with a NUL, a name of the abstract namespace does not.
  const auto size =
      static_cast<socklen_t>(offsetof(sockaddr_un, sun_path) + address.size() + (abstract ? 0 : 1));
  const int fd = ::socket(AF_UNIX, SOCK_DGRAM | SOCK_CLOEXEC | SOCK_NONBLOCK, 0);
  if (fd < 0) return refuse(address, std::strerror(errno));
  Notifier notifier(fd);
  if (::connect(fd, reinterpret_cast<const sockaddr*>(&name), size) != 0)
    return refuse(address, std::strerror(errno));
  return notifier;
}

Notifier::Notifier(Notifier&& other) noexcept : fd_(std::exchange(other.fd_, -1)) {}

Notifier::~Notifier() {
  if (fd_ >= 0) ::close(fd_);
}

void Notifier::ready() { send("READY=1"); }
void Notifier::reloading(Time now) {
  send(fmt::format("RELOADING=1\nMONOTONIC_USEC={}", now.time_since_epoch().count()));
}
void Notifier::stopping() { send("STOPPING=1"); }
void Notifier::alive() { send("WATCHDOG=1"); }

void Notifier::send(std::string_view text) {
  if (fd_ >= 0) (void)::send(fd_, text.data(), text.size(), MSG_NOSIGNAL);
}

std::optional<Duration> watchdog_time(std::string_view usec, std::string_view pid, long own_pid) {
  if (!pid.empty() && whole<long>(pid) != own_pid) return {};
  const auto time = whole<Duration::rep>(usec);
  if (!time || *time <= 0) return {};
  return Duration(*time);
}

}  // namespace pgweir
