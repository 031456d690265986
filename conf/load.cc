#include "conf/load.h"

#include <algorithm>
#include <array>
#include <optional>
#include <set>
#include <utility>

#include "conf/database_url.h"
#include "conf/embedded_tiers.h"
#include "conf/settings.h"
#include "conf/yaml.h"
#include "pooler/base/near.h"
#include "pooler/base/quoted.h"

namespace pgweir::conf {
namespace {

constexpr std::size_t kRowNameMax = 63;
constexpr std::string_view kPrefix = "PGWEIR_";
constexpr std::string_view kEnvironment = "environment";
// What DATABASE_URL makes.
constexpr std::string_view kUrlBackend = "default";

// Sections whose rows the user names.
constexpr std::array<std::string_view, 4> kRowSections{"backends", "users", "tiers", "tenants"};

std::string upper(std::string_view text) {
  std::string out(text);
  for (char& c : out) c = c >= 'a' && c <= 'z' ? static_cast<char>(c - 'a' + 'A') : c;
  return out;
}
std::string lower(std::string_view text) {
  std::string out(text);
  for (char& c : out) c = c >= 'A' && c <= 'Z' ? static_cast<char>(c - 'A' + 'a') : c;
  return out;
}
// A name as the environment can spell it: "my-app" as MY_APP.
std::string in_environment(std::string_view name) {
  std::string out = upper(name);
  for (char& c : out) c = (c >= 'A' && c <= 'Z') || (c >= '0' && c <= '9') ? c : '_';
  return out;
}

std::string_view section_of(std::string_view key) { return key.substr(0, key.find('.')); }

std::vector<std::string_view> all_sections() {
  std::vector<std::string_view> names;
  for (const auto& setting : settings()) {
    if (names.empty() || names.back() != section_of(setting.key)) names.push_back(section_of(setting.key));
  }
  names.insert(names.end(), kRowSections.begin(), kRowSections.end());
  return names;
}

template <class Owner>
const Setting<Owner>* find_setting(std::span<const Setting<Owner>> table, std::string_view key) {
  const auto at =
      std::find_if(table.begin(), table.end(), [&](const auto& setting) { return setting.key == key; });
  return at == table.end() ? nullptr : &*at;
}

template <class Owner>
std::vector<std::string_view> keys_of(std::span<const Setting<Owner>> table) {
  std::vector<std::string_view> keys;
  for (const auto& setting : table) keys.push_back(setting.key);
  return keys;
}

template <class Rows>
auto* find_row(Rows& rows, std::string_view name) {
  const auto at = std::find_if(rows.begin(), rows.end(), [&](const auto& row) { return row.name == name; });
  return at == rows.end() ? nullptr : &*at;
}

// "Did you mean" for a key that its section does not have: a near name there, or the same name elsewhere.
std::string suggest(std::string_view key) {
  const std::string_view section = section_of(key);
  const std::string_view last = key.substr(std::min(section.size() + 1, key.size()));
  std::vector<std::string_view> siblings;
  for (const auto& setting : settings()) {
    if (section_of(setting.key) == section) siblings.push_back(setting.key.substr(section.size() + 1));
  }
  if (const std::string_view near = nearest(last, siblings); !near.empty()) {
    return "; did you mean " + std::string(section) + "." + std::string(near) + "?";
  }
  for (const auto& setting : settings()) {
    if (setting.key.substr(section_of(setting.key).size() + 1) == last) {
      return "; did you mean " + std::string(setting.key) + "?";
    }
  }
  std::string list;
  for (const std::string_view name : siblings) list += (list.empty() ? "" : ", ") + std::string(name);
  return "; " + std::string(section) + " has " + list;
}

class Loader {
 public:
  explicit Loader(const ReadFile* read) : read_(read) {
    for (const auto& setting : settings()) loaded_.origins.emplace(setting.key, Origin{});
  }

  // False: there is no tree to look at, so nothing can be said of what is missing in it.
  bool read_text(std::string_view text, const std::string& name) {
    auto tree = parse_yaml(text, name);
    if (!tree) {
      problems_.push_back(std::move(tree.error()));
      return false;
    }
    where_ = name;
    root_ = std::move(*tree);
    if (root_.kind == Node::Kind::Null || root_.kind == Node::Kind::Map) return true;
    complain(at(root_), "", "must be a map of sections, such as \"listen:\"");
    return false;
  }
  bool read_file(const std::string& path) {
    auto text = (*read_)(path);
    if (text) return read_text(*text, path);
    complain({path, 0, 0}, "", std::move(text.error()));
    return false;
  }

