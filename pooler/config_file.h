// pooler/config_file.h - the file that a running process has its configuration from: read again on order, or
// when there is something else in it.
//
// Its calls read files, so they belong on helper threads; several at once are fine.
#pragma once

#include <memory>
#include <mutex>
#include <optional>
#include <string>
#include <vector>

#include <tl/expected.hpp>

#include "conf/load.h"
#include "pooler/file_watch.h"
#include "pooler/snapshot.h"
#include "protocol/digest.h"

namespace pgweir {

class ConfigFile {
 public:
  // An empty path: no file, the environment alone.
  ConfigFile(std::string path, conf::Environment environment)
      : path_(std::move(path)), environment_(std::move(environment)) {}

  tl::expected<std::shared_ptr<const Snapshot>, std::vector<conf::Problem>> load();
  // Whether load() would find another text, or none, or one again.
  bool differs() const;
  std::optional<FileWatch::Stamp> stamp() const;

  const std::string& path() const { return path_; }
  const conf::Environment& environment() const { return environment_; }

 private:
  using Digest = std::optional<protocol::Sha256>;  // nothing: it could not be read
  static Digest digest_of(const tl::expected<std::string, std::string>& text);

  const std::string path_;
  const conf::Environment environment_;
  mutable std::mutex mutex_;  // guards read_
  Digest read_;               // by load(), whether or not it was good
};

}  // namespace pgweir
