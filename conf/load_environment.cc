// conf/load_environment.cc - variables over what the file said: PGWEIR_<SECTION>__<KEY>, DATABASE_URL, and
// names that platforms use.
#include <algorithm>
#include <utility>

#include "conf/database_url.h"
#include "conf/loader.h"
#include "conf/platform.h"
#include "pooler/base/near.h"

namespace pgweir::conf {
namespace {

constexpr std::string_view kPrefix = "PGWEIR_";
// What DATABASE_URL makes.
constexpr std::string_view kUrlBackend = "default";
constexpr std::string_view kTiers = "PGWEIR_TIERS", kTiersFile = "PGWEIR_TIERS_FILE";

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

}  // namespace

Origin Loader::of_environment() { return {std::string(kEnvironment), 0, 0}; }

template <class Rows>
std::string Loader::row_name(const Rows& rows, std::string_view spelled) {
  const std::string wanted = in_environment(spelled);
  for (const auto& row : rows) {
    if (in_environment(row.name) == wanted) return row.name;
  }
  return lower(spelled);
}

void Loader::read_environment(const Environment& environment) {
  // First, so that single variables can refine what it makes.
  if (const auto text = secret_variable(environment, "DATABASE_URL")) {
    if (const auto tenant = take_database_url(*text)) take_platform_variables(environment, *tenant);
  }
  take_port(environment);
  take_tiers(environment);
  for (const auto& [name, value] : environment) {
    if (name == kTiers || name == kTiersFile) continue;
    if (name.starts_with(kPrefix) && !value.empty()) take_variable(environment, name, value);
  }
  take_redis_url(environment);  // last, when it is known whether there is use for one
}

std::optional<std::string> Loader::secret_variable(const Environment& environment, const std::string& name) {
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

// Where platforms send their health checks.
void Loader::take_port(const Environment& environment) {
  const auto port = environment.find("PORT");
  if (port == environment.end() || port->second.empty()) return;
  const auto& setting = *find_setting(settings(), "http.port");
  if (auto done = assign(loaded_.config, setting, port->second); !done)
    return complain(of_environment(), "PORT", std::move(done.error()));
  loaded_.origins[std::string(setting.key)] = of_environment();
}

// Where no file can be put beside the program, tiers are still a table and not a hundred variables.
void Loader::take_tiers(const Environment& environment) {
  const auto value = [&environment](std::string_view name) {
    const auto place = environment.find(name);
    return place == environment.end() ? std::string() : place->second;
  };
  std::string text = value(kTiers), where = std::string(kEnvironment) + ": " + std::string(kTiers);
  if (const std::string path = value(kTiersFile); !path.empty()) {
    if (!text.empty())
      return complain(of_environment(), std::string(kTiers),
                      "set " + std::string(kTiers) + " or " + std::string(kTiersFile) + ", not both");
    auto content = (*read_)(path);
    if (!content) return complain(of_environment(), std::string(kTiersFile), std::move(content.error()));
    text = std::move(*content);
    where = path;
  }
  if (text.empty()) return;
  auto tree = parse_yaml(text, where);
  if (!tree) return problems_.push_back(std::move(tree.error()));
  // As it stands in a file, the name of its section is in front.
  const bool named = tree->kind == Node::Kind::Map && tree->children.size() == 2 &&
                     tree->children[0].kind == Node::Kind::Scalar && tree->children[0].text == "tiers";
  where_.swap(where);
  std::vector<Row> rows;
  walk_rows("tiers", named ? tree->children[1] : *tree, rows);
  where_.swap(where);
  for (Row& row : rows) {
    Row* const known = find_row(loaded_.config.tiers, row.name);
    if (!known) {
      loaded_.config.tiers.push_back(std::move(row));
      continue;
    }
    for (Field& field : row.fields)
      set_field(*known, "tiers." + row.name, field.key, std::move(field.value), std::move(field.origin));
  }
}

std::optional<std::string> Loader::take_database_url(const std::string& text) {
  auto url = parse_database_url(text);
  if (!url) {
    complain(of_environment(), "DATABASE_URL", std::move(url.error()));
    return {};
  }
  for (const std::string* const name : {&url->user, &url->database}) {
    if (name->size() <= kRowNameMax) continue;
    complain(of_environment(), "DATABASE_URL", "its user and database must have at most 63 bytes");
    return {};
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
  if (url->database.empty()) return std::string();
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
  return url->database;
}

void Loader::take_platform_variables(const Environment& environment, const std::string& tenant) {
  for (const PlatformVariable& variable : kPlatformVariables) {
    const auto given = environment.find(variable.name);
    if (given == environment.end() || given->second.empty()) continue;
    const std::string& value = given->second;
    if (!variable.setting.empty()) {
      if (auto done = assign(loaded_.config, *find_setting(settings(), variable.setting), value); !done) {
        complain(of_environment(), std::string(variable.name), std::move(done.error()));
        continue;  // its fields would be wrong in the same way
      }
      loaded_.origins[std::string(variable.setting)] = of_environment();
    }
    Row* const row = find_row(loaded_.config.tenants, tenant);
    if (!row) continue;  // a URL that names no database makes no tenant
    for (const std::string_view field : variable.fields) {
      if (field.empty()) continue;
      set_field(*row, "tenants." + tenant, std::string(field), value, of_environment());
      // Who hears that it is wrong knows this name, and not the field's.
      const auto set = std::find_if(row->fields.begin(), row->fields.end(),
                                    [field](const Field& each) { return each.key == field; });
      set->origin.where += ": " + std::string(variable.name);
    }
  }
}

void Loader::take_redis_url(const Environment& environment) {
  Config& config = loaded_.config;
  if (config.store_kind != StoreKind::Redis || !config.redis_url.empty()) return;
  const auto text = secret_variable(environment, "REDIS_URL");
  if (!text) return;
  const auto& setting = *find_setting(settings(), "tenant_store.redis_url");
  if (auto done = assign(config, setting, *text); !done)
    return complain(of_environment(), "REDIS_URL", std::move(done.error()));
  loaded_.origins[std::string(setting.key)] = of_environment();
}

void Loader::take_variable(const Environment& environment, const std::string& name,
                           const std::string& value) {
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

void Loader::maybe_misspelt(const std::string& name) {
  std::string word = lower(std::string_view(name).substr(kPrefix.size()));
  if (word.ends_with("_file")) word.resize(word.size() - 5);
  if (word == "config") return complain(of_environment(), name, "is not read; name the file by --config");
  if (std::find(kRowSections.begin(), kRowSections.end(), word) != kRowSections.end())
    return complain(
        of_environment(), name,
        "is not read; name a row and a field: " + std::string(kPrefix) + upper(word) + "__<NAME>__<FIELD>");
  for (const auto& setting : settings()) {
    const std::string right = environment_name(setting.key);
    if (setting.key.starts_with(word + "."))
      return complain(of_environment(), name,
                      "is not read; name a setting: " + std::string(kPrefix) + upper(word) + "__<SETTING>");
    std::string flat = right;
    flat.erase(flat.find("__"), 1);
    if (name == flat) {
      return complain(of_environment(), name, "is not read; did you mean " + right + "?");
    }
  }
}

void Loader::take_row_variable(const Environment& environment, const std::string& name,
                               const std::string& section, std::string_view spelled, const std::string& field,
                               const std::string& value) {
  Config& config = loaded_.config;
  if (section == "backends") {
    constexpr std::string_view kFile = "_file";
    const auto* setting = find_setting(backend_settings(), field);
    const bool in_file = !setting && field.ends_with(kFile);
    const std::string key = in_file ? field.substr(0, field.size() - kFile.size()) : field;
    if (in_file) setting = find_setting(backend_settings(), key);
    if (!setting || (in_file && setting->secrecy != Secrecy::Secret)) {
      std::vector<std::string> names;
      for (const auto& known : backend_settings()) names.push_back(upper(known.key));
      return complain(of_environment(), name,
                      "unknown field of a backend" + did_you_mean(upper(field), names));
    }
    const std::string row = row_name(config.backends, spelled);
    if (!good_name(of_environment(), section, row)) return;
    Backend* backend = find_row(config.backends, row);
    if (!backend) backend = &add_backend(row, of_environment());
    std::optional<std::string> text = value;
    if (setting->secrecy == Secrecy::Secret) text = field_or_file(environment, name);
    if (!text) return;
    if (auto done = assign(*backend, *setting, *text); !done) {
      return complain(of_environment(), name, std::move(done.error()));
    }
    loaded_.origins["backends." + row + "." + key] = of_environment();
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

std::optional<std::string> Loader::field_or_file(const Environment& environment, const std::string& name) {
  if (!name.ends_with("_FILE")) return secret_variable(environment, name);
  const std::string plain = name.substr(0, name.size() - 5);
  const auto both = environment.find(plain);
  if (both != environment.end() && !both->second.empty()) return {};  // told at the other
  return secret_variable(environment, plain);
}

}  // namespace pgweir::conf
