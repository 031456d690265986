// tests/sim/pg_words.h - what the parts of PgSession agree on about the words of its language.
#pragma once

#include <algorithm>
#include <string>

#include "pooler/base/bytes.h"
#include "protocol/wire.h"

namespace pgweir::sim {

// A setting that the role may not set; a function of its owner's can.
inline constexpr Bytes kGuarded = "log_statement";

// How Postgres reports a setting that was given like this.
inline std::string spelt(Bytes name, Bytes value) {
  if (name == "client_encoding") {
    if (value == "utf8") return "UTF8";
    if (value == "latin1") return "LATIN1";
  }
  if (name == "DateStyle" && value == "ISO") return "ISO, MDY";
  return std::string(value);
}

inline bool returns_rows(Bytes sql) {
  sql.remove_prefix(std::min(sql.find_first_not_of(' '), sql.size()));
  const Bytes verb = sql.substr(0, sql.find(' '));
  return verb == "echo" || verb == "rows" || verb == "show" || verb == "where" || verb == "whoami" ||
         verb == "SELECT" || verb == "WITH" || verb == "select" || verb == "values" || verb == "execute" ||
         verb == "table" || verb == "fetch";
}

inline bool ends_block(Bytes sql) {
  return sql.starts_with("commit") || sql.starts_with("rollback") || sql.starts_with("ROLLBACK");
}

inline std::string copy_start(char type) {
  std::string out;
  protocol::Writer(out, type).u8(0).u16(1).u16(0);
  return out;
}

inline std::string bare_message(char type) { return type + std::string("\0\0\0\4", 4); }

}  // namespace pgweir::sim
