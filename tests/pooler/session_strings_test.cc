// What a text means hangs on how its strings are read: what Postgres may read otherwise than we do is not
// believed.
#include "tests/pooler/session_help.h"

using namespace pgweir;
using namespace pgweir::test;

namespace {
const char* const kStrings = "standard_conforming_strings";

// One string if they follow the standard; else it sets something.
const char* const kHidden = R"(select '\'', set_config($$a.b$$, $$1$$, false) --')";

std::string batch(Bytes text) { return parse("", text) + bind() + execute(); }
std::string batch_done(Bytes tag) { return parsed() + bound() + done(tag); }

std::string set_strings(const char* value) { return query(std::string("set ") + kStrings + " = " + value); }
std::string strings_set(const char* value, char status = 'I') {
  return done("SET") + parameter(kStrings, value) + ready(status);
}
}  // namespace

TEST_CASE("a text that Postgres may read otherwise leaves its server dirty") {
  struct Row {
    const char *what, *text;
    bool dirty;
  };
  const Row rows[] = {
      {"a backslash", kHidden, true},
      {"a backslash behind a comment", "select 1 -- \\", true},
      {"a letter beyond ASCII, which may end in the byte of a backslash", "select '\x83\x5c'", true},
      {"neither", "select 'a', \"b\", $$c$$ -- d", false},
  };
  const std::vector<std::pair<const char*, const char*>> settings = {{kStrings, "off"},
                                                                     {"client_encoding", "SJIS"}};
  for (const auto& [name, value] : settings)
    for (const Row& one : rows) {
      CAPTURE(name, one.what);
      for (const std::string& request : {query(one.text), batch(one.text) + sync_message(),
                                         parse("s", one.text) + bind("s") + sync_message()}) {
        Place place;
        place.server.applied = place.books.settings.intern({{name, value}});
        Client client(place, {{name, value}});
        client.says(request);
        client.granted(place.server);
        CHECK(place.server.dirty == one.dirty);
      }
    }
}

TEST_CASE("what a text without backslashes does follows its client, however strings are read") {
  Place place;
  const SettingsRef start = place.books.settings.intern({{kStrings, "off"}});
  place.server.applied = start;
  Client client(place, {{kStrings, "off"}});
  CHECK(suspected(client, "set work_mem = '5MB'", "SET", place.server) ==
        "P:pgweir_value B:pgweir_value E S");
  CHECK(client.hears(parsed() + answered(row("5MB"))) == "release");
  CHECK_FALSE(place.server.dirty);
  CHECK(client.core.wanted()->values.at("work_mem") == "5MB");
  CHECK(client.says(query("deallocate all")).empty());  // needs no server
  CHECK(client.seen() == "C:SET Z:I C:DEALLOCATE ALL Z:I");
}

TEST_CASE("behind a request that may change how strings are read, and is not answered, nothing is believed") {
  Place place;
  const auto dirty_behind = [&](Bytes before, Bytes hidden) {
    Client client(place);
    client.says(std::string(before) + std::string(hidden));
    client.granted(place.server);
    const bool dirty = place.server.dirty;
    client.step([&] { client.core.server_gone("x", client.out); });
    place.server = ServerCore(place.books.settings.empty());
    return dirty;
  };
  const std::string off = std::string("set ") + kStrings + " = off";
  for (const std::string& text :
       {off, "select set_config('" + std::string(kStrings) + "', 'off', true)", std::string("do $$ $$"),
        std::string("set client_encoding = sjis"), std::string("set a b c"), off + "; select 1",
        "begin; set local" + off.substr(3)}) {
    CAPTURE(text);
    CHECK(dirty_behind(query(text), query(kHidden)));
    CHECK(dirty_behind(batch(text), batch(kHidden)));
    CHECK(dirty_behind(batch(text) + sync_message(), batch(kHidden)));
  }
  for (const char* text :
       {"set standard_conforming_strings = on", "set client_encoding to 'utf8'",
        "reset standard_conforming_strings", "set search_path = a", "rollback", "select 1"}) {
    CAPTURE(text);
    CHECK_FALSE(dirty_behind(query(text), query(kHidden)));
  }
}

