#include "pooler/session_core.h"

#include <catch2/catch.hpp>
#include <functional>

#include "tests/support/messages.h"

using namespace pgweir;
using namespace pgweir::test;

namespace {

std::string named(const Actions& out) {
  std::string names;
  const auto add = [&](bool yes, const char* name) {
    if (yes) names += (names.empty() ? "" : " ") + std::string(name);
  };
  add(out.leave_queue, "leave");
  add(out.ask_server, "ask");
  add(out.proven, "proven");
  add(out.stalled, "stalled");
  add(out.close_client, "close");
  add(out.reset_client, "reset");
  add(out.server == Actions::Server::Release, "release");
  add(out.server == Actions::Server::Drop, "drop");
  return names;
}

struct Place {
  explicit Place(std::size_t statement_bytes = 1 << 20) : books(statement_bytes) {}
  GroupBooks books;
  ServerCore server{books.settings.empty()};
  ServerCore other{books.settings.empty()};
};

// A session and the least of a driver: it keeps what was not consumed and gives it again.
struct Client {
  explicit Client(Place& p, SettingsMap::Values settings = {})
      : place(p), core(p.books, p.books.settings.intern(std::move(settings))) {}
  ~Client() {
    if (core.state() != SessionCore::State::Closed) step([&] { core.client_gone(out); });
  }

  // What the step did; the bytes for both sides are added up in to_client and to_server.
  std::string step(const std::function<void()>& event) {
    out.clear();
    event();
    to_client += out.to_client.text();
    to_server += out.to_server.text();
    held.erase(0, out.consumed);
    return named(out);
  }
  std::string says(Bytes in) {
    held.append(in);
    return step([&] { core.client_bytes(held, out); });
  }
  std::string granted(ServerCore& server) {
    return step([&] { core.granted(server, held, out); });
  }
  std::string hears(Bytes in) {
    // The driver's read buffer is used again.
    const std::string buffer(in);
    return step([&] { core.server_bytes(buffer, out); });
  }
  std::string again() { return says({}); }
  // A whole transaction; answers what the server was sent.
  std::string runs(Bytes request, Bytes answer, ServerCore& server) {
    to_server.clear();
    REQUIRE(says(request) == "ask");
    REQUIRE(granted(server).empty());
    REQUIRE(hears(answer) == "release");
    return told_to_server(to_server);
  }
  std::string seen() { return told(std::exchange(to_client, {})); }
  std::string sent() { return told_to_server(std::exchange(to_server, {})); }
  std::string error_text() {
    for (const std::string& one : split(out.to_client.text()))
      if (one[0] == 'E') return protocol::parse_error(Bytes(one).substr(5)).message;
    return {};
  }

  Place& place;
  SessionCore core;
  Actions out;
  std::string held, to_client, to_server;
};

struct Linked : Client {
  explicit Linked(Place& p, Bytes request = {}) : Client(p) {
    REQUIRE(says(request.empty() ? Bytes(query("begin")) : request) == "ask");
    REQUIRE(granted(p.server).empty());
    if (request.empty()) {
      REQUIRE(hears(done("BEGIN") + ready('T')).empty());
      to_client.clear();
    }
    to_server.clear();
  }
};

using State = SessionCore::State;

}  // namespace

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

