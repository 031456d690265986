#include "pooler/login_verdict.h"

#include <algorithm>
#include <array>
#include <string_view>

namespace pgweir {

namespace {
// Postgres speaks of itself: it starts, stops, has crashed, or is out of disk or memory.
constexpr std::array<std::string_view, 8> kOfTheBackend{"57P01", "57P02", "57P03", "53000",
                                                        "53100", "53200", "58000", "XX000"};
}  // namespace

bool says_you(const Error& error) {
  const std::string_view code = error.sqlstate;
  return code.substr(0, 2) == "28" || code.substr(0, 2) == "3D" || code == sqlstate::kInsufficientPrivilege ||
         code == sqlstate::kInvalidParameterValue || code == sqlstate::kUndefinedObject;
}

LoginVerdict login_verdict(const Error& error, Teller teller, Stage stage) {
  using Outcome = Breaker::Outcome;
  const std::string_view code = error.sqlstate;
  // It is full, and there: who waits for a place is no failure.
  if (code == sqlstate::kTooManyConnections) return {Outcome::Answered, Outcome::Nothing};
  const bool refused_us = code.substr(0, 2) == "28";  // or what it asks for is more than we tell it
  if (stage == Stage::Authenticated || refused_us) return {Outcome::Answered, Outcome::Failed};
  const bool unanswerable = stage == Stage::Challenged && code != sqlstate::kCannotConnectNow;
  if (unanswerable && teller == Teller::Ourselves) return {Outcome::Answered, Outcome::Failed};
  if (teller == Teller::Ourselves) return {Outcome::Failed, Outcome::Nothing};
  const bool of_all = std::find(kOfTheBackend.begin(), kOfTheBackend.end(), code) != kOfTheBackend.end();
  if (of_all) return {Outcome::Failed, Outcome::Nothing};
  return {Outcome::Answered, Outcome::Failed};
}

}  // namespace pgweir
