// Prepared statements that outlive a server.
#include "tests/pooler/session_help.h"

using namespace pgweir;
using namespace pgweir::test;

using State = SessionCore::State;

TEST_CASE("a tier bounds the statements of one client, and what they hold") {
  struct Row {
    std::uint32_t count, bytes;
    tiers::Limit limit;
    const char* says;
  };
  for (const Row& row : {Row{2, 0, tiers::Limit::Statements,
                             "max_client_statements of tier free: 2 of 2 statements are in use."},
                         Row{0, 30, tiers::Limit::StatementBytes,
                             "max_client_statement_bytes of tier free: 24 of 30 bytes are in use."}}) {
    CAPTURE(row.says);
    Place place;
    place.tenant.limits.max_client_statements = row.count;
    place.tenant.limits.max_client_statement_bytes = row.bytes;
    std::vector<std::string> told;
    place.pins.on_refused = [&](tiers::Limit limit, const Error& refused, Bytes sql) {
      CHECK(limit == row.limit);
      told.push_back(refused.detail + " " + std::string(sql));
    };
    tiers::Directory tiers;
    tiers::Tier starter;
    starter.name = "starter";
    starter.max_client_statements = 10;
    starter.max_client_statement_bytes = 1000;
    REQUIRE(tiers.add_tier(starter));
    place.pins.tiers = [&]() -> const tiers::Directory& { return tiers; };
    Client client(place);
    client.says(parse("a", "select 1") + parse("b", "select 2") + sync_message());
    client.granted(place.server);
    client.hears(parsed() + parsed() + ready());
    client.seen();
    CHECK(client.core.statement_count() == 2);
    CHECK(client.core.statement_bytes() == 24);
    client.says(parse("c", "select 3") + sync_message());
    client.granted(place.server);
    CHECK(client.sent().find("select 3") == std::string::npos);
    client.hears(error("42601") + ready());
    std::string detail, hint;
    for (const std::string& one : split(client.to_client))
      if (one[0] == 'E') {
        detail = protocol::parse_error(Bytes(one).substr(5)).detail;
        hint = protocol::parse_error(Bytes(one).substr(5)).hint;
      }
    CHECK(hint ==
          std::string("Close statements that are not needed (DEALLOCATE), or choose a tier that allows more; "
                      "starter allows ") +
              (row.count > 0 ? "10." : "1000."));
    CHECK(client.seen() == "E:53400 Z:I");
    CHECK(detail == row.says);
    CHECK(told == std::vector<std::string>{std::string(row.says) + " select 3"});
    // Another name for a text that it has counts, too; one that is closed leaves its room.
    client.says(close('S', "a") + sync_message());
    client.granted(place.server);
    client.hears(closed() + ready());
    CHECK(client.core.statement_bytes() == 12);
    client.seen();
    client.says(parse("c", "select 2") + sync_message());
    client.granted(place.server);
    client.hears(closed() + parsed() + ready());
    CHECK(client.core.statement_count() == 2);
    CHECK(client.core.statement_bytes() == 24);
  }
}

namespace {
std::string long_text(int number, std::size_t size = 10'000) {
  return "select " + std::string(1, static_cast<char>('0' + number)) + " -- " + std::string(size, 'x');
}
// To a tenant, without its name.
constexpr std::size_t kLongCost = 10'000 + 12 + 3 + 1 + StatementBook::kStatementCost;

std::string refused(Client& client) {
  for (const std::string& one : split(client.to_client))
    if (one[0] == 'E') {
      const protocol::ErrorFields error = protocol::parse_error(Bytes(one).substr(5));
      return error.sqlstate + " " + error.detail;
    }
  return {};
}
}  // namespace

