// tests/fuzz/ruling_fuzz.cc - what becomes of a SQL text under ceilings: the text that goes in its place is
// read again, and holds nothing above a ceiling any more.
#include <cstddef>
#include <cstdint>
#include <memory>
#include <string>

#include "pooler/base/check.h"
#include "pooler/ceiling_guard.h"
#include "protocol/sql.h"

using namespace pgweir;

namespace {

tiers::Tenant tenant_of(tiers::Inspection inspection) {
  tiers::Tenant tenant;
  tenant.name = "acme";
  tenant.limits.name = "free";
  tenant.limits.inspection = inspection;
  constexpr const char* kFields[][2] = {
      {"work_mem", "4MB"}, {"statement_timeout", "10s"}, {"temp_buffers", "1MB"}, {"ceiling.jit", "off"}};
  for (const auto& [name, value] : kFields)
    PGWEIR_CHECK(tiers::set_tier_field(tenant.limits, name, value).has_value());
  PGWEIR_CHECK(tiers::set_tier_field(tenant.limits, "inject.app.tenant_id", "{tenant}").has_value());
  return tenant;
}

void check(CeilingGuard& guard, const std::string& text) {
  const protocol::SqlEffects effects = protocol::read_sql(text);
  const std::unique_ptr<Ruling> ruling = guard.rule(effects, text);
  if (!ruling) return;
  if (ruling->refused) {
    PGWEIR_CHECK(!ruling->refused->message.empty() && ruling->text.empty());
    return;
  }
  PGWEIR_CHECK(effects.read == protocol::SqlEffects::Read::Parsed);
  PGWEIR_CHECK(!ruling->lowered.empty() || !effects.reach.unsure.empty());
  const protocol::SqlEffects again = protocol::read_sql(ruling->text);
  // A text at the very bound of what is read may pass it.
  if (again.read == protocol::SqlEffects::Read::Unknown)
    PGWEIR_CHECK(text.size() + (ruling->lowered.size() + effects.reach.unsure.size()) * 64 >
                     protocol::kSqlTextMax ||
                 text.size() > protocol::kSqlNestingMax);
  else
    PGWEIR_CHECK(again.statements.size() == effects.statements.size() && !guard.rule(again, ruling->text));
}

}  // namespace

extern "C" int LLVMFuzzerTestOneInput(const std::uint8_t* data, std::size_t size) {
  static const tiers::Tenant standard = tenant_of(tiers::Inspection::Standard);
  static const tiers::Tenant strict = tenant_of(tiers::Inspection::Strict);
  static CeilingGuard by_standard(standard), by_strict(strict);
  const std::string text(reinterpret_cast<const char*>(data), size);
  check(by_standard, text);
  check(by_strict, text);
  return 0;
}
