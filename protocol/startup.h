// protocol/startup.h - the first packet of a connection (Postgres manual, "Message Formats": StartupMessage,
// SSLRequest, GSSENCRequest, CancelRequest), and the words of its `options`.
#pragma once

#include <string>
#include <utility>
#include <variant>
#include <vector>

#include "pooler/base/bytes.h"
#include "pooler/base/error.h"
#include "protocol/wire.h"

namespace pgweir::protocol {

inline constexpr std::uint32_t kVersion30 = 3 << 16;
inline constexpr std::uint32_t kVersion32 = 3 << 16 | 2;
inline constexpr std::uint32_t kSslRequestCode = 1234u << 16 | 5679;
inline constexpr std::uint32_t kGssRequestCode = 1234u << 16 | 5680;
inline constexpr std::uint32_t kCancelRequestCode = 1234u << 16 | 5678;

struct SslRequest {};
struct GssRequest {};
struct CancelRequest {
  std::uint32_t pid = 0;
  std::string key;  // 4 bytes in 3.0, up to 256 in 3.2
};
using Settings = std::vector<std::pair<std::string, std::string>>;

// What a connection is for: ordinary work, or a walsender's: the log of the whole cluster, or that of one
// database, in which SQL may be run, too.
enum class Replication : std::uint8_t { None, Physical, Logical };

struct Startup {
  std::uint32_t version = kVersion30;  // what we will speak: 3.0 or 3.2
  bool negotiate = false;              // the client asked for more: send NegotiateProtocolVersion first
  std::vector<std::string> unknown_protocol_options;  // its _pq_. options, all unknown to us
  std::string user;
  std::string database;  // the user's name when the client gave none
  Replication replication = Replication::None;
  Settings settings;  // everything else, `options` taken apart, later ones winning, names as written
};

using FirstPacket = std::variant<SslRequest, GssRequest, CancelRequest, Startup>;

// Size of the packet that starts with these bytes: 0 when fewer than 4 bytes are here; an error when the
// length lies outside of 8 .. kMaxStartupPacket.
Expected<std::size_t> first_packet_size(Bytes in);
// `packet` is whole. Errors carry the SQLSTATE that Postgres uses.
Expected<FirstPacket> parse_first_packet(Bytes packet);

// `options` as the switches of the program postgres: words split at white space, backslash escapes, dashes
// for underscores in names; other switches become what they stand for (-S: work_mem) or, if no session's, an
// error.
Expected<Settings> parse_options(Bytes options);

}  // namespace pgweir::protocol
