// tests/support/logins.h - the messages of a login, as both sides write them.
#pragma once

#include <initializer_list>
#include <string>
#include <utility>

#include "pooler/base/bytes.h"
#include "protocol/messages.h"
#include "protocol/startup.h"
#include "protocol/wire.h"
#include "tests/support/messages.h"

namespace pgweir::test {

// From clients.
inline std::string first_packet(std::uint32_t code, Bytes body = {}) {
  std::string out;
  protocol::Writer(out, 0).u32(code).bytes(body);
  return out;
}
inline std::string ssl_request() { return first_packet(protocol::kSslRequestCode); }
inline std::string gss_request() { return first_packet(protocol::kGssRequestCode); }
inline std::string cancel_packet(std::uint32_t pid, Bytes key) {
  std::string body(4, '\0');
  protocol::store_u32(body.data(), pid);
  return first_packet(protocol::kCancelRequestCode, body.append(key));
}
using Pairs = std::initializer_list<std::pair<Bytes, Bytes>>;
inline std::string startup(Pairs pairs = {{"user", "ann"}, {"database", "shop"}},
                           std::uint32_t version = protocol::kVersion30) {
  std::string body;
  for (const auto& [name, value] : pairs) body += z(name) + z(value);
  return first_packet(version, body + '\0');
}
inline std::string password(Bytes text) { return message('p', z(text)); }
inline std::string sasl_first(Bytes mechanism, Bytes data) {
  std::string out;
  protocol::put_sasl_initial(out, mechanism, data);
  return out;
}
inline std::string sasl_response(Bytes data) { return message('p', data); }

// From servers.
inline std::string auth(std::uint32_t code, Bytes data = {}) {
  std::string out;
  protocol::Writer(out, 'R').u32(code).bytes(data);
  return out;
}
inline std::string auth_ok() { return auth(0); }
inline std::string auth_sasl(Bytes mechanism = "SCRAM-SHA-256") { return auth(10, z(mechanism) + '\0'); }
inline std::string backend_key(std::uint32_t pid = 42, Bytes key = "k3yk") {
  std::string out;
  protocol::put_backend_key(out, pid, key);
  return out;
}
// What follows AuthenticationOk.
inline std::string welcome() {
  return parameter("server_version", "15.5") + parameter("TimeZone", "UTC") + backend_key() + ready();
}

}  // namespace pgweir::test
