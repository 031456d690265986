#include "pooler/config_watch.h"

#include <memory>
#include <utility>

namespace pgweir {

ConfigWatch::ConfigWatch(net::Loop& loop, Log& log, const ConfigFile& file, std::function<void()> changed)
    : loop_(loop), log_(log), file_(file), changed_(std::move(changed)), timer_(this, [](void* self) {
        static_cast<ConfigWatch*>(self)->look();
      }) {
  look_again_in(kInterval);
}

void ConfigWatch::look() {
  const auto stamp = std::make_shared<std::optional<FileWatch::Stamp>>();
  loop_.offload([stamp, &file = file_] { *stamp = file.stamp(); }, [this, stamp] { seen(*stamp); });
}

void ConfigWatch::seen(const std::optional<FileWatch::Stamp>& stamp) {
  switch (watch_.look(stamp, loop_.now())) {
    case FileWatch::Look::Known: return look_again_in(kInterval);
    case FileWatch::Look::Settling: return look_again_in(FileWatch::kSettle);
    case FileWatch::Look::Read: return compare();
    case FileWatch::Look::Missing:
      log_.warn(
          "configuration file is gone or empty",
          {{"path", file_.path()}, {"hint", "what was read last holds until the next start; put it back"}});
      return look_again_in(kInterval);
  }
}

void ConfigWatch::compare() {
  const auto differs = std::make_shared<bool>();
  loop_.offload([differs, &file = file_] { *differs = file.differs(); },
                [this, differs] {
                  look_again_in(kInterval);
                  if (*differs) changed_();
                });
}

}  // namespace pgweir
