#include "conf/load.h"

#include <algorithm>
#include <utility>

#include "conf/loader.h"
#include "pooler/base/quoted.h"

namespace pgweir::conf {

Loader::Loader(const ReadFile* read) : read_(read) {
  for (const auto& setting : settings()) loaded_.origins.emplace(setting.key, Origin{});
}

void Loader::complain(Origin where, std::string key, std::string message) {
  // One more than is shown, so that finish() sees that there were more.
  if (problems_.size() <= kMaxProblems) {
    problems_.push_back({std::move(where), std::move(key), std::move(message)});
  }
}

Origin Loader::origin(std::string_view key) const {
  const auto place = loaded_.origins.find(key);
  return place == loaded_.origins.end() ? Origin{} : place->second;
}

bool Loader::good_name(const Origin& where, const std::string& section, std::string_view name) {
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

Backend& Loader::add_backend(std::string_view name, Origin where) {
  for (const auto& setting : backend_settings()) {
    loaded_.origins.emplace("backends." + std::string(name) + "." + std::string(setting.key), Origin{});
  }
  Backend& backend = loaded_.config.backends.emplace_back();
  backend.name = name;
  backend.origin = std::move(where);
  return backend;
}

void Loader::set_user(std::string_view name, std::string secret, Origin where) {
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

void Loader::set_field(Row& row, const std::string& dotted, const std::string& key, std::string value,
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

std::optional<std::string> Loader::secret_file(const std::string& path, const Origin& where,
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

tl::expected<Loaded, std::vector<Problem>> Loader::finish() {
  if (problems_.empty()) return std::move(loaded_);
  if (problems_.size() > kMaxProblems) {
    problems_.resize(kMaxProblems);
    problems_.push_back(
        {{where_, 0, 0}, "", "and more; the first " + std::to_string(kMaxProblems) + " are shown"});
  }
  return tl::unexpected(std::move(problems_));
}

tl::expected<std::vector<Row>, std::vector<Problem>> Loader::finish_tiers() {
  auto done = finish();
  if (!done) return tl::unexpected(std::move(done.error()));
  return std::move(done->config.tiers);
}

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
  loader.prefer_tls();
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
