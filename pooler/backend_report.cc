#include "pooler/backend_report.h"

#include <fmt/format.h>

#include <algorithm>
#include <charconv>
#include <set>

#include "pooler/clocks.h"
#include "pooler/net/address.h"
#include "tiers/ceilings.h"

namespace pgweir {

namespace {

constexpr std::size_t kRolesShown = 3;
constexpr std::string_view kTempFileLimit = "temp_file_limit";

std::uint32_t number(const std::optional<std::string>& text) {
  std::uint32_t value = 0;
  if (text) std::from_chars(text->data(), text->data() + text->size(), value);
  return value;
}

std::string_view trimmed(std::string_view text) {
  text.remove_prefix(std::min(text.find_first_not_of(" \t"), text.size()));
  return text.substr(0, text.find_last_not_of(" \t") + 1);
}

// What pgweir_guard holds one parameter to.
struct Guarded {
  bool within = false;   // the ceiling
  std::string_view now;  // one that lies above, or cannot be read
};

// Of a text such as "work_mem=64MB, statement_timeout=60s", of whose rows for one parameter the strictest
// holds.
Guarded guarded(std::string_view text, std::string_view parameter, std::string_view limit) {
  Guarded found;
  while (!text.empty()) {
    const std::string_view item = text.substr(0, text.find(','));
    text.remove_prefix(std::min(item.size() + 1, text.size()));
    const std::size_t equals = item.find('=');
    if (equals == std::string_view::npos ||
        tiers::parameter_name(trimmed(item.substr(0, equals))) != parameter)
      continue;
    const std::string_view value = trimmed(item.substr(equals + 1));
    if (tiers::judge(parameter, limit, value).kind == tiers::Verdict::Kind::Within)
      found.within = true;
    else
      found.now = value;
  }
  return found;
}

// By which roles the tenants of one tier come to one backend.
struct Roles {
  std::set<std::string, std::less<>> named;
  bool others = false;  // some log in as whoever their clients are
};

Roles roles_of(const Snapshot& snapshot, const BackendView& backend, const tiers::Tier& tier) {
  Roles roles;
  const auto add = [&](const tiers::Tenant& tenant) {
    const BackendView* const its = snapshot.backend(tenant.backend);
    if (tenant.limits.name != tier.name || !its || its->settings.name != backend.settings.name) return;
    if (tenant.user.empty())
      roles.others = true;
    else
      roles.named.insert(tenant.user);
  };
  for (const auto& [name, tenant] : snapshot.directory.tenants()) add(tenant);
  for (const tiers::Tenant& tenant : snapshot.directory.patterns()) add(tenant);
  // Who is in the tenant store is not known here.
  if (snapshot.redis || snapshot.postgres) roles.others = true;
  const conf::Config& config = snapshot.config();
  const BackendView* const first = snapshot.backend({});
  if (config.unknown_tenants && config.default_tier == tier.name && first &&
      first->settings.name == backend.settings.name)
    roles.others = true;
  return roles;
}

// Those of them for whom `holds` does not; superusers do not count, since nothing holds them.
template <class Holds>
std::vector<std::string> without(const Roles& roles, const BackendFacts& facts, Holds holds) {
  std::vector<std::string> names;
  for (const RoleFacts& role : facts.roles)
    if (!role.superuser && (roles.others || roles.named.contains(role.name)) && !holds(role))
      names.push_back(role.name);
  return names;
}

// Whether Postgres lets a session begin with it. Names of extensions it takes without knowing them.
enum class AtLogin : std::uint8_t { Taken, SuperusersOnly, Fixed, Unknown };
AtLogin at_login(const BackendFacts& facts, std::string_view parameter) {
  if (!tiers::known_to(facts.version, parameter)) return AtLogin::Taken;  // it is left out
  const auto found = facts.parameters.find(parameter);
  if (found == facts.parameters.end())
    return parameter.find('.') == std::string_view::npos ? AtLogin::Unknown : AtLogin::Taken;
  const std::string& context = found->second.context;
  if (context == "user" || context == "backend") return AtLogin::Taken;
  return context.starts_with("superuser") ? AtLogin::SuperusersOnly : AtLogin::Fixed;
}

std::string listed(const std::vector<std::string>& names) {
  std::string text;
  for (std::size_t i = 0; i < std::min(names.size(), kRolesShown); ++i)
    text += (i == 0 ? "" : ", ") + names[i];
  if (names.size() > kRolesShown) text += fmt::format(" and {} more", names.size() - kRolesShown);
  return text;
}

const ClockRow* clock_of(std::string_view ceiling) {
  const auto found = std::find_if(kClocks.begin(), kClocks.end(),
                                  [&](const ClockRow& row) { return row.ceiling == ceiling; });
  return found == kClocks.end() ? nullptr : &*found;
}

struct Rule {
  const tiers::Tier& tier;
  const Roles roles;
  const BackendFacts* facts;
  const std::string& backend;

