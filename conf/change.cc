#include "conf/change.h"

#include <optional>
#include <utility>
#include <vector>

#include "conf/loader.h"
#include "conf/pgbouncer_names.h"
#include "pooler/base/near.h"
#include "pooler/base/quoted.h"

namespace pgweir::conf {
namespace {

constexpr std::string_view kBackends = "backends.";

// The name of the backend and of its setting, where the key is one of them.
std::optional<std::pair<std::string_view, std::string_view>> of_backend(std::string_view key) {
  if (!key.starts_with(kBackends)) return std::nullopt;
  key.remove_prefix(kBackends.size());
  const std::size_t dot = key.rfind('.');
  if (dot == std::string_view::npos) return std::nullopt;
  return std::pair(key.substr(0, dot), key.substr(dot + 1));
}

tl::unexpected<std::string> unknown(std::string_view key) {
  for (const std::string_view rows : {"tiers.", "tenants.", "users."})
    if (key.starts_with(rows))
      return tl::unexpected(std::string(key) +
                            " is changed in the configuration, and by RELOAD; of one tenant SET TIER and SET "
                            "OVERRIDE change what it has");
  std::vector<std::string_view> names;
  for (const auto& setting : settings()) names.push_back(setting.key);
  return tl::unexpected("there is no setting " + quoted(key) + did_you_mean(key, names));
}

template <class Owner>
tl::expected<void, std::string> set(Owner& owner, const Setting<Owner>& setting, std::string_view key,
                                    std::string_view value) {
  if (setting.applies == Applies::OnRestart)
    return tl::unexpected(std::string(key) + " changes at the next start only");
  if (auto done = assign(owner, setting, value); !done)
    return tl::unexpected(std::string(key) + " " + done.error());
  return {};
}

tl::expected<void, std::string> set(Config& config, std::string_view key, std::string_view value) {
  if (const auto* setting = find_setting(settings(), key)) return set(config, *setting, key, value);
  const auto names = of_backend(key);
  Backend* const backend = names ? find_row(config.backends, names->first) : nullptr;
  const auto* const setting = backend ? find_setting(backend_settings(), names->second) : nullptr;
  if (!setting) return unknown(key);
  return set(*backend, *setting, key, value);
}

}  // namespace

tl::expected<Loaded, std::string> change(const Loaded& now, std::string_view key, std::string_view value,
                                         const ReadFile& read) {
  if (const auto ours = from_pgbouncer(key, value)) return change(now, ours->first, ours->second, read);
  Loaded next = now;
  if (auto done = set(next.config, key, value); !done) return tl::unexpected(std::move(done.error()));
  next.origins[std::string(key)] = {"console", 0, 0};
  Loader loader(&read);
  loader.take(std::move(next));
  loader.cross_check("console");
  auto checked = loader.finish();
  if (checked) return std::move(*checked);
  const Problem& first = checked.error().front();
  return tl::unexpected(first.key + " " + first.message);
}

std::string shown_value(std::string_view key, std::string_view value) {
  if (value.empty()) return {};
  const auto ours = from_pgbouncer(key, value);
  if (ours) key = ours->first;
  bool open = false;
  if (const auto* const setting = find_setting(settings(), key)) {
    open = setting->secrecy == Secrecy::Open;
  } else if (const auto names = of_backend(key)) {
    const auto* const of_one = find_setting(backend_settings(), names->second);
    open = of_one && of_one->secrecy == Secrecy::Open;
  }
  return std::string(open ? value : kMask);
}

}  // namespace pgweir::conf