TEST_CASE("a request of ordinary size asks for a server when it is whole, a long one when it has begun") {
  Place place;
  Client client(place);
  const std::string small = query(std::string(1000, ' '));
  CHECK(client.says(small.substr(0, 900)).empty());
  CHECK(client.says(small.substr(900)) == "ask");
  CHECK(client.granted(place.server).empty());
  CHECK(client.hears(rows()) == "release");

  client.to_server.clear();
  const std::string large = query(std::string(100'000, ' '));
  CHECK(client.says(large.substr(0, 10'000)).empty());
  CHECK(client.says(large.substr(10'000, 10'000)) == "ask");
  CHECK(client.granted(place.server).empty());
  CHECK(client.to_server.size() == 20'000);
  CHECK(client.says(large.substr(20'000)).empty());
  CHECK(client.to_server == large);
  CHECK(place.server.dirty);  // it was too long to be looked through
  CHECK(client.hears(rows()) == "release");

  client.to_server.clear();
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
    CHECK(client.step([&] { client.core.client_gone(client.out); }) == "drop");
  }
  SECTION("in a transaction") {
    Linked client(place);
    CHECK(client.step([&] { client.core.client_gone(client.out); }) == "drop");
  }
  SECTION("in the middle of a message") {
    Linked client(place, query(std::string(50'000, ' ')).substr(0, 30'000));
    CHECK(client.step([&] { client.core.client_gone(client.out); }) == "drop");
  }
  SECTION("in the middle of an answer") {
    Linked client(place, query("select 1"));
    client.hears(rows().substr(0, 20));
    CHECK(client.step([&] { client.core.client_gone(client.out); }) == "drop");
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
    CHECK(client.says(terminate()) == "close drop");
  }
  SECTION("behind a batch without Sync, which will never be answered") {
    Linked client(place, parse("", "select 1"));
    CHECK(client.says(terminate()) == "close drop");
  }
}

// --- the server dies or lies

TEST_CASE("a server's death is told at a message boundary and is a reset inside a message") {
  const std::string answer = rows();
  std::vector<std::size_t> boundaries{0};
  for (const std::string& one : split(answer)) boundaries.push_back(boundaries.back() + one.size());
  for (std::size_t cut = 0; cut < answer.size(); ++cut) {
    CAPTURE(cut);
    Place place;
    Linked client(place, query("select 1"));
    client.hears(answer.substr(0, cut));
    const std::string before = client.to_client;
    const bool boundary = split(before).empty() || split(before).back() != "?";
    CHECK(client.step([&] { client.core.server_gone("reset by peer", client.out); }) ==
          (boundary ? "close drop" : "reset drop"));
    if (boundary) {
      CHECK(told(client.out.to_client.text()) == "E:08006:FATAL");
      CHECK(client.error_text() == "server connection lost: reset by peer");
    } else {
      CHECK(client.out.to_client.empty());  // not one byte into an unfinished message
    }
    CHECK(client.core.state() == State::Closed);
  }
}

TEST_CASE("the last words of a server reach the client, and only they") {
  const std::string last = error("57P01", "terminating connection due to administrator command", "FATAL");
  Place place;
  SECTION("in answer to a query") {
    Linked client(place, query("select 1"));
    CHECK(client.hears(row_description() + last) == "close drop");
    CHECK(client.seen() == "T E:57P01:FATAL");
  }
  SECTION("between requests of a transaction") {
    Linked client(place);
    CHECK(client.hears(last) == "close drop");
    CHECK(client.to_client == last);
  }
  SECTION("in answer to settings of ours") {
    Client client(place, {{"work_mem", "8MB"}});
    client.says(query("select 1"));
    client.granted(place.server);
    CHECK(client.hears(last) == "close drop");
    CHECK(client.to_client == last);
  }
  SECTION("in place of a refusal of ours") {
    Linked client(place, parse("a", "select 1") + sync_message());
    client.hears(parsed() + ready());
    client.seen();
    CHECK(client.says(parse("a", "select 2") + sync_message()) == "ask");
    client.granted(place.server);
    CHECK(client.hears(last) == "close drop");
    CHECK(client.seen() == "E:57P01:FATAL");
  }
}

TEST_CASE("what a server may not say ends both connections with 08006") {
  struct Row {
    const char* what;
    std::string request, answer;
    std::string seen;
  };
  const Row table[] = {
      {"unknown type", query("select 1"), row_description() + message('?'), "T E:08006:FATAL"},
      {"a login message", query("select 1"), message('R', std::string(4, '\0')), "E:08006:FATAL"},
      {"an answer to another kind", query("select 1"), bound(), "E:08006:FATAL"},
      {"too many answers", query("begin"), done("BEGIN") + ready('T') + ready('T'),
       "C:BEGIN Z:T E:08006:FATAL"},
      {"Ready in a batch", parse("", "x") + sync_message(), ready(), "E:08006:FATAL"},
      {"Ready of unknown status", query("select 1"), done() + ready('X'), "C:SELECT 1 E:08006:FATAL"},
      {"Ready without status", query("select 1"), done() + message('Z'), "C:SELECT 1 E:08006:FATAL"},
      {"Ready that is too long", query("select 1"), done() + message('Z', "II"), "C:SELECT 1 E:08006:FATAL"},
      {"Ready during COPY", query("copy t from stdin"), copy_in() + ready(), "G E:08006:FATAL"},
      {"Ready during COPY out", query("copy t to stdout"), copy_out() + ready(), "H E:08006:FATAL"},
      {"COPY data out of COPY", query("select 1"), copy_data("x"), "E:08006:FATAL"},
      {"an error without fields", query("select 1"), message('E'), "E:08006:FATAL"},
  };
  for (const Row& one : table) {
    CAPTURE(one.what);
    for (std::size_t cut = 0; cut <= one.answer.size(); ++cut) {
      CAPTURE(cut);
      Place place;
      Linked client(place, one.request);
      std::string did = client.hears(one.answer.substr(0, cut));
      if (did.empty()) did = client.hears(one.answer.substr(cut));
      CHECK(did == "close drop");
      CHECK(client.seen() == one.seen);
      CHECK(client.core.state() == State::Closed);
    }
  }
}

TEST_CASE("a server's impossible length ends the session at the boundary before it") {
  for (const Bytes header : {Bytes("T\0\0\0\3", 5), Bytes("D\xff\xff\xff\xff", 5), Bytes("Z\0\2\0\0", 5)}) {
    Place place;
    Linked client(place, query("select 1"));
    CHECK(client.hears(header) == "close drop");
    CHECK(client.seen() == "E:08006:FATAL");
  }
}

TEST_CASE("an unasked error that is not whole is a reset") {
  Place place;
  Linked client(place);
  const std::string last = error("57P01", std::string(20'000, 'x'), "FATAL");
  CHECK(client.hears(last.substr(0, 10'000)) == "reset drop");
}

// --- hostile clients

TEST_CASE("bytes that are no message of a client end the session with 08P01") {
  const std::string bad[] = {std::string(64, '\0'),
                             message('p', "password"),
                             message('?'),
                             std::string("Q\0\0\0\3", 5),
                             std::string("Q\xff\xff\xff\xff", 5),
                             std::string("S\0\0\x27\x11", 5),
                             std::string("GET / HTTP/1.1\r\n"),
                             message('T')};
  for (const std::string& bytes : bad) {
    CAPTURE(bytes);
    Place place;
    SECTION("idle") {
      Client client(place);
      CHECK(client.says(bytes) == "close");
      CHECK(client.seen() == "E:08P01:FATAL");
    }
    SECTION("in a transaction") {
      Linked client(place);
      CHECK(client.says(bytes) == "close drop");
      CHECK(client.seen() == "E:08P01:FATAL");
    }
    SECTION("in the middle of an answer") {
      Linked client(place, query("select 1"));
      client.hears(rows().substr(0, 15));
      CHECK(client.says(bytes) == "reset drop");
    }
  }
}

TEST_CASE("malformed statement messages end the session before they reach the server") {
  const std::string bad[] = {message('P', "name"),   message('P', z("name") + "text"),
                             message('B', "portal"), message('B', z("portal") + "name"),
                             message('D'),           message('D', "S"),
                             message('D', "Sx"),     message('D', "S" + z("x") + "y"),
                             message('C', "S"),      message('C', "S" + z("x") + z("y"))};
  for (const std::string& bytes : bad) {
    CAPTURE(bytes);
    Place place;
    Linked client(place);
    CHECK(client.says(bytes) == "close drop");
    CHECK(client.seen() == "E:08P01:FATAL");
    CHECK(client.sent().empty());
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
    const std::string large = query(std::string(50'000, ' '));
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
       closed() + bound() + row() + done() + error("26000") + ready('E')},
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

// --- prepared statements

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
    CHECK(b.runs(parse("t", "select 1") + bind("t") + execute() + sync_message(), closed() + rows_of_batch(),
                 place.server) == "C:pgweir_none B:pgweir_1 E S");
    CHECK(b.seen() == "1 2 D C:SELECT 1 Z:I");  // the Close is shown as a Parse
  }
  SECTION("a second time, after its owner has gone") {
    a.step([&] { a.core.client_gone(a.out); });
    Client b(place);
    CHECK(b.runs(parse("s", "select 1") + sync_message(), closed() + ready(), place.server) ==
          "C:pgweir_none S");
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
  CHECK(client.sent() == "B:pgweir_none B:pgweir_1 E S");
  client.hears(error("26000", "prepared statement \"pgweir_none\" does not exist"));
  CHECK(client.error_text() == "prepared statement \"my name\" already exists");
  CHECK(client.hears(ready('E')).empty());
  CHECK(client.seen() == "E:42P05 Z:E");
  CHECK(client.core.statement_count() == 1);
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
  CHECK(client.runs(parse("s", "select 1") + sync_message(), closed() + ready(), place.server) ==
        "C:pgweir_none S");
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

TEST_CASE("a server that knows too many statements forgets the one that was used least recently") {
  Place place;
  place.books.statements_per_server = 2;
  Client client(place);
  for (const Bytes name : {"1", "2", "3"})
    client.runs(parse(name, "select " + std::string(name)) + sync_message(), parsed() + ready(),
                place.server);
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
  SECTION("over the group's budget") {
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
      client.hears((refused ? error("26000") : given == 0 ? parsed() : closed()) + ready());
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
    client.runs(query(tag), done(tag) + ready(), place.server);
    CHECK(place.server.dirty);
    CHECK(client.core.statement_count() == 0);
    CHECK(place.server.statements.size() == 0);
  }
}

TEST_CASE("statements behind a DISCARD ALL in a pipeline wait until it is known what it dropped") {
  // Npgsql sends DISCARD ALL in front of the first query of a pooled connection.
  Place place;
  Client client(place);
  client.runs(parse("s", "select 1") + sync_message(), parsed() + ready(), place.server);
  client.to_server.clear();
  client.says(query("DISCARD ALL") + parse("s", "select 1") + bind("s") + execute() + sync_message());
  CHECK(client.granted(place.server) == "stalled");
  CHECK(client.hears(done("DISCARD ALL") + ready()) == "release");
  CHECK(client.sent() == "Q:DISCARD ALL");
  CHECK(client.again() == "ask");
  client.granted(place.other);
  CHECK(client.sent() == "P:pgweir_1 B:pgweir_1 E S");
  CHECK(client.hears(parsed() + rows_of_batch()) == "release");
  CHECK(client.core.statement_count() == 1);
}

TEST_CASE("a wait for statements asks the server for the answers that it may hold back") {
  Place place;
  Linked client(place);
  std::string many;
  for (int i = 0; i < 1100; ++i) many += parse(std::to_string(i), "select 1");
  CHECK(client.says(many) == "stalled");
  CHECK(client.sent().ends_with("C:pgweir_none H"));
  std::string answers = parsed();
  for (int i = 1; i < 1024; ++i) answers += closed();
  client.hears(answers);
  CHECK(client.again().empty());
  CHECK(client.core.statement_count() == 1100);
}

TEST_CASE("the unnamed statement is the client's own on every server") {
  // Go's lib/pq prepares in one batch and binds in the next.
  Place place;
  Client a(place), b(place);
  CHECK(a.runs(parse("", "select 'a'") + describe('S') + sync_message(),
               parsed() + parameters() + row_description() + ready(), place.server) == "P D S");
  b.runs(parse("", "select 'b'") + sync_message(), parsed() + ready(), place.server);
  a.seen();
  a.says(bind() + execute() + sync_message());
  a.granted(place.server);
  CHECK(a.sent().ends_with("P B E S"));
  CHECK(a.hears(parsed() + rows_of_batch()) == "release");
  CHECK(a.seen() == "2 D C:SELECT 1 Z:I");

  SECTION("prepared again with the client's text, once per loan") {
    a.says(bind() + execute() + describe('S') + sync_message());
    a.granted(place.other);
    CHECK(a.to_server == parse("", "select 'a'") + bind() + execute() + describe('S') + sync_message());
    a.hears(parsed() + bound() + done() + parameters() + no_data() + ready());
  }
  SECTION("ended by a simple query, as in Postgres") {
    a.runs(query("select 1"), rows(), place.server);
    a.seen();
    CHECK(a.runs(bind() + execute() + sync_message(), error("26000") + ready(), place.server) ==
          "B:pgweir_none E S");
    CHECK(a.seen() == "E:26000 Z:I");
  }
  SECTION("or by Close") {
    a.runs(close('S', "") + sync_message(), closed() + ready(), place.server);
    CHECK(a.runs(describe('S') + sync_message(), error("26000") + ready(), place.server) ==
          "B:pgweir_none S");
  }
  SECTION("never another client's") {
    Client c(place);
    CHECK(c.runs(bind() + execute() + sync_message(), error("26000") + ready(), place.server) ==
          "B:pgweir_none E S");
  }
  SECTION("its state is its own too") {
    a.runs(parse("", "set work_mem = 1") + sync_message(), parsed() + ready(), place.server);
    CHECK_FALSE(place.other.dirty);
    a.runs(bind() + execute() + sync_message(), parsed() + bound() + done("SET") + ready(), place.other);
    CHECK(place.other.dirty);
  }
  SECTION("when it fails there the next use prepares it once more") {
    a.runs(bind() + sync_message(), error("42P01") + ready(), place.other);
    a.to_server.clear();
    CHECK(a.runs(bind() + sync_message(), parsed() + bound() + ready(), place.other) == "P B S");
  }
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
      {"a set", query("set work_mem = 1"), done("SET") + ready(), true},
      {"a local set", query("set local work_mem = 1"), done("SET") + ready(), false},
      {"an unnamed statement", parse("", "select 1") + extended, parsed() + rows_of_batch(), false},
      {"an unnamed set", parse("", "reset all") + extended, parsed() + rows_of_batch(), true},
      {"a named set", parse("s", "reset all") + sync_message(), parsed() + ready(), true},
      {"a function call", function_call(), function_result() + ready(), true},
  };
  for (const Row& one : table) {
    CAPTURE(one.what);
    Place place;
    Client client(place);
    client.runs(one.request, one.answer, place.server);
    CHECK(place.server.dirty == one.dirty);
    CHECK(place.server.clean() == !one.dirty);
  }
  Place place;
  Client client(place);
  client.runs(parse("s", "listen x") + sync_message(), parsed() + ready(), place.server);
  client.runs(bind("s") + execute() + sync_message(), parsed() + bound() + done("LISTEN") + ready(),
              place.other);
  CHECK(place.other.dirty);
}

TEST_CASE("texts that cannot be read for sure leave a server dirty") {
  for (const auto& [name, value] :
       {std::pair{"standard_conforming_strings", "off"}, {"client_encoding", "SJIS"}}) {
    CAPTURE(name);
    for (const std::string& request : {query("select 1"), parse("", "select 1") + sync_message(),
                                       parse("s", "select 1") + sync_message()}) {
      Place place;
      place.server.applied = place.books.settings.intern({{name, value}});
      Client client(place, {{name, value}});
      client.says(request);
      client.granted(place.server);
      CHECK(place.server.dirty);
    }
  }
}

// --- settings

TEST_CASE("a client's settings go ahead of its first request, in the same send") {
  Place place;
  Client client(place, {{"work_mem", "8MB"}, {"TimeZone", "UTC"}});
  client.says(query("select 1"));
  client.granted(place.server);
  CHECK(told_to_server(client.to_server) == "P:pgweir_set B:pgweir_set E B:pgweir_set E S Q:select 1");
  const std::string ours =
      parsed() + bound() + row() + done() + bound() + row() + done() + parameter("TimeZone", "UTC") + ready();
  CHECK(client.hears(ours).empty());
  CHECK(client.to_client.empty());
  CHECK(client.hears(rows()) == "release");
  CHECK(client.to_client == rows());
  CHECK(place.server.applied == client.core.wanted());
  CHECK_FALSE(place.server.dirty);

  SECTION("only the difference is sent, and nothing to a server that has them") {
    CHECK(client.runs(query("select 2"), rows(), place.server) == "Q:select 2");
    Client other(place, {{"work_mem", "8MB"}});
    other.says(query("select 1"));
    other.granted(place.server);
    CHECK(other.sent() == "B:pgweir_set E S Q:select 1");
    other.hears(bound() + row() + done() + parameter("TimeZone", "GMT") + ready() + rows());
    CHECK(place.server.applied == other.core.wanted());
    CHECK(other.seen() == "T D C:SELECT 1 Z:I");
  }
  SECTION("cut at every byte they are swallowed all the same") {
    const std::string answer = bound() + row() + done() + bound() + row() + done() + ready() + rows();
    for (std::size_t cut = 0; cut < answer.size(); ++cut) {
      Client other(place);
      const SettingsRef before = place.server.applied;
      other.says(query("select 1"));
      other.granted(place.server);
      CHECK(other.hears(answer.substr(0, cut)).empty());
      const std::string did = other.hears(answer.substr(cut));
      CHECK(did == "release");
      CHECK(other.to_client == rows());
      place.server.applied = before;
    }
  }
}

TEST_CASE("settings that the server refuses in the middle of a session end it before it sees an answer") {
  Place place;
  Client client(place, {{"work_mem", "8MB"}});
  client.says(query("insert"));
  client.granted(place.server);
  SECTION("nothing else has come") {
    CHECK(client.hears(parsed() + bound() + error("22023")) == "close drop");
  }
  SECTION("answers have come already") {
    CHECK(client.hears(parsed() + bound() + error("22023") + ready() + done("INSERT 0 1") + ready()) ==
          "close drop");
  }
  SECTION("half an answer has come") {
    CHECK(client.hears(parsed() + bound() + error("22023") + ready() + row().substr(0, 9)) == "close drop");
  }
  CHECK(client.seen() == "E:08006:FATAL");
}

TEST_CASE("settings are proven on a server before the client is welcomed") {
  Place place;
  Client client(place, {{"work_mem", "8MB"}, {"client_encoding", "utf8"}});
  CHECK_FALSE(client.core.wanted()->proven);
  CHECK(client.step([&] { client.core.prove(client.out); }) == "ask");
  client.held = query("select 1");  // an impatient client
  CHECK(client.says("").empty());
  CHECK(client.granted(place.server).empty());
  CHECK(client.sent() == "P:pgweir_set B:pgweir_set E B:pgweir_set E S");
  SECTION("they are good") {
    CHECK(client.hears(parsed() + bound() + row("UTF8") + done() + bound() + row("8MB") + done() +
                       parameter("client_encoding", "UTF8") + ready()) == "proven release");
    CHECK(client.out.transactions == 0);
    CHECK(client.core.wanted()->proven);
    CHECK(place.books.settings.welcome(*client.core.wanted()).at("client_encoding") == "UTF8");
    CHECK(client.again() == "ask");
    client.granted(place.server);
    CHECK(client.sent() == "Q:select 1");
    client.hears(rows());
  }
  SECTION("they are not: the client hears Postgres's own words and the server is as before") {
    CHECK(client.hears(parsed() + bound() + error("22023", "invalid value")).empty());
    CHECK(client.hears(ready()) == "close release");
    CHECK(client.seen() == "E:22023:FATAL");
    CHECK(place.server.clean());
    CHECK(place.server.applied == place.books.settings.empty());
    Client next(place, {{"work_mem", "4MB"}});
    next.says(query("select 1"));
    next.granted(place.server);
    CHECK(next.sent() == "B:pgweir_set E S Q:select 1");
    next.hears(bound() + row() + done() + ready() + rows());
    CHECK(next.seen() == "T D C:SELECT 1 Z:I");
  }
  SECTION("no server: it is refused for good") {
    client.hears(parsed() + bound() + row() + done() + bound() + row() + done() + ready());
    Client other(place, {{"work_mem", "9MB"}});
    other.step([&] { other.core.prove(other.out); });
    CHECK(other.step([&] { other.core.refused({"53300", "full", {}, {}}, {}, other.out); }) == "leave close");
    CHECK(other.seen() == "E:53300:FATAL");
  }
  SECTION("it leaves meanwhile") {
    CHECK(client.step([&] { client.core.client_gone(client.out); }) == "drop");
  }
  SECTION("the server dies meanwhile") {
    CHECK(client.step([&] { client.core.server_gone("x", client.out); }) == "close drop");
  }
}

TEST_CASE("a server that already has the settings proves them at once") {
  Place place;
  Client client(place);
  client.step([&] { client.core.prove(client.out); });
  CHECK(client.granted(place.server) == "proven release");
}

TEST_CASE("what a client sets and Postgres reports follows it to the next server") {
  Place place;
  place.books.settings.set_baseline({{"TimeZone", "Etc/UTC"}, {"client_encoding", "UTF8"}});
  Client client(place);
  client.runs(query("set timezone = 'Asia/Tokyo'"),
              done("SET") + parameter("TimeZone", "Asia/Tokyo") + ready(), place.server);
  CHECK(place.server.applied == client.core.wanted());
  CHECK(client.core.wanted()->values.at("TimeZone") == "Asia/Tokyo");
  CHECK(client.runs(query("select 1"), parsed() + bound() + row() + done() + ready() + rows(), place.other) ==
        "P:pgweir_set B:pgweir_set E S Q:select 1");
  SECTION("and back to the default") {
    client.runs(query("reset timezone"), done("RESET") + parameter("TimeZone", "Etc/UTC") + ready(),
                place.other);
    CHECK(client.core.wanted() == place.books.settings.empty());
    CHECK(place.other.applied == place.books.settings.empty());
  }
  SECTION("what is not the client's to choose does not") {
    client.runs(query("select 1"), parameter("in_hot_standby", "on") + rows(), place.other);
    CHECK(client.core.wanted()->values.size() == 1);
  }
}

TEST_CASE("cleaning counts only when DISCARD ALL has succeeded") {
  struct Nobody final : ServerCore::Audience {
    void on_parameter(Bytes, Bytes) override {}
    void on_op_dropped(StatementOp&) override {}
    void on_all_deallocated() override {}
    void on_ours_failed(Bytes) override {}
  } nobody;
  Place place;
  Client client(place, {{"TimeZone", "UTC"}});
  client.says(query("set x = 1"));
  client.granted(place.server);
  client.hears(parsed() + bound() + row() + done() + ready() + done("SET") + ready());
  CHECK_FALSE(place.server.clean());
  protocol::Gather to_server, to_client;
  place.server.begin_cleaning(to_server);
  CHECK(told_to_server(to_server.text()) == "Q:DISCARD ALL");
  SECTION("it has") {
    CHECK(place.server.read(done("DISCARD ALL") + parameter("TimeZone", "GMT") + ready(), to_client, nobody)
              .broken == nullptr);
    CHECK(place.server.clean());
    CHECK(place.server.applied == place.books.settings.empty());
    CHECK(client.runs(query("select 1"), parsed() + bound() + row() + done() + ready() + rows(),
                      place.server) == "P:pgweir_set B:pgweir_set E S Q:select 1");
  }
  SECTION("it has not") {
    place.server.read(error("57014") + ready(), to_client, nobody);
    CHECK(place.server.quiet());
    CHECK_FALSE(place.server.clean());
  }
  CHECK(to_client.empty());
}
