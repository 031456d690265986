// conf/loader.h - one run of load(): what has been read so far, and what was wrong with it.
//
// The steps stand in files of their own and come in this order: the file (load_file.cc), the environment over
// it (load_environment.cc), what settings say of each other (load_checks.cc). None stops at a mistake. For
// conf/ alone.
#pragma once

#include <algorithm>
#include <array>
#include <cstddef>
#include <optional>
#include <set>
#include <span>
#include <string>
#include <string_view>
#include <utility>
#include <vector>

#include "conf/load.h"
#include "conf/settings.h"
#include "conf/yaml.h"

namespace pgweir::conf {

inline constexpr std::size_t kRowNameMax = 63;
inline constexpr std::string_view kEnvironment = "environment";

// Sections whose rows the user names.
inline constexpr std::array<std::string_view, 4> kRowSections{"backends", "users", "tiers", "tenants"};

template <class Owner>
const Setting<Owner>* find_setting(std::span<const Setting<Owner>> table, std::string_view key) {
  const auto at =
      std::find_if(table.begin(), table.end(), [&](const auto& setting) { return setting.key == key; });
  return at == table.end() ? nullptr : &*at;
}

template <class Rows>
auto* find_row(Rows& rows, std::string_view name) {
  const auto at = std::find_if(rows.begin(), rows.end(), [&](const auto& row) { return row.name == name; });
  return at == rows.end() ? nullptr : &*at;
}

class Loader {
 public:
  // `read` outlives the loader; null: no files are named.
  explicit Loader(const ReadFile* read);

  // False: there is no tree to look at, so nothing can be said of what is missing in it.
  bool read_text(std::string_view text, const std::string& name);
  bool read_file(const std::string& path);
  void walk();
  void walk_tiers_only();

  void read_environment(const Environment& environment);
  void take(Loaded loaded) { loaded_ = std::move(loaded); }  // instead of reading any
  void prefer_tls();
  void cross_check(const std::string& path);

  tl::expected<Loaded, std::vector<Problem>> finish();
  tl::expected<std::vector<Row>, std::vector<Problem>> finish_tiers();

 private:
  // Common to the steps.
  void complain(Origin where, std::string key, std::string message);
  Origin origin(std::string_view key) const;
  // Names of backends, users, tiers and tenants appear in messages, on the console and in lists with commas.
  bool good_name(const Origin& where, const std::string& section, std::string_view name);
  Backend& add_backend(std::string_view name, Origin where);
  void set_user(std::string_view name, std::string secret, Origin where);
  void set_field(Row& row, const std::string& dotted, const std::string& key, std::string value,
                 Origin where);
  // The content without the newline that editors and `echo` put behind it.
  std::optional<std::string> secret_file(const std::string& path, const Origin& where,
                                         const std::string& key);

  // The file.
  Origin at(const Node& node) const;
  // Calls f(name, node of the name, value) for each entry whose name is a text and is given once.
  template <class F>
  void each_entry(const Node& map, const std::string& prefix, F f);
  void unknown_section(const std::string& section, const Node& key);
  template <class Owner>
  void set(Owner& owner, const Setting<Owner>& setting, const std::string& dotted, const Node& key,
           const Node& value);
  // A secret setting whose file is named instead.
  template <class Owner>
  void set_from_file(Owner& owner, const Setting<Owner>& setting, const std::string& dotted,
                     const Node& value);
  bool map_of_rows(const std::string& section, const Node& value);
  void walk_backends(const Node& section);
  void walk_users(const Node& section);
  // One field of a row that may only have a secret, by itself or in a file.
  void take_secret(std::string_view plain, const std::string& row, const std::string& field, const Node& key,
                   const Node& value, std::optional<std::pair<std::string, Origin>>& secret);
  // Rows whose fields another library knows.
  void walk_rows(const std::string& section, const Node& value, std::vector<Row>& rows);

  // The environment.
  static Origin of_environment();
  // The variable, or the content of the file that <name>_FILE names.
  std::optional<std::string> secret_variable(const Environment& environment, const std::string& name);
  void take_port(const Environment& environment);
  // The name of the tenant that it makes, empty if it makes none; nothing when it is wrong.
  std::optional<std::string> take_database_url(const std::string& text);
  void take_platform_variables(const Environment& environment, const std::string& tenant);
  // A whole table of tiers: PGWEIR_TIERS, or the file that PGWEIR_TIERS_FILE names.
  void take_tiers(const Environment& environment);
  void take_redis_url(const Environment& environment);
  void take_variable(const Environment& environment, const std::string& name, const std::string& value);
  // Names with one '_' too few are a mistake, and so are those of a whole section or of the file; others may
  // be those that a container platform sets for a service that is called pgweir.
  void maybe_misspelt(const std::string& name);
  template <class Rows>
  static std::string row_name(const Rows& rows, std::string_view spelled);
  void take_row_variable(const Environment& environment, const std::string& name, const std::string& section,
                         std::string_view spelled, const std::string& field, const std::string& value);
  // The secret that `name`, which may end in _FILE, stands for; nothing for the _FILE if both are set.
  std::optional<std::string> field_or_file(const Environment& environment, const std::string& name);

  // What settings say of each other.
  using Names = std::set<std::string, std::less<>>;
  static bool verifies(TlsMode mode);
  void need(const std::string& key, const std::string& value, const std::string& mode, std::string_view why);
  void check_backend(const Backend& backend);
  void check_naming();
  void check_store();
  void check_ports();
  void check_trust();
  void check_tenant_secret(const Backend& backend);
  void check_names();
  void check_name(const Names& names, std::string_view what, const std::string& name, const Origin& where,
                  const std::string& key);

  const ReadFile* read_;
  std::string where_;
  Node root_;
  Loaded loaded_;
  std::vector<Problem> problems_;
};

}  // namespace pgweir::conf
