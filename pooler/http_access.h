// pooler/http_access.h - who may read what HTTP shows: with the token of http.metrics_token, as a user of the
// console, or, while there is no token, from a host of http.allow. Pure.
#pragma once

#include <optional>
#include <string>
#include <string_view>
#include <variant>

#include "pooler/http_routes.h"
#include "protocol/secret.h"

namespace pgweir {
struct Snapshot;
}

namespace pgweir::http {

struct Login {
  std::string user, password;
};
// Who shows nothing at all is asked for it, as browsers expect; who shows what is not good has tried
// something.
enum class Access : std::uint8_t { Allowed, Unproven, WrongToken, Unreadable };

// A Login has to be checked, which is slow.
std::variant<Access, Login> access(const Request& request, const Snapshot& snapshot);

// Whether a header by this name is one that proxies, load balancers and the like add. One that adds none
// cannot be told from a program on its host.
bool is_of_proxy(std::string_view header);

// Whether the header Host is a name that no stranger can give to this host in the DNS: an address, a name
// without a dot, or one under localhost. Else a page that a browser here has open may ask by a name of its
// own (DNS rebinding), or a proxy here may pass on what it was asked.
bool is_of_this_host(std::string_view host);

// 192.0.2.1, 2001:db8::1
std::string address_text(const HostAddress& host);

// Takes as long for names that are unknown. `key`: mock_scram_verifier() needs it.
bool fits(const Login& login, const Snapshot& snapshot, const protocol::ScramKey& key);

}  // namespace pgweir::http
