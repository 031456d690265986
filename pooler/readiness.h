// pooler/readiness.h - whether the platform may send clients here: /readyz.
//
// Whoever brings something that must have been there once before clients come (a socket that listens, a store
// of tiers that has answered) says so by require() before the process serves, and met() when it has happened.
// Any thread may ask.
#pragma once

#include <array>
#include <atomic>
#include <cstddef>
#include <cstdint>
#include <string>
#include <string_view>

namespace pgweir {

class Readiness {
 public:
  enum class Need : std::uint8_t { Listening, TierStore };

  void require(Need need) { required_.fetch_or(bit(need)); }
  void met(Need need) { met_.fetch_or(bit(need)); }
  // A shutdown has begun: no new clients.
  void stop() { stopping_.store(true); }

  // Empty: ready. Otherwise what is missing, for a person.
  std::string missing() const {
    if (stopping_.load()) return "the pooler is shutting down";
    const std::uint32_t left = required_.load() & ~met_.load();
    std::string all;
    for (std::size_t i = 0; i < kNames.size(); ++i)
      if (left >> i & 1) all.append(all.empty() ? "waits for: " : ", ").append(kNames[i]);
    return all;
  }

 private:
  static constexpr std::array<std::string_view, 2> kNames{"its sockets to listen",
                                                          "the first answer of the tier store"};
  static std::uint32_t bit(Need need) { return 1u << static_cast<unsigned>(need); }

  std::atomic<std::uint32_t> required_{bit(Need::Listening)};
  std::atomic<std::uint32_t> met_{0};
  std::atomic<bool> stopping_{false};
};

}  // namespace pgweir
