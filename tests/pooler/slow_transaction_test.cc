#include "pooler/slow_transaction.h"

#include <catch2/catch.hpp>
#include <string>
#include <vector>

using namespace pgweir;

namespace {

class Lines final : public Log {
 public:
  void write(LogLevel, std::string_view event, Fields fields) override {
    std::string line(event);
    for (const LogField& field : fields) line += " " + std::string(field.key) + "=" + field.value;
    lines.push_back(line);
  }
  bool enabled(LogLevel) const override { return true; }
  std::vector<std::string> lines;
};

SlowTransaction slow(const std::string& sql) {
  SlowTransaction one;
  one.tenant = "acme";
  one.tier = "free";
  one.user = "alice";
  one.address = "10.0.0.1";
  one.client = 7;
  one.outcome = "done";
  one.held = std::chrono::milliseconds(1500);
  one.waited = std::chrono::milliseconds(20);
  one.queries = 3;
  one.longest = std::chrono::milliseconds(1400);
  one.text.keep(sql, true);
  return one;
}

}  // namespace

TEST_CASE("a slow transaction is told with a fingerprint and a trace, and without its text") {
  Lines log;
  tell(log, slow("select 1 /*traceparent='00-4bf92f3577b34da6a3ce929d0e0e4736-00f067aa0ba902b7-01'*/"),
       Fingerprint::Told);
  CHECK(log.lines.back() ==
        "slow_transaction tenant=acme tier=free user=alice addr=10.0.0.1 client=7 outcome=done held_ms=1500 "
        "wait_ms=20 queries=3 longest_ms=1400 fingerprint=50fde20626009aba "
        "trace.id=4bf92f3577b34da6a3ce929d0e0e4736 span.id=00f067aa0ba902b7");
  tell(log, slow("select 'secret'"), Fingerprint::Told);
  CHECK_THAT(log.lines.back(), !Catch::Contains("secret"));
  CHECK_THAT(log.lines.back(), Catch::EndsWith(" fingerprint=50fde20626009aba trace.id= span.id="));
  tell(log, slow("select 1"), Fingerprint::LeftOut);
  CHECK_THAT(log.lines.back(), Catch::Contains(" fingerprint= "));
}
