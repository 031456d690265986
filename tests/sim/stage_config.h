// tests/sim/stage_config.h - the configuration of the pooler on a stage, by way of YAML text as in life.
#pragma once

#include <memory>
#include <string>
#include <vector>

#include "pooler/snapshot.h"
#include "tests/sim/stage.h"

namespace pgweir::sim {

// `round` counts the reloads; each changes a little.
std::string stage_yaml(const Stage& stage, const std::vector<net::Endpoint>& hosts, unsigned round);
// Stops the program with the problems if the text is not accepted.
std::shared_ptr<const Snapshot> stage_snapshot(const Stage& stage, const std::vector<net::Endpoint>& hosts,
                                               unsigned round);

}  // namespace pgweir::sim
