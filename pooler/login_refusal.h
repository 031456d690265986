// pooler/login_refusal.h - why a client was not let in: a closed set, and whose fault each of it is.
//
// What is the service's, pgweir's or Postgres's, counts against a tier's availability; what the client or an
// administrator wanted so does not. A limit of the tenant's plan is the service's, as it is for requests.
// Pure.
#pragma once

#include <array>
#include <cstddef>
#include <cstdint>
#include <string_view>

namespace pgweir {

enum class LoginRefusal : std::uint8_t {
  Password,
  Name,
  Tls,
  Protocol,
  Setting,
  NotAllowed,
  Silent,
  Ordered,
  // From here on they are the service's.
  Limit,
  MaxClients,
  Backend,
  Store,
  Slow,
  Reload,
  Shutdown,
};

struct LoginRefusalRow {
  LoginRefusal refusal;
  std::string_view name;  // as the metric's label `reason` has it
  enum class Fault : std::uint8_t { Client, Service } fault;
  std::string_view help;
};
inline constexpr std::array<LoginRefusalRow, 15> kLoginRefusals{{
    {LoginRefusal::Password, "password", LoginRefusalRow::Fault::Client,
     "a wrong password, or a user that does not exist"},
    {LoginRefusal::Name, "name", LoginRefusalRow::Fault::Client,
     "no tenant is named, or one that does not exist, or its database does not"},
    {LoginRefusal::Tls, "tls", LoginRefusalRow::Fault::Client,
     "no TLS where it is required, or a certificate that is not this user's"},
    {LoginRefusal::Protocol, "protocol", LoginRefusalRow::Fault::Client,
     "messages that no client should send"},
    {LoginRefusal::Setting, "setting", LoginRefusalRow::Fault::Client,
     "a startup parameter or option that is wrong, above a ceiling, or not for this tier"},
    {LoginRefusal::NotAllowed, "not_allowed", LoginRefusalRow::Fault::Client,
     "the console or replication, which is not for this user or tier"},
    {LoginRefusal::Silent, "silent", LoginRefusalRow::Fault::Client,
     "the client did not go on in time, or while others wanted its place"},
    {LoginRefusal::Ordered, "ordered", LoginRefusalRow::Fault::Client,
     "the tenant is suspended, its database disabled, or the client was killed"},
    {LoginRefusal::Limit, "limit", LoginRefusalRow::Fault::Service,
     "the tenant has max_clients, or it had no server in time"},
    {LoginRefusal::MaxClients, "max_clients", LoginRefusalRow::Fault::Service,
     "client.max are connected, or too many log in at a time"},
    {LoginRefusal::Backend, "backend", LoginRefusalRow::Fault::Service,
     "Postgres cannot be had, or refuses pgweir"},
    {LoginRefusal::Store, "store", LoginRefusalRow::Fault::Service,
     "the tenant store does not answer, and the tenant is not known"},
    {LoginRefusal::Slow, "slow", LoginRefusalRow::Fault::Service,
     "pgweir itself was not done within client.login_timeout"},
    {LoginRefusal::Reload, "reload", LoginRefusalRow::Fault::Service,
     "the configuration has changed during the login"},
    {LoginRefusal::Shutdown, "shutdown", LoginRefusalRow::Fault::Service, "pgweir comes to its end"},
}};

// How many of each, by the place of its row.
using RefusedLogins = std::array<std::uint64_t, kLoginRefusals.size()>;
inline void add(RefusedLogins& to, const RefusedLogins& other) {
  for (std::size_t i = 0; i < to.size(); ++i) to[i] += other[i];
}
std::uint64_t failed(const RefusedLogins& refused);  // those that are the service's fault

// Of a client whose password was right, by the error that it is told: by pgweir, or by Postgres on whom its
// startup parameters are tried.
LoginRefusal refused_behind_password(std::string_view sqlstate);

}  // namespace pgweir
