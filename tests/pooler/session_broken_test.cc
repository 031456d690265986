// Servers that die or lie, and clients that speak nonsense.
#include "tests/pooler/session_help.h"

using namespace pgweir;
using namespace pgweir::test;

using State = SessionCore::State;

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

TEST_CASE("who is ended because its server broke the protocol is told what the server did, and what to do") {
  Place place;
  Linked client(place, query("select 1"));
  client.hears(bound());
  const protocol::ErrorFields told = protocol::parse_error(Bytes(client.to_client).substr(5));
  CHECK(told.message == "server connection broke the protocol");
  CHECK(told.detail == "The server sent a message that answers nothing.");
  CHECK(told.hint.find("Connect again") != std::string::npos);
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
