#include "pooler/deployment.h"

#include "pooler/log_text.h"

namespace pgweir {

std::string deployment_fields(const conf::Environment& environment) {
  constexpr std::size_t kValueMost = 200;
  std::string out;
  for (const DeploymentVariable& each : kDeploymentVariables) {
    const auto found = environment.find(each.name);
    if (found == environment.end() || found->second.empty()) continue;
    out += ',';
    log_text::put_json_string(out, each.field);
    out += ':';
    log_text::put_json_string(out, std::string_view(found->second).substr(0, kValueMost));
  }
  return out;
}

}  // namespace pgweir