TEST_CASE("in a batch it is not known before its end") {
  Place place;
  Client client(place);
  client.says(batch(std::string("set ") + kStrings + " = off") + flush());
  client.granted(place.server);
  client.hears(batch_done("SET"));
  client.says(batch(kHidden) + sync_message());
  CHECK(place.server.dirty);
}

TEST_CASE("what Postgres has answered is known") {
  Place place;
  place.reports({{kStrings, "on"}});
  Linked client(place);
  CHECK(client.says(query("do $$ $$")).empty());
  CHECK(client.hears(done("DO") + ready('T')).empty());
  SECTION("it reads them as ever") {
    client.says(query(kHidden));
    CHECK_FALSE(place.server.dirty);
  }
  SECTION("it reads them otherwise") {
    client.says(set_strings("off"));
    client.hears(strings_set("off", 'T'));
    client.says(query(kHidden));
    CHECK(place.server.dirty);
  }
}

TEST_CASE("the end of a transaction may take back how strings are read") {
  Place place;
  place.reports({{kStrings, "on"}});
  const SettingsRef start = place.books.settings.intern({{kStrings, "off"}});
  place.server.applied = start;
  Client client(place, {{kStrings, "off"}});
  client.says(query("begin"));
  client.granted(place.server);
  client.hears(done("BEGIN") + ready('T'));
  client.says(set_strings("on"));
  client.hears(strings_set("on", 'T'));
  REQUIRE_FALSE(place.server.dirty);
  SECTION("not yet") {
    client.says(query(kHidden));
    CHECK_FALSE(place.server.dirty);
  }
  SECTION("by a request that is not answered") {
    const char* const end = GENERATE("rollback", "rollback to a", "commit", "abort", "end");
    client.says(query(end) + query(kHidden));
    CHECK(place.server.dirty);
  }
}

TEST_CASE("a statement means what it did when it was prepared") {
  Place place;
  place.reports({{kStrings, "on"}});
  Client client(place);
  SECTION("under other settings than those of now") {
    client.runs(set_strings("off"), strings_set("off"), place.server);
    client.runs(parse("s", kHidden) + sync_message(), parsed() + ready(), place.server);
    client.runs(set_strings("on"), strings_set("on"), place.server);
    client.says(bind("s") + execute() + sync_message());
    client.granted(place.server);
    CHECK(place.server.dirty);
  }
  SECTION("behind what may have changed them") {
    client.says(set_strings("off") + parse("s", kHidden) + sync_message() + set_strings("on"));
    client.granted(place.server);
    client.hears(strings_set("off"));
    client.again();
    client.hears(parsed() + ready());
    client.again();
    REQUIRE(client.hears(strings_set("on")) == "release");
    REQUIRE_FALSE(place.server.dirty);
    client.says(bind("s") + execute() + sync_message());
    client.granted(place.server);
    CHECK(place.server.dirty);
  }
  SECTION("under those of now, though others came later") {
    client.runs(parse("s", kHidden) + sync_message(), parsed() + ready(), place.server);
    client.runs(set_strings("off"), strings_set("off"), place.server);
    client.says(bind("s") + execute() + sync_message());
    client.granted(place.server);
    CHECK_FALSE(place.server.dirty);
  }
}

TEST_CASE("the unnamed statement means what it did when it was prepared") {
  Place place;
  place.reports({{kStrings, "on"}});
  Linked client(place);
  client.says(set_strings("off"));
  client.hears(strings_set("off", 'T'));
  client.says(parse("", kHidden) + sync_message());
  client.hears(parsed() + ready('T'));
  client.says(parse("on", std::string("set ") + kStrings + " = on") + bind("on") + execute() +
              sync_message());
  client.hears(parsed() + bound() + strings_set("on", 'T'));
  REQUIRE_FALSE(place.server.dirty);
  client.says(bind() + execute() + sync_message());
  CHECK(place.server.dirty);
}
