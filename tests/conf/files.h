// tests/conf/files.h - files that exist only in a test, and short words for loading them.
#pragma once

#include <map>
#include <string>

#include "conf/load.h"

namespace pgweir::conf::test {

using Files = std::map<std::string, std::string, std::less<>>;

inline ReadFile reader(Files files) {
  return [files = std::move(files)](const std::string& path) -> tl::expected<std::string, std::string> {
    const auto at = files.find(path);
    if (at != files.end()) return at->second;
    return tl::unexpected("cannot read " + path + ": No such file or directory");
  };
}

// The text stands in a file that is called "f".
inline tl::expected<Loaded, std::vector<Problem>> load_text(const std::string& text,
                                                            const Environment& environment = {},
                                                            Files files = {}) {
  files["f"] = text;
  return load("f", environment, reader(std::move(files)));
}

// What is wrong, a line each; empty when nothing is.
template <class T>
std::string problems(const tl::expected<T, std::vector<Problem>>& loaded) {
  std::string out;
  if (loaded) return out;
  for (const Problem& problem : loaded.error()) out += (out.empty() ? "" : "\n") + describe(problem);
  return out;
}

// The shown setting's "value from origin:line".
inline std::string shown(const Loaded& loaded, std::string_view key) {
  for (const Shown& each : show(loaded, Reader::Admin)) {
    if (each.key != key) continue;
    const std::string line = each.origin.line > 0 ? ":" + std::to_string(each.origin.line) : "";
    return each.value + " from " + each.origin.where + line;
  }
  return "not shown";
}

}  // namespace pgweir::conf::test
