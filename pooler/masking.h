// pooler/masking.h - takes out of a text what no log may keep: e-mail addresses, card numbers, passwords and
// tokens.
//
// By their shape alone, so it is a net and no proof: whoever logs still never logs query texts or values.
#pragma once

#include <string>
#include <string_view>

namespace pgweir {

// Domains of addresses and the last four digits of cards stay, so that a person can still tell one from
// another.
std::string masked(std::string_view text);
// The same, cut to `most` bytes: what is cut is known by what stands behind the cut, too.
std::string masked(std::string_view text, std::size_t most);

}  // namespace pgweir