  void walk() {
    each_entry(root_, "", [&](const std::string& section, const Node& key, const Node& value) {
      if (section == "backends") return walk_backends(value);
      if (section == "users") return walk_users(value);
      if (section == "tiers") return walk_rows(section, value, loaded_.config.tiers);
      if (section == "tenants") return walk_rows(section, value, loaded_.config.tenants);
      const auto sections = all_sections();
      if (std::find(sections.begin(), sections.end(), section) == sections.end()) {
        return unknown_section(section, key);
      }
      if (value.kind == Node::Kind::Null) return;  // a section whose lines are all comments
      if (value.kind != Node::Kind::Map) return complain(at(value), section, "must be a map of settings");
      each_entry(value, section + ".",
                 [&](const std::string& name, const Node& name_node, const Node& setting) {
                   const std::string dotted = section + "." + name;
                   if (const auto* const known = find_setting(settings(), dotted)) {
                     set(loaded_.config, *known, dotted, name_node, setting);
                   } else {
                     complain(at(name_node), dotted, "unknown setting" + suggest(dotted));
                   }
                 });
    });
  }

  void walk_tiers_only() {
    each_entry(root_, "", [&](const std::string& section, const Node& key, const Node& value) {
      if (section != "tiers") return complain(at(key), section, "only the section tiers belongs here");
      walk_rows(section, value, loaded_.config.tiers);
    });
  }

  void read_environment(const Environment& environment) {
    // First, so that single variables can refine what it makes.
    if (const auto text = secret_variable(environment, "DATABASE_URL")) take_database_url(*text);
    for (const auto& [name, value] : environment) {
      if (name.starts_with(kPrefix) && !value.empty()) take_variable(environment, name, value);
    }
  }

  void cross_check(const std::string& path) {
    const Config& config = loaded_.config;
    const bool verify_clients = verifies(config.client_tls_mode);
    if (config.client_tls_mode != TlsMode::Disable) {
      need("client.tls_cert_file", config.client_tls_cert_file, "client.tls_mode", "offers TLS");
      need("client.tls_key_file", config.client_tls_key_file, "client.tls_mode", "offers TLS");
      if (verify_clients)
        need("client.tls_ca_file", config.client_tls_ca_file, "client.tls_mode", "verifies");
    }
    if (config.listen_addresses.empty() && config.unix_socket_dir.empty()) {
      complain(origin("listen.addresses"), "listen.addresses",
               "must not be empty unless listen.unix_socket_dir is set: nobody could connect");
    }
    if (!config.users_file.empty()) {
      if (auto text = (*read_)(config.users_file); !text) {
        complain(origin("auth.users_file"), "auth.users_file", std::move(text.error()));
      }
    }
    const bool tried = std::any_of(problems_.begin(), problems_.end(), [](const Problem& problem) {
      return problem.key.starts_with("backends") || problem.key.starts_with("DATABASE_URL");
    });
    if (config.backends.empty() && !tried) {
      complain({path.empty() ? std::string(kEnvironment) : path, 0, 0}, "backends",
               "at least one is needed: write \"backends: {main: {host: localhost}}\" or set DATABASE_URL");
    }
    for (const Backend& backend : config.backends) check_backend(backend);
    check_names();
  }

  tl::expected<Loaded, std::vector<Problem>> finish() {
    if (problems_.empty()) return std::move(loaded_);
    if (problems_.size() > kMaxProblems) {
      problems_.resize(kMaxProblems);
      problems_.push_back(
          {{where_, 0, 0}, "", "and more; the first " + std::to_string(kMaxProblems) + " are shown"});
    }
    return tl::unexpected(std::move(problems_));
  }
  tl::expected<std::vector<Row>, std::vector<Problem>> finish_tiers() {
    auto done = finish();
    if (!done) return tl::unexpected(std::move(done.error()));
    return std::move(done->config.tiers);
  }

