// pooler/audit_record.h - what the audit stream tells: one table of its events, one line for each of them.
//
// A line is one JSON object in ECS (fields with dots in their names). Values come masked as in the log; the
// text of a query is never among them.
#pragma once

#include <concepts>
#include <cstdint>
#include <initializer_list>
#include <span>
#include <string>
#include <string_view>
#include <vector>

namespace pgweir {

enum class AuditEvent : std::uint8_t {
  LoginOk,
  LoginRefused,
  HttpLoginRefused,
  ConsoleCommand,
  TierUpgrade,
  TierDowngrade,
  TenantSuspended,
  TenantResumed,
  TenantChanged,
  TierChanged,
  CeilingLowered,
  CeilingRefused,
  CeilingEnforced,
  CeilingClock,
  LinesLost,
};

enum class AuditOutcome : std::uint8_t { Success, Failure, Unknown };

enum class AuditKey : std::uint8_t {
  User,
  Address,
  Port,
  Database,
  Tenant,
  Tier,
  TierBefore,
  Changed,
  Client,
  Reason,
  Sqlstate,
  Command,
  Argument,
  Parameter,
  Found,
  Times,
  Did,
  RanMs,
  Lost,
};

struct AuditField {
  AuditKey key;
  std::string value;  // empty: left out

  AuditField(AuditKey k, std::string_view v) : key(k), value(v) {}
  template <std::integral N>
  AuditField(AuditKey k, N v) : key(k), value(std::to_string(v)) {}
};
using AuditFields = std::initializer_list<AuditField>;

struct AuditRow {
  AuditEvent event;
  std::string_view action;          // event.action
  std::string_view category, type;  // event.category, event.type
  std::vector<AuditKey> keys;       // those that it may have
  std::string_view help;
};
// In the order of AuditEvent.
const std::vector<AuditRow>& audit_rows();

// Without its line end. `time_ms` since 1970, UTC. Fields that the event's row does not name are a mistake of
// ours.
std::string format_audit(AuditEvent event, AuditOutcome outcome, std::int64_t time_ms, int pid,
                         AuditFields fields);

// pooler/audit.md
std::string audit_reference();

}  // namespace pgweir
