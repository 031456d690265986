// tiers/ceilings.h - how much of Postgres a session of a tier may ask for: one row per parameter.
//
// A ceiling is the laxest value that a session may have. A parameter without a row can have one too: as a
// number, or as words of which it must be one. Beside ceilings a tier has injected values, which no session
// may change, and defaults, which it may. Knows no SQL and no bytes of the protocol: whoever has found a
// parameter's name and the value that a session wants asks judge().
#pragma once

#include <array>
#include <chrono>
#include <cstddef>
#include <cstdint>
#include <limits>
#include <map>
#include <memory>
#include <optional>
#include <string>
#include <string_view>
#include <utility>

#include "pooler/base/error.h"
#include "tiers/guc_value.h"

namespace pgweir::tiers {

// Who can hold a parameter from outside: a startup parameter of the connection, or only ALTER ROLE by a
// superuser.
enum class HeldBy : std::uint8_t { Startup, Superuser };
// A tier's field has the parameter's own name, or ceiling.<name>.
enum class Written : std::uint8_t { Field, Generic };

struct Ceiling {
  std::string_view name;
  Measure measure = Measure::Count;
  std::int64_t least = 0, most = 0;       // what Postgres takes
  std::optional<std::int64_t> unlimited;  // means no limit; of all other values the lower is the stricter
  std::string_view help;
  int since = 0;  // the first major version that knows it; 0: kOldestVersion
  HeldBy held_by = HeldBy::Startup;
  Written written = Written::Field;
};
inline constexpr int kOldestVersion = 13;  // that we connect to

inline constexpr std::int64_t kGucMax = std::numeric_limits<std::int32_t>::max();
inline constexpr std::int64_t kWorkersMax = 1024;

inline constexpr std::array kCeilings{
    Ceiling{"statement_timeout", Measure::Milliseconds, 0, kGucMax, 0,
            "Longest time that one statement may run."},
    Ceiling{"lock_timeout", Measure::Milliseconds, 0, kGucMax, 0,
            "Longest time that a statement may wait for one lock."},
    Ceiling{"idle_in_transaction_session_timeout", Measure::Milliseconds, 0, kGucMax, 0,
            "Longest time that a transaction may be open without a statement; then its connection ends."},
    Ceiling{"idle_session_timeout", Measure::Milliseconds, 0, kGucMax, 0,
            "Longest time that a server connection may be idle outside of a transaction (Postgres 14+).", 14},
    Ceiling{"transaction_timeout", Measure::Milliseconds, 0, kGucMax, 0,
            "Longest time that a transaction may be open (Postgres 17+).", 17},
    Ceiling{"work_mem", Measure::Kilobytes, 64, kGucMax, {}, "Memory of one sort or hash before it spills."},
    Ceiling{"hash_mem_multiplier", Measure::Real, 1, 1000, {}, "How many work_mem a hash may take."},
    Ceiling{"maintenance_work_mem",
            Measure::Kilobytes,
            1024,
            kGucMax,
            {},
            "Memory of CREATE INDEX, VACUUM and their like."},
    Ceiling{"temp_buffers",
            Measure::Blocks,
            100,
            kGucMax / 2,
            {},
            "Memory for temporary tables, which a connection keeps once it has used it."},
    Ceiling{"max_parallel_workers_per_gather",
            Measure::Count,
            0,
            kWorkersMax,
            {},
            "Parallel workers of one node of a plan."},
    Ceiling{"max_parallel_maintenance_workers",
            Measure::Count,
            0,
            kWorkersMax,
            {},
            "Parallel workers of one CREATE INDEX or VACUUM."},
    Ceiling{"effective_io_concurrency", Measure::Count, 0, 1000, {}, "Reads that a scan may ask for ahead."},
    Ceiling{"temp_file_limit", Measure::Kilobytes, -1, kGucMax, -1,
            "Temporary files of one connection. Only a superuser can set it: ALTER ROLE, once per role.", 0,
            HeldBy::Superuser},
    Ceiling{
        "max_parallel_workers", Measure::Count, 0, kWorkersMax, {}, "", 0, HeldBy::Startup, Written::Generic},
    Ceiling{"logical_decoding_work_mem",
            Measure::Kilobytes,
            64,
            kGucMax,
            {},
            "",
            0,
            HeldBy::Startup,
            Written::Generic},
    Ceiling{"gin_pending_list_limit",
            Measure::Kilobytes,
            64,
            kGucMax,
            {},
            "",
            0,
            HeldBy::Startup,
            Written::Generic},
    Ceiling{"vacuum_buffer_usage_limit", Measure::Kilobytes, 0, 16 << 20, 0, "", 16, HeldBy::Startup,
            Written::Generic},
};

// By a parameter_name(). Null: no row.
const Ceiling* find_ceiling(std::string_view name);
// What Postgres makes of a parameter's name: any case means the same, and sort_mem is work_mem.
std::string parameter_name(std::string_view given);

// What a tier says of Postgres's parameters. Names are parameter_name()s; a ceiling that has a row is spelled
// as SHOW prints it.
struct Ceilings {
  using Values = std::map<std::string, std::string, std::less<>>;
  Values limits;
  Values injected;
  Values defaults;
  bool empty() const { return limits.empty() && injected.empty() && defaults.empty(); }
  friend bool operator==(const Ceilings&, const Ceilings&) = default;
};

// Shared by a tier and all its tenants that change nothing of it.
class SharedCeilings {
 public:
  const Ceilings& operator*() const { return *shared_; }
  const Ceilings* operator->() const { return shared_.get(); }
  SharedCeilings& operator=(Ceilings changed) {
    shared_ = std::make_shared<const Ceilings>(std::move(changed));
    return *this;
  }
  friend bool operator==(const SharedCeilings& a, const SharedCeilings& b) {
    return a.shared_ == b.shared_ || *a == *b;
  }