 private:
  Origin at(const Node& node) const { return {where_, node.line, node.column}; }
  Origin origin(std::string_view key) const {
    const auto place = loaded_.origins.find(key);
    return place == loaded_.origins.end() ? Origin{} : place->second;
  }
  void complain(Origin where, std::string key, std::string message) {
    // One more than is shown, so that finish() sees that there were more.
    if (problems_.size() <= kMaxProblems) {
      problems_.push_back({std::move(where), std::move(key), std::move(message)});
    }
  }

  // Calls f(name, node of the name, value) for each entry whose name is a text and is given once.
  template <class F>
  void each_entry(const Node& map, const std::string& prefix, F f) {
    std::map<std::string_view, int> lines;
    for (std::size_t i = 0; i + 1 < map.children.size(); i += 2) {
      const Node& key = map.children[i];
      if (key.kind != Node::Kind::Scalar) {
        complain(at(key), prefix.substr(0, prefix.size() - (prefix.empty() ? 0 : 1)),
                 key.kind == Node::Kind::Null
                     ? "a name must not be empty or null; quote it if it is meant as text"
                     : "a name must be a text, not a list or map");
        continue;
      }
      const auto [first, fresh] = lines.emplace(key.text, key.line);
      if (!fresh) {
        complain(at(key), prefix + key.text,
                 "is given twice; first in line " + std::to_string(first->second));
        continue;
      }
      f(key.text, key, map.children[i + 1]);
    }
  }

  void unknown_section(const std::string& section, const Node& key) {
    if (const auto* const dotted = find_setting(settings(), section)) {
      const std::string_view name = section_of(dotted->key);
      return complain(at(key), section,
                      "sections and settings are nested: write \"" + std::string(name) + ": {" +
                          std::string(dotted->key.substr(name.size() + 1)) + ": ...}\"");
    }
    complain(at(key), section, "unknown section" + did_you_mean(section, all_sections()));
  }

  // True when the value was taken.
  template <class Owner>
  bool set(Owner& owner, const Setting<Owner>& setting, const std::string& dotted, const Node& key,
           const Node& value) {
    tl::expected<void, std::string> done;
    switch (value.kind) {
      case Node::Kind::Null:
        complain(at(key), dotted, "has no value; allowed: " + allowed(setting));
        return false;
      case Node::Kind::Map: complain(at(value), dotted, "must be a value, not a map"); return false;
      case Node::Kind::Scalar: done = assign(owner, setting, value.text); break;
      case Node::Kind::List: {
        std::vector<std::string> items;
        for (const Node& item : value.children) {
          if (item.kind != Node::Kind::Scalar) {
            complain(at(item), dotted, "must be a list of single values");
            return false;
          }
          items.push_back(item.text);
        }
        done = assign_list(owner, setting, std::move(items));
        break;
      }
    }
    if (!done) {
      complain(at(value), dotted, std::move(done.error()));
      return false;
    }
    loaded_.origins[dotted] = at(value);
    return true;
  }

  // Names of backends, users, tiers and tenants appear in messages, on the console and in lists with commas.
  bool good_name(const Origin& where, const std::string& section, std::string_view name) {
    std::string_view why;
    if (name.empty()) {
      why = "a name must not be empty";
    } else if (name.size() > kRowNameMax) {
      why = "a name must have at most 63 bytes";
    } else if (has_control(name)) {
      why = "a name must not hold control characters";
    } else {
      return true;
    }
    complain(where, section + "." + std::string(name), std::string(why));
    return false;
  }

  bool map_of_rows(const std::string& section, const Node& value) {
    if (value.kind == Node::Kind::Map) return true;
    if (value.kind != Node::Kind::Null)
      complain(at(value), section, "must be a map of rows, each with its name");
    return false;
  }

  void walk_backends(const Node& section) {
    if (!map_of_rows("backends", section)) return;
    each_entry(section, "backends.", [&](const std::string& name, const Node& key, const Node& value) {
      const std::string dotted = "backends." + name;
      if (!good_name(at(key), "backends", name)) return;
      Backend& backend = add_backend(name, at(key));
      if (value.kind == Node::Kind::Null) return;
      if (value.kind != Node::Kind::Map) {
        return complain(at(value), dotted, "must be a map such as {host: localhost, port: 5432}");
      }
      each_entry(value, dotted + ".", [&](const std::string& field, const Node& field_key, const Node& text) {
        if (const auto* const setting = find_setting(backend_settings(), field)) {
          set(backend, *setting, dotted + "." + field, field_key, text);
        } else {
          complain(at(field_key), dotted + "." + field,
                   "unknown field of a backend" + did_you_mean(field, keys_of(backend_settings())));
        }
      });
    });
  }

