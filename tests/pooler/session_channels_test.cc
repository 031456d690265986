// LISTEN of a client whose group has a listener.
#include "tests/pooler/session_help.h"

using namespace pgweir;
using namespace pgweir::test;

namespace {
std::string notification(Bytes channel, Bytes payload) {
  std::string out;
  protocol::Writer(out, 'A').u32(7).c_string(channel).c_string(payload);
  return out;
}

struct Stand : Place {
  Stand() {
    books.listener.name_fence("f");
    tenant.limits.max_pinned_clients = 0;
  }
  // The shared connection's half.
  void listen() {
    for (std::string sql = books.listener.next_request(); !sql.empty(); sql = books.listener.next_request())
      books.listener.answered(true);
  }
  void tide() {
    const std::string sql = books.listener.next_request();
    const std::size_t at = sql.find("'tide_");
    REQUIRE(at != std::string::npos);
    const std::string told = notification("f", Bytes(sql).substr(at + 1, sql.size() - at - 2));
    books.listener.notified(Notification(Bytes(told).substr(protocol::kHeaderBytes)));
    books.listener.answered(true);
  }
};

struct Listener final : ListenerCore::Hearer, Client {
  explicit Listener(Stand& p) : Client(p), stand(p) { core.set_hearer(this); }
  ~Listener() override { core.leave_channels(); }
  void on_listener_changed() override {}
  void on_notification(Bytes) override {}
  std::string changed() {
    return step([&] { core.listener_changed(out); });
  }
  // A request, when all has come that was notified before it.
  std::string asks(Bytes in) {
    const std::string first = says(in);
    if (first != "stalled") return first;
    stand.tide();
    return again();
  }
  // Up to the audit.
  void runs_text(Bytes sql) {
    REQUIRE(asks(query(sql)) == "ask");
    REQUIRE(granted(stand.server).empty());
    hears(done("OK") + ready());
    sent();
  }
  // LISTEN a, and all that follows.
  void listens() {
    stand.books.listener.connected();
    runs_text("listen a");
    hears(parsed() + answered(row("a")));
    stand.listen();
    changed();
    hears(done("LISTEN") + done("NOTIFY") + notification("f", "1") + ready());
    REQUIRE(hears(done("UNLISTEN") + ready()) == "release");
    seen();
    sent();
  }
  Stand& stand;
};
}  // namespace

TEST_CASE("a client keeps its server until the shared connection listens for it") {
  Stand stand;
  Listener client(stand);
  stand.books.listener.connected();
  client.runs_text("listen a");
  CHECK(client.hears(parsed() + answered(row("a"))).empty());
  CHECK(client.core.pins() == pin::kSharing);
  CHECK(client.core.resting());
  CHECK(stand.pins.pinned() == 0);
  CHECK(client.sent().empty());
  client.seen();
  client.hears(notification("a", "1"));
  CHECK(client.seen() == "A");
  stand.listen();
  CHECK(client.changed().empty());
  CHECK(client.sent() == "Q:LISTEN f;NOTIFY f,'1'");
  SECTION("and its requests wait for the end of the hand-over") {
    CHECK(client.says(query("select 1")) == "stalled");
    CHECK(client.sent().empty());
  }
  // In front of the fence it is the server's, behind it the shared connection's.
  client.hears(notification("a", "2"));
  CHECK(client.seen() == "A");
  client.hears(done("LISTEN") + done("NOTIFY") + notification("f", "1") + notification("a", "3"));
  CHECK(client.seen().empty());
  CHECK_FALSE(client.core.may_hear());
  client.hears(ready());
  CHECK(client.sent() == "Q:UNLISTEN *");
  client.hears(notification("a", "4"));
  CHECK(client.hears(done("UNLISTEN") + ready()) == "release");
  CHECK(client.seen().empty());
  CHECK(client.core.may_hear());
  CHECK(client.core.hears("a"));
  CHECK(client.core.pins() == 0);
  CHECK(stand.server.clean());
}

TEST_CASE("a hand-over ends the unnamed statement on a server that its client keeps") {
  Stand stand;
  stand.tenant.limits.max_pinned_clients = 1;
  Listener client(stand);
  stand.books.listener.connected();
  client.runs_text("create temp table t (i int); listen a");
  CHECK(client.hears(parsed() + bound() + row() + done() + parsed() + answered(row("a"))).empty());
  REQUIRE(client.core.pins() == (pin::kTemp | pin::kSharing));
  CHECK(client.says(parse("", "select 1") + sync_message()).empty());
  CHECK(client.hears(parsed() + ready()).empty());
  client.sent();
  stand.listen();
  client.changed();
  client.hears(done("LISTEN") + done("NOTIFY") + notification("f", "1") + ready());
  CHECK(client.hears(done("UNLISTEN") + ready()).empty());
  CHECK(client.sent() == "Q:LISTEN f;NOTIFY f,'1' Q:UNLISTEN *");
  CHECK(client.says(bind() + sync_message()).empty());
  CHECK(client.sent() == "P B S");
}

