// pooler/histogram.h - how long things took: counts in fixed buckets, for one thread.
#pragma once

#include <array>
#include <bit>
#include <cstddef>
#include <cstdint>
#include <limits>

namespace pgweir {

class Histogram {
 public:
  // What fits under a bound and under none before it. The last bucket has what took longer.
  static constexpr std::array<std::uint64_t, 18> kBoundsUs{
      100,     250,     500,     1'000,     2'500,     5'000,     10'000,     25'000,     50'000,
      100'000, 250'000, 500'000, 1'000'000, 2'500'000, 5'000'000, 10'000'000, 30'000'000, 60'000'000};
  static constexpr std::size_t kBuckets = kBoundsUs.size() + 1;

  void add(std::uint64_t us) {
    ++counts_[bucket(us)];
    sum_us_ += us;
  }
  // `count` of them in `us` together.
  void add(std::uint64_t us, std::uint64_t count) {
    counts_[bucket(count == 1 ? us : us / count)] += count;  // nearly always one
    sum_us_ += us;
  }
  Histogram& operator+=(const Histogram& other) {
    for (std::size_t i = 0; i < kBuckets; ++i) counts_[i] += other.counts_[i];
    sum_us_ += other.sum_us_;
    return *this;
  }

  const std::array<std::uint64_t, kBuckets>& counts() const { return counts_; }
  std::uint64_t sum_us() const { return sum_us_; }

  static std::size_t bucket(std::uint64_t us) {
    std::size_t at = kFirst[static_cast<std::size_t>(std::bit_width(us))];
    while (at < kBoundsUs.size() && us > kBoundsUs[at]) ++at;
    return at;
  }

 private:
  // By the number of bits of a value, the first bucket that it may belong to: then one or two looks are
  // enough.
  static constexpr auto kFirst = [] {
    std::array<std::uint8_t, std::numeric_limits<std::uint64_t>::digits + 1> first{};
    for (std::size_t bits = 0; bits < first.size(); ++bits) {
      const std::uint64_t least = bits == 0 ? 0 : std::uint64_t{1} << (bits - 1);
      while (first[bits] < kBoundsUs.size() && least > kBoundsUs[first[bits]]) ++first[bits];
    }
    return first;
  }();

  std::array<std::uint64_t, kBuckets> counts_{};
  std::uint64_t sum_us_ = 0;
};

}  // namespace pgweir