  void walk_users(const Node& section) {
    if (!map_of_rows("users", section)) return;
    each_entry(section, "users.", [&](const std::string& name, const Node& key, const Node& value) {
      const std::string dotted = "users." + name;
      if (!good_name(at(key), "users", name)) return;
      if (value.kind == Node::Kind::Scalar) return set_user(name, value.text, at(value));
      if (value.kind != Node::Kind::Map) {
        return complain(value.kind == Node::Kind::Null ? at(key) : at(value), dotted,
                        "must be a secret, {secret: ...} or {secret_file: ...}");
      }
      const std::size_t before = problems_.size();
      std::optional<std::pair<std::string, Origin>> secret;
      each_entry(value, dotted + ".", [&](const std::string& field, const Node& field_key, const Node& text) {
        take_secret("secret", dotted, field, field_key, text, secret);
      });
      if (secret) return set_user(name, secret->first, secret->second);
      if (problems_.size() == before) complain(at(key), dotted, "has neither secret nor secret_file");
    });
  }

  // One field of a row that may only have a secret, by itself or in a file.
  void take_secret(std::string_view plain, const std::string& row, const std::string& field, const Node& key,
                   const Node& value, std::optional<std::pair<std::string, Origin>>& secret) {
    const std::array<std::string, 2> names{std::string(plain), std::string(plain) + "_file"};
    const std::string dotted = row + "." + field;
    if (field != names[0] && field != names[1]) {
      return complain(at(key), dotted, "unknown field" + did_you_mean(field, names));
    }
    if (value.kind == Node::Kind::Null)
      return complain(at(key), dotted, "has no value; quote it if it is text");
    if (value.kind != Node::Kind::Scalar) return complain(at(value), dotted, "must be a single value");
    if (secret) return complain(at(key), dotted, "give " + names[0] + " or " + names[1] + ", not both");
    if (field == names[0]) {
      secret.emplace(value.text, at(value));
    } else if (auto text = secret_file(value.text, at(value), dotted)) {
      secret.emplace(std::move(*text), at(value));
    }
  }

  // Rows whose fields another library knows.
  void walk_rows(const std::string& section, const Node& value, std::vector<Row>& rows) {
    if (!map_of_rows(section, value)) return;
    const bool tenants = section == "tenants";
    each_entry(value, section + ".", [&](const std::string& name, const Node& key, const Node& fields) {
      const std::string dotted = section + "." + name;
      if (!good_name(at(key), section, name)) return;
      Row row{name, at(key), {}};
      if (fields.kind != Node::Kind::Map && fields.kind != Node::Kind::Null) {
        return complain(at(fields), dotted, "must be a map of fields");
      }
      std::optional<std::pair<std::string, Origin>> password;
      each_entry(fields, dotted + ".",
                 [&](const std::string& field, const Node& field_key, const Node& text) {
                   if (tenants && (field == "password" || field == "password_file")) {
                     return take_secret("password", dotted, field, field_key, text, password);
                   }
                   if (text.kind == Node::Kind::Null)
                     return complain(at(field_key), dotted + "." + field, "has no value");
                   if (text.kind != Node::Kind::Scalar) {
                     return complain(at(text), dotted + "." + field, "must be a single value");
                   }
                   loaded_.origins[dotted + "." + field] = at(text);
                   row.fields.push_back({field, text.text, at(text)});
                 });
      if (password) set_field(row, dotted, "password", password->first, password->second);
      rows.push_back(std::move(row));
    });
  }

  Backend& add_backend(std::string_view name, Origin where) {
    for (const auto& setting : backend_settings()) {
      loaded_.origins.emplace("backends." + std::string(name) + "." + std::string(setting.key), Origin{});
    }
    Backend& backend = loaded_.config.backends.emplace_back();
    backend.name = name;
    backend.origin = std::move(where);
    return backend;
  }

