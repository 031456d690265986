#include "pooler/deployment.h"

#include <catch2/catch.hpp>

using namespace pgweir;

TEST_CASE("what a platform says of a process stands beside its metrics") {
  CHECK(deployment_labels({{"PATH", "/bin"}, {"RAILWAY_REPLICA_ID", ""}}).empty());
  const DeploymentLabels wanted{{"replica", "r1"}, {"deployment", "d\"1"}};
  CHECK(deployment_labels({{"RAILWAY_DEPLOYMENT_ID", "d\"1"}, {"RAILWAY_REPLICA_ID", "r1"}}) == wanted);
  CHECK(deployment_labels({{"RAILWAY_SERVICE_NAME", std::string(5'000, 'x')}}).at(0).second.size() == 200);
}

TEST_CASE("what a platform says of a process stands in its log") {
  CHECK(deployment_fields({{"PATH", "/bin"}, {"RAILWAY_REPLICA_ID", ""}}).empty());
  CHECK(
      deployment_fields({{"RAILWAY_DEPLOYMENT_ID", "d\"1"},
                         {"RAILWAY_ENVIRONMENT_NAME", "production"},
                         {"RAILWAY_REPLICA_ID", "r1"}}) ==
      R"(,"service.node.name":"r1","service.environment":"production","labels.railway_deployment_id":"d\"1")");
  CHECK(deployment_fields({{"RAILWAY_SERVICE_NAME", std::string(5'000, 'x')}}).size() < 300);
}
