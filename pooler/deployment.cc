#include "pooler/deployment.h"

#include "pooler/log_text.h"

namespace pgweir {

namespace {
// Calls f(variable, value) for those that are set.
template <class F>
void each_set(const conf::Environment& environment, F f) {
  constexpr std::size_t kValueMost = 200;
  for (const DeploymentVariable& each : kDeploymentVariables) {
    const auto found = environment.find(each.name);
    if (found != environment.end() && !found->second.empty())
      f(each, std::string_view(found->second).substr(0, kValueMost));
  }
}
}  // namespace

std::string deployment_fields(const conf::Environment& environment) {
  std::string out;
  each_set(environment, [&out](const DeploymentVariable& variable, std::string_view value) {
    out += ',';
    log_text::put_json_string(out, variable.field);
    out += ':';
    log_text::put_json_string(out, value);
  });
  return out;
}

DeploymentLabels deployment_labels(const conf::Environment& environment) {
  DeploymentLabels labels;
  each_set(environment, [&labels](const DeploymentVariable& variable, std::string_view value) {
    labels.emplace_back(variable.label, value);
  });
  return labels;
}

}  // namespace pgweir
