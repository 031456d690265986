// pooler/ceiling_tally.h - how often sessions reached for more than they may have, by parameter and by what
// became of it.
#pragma once

#include <cstdint>
#include <functional>
#include <map>
#include <string>
#include <string_view>

namespace pgweir {

enum class CeilingRoute : std::uint8_t {
  Lowered,   // to the ceiling, in a text or a startup packet
  Refused,   // the request, or the login
  Enforced,  // found above behind a transaction, and set back
  Canceled,  // by a clock of ours
  Ended,     // the connection, by a clock of ours
};

struct CeilingCounts {
  std::uint64_t lowered = 0, refused = 0, enforced = 0, canceled = 0, ended = 0;

  std::uint64_t& of(CeilingRoute route) {
    switch (route) {
      case CeilingRoute::Lowered: return lowered;
      case CeilingRoute::Refused: return refused;
      case CeilingRoute::Enforced: return enforced;
      case CeilingRoute::Canceled: return canceled;
      case CeilingRoute::Ended: break;
    }
    return ended;
  }
  CeilingCounts& operator+=(const CeilingCounts& other) {
    lowered += other.lowered;
    refused += other.refused;
    enforced += other.enforced;
    canceled += other.canceled;
    ended += other.ended;
    return *this;
  }
  friend bool operator==(const CeilingCounts&, const CeilingCounts&) = default;
};

// By the name of the parameter, of which there are as many as have ceilings or are injected, and a clock of
// requests. What was refused
// because nobody could tell which one it would change counts for kAnyParameter.
using CeilingTally = std::map<std::string, CeilingCounts, std::less<>>;
inline constexpr std::string_view kAnyParameter = "(any)";

inline void add(CeilingTally& sum, const CeilingTally& other) {
  for (const auto& [parameter, counts] : other) sum[parameter] += counts;
}

}  // namespace pgweir
