// pooler/backend_check.cc - pgweir --check-backend: asks, and prints what backend_report.h makes of it.
#include <fmt/format.h>

#include <algorithm>
#include <cstdio>
#include <optional>
#include <string>
#include <vector>

#include "pooler/backend_report.h"
#include "pooler/base/quoted.h"
#include "pooler/load_snapshot.h"
#include "pooler/net/address.h"
#include "pooler/probe.h"
#include "pooler/process.h"

namespace pgweir::process {

using cli::Exit;

namespace {

Exit exit_of(Grade grade) {
  switch (grade) {
    case Grade::Fine: return Exit::Fine;
    case Grade::Weak: return Exit::Weak;
    case Grade::Wrong: return Exit::Wrong;
  }
  return Exit::Wrong;
}

struct Asked {
  std::optional<BackendFacts> facts;  // nothing: it has no side role
  std::vector<std::string> databases;
};

Expected<Asked> ask(const BackendView& backend) {
  if (!SideConnection::possible(backend)) return Asked{};
  const auto answers = ask_server(backend, {}, {kFactsQuery, kRolesQuery, kParametersQuery, kDatabasesQuery});
  if (!answers) return tl::unexpected(answers.error());
  Asked asked{backend_facts((*answers)[0], (*answers)[1], (*answers)[2]), {}};
  if (!asked.facts) return fail(sqlstate::kProtocolViolation, "the server sent no proper answer");
  for (const SideRow& row : (*answers)[3])
    if (!row.empty() && row[0]) asked.databases.push_back(*row[0]);
  return asked;
}

Exit cannot_ask(const BackendView& backend, const Error& why) {
  fmt::print("backend {} ({})\n  wrong  {} cannot ask it: {}\n", backend.settings.name,
             net::text(backend.hosts[0]), backend.settings.side_user, why.message);
  return Exit::Unavailable;
}

Exit check_one(const Snapshot& snapshot, const BackendView& backend) {
  const auto asked = ask(backend);
  if (!asked) return cannot_ask(backend, asked.error());
  const BackendReport report = report_backend(snapshot, backend, asked->facts ? &*asked->facts : nullptr);
  fmt::print("{}", text_of(report, backend));
  return exit_of(report.worst());
}

Exit check_tenant(const std::shared_ptr<const Snapshot>& snapshot, const std::string& name,
                  const std::string& wanted_backend) {
  using Kind = tiers::Catalog::Answer::Kind;
  std::string complaint;
  const tiers::Catalog::Answer answer = find_tenant(snapshot, name, complaint);
  if (answer.kind == Kind::Unreachable) {
    fmt::print(stderr, "pgweir: the tenant store could not be asked for {}: {}\n", quoted(name),
               complaint.empty() ? "it did not answer in time" : complaint);
    return Exit::Unavailable;
  }
  if (!complaint.empty()) fmt::print(stderr, "pgweir: {}\n", complaint);
  if (!answer.record) {
    const bool stored = snapshot->config().store_kind != conf::StoreKind::File;
    fmt::print(stderr, "pgweir: there is no tenant {} in {}, and pool.unknown_tenants is false\n",
               quoted(name), stored ? "the tenant store or the configuration" : "the configuration");
    return Exit::Usage;
  }
  const tiers::Tenant& tenant = *answer.record;
  const BackendView* const backend = snapshot->backend(tenant.backend);
  if (!wanted_backend.empty() && backend->settings.name != wanted_backend) {
    fmt::print(stderr, "pgweir: tenant {} is on backend {}, not on {}\n", quoted(name),
               quoted(backend->settings.name), quoted(wanted_backend));
    return Exit::Usage;
  }
  fmt::print("tenant {} ({})\n", tenant.name,
             answer.kind == Kind::Known ? "from the tenant store" : "from the configuration");
  const auto asked = ask(*backend);
  if (!asked) return cannot_ask(*backend, asked.error());
  TenantVisit visit;
  if (asked->facts) visit.databases = asked->databases;
  if (const auto login = login_of(*snapshot, tenant)) {
    visit.tried = true;
    if (const auto in = ask_server(*backend, login, {"SELECT 1"}); !in) visit.refused = in.error();
  }
  const BackendReport report =
      report_tenant(*backend, tenant, asked->facts ? &*asked->facts : nullptr, visit);
  fmt::print("{}", text_of(report, *backend));
  return exit_of(report.worst());
}

}  // namespace

Exit check_backend(const std::string& path, const std::string& backend, const std::string& tenant) {
  const auto snapshot = load_snapshot(path, read_environment());
  if (!snapshot) {
    tell(snapshot.error());
    return Exit::Config;
  }
  std::vector<const BackendView*> asked;
  for (const BackendView& each : (*snapshot)->backends)
    if (backend.empty() || each.settings.name == backend) asked.push_back(&each);
  if (asked.empty()) {
    fmt::print(stderr, "pgweir: there is no backend called {}\n", quoted(backend));
    return Exit::Usage;
  }
  if (!tenant.empty()) return check_tenant(*snapshot, tenant, backend);
  Exit worst = Exit::Fine;
  for (const BackendView* const each : asked) worst = std::max(worst, check_one(**snapshot, *each));
  return worst;
}

}  // namespace pgweir::process
