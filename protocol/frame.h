// protocol/frame.h - the five bytes in front of every message, and how long each kind may be.
//
// A limit is checked before anything is kept or allocated (R2). The limits follow Postgres's own
// (tcop/postgres.c, SocketBackend): messages that carry user data may have up to 1 GB, all others 10,000
// bytes.
#pragma once

#include <array>
#include <cstddef>
#include <cstdint>

#include "pooler/base/bytes.h"
#include "protocol/wire.h"

namespace pgweir::protocol {

inline constexpr std::size_t kHeaderBytes = 5;
// What Postgres takes: it ends a connection that announces more (PQ_LARGE_MESSAGE_LIMIT).
inline constexpr std::uint32_t kLargeMessage = 0x3ffffffe;
// What it can send: messages are put together in a StringInfo, which holds 0x3ffffffe bytes, and the length
// counts itself.
inline constexpr std::uint32_t kLargeAnswer = 0x3ffffffe + 4;
inline constexpr std::uint32_t kSmallMessage = 10'000;
inline constexpr std::uint32_t kMaxAuthMessage = 64 << 10;
inline constexpr std::uint32_t kMaxStartupPacket = 10'000;

struct Frame {
  char type = 0;
  std::size_t size = 0;  // of the whole message, type byte included
};

// The longest length field that a client may send for this type after login; 0 for a type that does not
// exist.
constexpr std::uint32_t client_message_limit(char type) {
  switch (type) {
    case 'Q':
    case 'P':
    case 'B':
    case 'F':
    case 'd': return kLargeMessage;
    case 'D':
    case 'C':
    case 'E':
    case 'H':
    case 'S':
    case 'X':
    case 'c':
    case 'f': return kSmallMessage;
    default: return 0;
  }
}

// The same for a server. Notices, errors and row descriptions are as long as the server likes.
constexpr std::uint32_t server_message_limit(char type) {
  switch (type) {
    case 'D':
    case 'd':
    case 'T':
    case 'E':
    case 'N':
    case 'V':
    case 't': return kLargeAnswer;
    case 'A':
    case 'S': return kMaxAuthMessage;
    case '1':
    case '2':
    case '3':
    case 'C':
    case 'G':
    case 'H':
    case 'I':
    case 'W':
    case 'Z':
    case 'c':
    case 'n':
    case 's': return kMaxAuthMessage;
    default: return 0;
  }
}

// The same as tables, because this is asked of every message.
class MessageLimits {
 public:
  constexpr explicit MessageLimits(std::uint32_t (*limit)(char)) {
    for (std::size_t type = 0; type < limits_.size(); ++type) limits_[type] = limit(static_cast<char>(type));
  }
  constexpr std::uint32_t operator()(char type) const { return limits_[static_cast<unsigned char>(type)]; }

 private:
  std::array<std::uint32_t, 256> limits_{};
};
inline constexpr MessageLimits kClientMessageLimits{client_message_limit};
inline constexpr MessageLimits kServerMessageLimits{server_message_limit};

// Reads a header. `in` has at least kHeaderBytes bytes. False when the type is unknown or the length is out
// of its limits.
template <class Limit>
bool read_header(Bytes in, const Limit& limit, Frame& frame) {
  const std::uint32_t length = load_u32(in.data() + 1);
  frame.type = in[0];
  frame.size = std::size_t{length} + 1;
  return length >= 4 && length <= limit(frame.type);
}

}  // namespace pgweir::protocol
