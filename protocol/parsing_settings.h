// protocol/parsing_settings.h - the settings that decide what a text means when it is prepared.
//
// Its literals are read then and its names looked up by the path; what functions that Postgres calls
// immutable make of constants is put in when it is planned, and stays (Postgres manual, "PREPARE").
#pragma once

#include <array>

#include "pooler/base/bytes.h"

namespace pgweir::protocol {

// In lower case.
inline constexpr std::array<Bytes, 21> kParsingSettings = {"array_nulls",
                                                           "backslash_quote",
                                                           "bytea_output",
                                                           "client_encoding",
                                                           "datestyle",
                                                           "default_text_search_config",
                                                           "extra_float_digits",
                                                           "intervalstyle",
                                                           "lc_monetary",
                                                           "lc_numeric",
                                                           "lc_time",
                                                           "quote_all_identifiers",
                                                           "role",
                                                           "search_path",
                                                           "session_authorization",
                                                           "standard_conforming_strings",
                                                           "timezone",
                                                           "timezone_abbreviations",
                                                           "transform_null_equals",
                                                           "xmlbinary",
                                                           "xmloption"};

}  // namespace pgweir::protocol
