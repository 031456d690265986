// pooler/setting_hint.h - what to say to who sets a name that is no setting of this process. Pure.
#pragma once

#include <string>
#include <string_view>

namespace pgweir::console {

// Where what the name stands for is set: fields of tiers, and settings of PgBouncer's that are fields of
// tiers here. Empty: nothing is known of it.
std::string setting_hint(std::string_view key);

}  // namespace pgweir::console
