// pooler/read_pace.h - how many bytes of a long answer to wait for before reading on.
//
// Postgres sends an answer 8 kB at a time (PQ_SEND_BUFFER_SIZE), and a pooler that reads each piece as it
// comes pays a wake, a read and a write for every one of them.
#pragma once

#include <chrono>
#include <cstddef>
#include <cstdint>

#include "pooler/base/time.h"

namespace pgweir {

class ReadPace {
 public:
  enum class Wait : std::uint8_t {
    ForAny,
    ForMany,  // that many are certain to come
    Shortly,  // for many, but for kPatience at most: this may have been the answer's last piece
  };
  static constexpr std::size_t kMany = 56UL * 1024;  // less than one read takes: a full one is tried again
  static constexpr std::size_t kPiece = 4096;        // what comes in smaller ones is no stream
  // An answer of this size has taken longer than the patience that its end may cost.
  static constexpr std::size_t kStream = 1UL << 20;
  static constexpr Duration kPatience = std::chrono::milliseconds(1);

  // `got` bytes have come; of the message in which they end, `left` are still to come.
  Wait came(std::size_t got, std::size_t left);
  // Another answer begins, or this one pauses.
  void begin() { streamed_ = 0; }

 private:
  std::size_t streamed_ = 0;  // bytes that came in one piece after the other
};

}  // namespace pgweir
