#include <catch2/catch.hpp>

#include <cstdlib>
#include <fstream>
#include <sstream>

#include "tiers/tier.h"

TEST_CASE("tiers/reference.md is what the tables say") {
  const std::string path = PGWEIR_SOURCE_DIR "/tiers/reference.md";
  // To bring it up to date: PGWEIR_WRITE_REFERENCE=1 test_tiers
  if (std::getenv("PGWEIR_WRITE_REFERENCE") != nullptr) std::ofstream(path) << pgweir::tiers::reference();
  std::stringstream text;
  text << std::ifstream(path).rdbuf();
  CHECK(text.str() == pgweir::tiers::reference());
}
