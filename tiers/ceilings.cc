#include "tiers/ceilings.h"

#include <algorithm>
#include <array>
#include <cmath>
#include <utility>

#include "pooler/base/quoted.h"
#include "tiers/startup_names.h"

namespace pgweir::tiers {
namespace {

// Names that Postgres still takes for others.
constexpr std::array kObsolete{
    std::pair<std::string_view, std::string_view>{"sort_mem", "work_mem"},
    std::pair<std::string_view, std::string_view>{"vacuum_mem", "maintenance_work_mem"}};

struct Prefix {
  std::string_view text;
  CeilingKind kind;
};
constexpr std::array kPrefixes{Prefix{"ceiling", CeilingKind::Limit}, Prefix{"inject", CeilingKind::Injected},
                               Prefix{"default", CeilingKind::Default}};

bool is_letter(char c) { return (c >= 'a' && c <= 'z') || (c >= 'A' && c <= 'Z') || c == '_'; }
bool is_digit(char c) { return c >= '0' && c <= '9'; }

// Words of letters, digits, '_' and '$', joined by dots.
bool good_name(std::string_view name) {
  if (name.empty() || name.size() > kParameterNameMax) return false;
  bool first = true;
  for (const char c : name) {
    if (first ? !is_letter(c) : !is_letter(c) && !is_digit(c) && c != '$' && c != '.') return false;
    first = c == '.';
  }
  return !first;
}

std::string lower(std::string_view text) {
  std::string out(text);
  for (char& c : out)
    if (c >= 'A' && c <= 'Z') c = static_cast<char>(c - 'A' + 'a');
  return out;
}

std::string_view trimmed(std::string_view text) {
  while (!text.empty() && text.front() == ' ') text.remove_prefix(1);
  while (!text.empty() && text.back() == ' ') text.remove_suffix(1);
  return text;
}

// What Postgres takes for a boolean: beginnings of the words, too, where they are clear.
std::optional<bool> switch_of(std::string_view given) {
  const std::string text = lower(trimmed(given));
  const auto begins = [&](std::string_view word, std::size_t least) {
    return text.size() >= least && word.starts_with(text);
  };
  if (text == "1" || begins("true", 1) || begins("yes", 1) || text == "on") return true;
  if (text == "0" || begins("false", 1) || begins("no", 1) || begins("off", 2)) return false;
  return {};
}

bool same_word(std::string_view a, std::string_view b) {
  const auto is = switch_of(a);
  return lower(trimmed(a)) == lower(trimmed(b)) || (is && is == switch_of(b));
}

template <class F>
void each_word(std::string_view words, F f) {
  while (true) {
    const std::size_t bar = words.find('|');
    f(trimmed(words.substr(0, bar)));
    if (bar == std::string_view::npos) return;
    words.remove_prefix(bar + 1);
  }
}

// A number of a parameter whose measure nobody has told us: 010 is eight to one kind of parameter and ten to
// the other, 2.5 is two or itself.
struct Guess {
  double whole, real;
  std::optional<Measure> unit;  // that stands behind it
};
std::optional<Guess> guess(std::string_view text) {
  const auto whole = read_value(text, Measure::Count), real = read_value(text, Measure::Real);
  if (whole || real) return Guess{whole ? *whole : *real, real ? *real : *whole, {}};
  for (const Measure unit : {Measure::Milliseconds, Measure::Kilobytes})
    if (const auto value = read_value(text, unit)) return Guess{*value, *value, unit};
  return {};
}

// Who sets the first takes the second back.
constexpr std::string_view kWhoLoggedIn = "session_authorization", kRole = "role";

Verdict within() { return {}; }
Verdict lowered(std::string_view limit) { return {Verdict::Kind::Lowered, std::string(limit), {}}; }
Verdict refused(const char* code, std::string message, std::string hint = {}) {
  return {Verdict::Kind::Refused, {}, Error{code, std::move(message), {}, std::move(hint)}};
}
Verdict invalid(std::string_view name, std::string_view asked) {
  return refused(sqlstate::kInvalidParameterValue,
                 "invalid value for parameter \"" + std::string(name) + "\": " + quoted(asked));
}

Verdict judge_row(const Ceiling& row, std::string_view limit, std::string_view asked) {
  const auto most = read_value(limit, row.measure), value = read_value(asked, row.measure);
  if (!value || *value > static_cast<double>(row.most)) return invalid(row.name, asked);
  if (row.unlimited && *value == static_cast<double>(*row.unlimited)) return lowered(limit);
  return most && *value <= *most ? within() : lowered(limit);
}

Verdict judge_words(std::string_view words, std::string_view asked) {
  bool found = false;
  each_word(words, [&](std::string_view word) { found = found || same_word(word, asked); });
  return found ? within() : lowered(trimmed(words.substr(0, words.find('|'))));
}

Verdict judge_number(std::string_view name, const Guess& limit, std::string_view text,
                     std::string_view asked) {
  const auto value = guess(asked);
  if (!value) return invalid(name, asked);
  if (value->unit != limit.unit)
    return refused(sqlstate::kInvalidParameterValue,
                   "cannot compare " + quoted(asked) + " with the ceiling " + std::string(text) + " of \"" +
                       std::string(name) + "\"",
                   limit.unit ? "Give it with a unit of that kind." : "Give it as a number without a unit.");
  // A ceiling with a fraction is that of a real parameter; else it must hold for both kinds.
  const bool is_real = limit.real != std::floor(limit.real);
  if (value->real == limit.real && (is_real || value->whole == limit.whole)) return within();
  if (value->real <= 0 || (!is_real && value->whole <= 0))
    return refused(sqlstate::kInsufficientPrivilege,
                   "parameter \"" + std::string(name) +
                       "\" must lie above 0, because 0 may mean no limit, not " + quoted(asked));
  return value->real <= limit.real && (is_real || value->whole <= limit.whole) ? within() : lowered(text);
}

std::string bounds(const Ceiling& row) {
  return spell_value(static_cast<double>(row.least), row.measure) + " and " +
         spell_value(static_cast<double>(row.most), row.measure);
}

std::string_view form_of(Measure measure) {
  switch (measure) {
    case Measure::Count: return "a whole number";
    case Measure::Real: return "a number";
    case Measure::Milliseconds: return "a time such as 250ms, 30s, 5min, 1h or 1d";
    case Measure::Kilobytes:
    case Measure::Blocks: return "a size such as 512kB, 64MB or 1GB";
  }
  return {};
}

tl::unexpected<Error> wrong(std::string message) {
  return fail(sqlstate::kConfigFileError, std::move(message));
}

// Nothing: no ceiling.
Expected<std::optional<std::string>> limit_of_row(const Ceiling& row, std::string_view text) {
  const auto value = read_value(text, row.measure);
  if (!value) return wrong("must be " + std::string(form_of(row.measure)) + " or none, not " + quoted(text));
  if (row.unlimited && *value == static_cast<double>(*row.unlimited)) return std::optional<std::string>();
  if (*value < static_cast<double>(row.least) || *value > static_cast<double>(row.most))
    return wrong("must lie between " + bounds(row) + ", not " + std::string(text.substr(0, kQuotedMax)));
  return spell_value(*value, row.measure);
}

void replace_all(std::string& text, std::string_view what, std::string_view with) {
  for (std::size_t at = text.find(what); at != std::string::npos; at = text.find(what, at + with.size()))
    text.replace(at, what.size(), with);
}

Ceilings::Values& of_kind(Ceilings& ceilings, CeilingKind kind) {
  switch (kind) {
    case CeilingKind::Limit: break;
    case CeilingKind::Injected: return ceilings.injected;
    case CeilingKind::Default: return ceilings.defaults;
  }
  return ceilings.limits;
}

}  // namespace

const Ceiling* find_ceiling(std::string_view name) {
  const auto* const row = std::find_if(kCeilings.begin(), kCeilings.end(),
                                       [&](const Ceiling& each) { return each.name == name; });
  return row == kCeilings.end() ? nullptr : row;
}

std::string parameter_name(std::string_view given) {
  std::string name = lower(given);
  for (const auto& [obsolete, now] : kObsolete)
    if (name == obsolete) return std::string(now);
  return name;
}

const std::shared_ptr<const Ceilings>& SharedCeilings::none() {
  static const auto kNone = std::make_shared<const Ceilings>();
  return kNone;
}

std::optional<CeilingKey> ceiling_key(std::string_view field) {
  if (const Ceiling* row = find_ceiling(field); row && row->written == Written::Field)
    return CeilingKey{CeilingKind::Limit, std::string(field)};
  for (const Prefix& prefix : kPrefixes) {
    if (!field.starts_with(prefix.text)) continue;
    const std::string_view rest = field.substr(prefix.text.size());
    if (rest.empty() || (rest[0] != '.' && rest[0] != '_') || !good_name(rest.substr(1))) return {};
    return CeilingKey{prefix.kind, parameter_name(rest.substr(1))};
  }
  return {};
}

std::string field_of(const CeilingKey& key) {
  const Ceiling* const row = find_ceiling(key.name);
  if (key.kind == CeilingKind::Limit && row && row->written == Written::Field) return key.name;
  const auto prefix = std::find_if(kPrefixes.begin(), kPrefixes.end(),
                                   [&](const Prefix& each) { return each.kind == key.kind; });
  return std::string(prefix->text) + "." + key.name;
}

Expected<void> set_ceiling(Ceilings& ceilings, const CeilingKey& key, std::string_view value) {
  const auto control = [](char c) { return static_cast<unsigned char>(c) < 0x20 || c == 0x7f; };
  if (value.size() > kParameterValueMax)
    return wrong("must have at most " + std::to_string(kParameterValueMax) + " bytes, not " +
                 std::to_string(value.size()));
  if (std::any_of(value.begin(), value.end(), control)) return wrong("must not hold control characters");
  Ceilings::Values& values = of_kind(ceilings, key.kind);
  std::optional<std::string> text(value);
  if (key.kind == CeilingKind::Limit && value == kNoCeiling) {
    text.reset();
  } else if (key.kind == CeilingKind::Limit) {
    if (const Ceiling* row = find_ceiling(key.name)) {
      auto limit = limit_of_row(*row, value);
      if (!limit) return tl::unexpected(std::move(limit.error()));
      text = std::move(*limit);
    } else {
      bool empty = false;
      each_word(value, [&](std::string_view word) { empty = empty || word.empty(); });
      if (empty) return wrong("must be a number, or words with | between them, not " + quoted(value));
      text = trimmed(value);
    }
  }
  if (!text) {
    values.erase(key.name);
    return {};
  }
  if (values.size() >= kParametersMost && !values.contains(key.name))
    return wrong("is too many: a tier has at most " + std::to_string(kParametersMost) + " of this kind");
  values[key.name] = std::move(*text);
  return {};
}

Expected<void> check_ceilings(const Ceilings& ceilings) {
  for (const auto& [name, value] : ceilings.injected) {
    if (ceilings.limits.contains(name))
      return wrong("inject." + name + " leaves no room for a ceiling of it");
    if (ceilings.defaults.contains(name))
      return wrong("inject." + name + " leaves no room for a default of it");
  }
  for (const auto& [name, value] : ceilings.defaults) {
    const auto limit = ceilings.limits.find(name);
    if (limit == ceilings.limits.end()) continue;
    switch (judge(name, limit->second, value).kind) {
      case Verdict::Kind::Within: break;
      case Verdict::Kind::Lowered:
      case Verdict::Kind::Refused:
        return wrong("default." + name + " must lie within its ceiling " + limit->second + ", not " +
                     quoted(value));
    }
  }
  return {};
}

bool is_quantity(std::string_view value) { return guess(value).has_value(); }

Verdict judge(std::string_view name, std::string_view limit, std::string_view asked) {
  if (const Ceiling* row = find_ceiling(name)) return judge_row(*row, limit, asked);
  if (const auto number = guess(limit)) return judge_number(name, *number, limit, asked);
  return judge_words(limit, asked);
}

Verdict judge(const Ceilings& ceilings, std::string_view name, std::string_view asked) {
  const std::string_view sets = name == kWhoLoggedIn ? kRole : name;
  if (const auto fixed = ceilings.injected.find(sets); fixed != ceilings.injected.end()) {
    if (fixed->second == asked && sets == name) return within();
    if (name == kLabel) return lowered(fixed->second);
    return refused(sqlstate::kInsufficientPrivilege,
                   "parameter \"" + std::string(name) + "\" cannot be changed",
                   "The tier of this tenant sets it.");
  }
  const auto limit = ceilings.limits.find(name);
  return limit == ceilings.limits.end() ? within() : judge(name, limit->second, asked);
}

Ceilings stricter_of(Ceilings ceilings, const Ceilings& other) {
  for (const auto& [name, limit] : other.limits) {
    const auto [own, is_new] = ceilings.limits.emplace(name, limit);
    if (!is_new && judge(name, own->second, limit).kind == Verdict::Kind::Within) own->second = limit;
    const auto preset = ceilings.defaults.find(name);
    if (preset != ceilings.defaults.end() &&
        judge(name, own->second, preset->second).kind != Verdict::Kind::Within)
      ceilings.defaults.erase(preset);
  }
  return ceilings;
}

Ceilings for_tenant(const Ceilings& ceilings, std::string_view tenant, std::string_view tier) {
  Ceilings out = ceilings;
  for (Ceilings::Values* values : {&out.injected, &out.defaults})
    for (auto& [name, value] : *values) {
      // The tier first: its name is the operator's own, while a tenant may be called "{tier}".
      replace_all(value, "{tier}", tier);
      replace_all(value, "{tenant}", tenant);
    }
  return out;
}

Ceilings::Values startup_settings(const Ceilings& ceilings) {
  Ceilings::Values out = ceilings.injected;
  out.insert(ceilings.defaults.begin(), ceilings.defaults.end());
  for (const auto& [name, limit] : ceilings.limits) {
    const Ceiling* row = find_ceiling(name);
    if (row && row->held_by == HeldBy::Superuser) continue;
    out.emplace(name,
                row || guess(limit) ? limit : trimmed(std::string_view(limit).substr(0, limit.find('|'))));
  }
  return out;
}

std::chrono::milliseconds time_limit(const Ceilings& ceilings, std::string_view name) {
  const auto fixed = ceilings.injected.find(name);
  const auto limit = ceilings.limits.find(name);
  std::string_view text;
  if (fixed != ceilings.injected.end())
    text = fixed->second;
  else if (limit != ceilings.limits.end())
    text = limit->second;
  const double value = read_value(text, Measure::Milliseconds).value_or(0);
  return std::chrono::milliseconds(static_cast<std::int64_t>(std::clamp<double>(value, 0, kGucMax)));
}

bool known_to(int version, std::string_view name) {
  const Ceiling* row = find_ceiling(name);
  return !row || row->since <= version;
}

}  // namespace pgweir::tiers
