#include "pooler/ceiling_guard.h"

#include <algorithm>
#include <utility>

#include "pooler/base/quoted.h"
#include "pooler/settings.h"
#include "pooler/tenant_token.h"
#include "protocol/sql_functions.h"

namespace pgweir {

using protocol::SqlAssignment;
using protocol::SqlPiece;
using Where = SqlAssignment::Where;
using tiers::Verdict;

namespace {
// As a SQL string constant, whatever standard_conforming_strings is.
std::string literal(Bytes value) {
  std::string out = value.find('\\') == Bytes::npos ? "'" : " E'";
  for (const char c : value) out.append(c == '\'' || c == '\\' ? 2 : 1, c);
  return out + "'";
}

// `name` is made of words with dots between them.
std::string quoted_name(Bytes name) {
  std::string out = "\"";
  for (const char c : name) out += c == '.' ? "\".\"" : std::string(1, c);
  return out + '"';
}

// What takes the place of the assignment.
std::string set_instead(const SqlAssignment& assignment, Bytes value) {
  switch (assignment.where) {
    case Where::Set: return "SET SESSION " + quoted_name(assignment.name) + " TO " + literal(value);
    case Where::SetLocal: return "SET LOCAL " + quoted_name(assignment.name) + " TO " + literal(value);
    case Where::Argument:
    case Where::Stored: return literal(value);
  }
  return literal(value);
}

// Ends transactions, or takes something away: no query runs by it.
bool runs_nothing(protocol::SqlStatement::Kind kind) {
  using Kind = protocol::SqlStatement::Kind;
  constexpr Kind kKinds[] = {
      Kind::Commit,   Kind::Rollback,      Kind::Savepoint,    Kind::Release,          Kind::ResetAll,
      Kind::Reset,    Kind::DeallocateAll, Kind::Deallocate,   Kind::UnlistenAll,      Kind::Unlisten,
      Kind::CloseAll, Kind::Close,         Kind::DiscardPlans, Kind::DiscardSequences, Kind::DiscardTemp};
  return std::find(std::begin(kKinds), std::end(kKinds), kind) != std::end(kKinds);
}

Error unverifiable(std::string message, std::string hint) {
  return {sqlstate::kSyntaxError, std::move(message), {}, std::move(hint)};
}
}  // namespace

bool CeilingGuard::renew() {
  const tiers::Tier& limits = record_->limits;
  if (limits.ceilings == source_ && limits.name == tier_ && limits.inspection == asked_) return false;
  source_ = limits.ceilings;
  tier_ = limits.name;
  asked_ = limits.inspection;
  tiers::Ceilings held = tiers::for_tenant(*record_->limits.ceilings, record_->name, record_->limits.name);
  const bool nothing = held.limits.empty() && held.injected.empty();
  const tiers::Inspection inspection = nothing ? tiers::Inspection::Off : record_->limits.inspection;
  const bool changed = inspection != inspection_ || held != *ceilings_;
  inspection_ = inspection;
  if (!changed) return false;
  start_ = tiers::startup_settings(held);
  names_.clear();
  for (const auto* values : {&held.limits, &held.injected})
    for (const auto& [name, value] : *values) {
      // What no session may set needs no look, and cannot be set back either.
      const tiers::Ceiling* const row = tiers::find_ceiling(name);
      if (!row || row->held_by != tiers::HeldBy::Superuser) names_.push_back(name);
    }
  // Most tenants have their tier's as they are.
  if (held == *record_->limits.ceilings)
    ceilings_ = record_->limits.ceilings;
  else
    ceilings_ = std::move(held);
  return true;
}

std::string CeilingGuard::whose() const {
  return "tenant " + quoted(record_->name) + ", tier " + record_->limits.name + ".";
}

void CeilingGuard::note(const Held& held) {
  const auto counts = tally_.try_emplace(std::string(held.parameter)).first;
  const std::uint64_t count = ++counts->second.of(held.route);
  if (on_held) on_held(held, count);
}

std::unique_ptr<Ruling> CeilingGuard::refuse(Error error, Bytes sql, Bytes parameter) {
  note({.parameter = parameter, .route = CeilingRoute::Refused, .sql = sql});
  if (error.detail.empty()) error.detail = whose();
  auto ruling = std::make_unique<Ruling>();
  ruling->refused = std::move(error);
  return ruling;
}

bool CeilingGuard::holds(Bytes name) const {
  return ceilings_->limits.contains(name) || ceilings_->injected.contains(name);
}

std::unique_ptr<Ruling> CeilingGuard::rule(const protocol::SqlEffects& effects, Bytes sql,
                                           const Outgrown* outgrown) {
  if (effects.read == protocol::SqlEffects::Read::Unknown) {
    if (!strict()) return nullptr;
    return refuse(unverifiable("the statement cannot be read, and may change settings",
                               "Send its statements one by one; those that change settings by themselves."),
                  sql);
  }
  const protocol::SqlReach& reach = effects.reach;
  if (reach.code && strict())
    return refuse({sqlstate::kFeatureNotSupported, "DO, CALL and the making of functions are not allowed",
                   whose(), "The tier's inspection is strict. Run migrations under a tier where it is not."},
                  sql);
  if (reach.hidden_setting)
    return refuse(unverifiable("the name of the setting that is to change is not in the statement",
                               "Name it by a plain string in set_config(), or use SET."),
                  sql);
  if (reach.hidden_sql)
    return refuse(unverifiable("a query given as a string cannot be checked for the settings it changes",
                               "Give it as a plain string that changes no settings."),
                  sql);
  if (reach.other_session)
    return refuse({sqlstate::kInsufficientPrivilege, "no ceiling would hold in a session opened by dblink",
                   whose(), "Connect by the application, or ask for a tier whose inspection is off."},
                  sql);
  auto ruling = std::make_unique<Ruling>();
  std::vector<SqlPiece> edits = reach.unsure;
  std::vector<Bytes> lowered;
  for (const SqlAssignment& each : reach.assignments) {
    const std::size_t before = edits.size();
    if (!lower(each, *ruling, edits)) return refuse(std::move(*ruling->refused), sql, each.name);
    if (edits.size() > before) lowered.push_back(each.name);
  }
  if (outgrown)
    if (auto error = keep_down(effects, *outgrown, edits)) return refuse(std::move(*error), sql);
  if (edits.empty()) return nullptr;
  for (const Bytes name : lowered) note({.parameter = name, .route = CeilingRoute::Lowered, .sql = sql});
  std::sort(edits.begin(), edits.end(), [](const SqlPiece& a, const SqlPiece& b) { return a.at < b.at; });
  std::size_t from = 0;
  for (const SqlPiece& each : edits) {
    ruling->text.append(sql.substr(from, each.at - from)).append(each.with);
    from = each.at + each.size;
  }
  ruling->text.append(sql.substr(from));
  return ruling;
}

// False: it is refused.
bool CeilingGuard::lower(const SqlAssignment& assignment, Ruling& ruling,
                         std::vector<SqlPiece>& edits) const {
  const std::string& name = assignment.name;
  if (decides_reading(setting_key(name)) && (!assignment.value || !reads_plainly(name, *assignment.value))) {
    ruling.refused = misread(name, assignment.value.value_or("a value that is not in the statement"));
    return false;
  }
  if (name == kTokenSetting) {
    ruling.refused =
        Error{sqlstate::kInsufficientPrivilege, "parameter \"" + name + "\" is not the client's to set",
              whose(), "The pooler sets it, to tell Postgres which tenant this is. Leave it alone."};
    return false;
  }
  if (!holds(name)) return true;
  if (!assignment.value) {
    ruling.refused = unverifiable("the value for parameter \"" + name + "\" is not in the statement",
                                  "The tier has a ceiling for it. Give the value as a plain string.");
    return false;
  }
  Verdict verdict = tiers::judge(*ceilings_, name, *assignment.value);
  switch (verdict.kind) {
    case Verdict::Kind::Within: return true;
    case Verdict::Kind::Refused: ruling.refused = std::move(verdict.why); return false;
    case Verdict::Kind::Lowered: break;
  }
  if (assignment.where == Where::Stored || assignment.size == 0) {
    ruling.refused = Error{sqlstate::kInsufficientPrivilege,
                           "parameter \"" + name + "\" must not lie above " + verdict.to + " here", whose(),
                           "Give it a value within the ceiling, as a plain string."};
    return false;
  }
  edits.push_back({assignment.at, assignment.size, set_instead(assignment, verdict.to)});
  ruling.lowered.push_back(
      ceilings_->injected.contains(name)
          ? name + " stays " + verdict.to + ", which tier " + record_->limits.name + " sets"
          : name + " lowered to " + verdict.to + ", the ceiling of tier " + record_->limits.name);
  return true;
}

// What would give back more than there is now becomes a SET. Of all settings at once that cannot be said:
// there what is too much is set back in front of the next request, so nothing may run before.
std::optional<Error> CeilingGuard::keep_down(const protocol::SqlEffects& effects, const Outgrown& outgrown,
                                             std::vector<SqlPiece>& edits) const {
  for (const SqlAssignment& each : effects.reach.taken_back) {
    if (each.name.empty()) {
      const bool last = std::all_of(
          effects.statements.begin(), effects.statements.end(),
          [&](const auto& statement) { return statement.at <= each.at || runs_nothing(statement.kind); });
      if (last) continue;
      return Error{sqlstate::kFeatureNotSupported, "nothing may follow RESET ALL in the same request",
                   whose(),
                   "The tier's ceilings were lowered while this session kept its server. Send it by itself."};
    }
    if (!outgrows(*outgrown.opened_with, each.name)) continue;
    const auto own = outgrown.started->find(setting_key(each.name));
    const std::string* const value = own != outgrown.started->end() ? &own->second : start_of(each.name);
    if (value && each.size > 0) {
      edits.push_back({each.at, each.size, set_instead(each, *value)});
      continue;
    }
    return unverifiable("what parameter \"" + each.name + "\" is set back to is not in the statement",
                        "The tier's ceilings were lowered while this session kept its server. Use RESET.");
  }
  return {};
}

std::unique_ptr<Ruling> CeilingGuard::rule_unread(std::size_t size) {
  if (!strict()) return nullptr;
  return refuse({sqlstate::kProgramLimit,
                 "the message of " + std::to_string(size) + " bytes is too long to be looked through",
                 whose(), "The tier's inspection is strict. Send it in parts, or load data by COPY."},
                {});
}

std::unique_ptr<Ruling> CeilingGuard::rule_misread(Bytes sql, const std::optional<SettingsBook::Odd>& odd) {
  if (!odd)
    return refuse({sqlstate::kFeatureNotSupported,
                   "a statement cannot be read that was prepared under another client_encoding or "
                   "standard_conforming_strings",
                   whose(), "The tier has ceilings. Prepare it again."},
                  sql);
  const SettingsBook::Odd& under = *odd;
  const std::string name(under.name);
  const std::string good = name + (name == "client_encoding" ? "=UTF8" : "=on");
  return refuse({sqlstate::kFeatureNotSupported,
                 "statements cannot be read under " + name + " " + quoted(under.value), whose(),
                 under.own ? "The tier has ceilings. Use " + good + "."
                           : "The tier has ceilings, and the database, the role or Postgres's configuration "
                             "sets it. Connect with " +
                                 good + ", or ALTER DATABASE ... SET " + good + " there."},
                sql);
}

std::optional<Error> CeilingGuard::refuse_function(std::uint32_t oid) {
  if (!inspects()) return {};
  switch (protocol::sql_function(oid)) {
    case protocol::SqlFunction::SetConfig:
      return refuse({sqlstate::kFeatureNotSupported, "set_config cannot be called by a FunctionCall message",
                     whose(), "Use SET, or set_config() in a statement."},
                    {})
          ->refused;
    case protocol::SqlFunction::Executor:
    case protocol::SqlFunction::Assembler:
    case protocol::SqlFunction::CodeByName:
      return refuse({sqlstate::kFeatureNotSupported,
                     "a function that runs a query cannot be called by a FunctionCall message", whose(),
                     "Call it in a statement, with the query as a plain string."},
                    {})
          ->refused;
    case protocol::SqlFunction::Other:
    case protocol::SqlFunction::SetLimit:
    case protocol::SqlFunction::AdvisoryLock:
    case protocol::SqlFunction::AdvisoryUnlock:
    case protocol::SqlFunction::ReadsSequence:
    case protocol::SqlFunction::Unfollowable: break;
  }
  return {};
}

bool CeilingGuard::is_start(Bytes name, Bytes value) const {
  const auto start = start_.find(name);
  return start != start_.end() && start->second == value;
}

const std::string* CeilingGuard::start_of(Bytes name) const {
  const auto start = start_.find(name);
  return start == start_.end() ? nullptr : &start->second;
}

bool CeilingGuard::outgrows(const tiers::Ceilings::Values& opened_with, Bytes name) const {
  if (std::find(names_.begin(), names_.end(), name) == names_.end()) return false;
  const auto was = opened_with.find(name);
  return was == opened_with.end() || !allows(name, was->second);
}

bool CeilingGuard::allows(Bytes name, Bytes value) const {
  return tiers::judge(*ceilings_, tiers::parameter_name(name), value).kind == Verdict::Kind::Within;
}

void CeilingGuard::hold(Findings::Setting& setting) const {
  if (!setting.value) return;
  Verdict verdict = tiers::judge(*ceilings_, tiers::parameter_name(setting.name), *setting.value);
  switch (verdict.kind) {
    case Verdict::Kind::Within: return;
    case Verdict::Kind::Lowered: setting.value = std::move(verdict.to); return;
    case Verdict::Kind::Refused: setting.value.reset(); return;
  }
}

void CeilingGuard::enforce(Findings::Setting& setting) {
  if (!setting.value || allows(setting.name, *setting.value)) return;
  const std::string name = tiers::parameter_name(setting.name);
  const bool tells = ceilings_->limits.contains(name) && tiers::is_quantity(*setting.value);
  note(
      {.parameter = name, .route = CeilingRoute::Enforced, .value = tells ? Bytes(*setting.value) : Bytes()});
  hold(setting);
}

}  // namespace pgweir
