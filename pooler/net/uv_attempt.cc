#include "pooler/net/uv_attempt.h"

#include <fmt/format.h>
#include <netdb.h>
#include <netinet/tcp.h>

#include <cstring>

#include "pooler/base/check.h"
#include "pooler/net/address.h"
#include "pooler/net/uv_stream.h"

namespace pgweir::net {

namespace {
constexpr int kKeepaliveIdleSeconds = 30;
constexpr int kKeepaliveIntervalSeconds = 10;
constexpr int kKeepaliveProbes = 3;
constexpr unsigned kUserTimeoutMs = 15000;  // for bytes that nobody acknowledges, SYN included

void set_options(int fd, SocketOptions options) {
  const auto set = [fd](int level, int name, auto value) {
    setsockopt(fd, level, name, &value, sizeof value);
  };
  set(IPPROTO_TCP, TCP_NODELAY, 1);
  set(IPPROTO_TCP, TCP_USER_TIMEOUT, kUserTimeoutMs);
  if (!options.keepalive) return;
  set(SOL_SOCKET, SO_KEEPALIVE, 1);
  set(IPPROTO_TCP, TCP_KEEPIDLE, kKeepaliveIdleSeconds);
  set(IPPROTO_TCP, TCP_KEEPINTVL, kKeepaliveIntervalSeconds);
  set(IPPROTO_TCP, TCP_KEEPCNT, kKeepaliveProbes);
}
}  // namespace

// A helper thread may be stuck in a name server's timeout long after the attempt was called off.
struct UvAttempt::Resolution {
  uv_getaddrinfo_t request;
  UvAttempt* attempt;
};

UvAttempt::UvAttempt(UvStream& stream, Endpoint to, SocketOptions options)
    : stream_(stream), to_(std::move(to)), options_(options) {}

UvAttempt::~UvAttempt() {
  if (resolution_ == nullptr) return;
  resolution_->attempt = nullptr;
  uv_cancel(reinterpret_cast<uv_req_t*>(&resolution_->request));
}

void UvAttempt::start() {
  if (to_.is_unix()) return try_unix();
  if (const auto address = literal(to_)) {
    addresses_.push_back(*address);
    return try_next();
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
    std::memcpy(&addresses_.emplace_back(), a->ai_addr, a->ai_addrlen);
  }
  if (addresses_.empty()) return fail("the name has no address");
  try_next();
}

void UvAttempt::try_unix() {
  if (!unix_address(to_.host)) return fail("the path is too long for a unix socket");
  UvSocket* socket = UvSocket::unix_socket(stream_.loop().uv(), &stream_);
  stream_.use(socket);
  uv_pipe_connect(new uv_connect_t, socket->as_pipe(), to_.host.c_str(), on_connect);
}

void UvAttempt::try_next() {
  int error = UV_EADDRNOTAVAIL;
  while (tried_ < addresses_.size()) {
    error = dial(addresses_[tried_++]);
    if (error == 0) return;
  }
  fail(uv_strerror(error));
}

int UvAttempt::dial(const sockaddr_storage& address) {
  UvSocket* socket = UvSocket::tcp(stream_.loop().uv(), &stream_);
  stream_.use(socket);
  const int fd = ::socket(address.ss_family, SOCK_STREAM | SOCK_NONBLOCK | SOCK_CLOEXEC, 0);
  if (fd < 0) return uv_translate_sys_error(errno);
  PGWEIR_CHECK(uv_tcp_open(socket->as_tcp(), fd) == 0);
  set_options(fd, options_);
  auto* request = new uv_connect_t;
  const int rc =
      uv_tcp_connect(request, socket->as_tcp(), reinterpret_cast<const sockaddr*>(&address), on_connect);
  if (rc != 0) delete request;
  return rc;
}

void UvAttempt::on_connect(uv_connect_t* request, int status) {
  UvStream* stream = UvSocket::of(request->handle)->owner();
  delete request;
  // The socket may have been given up, or the attempt called off, since.
  if (stream != nullptr && stream->attempt() != nullptr) stream->attempt()->answered(status);
}

void UvAttempt::answered(int status) {
  if (status == 0) {
    return stream_.connected(to_.is_unix()
                                 ? Address::unix_socket()
                                 : Address::of(reinterpret_cast<const sockaddr*>(&addresses_[tried_ - 1])));
  }
  if (tried_ < addresses_.size()) return try_next();
  fail(uv_strerror(status));
}

void UvAttempt::fail(const std::string& why) {
  stream_.connect_failed(fmt::format("connect to {}: {}{}", text(to_), why,
                                     tried_ > 1 ? fmt::format(" (tried {} addresses)", tried_) : ""));
}

}  // namespace pgweir::net