TEST_CASE("a tenant has its own room for statements") {
  Place place(3 * (kLongCost + 200));
  TenantStatements others;
  Client first(place), second(place), other(place, others);
  const auto prepare = [&](Client& client, Bytes name, int number) {
    client.to_client.clear();
    client.says(parse(name, long_text(number)) + sync_message());
    client.granted(&client == &other ? place.other : place.server);
    const bool sent = client.sent().find("select ") != std::string::npos || client.out.server_parses > 0;
    client.hears((sent ? parsed() : error("26000")) + ready());
    CHECK(client.core.state() == State::Idle);
    return refused(client);
  };
  for (int i = 0; i < 3; ++i) CHECK(prepare(i % 2 ? first : second, std::to_string(i), i).empty());
  const std::size_t names = 3 * ClientStatements::cost("0");
  CHECK(place.statements.bytes() == 3 * kLongCost + names);
  for (Client* const client : {&first, &second})
    CHECK(prepare(*client, "more", 9) ==
          "53400 pool.prepared_statement_bytes: " + std::to_string(3 * kLongCost + names) + " of " +
              std::to_string(place.books.statements.bytes_max()) +
              " bytes are used by all clients of this tenant.");
  CHECK(place.statements.bytes() == 3 * kLongCost + names);
  for (int i = 2; i < 5; ++i) CHECK(prepare(other, std::to_string(i), i).empty());
  CHECK(prepare(other, "more", 9).starts_with("53400 "));
  CHECK(others.bytes() == 3 * kLongCost + names);
  // What it has is used as ever.
  CHECK(first.runs(bind("1") + execute() + sync_message(), rows_of_batch(), place.server) ==
        "B:pgweir_2 E S");
  // It need not be the one who was refused that makes room.
  CHECK(second.says(query("deallocate all")).empty());
  CHECK(place.statements.bytes() == kLongCost + ClientStatements::cost("0"));
  CHECK(prepare(first, "more", 9).empty());
  CHECK(prepare(other, "more", 9).starts_with("53400 "));
}

TEST_CASE("what a request under way holds costs its tenant as much as a name") {
  Place place(3 * (kLongCost + 200));
  Client client(place);
  const auto round = [](int number) { return parse("s", long_text(number)) + bind("s") + close('S', "s"); };
  SECTION("until it is answered") {
    std::string batch;
    for (int i = 0; i < 4; ++i) batch += round(i);
    client.says(batch);
    client.granted(place.server);
    CHECK(place.statements.bytes() == 3 * kLongCost);
    CHECK(place.server.ops.back().kind == StatementOp::Kind::Refuse);
    client.says(sync_message());
    for (int i = 0; i < 3; ++i) client.hears(parsed() + bound() + closed());
    CHECK(place.statements.bytes() == 0);
    client.hears(error("26000") + ready());
    CHECK(refused(client).starts_with("53400 "));
    CHECK(client.core.state() == State::Idle);
    CHECK(client.core.statement_count() == 0);
  }
  SECTION("also where answers never pause") {
    client.says(round(0));
    client.granted(place.server);
    for (int i = 1; i < 50; ++i) {
      client.says(round(i));
      CHECK(client.held.empty());
      client.hears(parsed() + bound() + closed());
      CHECK(place.statements.bytes() == kLongCost);
      CHECK(place.books.statements.bytes() <= place.books.statements.bytes_max());
      CHECK(place.server.uses.size() <= 2);
    }
    CHECK(refused(client).empty());
  }
  SECTION("or its client has vanished") {
    client.says(round(0) + parse("t", long_text(1)) + describe('S', "t") + bind("t") + describe() +
                execute() + sync_message());
    client.granted(place.server);
    CHECK(place.statements.bytes() == 2 * kLongCost + ClientStatements::cost("t"));
    CHECK(client.step([&] { client.core.client_gone(client.out); }) == "abandon");
    CHECK(place.statements.bytes() == kLongCost + ClientStatements::cost("t"));  // what it has a name for
    protocol::Gather to_client;
    ServerCore::Audience nobody;
    const std::string answers = parsed() + bound() + closed() + parsed() + parameters({25}) +
                                row_description() + bound() + row_description() + row() + done() + ready();
    CHECK(place.server.read(answers, to_client, nobody).broken == nullptr);
    CHECK((place.server.ops.empty() && place.server.clean()));
  }
  SECTION("also a statement that its server was lent") {
    client.says(query("begin"));
    client.granted(place.server);
    client.hears(done("BEGIN") + ready('T'));
    client.says(parse("s", long_text(0)) + sync_message());
    client.hears(parsed() + ready('T'));
    const std::size_t before = place.statements.bytes();
    client.says(query("select 1; execute s"));
    CHECK(client.core.statement_count() == 0);
    CHECK(place.statements.bytes() == before - ClientStatements::cost("s"));
  }
}

