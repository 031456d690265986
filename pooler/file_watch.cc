#include "pooler/file_watch.h"

namespace pgweir {

FileWatch::Look FileWatch::look(const std::optional<Stamp>& seen, Time now) {
  if (!seen || seen->size == 0 || seen == known_) {
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
