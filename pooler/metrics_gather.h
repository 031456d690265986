// pooler/metrics_gather.h - a Sample of all workers, taken a few tenants at a time.
#pragma once

#include <functional>
#include <vector>

#include "pooler/metrics.h"

namespace pgweir {
class Worker;
}

namespace pgweir::metrics {

// At most `most` tenants of each worker are in its sample's `top`. `done` comes on the asking worker's loop.
void gather(Worker& asking, std::size_t most, std::function<void(std::vector<Sample>)> done);

}  // namespace pgweir::metrics