TEST_CASE("a client that is about to listen elsewhere has no more room for a pin than others") {
  Stand stand;
  stand.tenant.limits.max_pinned_clients = 0;
  Listener client(stand);
  stand.books.listener.connected();
  client.runs_text("listen a");
  client.hears(parsed() + answered(row("a")));
  REQUIRE(client.core.pins() == pin::kSharing);
  client.says(query("create temp table t (i int)"));
  CHECK(client.sent().find("refused_by_pgweir") != std::string::npos);
}

TEST_CASE("a LISTEN that the shared connection does not take lets nobody beyond the budget keep more") {
  struct Row {
    std::uint32_t budget;
    bool refused;
  };
  for (const Row& each : {Row{0, true}, Row{1, false}}) {
    INFO(each.budget);
    Stand stand;
    stand.tenant.limits.max_pinned_clients = each.budget;
    Listener client(stand);
    stand.books.listener.connected();
    client.runs_text("listen a");
    client.hears(parsed() + answered(row("a")));
    stand.books.listener.lost();
    client.changed();
    REQUIRE(client.core.pins() == pin::kListen);
    client.says(query("create temp table t (i int)"));
    CHECK((client.sent().find("refused_by_pgweir") != std::string::npos) == each.refused);
  }
}

TEST_CASE("before a client stops to listen it hears what was notified by then") {
  struct Row {
    std::string request;
    bool waits;
  };
  for (const Row& row : {Row{query("UNLISTEN a"), true}, Row{query("unlisten *"), true},
                         Row{query("discard all"), true}, Row{query("select 1; unlisten b"), true},
                         Row{parse("", "unlisten a") + sync_message(), true}, Row{query("select 1"), false},
                         Row{query("listen b"), false}, Row{parse("", "select 1") + sync_message(), false}}) {
    for (const bool lost : {false, true}) {
      CAPTURE(row.request, lost);
      Stand stand;
      Listener client(stand);
      client.listens();
      ListenerCore& listener = stand.books.listener;
      listener.looked();
      const std::string first = client.says(row.request);
      CHECK(listener.changed() == row.waits);
      if (!row.waits) {
        CHECK(first == "ask");
        continue;
      }
      CHECK(first == "stalled");
      CHECK(client.core.may_hear());
      CHECK(client.core.hears("a"));
      CHECK(client.again() == "stalled");
      CHECK(listener.waiting().empty());
      if (lost) {
        listener.lost();
      } else {
        CHECK(listener.next_request() == "NOTIFY f,'tide_1'");
        CHECK(client.again() == "stalled");
        listener.notified(Notification(Bytes(notification("f", "tide_1")).substr(protocol::kHeaderBytes)));
        listener.answered(true);
      }
      CHECK(listener.waiting().size() == 1);
      const std::string then = client.again();
      CHECK((then == "ask" || client.seen().starts_with("C:")));
      CHECK(listener.waiting().empty());
    }
  }
}

