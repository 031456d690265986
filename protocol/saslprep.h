// protocol/saslprep.h - SASLprep (RFC 4013) of a password, exactly as Postgres does it.
//
// Client and server must come to the same bytes, so Postgres's habits count more than the RFC: ASCII passes
// unchanged, and so does whatever is not valid UTF-8, holds a character that SASLprep prohibits or does not
// know (Unicode 3.2), or would vanish altogether. The checks look at the text before normalisation, as
// Postgres's do. One known difference: libidn joins the sequences of Unicode's PR-29 (a Hangul or Indic
// letter, a combining mark of another script, a letter that fits the first), which nobody types.
#pragma once

#include <cstddef>
#include <string>

#include "pooler/base/bytes.h"

namespace pgweir::protocol {

// Normalisation takes quadratic time on a run of accents, so a longer password passes unchanged.
inline constexpr std::size_t kSaslprepSizeMax = 4096;

// At most 18 times as long as the password (NFKC). Cannot fail.
std::string saslprep_password(Bytes password);

}  // namespace pgweir::protocol
