#include "pooler/server_core.h"

#include <catch2/catch.hpp>

#include "tests/support/messages.h"

using namespace pgweir;
using namespace pgweir::test;
using protocol::Gather;
using protocol::Owed;
using protocol::Pipeline;

namespace {

struct Witness final : ServerCore::Audience {
  std::optional<Bytes> on_parameter(Bytes name, Bytes value) override {
    heard += std::string(name) + "=" + std::string(value) + ";";
    return value;
  }
  void on_op_dropped(StatementOp& op) override { heard += "dropped " + op.name + ";"; }
  void on_all_deallocated() override { heard += "deallocated;"; }
  void on_all_discarded() override { heard += "discarded;"; }
  void on_audited(Findings& findings, Gather&) override {
    heard += "audited " + pin::names(findings.pins);
    for (const auto& [name, value] : findings.settings) heard += " " + name + "=" + value.value_or("default");
    heard += ";";
  }
  bool on_ours_failed(Bytes body) override {
    heard += "failed " + protocol::parse_error(body).sqlstate + ";";
    return true;
  }
  std::string heard;
};

struct Server {
  SettingsBook book;
  ServerCore core{book.empty()};
  Witness witness;
  std::string to_client;
  ServerCore::Outcome says(Bytes in) {
    const std::string buffer(in);
    Gather gather;
    const ServerCore::Outcome outcome = core.read(buffer, gather, witness);
    to_client += gather.text();
    return outcome;
  }
};

}  // namespace

TEST_CASE("a server is quiet between messages, outside a transaction, with nothing owed") {
  Server server;
  CHECK(server.core.quiet());
  CHECK(server.core.clean());
  server.core.pipeline.push(Owed::Query);
  CHECK_FALSE(server.core.quiet());
  CHECK(server.says(done("BEGIN") + ready('T')).readies == 1);
  CHECK_FALSE(server.core.quiet());
  server.core.pipeline.push(Owed::Query);
  server.says(done("COMMIT") + ready());
  CHECK(server.core.quiet());
  for (const std::string& part : {notice().substr(0, 3), parameter("TimeZone", "UTC").substr(0, 8)}) {
    Server cut;
    cut.says(part);
    CHECK(cut.core.mid_message());
    CHECK_FALSE(cut.core.quiet());
  }
}

TEST_CASE("whether the client stands inside a message is known at every byte") {
  const std::string answer = row_description() + row("value") + done() + notice() + ready();
  for (std::size_t cut = 0; cut <= answer.size(); ++cut) {
    CAPTURE(cut);
    Server server;
    server.core.pipeline.push(Owed::Query);
    server.says(answer.substr(0, cut));
    const std::vector<std::string> sent = split(server.to_client);
    CHECK(server.core.mid_forward() == (!sent.empty() && sent.back() == "?"));
    server.says(answer.substr(cut));
    CHECK(server.to_client == answer);
    CHECK(server.core.quiet());
  }
}

