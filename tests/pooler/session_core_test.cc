// The flow of requests and answers between one client and its servers.
#include "tests/pooler/session_help.h"

using namespace pgweir;
using namespace pgweir::test;

using State = SessionCore::State;

// --- one transaction, and the server goes back

TEST_CASE("a server is lent with the request and goes back with its last answer") {
  Place place;
  Client client(place);
  CHECK(client.says(query("select 1")) == "ask");
  CHECK(client.core.state() == State::Waiting);
  CHECK(client.held.size() == query("select 1").size());
  CHECK(client.granted(place.server).empty());
  CHECK(client.to_server == query("select 1"));
  CHECK(client.held.empty());
  CHECK(client.hears(rows()) == "release");
  CHECK(client.to_client == rows());
  CHECK(client.out.queries == 1);
  CHECK(client.out.transactions == 1);
  CHECK(client.core.state() == State::Idle);
  CHECK(place.server.clean());
}

TEST_CASE("a server goes back only when everything is answered and the transaction is over") {
  struct Row {
    const char* what;
    std::string request;
    std::vector<std::string> answers;  // the server goes back after the last
  };
  const std::string all = bind() + execute() + sync_message();
  const Row rows_of_table[] = {
      {"several statements",
       query("select 1; select 2"),
       {row_description() + row() + done(), row_description() + row() + done(), ready()}},
      {"an empty query", query(""), {empty_query(), ready()}},
      {"an error", query("select 1/0"), {row_description(), error(), ready()}},
      {"a transaction",
       query("begin") + query("commit"),
       {done("BEGIN") + ready('T'), done("COMMIT") + ready()}},
      {"a failed transaction",
       query("begin") + query("x") + query("rollback"),
       {done("BEGIN") + ready('T'), error() + ready('E'), done("ROLLBACK") + ready()}},
      {"an extended query",
       parse("", "select 1") + describe('S') + bind() + describe() + execute() + sync_message(),
       {parsed(), parameters(), row_description(), bound(), row_description(), row(), done(), ready()}},
      {"a statement without rows",
       parse("", "select 1") + describe('S') + sync_message(),
       {parsed() + parameters(), no_data(), ready()}},
      {"a portal in pieces",
       parse("", "select 1") + bind() + execute("", 1) + execute("", 1) + sync_message(),
       {parsed() + bound() + row() + suspended(), row() + suspended(), ready()}},
      {"an empty extended query", parse("", "") + all, {parsed() + bound() + empty_query(), ready()}},
      {"two batches at once",
       parse("", "select 1") + all + parse("", "select 2") + all,
       {parsed() + rows_of_batch(), parsed() + bound() + row() + done(), ready()}},
      {"closing portals", close('P', "p") + close('S', "") + sync_message(), {closed(), closed(), ready()}},
      {"an error in the middle of a pipeline",
       parse("", "select 1") + all + parse("", "nonsense") + all + parse("", "select 1") + all,
       {parsed() + rows_of_batch(), error("42601") + ready(), parsed() + bound(), row() + done() + ready()}},
      {"an error at Sync",
       parse("", "insert") + all,
       {parsed() + bound() + done("INSERT 0 1"), error("23505"), ready()}},
      {"a function", function_call(), {function_result(), ready()}},
      {"a failing function", function_call(), {error("42883"), ready()}},
      {"COPY to the client",
       query("copy t to stdout"),
       {copy_out(), copy_data("1\n"), message('c'), done("COPY 1"), ready()}},
      {"COPY to the client in a batch",
       parse("", "copy t to stdout") + all,
       {parsed() + bound() + copy_out(), copy_data("1\n") + message('c'), done("COPY 1"), ready()}},
      {"COPY to the client that fails",
       query("copy t to stdout"),
       {copy_out() + copy_data("1\n"), error(), ready()}},
      {"news in between",
       query("select 1"),
       {notice(), parameter("TimeZone", "UTC"), notification() + row_description() + notice() + row(),
        done() + ready()}},
  };
  for (const Row& one : rows_of_table) {
    CAPTURE(one.what);
    Place place;
    Client client(place);
    CHECK(client.says(one.request) == "ask");
    CHECK(client.granted(place.server).empty());
    CHECK(client.to_server == one.request);
    std::string all_answers;
    for (std::size_t i = 0; i < one.answers.size(); ++i) {
      CAPTURE(i);
      all_answers += one.answers[i];
      CHECK(client.hears(one.answers[i]) == (i + 1 == one.answers.size() ? "release" : ""));
    }
    CHECK(client.to_client == all_answers);
    CHECK(place.server.quiet());
  }
}

