// conf/embedded_tiers.h - the text of conf/tiers.yaml, compiled into the program.
#pragma once

#include <string_view>

namespace pgweir::conf {

std::string_view embedded_tiers();

}  // namespace pgweir::conf
