// tiers/tier.h - what a plan allows: one row per tier, overridable per tenant.
#pragma once

#include <chrono>
#include <cstddef>
#include <cstdint>
#include <optional>
#include <span>
#include <string>
#include <string_view>
#include <variant>
#include <vector>

#include "pooler/base/error.h"
#include "tiers/ceilings.h"

namespace pgweir::tiers {

using std::chrono::milliseconds;

// When a client gives its server back: at the end of each transaction, or when it leaves.
enum class PoolMode : std::uint8_t { Transaction, Session };
std::string_view name(PoolMode mode);
// Nothing for a word that is none.
std::optional<PoolMode> pool_mode(std::string_view word);

// What is done about texts that would give a parameter a value above its ceiling, or an injected one another.
// Each does what the one before does.
enum class Inspection : std::uint8_t {
  Off,       // nothing
  Standard,  // what stands in the text is lowered or refused
  Strict,    // so is what could hide it: DO, CALL, the making of functions, texts that cannot be read
};

// What a client is told at a limit, and what happens to it: refused at once; let wait for a place, at most
// queue_timeout; slowed down to what is allowed.
enum class AtCeiling : std::uint8_t { Reject, Queue };
enum class AtRate : std::uint8_t { Reject, Throttle };

struct Tier {
  std::string name;
  std::uint32_t pool_size = 2;               // server connections it is sure of
  std::uint32_t max_server_connections = 5;  // when the backend has room
  std::uint32_t min_server_connections = 0;  // kept open while the tenant has clients
  std::uint32_t max_clients = 20;
  std::uint32_t weight = 1;                      // share of servers that many tenants want
  milliseconds server_idle_timeout{600'000};     // 0: never; otherwise closes even the last idle server
  milliseconds queue_timeout{0};                 // wait at a full pool; 0: client.query_wait_timeout alone
  std::uint32_t max_pinned_clients = 2;          // that keep a server between transactions
  std::uint32_t max_waiting_clients = 0;         // for a server; 0: as many as there are
  std::uint32_t max_client_statements = 0;       // named, of one client; 0: as many as fit
  std::uint32_t max_client_statement_bytes = 0;  // their texts; 0: as many as fit
  std::uint32_t transactions_per_minute = 0;     // 0: as many as they like
  std::uint32_t burst = 0;                       // that may begin at once; 0: transactions_per_minute
  AtCeiling at_clients = AtCeiling::Reject;      // at max_clients
  AtCeiling at_pool = AtCeiling::Queue;          // at max_server_connections
  AtRate at_rate = AtRate::Throttle;             // at transactions_per_minute
  AtCeiling at_breaker = AtCeiling::Queue;       // while Postgres cannot be reached
  PoolMode pool_mode = PoolMode::Transaction;
  bool session_mode = false;  // a client may ask for it
  bool replication = false;   // a client may have a walsender
  Inspection inspection = Inspection::Standard;
  bool clocks = true;                // of the pooler's own, for the time ceilings
  milliseconds request_timeout{0};   // of a request with all its statements; 0: no limit
  milliseconds slow_transaction{0};  // that holds its server longer is told in the log; 0: none is
  SharedCeilings ceilings;
  friend bool operator==(const Tier&, const Tier&) = default;
};

// Whether a tenant is served. Of a suspended one new clients are refused, and connected ones end with their
// transaction.
enum class TenantState : std::uint8_t { Active, Suspended };
std::string_view name(TenantState state);

// A floor that max_server_connections does not leave room for, and what was wanted of it.
struct Lowered {
  std::string_view field;
  std::uint32_t wanted = 0;
  friend bool operator==(const Lowered&, const Lowered&) = default;
};

// A tenant as configured. Fields that its row does not give come from its tier.
struct Tenant {
  std::string name;      // the database name that clients connect to, or a pattern with one '*'
  Tier limits;           // its tier with its own overrides applied
  std::string backend;   // empty: the first backend
  std::string database;  // real database; empty: the client's name for it. In a pattern's, '*' is what the
                         // name's '*' took
  std::string user;      // server user; empty: the client's user with the client's secret
  std::string password;  // of that user; plain, md5... or SCRAM-SHA-256$...
  TenantState state = TenantState::Active;
  std::string reason;          // of a state that is not active, as clients are told it
  std::uint32_t version = 0;   // as its owner counts; only shown
  bool stale = false;          // its store has been silent for too long: held to the lower of two tiers
  std::uint64_t revision = 0;  // counted by a Catalog: of two records the higher one is newer; 0: of a file
  std::vector<std::string> overrides;  // fields of the tier that its own row gives, by field_name(), in order
  std::vector<Lowered> lowered;  // by its own max_server_connections, or of its own values by its tier's
  friend bool operator==(const Tenant&, const Tenant&) = default;
};

inline constexpr std::size_t kNameMax = 63;  // bytes of a name that Postgres keeps

// One row per field of a tier: parsing, bounds, printing and tiers/reference.md come from it. Words have no
// bounds. Beside these a tier takes the fields that ceiling_key() knows.
struct TierField {
  std::string_view key;
  // A ceiling is none of the struct's own members.
  std::variant<std::uint32_t Tier::*, milliseconds Tier::*, PoolMode Tier::*, bool Tier::*, AtCeiling Tier::*,
               AtRate Tier::*, Inspection Tier::*, const Ceiling*>
      member;
  std::int64_t least = 0, most = 0;
  std::string_view help;
};
std::span<const TierField> tier_fields();

// One row per field that only a tenant has. `tier` is not among them: whoever holds the directory looks it
// up.
struct TenantField {
  std::string_view key;
  std::variant<std::string Tenant::*, TenantState Tenant::*, std::uint32_t Tenant::*> member;
  bool secret = false;
  std::size_t most = 0;  // bytes of a text; greatest number
  std::string_view help;
};
std::span<const TenantField> tenant_fields();

// Sets one field from text. Errors are sentences that begin with the key and say what is allowed, or which
// name was probably meant; they never repeat a secret. A tier's field given to a tenant overrides its limits,
// so set those to its tier's first.
Expected<void> set_tier_field(Tier& tier, std::string_view key, std::string_view value);
Expected<void> set_tenant_field(Tenant& tenant, std::string_view key, std::string_view value);

// How a field of a tier is called that may be spelled in several ways ("ceiling.work_mem" is "work_mem").
// Other keys are returned as they are.
std::string field_name(std::string_view key);

// Whether a tier has a field of this name; the error says which one was probably meant.
Expected<void> check_field(std::string_view key);

// Whether a tenant with these limits may have this value instead; limits of a tier that fit to each other.
// The error says what is allowed, or which name was probably meant.
Expected<void> check_override(Tier limits, std::string_view key, std::string_view value);

// The field's value as set_tier_field reads it.
std::string tier_text(const Tier& tier, const TierField& field);

// What fields say of each other: neither pool_size nor min_server_connections may exceed
// max_server_connections; check_ceilings(); and sessions begin with what their texts can be read under.
Expected<void> check_tier(const Tier& tier);

// pool_size and min_server_connections at most max_server_connections. Answers which were more.
std::vector<Lowered> lower_floors(Tier& tier);
// "pool_size 5 is lowered to max_server_connections 3"; of several with ", " between them.
std::string text(std::span<const Lowered> lowered, const Tier& tier);

// tiers/reference.md as text, made from the two tables.
std::string reference();

}  // namespace pgweir::tiers
