#include <catch2/catch.hpp>

#include <cstdlib>
#include <fstream>
#include <sstream>

#include "conf/load.h"
#include "conf/settings.h"

using namespace pgweir::conf;

TEST_CASE("conf/reference.md is what the tables say") {
  const std::string path = PGWEIR_SOURCE_DIR "/conf/reference.md";
  // To bring it up to date: PGWEIR_WRITE_REFERENCE=1 test_conf
  if (std::getenv("PGWEIR_WRITE_REFERENCE") != nullptr) std::ofstream(path) << reference();
  std::stringstream text;
  text << std::ifstream(path).rdbuf();
  CHECK(text.str() == reference());
}

TEST_CASE("the reference has a line for every setting") {
  const std::string text = reference();
  for (const auto& setting : settings()) {
    CHECK(text.find("| `" + std::string(setting.key) + "` | `" + environment_name(setting.key) + "` |") !=
          std::string::npos);
  }
  CHECK(text.find("`PGWEIR_BACKENDS__<NAME>__HOST`") != std::string::npos);
}