 private:
  static const std::shared_ptr<const Ceilings>& none();
  std::shared_ptr<const Ceilings> shared_ = none();
};

inline constexpr std::string_view kNoCeiling = "none";
inline constexpr std::size_t kParameterNameMax = 63;
inline constexpr std::size_t kParameterValueMax = 1024;
inline constexpr std::size_t kParametersMost = 64;  // of each kind

// Fields of a tier: a row's own name, ceiling.<name>, inject.<name>, default.<name>. Environment variables
// have no dots, so the first one may be an underscore.
enum class CeilingKind : std::uint8_t { Limit, Injected, Default };
struct CeilingKey {
  CeilingKind kind = CeilingKind::Limit;
  std::string name;  // a parameter_name()
};
std::optional<CeilingKey> ceiling_key(std::string_view field);
// The field again, in the one way that is written in reference.md.
std::string field_of(const CeilingKey& key);

// Sets one value from text. "none" takes a ceiling away, and so does what means no limit. Errors are
// sentences without a subject and leave everything as it was.
Expected<void> set_ceiling(Ceilings& ceilings, const CeilingKey& key, std::string_view value);
// What the values say of each other: a default lies within its ceiling, and what is injected has neither.
Expected<void> check_ceilings(const Ceilings& ceilings);

// A number, with or without a unit: what may be told of a value that somebody else has worded.
bool is_quantity(std::string_view value);

struct Verdict {
  enum class Kind : std::uint8_t { Within, Lowered, Refused };
  Kind kind = Kind::Within;
  std::string to;  // of Lowered: the ceiling
  Error why;       // of Refused
};
// `limit` is the ceiling of the parameter `name`, `asked` what a session wants instead. Too small a value is
// Within: that Postgres will refuse it. Refused is what cannot be read or not be compared.
Verdict judge(std::string_view name, std::string_view limit, std::string_view asked);
// By what a tier says, after for_tenant(): an injected value takes nothing but itself.
Verdict judge(const Ceilings& ceilings, std::string_view name, std::string_view asked);

// `ceilings` with the stricter limits of the two. Defaults above them are left out.
Ceilings stricter_of(Ceilings ceilings, const Ceilings& other);

// With {tenant} and {tier} replaced in injected values and defaults.
Ceilings for_tenant(const Ceilings& ceilings, std::string_view tenant, std::string_view tier);
// The startup parameters of a server connection: injected values, defaults, and ceilings that have none.
Ceilings::Values startup_settings(const Ceilings& ceilings);
// How long the value that sessions are held to lets them be, of a parameter that counts milliseconds; 0: as
// long as they like.
std::chrono::milliseconds time_limit(const Ceilings& ceilings, std::string_view name);
// Whether Postgres of this major version takes a parameter of startup_settings().
bool known_to(int version, std::string_view name);

}  // namespace pgweir::tiers
