#include "pooler/cli.h"

#include <fmt/format.h>

#include <algorithm>
#include <array>
#include <string_view>

#include "pooler/base/near.h"
#include "pooler/base/quoted.h"
#include "pooler/version.h"

namespace pgweir::cli {

namespace {

using What = Command::What;

struct Option {
  std::string_view name;
  std::string_view argument;  // empty: takes none
  What what;
  std::string_view help;
};

constexpr std::array kOptions{
    Option{"--config", "FILE", What::Serve,
           "read settings from this YAML file; the environment goes over it"},
    Option{"--check-config", "", What::CheckConfig, "tell every mistake in the configuration, and exit"},
    Option{"--print-config", "", What::PrintConfig,
           "print every setting in force and where it comes from, secrets masked, and exit"},
    Option{"--check-backend", "[NAME]", What::CheckBackend,
           "ask this backend, or all, what of each tier's ceilings holds there, and exit"},
    Option{
        "--tenant", "NAME", What::Serve,
        "of --check-backend: this tenant's backend, database, role and ceilings, also from the tenant store"},
    Option{"--doctor", "", What::Doctor,
           "also as the word doctor: try names, ports, TLS, logins, stores, limits and clocks, and exit"},
    Option{"--version", "", What::Version, "print the version and exit"},
    Option{"--help", "", What::Help, "print this text and exit"},
};

constexpr std::string_view kDoctor = "doctor", kDoctorOption = "--doctor";

struct Code {
  Exit code;
  std::string_view meaning;
};

constexpr std::array kCodes{
    Code{Exit::Fine, "stopped in order, or did what was asked"},
    Code{Exit::StartFailed, "could not start: an address is in use, a folder may not be written"},
    Code{Exit::Weak, "--check-backend: a ceiling is weaker than it could be; doctor: there are warnings"},
    Code{Exit::Wrong,
         "--check-backend: a setting or a role is to be changed; doctor: something does not work"},
    Code{Exit::Usage, "the command line is wrong, or names a backend or tenant that nobody knows"},
    Code{Exit::Unavailable, "--check-backend: a backend or the tenant store could not be asked"},
    Code{Exit::CutOff,
         "told to stop, it cut off transactions that still ran: by a second signal, or the time was over"},
    Code{Exit::Root, "started as root, which it refuses"},
    Code{Exit::Config, "the configuration is wrong"},
};

constexpr std::string_view kSignals =
    "Signals:\n"
    "  SIGHUP           reload the configuration; a bad one is reported and leaves the old one in force\n"
    "  SIGTERM, SIGINT  stop accepting, let transactions end within process.shutdown_timeout, and exit;\n"
    "                   a second one, or one after the console's SHUTDOWN, cuts off what is left\n";

tl::unexpected<std::string> unknown(std::string_view argument) {
  std::array<std::string_view, kOptions.size()> names;
  std::transform(kOptions.begin(), kOptions.end(), names.begin(), [](const Option& o) { return o.name; });
  const bool option = argument.starts_with('-');
  return tl::unexpected(fmt::format("{} {}{}", option ? "unknown option" : "unexpected argument",
                                    quoted(argument), did_you_mean(argument, names)));
}

}  // namespace

tl::expected<Command, std::string> parse(std::span<const char* const> arguments) {
  Command command;
  for (std::size_t i = 0; i < arguments.size(); ++i) {
    const std::string_view argument = arguments[i] == kDoctor ? kDoctorOption : arguments[i];
    const std::string_view name = argument.substr(0, argument.find('='));
    const auto option =
        std::find_if(kOptions.begin(), kOptions.end(), [&](const Option& o) { return o.name == name; });
    if (option == kOptions.end()) return unknown(argument);
    const bool attached = name.size() < argument.size();
    if (option->what != What::Serve) {
      const bool named = option->what == What::CheckBackend;
      if (attached && !named) return tl::unexpected(fmt::format("{} takes no value", name));
      if (command.what != What::Serve && command.what != option->what)
        return tl::unexpected(fmt::format("{} does not go with what was asked before it", name));
      command.what = option->what;
      const bool next = named && !attached && i + 1 < arguments.size() && arguments[i + 1][0] != '-';
      if (named && attached) command.backend = argument.substr(name.size() + 1);
      if (next) command.backend = arguments[++i];
      continue;
    }
    if (!attached && i + 1 == arguments.size())
      return tl::unexpected(fmt::format("{} needs a value: {} {}", name, name, option->argument));
    const std::string_view value = attached ? argument.substr(name.size() + 1) : arguments[++i];
    const bool file = name == "--config";
    if (value.empty())
      return tl::unexpected(fmt::format("{} needs the name of a {}", name, file ? "file" : "tenant"));
    std::string& place = file ? command.config_path : command.tenant;
    if (!place.empty()) return tl::unexpected(fmt::format("{} is given twice", name));
    place = value;
  }
  if (!command.tenant.empty() && command.what != What::CheckBackend)
    return tl::unexpected(std::string("--tenant goes with --check-backend"));
  return command;
}

std::string help() {
  std::string text =
      "pgweir - a Postgres pooler for platforms with many tenants\n\n"
      "Usage: pgweir [--config FILE] [doctor | --check-config | --print-config | --check-backend [NAME]]\n\n"
      "Without a file, settings come from the environment: PGWEIR_<SECTION>__<KEY>, and DATABASE_URL names "
      "the\n"
      "Postgres server.\n\nOptions:\n";
  for (const Option& option : kOptions)
    text += fmt::format("  {:<24} {}\n", fmt::format("{} {}", option.name, option.argument), option.help);
  text += "\n";
  text += kSignals;
  text += "\nExit codes:\n";
  for (const Code& code : kCodes)
    text += fmt::format("  {:<3} {}\n", static_cast<int>(code.code), code.meaning);
  return text;
}

std::string version() { return fmt::format("pgweir {}", kVersion); }

}  // namespace pgweir::cli
