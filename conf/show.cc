#include <algorithm>
#include <array>

#include "conf/load.h"
#include "conf/settings.h"

namespace pgweir::conf {
namespace {

std::string masked(Secrecy secrecy, std::string value) {
  return secrecy == Secrecy::Secret && !value.empty() ? std::string(kMask) : value;
}

}  // namespace

bool is_secret_field(std::string_view key) {
  constexpr std::array<std::string_view, 6> kWords{"password", "passwd",     "secret",
                                                   "token",    "credential", "api_key"};
  return std::any_of(kWords.begin(), kWords.end(),
                     [key](std::string_view word) { return key.find(word) != std::string_view::npos; });
}

namespace {
// Of tiers and tenants; the first dot may be an underscore, as variables of the environment have it.
bool is_of_sessions(std::string_view key) {
  for (const std::string_view kind : {"inject", "default"})
    if (key.starts_with(kind) && key.size() > kind.size() &&
        (key[kind.size()] == '.' || key[kind.size()] == '_'))
      return true;
  return false;
}
}  // namespace

std::vector<Shown> show(const Loaded& loaded, Reader reader) {
  const Config& config = loaded.config;
  std::vector<Shown> out;
  const auto put = [&](std::string key, std::string value, std::string fallback, bool changeable) {
    const auto place = loaded.origins.find(key);
    Origin origin = place == loaded.origins.end() ? Origin{} : place->second;
    out.push_back({std::move(key), std::move(value), std::move(fallback), changeable, std::move(origin)});
  };
  const Config fresh;
  for (const auto& setting : settings()) {
    put(std::string(setting.key), masked(setting.secrecy, text_of(config, setting)),
        masked(setting.secrecy, text_of(fresh, setting)), setting.applies == Applies::OnReload);
  }
  const Backend fresh_backend;
  for (const Backend& backend : config.backends) {
    for (const auto& setting : backend_settings()) {
      put("backends." + backend.name + "." + std::string(setting.key),
          masked(setting.secrecy, text_of(backend, setting)),
          masked(setting.secrecy, text_of(fresh_backend, setting)), setting.applies == Applies::OnReload);
    }
  }
  for (const User& user : config.users) {
    put("users." + user.name + ".secret", std::string(kMask), "", false);
  }
  // Rows of the file, which SET does not change.
  const auto rows = [&](const std::string& section, const std::vector<Row>& all) {
    for (const Row& row : all) {
      for (const Field& field : row.fields) {
        const bool secret =
            is_secret_field(field.key) || (reader == Reader::Stats && is_of_sessions(field.key));
        put(section + "." + row.name + "." + field.key,
            masked(secret ? Secrecy::Secret : Secrecy::Open, field.value), "", false);
      }
    }
  };
  rows("tiers", config.tiers);
  rows("tenants", config.tenants);
  return out;
}

std::vector<std::string> needs_restart(const Config& running, const Config& wanted) {
  std::vector<std::string> keys;
  for (const auto& setting : settings()) {
    if (setting.applies == Applies::OnRestart && text_of(running, setting) != text_of(wanted, setting)) {
      keys.emplace_back(setting.key);
    }
  }
  return keys;
}

}  // namespace pgweir::conf