  void set_user(std::string_view name, std::string secret, Origin where) {
    const std::string dotted = "users." + std::string(name);
    if (secret.empty()) return complain(std::move(where), dotted, "the secret must not be empty");
    if (secret.size() > kMaxSecretBytes) {
      return complain(std::move(where), dotted,
                      "the secret must have at most " + std::to_string(kMaxSecretBytes) + " bytes");
    }
    if (has_control(secret))
      return complain(std::move(where), dotted, "the secret must not hold control characters");
    loaded_.origins[dotted + ".secret"] = std::move(where);
    if (User* const known = find_row(loaded_.config.users, name)) {
      known->secret = std::move(secret);
    } else {
      loaded_.config.users.push_back({std::string(name), std::move(secret)});
    }
  }

  void set_field(Row& row, const std::string& dotted, const std::string& key, std::string value,
                 Origin where) {
    loaded_.origins[dotted + "." + key] = where;
    const auto at =
        std::find_if(row.fields.begin(), row.fields.end(), [&](const Field& f) { return f.key == key; });
    if (at == row.fields.end()) {
      row.fields.push_back({key, std::move(value), std::move(where)});
    } else {
      *at = {key, std::move(value), std::move(where)};
    }
  }

  // The content without the newline that editors and `echo` put behind it.
  std::optional<std::string> secret_file(const std::string& path, const Origin& where,
                                         const std::string& key) {
    std::string why;
    if (path.empty() || has_control(path)) {
      why = "must be the path of a file";
    } else if (auto text = (*read_)(path); !text) {
      why = std::move(text.error());
    } else if (text->size() > kMaxSecretBytes) {
      why = quoted(path) + " must have at most " + std::to_string(kMaxSecretBytes) + " bytes, not " +
            std::to_string(text->size());
    } else {
      if (text->ends_with('\n')) text->pop_back();
      if (text->ends_with('\r')) text->pop_back();
      if (!text->empty()) return std::move(*text);
      why = quoted(path) + " is empty";
    }
    complain(where, key, std::move(why));
    return {};
  }

  // --- environment

  static Origin of_environment() { return {std::string(kEnvironment), 0, 0}; }

  // The variable, or the content of the file that <name>_FILE names.
  std::optional<std::string> secret_variable(const Environment& environment, const std::string& name) {
    const auto plain = environment.find(name), file = environment.find(name + "_FILE");
    const bool has_plain = plain != environment.end() && !plain->second.empty();
    const bool has_file = file != environment.end() && !file->second.empty();
    if (has_plain && has_file) {
      complain(of_environment(), name, "set " + name + " or " + name + "_FILE, not both");
      return {};
    }
    if (has_plain) return plain->second;
    if (has_file) return secret_file(file->second, of_environment(), name + "_FILE");
    return {};
  }

  void take_database_url(const std::string& text) {
    auto url = parse_database_url(text);
    if (!url) return complain(of_environment(), "DATABASE_URL", std::move(url.error()));
    for (const std::string* const name : {&url->user, &url->database}) {
      if (name->size() <= kRowNameMax) continue;
      return complain(of_environment(), "DATABASE_URL", "its user and database must have at most 63 bytes");
    }
    Config& config = loaded_.config;
    Backend* backend = find_row(config.backends, kUrlBackend);
    if (!backend) backend = &add_backend(kUrlBackend, of_environment());
    for (const auto& [key, value] : url->backend) {
      // parse_database_url has tried it.
      (void)assign(*backend, *find_setting(backend_settings(), key), value);
      loaded_.origins["backends." + std::string(kUrlBackend) + "." + std::string(key)] = of_environment();
    }
    if (!url->user.empty() && !url->password.empty()) set_user(url->user, url->password, of_environment());
    if (url->database.empty()) return;
    const std::string dotted = "tenants." + url->database;
    Row* row = find_row(config.tenants, url->database);
    if (!row) row = &config.tenants.emplace_back(Row{url->database, of_environment(), {}});
    const auto put = [&](const std::string& key, const std::string& value) {
      if (!value.empty()) set_field(*row, dotted, key, value, of_environment());
    };
    put("backend", std::string(kUrlBackend));
    put("database", url->database);
    put("user", url->user);
    put("password", url->password);
  }

