#include "pooler/notify.h"

#include <fcntl.h>
#include <sys/socket.h>
#include <sys/un.h>
#include <unistd.h>

#include <catch2/catch.hpp>
#include <cstddef>

using namespace pgweir;

namespace {

// A service manager in the abstract namespace.
class Manager {
 public:
  explicit Manager(std::string name) : name_(std::move(name)) {
    sockaddr_un address{};
    address.sun_family = AF_UNIX;
    name_.copy(address.sun_path + 1, name_.size());
    const auto size = static_cast<socklen_t>(offsetof(sockaddr_un, sun_path) + 1 + name_.size());
    REQUIRE(::bind(fd_, reinterpret_cast<const sockaddr*>(&address), size) == 0);
  }
  ~Manager() { ::close(fd_); }
  std::string address() const { return "@" + name_; }
  std::string heard() const {
    char text[256];
    const ssize_t size = ::recv(fd_, text, sizeof text, MSG_DONTWAIT);
    return size < 0 ? "nothing" : std::string(text, static_cast<std::size_t>(size));
  }

 private:
  std::string name_;
  int fd_ = ::socket(AF_UNIX, SOCK_DGRAM | SOCK_CLOEXEC, 0);
};

}  // namespace

TEST_CASE("the service manager hears one message per change") {
  const Manager manager("pgweir-notify-test-" + std::to_string(::getpid()));
  auto notifier = Notifier::to(manager.address());
  REQUIRE(notifier.has_value());
  CHECK(manager.heard() == "nothing");
  notifier->ready();
  CHECK(manager.heard() == "READY=1");
  notifier->reloading(Time(Duration(1'500'000)));
  CHECK(manager.heard() == "RELOADING=1\nMONOTONIC_USEC=1500000");
  notifier->alive();
  CHECK(manager.heard() == "WATCHDOG=1");
  notifier->stopping();
  CHECK(manager.heard() == "STOPPING=1");
  CHECK(manager.heard() == "nothing");
}

TEST_CASE("a manager that does not read holds nobody up") {
  const Manager manager("pgweir-notify-full-" + std::to_string(::getpid()));
  auto notifier = Notifier::to(manager.address());
  REQUIRE(notifier.has_value());
  for (int i = 0; i < 10'000; ++i) notifier->alive();  // would hang here
  CHECK(manager.heard() == "WATCHDOG=1");
}

TEST_CASE("without a manager nothing is told, and a bad address is explained") {
  auto nobody = Notifier::to("");
  REQUIRE(nobody.has_value());
  nobody->ready();
  CHECK(Notifier::to("relative").error().message ==
        "NOTIFY_SOCKET relative: neither a path nor '@' and a name");
  CHECK(Notifier::to("/nonexistent/notify").error().message ==
        "NOTIFY_SOCKET /nonexistent/notify: No such file or directory");
  CHECK_THAT(Notifier::to("/" + std::string(107, 'x')).error().message, Catch::Contains("longer than"));
}

TEST_CASE("the watchdog's time is that of this process") {
  CHECK(watchdog_time("3000000", "71", 71) == Duration(3'000'000));
  CHECK(watchdog_time("3000000", "", 71) == Duration(3'000'000));
  CHECK_FALSE(watchdog_time("3000000", "72", 71));
  CHECK_FALSE(watchdog_time("", "71", 71));
  CHECK_FALSE(watchdog_time("0", "71", 71));
  CHECK_FALSE(watchdog_time("-5", "71", 71));
  CHECK_FALSE(watchdog_time("3s", "71", 71));
}