  void clock(BackendReport::Row& row, const ClockRow& clock) const {
    if (!tier.clocks) {
      row.advice = "set clocks: on for this tier";
      return;
    }
    const bool ends = facts && (facts->signals || facts->superuser);
    // Whoever pauses in a transaction runs nothing, and sees its connection end.
    if (ends || clock.clock == Clock::IdleInTransaction) {
      row.firmness = Firmness::Firm;
      return;
    }
    row.firmness = tier.inspection == tiers::Inspection::Strict ? Firmness::WithStrict : Firmness::Advisory;
    row.advice = fmt::format(
        "the client is ended in time, but a function that catches cancels goes on in Postgres; give "
        "backends.{}.side_user a role with pg_signal_backend",
        backend);
  }

  void temp_files(BackendReport::Row& row) const {
    if (!facts) {
      row.advice =
          "cannot be seen without a side role; run packaging/postgres/temp_file_limit.sql for its roles";
      return;
    }
    const auto open = without(roles, *facts, [&](const RoleFacts& role) {
      const std::string& value = role.temp_file_limit ? *role.temp_file_limit : facts->temp_file_limit;
      return tiers::judge(row.ceiling, row.limit, value).kind == tiers::Verdict::Kind::Within;
    });
    if (open.empty()) {
      row.firmness = Firmness::Firm;
      return;
    }
    row.grade = Grade::Weak;
    row.advice =
        fmt::format("run packaging/postgres/temp_file_limit.sql with {} for {}", row.limit, listed(open));
  }

  // pgweir_guard bounds what counts.
  bool counts(const BackendReport::Row& row) const {
    if (facts)
      if (const auto known = facts->parameters.find(row.ceiling); known != facts->parameters.end())
        return known->second.type == "integer" || known->second.type == "real";
    return tiers::find_ceiling(row.ceiling) != nullptr;
  }

  // Those whom pgweir_guard does not hold to the ceiling, and to what it holds them, in a sentence.
  std::string unguarded(const BackendReport::Row& row) const {
    std::vector<std::string> open;
    for (const RoleFacts& role : facts->roles) {
      if (role.superuser || !(roles.others || roles.named.contains(role.name))) continue;
      Guarded worst = guarded(role.guarded, row.ceiling, row.limit);
      for (const std::string& text : role.guarded_in_databases)
        if (const Guarded here = guarded(text, row.ceiling, row.limit); !here.within) worst = here;
      if (!worst.within)
        open.push_back(role.name + (worst.now.empty() ? "" : fmt::format(" ({} now)", worst.now)));
    }
    return listed(open);
  }

