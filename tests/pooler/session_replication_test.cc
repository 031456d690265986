// Clients that have asked for a walsender, with a server of their own.
#include "tests/pooler/session_help.h"

using namespace pgweir;
using namespace pgweir::test;
using State = SessionCore::State;

namespace {

struct Replica : Client {
  explicit Replica(Place& p, SettingsMap::Values settings = {},
                   protocol::Replication replication = protocol::Replication::Logical)
      : Client(p, std::move(settings), tiers::PoolMode::Transaction, replication) {}
  std::string asks() {
    return step([&] { core.demand(out); });
  }
  Replica& linked() {
    REQUIRE(asks() == "ask");
    core.dedicated(place.server);
    return *this;
  }
  Replica& streams() {
    linked();
    REQUIRE(says(query("START_REPLICATION PHYSICAL 0/1")).empty());
    REQUIRE(hears(copy_both()).empty());
    to_client.clear();
    to_server.clear();
    return *this;
  }
};

Place& with_ceilings(Place& place) {
  REQUIRE(tiers::set_tier_field(place.tenant.limits, "work_mem", "4MB"));
  place.guard.renew();
  return place;
}

}  // namespace

TEST_CASE("a walsender is its client's until it leaves, and then nobody's") {
  Place place;
  Replica client(place, {{"work_mem", "5MB"}});
  client.linked();
  CHECK(place.pins.reasons() == PinBook::Reasons{0, 0, 0, 0, 0, 0, 0, 1});
  CHECK(client.sent().empty());  // it was opened with the settings
  CHECK(client.core.untimed());
  CHECK(client.says(query("IDENTIFY_SYSTEM")).empty());
  CHECK(client.sent() == "Q:IDENTIFY_SYSTEM");
  CHECK(client.core.untimed());
  CHECK(client.hears(rows()).empty());
  CHECK(client.seen() == "T D C:SELECT 1 Z:I");
  CHECK(client.core.resting());
  CHECK(client.says(terminate()) == "close drop");
  CHECK(place.pins.pinned() == 0);
}

TEST_CASE("a client that vanishes takes its walsender with it") {
  Place place;
  Replica client(place);
  SECTION("between two requests") { client.linked(); }
  SECTION("in a stream") { client.streams(); }
  SECTION("in a command") { client.linked().says(query("BASE_BACKUP")); }
  CHECK(client.step([&] { client.core.client_gone(client.out); }) == "drop");
}

TEST_CASE("beyond the budget a walsender is refused, and a claim ends with its login") {
  Place place;
  place.tenant.limits.max_pinned_clients = 1;
  Replica first(place), second(place);
  CHECK(first.asks() == "ask");
  CHECK(second.asks() == "close");
  CHECK(second.seen() == "E:53400:FATAL");
  CHECK(first.step([&] {
    first.core.refused({sqlstate::kInsufficientPrivilege, "no", {}, {}}, {}, first.out);
  }) == "leave close");
  CHECK(first.seen() == "E:42501:FATAL");
  CHECK(place.pins.has_room());
}

TEST_CASE("a stream passes both ways, message by message") {
  Place place;
  Replica client(place);
  client.streams();
  CHECK(client.core.streaming());
  CHECK(client.core.untimed());
  CHECK_FALSE(client.core.resting());
  CHECK(client.says(copy_data("status")).empty());
  const std::string log = copy_data("log of some length");
  CHECK(client.hears(Bytes(log).substr(0, 9)).empty());
  CHECK_FALSE(client.core.at_boundary());
  CHECK(client.hears(Bytes(log).substr(9)).empty());
  CHECK(client.seen() == "d");
  CHECK(client.says(copy_done()).empty());
  CHECK(client.sent() == "d c");
  CHECK(client.hears(copy_data("more") + copy_done() + done("COPY 0") + ready()).empty());
  CHECK(client.seen() == "d c C:COPY 0 Z:I");
  CHECK(client.core.resting());
  CHECK_FALSE(client.core.streaming());
}

TEST_CASE("a stream may be ended between two messages only") {
  Place place;
  Replica client(place);
  client.streams();
  SECTION("between them the client is told") {
    CHECK(client.step([&] {
      client.core.fail({sqlstate::kAdminShutdown, "bye", {}, {}}, client.out);
    }) == "close drop");
    CHECK(client.seen() == "E:57P01:FATAL");
  }
  SECTION("inside of one it is cut off") {
    client.hears(Bytes(copy_data("half")).substr(0, 7));
    CHECK(client.step([&] {
      client.core.fail({sqlstate::kAdminShutdown, "bye", {}, {}}, client.out);
    }) == "reset drop");
  }
}

