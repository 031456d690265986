// pooler/version.h - what this program calls itself.
#pragma once

#include <string_view>

namespace pgweir {
inline constexpr std::string_view kVersion = PGWEIR_VERSION;  // from the build's project() line
}  // namespace pgweir
