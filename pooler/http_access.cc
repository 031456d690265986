#include "pooler/http_access.h"

#include <algorithm>
#include <array>
#include <string_view>

#include "pooler/snapshot.h"
#include "protocol/base64.h"
#include "protocol/digest.h"

namespace pgweir::http {

namespace {

constexpr std::size_t kLoginBytes = 4096;  // of name and password

// Headers of proxies, load balancers, content networks and tunnels, in lower case: by their beginnings, and
// whole.
constexpr std::array<std::string_view, 10> kFamilies{"x-forwarded", "x-original-", "x-envoy-", "x-amz",
                                                     "x-azure-",    "x-railway-",  "x-proxy",  "cf-",
                                                     "fastly-",     "fly-"};
constexpr std::array<std::string_view, 13> kOfProxies{
    "forwarded",   "via",           "x-real-ip",      "x-client-ip", "x-cluster-client-ip",
    "x-remote-ip", "x-remote-addr", "true-client-ip", "client-ip",   "proxy-connection",
    "cdn-loop",    "x-varnish",     "x-request-start"};

// `small` in whatever letters.
bool is_same(std::string_view text, std::string_view small) {
  return std::equal(text.begin(), text.end(), small.begin(), small.end(),
                    [](char a, char b) { return (a >= 'A' && a <= 'Z' ? a | 0x20 : a) == b; });
}

// What stands behind the scheme, if the header has this one.
std::optional<std::string_view> credentials(std::string_view header, std::string_view scheme) {
  if (header.size() <= scheme.size() || header[scheme.size()] != ' ') return std::nullopt;
  return is_same(header.substr(0, scheme.size()), scheme) ? std::optional(header.substr(scheme.size() + 1))
                                                          : std::nullopt;
}

std::optional<Login> login_of(std::string_view header) {
  const auto encoded = credentials(header, "basic");
  if (!encoded) return std::nullopt;
  const auto text = protocol::base64_decode(*encoded, kLoginBytes);
  const std::size_t colon = text ? text->find(':') : std::string::npos;
  if (colon == std::string::npos) return std::nullopt;
  return Login{text->substr(0, colon), text->substr(colon + 1)};
}

bool is_neighbour(const Request& request, const conf::Config& config) {
  if (is_loopback(request.from) && !is_of_this_host(request.host)) return false;
  return std::any_of(config.http_allow.begin(), config.http_allow.end(), [&](const std::string& text) {
    const auto network = parse_network(text);
    return network && network->has(request.from);
  });
}

bool fits(const std::string& password, const std::string& user, const protocol::Secret& secret,
          const protocol::ScramVerifier& verifier, const protocol::ScramKey& derived) {
  if (const auto* plain = std::get_if<protocol::PlainSecret>(&secret))
    return protocol::equal_secret(password, plain->password);
  if (const auto* md5 = std::get_if<protocol::Md5Secret>(&secret))
    return protocol::equal_secret(protocol::md5_hash_user(password, user), md5->hex);
  return protocol::equal_secret(protocol::as_bytes(protocol::scram_stored_key(derived)),
                                protocol::as_bytes(verifier.stored_key));
}

}  // namespace

std::variant<Access, Login> access(const Request& request, const Snapshot& snapshot) {
  const std::string& token = snapshot.config().metrics_token;
  const auto bearer = credentials(request.authorization, "bearer");
  if (!token.empty() && bearer && protocol::equal_secret(*bearer, token)) return Access::Allowed;
  // Behind a proxy everybody has the proxy's address.
  if (token.empty() && !request.forwarded && is_neighbour(request, snapshot.config())) return Access::Allowed;
  if (auto login = login_of(request.authorization)) return std::move(*login);
  if (request.authorization.empty()) return Access::Unproven;
  return bearer ? Access::WrongToken : Access::Unreadable;
}

bool is_of_proxy(std::string_view header) {
  std::string name(header);
  for (char& c : name)
    if (c >= 'A' && c <= 'Z') c = static_cast<char>(c | 0x20);
  return std::any_of(kFamilies.begin(), kFamilies.end(),
                     [&](std::string_view front) { return name.starts_with(front); }) ||
         std::find(kOfProxies.begin(), kOfProxies.end(), name) != kOfProxies.end();
}

bool is_of_this_host(std::string_view host) {
  if (host.starts_with('[')) return true;  // an IPv6 address
  host = host.substr(0, host.find(':'));
  if (host.ends_with('.')) host.remove_suffix(1);
  constexpr std::string_view kLocal = ".localhost";
  if (is_same(host, "localhost.localdomain")) return true;
  const bool local = host.size() > kLocal.size() && is_same(host.substr(host.size() - kLocal.size()), kLocal);
  return local || host.find('.') == std::string_view::npos || parse_network(host).has_value();
}

std::string address_text(const HostAddress& host) {
  std::array<char, INET6_ADDRSTRLEN> text{};
  const bool v4 = parse_network("::ffff:0:0/96")->has(host);
  ::inet_ntop(v4 ? AF_INET : AF_INET6, v4 ? &host[12] : host.data(), text.data(), text.size());
  return text.data();
}

bool fits(const Login& login, const Snapshot& snapshot, const protocol::ScramKey& key) {
  const auto user = snapshot.users.find(login.user);
  const bool known = user != snapshot.users.end() && snapshot.is_console_user(login.user);
  const auto* const own = known ? std::get_if<protocol::ScramVerifier>(&user->second) : nullptr;
  const protocol::ScramVerifier verifier = own ? *own : protocol::mock_scram_verifier(login.user, key);
  const protocol::ScramKey salted =
      protocol::scram_salted_password(login.password, verifier.salt, verifier.iterations);
  return known &&
         fits(login.password, login.user, user->second, verifier, protocol::scram_client_key(salted));
}

}  // namespace pgweir::http