TEST_CASE("a Bind that would be too long with the server's name for its statement goes to no server") {
  Place place;
  Client client(place);
  client.runs(parse("n", "select 1") + sync_message(), parsed() + ready(), place.server);
  client.sent();
  client.seen();
  std::string begin = bind("n");
  const std::uint32_t size = GENERATE(protocol::kLargeMessage - 20, protocol::kLargeMessage);
  protocol::store_u32(begin.data() + 1, size);
  client.says(begin + std::string(20'000, '\0'));
  CHECK(client.granted(place.server).starts_with("close"));
  CHECK(client.sent().empty());
  CHECK(client.seen() == "E:08P01:FATAL");
}

TEST_CASE("the text of the request that waits is known, however it is asked") {
  Place place;
  Client client(place);
  const auto asked = [&client](Bytes held) {
    const KeptText text = client.core.asked(held);
    CHECK(text.head.size() <= KeptText::kHeadMax);
    return text.head + (text.cut ? "..." + text.tail : "");
  };
  CHECK(asked(query("select 1")) == "select 1");
  CHECK(asked(query("select 1") + query("select 2")) == "select 1");
  CHECK(asked(Bytes(query("select 1")).substr(0, 10)) == "selec...");
  CHECK(asked(parse("a", "select 2")) == "select 2");
  CHECK(asked(Bytes(parse("a", "select 2")).substr(0, 12)) == "selec...");
  CHECK(asked(query(std::string(9000, 'x') + " end")).ends_with("xxx end"));
  for (const std::string& none : {sync_message(), bind("b"), bind(), function_call(), message('P', "a"),
                                  message('B'), std::string("Q"), std::string("?????"), std::string()}) {
    CAPTURE(none);
    CHECK(asked(none).empty());
  }
  client.says(parse("b", "select 3") + parse("", "select 4") + sync_message());
  client.granted(place.server);
  client.hears(parsed() + parsed() + ready());
  CHECK(asked(bind("b") + execute()) == "select 3");
  CHECK(asked(bind() + execute()) == "select 4");
}

TEST_CASE("a named statement is prepared once per server and found again from anywhere") {
  Place place;
  Client a(place);
  CHECK(a.runs(parse("s", "select 1") + sync_message(), parsed() + ready(), place.server) == "P:pgweir_1 S");
  CHECK(a.seen() == "1 Z:I");
  SECTION("on the same server") {
    CHECK(a.runs(bind("s") + execute() + sync_message(), rows_of_batch(), place.server) == "B:pgweir_1 E S");
    CHECK(a.runs(describe('S', "s") + sync_message(), parameters() + no_data() + ready(), place.server) ==
          "D:pgweir_1 S");
  }
  SECTION("on another one, which does not know it yet") {
    CHECK(a.runs(bind("s") + execute() + sync_message(), parsed() + rows_of_batch(), place.other) ==
          "P:pgweir_1 B:pgweir_1 E S");
    CHECK(a.seen() == "2 D C:SELECT 1 Z:I");  // our Parse is not shown
    CHECK(a.runs(bind("s") + execute() + sync_message(), rows_of_batch(), place.other) == "B:pgweir_1 E S");
  }
  SECTION("by another client under another name") {
    Client b(place);
    CHECK(b.runs(parse("t", "select 1") + bind("t") + execute() + sync_message(),
                 closed() + parsed() + rows_of_batch(),
                 place.server) == "C:pgweir_1 P:pgweir_1 B:pgweir_1 E S");
    CHECK(b.seen() == "1 2 D C:SELECT 1 Z:I");
    CHECK(a.runs(bind("s") + execute() + sync_message(), rows_of_batch(), place.server) == "B:pgweir_1 E S");
  }
  SECTION("a second time, after its owner has gone") {
    a.step([&] { a.core.client_gone(a.out); });
    Client b(place);
    CHECK(b.runs(parse("s", "select 1") + sync_message(), closed() + parsed() + ready(), place.server) ==
          "C:pgweir_1 P:pgweir_1 S");
  }
  SECTION("a Parse of it that fails says so, and takes it from this server only") {
    Client b(place);
    CHECK(b.runs(parse("t", "select 1") + bind("t") + sync_message(), closed() + error("25P02") + ready(),
                 place.server) == "C:pgweir_1 P:pgweir_1 B:pgweir_1 S");
    CHECK(b.seen() == "E:25P02 Z:I");
    CHECK(b.core.statement_count() == 0);
    CHECK_FALSE(place.server.statements.knows(1));
    CHECK(a.runs(bind("s") + execute() + sync_message(), parsed() + rows_of_batch(), place.server) ==
          "P:pgweir_1 B:pgweir_1 E S");
  }
  SECTION("a Parse of it that is skipped changes nothing") {
    Client b(place);
    b.runs(bind("unknown") + parse("t", "select 1") + sync_message(), error("26000") + ready(), place.server);
    CHECK(place.server.statements.knows(1));
  }
  SECTION("one under way is waited for") {
    Client b(place);
    b.says(parse("t", "select 2") + parse("u", "select 2") + sync_message());
    CHECK(b.granted(place.server) == "stalled");
    CHECK(b.sent() == "P:pgweir_2 H");
    CHECK(b.hears(parsed()).empty());
    CHECK(b.again().empty());
    CHECK(b.sent() == "C:pgweir_2 P:pgweir_2 S");
    CHECK(b.hears(closed() + parsed() + ready()) == "release");
  }
}

TEST_CASE("the bytes of Bind other than the name arrive as they were sent") {
  Place place;
  Client client(place);
  client.runs(parse("s", "select $1") + sync_message(), parsed() + ready(), place.server);
  const std::string parameters_of_bind = std::string("\0\0\0\1\0\0\0\4\0x\xff'", 12) + std::string(2, '\0');
  client.to_server.clear();
  client.says(message('B', z("portal") + z("s") + parameters_of_bind) + execute("portal") + sync_message());
  client.granted(place.server);
  CHECK(client.to_server ==
        message('B', z("portal") + z("pgweir_1") + parameters_of_bind) + execute("portal") + sync_message());
  client.hears(rows_of_batch());
}

TEST_CASE("the same name with different texts never meets on one server") {
  Place place;
  Client a(place), b(place);
  CHECK(a.runs(parse("s", "select 1") + sync_message(), parsed() + ready(), place.server) == "P:pgweir_1 S");
  CHECK(b.runs(parse("s", "select 2") + sync_message(), parsed() + ready(), place.server) == "P:pgweir_2 S");
  CHECK(a.runs(bind("s") + execute() + sync_message(), rows_of_batch(), place.server) == "B:pgweir_1 E S");
  CHECK(b.runs(bind("s") + execute() + sync_message(), rows_of_batch(), place.server) == "B:pgweir_2 E S");
}

TEST_CASE("the same text with other parameter types is another statement") {
  Place place;
  Client client(place);
  const std::string typed = message('P', z("b") + z("select $1") + std::string("\0\1\0\0\0\x17", 6));
  client.runs(parse("a", "select $1") + sync_message(), parsed() + ready(), place.server);
  CHECK(client.runs(typed + sync_message(), parsed() + ready(), place.server) == "P:pgweir_2 S");
}

TEST_CASE("a statement counts only after its ParseComplete") {
  Place place;
  Client client(place);
  SECTION("it fails: the name is free and the server does not know it") {
    CHECK(client.runs(parse("s", "nonsense") + sync_message(), error("42601") + ready(), place.server) ==
          "P:pgweir_1 S");
    CHECK(client.core.statement_count() == 0);
    CHECK_FALSE(place.server.statements.knows(1));
    CHECK(client.runs(parse("s", "select 1") + sync_message(), parsed() + ready(), place.server) ==
          "P:pgweir_2 S");
  }
  SECTION("it is skipped behind another error") {
    client.runs(parse("", "nonsense") + parse("s", "select 1") + bind("s") + execute() + sync_message(),
                error("42601") + ready(), place.server);
    CHECK(client.core.statement_count() == 0);
    CHECK_FALSE(place.server.statements.knows(1));
  }
  SECTION("it is sent while the server skips to Sync") {
    client.says(parse("", "nonsense") + flush());
    client.granted(place.server);
    client.hears(error("42601"));
    client.says(parse("s", "select 1") + close('S', "s") + bind("pgweir_none"));
    client.says(sync_message());
    CHECK(client.hears(ready()) == "release");
    CHECK(client.core.statement_count() == 0);
  }
  SECTION("one of ours that fails is the client's error") {
    client.runs(parse("s", "select * from t") + sync_message(), parsed() + ready(), place.server);
    client.seen();
    client.runs(bind("s") + execute() + sync_message(), error("42P01") + ready(), place.other);
    CHECK(client.seen() == "E:42P01 Z:I");
    CHECK_FALSE(place.other.statements.knows(1));
    CHECK(client.core.statement_count() == 1);
  }
}

TEST_CASE("a name that is taken is refused in the client's words, and the transaction fails as in Postgres") {
  Place place;
  Linked client(place);
  client.says(parse("my name", "select 1") + sync_message());
  client.hears(parsed() + ready('T'));
  client.seen();
  client.sent();
  client.says(parse("my name", "select 2") + bind("my name") + execute() + sync_message());
  CHECK(client.sent() == "C:pgweir_gone P:pgweir_gone B:pgweir_none B:pgweir_1 E S");
  SECTION("") {
    client.hears(closed() + parsed() + error("26000", "prepared statement \"pgweir_none\" does not exist"));
    CHECK(client.error_text() == "prepared statement \"my name\" already exists");
    CHECK(client.hears(ready('E')).empty());
    CHECK(client.seen() == "E:42P05 Z:E");
  }
  SECTION("what is wrong with the text comes first") {
    CHECK(client.hears(closed() + error("42601") + ready('E')).empty());
    CHECK(client.seen() == "E:42601 Z:E");
  }
  CHECK(client.core.statement_count() == 1);
}

TEST_CASE("DEALLOCATE among other statements finds what the protocol prepared") {
  Place place;
  Linked client(place);
  client.says(parse("my \"p", "select 1") + parse("q", "select 2") + sync_message());
  client.hears(parsed() + parsed() + ready('T'));
  client.seen();
  client.sent();
  SECTION("by statements of these names that are made for it") {
    const char* const text = "savepoint s;DEALLOCATE \"my \"\"p\"; deallocate prepare q;release s";
    client.says(query(text));
    CHECK(client.sent() == std::string("C:my \"p P:my \"p C:q P:q S Q:") + text);
    client.hears(closed() + parsed() + closed() + parsed() + ready('T') + done("SAVEPOINT") +
                 done("DEALLOCATE") + done("DEALLOCATE") + done("RELEASE") + ready('T'));
    CHECK(client.seen() == "C:SAVEPOINT C:DEALLOCATE C:DEALLOCATE C:RELEASE Z:T");
    CHECK(client.core.statement_count() == 0);
  }
  SECTION("but not in a failed transaction") {
    client.says(query("x"));
    client.hears(error("42601") + ready('E'));
    client.sent();
    client.says(query("select 1; deallocate q"));
    CHECK(client.sent() == "Q:select 1; deallocate q");
    client.hears(error("25P02") + ready('E'));
    CHECK(client.core.statement_count() == 2);
  }
  SECTION("behind an open batch within that") {
    client.says(parse("", "select 3") + flush());
    client.hears(parsed());
    client.sent();
    client.says(query("deallocate q"));
    CHECK(client.sent() == "C:q P:q Q:deallocate q");
    client.hears(closed() + parsed() + done("DEALLOCATE") + ready('T'));
    CHECK(client.core.statement_count() == 1);
  }
  SECTION("nor before what came before it is answered") {
    CHECK(client.says(query("x") + query("select 1; deallocate q")) == "stalled");
  }
}

TEST_CASE("a DEALLOCATE beside a statement that fails takes the name if it ran") {
  struct Row {
    const char* text;
    std::string answer;
    std::size_t left;
  };
  const std::string gone = done("DEALLOCATE"), failed = error("22012");
  for (const Row& each : {
           Row{"deallocate a; select 1/0", gone + failed, 1},
           Row{"select 1/0; deallocate a", failed, 2},
           Row{"deallocate a; select 1/0; deallocate b", gone + failed, 1},
           Row{"deallocate a; deallocate b; select 1/0", gone + gone + failed, 0},
           Row{"deallocate unknown; deallocate a", error("26000"), 2},
           Row{"deallocate by_sql; deallocate a; select 1/0; deallocate b", gone + gone + failed, 1},
           Row{"deallocate a; deallocate a", gone + error("26000"), 1},
           Row{"deallocate all; deallocate a", done("DEALLOCATE ALL") + error("26000"), 0},
           Row{"select 1; deallocate b", rows('I').substr(0, rows('I').size() - ready().size()) + gone, 1},
       }) {
    CAPTURE(each.text);
    Place place;
    Client client(place);
    client.runs(parse("a", "select 1") + parse("b", "select 2") + sync_message(),
                parsed() + parsed() + ready(), place.server);
    client.sent();
    REQUIRE(client.says(query(each.text) + bind("a") + sync_message()) == "ask");
    // What comes behind it must know which names there are.
    REQUIRE(client.granted(place.server) == "stalled");
    CHECK(told_to_server(client.to_server).find("B:") == std::string::npos);
    const std::string before = client.sent();
    const bool both = before.find("P:a") != std::string::npos && before.find("P:b") != std::string::npos;
    const std::string made = closed() + parsed();
    client.hears((both ? made + made : made) + ready() + each.answer + ready());
    CHECK(client.core.statement_count() == each.left);
    // What was made for those that have not run is looked for before anything else.
    if (each.left == 2 || (both && each.left == 1))
      CHECK(client.sent() == "P:pgweir_statements B:pgweir_statements E S");
  }
}

TEST_CASE("an unknown name is 26000 in the client's words, even when it looks like one of ours") {
  Place place;
  Client a(place), b(place);
  a.runs(parse("s", "select 1") + sync_message(), parsed() + ready(), place.server);
  for (const Bytes name : {"pgweir_1", "pgweir_set", "pgweir_none", "pgweir_"}) {
    CAPTURE(name);
    CHECK(b.runs(bind(name) + execute() + sync_message(), error("26000", "pgweir_none") + ready(),
                 place.server) == "B:pgweir_none E S");
    CHECK(b.runs(describe('S', name) + sync_message(), error("26000", "pgweir_none") + ready(),
                 place.server) == "B:pgweir_none S");
    const std::string text = protocol::parse_error(Bytes(split(b.to_client)[0]).substr(5)).message;
    CHECK(text == "prepared statement \"" + std::string(name) + "\" does not exist");
    b.to_client.clear();
    CHECK(b.runs(close('S', name) + sync_message(), closed() + ready(), place.server) == "C:pgweir_none S");
    b.to_client.clear();
  }
  // Another one goes through as it is: SQL may have prepared it in this transaction.
  CHECK(b.runs(bind("other") + sync_message(), error("26000") + ready(), place.server) == "B:other S");
  // A client may give such a name; it means its own statement.
  CHECK(b.runs(parse("pgweir_1", "select 2") + sync_message(), parsed() + ready(), place.server) ==
        "P:pgweir_2 S");
  CHECK(b.runs(bind("pgweir_1") + execute() + sync_message(), rows_of_batch(), place.server) ==
        "B:pgweir_2 E S");
}

TEST_CASE("Close frees the client's name and leaves the statement on the server for the next") {
  Place place;
  Client client(place);
  client.runs(parse("s", "select 1") + sync_message(), parsed() + ready(), place.server);
  CHECK(client.runs(close('S', "s") + sync_message(), closed() + ready(), place.server) == "C:pgweir_none S");
  CHECK(client.core.statement_count() == 0);
  CHECK(client.runs(close('S', "never") + sync_message(), closed() + ready(), place.server) ==
        "C:pgweir_none S");
  CHECK(client.runs(parse("s", "select 1") + sync_message(), closed() + parsed() + ready(), place.server) ==
        "C:pgweir_1 P:pgweir_1 S");
  SECTION("a Close that is skipped gives the name back") {
    client.runs(bind("unknown") + close('S', "s") + parse("s", "select 2") + sync_message(),
                error("26000") + ready(), place.server);
    CHECK(client.core.statement_count() == 1);
    CHECK(client.runs(bind("s") + execute() + sync_message(), rows_of_batch(), place.server) ==
          "B:pgweir_1 E S");
  }
  SECTION("the name may get another text in the same batch") {
    CHECK(client.runs(close('S', "s") + parse("s", "select 2") + bind("s") + execute() + sync_message(),
                      closed() + parsed() + rows_of_batch(),
                      place.server) == "C:pgweir_none P:pgweir_2 B:pgweir_2 E S");
  }
}

TEST_CASE("a name that an earlier batch decides about waits for that batch") {
  Place place;
  Linked client(place);
  CHECK(client.says(parse("s", "select 1") + sync_message() + bind("s") + execute() + sync_message()) ==
        "stalled");
  CHECK(client.sent() == "P:pgweir_1 S");
  SECTION("it stands") {
    client.hears(parsed() + ready('T'));
    CHECK(client.again().empty());
    CHECK(client.sent() == "B:pgweir_1 E S");
  }
  SECTION("it fails") {
    client.hears(error() + ready('E'));
    CHECK(client.again().empty());
    CHECK(client.sent() == "B:s E S");
  }
}

TEST_CASE("named statements are counted where the client and where the server is told of them") {
  Place place;
  Client first(place), second(place);
  first.runs(parse("s", "select 1") + bind("s") + sync_message(), parsed() + bound() + ready(), place.server);
  CHECK(first.counted() == "1 1 1");
  second.runs(parse("t", "select 1") + bind("t") + sync_message(), closed() + parsed() + bound() + ready(),
              place.server);
  CHECK(second.counted() == "1 1 1");
  second.runs(bind("t") + bind("t") + sync_message(), parsed() + bound() + bound() + ready(), place.other);
  CHECK(second.counted() == "1 2 3");
  // Without a name nothing is tracked.
  second.runs(parse("", "select 1") + bind("") + sync_message(), parsed() + bound() + ready(), place.other);
  CHECK(second.counted() == "1 2 3");
}

TEST_CASE("a server that knows too many statements forgets the one that was used least recently") {
  Place place;
  place.books.statements_per_server = 2;
  Client client(place);
  for (const Bytes name : {"1", "2", "3"})
    client.runs(parse(name, "select " + std::string(name)) + sync_message(),
                (name == "3" ? closed() : std::string()) + parsed() + ready(), place.server);
  CHECK(place.server.statements.size() == 2);
  CHECK_FALSE(place.server.statements.knows(1));
  client.runs(bind("1") + sync_message(), parsed() + bound() + ready(), place.other);
  client.runs(bind("2") + sync_message(), parsed() + bound() + ready(), place.other);
  client.runs(bind("1") + sync_message(), bound() + ready(), place.other);
  client.seen();
  SECTION("by our Close, which nobody sees") {
    CHECK(client.runs(bind("3") + sync_message(), closed() + parsed() + bound() + ready(), place.other) ==
          "C:pgweir_2 P:pgweir_3 B:pgweir_3 S");
    CHECK(client.seen() == "2 Z:I");
    CHECK(place.other.statements.knows(1));
    CHECK_FALSE(place.other.statements.knows(2));
    CHECK(place.other.statements.knows(3));
  }
  SECTION("and still knows it when the Close is skipped") {
    client.runs(parse("", "nonsense") + bind("3") + sync_message(), error("42601") + ready(), place.other);
    CHECK(place.other.statements.knows(2));
    CHECK_FALSE(place.other.statements.knows(3));
  }
}

TEST_CASE("in a pipeline it is the statement of the Bind that failed") {
  const std::string stale =
      message('E', std::string("SERROR\0VERROR\0C0A000\0Mcached plan\0RRevalidateCachedQuery\0", 56) +
                       std::string(1, '\0'));
  Place place;
  Client client(place);
  for (const Bytes name : {"1", "2", "3"})
    client.runs(parse(name, "select " + std::string(name)) + sync_message(), parsed() + ready(),
                place.server);
  client.runs(bind("1") + bind("2") + bind("3") + sync_message() + bind("1") + sync_message(),
              bound() + stale + ready() + bound() + ready(), place.server);
  client.seen();
  CHECK(client.runs(bind("1") + bind("3") + sync_message(), bound() + bound() + ready(), place.server) ==
        "B:pgweir_1 B:pgweir_3 S");
  client.runs(bind("2") + sync_message(), error("26000") + ready(), place.server);
  CHECK(client.seen().ends_with("E:0A000 Z:I"));
}

TEST_CASE("what is wrong with a Bind is told by the client's name for its statement") {
  Place place;
  Client client(place);
  client.runs(parse("my s", "select $1") + parse("other", "select 2") + sync_message(),
              parsed() + parsed() + ready(), place.server);
  client.seen();
  const std::string told = "bind message supplies 0 parameters, but prepared statement \"";
  const bool closes = GENERATE(false, true);
  REQUIRE(client.says(bind("my s") + (closes ? close('S', "my s") : "") + sync_message()) == "ask");
  REQUIRE(client.granted(place.server).empty());
  SECTION("also when it closes it behind that") {
    client.hears(error("08P01", told + "pgweir_1\" requires 1"));
    CHECK(client.error_text() == told + "my s\" requires 1");
  }
  SECTION("unless it speaks of something else") {
    client.hears(error("08P01", told + "pgweir_12\" requires 1"));
    CHECK(client.error_text() == told + "pgweir_12\" requires 1");
  }
  CHECK(client.hears(ready()) == "release");
}

TEST_CASE("statements beyond their limits are refused, and the session goes on") {
  Place place(2000);
  Client client(place);
  SECTION("too long for a name") {
    const std::string large = parse("s", std::string(1 << 20, ' '));
    client.says(large.substr(0, 100'000));
    client.granted(place.server);
    CHECK(client.says(large.substr(100'000) + sync_message()).empty());
    CHECK(client.sent() == "B:pgweir_none S");
    CHECK(client.hears(error("26000") + ready()) == "release");
    CHECK(client.seen() == "E:54000 Z:I");
  }
  SECTION("over the tenant's budget") {
    client.runs(parse("s", std::string(2000, ' ')) + sync_message(), error("26000") + ready(), place.server);
    CHECK(client.seen() == "E:53400 Z:I");
    client.runs(parse("s", "select 1") + sync_message(), parsed() + ready(), place.server);
    CHECK(client.seen() == "1 Z:I");
  }
  SECTION("many names for one text are over it too") {
    std::size_t given = 0;
    while (given < 100) {
      const std::string name(100, static_cast<char>('a' + given % 26));
      client.says(parse(name + std::to_string(given), "select 1") + sync_message());
      client.granted(place.server);
      const bool refused = client.sent() == "B:pgweir_none S";
      client.hears((refused ? error("26000") : given == 0 ? parsed() : closed() + parsed()) + ready());
      if (refused) break;
      ++given;
    }
    CHECK(given == 7);
  }
}

TEST_CASE("DISCARD ALL and DEALLOCATE ALL forget the statements of client and server") {
  for (const Bytes tag : {"DISCARD ALL", "DEALLOCATE ALL"}) {
    CAPTURE(tag);
    Place place;
    Client client(place);
    client.runs(parse("s", "select 1") + sync_message(), parsed() + ready(), place.server);
    // Alone it would be answered without a server.
    const std::string sql = "select 1; " + std::string(tag);
    client.runs(query(sql), row_description() + row() + done() + done(tag) + ready(), place.server);
    CHECK(client.core.statement_count() == 0);
    CHECK(place.server.statements.size() == 0);
  }
}

TEST_CASE("statements behind a DISCARD ALL in a pipeline wait until it is known what it dropped") {
  // Npgsql sends DISCARD ALL in front of the first query of a pooled connection; the comment hides it here.
  Place place;
  Client client(place);
  client.runs(parse("s", "select 1") + sync_message(), parsed() + ready(), place.server);
  client.to_server.clear();
  client.says(query("DISCARD ALL;;") + query("/**/ DISCARD ALL") + parse("s", "select 1") + bind("s") +
              execute() + sync_message());
  CHECK(client.granted(place.server) == "stalled");
  CHECK(client.hears(done("DISCARD ALL") + ready()) == "release");
  CHECK(client.sent() == "Q:/**/ DISCARD ALL");
  CHECK(client.again() == "ask");
  client.granted(place.other);
  CHECK(client.sent() == "P:pgweir_1 B:pgweir_1 E S");
  CHECK(client.hears(parsed() + rows_of_batch()) == "release");
  CHECK(client.core.statement_count() == 1);
}

TEST_CASE("so do those behind it in its own batch") {
  for (const char* text : {"deallocate all", "discard all"}) {
    for (const bool made_again : {false, true}) {
      CAPTURE(text, made_again);
      Place place;
      Linked client(place);
      client.says(parse("s", "select 1") + sync_message());
      client.hears(parsed() + ready('T'));
      client.sent();
      const std::string next = made_again ? parse("s", "select 2") : bind("s") + execute();
      CHECK(client.says(parse("", text) + bind() + execute() + next + sync_message()) == "stalled");
      CHECK(client.sent() == "P B E H");
      client.hears(parsed() + bound() +
                   done(text == Bytes("discard all") ? "DISCARD ALL" : "DEALLOCATE ALL"));
      CHECK(client.again().empty());
      CHECK(client.sent() == (made_again ? "P:pgweir_2 S" : "B:s E S"));
      client.hears((made_again ? parsed() : error("26000")) + ready(made_again ? 'T' : 'E'));
      CHECK(client.core.statement_count() == (made_again ? 1 : 0));
      client.step([&] { client.core.server_gone("x", client.out); });
    }
  }
}

TEST_CASE("a wait for statements asks the server for the answers that it may hold back") {
  Place place;
  Linked client(place);
  std::string many;
  place.books.statements_per_server = 2000;
  for (int i = 0; i < 1100; ++i) many += parse(std::to_string(i), "select " + std::to_string(i));
  CHECK(client.says(many) == "stalled");
  CHECK(client.sent().ends_with("P:pgweir_1024 H"));
  std::string answers;
  for (int i = 0; i < 1024; ++i) answers += parsed();
  client.hears(answers);
  CHECK(client.again().empty());
  CHECK(client.core.statement_count() == 1100);
}

TEST_CASE("a name of more than 8191 bytes is refused, whatever of its message has come") {
  const std::string longest(8191, 'n'), longer(8192, 'n');
  const std::string text(20'000, ' ');
  for (const std::string& message :
       {parse(longer, "select 1"), parse(longer + longer, text), pgweir::test::bind("", longer),
        pgweir::test::bind(longer, "p"), pgweir::test::bind("s", longer + longer)}) {
    Place place;
    Client client(place);
    const std::string batch = message + sync_message();
    client.says(Bytes(batch).substr(0, batch.size() / 2));
    client.says(Bytes(batch).substr(batch.size() / 2));
    client.granted(place.server);
    CHECK(client.sent() == "B:pgweir_none S");
    CHECK(client.hears(error("26000") + ready()) == "release");
    CHECK(client.to_client.find("at most 8191 bytes") != std::string::npos);
    CHECK(client.to_client.find("HUse a shorter name.") != std::string::npos);
    CHECK(client.seen() == "E:54000 Z:I");
    CHECK(client.runs(query("select 1"), rows(), place.server) == "Q:select 1");
  }
  Place place;
  Client client(place);
  CHECK(client.runs(parse(longest, "select 1") + sync_message(), parsed() + ready(), place.server) ==
        "P:pgweir_1 S");
  CHECK(client
            .runs(pgweir::test::bind(longest, longest) + execute(longest) + sync_message(), rows_of_batch(),
                  place.server)
            .starts_with("B:pgweir_1 E"));
}
