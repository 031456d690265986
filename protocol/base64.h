// protocol/base64.h - base64 as SCRAM uses it (RFC 4648 section 4).
#pragma once

#include <cstddef>
#include <optional>
#include <string>

#include "pooler/base/bytes.h"

namespace pgweir::protocol {

std::string base64_encode(Bytes raw);

// Strict: padded, no white space, unused bits zero, so that every value has one spelling only. Nothing if the
// text is not that or stands for more than `size_max` bytes; the length is checked before anything is
// allocated.
std::optional<std::string> base64_decode(Bytes text, std::size_t size_max);

}  // namespace pgweir::protocol
