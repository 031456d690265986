// tiers/tier.h - what a plan allows: one row per tier, overridable per tenant.
#pragma once

#include <chrono>
#include <cstdint>
#include <map>
#include <optional>
#include <string>
#include <string_view>
#include <vector>

#include "pooler/base/error.h"

namespace pgweir::tiers {

using std::chrono::milliseconds;

struct Tier {
  std::string name;
  std::uint32_t pool_size = 2;               // server connections it is sure of
  std::uint32_t max_server_connections = 5;  // when the backend has room
  std::uint32_t max_clients = 20;
  milliseconds server_idle_timeout{0};       // 0: never; otherwise closes even the last idle server
  milliseconds queue_timeout{0};             // wait at a full pool; 0: client.query_wait_timeout alone
};

// A tenant as configured. Fields that its row does not give come from its tier.
struct Tenant {
  std::string name;      // the database name that clients connect to, or a pattern with one '*'
  Tier limits;           // its tier with its own overrides applied
  std::string backend;   // empty: the first backend
  std::string database;  // real database; empty: the client's name for it (for a pattern, what the client asked for)
  std::string user;      // server user; empty: the client's user with the client's secret
  std::string password;  // of that user; plain, md5... or SCRAM-SHA-256$...
};

// Sets one field from text; the error says what is allowed or which name was probably meant.
Expected<void> set_tier_field(Tier& tier, std::string_view key, std::string_view value);
Expected<void> set_tenant_field(Tenant& tenant, std::string_view key, std::string_view value);  // not the tier's fields

}  // namespace pgweir::tiers
