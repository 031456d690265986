#include "pooler/net/uv_attempt.h"

#include <fmt/format.h>
#include <netdb.h>
#include <netinet/tcp.h>

#include <algorithm>
#include <cstring>

#include "pooler/base/check.h"
#include "pooler/net/address.h"
#include "pooler/net/uv_stream.h"

namespace pgweir::net {

namespace {
constexpr int kKeepaliveProbes = 3;  // unless silence_max says how long they are waited for
// Linux 6.15; the headers of Debian 12 do not know it.
constexpr int kTcpRtoMaxMs = 44;
constexpr unsigned kSentAgainMs = 1'000;

void set_option(int fd, int level, int name, auto value) {
  setsockopt(fd, level, name, &value, sizeof value);
}

// The kernel counts from when it has sent something again that is not acknowledged: nearly half a second and
// the way there and back after it was sent first. With more than that taken off, what is sent again shortly
// before the end would not be. Probes, sent by whole seconds, end a connection at the same one as without.
constexpr std::chrono::milliseconds kSentAgainFirst{500};

unsigned user_timeout(std::chrono::milliseconds silence_max) {
  return static_cast<unsigned>((silence_max - std::min(kSentAgainFirst, silence_max / 2)).count());
}

void set_options(int fd, const SocketOptions& options) {
  set_option(fd, IPPROTO_TCP, TCP_NODELAY, 1);
  set_option(fd, IPPROTO_TCP, TCP_USER_TIMEOUT, user_timeout(options.silence_max));
  // What a network has lost that was away for a while is sent again soon after it is back. Without a
  // silence_max it is the number of times that ends a connection, which has to last for as long as it did.
  if (options.silence_max.count() > 0) set_option(fd, IPPROTO_TCP, kTcpRtoMaxMs, kSentAgainMs);
  set_keepalive(fd, options.keepalive);
}
}  // namespace

void set_keepalive(int fd, Keepalive how) {
  set_option(fd, SOL_SOCKET, SO_KEEPALIVE, how.idle > 0 ? 1 : 0);
  if (how.idle == 0) return;
  set_option(fd, IPPROTO_TCP, TCP_KEEPIDLE, how.idle);
  set_option(fd, IPPROTO_TCP, TCP_KEEPINTVL, how.interval);
  set_option(fd, IPPROTO_TCP, TCP_KEEPCNT, kKeepaliveProbes);
}

// A helper thread may be stuck in a name server's timeout long after the attempt was called off.
struct UvAttempt::Resolution {
  uv_getaddrinfo_t request;
  UvAttempt* attempt;
};

UvAttempt::UvAttempt(UvStream& stream, Endpoint to, SocketOptions options)
    : stream_(stream), to_(std::move(to)), options_(options), head_start_(this, [](void* self) {
        auto& attempt = *static_cast<UvAttempt*>(self);
        attempt.go_on(attempt.lanes_[1], 0);
      }) {}

UvAttempt::~UvAttempt() {
  stream_.loop().disarm(head_start_);
  for (Lane& lane : lanes_) drop(lane);
  if (resolution_ == nullptr) return;
  resolution_->attempt = nullptr;
  uv_cancel(reinterpret_cast<uv_req_t*>(&resolution_->request));
}

void UvAttempt::start() {
  if (to_.is_unix()) return try_unix();
  if (const auto address = literal(to_)) {
    lanes_[0].addresses.push_back(*address);
    return begin();
  }
  resolve();
}

void UvAttempt::resolve() {
  addrinfo hints{};
  hints.ai_family = AF_UNSPEC;
  hints.ai_socktype = SOCK_STREAM;
  hints.ai_flags = AI_NUMERICSERV;  // and not AI_ADDRCONFIG, which hides ::1 on machines without IPv6 routes
  resolution_ = new Resolution{{}, this};
  resolution_->request.data = resolution_;
  const int rc = uv_getaddrinfo(
      stream_.loop().uv(), &resolution_->request,
      [](uv_getaddrinfo_t* request, int status, addrinfo* found) {
        const std::unique_ptr<Resolution> done(static_cast<Resolution*>(request->data));
        if (done->attempt != nullptr) done->attempt->resolved(status, found);
        uv_freeaddrinfo(found);
      },
      to_.host.c_str(), std::to_string(to_.port).c_str(), &hints);
  if (rc == 0) return;
  delete std::exchange(resolution_, nullptr);
  resolved(rc, nullptr);
}

void UvAttempt::resolved(int status, addrinfo* found) {
  resolution_ = nullptr;
  if (status < 0) return fail(fmt::format("the name does not resolve ({})", uv_strerror(status)));
  for (const addrinfo* a = found; a != nullptr; a = a->ai_next) {
    if (a->ai_family != AF_INET && a->ai_family != AF_INET6) continue;
    // The resolver puts first what is likely to work best: its family begins.
    auto& first = lanes_[0].addresses;
    const bool other = !first.empty() && first[0].ss_family != a->ai_family;
    std::memcpy(&lanes_[other ? 1 : 0].addresses.emplace_back(), a->ai_addr, a->ai_addrlen);
  }
  if (lanes_[0].addresses.empty()) return fail("the name has no address");
  begin();
}

void UvAttempt::try_unix() {
  if (!unix_address(to_.host)) return fail("the path is too long for a unix socket");
  lanes_[0].socket = UvSocket::unix_socket(stream_.loop().uv(), &stream_);
  uv_pipe_connect(new uv_connect_t, lanes_[0].socket->as_pipe(), to_.host.c_str(), on_connect);
}

void UvAttempt::begin() {
  if (lanes_[1].idle()) stream_.loop().arm(head_start_, stream_.loop().now() + Loop::kHeadStart);
  go_on(lanes_[0], 0);
}

// `error` is why its last address would not do; 0: it begins.
void UvAttempt::go_on(Lane& lane, int error) {
  drop(lane);
  while (lane.tried < lane.addresses.size()) {
    error = dial(lane, lane.addresses[lane.tried++]);
    if (error == 0) return;
    drop(lane);
  }
  Lane& other = lanes_[&lane == &lanes_[0] ? 1 : 0];
  if (other.socket != nullptr) return;
  if (!other.idle()) return fail(uv_strerror(error));
  stream_.loop().disarm(head_start_);
  go_on(other, 0);
}

int UvAttempt::dial(Lane& lane, const sockaddr_storage& address) {
  lane.socket = UvSocket::tcp(stream_.loop().uv(), &stream_);
  const int fd = ::socket(address.ss_family, SOCK_STREAM | SOCK_NONBLOCK | SOCK_CLOEXEC, 0);
  if (fd < 0) return uv_translate_sys_error(errno);
  PGWEIR_CHECK(uv_tcp_open(lane.socket->as_tcp(), fd) == 0);
  set_options(fd, options_);
  auto* request = new uv_connect_t;
  const int rc =
      uv_tcp_connect(request, lane.socket->as_tcp(), reinterpret_cast<const sockaddr*>(&address), on_connect);
  if (rc != 0) delete request;
  return rc;
}

void UvAttempt::on_connect(uv_connect_t* request, int status) {
  UvSocket* socket = UvSocket::of(request->handle);
  UvStream* stream = socket->owner();
  delete request;
  // The socket may have been given up, or the attempt called off, since.
  if (stream != nullptr && stream->attempt() != nullptr) stream->attempt()->answered(socket, status);
}

void UvAttempt::answered(UvSocket* socket, int status) {
  Lane& lane = lanes_[socket == lanes_[0].socket ? 0 : 1];
  if (status != 0) return go_on(lane, status);
  const Address peer = to_.is_unix()
                           ? Address::unix_socket()
                           : Address::of(reinterpret_cast<const sockaddr*>(&lane.addresses[lane.tried - 1]));
  stream_.use(std::exchange(lane.socket, nullptr));
  stream_.connected(peer);  // which ends this attempt
}

void UvAttempt::drop(Lane& lane) {
  if (lane.socket == nullptr) return;
  lane.socket->let_go();
  lane.socket->close();
  lane.socket = nullptr;
}

void UvAttempt::fail(const std::string& why) {
  const std::size_t tried = lanes_[0].tried + lanes_[1].tried;
  stream_.connect_failed(fmt::format("connect to {}: {}{}", text(to_), why,
                                     tried > 1 ? fmt::format(" (tried {} addresses)", tried) : ""));
}

}  // namespace pgweir::net