TEST_CASE("a request that stops to listen waits behind others, too") {
  Stand stand;
  Listener client(stand);
  client.listens();
  const auto ready_between = [&] {
    CHECK(client.hears(done("SELECT 1") + ready()) == "release");
    client.seen();
    CHECK(client.again() == "stalled");
    CHECK(client.core.may_hear());
    stand.tide();
    CHECK(client.again() == "ask");
    CHECK(client.granted(stand.server).empty());
  };
  SECTION("of another transaction") {
    CHECK(client.says(query("select 1") + query("unlisten a")) == "ask");
    CHECK(client.granted(stand.server) == "stalled");
    CHECK(client.sent() == "Q:select 1");
    CHECK_FALSE(client.core.may_hear());
    ready_between();
    CHECK(client.sent() == "Q:unlisten a Q:LISTEN pgweir_unlisten_1");
  }
  SECTION("of another batch") {
    const std::string batch = parse("", "select 1") + bind() + execute() + sync_message();
    CHECK(client.says(batch + parse("", "unlisten a") + sync_message()) == "ask");
    CHECK(client.granted(stand.server) == "stalled");
    client.sent();
    CHECK(client.hears(parsed() + bound() + done("SELECT 1") + ready()) == "release");
    client.seen();
    CHECK(client.again() == "stalled");
    stand.tide();
    CHECK(client.again() == "ask");
  }
  SECTION("of the same batch, where it hears in the middle") {
    CHECK(client.says(parse("", "select 1") + bind() + execute() + parse("", "unlisten a") + bind() +
                      execute() + sync_message()) == "ask");
    CHECK(client.granted(stand.server) == "stalled");
    CHECK(client.sent() == "P B E H");
    CHECK(client.hears(parsed() + bound()).empty());
    CHECK(client.again() == "stalled");
    CHECK(client.sent() == "H");
    CHECK_FALSE(client.core.may_hear());
    CHECK(client.hears(done("SELECT 1")).empty());
    CHECK(client.again() == "stalled");
    CHECK(client.core.may_hear());
    stand.tide();
    CHECK(client.again().empty());
    CHECK(client.sent() == "P B E S Q:LISTEN pgweir_unlisten_1");
  }
  SECTION("not inside of a transaction") {
    CHECK(client.says(query("begin") + query("unlisten a")) == "ask");
    CHECK(client.granted(stand.server) == "stalled");
    CHECK(client.hears(done("BEGIN") + ready('T')).empty());
    CHECK(client.again().empty());
    CHECK(client.sent() == "Q:begin Q:unlisten a Q:LISTEN pgweir_unlisten_1");
    CHECK(stand.books.listener.next_request().empty());
  }
  SECTION("an unnamed statement that was parsed before") {
    CHECK(client.asks(parse("", "unlisten a") + sync_message()) == "ask");
    CHECK(client.granted(stand.server).empty());
    CHECK(client.hears(parsed() + ready()) == "release");
    CHECK(client.says(bind() + execute() + sync_message()) == "stalled");
    stand.tide();
    CHECK(client.again() == "ask");
  }
  SECTION("what is no end waits for nobody") {
    CHECK(client.says(query("select 1") + query("notify a")) == "ask");
    CHECK(client.granted(stand.server).empty());
    CHECK(client.sent() == "Q:select 1 Q:notify a");
  }
}

TEST_CASE("a tide is one for all who ask before it is sent, and another for those behind") {
  Stand stand;
  Listener one(stand), two(stand), three(stand);
  ListenerCore& listener = stand.books.listener;
  listener.connected();
  stand.listen();
  CHECK(listener.catch_up(one) == 1);
  CHECK(listener.catch_up(two) == 1);
  CHECK(listener.next_request() == "NOTIFY f,'tide_1'");
  CHECK(listener.catch_up(three) == 2);
  CHECK(listener.next_request().empty());
  CHECK_FALSE(listener.caught_up(1));
  const auto comes = [&](Bytes payload) {
    listener.notified(Notification(Bytes(notification("f", payload)).substr(protocol::kHeaderBytes)));
  };
  comes("1");
  comes("tide_2");
  CHECK_FALSE(listener.caught_up(1));
  comes("tide_1");
  listener.answered(true);
  CHECK(listener.waiting() == std::vector<ListenerCore::Hearer*>{&one, &two});
  listener.stop_waiting(one);
  CHECK(listener.waiting() == std::vector<ListenerCore::Hearer*>{&two});
  CHECK(listener.next_request() == "NOTIFY f,'tide_2'");
  CHECK_FALSE(listener.caught_up(2));
  listener.lost();
  CHECK(listener.caught_up(2));
  listener.connected();
  CHECK(listener.caught_up(2));
  CHECK(listener.catch_up(one) > 2);
}

TEST_CASE("a hand-over that fails leaves the channels on the server") {
  Stand stand;
  stand.tenant.limits.max_pinned_clients = 1;
  Listener client(stand);
  stand.books.listener.connected();
  client.runs_text("listen a");
  client.hears(parsed() + answered(row("a")));
  stand.listen();
  client.changed();
  const std::string why = GENERATE(as<std::string>(), "canceled", "no fence");
  CAPTURE(why);
  client.seen();
  CHECK(
      client.hears((why == "canceled" ? error("57014") : done("LISTEN") + done("NOTIFY")) + ready()).empty());
  CHECK(client.core.pins() == pin::kListen);
  CHECK(stand.pins.pinned() == 1);
  client.hears(notification("a", "1"));
  CHECK(client.seen() == "A");
}

TEST_CASE("while the shared connection fails, LISTEN is a pin, and one that goes when it is back") {
  Stand stand;
  stand.tenant.limits.max_pinned_clients = 1;
  Listener client(stand);
  stand.books.listener.lost();
  client.runs_text("listen a");
  CHECK(client.hears(parsed() + answered(row("a"))).empty());
  CHECK(client.core.pins() == pin::kListen);
  CHECK(stand.pins.pinned() == 1);
  SECTION("back") {
    stand.books.listener.connected();
    stand.listen();
    CHECK(client.changed().empty());
    CHECK(stand.pins.pinned() == 0);
    CHECK(client.sent() == "Q:LISTEN f;NOTIFY f,'1'");
  }
  SECTION("no room") {
    Listener other(stand);
    CHECK(other.says(query("listen a")) == "ask");
    other.granted(stand.other);
    CHECK(other.sent().find("refused_by_pgweir") != std::string::npos);
  }
}

