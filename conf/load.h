// conf/load.h - a YAML file and the environment become a Config, or a list of all that is wrong with them.
#pragma once

#include <cstddef>
#include <functional>
#include <map>
#include <string>
#include <string_view>
#include <vector>

#include <tl/expected.hpp>

#include "conf/config.h"

namespace pgweir::conf {

struct Problem {
  Origin origin;
  std::string key;      // dotted: "client.login_timeout"
  std::string message;  // what is wrong, what is allowed, "did you mean" where a name is near
};
// "conf/pgweir.yaml:3:5: client.loginn_timeout: unknown setting; did you mean client.login_timeout?"
std::string describe(const Problem& problem);

inline constexpr std::size_t kMaxFileBytes = 1 << 20;  // of a configuration
inline constexpr std::size_t kMaxSecretBytes = 4096;
inline constexpr std::size_t kMaxProblems =
    100;  // more than a person reads; the last says that there are more

// Origins of every setting's value, by dotted key: "listen.port", "backends.main.host", "users.alice.secret".
using Origins = std::map<std::string, Origin, std::less<>>;

struct Loaded {
  Config config;
  Origins origins;
};
using Environment = std::map<std::string, std::string, std::less<>>;
using ReadFile = std::function<tl::expected<std::string, std::string>(const std::string& path)>;

// `path` empty: no file, defaults and environment only (then DATABASE_URL or backends from the environment
// are needed). Reads the file, secrets named by *_FILE and *_file, and auth.users_file (only to see that it
// can be read) through `read`, whose errors name the path and say why.
//
// Environment wins over the file; an empty value counts as not set; names of other programs are left alone:
//   PGWEIR_LISTEN__PORT              listen.port; lists are separated by commas
//   PGWEIR_BACKENDS__MAIN__HOST      a field of a row of backends, users, tiers or tenants. A row whose name
//   differs
//                                    only in case and punctuation is meant; without one there will be `main`
//   DATABASE_URL, DATABASE_URL_FILE  the backend `default`, a user with the same secret, a tenant for its
//   database; POOL_MODE and its like (conf/platform.h) refine these
//   PGWEIR_TIERS, PGWEIR_TIERS_FILE  the rows of `tiers` as YAML or JSON, over those of the file
//   REDIS_URL, REDIS_URL_FILE        where tenant_store.kind is redis and nothing else names it
//
// Of tiers and tenants it checks the form, and that the tiers and backends they name exist; their fields are
// checked by the library that knows them.
tl::expected<Loaded, std::vector<Problem>> load(const std::string& path, const Environment& environment,
                                                const ReadFile& read);

// The rows of a text that holds nothing but the section `tiers`. `name` is its Origin::where.
tl::expected<std::vector<Row>, std::vector<Problem>> load_tiers(std::string_view text,
                                                                const std::string& name);

// What is shown of a secret.
inline constexpr std::string_view kMask = "********";
// Of tiers and tenants, whose fields another library knows: by their names, also those that a user gives to
// injected values.
bool is_secret_field(std::string_view key);
// One printed setting: SHOW CONFIG and --print-config. Secrets are masked.
struct Shown {
  std::string key, value, fallback;  // fallback: the default as text
  bool changeable = false;           // SET on the console changes it
  Origin origin;
};
// Secrets are masked; for those who may only look, so are the values that tiers and tenants give to
// sessions, `inject.<parameter>` and `default.<parameter>`.
enum class Reader : std::uint8_t { Admin, Stats };
std::vector<Shown> show(const Loaded& loaded, Reader reader);
// Keys of settings that differ between the two and cannot change without a restart.
std::vector<std::string> needs_restart(const Config& running, const Config& wanted);
// conf/reference.md as text, made from the table.
std::string reference();

}  // namespace pgweir::conf