  void take_variable(const Environment& environment, const std::string& name, const std::string& value) {
    for (const auto& setting : settings()) {
      const std::string known = environment_name(setting.key);
      const bool secret = setting.secrecy == Secrecy::Secret;
      if (name != known && !(secret && name == known + "_FILE")) continue;
      std::string text = value;
      if (secret) {
        auto read = secret_variable(environment, known);
        if (!read) return;
        text = std::move(*read);
      }
      if (auto done = assign(loaded_.config, setting, text); !done) {
        return complain(of_environment(), name, std::move(done.error()));
      }
      loaded_.origins[std::string(setting.key)] = of_environment();
      return;
    }
    const std::string_view rest = std::string_view(name).substr(kPrefix.size());
    const std::size_t first = rest.find("__"), last = rest.rfind("__");
    if (first == std::string_view::npos) return maybe_misspelt(name);
    const std::string section = lower(rest.substr(0, first));
    if (std::find(kRowSections.begin(), kRowSections.end(), section) == kRowSections.end()) {
      std::vector<std::string> names;
      for (const auto& setting : settings()) names.push_back(environment_name(setting.key));
      return complain(of_environment(), name, "unknown setting" + did_you_mean(name, names));
    }
    if (last <= first + 2) {
      return complain(
          of_environment(), name,
          "must name a row and a field: " + std::string(kPrefix) + upper(section) + "__<NAME>__<FIELD>");
    }
    const std::string_view row = rest.substr(first + 2, last - first - 2);
    take_row_variable(environment, name, section, row, lower(rest.substr(last + 2)), value);
  }

  // Names with one '_' too few are a mistake; others may be those that a container platform sets for a
  // service that is called pgweir.
  void maybe_misspelt(const std::string& name) {
    for (const auto& setting : settings()) {
      const std::string right = environment_name(setting.key);
      std::string flat = right;
      flat.erase(flat.find("__"), 1);
      if (name == flat) {
        return complain(of_environment(), name, "is not read; did you mean " + right + "?");
      }
    }
  }

  template <class Rows>
  static std::string row_name(const Rows& rows, std::string_view spelled) {
    const std::string wanted = in_environment(spelled);
    for (const auto& row : rows) {
      if (in_environment(row.name) == wanted) return row.name;
    }
    return lower(spelled);
  }

  void take_row_variable(const Environment& environment, const std::string& name, const std::string& section,
                         std::string_view spelled, const std::string& field, const std::string& value) {
    Config& config = loaded_.config;
    if (section == "backends") {
      const auto* const setting = find_setting(backend_settings(), field);
      if (!setting) {
        std::vector<std::string> names;
        for (const auto& known : backend_settings()) names.push_back(upper(known.key));
        return complain(of_environment(), name,
                        "unknown field of a backend" + did_you_mean(upper(field), names));
      }
      const std::string row = row_name(config.backends, spelled);
      if (!good_name(of_environment(), section, row)) return;
      Backend* backend = find_row(config.backends, row);
      if (!backend) backend = &add_backend(row, of_environment());
      if (auto done = assign(*backend, *setting, value); !done) {
        return complain(of_environment(), name, std::move(done.error()));
      }
      loaded_.origins["backends." + row + "." + field] = of_environment();
      return;
    }
    if (section == "users") {
      if (field != "secret" && field != "secret_file") {
        return complain(of_environment(), name, "unknown field of a user; a user has SECRET or SECRET_FILE");
      }
      const std::string row = row_name(config.users, spelled);
      if (!good_name(of_environment(), section, row)) return;
      if (auto secret = field_or_file(environment, name)) set_user(row, std::move(*secret), of_environment());
      return;
    }
    std::vector<Row>& rows = section == "tiers" ? config.tiers : config.tenants;
    const std::string row = row_name(rows, spelled);
    if (!good_name(of_environment(), section, row)) return;
    std::string key = field, text = value;
    if (section == "tenants" && (field == "password" || field == "password_file")) {
      auto secret = field_or_file(environment, name);
      if (!secret) return;
      key = "password";
      text = std::move(*secret);
    }
    Row* place = find_row(rows, row);
    if (!place) place = &rows.emplace_back(Row{row, of_environment(), {}});
    set_field(*place, section + "." + row, key, std::move(text), of_environment());
  }

  // The secret that `name`, which may end in _FILE, stands for; nothing for the _FILE if both are set.
  std::optional<std::string> field_or_file(const Environment& environment, const std::string& name) {
    if (!name.ends_with("_FILE")) return secret_variable(environment, name);
    const std::string plain = name.substr(0, name.size() - 5);
    const auto both = environment.find(plain);
    if (both != environment.end() && !both->second.empty()) return {};  // told at the other
    return secret_variable(environment, plain);
  }