TEST_CASE("another encoding than the database's keeps the pin") {
  struct Row {
    Bytes encoding;
    Pins pins;
  };
  for (const Row& each :
       {Row{"utf8", pin::kSharing}, Row{"UTF-8", pin::kSharing}, Row{"LATIN1", pin::kListen}}) {
    CAPTURE(each.encoding);
    Stand stand;
    stand.tenant.limits.max_pinned_clients = 1;
    stand.reports({{"client_encoding", "UTF8"}});
    stand.books.listener.connected();
    Client client(stand, {{"client_encoding", std::string(each.encoding)}});
    struct Ear final : ListenerCore::Hearer {
      void on_listener_changed() override {}
      void on_notification(Bytes) override {}
    } ear;
    client.core.set_hearer(&ear);
    client.says(query("listen a"));
    client.granted(stand.server);
    client.hears(parsed() + bound() + row(each.encoding) + done() + ready());
    client.hears(done("LISTEN") + ready());
    client.hears(parsed() + answered(row("a")));
    CHECK(client.core.pins() == each.pins);
    client.step([&] { client.core.client_gone(client.out); });
    client.core.leave_channels();
  }
}

TEST_CASE("an UNLISTEN is followed by its mark, which the audit looks for") {
  Stand stand;
  Listener client(stand);
  client.listens();
  SECTION("alone") {
    client.asks(query("unlisten a"));
    client.granted(stand.server);
    CHECK(client.sent() == "Q:unlisten a Q:LISTEN pgweir_unlisten_1");
    client.hears(done("UNLISTEN") + ready() + done("LISTEN") + ready());
    CHECK(client.seen() == "C:UNLISTEN Z:I");
    client.hears(answered(row("pgweir_unlisten_1")));
    CHECK(client.sent().ends_with("Q:UNLISTEN *"));
    CHECK_FALSE(client.core.hears("a"));
    CHECK(client.hears(done("UNLISTEN") + ready()) == "release");
  }
  SECTION("behind a Sync") {
    client.asks(parse("", "unlisten a") + bind() + execute() + sync_message());
    client.granted(stand.server);
    CHECK(client.sent().ends_with("S Q:LISTEN pgweir_unlisten_1"));
    client.hears(parsed() + bound() + done("UNLISTEN") + ready() + done("LISTEN") + ready());
    client.hears(answered(row("pgweir_unlisten_1")));
    CHECK_FALSE(client.core.hears("a"));
  }
  SECTION("in a block that fails") {
    client.asks(query("begin") + query("unlisten a; select 1/0") + query("rollback"));
    client.granted(stand.server);
    client.hears(done("BEGIN") + ready('T'));
    client.again();
    client.hears(done("UNLISTEN") + error("22012") + ready('E') + error("25P02") + ready('E') +
                 done("ROLLBACK") + ready());
    client.hears(answered(""));
    CHECK(client.core.hears("a"));
    CHECK(client.core.state() == SessionCore::State::Idle);
  }
  SECTION("failed outside of a block, where the mark does not fail with it") {
    client.asks(query("unlisten a; select 1/0"));
    client.granted(stand.server);
    client.hears(error("22012") + ready() + done("LISTEN") + ready());
    client.hears(answered(row("pgweir_unlisten_1")));
    CHECK(client.core.hears("a"));
  }
  SECTION("with a rollback in the same request there is none: it hears more rather than less") {
    client.asks(query("begin; unlisten a; rollback"));
    client.granted(stand.server);
    CHECK(client.sent().find("pgweir_unlisten") == std::string::npos);
  }
}

TEST_CASE("UNLISTEN * and DISCARD ALL need no server") {
  for (const Bytes sql : {"unlisten *", "DISCARD ALL"}) {
    Stand stand;
    Listener client(stand);
    client.listens();
    CHECK(client.core.hears("a"));
    CHECK(client.asks(query(sql)).empty());
    CHECK_FALSE(client.core.hears("a"));
    CHECK_FALSE(stand.books.listener.needed());
  }
}

TEST_CASE("a client that leaves is listened for no longer") {
  Stand stand;
  Listener client(stand);
  client.listens();
  CHECK(stand.books.listener.needed());
  client.says(terminate());
  client.core.leave_channels();
  CHECK_FALSE(stand.books.listener.needed());
}
