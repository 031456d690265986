#include "pooler/file_watch.h"

#include <utility>

namespace pgweir {

FileWatch::Look FileWatch::look(const std::optional<Stamp>& seen, Time now) {
  if (!seen || seen->size == 0) {
    settling_.reset();
    if (!missing_since_) missing_since_ = now;
    const bool long_enough = known_ && now >= *missing_since_ + kMissing;
    return long_enough && !std::exchange(missing_told_, true) ? Look::Missing : Look::Known;
  }
  missing_since_.reset();
  missing_told_ = false;
  if (seen == known_) {
    settling_.reset();
    return Look::Known;
  }
  if (seen != settling_) {
    settling_ = seen;
    since_ = now;
    return Look::Settling;
  }
  if (now < since_ + kSettle) return Look::Settling;
  known_ = seen;
  settling_.reset();
  return Look::Read;
}

}  // namespace pgweir
