// pooler/load_snapshot.h - the configuration as a process finds it: its file, its environment, and every
// mistake in them.
#pragma once

#include <memory>
#include <string>
#include <vector>

#include <tl/expected.hpp>

#include "conf/load.h"
#include "pooler/snapshot.h"

namespace pgweir {

// The error is a sentence.
tl::expected<std::string, std::string> read_file(const std::string& path);
conf::Environment read_environment();

// An empty path: no file.
tl::expected<std::shared_ptr<const Snapshot>, std::vector<conf::Problem>> load_snapshot(
    const std::string& path, const conf::Environment& environment);
// On stderr, a line each.
void tell(const std::vector<conf::Problem>& problems);

}  // namespace pgweir
