#include "pooler/audit_record.h"

#include <fmt/format.h>

#include <algorithm>
#include <array>

#include "pooler/base/check.h"
#include "pooler/log_text.h"
#include "pooler/masking.h"

namespace pgweir {

namespace {

enum class Kind : std::uint8_t { Text, Number };
struct KeyRow {
  AuditKey key;
  std::string_view name;
  Kind kind;
  std::string_view help;
};
constexpr std::array kKeys{
    KeyRow{AuditKey::User, "user.name", Kind::Text, "who"},
    KeyRow{AuditKey::Address, "source.address", Kind::Text,
           "from where; `unix` for the unix socket, else the same as `source.ip`"},
    KeyRow{AuditKey::Port, "source.port", Kind::Number, "and from which port"},
    KeyRow{AuditKey::Database, "pgweir.database", Kind::Text, "database of the startup packet"},
    KeyRow{AuditKey::Tenant, "pgweir.tenant", Kind::Text, "whose tenant"},
    KeyRow{AuditKey::Tier, "pgweir.tier", Kind::Text, "tier of the tenant, from now on"},
    KeyRow{AuditKey::TierBefore, "pgweir.tier_before", Kind::Text, "and until now"},
    KeyRow{AuditKey::Changed, "pgweir.changed", Kind::Text,
           "fields of its row with what they were and are; of a password its name alone"},
    KeyRow{AuditKey::Client, "pgweir.client", Kind::Number, "id of the client in SHOW CLIENTS"},
    KeyRow{AuditKey::Reason, "event.reason", Kind::Text, "why, in a sentence"},
    KeyRow{AuditKey::Sqlstate, "error.code", Kind::Text, "SQLSTATE of the error"},
    KeyRow{AuditKey::Command, "pgweir.command", Kind::Text, "command of the console"},
    KeyRow{AuditKey::Argument, "pgweir.argument", Kind::Text, "what it acts on; secrets are not shown"},
    KeyRow{AuditKey::Parameter, "pgweir.parameter", Kind::Text, "parameter or time that has the ceiling"},
    KeyRow{AuditKey::Found, "pgweir.found", Kind::Text,
           "value that was found above it, where it is a number"},
    KeyRow{AuditKey::Times, "pgweir.times", Kind::Number,
           "how often by now; told the 1st, 10th, 100th ... time"},
    KeyRow{AuditKey::Did, "pgweir.did", Kind::Text, "`cancel` or `end`"},
    KeyRow{AuditKey::RanMs, "pgweir.ran_ms", Kind::Number, "how long it had run"},
    KeyRow{AuditKey::Lost, "pgweir.lost", Kind::Number, "lines"},
};

constexpr bool in_order() {
  for (std::size_t i = 0; i < kKeys.size(); ++i)
    if (static_cast<std::size_t>(kKeys[i].key) != i) return false;
  return true;
}
static_assert(in_order());

const KeyRow& row_of(AuditKey key) { return kKeys[static_cast<std::size_t>(key)]; }

std::string_view name_of(AuditOutcome outcome) {
  switch (outcome) {
    case AuditOutcome::Success: return "success";
    case AuditOutcome::Failure: return "failure";
    case AuditOutcome::Unknown: break;
  }
  return "unknown";
}

// Collectors refuse a source.ip that is none: the unix socket, or an address with a zone.
bool is_ip(std::string_view address) {
  return address.find_first_of(".:") != std::string_view::npos &&
         address.find_first_not_of("0123456789abcdefABCDEF.:") == std::string_view::npos;
}

void put(std::string& line, std::string_view key, std::string_view value, Kind kind) {
  line += ",\"";
  line.append(key).append("\":");
  if (kind == Kind::Number)
    line += value;
  else
    log_text::put_json_string(line, value);
}

}  // namespace

const std::vector<AuditRow>& audit_rows() {
  using enum AuditEvent;
  using enum AuditKey;
  static const std::vector<AuditRow> rows{
      {LoginOk,
       "login",
       "authentication",
       "start",
       {User, Address, Port, Database, Tenant, Tier, Client, Reason},
       "A client, or a user of the console, has logged in: Postgres has taken what its startup packet asks "
       "for. "
       "`unknown`: its password was good, but it had gone before that."},
      {LoginRefused,
       "login_refused",
       "authentication",
       "start",
       {User, Address, Port, Database, Tenant, Reason, Sqlstate},
       "A login was answered with an error: a wrong password, a limit, a suspended tenant, a timeout, or "
       "what "
       "Postgres says of its database, role or settings."},
      {HttpLoginRefused,
       "http_login_refused",
       "authentication",
       "start",
       {User, Address, Port, Reason},
       "A user and password, or a token, shown over HTTP were not good. Of a proxy the address is its own."},
      {ConsoleCommand,
       "console_command",
       "configuration",
       "access",
       {User, Address, Port, Client, Command, Argument, Reason, Sqlstate},
       "A command of the console has ended. `unknown`: its client had gone before it did."},
      {TierUpgrade,
       "tier_upgrade",
       "configuration",
       "change",
       {Tenant, TierBefore, Tier},
       "A tenant that is in use has come to a higher tier."},
      {TierDowngrade,
       "tier_downgrade",
       "configuration",
       "change",
       {Tenant, TierBefore, Tier},
       "A tenant that is in use has come to a lower tier."},
      {TenantSuspended,
       "tenant_suspended",
       "configuration",
       "change",
       {Tenant, Reason},
       "A tenant that is in use was suspended."},
      {TenantResumed,
       "tenant_resumed",
       "configuration",
       "change",
       {Tenant, Reason},
       "A tenant that is in use may log in again."},
      {TenantChanged,
       "tenant_changed",
       "configuration",
       "change",
       {Tenant, Changed},
       "The row of a tenant is another one than before, whether it is in use or not: by a reload, by a "
       "command of the console, or in the tenant store, where it is seen when the row is read the next "
       "time."},
      {TierChanged, "tier_changed", "configuration", "change", {Tier, Changed}, "The same of a tier."},
      {CeilingLowered,
       "ceiling_lowered",
       "database",
       "change",
       {Tenant, Tier, Parameter, Times},
       "A value above a ceiling was lowered to it."},
      {CeilingRefused,
       "ceiling_refused",
       "database",
       "error",
       {Tenant, Tier, Parameter, Times},
       "A request above a ceiling was refused."},
      {CeilingEnforced,
       "ceiling_enforced",
       "database",
       "change",
       {Tenant, Tier, Parameter, Found, Times},
       "A value above a ceiling was found behind a transaction and set back."},
      {CeilingClock,
       "ceiling_clock",
       "database",
       "error",
       {User, Address, Port, Tenant, Tier, Client, Parameter, Did, RanMs},
       "A time ceiling was held by the pooler's own clock."},
      {LinesLost,
       "audit_lines_lost",
       "process",
       "error",
       {Lost},
       "Lines before this one are missing: they came faster than they could be written, or the file took "
       "none."},
  };
  return rows;
}

std::string format_audit(AuditEvent event, AuditOutcome outcome, std::int64_t time_ms, int pid,
                         AuditFields fields) {
  const AuditRow& row = audit_rows()[static_cast<std::size_t>(event)];
  std::string line = R"({"@timestamp":)";
  log_text::put_json_time(line, time_ms);
  line += fmt::format(
      R"(,"ecs.version":"{}","event.dataset":"pgweir.audit","event.kind":"event","event.action":"{}")"
      R"(,"event.category":["{}"],"event.type":["{}"],"event.outcome":"{}")"
      R"(,"service.name":"pgweir","process.pid":{})",
      log_text::kEcsVersion, row.action, row.category, row.type, name_of(outcome), pid);
  for (const AuditField& field : fields) {
    PGWEIR_CHECK(std::find(row.keys.begin(), row.keys.end(), field.key) != row.keys.end());
    if (field.value.empty()) continue;
    const KeyRow& key = row_of(field.key);
    if (key.kind == Kind::Number) {
      put(line, key.name, field.value, key.kind);
      continue;
    }
    if (field.key == AuditKey::Address && is_ip(field.value)) put(line, "source.ip", field.value, Kind::Text);
    put(line, key.name, masked(field.value, log_text::kValueMax), key.kind);
  }
  return line += '}';
}

std::string audit_reference() {
  std::string out =
      "# Audit stream\n\n"
      "Made from the table in `pooler/audit_record.cc`; do not edit. Where it goes: `audit` in "
      "[conf/reference.md](../conf/reference.md).\n\n"
      "One JSON object a line, in the Elastic Common Schema " +
      std::string(log_text::kEcsVersion) +
      ". Every line has `@timestamp`, `ecs.version`, `event.dataset` (`pgweir.audit`), `event.kind`, "
      "`event.action`, `event.category`, `event.type`, `event.outcome` (`success`, `failure` or `unknown`), "
      "`service.name` and `process.pid`; then those of its event, where they are known. No line has the text "
      "of a query; e-mail addresses, card numbers, passwords and tokens are masked as in the log.\n\n"
      "| event.action | category | type | fields | when |\n|---|---|---|---|---|\n";
  for (const AuditRow& row : audit_rows()) {
    std::string names;
    for (const AuditKey key : row.keys)
      names += fmt::format("{}`{}`", names.empty() ? "" : ", ", row_of(key).name);
    out += fmt::format("| `{}` | {} | {} | {} | {} |\n", row.action, row.category, row.type, names, row.help);
  }
  out += "\n| field | |\n|---|---|\n";
  for (const KeyRow& key : kKeys) out += fmt::format("| `{}` | {} |\n", key.name, key.help);
  return out;
}

}  // namespace pgweir
