#include "tiers/tier.h"

#include <algorithm>
#include <array>
#include <vector>

#include "pooler/base/near.h"
#include "pooler/base/plain_sql.h"
#include "pooler/base/quoted.h"
#include "pooler/base/units.h"
#include "tiers/rate.h"

namespace pgweir::tiers {
namespace {

constexpr std::array kOwnFields{
    TierField{"pool_size", &Tier::pool_size, 1, 500,
              "Server connections that a tenant of this tier is sure of."},
    TierField{"max_server_connections", &Tier::max_server_connections, 1, 10'000,
              "Server connections it may have while the backend has room."},
    TierField{"min_server_connections", &Tier::min_server_connections, 0, 500,
              "Server connections that are opened ahead and kept while it has clients."},
    TierField{"max_clients", &Tier::max_clients, 1, 100'000, "Clients that may be connected at a time."},
    TierField{"weight", &Tier::weight, 1, 1000,
              "Share of servers that several tenants wait for: one with twice the weight is given twice the "
              "server time. What is below its pool_size goes first."},
    TierField{
        "server_idle_timeout", &Tier::server_idle_timeout, 0, 30 * kDayMs,
        "How long a server may be idle before it is closed, the last one too. Where tenants share servers "
        "(the same database and user), the strictest of those that have clients holds."},
    TierField{
        "queue_timeout", &Tier::queue_timeout, 0, kHourMs,
        "How long a client may wait while the pool is full; never: only client.query_wait_timeout holds."},
    TierField{
        "max_pinned_clients", &Tier::max_pinned_clients, 0, 10'000,
        "Clients that may keep a server between transactions, because of a temporary table, a LISTEN, a "
        "lock or other state that lives on that server only, or because they are in session mode."},
    TierField{
        "max_waiting_clients", &Tier::max_waiting_clients, 0, 100'000,
        "Clients that may wait at a time for a server, or for transactions_per_minute; whoever comes behind "
        "them is refused (53300). 0: as many as there are."},
    TierField{
        "max_client_statements", &Tier::max_client_statements, 0, 100'000,
        "Named statements that one client may have prepared at a time by the protocol; one more is refused "
        "(53400). 0: as many as pool.prepared_statement_bytes has room for."},
    TierField{"max_client_statement_bytes", &Tier::max_client_statement_bytes, 0, 1 << 30,
              "Bytes that their texts and names may have together. 0: the same."},
    TierField{"transactions_per_minute", &Tier::transactions_per_minute, 0, Rate::kPerMinuteMost,
              "Transactions that may begin per minute, in the long run; 0: as many as they like. Of a client "
              "that keeps its server those behind the first are counted, and not held up."},
    TierField{"burst", &Tier::burst, 0, Rate::kPerMinuteMost,
              "Transactions that may begin at once after a pause; 0: transactions_per_minute."},
    TierField{"at_clients", &Tier::at_clients, 0, 0,
              "What becomes of a login beyond max_clients: it is refused (53300), or waits for a place, at "
              "most queue_timeout and client.login_timeout."},
    TierField{"at_pool", &Tier::at_pool, 0, 0,
              "What becomes of a transaction while max_server_connections are in use: it is refused (53300), "
              "or waits, at most queue_timeout."},
    TierField{"at_rate", &Tier::at_rate, 0, 0,
              "What becomes of a transaction beyond transactions_per_minute: it is refused (53400), or waits "
              "until it is allowed, at most queue_timeout."},
    TierField{"at_breaker", &Tier::at_breaker, 0, 0,
              "What becomes of a transaction that finds no idle server while the circuit breaker of its "
              "backend, or of its database and user, is open: it is refused at once (57P03), or waits, at "
              "most pool.wake_timeout. A Postgres that sleeps and wakes needs `queue`."},
    TierField{"pool_mode", &Tier::pool_mode, 0, 0,
              "When a client gives its server back: at the end of each transaction, or when it leaves."},
    TierField{"session_mode", &Tier::session_mode, 0, 0,
              "Whether a client may ask for session mode, by `options=-c pgweir.pool_mode=session`."},
    TierField{
        "replication", &Tier::replication, 0, 0,
        "Whether a client may ask for a replication connection (`replication=true` or `database`). It has "
        "a server of its own, which counts as pinned. Postgres asks for the role's REPLICATION attribute, "
        "too, and what such a role reads physically is the whole cluster."},
    TierField{
        "inspection", &Tier::inspection, 0, 0,
        "Where there are ceilings or injected values, what is done about texts that would go beyond them: "
        "what stands in a text is lowered or refused; `strict` refuses DO, CALL, the making of functions "
        "and what cannot be read, too."},
    TierField{"clocks", &Tier::clocks, 0, 0,
              "Whether statement_timeout, idle_in_transaction_session_timeout, transaction_timeout and "
              "request_timeout are held by clocks of the pooler's own, too, where Postgres's do not run."},
    TierField{"request_timeout", &Tier::request_timeout, 0, kDayMs,
              "Longest time that one request may take, with all statements of its text or pipeline. "
              "statement_timeout bounds each of them, transaction_timeout all of a transaction."},
    TierField{
        "slow_transaction", &Tier::slow_transaction, 0, kDayMs,
        "How long a transaction may hold its server before a line of the log, `slow_transaction`, tells "
        "of it; never: no line does."},
};

// Those that the struct has as members, then the ceilings that are fields.
constexpr std::size_t kCeilingFields = [] {
  std::size_t count = 0;
  for (const Ceiling& row : kCeilings) count += row.written == Written::Field ? 1 : 0;
  return count;
}();
constexpr auto kTierFields = [] {
  std::array<TierField, kOwnFields.size() + kCeilingFields> all{};
  std::size_t at = 0;
  for (const TierField& field : kOwnFields) all[at++] = field;
  for (const Ceiling& row : kCeilings)
    if (row.written == Written::Field) all[at++] = TierField{row.name, &row, row.least, row.most, row.help};
  return all;
}();

constexpr std::array kTenantFields{
    TenantField{"backend", &Tenant::backend, false, kNameMax,
                "Backend that holds its database; the first if none."},
    TenantField{
        "database", &Tenant::database, false, kNameMax,
        "Real name of its database; the name that the client asks for if none. In a pattern's, `*` is what "
        "the name's `*` took."},
    TenantField{"user", &Tenant::user, false, kNameMax,
                "User for its server connections; the client's own user and secret if none."},
    TenantField{"password", &Tenant::password, true, 1024,
                "Password of that user; see also `password_file`."},
    TenantField{
        "state", &Tenant::state, false, 0,
        "Of a suspended tenant new clients are refused, and connected ones end with their transaction."},
    TenantField{"reason", &Tenant::reason, false, 200, "Why it is suspended, as its clients are told."},
    TenantField{"version", &Tenant::version, false, 4'294'967'295,
                "Number of the row, as its owner counts; shown where a change is logged."},
};

constexpr std::size_t kKeys = kTierFields.size() + kTenantFields.size() + 1;

// What fields that are no numbers may say; the first of each value is how it is printed.
struct Word {
  std::string_view text;
  std::uint8_t value;
};
constexpr std::array kSwitches{Word{"true", 1}, Word{"false", 0}, Word{"on", 1},
                               Word{"off", 0},  Word{"yes", 1},   Word{"no", 0}};
constexpr std::array kPoolModes{Word{"transaction", static_cast<std::uint8_t>(PoolMode::Transaction)},
                                Word{"session", static_cast<std::uint8_t>(PoolMode::Session)}};
constexpr std::array kInspections{Word{"off", static_cast<std::uint8_t>(Inspection::Off)},
                                  Word{"standard", static_cast<std::uint8_t>(Inspection::Standard)},
                                  Word{"strict", static_cast<std::uint8_t>(Inspection::Strict)}};
constexpr std::array kAtCeiling{Word{"reject", static_cast<std::uint8_t>(AtCeiling::Reject)},
                                Word{"queue", static_cast<std::uint8_t>(AtCeiling::Queue)}};
constexpr std::array kAtRate{Word{"reject", static_cast<std::uint8_t>(AtRate::Reject)},
                             Word{"throttle", static_cast<std::uint8_t>(AtRate::Throttle)}};
constexpr std::array kStates{Word{"active", static_cast<std::uint8_t>(TenantState::Active)},
                             Word{"suspended", static_cast<std::uint8_t>(TenantState::Suspended)}};

// None for a number.
std::span<const Word> words_of(const TierField& field) {
  if (std::holds_alternative<PoolMode Tier::*>(field.member)) return kPoolModes;
  if (std::holds_alternative<bool Tier::*>(field.member)) return kSwitches;
  if (std::holds_alternative<Inspection Tier::*>(field.member)) return kInspections;
  if (std::holds_alternative<AtCeiling Tier::*>(field.member)) return kAtCeiling;
  if (std::holds_alternative<AtRate Tier::*>(field.member)) return kAtRate;
  return {};
}

// A Tier has ceilings as text, not as a member of its own.
const Ceiling* ceiling_of(const TierField& field) {
  const auto* const ceiling = std::get_if<const Ceiling*>(&field.member);
  return ceiling ? *ceiling : nullptr;
}

std::string listed(std::span<const Word> words) {
  std::string list;
  for (const Word& word : words) list += (list.empty() ? "" : ", ") + std::string(word.text);
  return "one of " + list;
}

// What a tenant's own field may be.
std::string allowed(const TenantField& field) {
  if (std::holds_alternative<TenantState Tenant::*>(field.member)) return listed(kStates);
  if (std::holds_alternative<std::uint32_t Tenant::*>(field.member))
    return allowed_range(Unit::Count, 0, static_cast<std::int64_t>(field.most));
  return "at most " + std::to_string(field.most) + " bytes";
}

template <class Key>
const Word* word_for(std::span<const Word> words, Key Word::*key, const Key& wanted) {
  const auto place =
      std::find_if(words.begin(), words.end(), [&](const Word& word) { return word.*key == wanted; });
  return place == words.end() ? nullptr : &*place;
}

std::string word_of(std::span<const Word> words, std::uint8_t value) {
  return std::string(word_for<std::uint8_t>(words, &Word::value, value)->text);
}

Unit unit_of(const TierField& field) {
  return std::holds_alternative<milliseconds Tier::*>(field.member) ? Unit::Milliseconds : Unit::Count;
}

template <class Table>
auto find(const Table& table, std::string_view key) {
  return std::find_if(table.begin(), table.end(), [&](const auto& field) { return field.key == key; });
}

std::array<std::string_view, kKeys> all_keys() {
  std::array<std::string_view, kKeys> keys{"tier"};
  std::size_t at = 1;
  for (const auto& field : kTierFields) keys[at++] = field.key;
  for (const auto& field : kTenantFields) keys[at++] = field.key;
  return keys;
}

bool has_control(std::string_view text) {
  return std::any_of(text.begin(), text.end(), [](char c) {
    const auto byte = static_cast<unsigned char>(c);
    return byte < 0x20 || byte == 0x7f;
  });
}

}  // namespace

std::string_view name(PoolMode mode) {
  return word_for<std::uint8_t>(kPoolModes, &Word::value, static_cast<std::uint8_t>(mode))->text;
}

std::string_view name(TenantState state) {
  return word_for<std::uint8_t>(kStates, &Word::value, static_cast<std::uint8_t>(state))->text;
}

std::optional<PoolMode> pool_mode(std::string_view word) {
  const Word* known = word_for<std::string_view>(kPoolModes, &Word::text, word);
  return known ? std::optional(static_cast<PoolMode>(known->value)) : std::nullopt;
}

std::span<const TierField> tier_fields() { return kTierFields; }
std::span<const TenantField> tenant_fields() { return kTenantFields; }

Expected<void> check_field(std::string_view key) {
  if (ceiling_key(key) || find(kTierFields, key) != kTierFields.end()) return {};
  std::vector<std::string_view> keys;
  for (const TierField& known : kTierFields) keys.push_back(known.key);
  return fail(sqlstate::kConfigFileError, quoted(key) + " is no field of a tier" + did_you_mean(key, keys));
}

Expected<void> set_tier_field(Tier& tier, std::string_view key, std::string_view value) {
  if (const auto ceiling = ceiling_key(key)) {
    Ceilings changed = *tier.ceilings;
    if (auto set = set_ceiling(changed, *ceiling, value); !set)
      return fail(sqlstate::kConfigFileError, std::string(key) + " " + set.error().message);
    tier.ceilings = std::move(changed);
    return {};
  }
  if (auto known = check_field(key); !known) return known;
  const auto* const field = find(kTierFields, key);
  if (const auto words = words_of(*field); !words.empty()) {
    const Word* word = word_for<std::string_view>(words, &Word::text, value);
    if (!word)
      return fail(sqlstate::kConfigFileError,
                  std::string(key) + " must be " + listed(words) + ", not " + quoted(value));
    if (const auto* const flag = std::get_if<bool Tier::*>(&field->member))
      tier.*(*flag) = word->value != 0;
    else if (const auto* const inspection = std::get_if<Inspection Tier::*>(&field->member))
      tier.*(*inspection) = static_cast<Inspection>(word->value);
    else if (const auto* const at = std::get_if<AtCeiling Tier::*>(&field->member))
      tier.*(*at) = static_cast<AtCeiling>(word->value);
    else if (const auto* const at_rate = std::get_if<AtRate Tier::*>(&field->member))
      tier.*(*at_rate) = static_cast<AtRate>(word->value);
    else
      tier.*(std::get<PoolMode Tier::*>(field->member)) = static_cast<PoolMode>(word->value);
    return {};
  }
  const auto number = parse_within(value, unit_of(*field), field->least, field->most);
  if (!number) return fail(sqlstate::kConfigFileError, std::string(key) + " " + number.error().message);
  if (const auto* const time = std::get_if<milliseconds Tier::*>(&field->member)) {
    tier.*(*time) = milliseconds(*number);
  } else {
    tier.*(std::get<std::uint32_t Tier::*>(field->member)) = static_cast<std::uint32_t>(*number);
  }
  return {};
}

namespace {
Expected<void> set_override(Tenant& tenant, std::string_view key, std::string_view value) {
  if (auto set = set_tier_field(tenant.limits, key, value); !set) return set;
  std::string name = field_name(key);
  auto& all = tenant.overrides;
  if (const auto place = std::lower_bound(all.begin(), all.end(), name); place == all.end() || *place != name)
    all.insert(place, std::move(name));
  return {};
}
}  // namespace

std::string field_name(std::string_view key) {
  const auto ceiling = ceiling_key(key);
  return ceiling ? field_of(*ceiling) : std::string(key);
}

Expected<void> set_tenant_field(Tenant& tenant, std::string_view key, std::string_view value) {
  const auto* const field = find(kTenantFields, key);
  if (field == kTenantFields.end()) {
    if (ceiling_key(key) || find(kTierFields, key) != kTierFields.end())
      return set_override(tenant, key, value);
    return fail(sqlstate::kConfigFileError,
                quoted(key) + " is no field of a tenant" + did_you_mean(key, all_keys()));
  }
  const std::string name(key);
  if (const auto* const state = std::get_if<TenantState Tenant::*>(&field->member)) {
    const Word* word = word_for<std::string_view>(kStates, &Word::text, value);
    if (!word)
      return fail(sqlstate::kConfigFileError,
                  name + " must be " + listed(kStates) + ", not " + quoted(value));
    tenant.*(*state) = static_cast<TenantState>(word->value);
    return {};
  }
  if (const auto* const count = std::get_if<std::uint32_t Tenant::*>(&field->member)) {
    const auto number = parse_within(value, Unit::Count, 0, static_cast<std::int64_t>(field->most));
    if (!number) return fail(sqlstate::kConfigFileError, name + " " + number.error().message);
    tenant.*(*count) = static_cast<std::uint32_t>(*number);
    return {};
  }
  if (value.size() > field->most) {
    return fail(sqlstate::kConfigFileError, name + " must have at most " + std::to_string(field->most) +
                                                " bytes, not " + std::to_string(value.size()));
  }
  if (has_control(value)) return fail(sqlstate::kConfigFileError, name + " must not hold control characters");
  tenant.*(std::get<std::string Tenant::*>(field->member)) = value;
  return {};
}

std::string tier_text(const Tier& tier, const TierField& field) {
  if (const Ceiling* ceiling = ceiling_of(field)) {
    const auto limit = tier.ceilings->limits.find(ceiling->name);
    return limit == tier.ceilings->limits.end() ? std::string(kNoCeiling) : limit->second;
  }
  if (const auto* const time = std::get_if<milliseconds Tier::*>(&field.member)) {
    return format_duration(tier.*(*time));
  }
  if (const auto* const flag = std::get_if<bool Tier::*>(&field.member))
    return tier.*(*flag) ? "true" : "false";
  if (const auto* const mode = std::get_if<PoolMode Tier::*>(&field.member))
    return std::string(name(tier.*(*mode)));
  if (const auto* const inspection = std::get_if<Inspection Tier::*>(&field.member))
    return word_of(kInspections, static_cast<std::uint8_t>(tier.*(*inspection)));
  if (const auto* const at = std::get_if<AtCeiling Tier::*>(&field.member))
    return word_of(kAtCeiling, static_cast<std::uint8_t>(tier.*(*at)));
  if (const auto* const at_rate = std::get_if<AtRate Tier::*>(&field.member))
    return word_of(kAtRate, static_cast<std::uint8_t>(tier.*(*at_rate)));
  return std::to_string(tier.*(std::get<std::uint32_t Tier::*>(field.member)));
}

namespace {
// With ceilings, nobody is served under settings by which texts cannot be read.
Expected<void> check_reading(const Tier& tier) {
  const Ceilings& ceilings = *tier.ceilings;
  if (tier.inspection == Inspection::Off || (ceilings.limits.empty() && ceilings.injected.empty())) return {};
  for (const auto& [name, value] : startup_settings(ceilings)) {
    if (reads_plainly(name, value)) continue;
    const char* const kind = ceilings.injected.contains(name)   ? "inject."
                             : ceilings.defaults.contains(name) ? "default."
                                                                : "ceiling.";
    return fail(sqlstate::kConfigFileError,
                kind + name + " must not be " + quoted(value) + " while inspection is " +
                    word_of(kInspections, static_cast<std::uint8_t>(tier.inspection)) +
                    ", because statements cannot be read under it: set it to " +
                    (name == "client_encoding" ? "UTF8" : "on") + ", or inspection to off");
  }
  return {};
}
}  // namespace

Expected<void> check_tier(const Tier& tier) {
  const auto too_many = [&tier](const char* name, std::uint32_t value) {
    return fail(sqlstate::kConfigFileError,
                std::string(name) + " must not exceed max_server_connections, but " + std::to_string(value) +
                    " > " + std::to_string(tier.max_server_connections));
  };
  if (tier.pool_size > tier.max_server_connections) return too_many("pool_size", tier.pool_size);
  if (tier.min_server_connections > tier.max_server_connections)
    return too_many("min_server_connections", tier.min_server_connections);
  if (auto checked = check_ceilings(*tier.ceilings); !checked) return checked;
  return check_reading(tier);
}

std::vector<Lowered> lower_floors(Tier& tier) {
  std::vector<Lowered> lowered;
  const auto lower = [&](std::string_view field, std::uint32_t Tier::*floor) {
    if (tier.*floor <= tier.max_server_connections) return;
    lowered.push_back({field, tier.*floor});
    tier.*floor = tier.max_server_connections;
  };
  lower("pool_size", &Tier::pool_size);
  lower("min_server_connections", &Tier::min_server_connections);
  return lowered;
}

std::string text(std::span<const Lowered> lowered, const Tier& tier) {
  std::string all;
  for (const Lowered& each : lowered)
    all += (all.empty() ? "" : ", ") + std::string(each.field) + " " + std::to_string(each.wanted) +
           " is lowered to max_server_connections " + std::to_string(tier.max_server_connections);
  return all;
}

Expected<void> check_override(Tier limits, std::string_view key, std::string_view value) {
  if (auto set = set_tier_field(limits, key, value); !set) return set;
  // A lower ceiling takes the floors along.
  if (key == "max_server_connections") lower_floors(limits);
  return check_tier(limits);
}

namespace {

std::string ceilings_reference() {
  std::string out =
      "## Ceilings, which a tenant may have too\n\n"
      "The laxest value of a Postgres parameter that a session of the tier may have. Every server connection "
      "is opened with it, so that it is what sessions begin with and what RESET returns to. Values are "
      "written "
      "as in `postgresql.conf`; `none` is no ceiling, which is the default of all. Changes hold for "
      "who is connected, too, from the next transaction on. What a "
      "client sets itself is held to its ceiling as it connects, and later as `inspection` says.\n\n"
      "| field | allowed | meaning |\n|---|---|---|\n";
  std::string others;
  for (const Ceiling& row : kCeilings) {
    if (row.written == Written::Generic) {
      others += (others.empty() ? "`" : ", `") + std::string(row.name) + "`";
      continue;
    }
    const auto spelled = [&](std::int64_t value) {
      return spell_value(static_cast<double>(value), row.measure);
    };
    out += "| `" + std::string(row.name) + "` | between " + spelled(row.least) + " and " + spelled(row.most) +
           (row.unlimited ? "; " + spelled(*row.unlimited) + " is none" : "") + " | " +
           std::string(row.help) + " |\n";
  }
  out +=
      "| `ceiling.<parameter>` | a number, or words with \\| between them | The same for any other "
      "parameter. A number is a most; of words one must be chosen, and the first is what sessions begin "
      "with. Known are the units and bounds of " +
      others +
      "; of others a value must have a unit where the ceiling has one, and must not be 0 or less, which "
      "may mean no limit. |\n"
      "| `inject.<parameter>` | text | A value that sessions have and may not change, such as "
      "`inject.app.tenant_id: \"{tenant}\"`. |\n"
      "| `default.<parameter>` | text | A value that sessions begin with and may change, up to its ceiling. "
      "|\n\n"
      "In `inject` and `default`, `{tenant}` and `{tier}` are replaced by their names; neither takes a "
      "field away that the tier has. At most 64 of each kind. In environment variables an underscore stands "
      "for the first dot: `PGWEIR_TIERS__PRO__CEILING_JIT=off`. Tenants share server connections only where "
      "all of this is the same. `temp_file_limit` cannot be set by a connection: give it to the role with "
      "`ALTER ROLE`.\n\n";
  return out;
}

}  // namespace

std::string reference() {
  std::string out =
      "# Tiers and tenants\n\n"
      "Made from the tables in `tiers/tier.cc` and `tiers/ceilings.h`; edit those, not this page.\n\n"
      "A row of the section `tiers` changes single values of a shipped tier (`conf/tiers.yaml`) or adds a "
      "tier. "
      "A row of the section `tenants` is named for the database that clients connect to; one `*` in the name "
      "matches any text. An exact name wins over a pattern, a longer pattern over a shorter one.\n\n"
      "## Fields of a tier, which a tenant may have too\n\n"
      "| field | default | allowed | meaning |\n|---|---|---|---|\n";
  const Tier fresh;
  for (const auto& field : kOwnFields) {
    const auto words = words_of(field);
    out += "| `" + std::string(field.key) + "` | " + tier_text(fresh, field) + " | " +
           (words.empty() ? allowed_range(unit_of(field), field.least, field.most) : listed(words)) + " | " +
           std::string(field.help) + " |\n";
  }
  out +=
      "\n`pool_size` and `min_server_connections` must not exceed `max_server_connections`. Limits that a "
      "reload "
      "changes hold for connected clients, too; clients beyond a lower `max_clients`, and transactions "
      "beyond "
      "a lower `max_server_connections`, are closed after `pool.downgrade_grace`, counted from the first of "
      "several such changes, the newest "
      "first; while the tenant store is silent nobody is. With a lower `max_pinned_clients` nobody loses his "
      "server, and `pool_mode` holds for those who come.\n\n";
  out += ceilings_reference();
  out +=
      "## Fields of a tenant\n\n| field | allowed | meaning |\n|---|---|---|\n"
      "| `tier` | name of a tier | Tier whose values hold where the tenant's row has none; "
      "`pool.default_tier` if none. |\n";
  for (const auto& field : kTenantFields) {
    out +=
        "| `" + std::string(field.key) + "` | " + allowed(field) + " | " + std::string(field.help) + " |\n";
  }
  out +=
      "\nA reload that changes one of these holds for clients that log in after it; who is connected stays "
      "where "
      "he is, unless `state` says otherwise.\n"
      "\n## Rows of a tenant store\n\n"
      "With `tenant_store.kind: redis` the same fields are those of the hashes `pgweir:tier:<name>` and "
      "`pgweir:tenant:<id>`; `PUBLISH pgweir:changed <id>` (or `*`, or `tier:<name>`) makes a change known. "
      "A row "
      "of a tier lies over the tier of the same name in the configuration. Fields that are not in the tables "
      "are ignored, and a row with a wrong value is refused as a whole: the last good one goes on. A "
      "pool_size or "
      "min_server_connections above max_server_connections, where the one is the tenant's own and the other "
      "its "
      "tier's, or a row lies over the configuration's tier, is lowered to it, which the log tells once for "
      "each "
      "tenant and tier, and SHOW LIMIT; in the configuration's own rows it is an error.\n";
  return out;
}

}  // namespace pgweir::tiers
