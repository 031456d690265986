#include "pooler/startup_settings.h"

#include <algorithm>
#include <charconv>

#include "pooler/base/quoted.h"
#include "tiers/startup_names.h"

namespace pgweir {

StartupRef StartupBook::of(const tiers::Tenant& record) {
  StartupSettings settings =
      tiers::startup_settings(tiers::for_tenant(*record.limits.ceilings, record.name, record.limits.name));
  // A role's own setting must not make its texts read otherwise than we read them.
  if (!settings.empty() && record.limits.inspection != tiers::Inspection::Off)
    settings.emplace("standard_conforming_strings", "on");
  std::weak_ptr<const StartupSettings>& place = known_[settings];
  if (StartupRef known = place.lock()) return known;
  auto made = std::make_shared<const StartupSettings>(std::move(settings));
  place = made;
  if (known_.size() > sweep_at_) sweep();
  return made;
}

void StartupBook::sweep() {
  std::erase_if(known_, [](const auto& entry) { return entry.second.expired(); });
  sweep_at_ = std::max<std::size_t>(64, known_.size() * 2);
}

protocol::Settings startup_parameters(const StartupSettings& settings, int version) {
  protocol::Settings parameters;
  for (const auto& [name, value] : settings)
    if (tiers::known_to(version, name)) parameters.emplace_back(name, value);
  return parameters;
}

Duration pooled_idle(std::chrono::milliseconds most) {
  return most < kPooledIdleLeast ? Duration{} : most - std::min(most / 2, kIdleMargin);
}

int major_version(Bytes server_version) {
  int major = 0;
  std::from_chars(server_version.data(), server_version.data() + server_version.size(), major);
  return major;
}

Expected<void> hold_to_ceilings(SettingsMap::Values& wanted, const tiers::Tenant& record,
                                std::vector<std::string>& lowered) {
  // Postgres pays it no heed there: who logs in is set behind it.
  wanted.erase("session_authorization");
  if (record.limits.ceilings->empty()) return {};
  const tiers::Ceilings ceilings =
      tiers::for_tenant(*record.limits.ceilings, record.name, record.limits.name);
  const StartupSettings baseline = tiers::startup_settings(ceilings);
  for (auto at = wanted.begin(); at != wanted.end();) {
    auto& [given, value] = *at;
    const std::string name = tiers::parameter_name(given);
    if (!tiers::may_start_with(name))
      return tl::unexpected(
          Error{sqlstate::kInsufficientPrivilege,
                "parameter " + quoted(given) + " cannot be set by a startup packet",
                "Tier " + record.limits.name + " has ceilings, so only parameters that are known are taken.",
                "Leave it out, and set it by SET."});
    if (record.limits.inspection != tiers::Inspection::Off && !reads_plainly(setting_key(name), value))
      return tl::unexpected(misread(name, value));
    tiers::Verdict verdict = tiers::judge(ceilings, name, value);
    switch (verdict.kind) {
      case tiers::Verdict::Kind::Within: break;
      case tiers::Verdict::Kind::Lowered:
        value = std::move(verdict.to);
        if (name != tiers::kLabel) lowered.push_back(name);
        break;
      case tiers::Verdict::Kind::Refused:
        verdict.why.detail = "tenant " + quoted(record.name) + ", tier " + record.limits.name + ".";
        return tl::unexpected(std::move(verdict.why));
    }
    // What the servers begin with needs no SET.
    const auto begins = baseline.find(name);
    at = begins != baseline.end() && begins->second == value ? wanted.erase(at) : std::next(at);
  }
  return {};
}

}  // namespace pgweir
