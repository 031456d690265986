// pooler/deployment.h - where a hosting platform says that this process runs, for every line of the log.
#pragma once

#include <array>
#include <string>
#include <string_view>

#include "conf/load.h"

namespace pgweir {

struct DeploymentVariable {
  std::string_view name;   // as the platform sets it
  std::string_view field;  // of the Elastic Common Schema
};
inline constexpr std::array kDeploymentVariables{
    DeploymentVariable{"RAILWAY_REPLICA_ID", "service.node.name"},
    DeploymentVariable{"RAILWAY_ENVIRONMENT_NAME", "service.environment"},
    DeploymentVariable{"RAILWAY_SERVICE_NAME", "labels.railway_service_name"},
    DeploymentVariable{"RAILWAY_DEPLOYMENT_ID", "labels.railway_deployment_id"},
    DeploymentVariable{"RAILWAY_GIT_COMMIT_SHA", "labels.railway_git_commit_sha"},
};

// Those that are set, to stand in a JSON object behind another member: `,"service.node.name":"r1"`.
std::string deployment_fields(const conf::Environment& environment);

}  // namespace pgweir
