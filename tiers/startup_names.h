// tiers/startup_names.h - the parameters that a client may set as it connects, where its tier has ceilings.
//
// A list of what is allowed: a name that is not in it may be another name of a parameter that has a ceiling.
// Parameters of extensions, which have a dot, are always allowed.
#pragma once

#include <string_view>

namespace pgweir::tiers {

// By a parameter_name().
bool may_start_with(std::string_view parameter);

// Nearly all drivers send it without being told to. So what they ask for gives way to an injected value,
// where for any other parameter it is refused.
inline constexpr std::string_view kLabel = "application_name";

}  // namespace pgweir::tiers
