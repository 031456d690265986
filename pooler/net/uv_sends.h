// pooler/net/uv_sends.h - the small writes of one turn of the loop, to be sent together.
//
// A send wakes the peer. Done between two reads that costs more than done behind the last of them, when the
// peer may be awake already and our own code and the kernel's stay in the caches (measured: 4 % of a
// transaction's CPU, in a forwarder that does nothing else).
#pragma once

#include <cstddef>
#include <memory>
#include <span>
#include <vector>

#include "pooler/base/bytes.h"

namespace pgweir::net {

class UvStream;

class UvSends {
 public:
  static constexpr std::size_t kSmall = 4096;     // of one write; a larger one would cost more to copy
  static constexpr std::size_t kAllMost = 65536;  // sent early when there would be more

  UvSends() : buffer_(new char[kAllMost]) {}
  // Of kSmall bytes in all.
  void add(UvStream& stream, std::span<const Bytes> slices, std::size_t size);
  // In the order of the writes. Calls no handler.
  void flush();
  // The stream goes away.
  void forget(const UvStream& stream);

 private:
  struct Item {
    UvStream* stream;  // null: gone
    std::size_t size;
  };
  std::unique_ptr<char[]> buffer_;
  std::size_t size_ = 0;
  std::vector<Item> items_;
};

}  // namespace pgweir::net