  void parameter(BackendReport::Row& row) const {
    std::string by_guard, numbers;
    if (!counts(row)) {
      numbers = ". pgweir_guard holds whole and real numbers only";
    } else if (!facts || !facts->guard) {
      by_guard = "load pgweir_guard, or ";
    } else if (const std::string open = unguarded(row); !open.empty()) {
      by_guard =
          fmt::format("run pgweir_guard/role.sql with {}={} for {}, or ", row.ceiling, row.limit, open);
    } else {
      row.firmness = Firmness::Firm;
      return;
    }
    switch (tier.inspection) {
      case tiers::Inspection::Strict: row.firmness = Firmness::WithStrict; return;
      case tiers::Inspection::Standard:
        row.firmness = Firmness::WithStrict;
        row.grade = Grade::Weak;
        row.advice = fmt::format("{}set inspection: strict; until then functions and DO get past it{}",
                                 by_guard, numbers);
        return;
      case tiers::Inspection::Off:
        row.advice =
            fmt::format("{}set inspection: strict; nothing looks at what clients set{}", by_guard, numbers);
        return;
    }
  }

  // False: a session may begin with it.
  bool fails_logins(BackendReport::Row& row, std::string_view field, std::string_view parameter) const {
    if (!facts) return false;
    switch (at_login(*facts, parameter)) {
      case AtLogin::Taken: return false;
      case AtLogin::SuperusersOnly:
        row.grade = Grade::Weak;
        row.advice =
            "only superusers may set it, and roles that have GRANT SET ON PARAMETER; the logins of others "
            "fail";
        return true;
      case AtLogin::Fixed:
      case AtLogin::Unknown: break;
    }
    row.firmness = Firmness::NoLogin;
    row.grade = Grade::Wrong;
    row.advice = fmt::format("{}, and refuses all that is opened with it; take {} out of the tier",
                             at_login(*facts, parameter) == AtLogin::Fixed
                                 ? "Postgres lets no session set it"
                                 : fmt::format("Postgres {} does not know it", facts->version),
                             field);
    return true;
  }

  BackendReport::Row rule(const std::string& ceiling, const std::string& limit) const {
    BackendReport::Row row{Grade::Fine, tier.name, ceiling, limit, Firmness::Advisory, {}};
    if (const ClockRow* const own = clock_of(ceiling))
      clock(row, *own);
    else if (ceiling == kTempFileLimit)
      temp_files(row);
    else if (facts && !tiers::known_to(facts->version, ceiling))
      row.advice = fmt::format("Postgres {} does not know it", facts->version);
    else if (!fails_logins(row, "ceiling." + ceiling, ceiling))
      parameter(row);
    if (row.firmness == Firmness::Advisory) row.grade = std::max(row.grade, Grade::Weak);
    return row;
  }

