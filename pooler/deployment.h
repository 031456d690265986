// pooler/deployment.h - where a hosting platform says that this process runs, for every line of the log and
// for one series of the metrics.
#pragma once

#include <array>
#include <string>
#include <string_view>
#include <utility>
#include <vector>

#include "conf/load.h"

namespace pgweir {

struct DeploymentVariable {
  std::string_view name;   // as the platform sets it
  std::string_view field;  // of the Elastic Common Schema
  std::string_view label;  // of pgweir_deployment_info
};
inline constexpr std::array kDeploymentVariables{
    DeploymentVariable{"RAILWAY_REPLICA_ID", "service.node.name", "replica"},
    DeploymentVariable{"RAILWAY_ENVIRONMENT_NAME", "service.environment", "environment"},
    DeploymentVariable{"RAILWAY_SERVICE_NAME", "labels.railway_service_name", "service"},
    DeploymentVariable{"RAILWAY_DEPLOYMENT_ID", "labels.railway_deployment_id", "deployment"},
    DeploymentVariable{"RAILWAY_GIT_COMMIT_SHA", "labels.railway_git_commit_sha", "commit"},
};

// Those that are set, to stand in a JSON object behind another member: `,"service.node.name":"r1"`.
std::string deployment_fields(const conf::Environment& environment);
// The same as labels and values.
using DeploymentLabels = std::vector<std::pair<std::string, std::string>>;
DeploymentLabels deployment_labels(const conf::Environment& environment);

}  // namespace pgweir
