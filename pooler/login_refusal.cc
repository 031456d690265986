#include "pooler/login_refusal.h"

#include "pooler/base/error.h"

namespace pgweir {

namespace {

constexpr bool in_order() {
  for (std::size_t i = 0; i < kLoginRefusals.size(); ++i)
    if (static_cast<std::size_t>(kLoginRefusals[i].refusal) != i) return false;
  return true;
}
static_assert(in_order());

}  // namespace

std::uint64_t failed(const RefusedLogins& refused) {
  std::uint64_t sum = 0;
  for (std::size_t i = 0; i < refused.size(); ++i)
    if (kLoginRefusals[i].fault == LoginRefusalRow::Fault::Service) sum += refused[i];
  return sum;
}

LoginRefusal refused_behind_password(std::string_view code) {
  if (code == sqlstate::kInvalidCatalogName) return LoginRefusal::Name;
  if (code == sqlstate::kAdminShutdown) return LoginRefusal::Ordered;
  const std::string_view of = code.substr(0, 2);
  if (of == "22" || of == "42" || of == "0A") return LoginRefusal::Setting;
  if (of == "53") return LoginRefusal::Limit;
  return LoginRefusal::Backend;  // also where it does not believe us (28): the client was believed
}

}  // namespace pgweir
