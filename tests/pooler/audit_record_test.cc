#include "pooler/audit_record.h"

#include <catch2/catch.hpp>
#include <cstdlib>
#include <fstream>
#include <nlohmann/json.hpp>
#include <set>
#include <sstream>

using namespace pgweir;

namespace {
constexpr std::int64_t kTime = 1'767'225'600'007;  // 2026-01-01 00:00:00.007 UTC
}

TEST_CASE("an audit line is one JSON object in ECS") {
  CHECK(format_audit(AuditEvent::LoginRefused, AuditOutcome::Failure, kTime, 42,
                     {{AuditKey::User, "app"},
                      {AuditKey::Address, "10.0.0.7"},
                      {AuditKey::Port, 4711},
                      {AuditKey::Database, ""},
                      {AuditKey::Reason, "no \"such\" user"},
                      {AuditKey::Sqlstate, "28P01"}}) ==
        R"({"@timestamp":"2026-01-01T00:00:00.007Z","ecs.version":"8.11.0","event.dataset":"pgweir.audit",)"
        R"("event.kind":"event","event.action":"login_refused","event.category":["authentication"],)"
        R"("event.type":["start"],"event.outcome":"failure","service.name":"pgweir","process.pid":42,)"
        R"("user.name":"app","source.ip":"10.0.0.7","source.address":"10.0.0.7","source.port":4711,)"
        R"("event.reason":"no \"such\" user","error.code":"28P01"})");
}

TEST_CASE("source.ip is there for addresses that collectors take") {
  const struct {
    const char* address;
    bool ip;
  } cases[] = {{"10.1.2.3", true}, {"::1", true},           {"2001:db8::7", true},
               {"unix", false},    {"fe80::1%eth0", false}, {"db.internal", false}};
  for (const auto& one : cases) {
    INFO(one.address);
    const auto line = nlohmann::json::parse(format_audit(AuditEvent::LoginOk, AuditOutcome::Success, kTime, 1,
                                                         {{AuditKey::Address, one.address}}));
    CHECK(line.contains("source.ip") == one.ip);
    CHECK(line["source.address"] == one.address);
  }
}

TEST_CASE("what came from a client is masked, cut and stays one line") {
  const auto line = format_audit(AuditEvent::ConsoleCommand, AuditOutcome::Success, kTime, 1,
                                 {{AuditKey::User, "alice@example.com"},
                                  {AuditKey::Argument, "password=hunter2\nBearer abcdefghijklmnop"},
                                  {AuditKey::Command, std::string(100'000, 'x')}});
  CHECK(line.size() < 6000);
  CHECK(line.find('\n') == std::string::npos);
  const auto read = nlohmann::json::parse(line);
  CHECK(read["user.name"] == "***@example.com");
  CHECK(read["pgweir.argument"] == "password=***\nBearer ***");
}

TEST_CASE("the table of audit events is in order, and its names are unique") {
  std::set<std::string_view> actions;
  for (std::size_t i = 0; i < audit_rows().size(); ++i) {
    CHECK(static_cast<std::size_t>(audit_rows()[i].event) == i);
    CHECK(actions.insert(audit_rows()[i].action).second);
  }
  CHECK(audit_rows().size() == static_cast<std::size_t>(AuditEvent::LinesLost) + 1);
}

TEST_CASE("pooler/audit.md is what the table says") {
  const std::string path = PGWEIR_SOURCE_DIR "/pooler/audit.md";
  if (std::getenv("PGWEIR_WRITE_REFERENCE") != nullptr) std::ofstream(path) << audit_reference();
  std::stringstream text;
  text << std::ifstream(path).rdbuf();
  CHECK(text.str() == audit_reference());
}