TEST_CASE("a batch without its Sync keeps the server, however much of it was answered") {
  // Postgres sends the answers at a Flush and keeps the transaction open until Sync (or a simple query).
  Place place;
  Client client(place);
  client.says(parse("", "select 1") + describe('S') + flush());
  client.granted(place.server);
  CHECK(client.hears(parsed() + parameters() + row_description()).empty());
  CHECK(client.core.state() == State::Linked);
  CHECK(client.says(bind() + execute() + flush()).empty());
  CHECK(client.hears(bound() + row() + done()).empty());
  SECTION("Sync ends it") {
    CHECK(client.says(sync_message()).empty());
    CHECK(client.hears(ready()) == "release");
  }
  SECTION("so does a simple query") {
    CHECK(client.says(query("select 1")).empty());
    CHECK(client.hears(rows()) == "release");
  }
  SECTION("a failing one waits for Sync, and what comes before it is not answered") {
    CHECK(client.says(parse("", "nonsense") + flush()).empty());
    CHECK(client.hears(error("42601")).empty());
    CHECK(client.says(query("select 1") + parse("", "select 1") + flush()).empty());
    CHECK(client.says(sync_message()).empty());
    CHECK(client.hears(ready()) == "release");
  }
}

TEST_CASE("Sync, Flush and stray COPY messages of an idle client need no server") {
  Place place;
  Client client(place);
  CHECK(client.says(flush() + copy_data("x") + copy_done() + copy_fail() + sync_message()).empty());
  CHECK(client.seen() == "Z:I");
  CHECK(client.core.state() == State::Idle);
  CHECK(client.says(message('S', "x")) == "close");
  CHECK(client.seen() == "E:08P01:FATAL");
}

TEST_CASE("a Flush with a body ends the session, but not where everything up to the Sync is skipped") {
  Place place;
  Client client(place), skipping(place);
  CHECK(client.says(message('H', "x")) == "close");
  skipping.says(parse("", "select 1"));
  skipping.step([&] {
    skipping.core.refused({sqlstate::kCannotConnectNow, "no server", {}, {}}, skipping.held, skipping.out);
  });
  CHECK(skipping.says(message('H', "x")).empty());
  CHECK(skipping.says(sync_message()).empty());
  CHECK(skipping.seen() == "E:57P03 Z:I");
}

