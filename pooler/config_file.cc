#include "pooler/config_file.h"

#include <sys/stat.h>

#include "pooler/load_snapshot.h"

namespace pgweir {

namespace {

std::int64_t nanoseconds(const timespec& time) { return time.tv_sec * 1'000'000'000 + time.tv_nsec; }

}  // namespace

ConfigFile::Digest ConfigFile::digest_of(const tl::expected<std::string, std::string>& text) {
  if (!text) return std::nullopt;
  return protocol::sha256({text->data(), text->size()});
}

tl::expected<std::shared_ptr<const Snapshot>, std::vector<conf::Problem>> ConfigFile::load() {
  const conf::ReadFile read = [this](const std::string& path) {
    auto text = read_file(path);
    if (path == path_) {
      const std::lock_guard<std::mutex> lock(mutex_);
      read_ = digest_of(text);
    }
    return text;
  };
  auto loaded = conf::load(path_, environment_, read);
  if (!loaded) return tl::unexpected(std::move(loaded.error()));
  return make_snapshot(std::move(*loaded), read);
}

bool ConfigFile::differs() const {
  const Digest there = digest_of(read_file(path_));
  const std::lock_guard<std::mutex> lock(mutex_);
  return there != read_;
}

std::optional<FileWatch::Stamp> ConfigFile::stamp() const {
  struct stat is {};
  if (::stat(path_.c_str(), &is) != 0) return std::nullopt;
  return FileWatch::Stamp{is.st_dev, is.st_ino, static_cast<std::uint64_t>(is.st_size),
                          nanoseconds(is.st_mtim), nanoseconds(is.st_ctim)};
}

}  // namespace pgweir