TEST_CASE("rows of any size are passed on as they come") {
  Server server;
  server.core.pipeline.push(Owed::Query);
  const std::string large = row(std::string(1 << 20, 'x'));
  for (std::size_t at = 0; at < large.size(); at += 65'536) {
    server.says(Bytes(large).substr(at, 65'536));
    CHECK(server.to_client.size() == std::min(at + 65'536, large.size()));
    CHECK(server.core.body_left() == large.size() - server.to_client.size());
  }
  CHECK(server.to_client == large);
}

TEST_CASE("what others hear of is told at the message, cut or not") {
  const std::string answer = parameter("TimeZone", "UTC") + done("DEALLOCATE ALL") + done("DISCARD ALL") +
                             done("SELECT 1") + done("DISCARD ALL\0x") + ready();
  for (std::size_t cut = 0; cut <= answer.size(); ++cut) {
    Server server;
    server.core.pipeline.push(Owed::Query);
    server.says(answer.substr(0, cut));
    server.says(answer.substr(cut));
    CHECK(server.witness.heard == "TimeZone=UTC;deallocated;deallocated;discarded;deallocated;discarded;");
  }
}

TEST_CASE("statements count when they are answered, and dropped ones are told newest first") {
  Server server;
  const auto push = [&](StatementOp::Kind kind, StatementId id, std::string name) {
    REQUIRE(server.core.pipeline.push(Owed::Parse, Pipeline::Whose::Clients, Pipeline::Op::Statement));
    server.core.ops.push_back({kind, 0, id, std::move(name), {}});
  };
  push(StatementOp::Kind::Prepare, 1, "a");
  push(StatementOp::Kind::Prepare, 2, "b");
  push(StatementOp::Kind::Evict, 3, "c");
  server.core.pipeline.push(Owed::Sync);
  push(StatementOp::Kind::Prepare, 4, "d");
  server.says(parsed());
  CHECK(server.core.statements.knows(1));
  CHECK_FALSE(server.core.statements.knows(2));
  server.says(error() + ready());
  CHECK(server.witness.heard == "dropped c;dropped b;");
  CHECK_FALSE(server.core.statements.knows(2));
  CHECK(server.core.statements.knows(3));  // its Close was skipped
  CHECK(server.core.ops.size() == 1);
}

TEST_CASE("settings are applied in one batch and count when it has succeeded") {
  Server server;
  const SettingsRef wanted = server.book.intern({{"client_encoding", "utf8"}, {"work_mem", "1MB"}});
  Gather out;
  server.core.apply_settings(wanted, out);
  CHECK(told_to_server(out.text()) == "P:pgweir_set B:pgweir_set E B:pgweir_set E S");
  CHECK_FALSE(server.core.clean());
  SECTION("it has") {
    server.says(parsed() + bound() + row("UTF8") + done() + bound() + row("1MB") + done() +
                parameter("client_encoding", "UTF8"));
    CHECK(server.core.applied == server.book.empty());
    CHECK(server.says(ready()).readies == 0);
    CHECK(server.core.applied == wanted);
    CHECK(wanted->reported.at("client_encoding") == "UTF8");
    CHECK(server.witness.heard.empty());
    CHECK(server.core.clean());
    out.clear();
    server.core.apply_settings(wanted, out);
    CHECK(out.empty());
    server.core.apply_settings(server.book.empty(), out);  // both return to their defaults
    CHECK(told_to_server(out.text()) == "B:pgweir_set E B:pgweir_set E S");
  }
  SECTION("it has not") {
    server.says(parsed() + bound() + error("22023") + ready());
    CHECK(server.witness.heard == "failed 22023;");
    CHECK(server.core.applied == server.book.empty());
    CHECK(server.core.clean());
  }
  CHECK(server.to_client.empty());
}

TEST_CASE("a value of a setting is read however it arrives, up to what a client may have of all") {
  constexpr std::size_t kMost = kSettingsBytesMost - 10;
  for (const std::size_t size : {std::size_t{20}, std::size_t{17'000}, kMost, kMost + 2'000}) {
    const std::string value(size, 'x');
    const std::string answer = parsed() + bound() + row(value) + done() + ready();
    const auto tells = [&](const std::vector<std::size_t>& cuts) {
      Server server;
      Gather out;
      server.core.audit({{Question::Kind::Value, "app.long"}}, out);
      std::size_t at = 0;
      for (const std::size_t cut : cuts) server.says(answer.substr(at, cut - at)), at = cut;
      server.says(answer.substr(at));
      CHECK(server.to_client.empty());
      return server.witness.heard;
    };
    const std::string read = "audited  app.long=" + value + ";", unread = "audited settings;";
    const std::size_t step = size < 100 ? 1 : 211,
                      row_ends = parsed().size() + bound().size() + row(value).size();
    for (std::size_t cut = 1; cut < answer.size(); cut += step) {
      CAPTURE(size, cut);
      const bool whole = cut >= row_ends || cut <= parsed().size() + bound().size();
      CHECK((tells({cut}) == (size <= kMost || whole ? read : unread)));
    }
    std::vector<std::size_t> all;
    for (std::size_t cut = 1; cut < answer.size(); cut += step) all.push_back(cut);
    CHECK((tells(all) == (size <= kMost ? read : unread)));
  }
}

TEST_CASE("a date style that says a part only is given to what sessions begin with") {
  Server server;
  server.core.applied = server.book.intern({{"DateStyle", "German, DMY"}});
  Gather out;
  server.core.apply_settings(server.book.intern({{"datestyle", "MDY"}}), out);
  // Else it would stay German, which is another client's.
  CHECK(told_to_server(out.text()) == "P:pgweir_set B:pgweir_set E B:pgweir_set E S");
  const std::vector<std::string> sent = split(out.text());
  CHECK(sent[1].find("DateStyle") != std::string::npos);
  CHECK(sent[1].find("MDY") == std::string::npos);
  CHECK(sent[3].find("MDY") != std::string::npos);
}

TEST_CASE("an error is fatal when nobody asked or when it says so") {
  struct Row {
    bool asked;
    const char* severity;
    bool fatal;
  };
  for (const Row& one : {Row{true, "ERROR", false},
                         {true, "FATAL", true},
                         {true, "PANIC", true},
                         {false, "ERROR", true},
                         {false, "FATAL", true}}) {
    CAPTURE(one.asked, one.severity);
    const std::string message = error("57P01", "bye", one.severity);
    for (std::size_t cut = 0; cut < message.size(); ++cut) {
      Server server;
      if (one.asked) server.core.pipeline.push(Owed::Query);
      CHECK_FALSE(server.says(message.substr(0, cut)).fatal);
      CHECK(server.says(message.substr(cut)).fatal == one.fatal);
      CHECK(server.to_client == message);
    }
  }
}

TEST_CASE("no sequence of bytes makes a server say more than was asked") {
  // Each type in each place, whole and as a bare header.
  for (int c = 0; c < 256; ++c)
    for (const std::uint32_t length : {0u, 4u, 5u, 9u, 0x3fffffffu, 0xffffffffu})
      for (const Owed kind : {Owed::Query, Owed::Sync, Owed::Parse, Owed::Execute}) {
        Server server;
        server.core.pipeline.push(kind);
        std::string bytes(9, 'I');
        bytes[0] = static_cast<char>(c);
        protocol::store_u32(bytes.data() + 1, length);
        const ServerCore::Outcome outcome = server.says(bytes);
        CHECK((outcome.broken != nullptr || server.to_client.size() <= bytes.size()));
      }
}

TEST_CASE("what a vanished client has begun is brought to its end") {
  Server server;
  protocol::Gather out;
  SECTION("a batch without its Sync is rolled back, as Postgres does") {
    server.core.pipeline.push(Owed::Parse);
    server.core.wind_up(out);
    CHECK(told_to_server(out.text()) == "Q:ROLLBACK S");
    server.says(parsed() + done("ROLLBACK") + ready() + ready());
  }
  SECTION("a batch that has failed") {
    server.core.pipeline.push(Owed::Parse);
    server.says(error("42601"));
    server.core.wind_up(out);
    CHECK(told_to_server(out.text()) == "Q:ROLLBACK S");  // the first is skipped
    server.says(ready());
  }
  SECTION("a batch that fails by the cancel") {
    server.core.pipeline.push(Owed::Execute);
    server.core.wind_up(out);
    server.says(error("57014") + ready());
  }
  SECTION("all else ends by itself") {
    server.core.pipeline.push(Owed::Query);
    server.core.wind_up(out);
    CHECK(out.empty());
    server.says(error("57014") + ready('T'));
    CHECK(server.core.settled());
    CHECK_FALSE(server.core.quiet());
    server.core.begin_rollback(out);
    CHECK(told_to_server(out.text()) == "Q:ROLLBACK");
    server.says(done("ROLLBACK") + ready());
  }
  CHECK(server.core.quiet());
  CHECK(server.core.dirty);
}

TEST_CASE("an error of ours replaces the server's, for a query once and with its ReadyForQuery") {
  Server server;
  const auto refuse = [&](Owed kind) {
    StatementOp op{StatementOp::Kind::Refuse, 0, 0, error("53400"), {}};
    if (server.core.pipeline.push(kind, Pipeline::Whose::Clients, Pipeline::Op::Statement))
      server.core.ops.push_back(std::move(op));
  };
  SECTION("a simple query") {
    refuse(Owed::Query);
    server.core.pipeline.push(Owed::Query);
    CHECK(server.says(error("42601")).readies == 0);
    CHECK(server.says(ready()).readies == 1);
    CHECK(server.core.ops.empty());
    server.says(error("42601") + ready());
    CHECK(told(server.to_client) == "E:53400 Z:I E:42601 Z:I");
  }
  SECTION("a simple query, its error in pieces") {
    refuse(Owed::Query);
    for (const char byte : error("42601") + ready()) server.says({&byte, 1});
    CHECK(told(server.to_client) == "E:53400 Z:I");
  }
  SECTION("the server's last words are its own") {
    refuse(Owed::Query);
    CHECK(server.says(error("57P01", "bye", "FATAL")).fatal);
    CHECK(told(server.to_client) == "E:57P01:FATAL");
    return;
  }
  SECTION("a batch") {
    refuse(Owed::Bind);
    server.core.pipeline.push(Owed::Execute);
    server.core.pipeline.push(Owed::Sync);
    server.says(error("26000") + ready());
    CHECK(told(server.to_client) == "E:53400 Z:I");
  }
  SECTION("a query that the server skips") {
    server.core.pipeline.push(Owed::Parse);
    refuse(Owed::Query);
    server.core.pipeline.push(Owed::Sync);
    server.says(error("42601") + ready());
    CHECK(told(server.to_client) == "E:42601 Z:I");
  }
  CHECK(server.core.ops.empty());
  CHECK(server.core.quiet());
}
