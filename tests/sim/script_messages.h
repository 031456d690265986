// tests/sim/script_messages.h - bodies of messages that clients send, without their type and length.
#pragma once

#include <cstdint>
#include <string>

#include "protocol/wire.h"

namespace pgweir::sim {

inline std::string parse_body(const std::string& name, const std::string& sql) {
  return name + '\0' + sql + '\0' + std::string(2, '\0');
}
inline std::string bind_body(const std::string& portal, const std::string& statement,
                             const std::string* value) {
  std::string body = portal + '\0' + statement + '\0' + std::string(2, '\0');
  if (value) {
    char size[4];
    protocol::store_u32(size, static_cast<std::uint32_t>(value->size()));
    body += std::string("\0\1", 2) + std::string(size, 4) + *value;
  } else {
    body += std::string(2, '\0');
  }
  return body + std::string(2, '\0');
}
inline std::string execute_body(const std::string& portal, std::uint32_t limit) {
  char rows[4];
  protocol::store_u32(rows, limit);
  return portal + '\0' + std::string(rows, 4);
}
inline std::string target(char what, const std::string& name) { return what + name + '\0'; }

}  // namespace pgweir::sim
