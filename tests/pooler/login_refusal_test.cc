#include "pooler/login_refusal.h"

#include <catch2/catch.hpp>
#include <set>
#include <string>

#include "pooler/base/error.h"

using namespace pgweir;

namespace {
std::string name(LoginRefusal refusal) {
  return std::string(kLoginRefusals.at(static_cast<std::size_t>(refusal)).name);
}
}  // namespace

TEST_CASE("what is the service's fault is counted as such, and nothing else") {
  RefusedLogins refused{};
  for (const LoginRefusal own :
       {LoginRefusal::Password, LoginRefusal::Name, LoginRefusal::Tls, LoginRefusal::Protocol,
        LoginRefusal::Setting, LoginRefusal::NotAllowed, LoginRefusal::Silent, LoginRefusal::Ordered})
    refused[static_cast<std::size_t>(own)] = 7;
  CHECK(failed(refused) == 0);
  std::uint64_t told = 0;
  for (const LoginRefusal ours :
       {LoginRefusal::Limit, LoginRefusal::MaxClients, LoginRefusal::Backend, LoginRefusal::Store,
        LoginRefusal::Slow, LoginRefusal::Reload, LoginRefusal::Shutdown}) {
    ++refused[static_cast<std::size_t>(ours)];
    CHECK(failed(refused) == ++told);
  }
  std::set<std::string_view> names;
  for (const LoginRefusalRow& row : kLoginRefusals) names.insert(row.name);
  CHECK(names.size() == 8 + told);
}

TEST_CASE("a client whose password was right is refused for what its error says") {
  const struct {
    const char* sqlstate;
    const char* name;
  } cases[] = {
      {sqlstate::kInvalidCatalogName, "name"},  // Postgres does not know the database
      {sqlstate::kInvalidParameterValue, "setting"}, {"22007", "setting"},
      {sqlstate::kUndefinedObject, "setting"},       {sqlstate::kInsufficientPrivilege, "setting"},
      {sqlstate::kFeatureNotSupported, "setting"},   {sqlstate::kTooManyConnections, "limit"},
      {sqlstate::kConfigurationLimit, "limit"},      {sqlstate::kAdminShutdown, "ordered"},
      {sqlstate::kCannotConnectNow, "backend"},      {sqlstate::kConnectionFailure, "backend"},
      {sqlstate::kInvalidPassword, "backend"},       {sqlstate::kInvalidAuthorization, "backend"},
      {sqlstate::kInternalError, "backend"},         {"", "backend"},
  };
  for (const auto& each : cases) {
    INFO(each.sqlstate);
    CHECK(name(refused_behind_password(each.sqlstate)) == each.name);
  }
}
