#include "pooler/cli.h"

#include <catch2/catch.hpp>
#include <vector>

using namespace pgweir::cli;

namespace {

using What = Command::What;
using Arguments = std::vector<const char*>;

const char* name(What what) {
  switch (what) {
    case What::Serve: return "serve";
    case What::CheckConfig: return "check";
    case What::PrintConfig: return "print";
    case What::CheckBackend: return "ask";
    case What::Doctor: return "doctor";
    case What::Version: return "version";
    case What::Help: return "help";
  }
  return "";
}

// "serve /etc/x", or "! why not".
std::string read(const Arguments& arguments) {
  const auto command = parse(arguments);
  if (!command) return "! " + command.error();
  return name(command->what) + (command->config_path.empty() ? "" : " " + command->config_path) +
         (command->backend.empty() ? "" : " of " + command->backend) +
         (command->tenant.empty() ? "" : " for " + command->tenant);
}

}  // namespace

TEST_CASE("the command line says what to do, in any order") {
  const struct {
    Arguments arguments;
    const char* meaning;
  } cases[] = {
      {{}, "serve"},
      {{"--config", "a.yaml"}, "serve a.yaml"},
      {{"--config=a.yaml"}, "serve a.yaml"},
      {{"--config=a=b"}, "serve a=b"},
      {{"--config", "--check-config"}, "serve --check-config"},  // a file may be called that
      {{"--check-config"}, "check"},
      {{"--check-config", "--config", "a.yaml"}, "check a.yaml"},
      {{"--config", "a.yaml", "--print-config"}, "print a.yaml"},
      {{"--check-backend"}, "ask"},
      {{"--check-backend", "main", "--config", "a.yaml"}, "ask a.yaml of main"},
      {{"--check-backend=main"}, "ask of main"},
      {{"--check-backend", "--config", "a.yaml"}, "ask a.yaml"},
      {{"--check-backend", "--tenant", "acme"}, "ask for acme"},
      {{"--tenant=acme", "--check-backend", "main"}, "ask of main for acme"},
      {{"doctor"}, "doctor"},
      {{"--doctor", "--config", "a.yaml"}, "doctor a.yaml"},
      {{"--config", "a.yaml", "doctor"}, "doctor a.yaml"},
      {{"--config", "doctor"}, "serve doctor"},
      {{"--version"}, "version"},
      {{"--help"}, "help"},
      {{"--help", "--help"}, "help"},
  };
  for (const auto& one : cases) CHECK(read(one.arguments) == one.meaning);
}

TEST_CASE("a wrong command line is told what is wrong, and what was probably meant") {
  const struct {
    Arguments arguments;
    const char* error;
  } cases[] = {
      {{"--confg", "x"}, "! unknown option '--confg'; did you mean --config?"},
      {{"-x"}, "! unknown option '-x'"},
      {{"stray"}, "! unexpected argument 'stray'"},
      {{""}, "! unexpected argument ''"},
      {{"--config"}, "! --config needs a value: --config FILE"},
      {{"--config="}, "! --config needs the name of a file"},
      {{"--config", ""}, "! --config needs the name of a file"},
      {{"--config", "a", "--config", "b"}, "! --config is given twice"},
      {{"--tenant", "acme"}, "! --tenant goes with --check-backend"},
      {{"--check-backend", "--tenant"}, "! --tenant needs a value: --tenant NAME"},
      {{"--check-backend", "--tenant="}, "! --tenant needs the name of a tenant"},
      {{"--check-backend", "--tenant=a", "--tenant=b"}, "! --tenant is given twice"},
      {{"--check-backend", "doctor", "doctor"}, "! --doctor does not go with what was asked before it"},
      {{"--help=yes"}, "! --help takes no value"},
      {{"--help", "--version"}, "! --version does not go with what was asked before it"},
      {{"--check-config", "--print-config"}, "! --print-config does not go with what was asked before it"},
      {{"bad\nname"}, "! unexpected argument 'bad?name'"},
  };
  for (const auto& one : cases) CHECK(read(one.arguments) == one.error);
}

TEST_CASE("help names every option and every exit code") {
  const std::string text = help();
  for (const char* word :
       {"--config FILE", "--check-config", "--print-config", "--version", "--help", "SIGHUP", "SIGTERM",
        "\n  0 ", "\n  1 ", "\n  64 ", "\n  70 ", "\n  77 ", "\n  78 "})
    CHECK_THAT(text, Catch::Contains(word));
  CHECK_THAT(version(), Catch::StartsWith("pgweir "));
}
