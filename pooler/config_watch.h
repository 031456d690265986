// pooler/config_watch.h - looks twice a second whether the configuration file is another one, and has it read
// again. FileWatch says when.
//
// It looks at the path itself, since every way in which files are replaced ends there: written in place,
// renamed over, a symbolic link turned (ConfigMaps of Kubernetes), on volumes that tell nobody (NFS).
// Files are touched on helper threads only, one look at a time.
#pragma once

#include <chrono>
#include <functional>

#include "pooler/base/log.h"
#include "pooler/config_file.h"
#include "pooler/file_watch.h"
#include "pooler/net/loop.h"

namespace pgweir {

class ConfigWatch {
 public:
  // With FileWatch::kSettle, what is written holds within a second.
  static constexpr std::chrono::milliseconds kInterval{500};

  // `changed` is called on the loop when there is another text to read. `file` outlives the loop; the watch
  // goes when the loop does not run any more.
  ConfigWatch(net::Loop& loop, Log& log, const ConfigFile& file, std::function<void()> changed);
  ConfigWatch(const ConfigWatch&) = delete;
  ConfigWatch& operator=(const ConfigWatch&) = delete;

 private:
  void look();
  void seen(const std::optional<FileWatch::Stamp>& stamp);
  void compare();
  void look_again_in(Duration time) { loop_.arm(timer_, loop_.now() + time); }

  net::Loop& loop_;
  Log& log_;
  const ConfigFile& file_;
  std::function<void()> changed_;
  FileWatch watch_;
  net::Timer timer_;
};

}  // namespace pgweir
