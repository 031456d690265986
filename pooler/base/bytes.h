// pooler/base/bytes.h - a borrowed run of bytes. Whoever hands one out says how long it lives.
#pragma once

#include <string_view>

namespace pgweir {
using Bytes = std::string_view;
}  // namespace pgweir
