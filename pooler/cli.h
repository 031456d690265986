// pooler/cli.h - the command line: what was asked for, the help text, and what the exit codes mean.
#pragma once

#include <span>
#include <string>

#include <tl/expected.hpp>

namespace pgweir::cli {

// As sysexits.h has them, where it has one that fits.
enum class Exit : int {
  Fine = 0,         // stopped in order, or did what was asked
  StartFailed = 1,  // an address is taken, a file cannot be opened
  Usage = 64,
  CutOff = 70,       // told to stop, it could not wait for all transactions to end
  Weak = 2,          // --check-backend: a ceiling is weaker than it could be; doctor: a warning
  Wrong = 3,         // --check-backend: something is to be changed; doctor: something does not work
  Unavailable = 69,  // --check-backend: a backend could not be asked
  Root = 77,         // refuses to serve as root
  Config = 78,
};

struct Command {
  enum class What : unsigned char { Serve, CheckConfig, PrintConfig, CheckBackend, Doctor, Version, Help };
  What what = What::Serve;
  std::string config_path;  // empty: no file
  std::string backend;      // of CheckBackend; empty: all
  std::string tenant;       // of CheckBackend; empty: none in particular
};

// `arguments` without the program's name. The error is a sentence for stderr.
tl::expected<Command, std::string> parse(std::span<const char* const> arguments);

std::string help();
std::string version();

}  // namespace pgweir::cli
