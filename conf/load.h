// conf/load.h - a YAML file and the environment become a Config, or a list of everything that is wrong with them.
#pragma once

#include <functional>
#include <map>
#include <optional>
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

// Origins of every setting's value, by dotted key.
using Origins = std::map<std::string, Origin, std::less<>>;

struct Loaded {
  Config config;
  Origins origins;
};
using Environment = std::map<std::string, std::string, std::less<>>;
using ReadFile = std::function<tl::expected<std::string, std::string>(const std::string& path)>;

// `path` empty: no file, defaults and environment only (then DATABASE_URL or backends from the environment are
// needed). Environment wins over the file. Reads secrets named by *_FILE through `read`.
tl::expected<Loaded, std::vector<Problem>> load(const std::string& path, const Environment& environment,
                                                const ReadFile& read);

// One printed setting: SHOW CONFIG and --print-config. Secrets are masked ("********").
struct Shown {
  std::string key, value, fallback;  // fallback: the default as text
  bool changeable = false;           // takes effect on reload
  Origin origin;
};
std::vector<Shown> show(const Loaded& loaded);
// Keys of settings that differ between the two and cannot change without a restart.
std::vector<std::string> needs_restart(const Config& running, const Config& wanted);
// conf/reference.md as text, made from the table.
std::string reference();

}  // namespace pgweir::conf