TEST_CASE("the end of a walsender is told as Postgres tells it") {
  Place place;
  Replica client(place);
  client.streams();
  const auto goes = [&] { return client.step([&] { client.core.server_gone("x", client.out); }); };
  SECTION("in words") {
    CHECK(client.hears(error("57P01", "bye", "FATAL")) == "close drop");
    CHECK(client.seen() == "E:57P01:FATAL");
  }
  SECTION("by the end of its stream") {
    client.hears(done("COPY 0"));
    CHECK(goes() == "close drop");
    CHECK(client.seen() == "C:COPY 0");
  }
  SECTION("by silence") {
    CHECK(goes() == "close drop");
    CHECK(client.seen().empty());
  }
  SECTION("in the middle of a message") {
    client.hears(Bytes(copy_data("half")).substr(0, 7));
    CHECK(goes() == "reset drop");
  }
}

TEST_CASE("one request at a time: SQL is timed, commands are not") {
  Place place;
  Replica client(place);
  client.linked();
  CHECK(client.says(query("select 1") + query("IDENTIFY_SYSTEM") + query("select 2")) == "stalled");
  CHECK(client.sent() == "Q:select 1");
  CHECK_FALSE(client.core.untimed());
  client.hears(rows());
  CHECK(client.again() == "stalled");
  CHECK(client.sent() == "Q:IDENTIFY_SYSTEM");
  CHECK(client.core.untimed());
  client.hears(rows());
  client.again();
  CHECK(client.sent() == "Q:select 2");
  CHECK_FALSE(client.core.untimed());
  client.hears(rows('T'));
  CHECK_FALSE(client.core.untimed());  // idle in a transaction
}

TEST_CASE("commands pass as they are, and SQL is held to the ceilings") {
  struct Row {
    const char* text;
    const char* sent;
  };
  for (const Row& row :
       {Row{"IDENTIFY_SYSTEM", nullptr},
        Row{" \t\n\r\f\vSTART_REPLICATION SLOT s LOGICAL 0/0 (work_mem '1GB')", nullptr},
        Row{"CREATE_REPLICATION_SLOT s PHYSICAL; set work_mem = '1GB'", nullptr},
        Row{"SHOW work_mem", nullptr}, Row{"BASE_BACKUP(set work_mem = '1GB')", nullptr},
        Row{"set work_mem = '2MB'", nullptr},
        Row{"set work_mem = '1GB'", "SET SESSION \"work_mem\" TO '4MB'"},
        Row{"show work_mem; set work_mem = '1GB'", "show work_mem; SET SESSION \"work_mem\" TO '4MB'"},
        Row{"SHOWN; set work_mem = '1GB'", "refused_by_pgweir"},
        Row{"SHOW$; set work_mem = '1GB'", "refused_by_pgweir"},
        Row{"/**/IDENTIFY_SYSTEM; set work_mem = '1GB'", "refused_by_pgweir"},
        Row{"do $$ begin null; end $$", "refused_by_pgweir"}, Row{"call p()", "refused_by_pgweir"}}) {
    CAPTURE(row.text);
    Place place;
    Replica client(with_ceilings(place));
    client.linked();
    CHECK(client.says(query(row.text)).empty());
    CHECK(client.sent() == "Q:" + std::string(row.sent ? row.sent : row.text));
  }
}

TEST_CASE("nothing of ours is ever sent to a walsender") {
  for (const Bytes sql : {"create temp table t (i int)", "listen a", "set work_mem = '3MB'", "discard all",
                          "reset work_mem", "reset all"}) {
    CAPTURE(sql);
    Place place;
    Replica client(with_ceilings(place), {{"work_mem", "2MB"}});
    client.linked();
    CHECK(client.says(query(sql)).empty());
    CHECK(client.hears(parameter("work_mem", "4MB") + done("DONE") + ready()).empty());
    client.core.ceilings_changed();
    CHECK(client.says(query("select 1")).empty());
    CHECK(client.sent() == "Q:" + std::string(sql) + " Q:select 1");
  }
}

TEST_CASE("what functions do that nobody has read is no reason to refuse a walsender's SQL") {
  Place place;
  place.books.routines.follow(true);
  Replica client(with_ceilings(place));
  client.linked();
  CHECK(client.says(query("select current_setting('work_mem')")).empty());
  CHECK(client.sent() == "Q:select current_setting('work_mem')");
}
