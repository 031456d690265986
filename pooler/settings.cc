#include "pooler/settings.h"

#include <algorithm>
#include <charconv>
#include <optional>

#include "pooler/base/check.h"
#include "pooler/base/quoted.h"
#include "pooler/tenant_token.h"
#include "protocol/parsing_settings.h"
#include "tiers/guc_value.h"

namespace pgweir {

namespace {
constexpr std::size_t kProvenKept = 256;

constexpr Bytes kTracked[] = {"DateStyle",
                              "IntervalStyle",
                              "TimeZone",
                              "application_name",
                              "client_encoding",
                              "default_transaction_read_only",
                              "scram_iterations",
                              "search_path",
                              "session_authorization",
                              "standard_conforming_strings"};

std::string lower(Bytes text) {
  std::string out(text);
  for (char& c : out)
    if (c >= 'A' && c <= 'Z') c = static_cast<char>(c | 0x20);
  return out;
}

constexpr Bytes kStrings = "standard_conforming_strings";

bool all_read_plainly(const SettingsMap::Values& values) {
  return std::all_of(values.begin(), values.end(),
                     [](const auto& each) { return reads_plainly(each.first, each.second); });
}

// Of those that decide parsing, what names mean, and what literals do. The latter are reported.
constexpr Bytes kMark = "pgweir apart";            // see ParsingApart::lose
constexpr Bytes kReadingMark = "pgweir literals";  // see ParsingApart::doubt_literals
constexpr Bytes kPath[] = {"search_path", "role", "session_authorization", kMark};
constexpr Bytes kDateStyle = "DateStyle";
constexpr Bytes kReadings[] = {kDateStyle, "IntervalStyle", "TimeZone", "client_encoding",
                               "standard_conforming_strings"};

// The first of what SettingsMap::parsing has, which goes on behind it.
std::pair<Bytes, Bytes> take_value(Bytes& parsing) {
  const Bytes name = parsing.substr(0, parsing.find('\0'));
  parsing.remove_prefix(name.size() + 1);
  const Bytes value = parsing.substr(0, parsing.find('\0'));
  parsing.remove_prefix(value.size() + 1);
  return {name, value};
}

std::optional<Bytes> value_in(Bytes parsing, Bytes name) {
  while (!parsing.empty())
    if (const auto [key, value] = take_value(parsing); key == name) return value;
  return {};
}

// Of values, those that decide it and the mark; see SettingsMap::parsing.
std::string parsing_of(const SettingsMap::Values& values) {
  std::string parsing;
  for (const auto& [name, value] : values)
    if (decides_parsing(name) || name == kMark || name == kReadingMark)
      parsing.append(name).append(1, '\0').append(value).append(1, '\0');
  return parsing;
}

// As Postgres takes it: a number and a unit, or milliseconds. Less than a busy machine may take for what is
// done in a fraction of one.
bool is_hasty(Bytes value) {
  constexpr double kHastyMs = 100;
  struct Of {
    Bytes unit;
    double ms;
  };
  constexpr Of kUnits[] = {{"", 1}, {"us", 0.001}, {"ms", 1}, {"s", 1000}};  // with longer ones none is hasty
  double number = 0;
  const auto [end, error] = std::from_chars(value.data(), value.data() + value.size(), number);
  if (error != std::errc{}) return false;
  Bytes unit = value.substr(static_cast<std::size_t>(end - value.data()));
  while (unit.starts_with(' ')) unit.remove_prefix(1);
  return number > 0 && std::any_of(std::begin(kUnits), std::end(kUnits), [&](const Of& each) {
           return each.unit == unit && number * each.ms < kHastyMs;
         });
}

void carry_spellings(const SettingsMap& from, SettingsMap& to) {
  for (const auto& [name, spelling] : from.reported) {
    const auto value = to.values.find(name);
    if (value != to.values.end() && value->second == from.values.at(name)) to.reported[name] = spelling;
  }
}

// Postgres takes any printable application name of this length as it is.
bool plain_application_name(Bytes value) {
  return value.size() < 64 &&
         std::all_of(value.begin(), value.end(), [](char c) { return c >= 32 && c < 127; });
}
}  // namespace

// "timezone" is what libpq sends for PGTZ.
std::string setting_key(Bytes name) {
  std::string lowered = lower(name);
  for (const Bytes tracked : kTracked)
    if (lower(tracked) == lowered) return std::string(tracked);
  return lowered;
}

bool is_timeout(Bytes name) { return std::find(kTimeouts.begin(), kTimeouts.end(), name) != kTimeouts.end(); }

std::chrono::milliseconds idle_timeout(Bytes value) {
  const double ms = tiers::read_value(value, tiers::Measure::Milliseconds).value_or(0);
  return std::chrono::milliseconds(static_cast<std::int64_t>(std::max(ms, 0.0)));
}

bool may_be_partial(Bytes name) { return name == kDateStyle; }

bool decides_who(Bytes name) {
  return std::find(kWhoSpeaks.begin(), kWhoSpeaks.end(), name) != kWhoSpeaks.end();
}

bool decides_parsing(Bytes name) {
  const auto& all = protocol::kParsingSettings;
  return std::find(all.begin(), all.end(), lower(name)) != all.end();
}

bool is_reading(Bytes name) {
  return std::find(std::begin(kReadings), std::end(kReadings), name) != std::end(kReadings);
}

void ParsingApart::set(const std::string& name, const std::string& value) {
  values_[name] = value;
  of_ = nullptr;
}

void ParsingApart::lose(std::uint64_t mark) {
  values_[std::string(kMark)] = std::to_string(mark);
  of_ = nullptr;
}

void ParsingApart::doubt(std::uint64_t mark) {
  doubt_ = std::to_string(mark);
  of_ = nullptr;
}

void ParsingApart::doubt_literals(std::uint64_t mark) {
  literals_doubt_ = std::to_string(mark);
  of_ = nullptr;
}

void ParsingApart::answered() {
  if (doubt_.empty() && literals_doubt_.empty()) return;
  doubt_.clear();
  literals_doubt_.clear();
  of_ = nullptr;
}

bool ParsingApart::lost() const { return values_.contains(kMark); }

Bytes ParsingApart::parsing(const SettingsRef& map) {
  if (of_ == map) return parsing_;
  SettingsMap::Values all = values_;
  for (const auto& [name, value] : map->values) {
    if (!decides_parsing(name)) continue;
    const auto [place, first] = all.emplace(name, value);
    // A text may give one half of it.
    if (!first && name == kDateStyle) place->second.append(1, ' ').append(value);
  }
  if (!doubt_.empty()) all[std::string(kMark)] += '/' + doubt_;
  if (!literals_doubt_.empty()) all[std::string(kReadingMark)] = literals_doubt_;
  parsing_ = parsing_of(all);
  of_ = map;
  return parsing_;
}

bool tells_literals(Bytes parsing) { return !value_in(parsing, kReadingMark); }

namespace {
// But for literals, and for what is left out.
template <class LeftOut>
bool same_parsing(Bytes then, Bytes now, LeftOut left_out) {
  const auto same = [&](Bytes name) {
    return is_reading(name) || left_out(name) || value_in(then, name) == value_in(now, name);
  };
  const auto& all = protocol::kParsingSettings;
  return same(kMark) &&
         std::all_of(all.begin(), all.end(), [&](Bytes name) { return same(setting_key(name)); });
}
}  // namespace

bool may_be_read_as(Bytes then, Bytes now) {
  return then == now || (tells_literals(then) && same_parsing(then, now, [](Bytes) { return false; }));
}

bool same_encoding(Bytes parsing, Bytes other) {
  return value_in(parsing, kClientEncoding) == value_in(other, kClientEncoding);
}

bool same_but_for_speaker(Bytes parsing, Bytes other) { return same_parsing(parsing, other, decides_who); }

std::string with_literals_of(Bytes names, Bytes literals) {
  SettingsMap::Values values;
  const auto take = [&values](Bytes from, bool of_literals) {
    while (!from.empty())
      if (const auto [name, value] = take_value(from);
          (is_reading(name) || name == kReadingMark) == of_literals)
        values.emplace(name, value);
  };
  take(names, false);
  take(literals, true);
  return parsing_of(values);
}

bool same_path(Bytes parsing, Bytes other) {
  return parsing == other || std::all_of(std::begin(kPath), std::end(kPath), [&](Bytes name) {
           return value_in(parsing, name) == value_in(other, name);
         });
}

Error misread(Bytes name, Bytes value) {
  return {
      sqlstate::kFeatureNotSupported, "parameter \"" + std::string(name) + "\" cannot be " + quoted(value),
      "Statements under it cannot be checked against the ceilings of the tier.",
      name == kStrings ? "Leave it on, and write strings with backslashes as E'...'."
                       : "Use UTF8, or another encoding in which no letter holds the byte of a backslash."};
}

bool is_tracked_setting(Bytes name) {
  return std::find(std::begin(kTracked), std::end(kTracked), name) != std::end(kTracked);
}

std::vector<Reading> readings(Bytes then, Bytes now, const SettingsMap::Values& fresh) {
  std::vector<Reading> all;
  if (then == now || !tells_literals(then)) return all;
  for (const Bytes name : kReadings) {
    const auto value = value_in(then, name);
    const auto began = fresh.find(name);
    if ((tells_literals(now) && value == value_in(now, name)) || began == fresh.end()) continue;
    all.push_back({std::string(name), std::string(value.value_or(began->second))});
  }
  return all;
}

SharedValues no_values() {
  static const auto none = std::make_shared<const SettingsMap::Values>();
  return none;
}

bool SettingsMap::small() const {
  std::size_t bytes = 0;
  for (const auto& [name, value] : values) bytes += name.size() + value.size();
  return values.size() <= kSettingsMost && bytes <= kSettingsBytesMost;
}

bool SettingsMap::ascii() const {
  return std::all_of(values.begin(), values.end(), [](const auto& each) {
    return std::all_of(each.second.begin(), each.second.end(),
                       [](char c) { return static_cast<unsigned char>(c) < 0x80; });
  });
}

const std::string& SettingsMap::told(Bytes name) const {
  const auto spelt = reported.find(name);
  return spelt != reported.end() ? spelt->second : values.find(name)->second;
}

SettingsBook::SettingsBook() : empty_(std::make_shared<SettingsMap>()) { empty_->proven = true; }

SharedValues SettingsBook::fresh(SettingsMap::Values reported) {
  if (has_baseline() && *baseline_ == reported) return baseline_;
  auto values = std::make_shared<const SettingsMap::Values>(std::move(reported));
  if (has_baseline()) return values;
  baseline_ = values;
  baseline_plain_sql_ = all_read_plainly(*baseline_);
  return values;
}

SettingsRef SettingsBook::intern(SettingsMap::Values given) {
  SettingsMap::Values values;
  for (auto& [name, value] : given) values[setting_key(name)] = std::move(value);
  // The pooler's own, whatever a client makes of it.
  if (const auto token = values.find(kTokenSetting); token != values.end()) values.erase(token);
  if (values.empty()) return empty_;
  std::weak_ptr<SettingsMap>& place = maps_[values];
  if (SettingsRef known = place.lock()) return known;
  auto map = std::make_shared<SettingsMap>();
  map->values = std::move(values);
  map->plain_sql = all_read_plainly(map->values);
  map->hasty = std::any_of(map->values.begin(), map->values.end(),
                           [](const auto& each) { return is_timeout(each.first) && is_hasty(each.second); });
  if (const auto idle = map->values.find(kIdleTimeout); idle != map->values.end())
    map->idle_most = idle_timeout(idle->second);
  map->parsing = parsing_of(map->values);
  map->proven = map->values.size() == 1 && map->values.begin()->first == "application_name" &&
                plain_application_name(map->values.begin()->second);
  place = map;
  if (maps_.size() > sweep_at_) sweep();
  return map;
}

const SettingsMap::Values::value_type* SettingsBook::odd_baseline(const SettingsMap& map) const {
  const auto odd = std::find_if(baseline_->begin(), baseline_->end(), [&](const auto& each) {
    return !reads_plainly(each.first, each.second) && !map.values.contains(each.first);
  });
  return odd == baseline_->end() ? nullptr : &*odd;
}

bool SettingsBook::plain_parsing(Bytes parsing) const {
  return std::all_of(kDecideReading.begin(), kDecideReading.end(), [&](Bytes name) {
    if (const auto own = value_in(parsing, name)) return reads_plainly(name, *own);
    const auto base = baseline_->find(name);
    return base == baseline_->end() || reads_plainly(name, base->second);
  });
}

SettingsBook::Odd SettingsBook::odd_setting(const SettingsMap& map) const {
  const auto own = std::find_if(map.values.begin(), map.values.end(),
                                [](const auto& each) { return !reads_plainly(each.first, each.second); });
  if (own != map.values.end()) return {own->first, own->second, true};
  const auto* const fresh = odd_baseline(map);
  PGWEIR_CHECK(fresh);
  return {fresh->first, fresh->second, false};
}

SettingsRef SettingsBook::changed(const SettingsRef& map, Bytes name, Bytes value) {
  if (!is_tracked_setting(name)) return map;
  const bool is_default = is_baseline(name, value);
  const auto held = map->values.find(name);
  if (is_default && held == map->values.end()) return map;
  if (held != map->values.end() && map->told(name) == value) return map;
  SettingsMap::Values values = map->values;
  if (is_default)
    values.erase(std::string(name));
  else
    values[std::string(name)] = value;
  return grown(*map, std::move(values));
}

SettingsRef SettingsBook::learned(const SettingsRef& map, const std::vector<Findings::Setting>& told,
                                  const SettingsMap& defaults) {
  SettingsMap::Values values = map->values;
  for (const auto& [given, value] : told) {
    const std::string name = setting_key(given);
    const auto preset = defaults.values.find(name);
    const auto held = values.find(name);
    if (value && held != values.end() && map->told(name) == *value) continue;
    if (value && !is_baseline(name, *value))
      values[name] = *value;
    else if (!value && preset != defaults.values.end())
      values[name] = preset->second;
    else
      values.erase(name);
  }
  if (values == map->values) return map;
  SettingsRef next = grown(*map, std::move(values));
  carry_spellings(defaults, *next);
  return next;
}

SettingsRef SettingsBook::taken_back(const SettingsRef& map, Bytes name, const SettingsMap& defaults) {
  return learned(map, {{std::string(name), {}}}, defaults);
}

bool SettingsBook::is_baseline(Bytes name, Bytes value) const {
  const auto base = baseline_->find(name);
  return base != baseline_->end() && base->second == value;
}

// A server of the group has these values now, or had them, so they are good; and how it spells those that
// `map` had is known.
SettingsRef SettingsBook::grown(const SettingsMap& map, SettingsMap::Values values) {
  SettingsRef next = intern(std::move(values));
  next->proven = true;
  carry_spellings(map, *next);
  return next;
}

SettingsRef SettingsBook::reset(const SettingsMap& map, const SettingsRef& started) {
  SettingsMap::Values values = started->values;
  for (const Bytes name : {"role", "session_authorization"})
    if (const auto kept = map.values.find(name); kept != map.values.end()) values[kept->first] = kept->second;
  return values == started->values ? started : grown(map, std::move(values));
}

SettingsMap::Values SettingsBook::welcome(const SettingsMap& map) const {
  SettingsMap::Values told = *baseline_;
  for (const auto& [name, value] : map.values) {
    if (const auto reported = told.find(name); reported != told.end()) reported->second = map.told(name);
  }
  return told;
}

void SettingsBook::mark_proven(const SettingsRef& map) {
  if (map->proven) return;
  map->proven = true;
  if (proven_.size() == kProvenKept) proven_.erase(proven_.begin());
  proven_.push_back(map);
}

// Anybody may set what Postgres reports, who speaks, and how long a statement takes.
bool SettingsBook::returns(Bytes name) const {
  return is_tracked_setting(name) || decides_who(name) || is_timeout(name) || returned_.contains(name);
}

void SettingsBook::mark_returned(Bytes name) {
  if (returned_.size() < kReturnedKept && !returns(name)) returned_.emplace(name);
}

void SettingsBook::sweep() {
  for (auto it = maps_.begin(); it != maps_.end();)
    it = it->second.expired() ? maps_.erase(it) : std::next(it);
  sweep_at_ = std::max<std::size_t>(64, maps_.size() * 2);
}

}  // namespace pgweir