  // --- what settings say of each other

  static bool verifies(TlsMode mode) { return mode == TlsMode::VerifyCa || mode == TlsMode::VerifyFull; }

  void need(const std::string& key, const std::string& value, const std::string& mode, std::string_view why) {
    if (value.empty()) complain(origin(mode), key, "must be set, because " + mode + " " + std::string(why));
  }

  void check_backend(const Backend& backend) {
    const std::string dotted = "backends." + backend.name;
    const auto place = [&](std::string_view field) {
      const Origin written = origin(dotted + "." + std::string(field));
      return written == Origin{} ? backend.origin : written;
    };
    const bool is_unix = backend.host.starts_with('/');
    const bool wants_tls = backend.tls_mode == TlsMode::Require || verifies(backend.tls_mode);
    if (is_unix && wants_tls) {
      complain(place("tls_mode"), dotted + ".tls_mode",
               "must be disable, allow or prefer, because host is a unix socket, which has no TLS");
    } else if (verifies(backend.tls_mode) && backend.tls_ca_file.empty()) {
      complain(place("tls_mode"), dotted + ".tls_ca_file", "must be set, because tls_mode verifies");
    }
    if (backend.tls_cert_file.empty() != backend.tls_key_file.empty()) {
      const bool has_cert = !backend.tls_cert_file.empty();
      complain(place(has_cert ? "tls_cert_file" : "tls_key_file"),
               dotted + (has_cert ? ".tls_key_file" : ".tls_cert_file"),
               std::string("must be set together with ") + (has_cert ? "tls_cert_file" : "tls_key_file"));
    }
  }

  using Names = std::set<std::string, std::less<>>;
  void check_names() {
    const Config& config = loaded_.config;
    Names tiers, backends;
    if (const auto shipped = load_tiers(embedded_tiers(), "conf/tiers.yaml")) {
      for (const Row& row : *shipped) tiers.insert(row.name);
    }
    for (const Row& row : config.tiers) tiers.insert(row.name);
    for (const Backend& backend : config.backends) backends.insert(backend.name);
    check_name(tiers, "tier", config.default_tier, origin("pool.default_tier"), "pool.default_tier");
    for (const Row& row : config.tenants) {
      for (const Field& field : row.fields) {
        const std::string key = "tenants." + row.name + "." + field.key;
        if (field.key == "tier") check_name(tiers, "tier", field.value, field.origin, key);
        // Without any backend that is what has been said already.
        if (field.key == "backend" && !field.value.empty() && !backends.empty()) {
          check_name(backends, "backend", field.value, field.origin, key);
        }
      }
    }
  }
  void check_name(const Names& names, std::string_view what, const std::string& name, const Origin& where,
                  const std::string& key) {
    if (names.contains(name) || problems_.size() > kMaxProblems) return;
    complain(where, key, "no " + std::string(what) + " is named " + quoted(name) + did_you_mean(name, names));
  }

  const ReadFile* read_;
  std::string where_;
  Node root_;
  Loaded loaded_;
  std::vector<Problem> problems_;
};

}  // namespace

std::string describe(const Problem& problem) {
  std::string out = problem.origin.where;
  if (problem.origin.line > 0) {
    out += ":" + std::to_string(problem.origin.line) + ":" + std::to_string(problem.origin.column);
  }
  out += ": ";
  if (!problem.key.empty()) {
    for (const char c : problem.key.substr(0, 200)) out += has_control({&c, 1}) ? '?' : c;
    out += ": ";
  }
  return out + problem.message;
}

tl::expected<Loaded, std::vector<Problem>> load(const std::string& path, const Environment& environment,
                                                const ReadFile& read) {
  Loader loader(&read);
  const bool whole = path.empty() || loader.read_file(path);
  if (whole) loader.walk();
  loader.read_environment(environment);
  if (whole) loader.cross_check(path);
  return loader.finish();
}

tl::expected<std::vector<Row>, std::vector<Problem>> load_tiers(std::string_view text,
                                                                const std::string& name) {
  Loader loader(nullptr);
  if (loader.read_text(text, name)) loader.walk_tiers_only();
  return loader.finish_tiers();
}

}  // namespace pgweir::conf
