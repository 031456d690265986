// pooler/process.h - pgweir as a process: files, environment, threads, listening sockets and signals around
// an App.
#pragma once

#include <string>

#include "pooler/cli.h"

namespace pgweir::process {

// Reads the configuration and tells every problem on stderr.
cli::Exit check_config(const std::string& path);
cli::Exit print_config(const std::string& path);
// Asks one backend, or all, or that of one tenant, and prints what holds there (pooler/backend_report.h).
cli::Exit check_backend(const std::string& path, const std::string& backend, const std::string& tenant);
// Tries whatever the configuration names and prints what does not work (pooler/doctor.h).
cli::Exit doctor(const std::string& path);

// Runs the pooler until a signal or the console ends it. Worker 0 runs on this thread.
cli::Exit serve(const std::string& path);

}  // namespace pgweir::process
