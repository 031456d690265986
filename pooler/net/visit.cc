#include "pooler/net/visit.h"

#include <arpa/inet.h>
#include <fcntl.h>
#include <fmt/format.h>
#include <netdb.h>
#include <openssl/pem.h>
#include <openssl/ssl.h>
#include <openssl/x509v3.h>
#include <poll.h>
#include <sys/socket.h>
#include <unistd.h>

#include <algorithm>
#include <cerrno>
#include <cstdio>
#include <cstring>
#include <future>
#include <memory>
#include <thread>
#include <utility>

#include "pooler/net/address.h"
#include "pooler/net/tls_state.h"

namespace pgweir::net {

namespace {

using Clock = std::chrono::steady_clock;

// False: the time is over.
bool wait_for(int fd, short events, Clock::time_point until) {
  for (;;) {
    const auto left = std::chrono::ceil<std::chrono::milliseconds>(until - Clock::now()).count();
    if (left <= 0) return false;
    pollfd wanted{fd, events, 0};
    const int ready = ::poll(&wanted, 1, static_cast<int>(left));
    if (ready > 0) return true;
    if (ready == 0 || errno != EINTR) return false;
  }
}

tl::unexpected<Error> no(std::string why) { return fail(sqlstate::kConnectionFailure, std::move(why)); }

struct Looked {
  int rc = 0;
  std::vector<std::string> addresses;
};

Looked look_up(const std::string& name) {
  addrinfo hints{};
  hints.ai_socktype = SOCK_STREAM;
  addrinfo* list = nullptr;
  Looked looked{::getaddrinfo(name.c_str(), nullptr, &hints, &list), {}};
  for (const addrinfo* each = list; looked.rc == 0 && each; each = each->ai_next) {
    const std::string text = Address::of(each->ai_addr).words().host;
    if (std::find(looked.addresses.begin(), looked.addresses.end(), text) == looked.addresses.end())
      looked.addresses.push_back(text);
  }
  if (list) ::freeaddrinfo(list);
  return looked;
}

std::int64_t seconds_of(const ASN1_TIME* time) {
  int days = 0, seconds = 0;
  const std::unique_ptr<ASN1_TIME, void (*)(ASN1_TIME*)> epoch(ASN1_TIME_set(nullptr, 0), ASN1_TIME_free);
  if (!epoch || ASN1_TIME_diff(&days, &seconds, epoch.get(), time) != 1) return 0;
  return std::int64_t{days} * 86'400 + seconds;
}

Visit::Certificate facts_of(X509* certificate) {
  Visit::Certificate facts;
  char* const subject = X509_NAME_oneline(X509_get_subject_name(certificate), nullptr, 0);
  if (subject) facts.subject = subject;
  OPENSSL_free(subject);
  facts.not_before_s = seconds_of(X509_get0_notBefore(certificate));
  facts.not_after_s = seconds_of(X509_get0_notAfter(certificate));
  return facts;
}

using X509Ref = std::unique_ptr<X509, void (*)(X509*)>;

}  // namespace

Expected<std::vector<std::string>> resolve(const std::string& name, Patience patience) {
  // The thread may outlast the call, so it shares nothing with it but this.
  auto promise = std::make_shared<std::promise<Looked>>();
  std::future<Looked> future = promise->get_future();
  std::thread([promise, name] { promise->set_value(look_up(name)); }).detach();
  if (future.wait_for(patience) != std::future_status::ready)
    return no(fmt::format("no answer of the resolver within {} ms", patience.count()));
  Looked looked = future.get();
  if (looked.rc != 0) return no(::gai_strerror(looked.rc));
  return std::move(looked.addresses);
}

Expected<Visit> Visit::to(const Endpoint& to, Patience patience) {
  sockaddr_storage place{};
  socklen_t size = 0;
  if (to.is_unix()) {
    const auto path = unix_address(to.host);
    if (!path) return no("the path of the unix socket is too long");
    std::memcpy(&place, &*path, sizeof *path);
    size = sizeof *path;
  } else {
    const auto address = literal(to);
    if (!address) return no("not an address");
    place = *address;
    size = length(place);
  }
  Visit visit(::socket(place.ss_family, SOCK_STREAM | SOCK_CLOEXEC | SOCK_NONBLOCK, 0));
  if (visit.fd_ < 0) return no(std::strerror(errno));
  if (::connect(visit.fd_, reinterpret_cast<const sockaddr*>(&place), size) == 0) return visit;
  if (errno != EINPROGRESS) return no(std::strerror(errno));
  if (!wait_for(visit.fd_, POLLOUT, Clock::now() + patience))
    return no(fmt::format("no answer within {} ms", patience.count()));
  int error = 0;
  socklen_t error_size = sizeof error;
  ::getsockopt(visit.fd_, SOL_SOCKET, SO_ERROR, &error, &error_size);
  if (error != 0) return no(std::strerror(error));
  return visit;
}

Visit::~Visit() {
  if (fd_ >= 0) ::close(fd_);
}
Visit::Visit(Visit&& other) noexcept : fd_(std::exchange(other.fd_, -1)) {}

std::string Visit::ask(Bytes request, std::size_t enough, Patience patience) {
  const auto until = Clock::now() + patience;
  while (!request.empty()) {
    const ssize_t sent = ::send(fd_, request.data(), request.size(), MSG_NOSIGNAL);
    if (sent > 0)
      request.remove_prefix(static_cast<std::size_t>(sent));
    else if ((errno != EAGAIN && errno != EINTR) || !wait_for(fd_, POLLOUT, until))
      return {};
  }
  std::string answer;
  char part[4096];
  while (answer.size() < enough && wait_for(fd_, POLLIN, until)) {
    const ssize_t got = ::recv(fd_, part, std::min(sizeof part, enough - answer.size()), 0);
    if (got > 0)
      answer.append(part, static_cast<std::size_t>(got));
    else if (got == 0 || (errno != EAGAIN && errno != EINTR))
      break;
  }
  return answer;
}

Expected<Visit::Certificate> Visit::shake_hands(const std::string& host, const std::string& ca_file,
                                                Patience patience) {
  const auto made = TlsContext::connecting({ca_file, {}, {}}, TlsVerify::Chain);
  if (!made) return tl::unexpected(made.error());
  SSL_CTX* const context = (*made)->state().ssl.get();
  SSL_CTX_set_verify(context, SSL_VERIFY_NONE, nullptr);  // what is wrong with it is what we want to tell
  const std::unique_ptr<SSL, void (*)(SSL*)> ssl(SSL_new(context), SSL_free);
  if (!ssl || SSL_set_fd(ssl.get(), fd_) != 1) return no(take_ssl_error());
  const bool named = !literal({host, 0});
  if (named) SSL_set_tlsext_host_name(ssl.get(), host.c_str());
  const auto until = Clock::now() + patience;
  for (;;) {
    const int rc = SSL_connect(ssl.get());
    if (rc == 1) break;
    const int want = SSL_get_error(ssl.get(), rc);
    if (want != SSL_ERROR_WANT_READ && want != SSL_ERROR_WANT_WRITE) return no(take_ssl_error());
    if (!wait_for(fd_, want == SSL_ERROR_WANT_READ ? POLLIN : POLLOUT, until))
      return no(fmt::format("the TLS handshake took more than {} ms", patience.count()));
  }
  const X509Ref certificate(SSL_get1_peer_certificate(ssl.get()), X509_free);
  if (!certificate) return no("it shows no certificate");
  Certificate facts = facts_of(certificate.get());
  if (const long verdict = SSL_get_verify_result(ssl.get()); verdict != X509_V_OK)
    facts.chain_error = X509_verify_cert_error_string(verdict);
  facts.name_fits = named ? X509_check_host(certificate.get(), host.c_str(), host.size(), 0, nullptr) == 1
                          : X509_check_ip_asc(certificate.get(), host.c_str(), 0) == 1;
  return facts;
}

Expected<Visit::Certificate> certificate_in(const std::string& file) {
  const std::unique_ptr<std::FILE, int (*)(std::FILE*)> open(std::fopen(file.c_str(), "re"), std::fclose);
  if (!open) return no(std::strerror(errno));
  const X509Ref certificate(PEM_read_X509(open.get(), nullptr, nullptr, nullptr), X509_free);
  if (!certificate) return no(take_ssl_error());
  return facts_of(certificate.get());
}

}  // namespace pgweir::net