  // Rows of all that the tier says of parameters.
  void rule_all(const tiers::Ceilings& ceilings, std::vector<BackendReport::Row>& rows) const {
    for (const auto& [ceiling, limit] : ceilings.limits) rows.push_back(rule(ceiling, limit));
    const auto look = [&](std::string_view kind, const tiers::Ceilings::Values& values) {
      for (const auto& [parameter, value] : values) {
        std::string field = fmt::format("{}.{}", kind, parameter);
        BackendReport::Row row{Grade::Fine, tier.name, field, value, Firmness::Advisory, {}};
        if (fails_logins(row, field, parameter)) rows.push_back(std::move(row));
      }
    };
    look("inject", ceilings.injected);
    look("default", ceilings.defaults);
  }
};

void look_at_settings(const BackendFacts& facts, const BackendView& backend, BackendReport& report) {
  const auto say = [&](Grade grade, std::string text) { report.lines.push_back({grade, std::move(text)}); };
  say(facts.version < tiers::kOldestVersion ? Grade::Wrong : Grade::Fine,
      facts.version < tiers::kOldestVersion
          ? fmt::format("Postgres {}; {} is the oldest that is served", facts.version, tiers::kOldestVersion)
          : fmt::format("Postgres {}", facts.version));
  if (facts.superuser)
    say(Grade::Wrong,
        fmt::format("side role {} is a superuser: use one made by packaging/postgres/side_role.sql",
                    facts.role));
  else if (!facts.signals)
    say(Grade::Wrong,
        fmt::format("side role {} may not end processes: GRANT pg_signal_backend TO it", facts.role));
  else
    say(Grade::Fine, fmt::format("side role {} has pg_signal_backend", facts.role));
  if (facts.prepared_transactions > 0)
    say(Grade::Wrong,
        fmt::format("max_prepared_transactions is {}: PREPARE TRANSACTION outlives every clock; set it to 0",
                    facts.prepared_transactions));
  else
    say(Grade::Fine, "max_prepared_transactions is 0");
  const std::uint32_t room = facts.connections - std::min(facts.reserved, facts.connections);
  if (backend.settings.max_server_connections >= room)
    say(Grade::Weak,
        fmt::format("max_server_connections {} leaves no connection for the side role: Postgres has {} "
                    "beside the reserved ones",
                    backend.settings.max_server_connections, room));
  say(Grade::Fine, facts.guard ? "pgweir_guard is loaded" : "pgweir_guard is not loaded");
  std::vector<std::string> supers;
  for (const RoleFacts& role : facts.roles)
    if (role.superuser) supers.push_back(role.name);
  if (!supers.empty())
    say(Grade::Fine,
        fmt::format("superusers, whom no ceiling holds, and whom no tenant may be: {}", listed(supers)));
}

}  // namespace

std::string_view name(Firmness firmness) {
  switch (firmness) {
    case Firmness::Firm: return "firm";
    case Firmness::WithStrict: return "firm with strict";
    case Firmness::Advisory: return "advisory";
    case Firmness::NoLogin: return "no login";
  }
  return "";
}

std::optional<BackendFacts> backend_facts(const std::vector<SideRow>& facts,
                                          const std::vector<SideRow>& roles,
                                          const std::vector<SideRow>& parameters) {
  if (facts.size() != 1 || facts[0].size() != 9 || parameters.empty()) return {};
  const SideRow& row = facts[0];
  if (std::any_of(row.begin(), row.end(), [](const auto& value) { return !value; })) return {};
  BackendFacts out;
  out.version = static_cast<int>(number(row[0]));
  out.role = *row[1];
  out.superuser = row[2] == "t";
  out.signals = row[3] == "t";
  out.guard = row[4] == "t";
  out.prepared_transactions = number(row[5]);
  out.connections = number(row[6]);
  out.reserved = number(row[7]);
  out.temp_file_limit = *row[8];
  for (const SideRow& role : roles) {
    if (role.size() != 5 || !role[0] || !role[1]) return {};
    RoleFacts known{*role[0], role[1] == "t", role[2], role[3].value_or(""), {}};
    if (role[4])
      for (std::string_view rest = *role[4];; rest.remove_prefix(rest.find('\n') + 1)) {
        known.guarded_in_databases.emplace_back(rest.substr(0, rest.find('\n')));
        if (rest.find('\n') == std::string_view::npos) break;
      }
    out.roles.push_back(std::move(known));
  }
  for (const SideRow& parameter : parameters) {
    if (parameter.size() != 3 || !parameter[0] || !parameter[1] || !parameter[2]) return {};
    out.parameters.emplace(tiers::parameter_name(*parameter[0]),
                           ParameterFacts{*parameter[1], *parameter[2]});
  }
  return out;
}

Grade BackendReport::worst() const {
  Grade worst = Grade::Fine;
  for (const Line& line : lines) worst = std::max(worst, line.grade);
  for (const Row& row : rows) worst = std::max(worst, row.grade);
  return worst;
}

BackendReport report_backend(const Snapshot& snapshot, const BackendView& backend,
                             const BackendFacts* facts) {
  BackendReport report;
  const std::string& name = backend.settings.name;
  if (facts)
    look_at_settings(*facts, backend, report);
  else
    report.lines.push_back(
        {Grade::Wrong, fmt::format("backends.{}.side_user is not set: nobody could ask. See "
                                   "packaging/postgres/side_role.sql",
                                   name)});
  for (const auto& [tier_name, tier] : snapshot.directory.tiers()) {
    const Rule rule{tier, roles_of(snapshot, backend, tier), facts, name};
    rule.rule_all(*tier.ceilings, report.rows);
    if (tier.request_timeout.count() > 0)
      report.rows.push_back(rule.rule("request_timeout", fmt::format("{}ms", tier.request_timeout.count())));
  }
  return report;
}

BackendReport report_tenant(const BackendView& backend, const tiers::Tenant& tenant,
                            const BackendFacts* facts, const TenantVisit& visit) {
  BackendReport report;
  const auto say = [&](Grade grade, std::string text) { report.lines.push_back({grade, std::move(text)}); };
  const std::string& database = tenant.database.empty() ? tenant.name : tenant.database;
  say(Grade::Fine,
      fmt::format("tenant {}: tier {}, database {}, {}", tenant.name, tenant.limits.name, database,
                  tenant.user.empty() ? "each client with its own role" : "role " + tenant.user));
  if (tenant.state != tiers::TenantState::Active)
    say(Grade::Weak,
        fmt::format("tenant {} is {}: nobody is served{}{}", tenant.name, tiers::name(tenant.state),
                    tenant.reason.empty() ? "" : ", because: ", tenant.reason));
  if (visit.databases &&
      std::find(visit.databases->begin(), visit.databases->end(), database) == visit.databases->end())
    say(Grade::Wrong,
        fmt::format("database {} is not there, or takes no connections: CREATE DATABASE, or set "
                    "`database` of the tenant",
                    database));
  else if (visit.databases)
    say(Grade::Fine, fmt::format("database {} is there", database));
  const RoleFacts* role = nullptr;
  if (facts)
    for (const RoleFacts& each : facts->roles)
      if (each.name == tenant.user) role = &each;
  if (role && role->superuser)
    say(Grade::Wrong,
        fmt::format("role {} is a superuser: no ceiling holds it, and no row security; give the "
                    "tenant another role",
                    tenant.user));
  else if (facts && !role && !tenant.user.empty() && tenant.user != facts->role)
    say(Grade::Wrong,
        fmt::format("role {} is not there, or may not log in: CREATE ROLE ... LOGIN, or set `user` "
                    "of the tenant",
                    tenant.user));
  if (visit.refused)
    say(Grade::Wrong,
        fmt::format("login as {} to {} fails: {}", tenant.user, database, visit.refused->message));
  else if (visit.tried)
    say(Grade::Fine, fmt::format("role {} logs in to {}", tenant.user, database));
  else
    say(Grade::Fine, "no login was tried: its password is not known here");
  if (facts)
    look_at_settings(*facts, backend, report);
  else
    report.lines.push_back(
        {Grade::Wrong, fmt::format("backends.{}.side_user is not set: nobody could ask. See "
                                   "packaging/postgres/side_role.sql",
                                   backend.settings.name)});
  Roles roles;
  if (tenant.user.empty())
    roles.others = true;
  else
    roles.named.insert(tenant.user);
  const Rule rule{tenant.limits, roles, facts, backend.settings.name};
  rule.rule_all(*tenant.limits.ceilings, report.rows);
  return report;
}

std::string text_of(const BackendReport& report, const BackendView& backend) {
  const auto mark = [](Grade grade) {
    switch (grade) {
      case Grade::Fine: return "ok   ";
      case Grade::Weak: return "weak ";
      case Grade::Wrong: return "wrong";
    }
    return "";
  };
  std::string text = fmt::format("backend {} ({})\n", backend.settings.name, net::text(backend.hosts[0]));
  for (const BackendReport::Line& line : report.lines)
    text += fmt::format("  {}  {}\n", mark(line.grade), line.text);
  const std::string* tier = nullptr;
  for (const BackendReport::Row& row : report.rows) {
    if (!tier || *tier != row.tier) text += fmt::format("tier {} on {}\n", row.tier, backend.settings.name);
    tier = &row.tier;
    text += fmt::format("  {}  {:<45} {}{}{}\n", mark(row.grade), row.ceiling + " " + row.limit,
                        name(row.firmness), row.advice.empty() ? "" : ": ", row.advice);
  }
  return text;
}

}  // namespace pgweir
