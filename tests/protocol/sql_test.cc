#include "protocol/sql.h"

#include <catch2/catch.hpp>
#include <string>

using namespace pgweir;
using namespace pgweir::protocol;

namespace {

// "Kind(name) ..." of the statements, then what all of them change.
std::string told(Bytes text) {
  const SqlEffects effects = read_sql(text);
  if (effects.read == SqlEffects::Read::Unknown) return "Unknown";
  std::string out;
  const auto changes = [&out](const SqlChanges& c) {
    for (const std::string& setting : c.settings) out += " =" + setting;
    if (c.any_setting) out += " any_setting";
    if (c.temp) out += " temp";
    if (c.temp_gone) out += " temp_gone";
    if (c.hold_cursor) out += " hold_cursor";
    if (c.cursor_gone) out += " cursor_gone";
    if (c.advisory_lock) out += " lock";
    if (c.advisory_unlock) out += " unlock";
    if (c.listens) out += " listens";
    if (c.unlistens) out += " unlistens";
    if (c.opaque) out += " opaque";
    if (c.unfollowable) out += " unfollowable";
  };
  for (const SqlStatement& statement : effects.statements) {
    if (&statement != &effects.statements.front()) out += "; ";
    out += name(statement.kind);
    if (!statement.name.empty()) out += "(" + statement.name + ")";
    changes(statement.changes);
  }
  return out;
}

}  // namespace

TEST_CASE("what a text does to its session") {
  CHECK(told("select 1") == "Other");
}
