#include "pooler/read_pace.h"

#include "pooler/base/planted.h"

namespace pgweir {

ReadPace::Wait ReadPace::came(std::size_t got, std::size_t left) {
  streamed_ = got >= kPiece ? streamed_ + got : 0;
  if (left >= 2 * kMany || (left > 0 && PGWEIR_PLANTED(AWAIT_TOO_MANY))) return Wait::ForMany;
  return streamed_ >= kStream ? Wait::Shortly : Wait::ForAny;
}

}  // namespace pgweir