TEST_CASE("a request of ordinary size asks for a server when it is whole, a long one when it has begun") {
  Place place;
  Client client(place);
  const std::string small = query(std::string(1000, ' '));
  CHECK(client.says(small.substr(0, 900)).empty());
  CHECK(client.says(small.substr(900)) == "ask");
  CHECK(client.granted(place.server).empty());
  CHECK(client.hears(rows()) == "release");

  client.to_server.clear();
  const std::string read = query(std::string(100'000, ' '));
  CHECK(client.says(read.substr(0, 90'000)).empty());
  CHECK(client.says(read.substr(90'000)) == "ask");
  CHECK(client.granted(place.server).empty());
  CHECK(client.hears(rows()) == "release");
  CHECK(place.server.clean());

  client.to_server.clear();
  const std::string large = query(std::string(1'100'000, ' '));
  CHECK(client.says(large.substr(0, 10'000)).empty());
  CHECK(client.says(large.substr(10'000, 10'000)) == "ask");
  CHECK(client.granted(place.server).empty());
  CHECK(client.to_server.size() == 20'000);
  CHECK(client.says(large.substr(20'000)).empty());
  CHECK(client.to_server == large);
  CHECK(place.server.dirty);  // it was too long to be looked through
  CHECK(client.hears(rows()).empty());
}

TEST_CASE("a statement is kept in one piece") {
  Place place;
  Client client(place);
  const std::string long_named = parse("s", std::string(100'000, ' '));
  CHECK(client.says(long_named.substr(0, 90'000)).empty());
  CHECK(client.says(long_named.substr(90'000)) == "ask");
}

// --- COPY FROM STDIN, as Postgres 15 does it

TEST_CASE("COPY from the client ends with its data") {
  Place place;
  SECTION("simple") {
    Linked client(place, query("copy t from stdin"));
    CHECK(client.hears(copy_in()).empty());
    CHECK(client.says(copy_data("1\n") + copy_data("2\n")).empty());
    CHECK(client.says(copy_done()).empty());
    CHECK(client.hears(done("COPY 2")).empty());
    CHECK(client.hears(ready()) == "release");
  }
  SECTION("twice in one query, everything sent ahead") {
    Linked client(place, query("copy t from stdin; copy t from stdin") + copy_data("1\n") + copy_done() +
                             copy_data("2\n") + copy_done());
    CHECK(client.hears(copy_in() + done("COPY 1") + copy_in() + done("COPY 1")).empty());
    CHECK(client.hears(ready()) == "release");
  }
  SECTION("given up by the client") {
    Linked client(place, query("copy t from stdin"));
    CHECK(client.hears(copy_in()).empty());
    CHECK(client.says(copy_fail()).empty());
    CHECK(client.hears(error("57014") + ready()) == "release");
  }
  SECTION("failing while data still comes: the rest is swallowed") {
    Linked client(place, query("copy t from stdin"));
    CHECK(client.hears(copy_in()).empty());
    CHECK(client.says(copy_data("x\n")).empty());
    CHECK(client.hears(error("22P02") + ready()) == "release");
    CHECK(client.says(copy_data("2\n") + copy_done()).empty());
    CHECK(client.core.state() == State::Idle);
    CHECK(client.held.empty());
    CHECK(client.says(query("select 1")) == "ask");
  }
  SECTION("failing in the middle of a message: the server waits for its end") {
    Linked client(place, query("copy t from stdin"));
    CHECK(client.hears(copy_in()).empty());
    const std::string data = copy_data("x\nyyyyyyyyyyyy");
    CHECK(client.says(data.substr(0, 8)).empty());
    CHECK(client.hears(error("22P02") + ready()).empty());
    CHECK(client.says(data.substr(8)) == "release");
  }
}

TEST_CASE(
    "COPY in a batch goes in libpq's order: Sync before the data is ignored, the one behind it is not") {
  Place place;
  const std::string start = parse("", "copy t from stdin") + bind() + describe() + execute() + sync_message();
  Linked client(place, start);
  CHECK(client.hears(parsed() + bound() + no_data() + copy_in()).empty());
  CHECK(client.says(copy_data("1\n") + sync_message() + copy_data("2\n")).empty());
  SECTION("it goes well") {
    CHECK(client.says(copy_done() + sync_message()).empty());
    CHECK(client.hears(done("COPY 2")).empty());
    CHECK(client.hears(ready()) == "release");
  }
  SECTION("it fails: nobody knows which Syncs were read before the error, so the server is not used again") {
    CHECK(client.says(copy_done() + sync_message()).empty());
    CHECK(client.hears(error("22P02")).empty());
    CHECK(client.hears(ready()) == "drop");
    CHECK(client.seen() == "1 2 n G E:22P02 Z:I");
    CHECK(client.core.state() == State::Idle);
  }
}

TEST_CASE("COPY that fails before it reads its data answers the Sync that came ahead") {
  // COPY into a view: Postgres sends CopyInResponse, the error, and then reads the Sync as such.
  Place place;
  Linked client(place, parse("", "copy v from stdin") + bind() + execute() + sync_message());
  CHECK(client.hears(parsed() + bound() + copy_in() + error("42809") + ready()) == "drop");
  CHECK(client.says(copy_done() + sync_message()).empty());
  CHECK(client.seen() == "1 2 G E:42809 Z:I Z:I");
  CHECK(client.says(query("select 1")) == "ask");
}

TEST_CASE("COPY without an early Sync keeps its server when it fails") {
  Place place;
  Linked client(place, parse("", "copy t from stdin") + bind() + execute() + flush());
  CHECK(client.hears(parsed() + bound() + copy_in()).empty());
  CHECK(client.says(copy_data("x\n") + copy_done()).empty());
  CHECK(client.hears(error("22P02")).empty());
  CHECK(client.says(sync_message()).empty());
  CHECK(client.hears(ready()) == "release");
}

TEST_CASE("requests in place of COPY data end the session, as they do in Postgres") {
  Place place;
  SECTION("sent during COPY") {
    Linked client(place, query("copy t from stdin"));
    CHECK(client.hears(copy_in()).empty());
    CHECK(client.says(query("select 1")) == "close drop");
    CHECK(client.seen() == "G E:08P01:FATAL");
  }
  SECTION("sent ahead") {
    Linked client(place, query("copy t from stdin") + query("select 1"));
    CHECK(client.hears(copy_in()) == "close drop");
    CHECK(client.seen() == "E:08P01:FATAL");
  }
  SECTION("goodbye during COPY") {
    Linked client(place, query("copy t from stdin"));
    CHECK(client.hears(copy_in()).empty());
    CHECK(client.says(terminate()) == "close drop");
  }
  SECTION("goodbye inside the answer to COPY") {
    Linked client(place, query("copy t from stdin"));
    CHECK(client.hears(copy_in().substr(0, 6)).empty());
    CHECK(client.says(terminate()) == "reset drop");
  }
}

// --- the client leaves

TEST_CASE("a client may leave in any state, and its server goes back only if it is quiet") {
  Place place;
  SECTION("idle") {
    Client client(place);
    CHECK(client.step([&] { client.core.client_gone(client.out); }).empty());
  }
  SECTION("waiting") {
    Client client(place);
    client.says(query("select 1"));
    CHECK(client.step([&] { client.core.client_gone(client.out); }) == "leave");
  }
  SECTION("with an answer owed") {
    Linked client(place, query("select 1"));
    CHECK(client.step([&] { client.core.client_gone(client.out); }) == "abandon");
  }
  SECTION("in a transaction") {
    Linked client(place);
    CHECK(client.step([&] { client.core.client_gone(client.out); }) == "abandon");
  }
  SECTION("in the middle of a message") {
    Linked client(place, query(std::string(1'100'000, ' ')).substr(0, 30'000));
    CHECK(client.step([&] { client.core.client_gone(client.out); }) == "drop");
  }
  SECTION("in the middle of an answer") {
    Linked client(place, query("select 1"));
    client.hears(rows().substr(0, 20));
    CHECK(client.step([&] { client.core.client_gone(client.out); }) == "abandon");
  }
  SECTION("in COPY") {
    Linked client(place, query("copy t from stdin"));
    client.hears(copy_in());
    CHECK(client.step([&] { client.core.client_gone(client.out); }) == "drop");
  }
}

TEST_CASE("goodbye is heard after what was asked before it") {
  Place place;
  SECTION("idle") {
    Client client(place);
    CHECK(client.says(terminate() + query("never")) == "close");
    CHECK(client.held.empty());
    CHECK(client.out.reason.empty());
  }
  SECTION("behind a pending query") {
    Client client(place);
    client.says(query("insert") + terminate());
    CHECK(client.granted(place.server) == "stalled");
    CHECK(client.hears(done("INSERT 0 1") + ready()) == "release");
    CHECK(client.again() == "close");
    CHECK(client.seen() == "C:INSERT 0 1 Z:I");
  }
  SECTION("in a transaction: the server rolls back by losing us") {
    Linked client(place);
    CHECK(client.says(terminate()) == "close abandon");
  }
  SECTION("behind a batch without Sync, which will never be answered") {
    Linked client(place, parse("", "select 1"));
    CHECK(client.says(terminate()) == "close abandon");
  }
}

TEST_CASE("a closed session hears nothing more") {
  Place place;
  Client client(place);
  client.says(message('?'));
  CHECK(client.says(query("select 1")).empty());
  CHECK(client.step([&] { client.core.fail({"57P01", "again", {}, {}}, client.out); }).empty());
}

// --- refusals and limits

TEST_CASE("a refused request is answered and the session goes on") {
  const Error full{sqlstate::kTooManyConnections, "no server within 5s", {}, {}};
  Place place;
  Client client(place);
  SECTION("a simple query") {
    client.says(query("select 1"));
    CHECK(client.step([&] { client.core.refused(full, client.held, client.out); }) == "leave");
    CHECK(client.seen() == "E:53300 Z:I");
  }
  SECTION("a function call") {
    client.says(function_call());
    CHECK(client.step([&] { client.core.refused(full, client.held, client.out); }) == "leave");
    CHECK(client.seen() == "E:53300 Z:I");
  }
  SECTION("a batch: everything to its Sync is skipped") {
    client.says(parse("", "select 1") + bind() + execute());
    CHECK(client.step([&] { client.core.refused(full, client.held, client.out); }) == "leave");
    CHECK(client.seen() == "E:53300");
    CHECK(client.says(query("select 1") + execute()).empty());
    CHECK(client.says(sync_message()).empty());
    CHECK(client.seen() == "Z:I");
  }
  SECTION("the next one behind it gets in line anew") {
    client.says(query("select 1") + query("select 2"));
    CHECK(client.step([&] { client.core.refused(full, client.held, client.out); }) == "leave ask");
    CHECK(client.held == query("select 2"));
    client.granted(place.server);
    CHECK(client.hears(rows()) == "release");
    CHECK(client.seen() == "E:53300 Z:I T D C:SELECT 1 Z:I");
    return;
  }
  SECTION("a long one that is half here") {
    const std::string large = query(std::string(1'100'000, ' '));
    client.says(large.substr(0, 20'000));
    CHECK(client.step([&] { client.core.refused(full, client.held, client.out); }) == "leave");
    CHECK(client.says(large.substr(20'000)).empty());
    CHECK(client.seen() == "E:53300 Z:I");
  }
  CHECK(client.core.state() == State::Idle);
  CHECK(client.held.empty());
  CHECK(client.says(query("select 1")) == "ask");
  client.granted(place.server);
  CHECK(client.hears(rows()) == "release");
}

TEST_CASE("what needs no server is answered a piece in a step") {
  constexpr std::size_t kMost = SessionCore::kAnsweredAtOnce + 1000;  // the last answer may be any of them
  Place place;
  std::string requests;
  const auto all_answered = [&](Client& client, std::size_t count, Bytes of_each) {
    std::string step = client.says(requests);
    std::size_t steps = 1;
    for (; step == "more"; ++steps) {
      CHECK(client.out.to_client.size() <= kMost);
      step = client.again();
    }
    CHECK(step.empty());
    CHECK(client.held.empty());
    CHECK(steps > 2);
    std::string expected;
    for (std::size_t i = 0; i < count; ++i) expected += (i == 0 ? "" : " ") + std::string(of_each);
    CHECK(client.seen() == expected);
  };
  const auto repeated = [&](std::size_t count, Bytes request) {
    for (std::size_t i = 0; i < count; ++i) requests += request;
  };
  SECTION("Sync") {
    repeated(10'000, sync_message());
    Client client(place);
    all_answered(client, 10'000, "Z:I");
  }
  SECTION("DISCARD ALL") {
    repeated(3'000, query("discard all"));
    Client client(place);
    all_answered(client, 3'000, "C:DISCARD ALL Z:I");
  }
  SECTION("refused for want of room, in session mode") {
    for (unsigned i = 0; i < 2; ++i) place.pins.claim();
    repeated(500, query("select 1"));
    Client client(place, {}, tiers::PoolMode::Session);
    all_answered(client, 500, "E:53400 Z:I");
    for (unsigned i = 0; i < 2; ++i) place.pins.drop_claim();
  }
}

TEST_CASE("a limit ends the session at a boundary with its error, inside a message with a reset") {
  const Error limit{sqlstate::kTransactionTimeout, "took too long", {}, {}};
  Place place;
  SECTION("idle") {
    Client client(place);
    CHECK(client.step([&] { client.core.fail(limit, client.out); }) == "close");
    CHECK(client.seen() == "E:25P04:FATAL");
  }
  SECTION("waiting") {
    Client client(place);
    client.says(query("select 1"));
    CHECK(client.step([&] { client.core.fail(limit, client.out); }) == "leave close");
  }
  SECTION("linked") {
    Linked client(place);
    CHECK(client.step([&] { client.core.fail(limit, client.out); }) == "close drop");
    CHECK(client.seen() == "E:25P04:FATAL");
  }
  SECTION("inside a row") {
    Linked client(place, query("select 1"));
    client.hears(row("a long value").substr(0, 9));
    CHECK(client.step([&] { client.core.fail(limit, client.out); }) == "reset drop");
    CHECK(client.out.to_client.empty());
  }
}

// --- cut at every byte

TEST_CASE("messages mean the same wherever they are cut, in both directions") {
  struct Round {
    std::string request, answer;
  };
  const Round rounds[] = {
      {query("begin"), done("BEGIN") + ready('T')},
      {parse("a", "select 1") + describe('S', "a") + bind("a") + describe() + execute() + sync_message(),
       parsed() + parameters() + row_description() + bound() + row_description() + row("a value") + notice() +
           row() + done() + ready('T')},
      {parse("", "select 2") + bind() + execute("", 5) + close('S', "a") + sync_message(),
       parsed() + bound() + suspended() + closed() + ready('T')},
      {query("copy t from stdin") + copy_data("1\n2\n") + copy_done(),
       copy_in() + done("COPY 2") + ready('T')},
      {parse("b", "select 1") + bind("b") + execute() + parse("b", "select 2") + sync_message(),
       closed() + parsed() + bound() + row() + done() + closed() + parsed() + error("26000") + ready('E')},
      {query("commit"), parameter("TimeZone", "UTC") + notification() + done("COMMIT") + ready('I')},
  };
  // Cuts `in` before each byte that `cuts_here` names.
  const auto play = [&rounds](const std::function<bool(std::size_t)>& cuts_here) {
    Place place;
    Client client(place);
    std::size_t at = 0;
    std::string did;
    const auto fed = [&](const std::string& bytes, auto&& feed) {
      std::string part;
      for (const char c : bytes) {
        if (cuts_here(at++) && !part.empty()) feed(std::exchange(part, {}));
        part.push_back(c);
      }
      feed(part);
    };
    for (const Round& round : rounds) {
      fed(round.request, [&](const std::string& part) {
        did += client.says(part);
        if (client.core.state() == State::Waiting) did += client.granted(place.server);
      });
      CHECK(client.held.empty());
      fed(round.answer, [&](const std::string& part) { did += client.hears(part); });
    }
    CHECK(did == "askrelease");
    CHECK(place.server.quiet());
    return client.to_client + "|" + client.to_server;
  };
  const std::string uncut = play([](std::size_t) { return false; });
  std::size_t size = 0;
  for (const Round& round : rounds) size += round.request.size() + round.answer.size();
  for (std::size_t cut = 0; cut < size; ++cut) {
    CAPTURE(cut);
    CHECK(play([cut](std::size_t at) { return at == cut; }) == uncut);
  }
  CHECK(play([](std::size_t) { return true; }) == uncut);
  CHECK(play([](std::size_t at) { return at % 3 == 0; }) == uncut);
}

// --- state left behind

TEST_CASE("a server is dirty after a text that may leave state behind, and after no other") {
  struct Row {
    const char* what;
    std::string request, answer;
    bool dirty;
  };
  const std::string extended = bind() + execute() + sync_message();
  const Row table[] = {
      {"a query", query("select 1"), rows(), false},
      {"a set that the grammar does not know", query("set a b c"), done("SET") + ready(), true},
      {"a local set", query("set local work_mem = 1"), done("SET") + ready(), false},
      {"an unnamed statement", parse("", "select 1") + extended, parsed() + rows_of_batch(), false},
      {"the same unnamed", parse("", "set a b c") + extended, parsed() + rows_of_batch(), true},
      {"the same not executed", parse("s", "set a b c") + sync_message(), parsed() + ready(), false},
      {"a function call", function_call(), function_result() + ready(), true},
  };
  for (const Row& one : table) {
    CAPTURE(one.what);
    Place place;
    Client client(place);
    client.says(one.request);
    client.granted(place.server);
    if (client.hears(one.answer) != "release") CHECK(client.hears(nothing_left()) == "release");
    CHECK(place.server.dirty == one.dirty);
    CHECK(place.server.clean() == !one.dirty);
  }
  Place place;
  Client client(place);
  client.runs(parse("s", "set a b c") + sync_message(), parsed() + ready(), place.server);
  client.says(bind("s") + execute() + sync_message());
  client.granted(place.other);
  CHECK(client.hears(parsed() + bound() + done("SET") + ready()).empty());
  CHECK(client.hears(nothing_left()) == "release");
  CHECK(place.other.dirty);
}
