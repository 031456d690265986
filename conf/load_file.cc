// conf/load_file.cc - the tree of a file, walked along the tables: every key is known, or told.
#include <algorithm>
#include <map>
#include <utility>

#include "conf/loader.h"
#include "pooler/base/near.h"

namespace pgweir::conf {
namespace {

constexpr std::string_view kFile = "_file";

// The secret setting whose file this key names: "tenant_store.redis_url_file", of a backend
// "side_password_file".
template <class Owner>
const Setting<Owner>* secret_of_file(std::span<const Setting<Owner>> all, std::string_view key) {
  if (!key.ends_with(kFile)) return nullptr;
  const auto* const known = find_setting(all, key.substr(0, key.size() - kFile.size()));
  return known && known->secrecy == Secrecy::Secret ? known : nullptr;
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
std::vector<std::string_view> keys_of(std::span<const Setting<Owner>> table) {
  std::vector<std::string_view> keys;
  for (const auto& setting : table) keys.push_back(setting.key);
  return keys;
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

}  // namespace

Origin Loader::at(const Node& node) const { return {where_, node.line, node.column}; }

template <class F>
void Loader::each_entry(const Node& map, const std::string& prefix, F f) {
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
      complain(at(key), prefix + key.text, "is given twice; first in line " + std::to_string(first->second));
      continue;
    }
    f(key.text, key, map.children[i + 1]);
  }
}

template <class Owner>
void Loader::set(Owner& owner, const Setting<Owner>& setting, const std::string& dotted, const Node& key,
                 const Node& value) {
  // No key comes twice, so its file was named before it.
  if (setting.secrecy == Secrecy::Secret && origin(dotted) != Origin{})
    return complain(at(key), dotted, "give " + dotted + " or " + dotted + "_file, not both");
  tl::expected<void, std::string> done;
  switch (value.kind) {
    case Node::Kind::Null: return complain(at(key), dotted, "has no value; allowed: " + allowed(setting));
    case Node::Kind::Map: return complain(at(value), dotted, "must be a value, not a map");
    case Node::Kind::Scalar: done = assign(owner, setting, value.text); break;
    case Node::Kind::List: {
      std::vector<std::string> items;
      for (const Node& item : value.children) {
        if (item.kind != Node::Kind::Scalar) {
          return complain(at(item), dotted, "must be a list of single values");
        }
        items.push_back(item.text);
      }
      done = assign_list(owner, setting, std::move(items));
      break;
    }
  }
  if (!done) return complain(at(value), dotted, std::move(done.error()));
  loaded_.origins[dotted] = at(value);
}

// `dotted` is the key that ends in "_file".
template <class Owner>
void Loader::set_from_file(Owner& owner, const Setting<Owner>& setting, const std::string& dotted,
                           const Node& value) {
  const std::string key = dotted.substr(0, dotted.size() - kFile.size());
  if (value.kind != Node::Kind::Scalar) return complain(at(value), dotted, "must be the path of a file");
  if (origin(key) != Origin{})
    return complain(at(value), dotted, "give " + key + " or " + dotted + ", not both");
  const auto text = secret_file(value.text, at(value), dotted);
  if (!text) return;
  if (auto done = assign(owner, setting, *text); !done)
    return complain(at(value), dotted, std::move(done.error()));
  loaded_.origins[key] = at(value);
}

bool Loader::read_text(std::string_view text, const std::string& name) {
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

bool Loader::read_file(const std::string& path) {
  auto text = (*read_)(path);
  if (text) return read_text(*text, path);
  complain({path, 0, 0}, "", std::move(text.error()));
  return false;
}

void Loader::walk() {
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
                 } else if (const auto* const secret = secret_of_file(settings(), dotted)) {
                   set_from_file(loaded_.config, *secret, dotted, setting);
                 } else {
                   complain(at(name_node), dotted, "unknown setting" + suggest(dotted));
                 }
               });
  });
}

void Loader::walk_tiers_only() {
  each_entry(root_, "", [&](const std::string& section, const Node& key, const Node& value) {
    if (section != "tiers") return complain(at(key), section, "only the section tiers belongs here");
    walk_rows(section, value, loaded_.config.tiers);
  });
}

void Loader::unknown_section(const std::string& section, const Node& key) {
  if (const auto* const dotted = find_setting(settings(), section)) {
    const std::string_view name = section_of(dotted->key);
    return complain(at(key), section,
                    "sections and settings are nested: write \"" + std::string(name) + ": {" +
                        std::string(dotted->key.substr(name.size() + 1)) + ": ...}\"");
  }
  complain(at(key), section, "unknown section" + did_you_mean(section, all_sections()));
}

bool Loader::map_of_rows(const std::string& section, const Node& value) {
  if (value.kind == Node::Kind::Map) return true;
  if (value.kind != Node::Kind::Null)
    complain(at(value), section, "must be a map of rows, each with its name");
  return false;
}

void Loader::walk_backends(const Node& section) {
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
      } else if (const auto* const secret = secret_of_file(backend_settings(), field)) {
        set_from_file(backend, *secret, dotted + "." + field, text);
      } else {
        complain(at(field_key), dotted + "." + field,
                 "unknown field of a backend" + did_you_mean(field, keys_of(backend_settings())));
      }
    });
  });
}

void Loader::walk_users(const Node& section) {
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

void Loader::take_secret(std::string_view plain, const std::string& row, const std::string& field,
                         const Node& key, const Node& value,
                         std::optional<std::pair<std::string, Origin>>& secret) {
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

void Loader::walk_rows(const std::string& section, const Node& value, std::vector<Row>& rows) {
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
    each_entry(fields, dotted + ".", [&](const std::string& field, const Node& field_key, const Node& text) {
      if (tenants && (field == "password" || field == "password_file")) {
        return take_secret("password", dotted, field, field_key, text, password);
      }
      if (text.kind == Node::Kind::Null) return complain(at(field_key), dotted + "." + field, "has no value");
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

}  // namespace pgweir::conf
