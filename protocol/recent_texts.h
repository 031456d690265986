// protocol/recent_texts.h - short texts that were seen lately, for a verdict that then need not be found
// again.
//
// Each text has one place, by its ends and length, and whatever comes there last stays. Texts are compared
// byte by byte: nobody can pass one off for another.
#pragma once

#include <array>
#include <cstddef>
#include <cstdint>
#include <cstring>

#include "pooler/base/bytes.h"

namespace pgweir::protocol {

class RecentTexts {
 public:
  static constexpr std::size_t kShortest = 8;  // bytes; others are never there
  static constexpr std::size_t kLongest = 63;
  static constexpr std::size_t kPlaces = 256;

  bool has(Bytes text) const {
    if (!fits(text)) return false;
    const Place& place = places_[place_of(text)];
    return place.size == text.size() && std::memcmp(place.text, text.data(), text.size()) == 0;
  }
  void add(Bytes text) {
    if (!fits(text)) return;
    Place& place = places_[place_of(text)];
    place.size = static_cast<std::uint8_t>(text.size());
    std::memcpy(place.text, text.data(), text.size());
  }

 private:
  struct alignas(64) Place {
    std::uint8_t size = 0;
    char text[kLongest];
  };
  static bool fits(Bytes text) { return text.size() - kShortest <= kLongest - kShortest; }
  static std::size_t place_of(Bytes text) {
    static_assert(kPlaces == 1U << 8U && sizeof(std::uint64_t) <= kShortest);
    std::uint64_t first, last;
    std::memcpy(&first, text.data(), sizeof first);
    std::memcpy(&last, text.data() + text.size() - sizeof last, sizeof last);
    return (first * 0x9e3779b97f4a7c15U ^ (last + text.size()) * 0xc2b2ae3d27d4eb4fU) >> 56U;
  }
  std::array<Place, kPlaces> places_{};
};

}  // namespace pgweir::protocol
