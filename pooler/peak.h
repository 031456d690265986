// pooler/peak.h - the most at once of something that is counted: of all time, and since a moment.
#pragma once

#include <algorithm>
#include <cstdint>

namespace pgweir {

class Peak {
 public:
  void saw(std::uint32_t now) { recent_ = std::max(recent_, now); }
  // That moment is now, when there are so many.
  void begin(std::uint32_t now) {
    before_ = ever();
    recent_ = now;
  }
  std::uint32_t recent() const { return recent_; }
  std::uint32_t ever() const { return std::max(before_, recent_); }

 private:
  std::uint32_t before_ = 0, recent_ = 0;
};

}  // namespace pgweir
