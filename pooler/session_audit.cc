// pooler/session_audit.cc - SessionCore: what a transaction has left, asked of its server and taken over.
#include <algorithm>
#include <array>

#include "pooler/base/check.h"
#include "pooler/base/planted.h"
#include "pooler/session_core.h"
#include "pooler/session_parts.h"
#include "pooler/tenant_token.h"
#include "protocol/messages.h"
#include "protocol/sql_words.h"

namespace pgweir {

void SessionCore::end_batch() {
  names_unsure_ = names_unsure_ || (dirty_batch_ && server_->pipeline.owed() > 0);
  dirty_batch_ = drops_names_ = unlent_ = bound_ = reset_ran_ = recovered_ = false;
}

// What the client sets, another role may have allowed.
bool SessionCore::in_other_role() const {
  const SettingsMap::Values& values = wanted_->values;
  return std::any_of(kWhoSpeaks.begin(), kWhoSpeaks.end(), [&](Bytes name) {
    const auto own = values.find(name);
    const auto& named = suspicion_->settings;
    return (own != values.end() && own->second != "none") ||
           std::find(named.begin(), named.end(), name) != named.end();
  });
}

bool SessionCore::begin_audit(Actions& out) {
  // Whoever keeps the server, or is going to.
  if (look_first_ && (pins_ | (suspicion_ ? suspicion_->pins : Pins{0})) != 0) {
    look_first_ = false;
    suspect_held();
  }
  if (!suspicion_) return false;
  if (walsender()) return suspicion_.reset(), false;
  server_->introduced = {};  // a text may have set or reset it
  // In session mode what is left goes with the server's cleaning, but for what has a ceiling.
  const bool in_session = (pins_ & pin::kSession) && !loses_start();
  if (in_session && !guard_->inspects()) return suspicion_.reset(), false;
  if (PGWEIR_PLANTED(SKIP_AUDIT)) return suspicion_.reset(), false;
  std::vector<Question> questions;
  if (in_session) keep_to_held();
  if (suspicion_->held)
    for (const std::string& name : guard_->names()) suspicion_->add_setting(name);
  if (suspicion_->any_set) suspicion_->add_setting("role");
  if (suspicion_->all_set_back)
    for (const SettingsRef& map : {wanted_, started_})
      for (const auto& [name, value] : map->values) suspicion_->add_setting(name);
  for (const std::string& name : suspicion_->settings) {
    const std::string key = setting_key(name);
    // What servers report by themselves needs no question, but for whose it is.
    if (server_->fresh->contains(key) && !set_back(key)) continue;
    const auto& hidden = suspicion_->hidden;
    if (std::find(hidden.begin(), hidden.end(), name) != hidden.end()) continue;
    const bool doubtful = suspicion_->doubts(name) || (in_other_role() && !decides_who(key));
    const bool origin = suspicion_->may_set_back(key) || (doubtful && !PGWEIR_PLANTED(TRUST_VALUE));
    questions.push_back({origin ? Question::Kind::Origin : Question::Kind::Value, name});
  }
  if (suspicion_->any_set) questions.push_back({Question::Kind::Sessions});
  for (const Proof& proof : kProofs)
    if (suspicion_->pins & proof.pin) questions.push_back({proof.question});
  if (questions.empty()) {
    if (suspicion_->pins & pin::kSettings) server_->dirty = true;  // also where the client discards all
    set_pins(static_cast<Pins>(pins_ | (suspicion_->pins & pin::kSettings)));
    suspicion_.reset();
    return false;
  }
  server_->audit(std::move(questions), out.to_server);
  auditing_ = true;
  return true;
}

// Inside of a transaction, what a RESET has taken of the start is given back, and what is above its ceiling
// set back, before anything else is run.
bool SessionCore::begin_recovery(Actions& out) {
  if (!suspicion_ || walsender()) return false;
  std::vector<Question> questions;
  for (const auto& [name, value] : started_->values)
    if (set_back(name)) questions.push_back({Question::Kind::Origin, name});
  if (suspicion_->held)
    for (const std::string& name : guard_->names())
      if (!set_back(setting_key(name))) questions.push_back({Question::Kind::Value, name});
  if (questions.empty()) return false;
  server_->audit(std::move(questions), out.to_server);
  return auditing_ = true;
}

void SessionCore::keep_to_held() {
  const std::vector<std::string>& held = guard_->names();
  std::erase_if(suspicion_->settings, [&held](const std::string& name) {
    return std::find(held.begin(), held.end(), name) == held.end();
  });
  suspicion_->all_set_back = suspicion_->any_set = false;
  suspicion_->pins = 0;
}

// What servers begin with is no choice of the client's, unless it had one, or its server began otherwise.
void SessionCore::forget_starts(Findings& findings) const {
  for (Findings::Setting& setting : findings.settings) {
    const std::string key = setting_key(setting.name);
    if (setting.value && guard_->is_start(setting.name, *setting.value) && !wanted_->values.contains(key) &&
        !started_->values.contains(key) && !outgrown(setting.name))
      setting.value.reset();
  }
}

// In an open transaction what a session has of the settings that are held says nothing of what it will have
// behind it; but what is above may not stay.
void SessionCore::keep_above(Findings& findings) {
  std::erase_if(findings.settings, [this](Findings::Setting& setting) {
    if (set_back(setting_key(setting.name))) return false;
    if (!setting.value || guard_->allows(setting.name, *setting.value)) return true;
    guard_->enforce(setting);
    if (const std::string* const start = guard_->start_of(setting.name); start && !setting.value)
      setting.value = *start;
    suspicion_->above.push_back(std::move(setting));
    return true;
  });
}

// A server that the session has outgrown gives a fresh session more than there is now.
void SessionCore::hold_starts(Findings& findings) const {
  for (Findings::Setting& setting : findings.settings)
    if (!setting.value && outgrown(setting.name) && !started_->values.contains(setting_key(setting.name)))
      setting.value = *guard_->start_of(setting.name);
}

bool SessionCore::outgrown(Bytes name) const {
  return outgrown_ && server_->opened_with && !in_use(name) && guard_->outgrows(*server_->opened_with, name);
}

std::optional<Outgrown> SessionCore::outgrown() const {
  if (!outgrown_ || !server_->opened_with) return {};
  return Outgrown{server_->opened_with.get(), &started_->values};
}

// Temporary buffers: once they are used Postgres takes no other value.
bool SessionCore::in_use(Bytes name) const { return server_ && server_->temp_used && name == kTempBuffers; }

// Once they are used Postgres gives their memory back to nobody, and takes no other value.
bool SessionCore::has_temp_buffers() const { return server_->applied->values.contains(kTempBuffers); }

// It was no more when it was taken.
bool SessionCore::stuck(const Findings::Setting& found) const {
  if (!in_use(found.name) || !server_->opened_with) return false;
  const auto was = server_->opened_with->find(Bytes(found.name));
  const auto own = wanted_->values.find(Bytes(found.name));
  return (own != wanted_->values.end() && found.value == own->second) ||
         (was == server_->opened_with->end() ? outgrown_ : found.value == was->second);
}

// Another server will begin with what the client was held to here.
void SessionCore::forget_outgrown() {
  std::vector<Findings::Setting> forgotten;
  for (const auto& [name, value] : wanted_->values)
    if (outgrown(tiers::parameter_name(name)) && guard_->is_start(tiers::parameter_name(name), value) &&
        !started_->values.contains(name))
      forgotten.push_back({name, {}});
  if (!forgotten.empty()) wanted_ = books_->settings.learned(wanted_, forgotten, *books_->settings.empty());
}

void SessionCore::lower_settings() {
  SettingsBook& book = books_->settings;
  for (SettingsRef* map : {&started_, &wanted_}) {
    std::vector<Findings::Setting> lowered;
    for (const auto& [name, value] : (*map)->values)
      if (!guard_->allows(name, value) && !in_use(name))
        guard_->hold(lowered.emplace_back(Findings::Setting{name, value}));
    if (!lowered.empty()) *map = book.learned(*map, lowered, *book.empty());
  }
}

void SessionCore::ceilings_changed() {
  if (!guard_->inspects() || walsender()) return;
  lower_settings();
  if (!server_ || !server_->opened_with) return;
  const std::vector<std::string>& names = guard_->names();
  outgrown_ = true;
  outgrown_ =
      std::any_of(names.begin(), names.end(), [this](const std::string& name) { return outgrown(name); });
  // Between two transactions it is looked at in front of the next one; the one that is open ends with what it
  // began with.
  look_first_ = true;
  if (pins_ != 0) wait_behind_ = true;
}

void SessionCore::on_audited(Findings& findings, protocol::Gather& to_client) {
  PGWEIR_CHECK(auditing_ && suspicion_);
  SettingsBook& book = books_->settings;
  const SettingsRef before = wanted_;
  const SettingsMap& defaults = PGWEIR_PLANTED(FORGET_STARTED) ? *book.empty() : *started_;
  if (guard_->inspects()) {
    std::erase_if(findings.settings, [this](const Findings::Setting& found) { return stuck(found); });
    if (server_->tx_status != 'I') keep_above(findings);
    forget_starts(findings);
  }
  if (suspicion_->undone && PGWEIR_PLANTED(FORGET_UNDONE)) findings.settings.clear();
  SettingsRef found = book.learned(server_->applied, findings.settings, *book.empty());
  if (guard_->inspects()) {
    for (Findings::Setting& setting : findings.settings) guard_->enforce(setting);
    hold_starts(findings);
  }
  const SettingsRef learned = book.learned(wanted_, findings.settings, defaults);
  if (learned->small()) {
    wanted_ = learned;
    server_->applied = std::move(found);
    if (before != wanted_) to_client.own([&](std::string& bytes) { put_news(*before, bytes); });
  } else {
    findings.pins |= pin::kSettings;
    findings.outsized = true;
  }
  if (server_->tx_status != 'I') return;  // all is asked once more when it has ended
  if ((findings.pins | suspicion_->pins) & pin::kSettings) server_->dirty = true;
  // Under such a path tables are temporary without saying so.
  const auto path = wanted_->values.find(Bytes("search_path"));
  if (path != wanted_->values.end() && mentions(path->second, "pg_temp")) suspicion_->pins |= pin::kSettings;
  Pins asked = suspicion_->pins & pin::kProvable;
  if (asked & pin::kListen) {
    findings.pins |= found_channels(findings);
    asked |= pin::kSharing;
  }
  if ((asked & pin::kStatement) && !(pins_ & pin::kSession)) adopt(findings);
  if (PGWEIR_PLANTED(FORGET_UNPIN)) asked = 0;
  if ((findings.pins & pin::kLock) && PGWEIR_PLANTED(UNPIN_LOCKED)) findings.pins ^= pin::kLock;
  const auto pins = static_cast<Pins>((pins_ & ~asked) | findings.pins | (suspicion_->pins & pin::kSettings));
  // For what a text does not show to keep its client there was asked for no room.
  constexpr auto kUnasked = static_cast<Pins>(pin::kSettings | pin::kListen | pin::kStatement);
  constexpr auto kCounted = static_cast<Pins>(~pin::kSharing);
  const bool asked_for = claimed_ || (pins_ & kCounted) != 0 || (pins & kCounted & ~kUnasked) != 0;
  if (!asked_for && (pins & kUnasked) != 0 && !pin_book_->has_room())
    over_budget_ = static_cast<Pins>(pins & kUnasked), outsized_ = findings.outsized || suspicion_->outsized;
  else
    set_pins(pins);
  suspicion_.reset();
}

// What the client has come to hold cannot be kept for it, nor can it do without.
void SessionCore::end_over_budget(Actions& out) {
  const Error error = outsized_ ? pin_book_->refuse_outsized() : pin_book_->refuse(over_budget_);
  server_->dirty = server_->temp_used = true;
  unlink(Actions::Server::Release, out);
  end(error, out);
}

}  // namespace pgweir
