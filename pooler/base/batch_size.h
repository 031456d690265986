// pooler/base/batch_size.h - how many go together where many may: fewer where that did not work.
//
// When they were refused, one of them may be why: ever fewer go until it is known which, and soon as many as
// before. When they were too slow, the next time would be, too: half as many go, and from there one more each
// time.
#pragma once

#include <algorithm>
#include <cstddef>

namespace pgweir {

class BatchSize {
 public:
  explicit BatchSize(std::size_t most) : most_(most), is_(most), quick_(most) {}

  std::size_t is() const { return is_; }
  // So many went well; fewer than is() say nothing of more.
  void good(std::size_t count) {
    if (count < is_) return;
    if (is_ < quick_)
      is_ = std::min(is_ * 2, quick_);
    else
      quick_ = is_ = std::min(is_ + 1, most_);
  }
  void refused(std::size_t count) { is_ = half(count); }
  // One alone that was says nothing of many.
  void too_slow(std::size_t count) {
    if (count > 1) quick_ = is_ = half(count);
  }

 private:
  static std::size_t half(std::size_t count) { return std::max<std::size_t>(count / 2, 1); }

  std::size_t most_;
  std::size_t is_;
  std::size_t quick_;  // up to which it doubles
};

}  // namespace pgweir
