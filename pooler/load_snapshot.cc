#include "pooler/load_snapshot.h"

#include <fmt/format.h>
#include <unistd.h>

#include <cerrno>
#include <cstdio>
#include <cstring>
#include <memory>

namespace pgweir {

namespace {
constexpr std::size_t kFileMax = 64 << 20;  // more is a mistake: a log, a device
}

tl::expected<std::string, std::string> read_file(const std::string& path) {
  const auto why = [&] {
    return tl::unexpected(fmt::format("cannot read {}: {}", path, std::strerror(errno)));
  };
  const std::unique_ptr<std::FILE, int (*)(std::FILE*)> file(std::fopen(path.c_str(), "re"), std::fclose);
  if (!file) return why();
  std::string text;
  char part[65536];
  while (const std::size_t size = std::fread(part, 1, sizeof part, file.get())) {
    text.append(part, size);
    if (text.size() > kFileMax)
      return tl::unexpected(fmt::format("cannot read {}: it is larger than {} bytes", path, kFileMax));
  }
  if (std::ferror(file.get()) != 0) return why();
  return text;
}

conf::Environment read_environment() {
  conf::Environment all;
  for (char** entry = environ; *entry != nullptr; ++entry) {
    const std::string_view text = *entry;
    const std::size_t equals = text.find('=');
    if (equals != std::string_view::npos) all.emplace(text.substr(0, equals), text.substr(equals + 1));
  }
  return all;
}

tl::expected<std::shared_ptr<const Snapshot>, std::vector<conf::Problem>> load_snapshot(
    const std::string& path, const conf::Environment& environment) {
  auto loaded = conf::load(path, environment, read_file);
  if (!loaded) return tl::unexpected(std::move(loaded.error()));
  return make_snapshot(std::move(*loaded), read_file);
}

void tell(const std::vector<conf::Problem>& problems) {
  for (const conf::Problem& problem : problems) fmt::print(stderr, "pgweir: {}\n", conf::describe(problem));
}

}  // namespace pgweir
