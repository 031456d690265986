#include <fmt/format.h>

#include <cstdio>

#include "pooler/base/planted.h"
#include "pooler/cli.h"
#include "pooler/process.h"

static_assert(!PGWEIR_PLANTED(ANY), "bugs are planted for the simulator only");

namespace {

using pgweir::cli::Command;
using pgweir::cli::Exit;

Exit run(const Command& command) {
  switch (command.what) {
    case Command::What::Serve: return pgweir::process::serve(command.config_path);
    case Command::What::CheckConfig: return pgweir::process::check_config(command.config_path);
    case Command::What::PrintConfig: return pgweir::process::print_config(command.config_path);
    case Command::What::CheckBackend:
      return pgweir::process::check_backend(command.config_path, command.backend, command.tenant);
    case Command::What::Doctor: return pgweir::process::doctor(command.config_path);
    case Command::What::Version: fmt::print("{}\n", pgweir::cli::version()); return Exit::Fine;
    case Command::What::Help: fmt::print("{}", pgweir::cli::help()); return Exit::Fine;
  }
  return Exit::Usage;
}

}  // namespace

int main(int argc, char** argv) {
  const auto command = pgweir::cli::parse({argv + 1, argv + argc});
  if (!command) {
    fmt::print(stderr, "pgweir: {}\nTry 'pgweir --help'.\n", command.error());
    return static_cast<int>(Exit::Usage);
  }
  return static_cast<int>(run(*command));
}
