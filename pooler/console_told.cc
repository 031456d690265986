#include "pooler/console_told.h"

#include <fmt/format.h>

#include "conf/change.h"
#include "conf/load.h"
#include "tiers/tier.h"

namespace pgweir::console {

namespace {

std::string told_value(const Request& request) {
  if (request.command->action == Action::Set || request.command->action == Action::ShowSetting) return {};
  if (request.command->action == Action::SetSetting)
    return "= " + conf::shown_value(request.argument, request.value);
  const bool hidden =
      !request.field.empty() && (!tiers::check_field(request.field) || conf::is_secret_field(request.field));
  return hidden && !request.value.empty() ? std::string(conf::kMask) : request.value;
}

}  // namespace

std::string told_argument(const Request& request) {
  if (!request.command) return {};
  std::string told = request.argument;
  for (const std::string& more : {request.field, told_value(request)})
    if (!more.empty()) told += (told.empty() ? "" : " ") + more;
  return told;
}

}  // namespace pgweir::console
