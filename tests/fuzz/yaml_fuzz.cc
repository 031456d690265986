// tests/fuzz/yaml_fuzz.cc - any text as a configuration and any as DATABASE_URL: refused with problems, or a
// Config that shows itself and loads again the same.
//
// The first line is DATABASE_URL, the rest the file.
#include <algorithm>
#include <cstddef>
#include <cstdint>
#include <string>
#include <string_view>

#include "conf/load.h"
#include "conf/settings.h"
#include "pooler/base/check.h"

using namespace pgweir;
using namespace pgweir::conf;

namespace {

tl::expected<Loaded, std::vector<Problem>> load_twice(const std::string& text,
                                                      const Environment& environment) {
  const ReadFile read = [&](const std::string& path) -> tl::expected<std::string, std::string> {
    if (path == "config") return text;
    if (path == "secret") return "s3cret\n";
    return tl::unexpected(std::string("cannot read it"));
  };
  auto once = load("config", environment, read);
  auto again = load("config", environment, read);
  PGWEIR_CHECK(once.has_value() == again.has_value());
  if (!once) return once;
  PGWEIR_CHECK(needs_restart(once->config, again->config).empty());
  PGWEIR_CHECK(show(*once, Reader::Admin).size() == show(*again, Reader::Admin).size());
  return once;
}

}  // namespace

extern "C" int LLVMFuzzerTestOneInput(const std::uint8_t* data, std::size_t size) {
  const std::string_view input(reinterpret_cast<const char*>(data), size);
  const std::size_t end = std::min(input.find('\n'), input.size());
  Environment environment;
  // A variable cannot hold a NUL.
  if (input.substr(0, end).find('\0') == std::string_view::npos)
    environment["DATABASE_URL"] = input.substr(0, end);
  const auto loaded = load_twice(std::string(input.substr(std::min(end + 1, input.size()))), environment);
  if (!loaded) {
    PGWEIR_CHECK(!loaded.error().empty() && loaded.error().size() <= kMaxProblems + 1);
    for (const Problem& problem : loaded.error()) PGWEIR_CHECK(!has_control(describe(problem)));
    return 0;
  }
  PGWEIR_CHECK(!loaded->config.backends.empty());
  for (const auto& setting : settings()) {
    Config copy;
    PGWEIR_CHECK(assign(copy, setting, text_of(loaded->config, setting)));
    PGWEIR_CHECK(text_of(copy, setting) == text_of(loaded->config, setting));
  }
  for (const Backend& backend : loaded->config.backends) {
    for (const auto& setting : backend_settings()) {
      Backend copy;
      PGWEIR_CHECK(assign(copy, setting, text_of(backend, setting)));
    }
  }
  for (const User& user : loaded->config.users) PGWEIR_CHECK(!user.name.empty() && !user.secret.empty());
  for (const Shown& each : show(*loaded, Reader::Admin)) PGWEIR_CHECK(!each.key.empty());
  return 0;
}
