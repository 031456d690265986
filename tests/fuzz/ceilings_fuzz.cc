// Fields of a tier and values that sessions ask for: whatever is read as within a ceiling is at most the
// ceiling, and what a tier prints it reads again.
#include <cstdint>
#include <cstdio>
#include <cstdlib>
#include <string_view>

#include "tiers/tier.h"

using namespace pgweir::tiers;

namespace {

void must(bool holds, const char* what) {
  if (holds) return;
  std::fprintf(stderr, "%s\n", what);
  std::abort();
}

void read_back(double value, Measure measure) {
  const std::string text = spell_value(value, measure);
  const auto again = read_value(text, measure);
  must(again && (measure == Measure::Real || *again == value), "a value that is printed is read again");
}

void judge_one(const Ceiling& row, std::string_view text, std::string_view limit_text) {
  const auto limit = read_value(limit_text, row.measure);
  const double least = static_cast<double>(row.least), most = static_cast<double>(row.most);
  if (!limit || *limit < least || *limit > most) return;
  if (row.unlimited && *limit == static_cast<double>(*row.unlimited)) return;
  const auto value = read_value(text, row.measure);
  const Verdict verdict = judge(row.name, limit_text, text);
  if (verdict.kind == Verdict::Kind::Within) {
    must(value && *value <= *limit, "within lies below");
    must(!row.unlimited || *value != static_cast<double>(*row.unlimited), "no limit is never within");
    if (*value >= least) read_back(*value, row.measure);
  } else if (verdict.kind == Verdict::Kind::Lowered) {
    must(value.has_value() && verdict.to == limit_text, "lowered to the ceiling");
    must(judge(row.name, limit_text, verdict.to).kind == Verdict::Kind::Within, "the ceiling lies within");
  }
}

}  // namespace

// A field, its value and what a session asks for, with line ends between them.
extern "C" int LLVMFuzzerTestOneInput(const std::uint8_t* data, std::size_t size) {
  std::string_view rest(reinterpret_cast<const char*>(data), size);
  const auto next = [&rest] {
    const std::size_t end = rest.find('\n');
    const std::string_view word = rest.substr(0, end);
    rest.remove_prefix(end == std::string_view::npos ? rest.size() : end + 1);
    return word;
  };
  const std::string_view field = next(), value = next(), asked = next();
  for (const Ceiling& row : kCeilings) judge_one(row, asked, value);
  Tier tier;
  if (!set_tier_field(tier, field, value)) return 0;
  for (const TierField& known : tier_fields()) {
    Tier again;
    must(set_tier_field(again, known.key, tier_text(tier, known)).has_value(),
         "a field that is printed is read again");
    must(tier_text(again, known) == tier_text(tier, known), "and means the same");
  }
  const Ceilings own = for_tenant(*tier.ceilings, "acme", "free");
  if (!check_ceilings(own)) return 0;
  for (const auto& [name, begins] : startup_settings(own))
    must(judge(own, name, begins).kind == Verdict::Kind::Within, "sessions begin within their ceilings");
  for (const auto& [name, limit] : own.limits) (void)judge(own, name, asked);
  return 0;
}
