// pooler/backend_report.h - what holds on one Postgres and what does not: pgweir --check-backend.
//
// A ceiling is
//   firm              nobody who may only send SQL gets beyond it
//   firm with strict  the same where the tier's inspection is strict; else a function, DO or CALL does
//   advisory          sessions begin with it, and that is all
//   no login          this Postgres refuses every session that is to begin with it
// Pure: facts in, a report out.
#pragma once

#include <cstdint>
#include <functional>
#include <map>
#include <optional>
#include <string>
#include <vector>

#include "pooler/side_answers.h"
#include "pooler/snapshot.h"

namespace pgweir {

struct RoleFacts {
  std::string name;
  bool superuser = false;
  std::optional<std::string> temp_file_limit;     // set for this role
  std::string guarded;                            // its pgweir_guard.ceilings
  std::vector<std::string> guarded_in_databases;  // ... where ALTER ROLE ... IN DATABASE says otherwise
};

// As pg_settings tells them.
struct ParameterFacts {
  std::string type;     // bool, integer, real, string, enum
  std::string context;  // user, backend, superuser ...
};

struct BackendFacts {
  int version = 0;  // major
  std::string role;
  bool superuser = false;  // the side role is one
  bool signals = false;    // pg_signal_backend
  bool guard = false;      // pgweir_guard is loaded
  std::uint32_t prepared_transactions = 0, connections = 0, reserved = 0;
  std::string temp_file_limit;                                    // of roles that have none of their own
  std::vector<RoleFacts> roles;                                   // that may log in, without the side role
  std::map<std::string, ParameterFacts, std::less<>> parameters;  // all that it knows, in small letters
};

// What to ask, and what the answers say; nothing: they are no answers to that.
inline constexpr std::string_view kFactsQuery =
    "SELECT pg_catalog.current_setting('server_version_num')::int / 10000, current_user,"
    " (SELECT rolsuper FROM pg_catalog.pg_roles WHERE rolname = current_user),"
    " pg_catalog.pg_has_role(current_user, 'pg_signal_backend', 'USAGE'),"
    " pg_catalog.current_setting('pgweir_guard.ceilings', true) IS NOT NULL,"
    " pg_catalog.current_setting('max_prepared_transactions'),"
    " pg_catalog.current_setting('max_connections'),"
    " pg_catalog.current_setting('superuser_reserved_connections'),"
    " pg_catalog.current_setting('temp_file_limit')";
inline constexpr std::string_view kRolesQuery =
    "SELECT rolname, rolsuper,"
    " (SELECT option_value FROM pg_catalog.pg_options_to_table(rolconfig) WHERE option_name = "
    "'temp_file_limit'),"
    " (SELECT option_value FROM pg_catalog.pg_options_to_table(rolconfig)"
    " WHERE option_name = 'pgweir_guard.ceilings'),"
    " (SELECT pg_catalog.string_agg(option_value, E'\\n') FROM pg_catalog.pg_db_role_setting,"
    " pg_catalog.pg_options_to_table(setconfig)"
    " WHERE setrole = pg_roles.oid AND setdatabase <> 0 AND option_name = 'pgweir_guard.ceilings')"
    " FROM pg_catalog.pg_roles WHERE rolcanlogin AND rolname <> current_user ORDER BY rolname LIMIT 5000";
// The last ones are not in the view.
inline constexpr std::string_view kParametersQuery =
    "SELECT name, vartype, context FROM pg_catalog.pg_settings UNION ALL VALUES"
    " ('role', 'string', 'user'), ('session_authorization', 'string', 'user'), ('seed', 'real', 'user')";
std::optional<BackendFacts> backend_facts(const std::vector<SideRow>& facts,
                                          const std::vector<SideRow>& roles,
                                          const std::vector<SideRow>& parameters);

enum class Firmness : std::uint8_t { Firm, WithStrict, Advisory, NoLogin };
std::string_view name(Firmness firmness);

// How bad it is.
enum class Grade : std::uint8_t { Fine, Weak, Wrong };

struct BackendReport {
  struct Line {
    Grade grade = Grade::Fine;
    std::string text;
  };
  struct Row {
    Grade grade = Grade::Fine;
    std::string tier, ceiling, limit;
    Firmness firmness = Firmness::Advisory;
    std::string advice;  // empty: nothing to be done
  };
  std::vector<Line> lines;  // of the backend as a whole
  // Of each tier's ceilings, and of what it injects or presets where that is wrong.
  std::vector<Row> rows;
  Grade worst() const;
};

// `facts` null: the backend has no side role, and nobody could ask it.
BackendReport report_backend(const Snapshot& snapshot, const BackendView& backend, const BackendFacts* facts);

// Of one tenant there: who he is, and what holds of his ceilings.
inline constexpr std::string_view kDatabasesQuery =
    "SELECT datname FROM pg_catalog.pg_database WHERE datallowconn ORDER BY datname LIMIT 10000";
struct TenantVisit {
  std::optional<std::vector<std::string>> databases;  // that take connections; nothing: nobody could ask
  bool tried = false;                                 // to log in as the tenant's servers do
  std::optional<Error> refused;                       // ... and this was the answer
};
BackendReport report_tenant(const BackendView& backend, const tiers::Tenant& tenant,
                            const BackendFacts* facts, const TenantVisit& visit);

// For people.
std::string text_of(const BackendReport& report, const BackendView& backend);

}  // namespace pgweir
