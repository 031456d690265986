#include "pooler/settings.h"

#include <catch2/catch.hpp>

using namespace pgweir;
using Values = SettingsMap::Values;

TEST_CASE("equal settings are one object") {
  SettingsBook book;
  const SettingsRef a = book.intern({{"work_mem", "1MB"}, {"TimeZone", "UTC"}});
  CHECK(book.intern({{"TimeZone", "UTC"}, {"work_mem", "1MB"}}) == a);
  CHECK(book.intern({{"work_mem", "2MB"}, {"TimeZone", "UTC"}}) != a);
  CHECK(book.intern({}) == book.empty());
}

TEST_CASE("names mean the same in any case and are kept as Postgres reports them") {
  SettingsBook book;
  const SettingsRef map = book.intern({{"timezone", "UTC"}, {"DATESTYLE", "ISO"}, {"Work_Mem", "1MB"}});
  CHECK(map->values == Values{{"TimeZone", "UTC"}, {"DateStyle", "ISO"}, {"work_mem", "1MB"}});
  CHECK(book.intern({{"TimeZone", "UTC"}, {"DateStyle", "ISO"}, {"work_mem", "1MB"}}) == map);
}

TEST_CASE("only settings that cannot fail are believed untried") {
  SettingsBook book;
  CHECK(book.empty()->proven);
  CHECK(book.intern({{"application_name", "psql"}})->proven);
  CHECK_FALSE(book.intern({{"application_name", "caf\xc3\xa9"}})->proven);
  CHECK_FALSE(book.intern({{"application_name", std::string(64, 'a')}})->proven);
  CHECK_FALSE(book.intern({{"application_name", "psql"}, {"work_mem", "1MB"}})->proven);
  CHECK_FALSE(book.intern({{"work_mem", "1MB"}})->proven);
}

TEST_CASE("proven settings are remembered when their client has gone, up to a number") {
  SettingsBook book;
  book.mark_proven(book.intern({{"work_mem", "1MB"}}));
  CHECK(book.intern({{"work_mem", "1MB"}})->proven);
  for (int i = 0; i < 300; ++i) book.mark_proven(book.intern({{"work_mem", std::to_string(i)}}));
  CHECK_FALSE(book.intern({{"work_mem", "1MB"}})->proven);
  CHECK(book.intern({{"work_mem", "299"}})->proven);
}

TEST_CASE("a report changes the map of whoever caused it") {
  SettingsBook book;
  book.fresh({{"TimeZone", "Etc/UTC"}, {"client_encoding", "UTF8"}});
  const SettingsRef tokyo = book.changed(book.empty(), "TimeZone", "Asia/Tokyo");
  CHECK(tokyo->values == Values{{"TimeZone", "Asia/Tokyo"}});
  CHECK(tokyo->proven);
  CHECK(book.changed(tokyo, "TimeZone", "Asia/Tokyo") == tokyo);
  CHECK(book.changed(tokyo, "TimeZone", "Etc/UTC") == book.empty());
  CHECK(book.changed(tokyo, "client_encoding", "UTF8") == tokyo);
  CHECK(book.changed(tokyo, "is_superuser", "on") == tokyo);
  CHECK(book.changed(tokyo, "in_hot_standby", "on") == tokyo);

  SECTION("a report in Postgres's spelling of what was asked is no change") {
    const SettingsRef encoding = book.intern({{"client_encoding", "latin1"}});
    encoding->reported["client_encoding"] = "LATIN1";
    CHECK(book.changed(encoding, "client_encoding", "LATIN1") == encoding);
    CHECK(book.changed(encoding, "client_encoding", "LATIN2")->values.at("client_encoding") == "LATIN2");
  }
}

TEST_CASE("a client is welcomed with the baseline under its own settings") {
  SettingsBook book;
  CHECK_FALSE(book.has_baseline());
  book.fresh({{"TimeZone", "Etc/UTC"}, {"application_name", ""}, {"server_version", "15.7"}});
  CHECK(book.has_baseline());
  // Not of what this server does not report, like Postgres 15 its search_path.
  const SettingsRef map = book.intern(
      {{"timezone", "utc"}, {"application_name", "psql"}, {"search_path", "app"}, {"work_mem", "1MB"}});
  map->reported["TimeZone"] = "UTC";
  CHECK(book.welcome(*map) ==
        Values{{"TimeZone", "UTC"}, {"application_name", "psql"}, {"server_version", "15.7"}});
  book.forget_baseline();
  CHECK_FALSE(book.has_baseline());
}

TEST_CASE("servers that report the same share it, and the first is the baseline") {
  SettingsBook book;
  const SharedValues first = book.fresh({{"TimeZone", "Etc/UTC"}});
  CHECK(book.fresh({{"TimeZone", "Etc/UTC"}}) == first);
  CHECK(book.fresh({{"TimeZone", "Asia/Tokyo"}})->at("TimeZone") == "Asia/Tokyo");
  CHECK(book.baseline() == *first);
  book.forget_baseline();
  book.fresh({{"TimeZone", "Asia/Tokyo"}});
  CHECK(book.baseline().at("TimeZone") == "Asia/Tokyo");
  CHECK(first->at("TimeZone") == "Etc/UTC");
}

TEST_CASE("SQL reads plainly only under standard strings and a safe encoding") {
  struct Row {
    Values values;
    bool plain;
  };
  const Row table[] = {
      {{}, true},
      {{{"client_encoding", "UTF8"}}, true},
      {{{"client_encoding", "latin1"}}, true},
      {{{"client_encoding", "EUC_JP"}}, true},
      {{{"client_encoding", "WIN1252"}}, true},
      {{{"client_encoding", "SJIS"}}, false},
      {{{"client_encoding", "Shift_JIS_2004"}}, false},
      {{{"client_encoding", "big-5"}}, false},
      {{{"client_encoding", "gb18030"}}, false},
      {{{"client_encoding", "GBK"}}, false},
      {{{"client_encoding", "uhc"}}, false},
      {{{"client_encoding", "johab"}}, false},
      {{{"client_encoding", "WIN932"}}, false},
      {{{"client_encoding", "WIN949"}}, false},
      {{{"standard_conforming_strings", "on"}}, true},
      {{{"standard_conforming_strings", "off"}}, false},
      {{{"Standard_Conforming_Strings", "0"}}, false},
  };
  for (const Row& row : table) {
    CAPTURE(row.values);
    SettingsBook book;
    CHECK(book.plain_sql(*book.intern(row.values)) == row.plain);
    if (row.values.empty() || row.values.begin()->first == "Standard_Conforming_Strings") continue;
    book.fresh(row.values);
    CHECK(book.plain_sql(*book.empty()) == row.plain);
  }
}

TEST_CASE("maps that nobody holds are forgotten") {
  SettingsBook book;
  std::weak_ptr<SettingsMap> gone = book.intern({{"work_mem", "1"}});
  CHECK(gone.expired());
}

TEST_CASE("a client's own encoding counts, whatever a fresh session has") {
  SettingsBook book;
  book.fresh({{"client_encoding", "SJIS"}, {"standard_conforming_strings", "on"}});
  const SettingsRef own = book.intern({{"client_encoding", "UTF8"}});
  CHECK(book.plain_sql(*own));
  CHECK_FALSE(book.plain_sql(*book.empty()));
  CHECK_FALSE(book.plain_sql(*book.intern({{"TimeZone", "UTC"}})));
  const auto odd = book.odd_setting(*book.empty());
  CHECK(odd.name == "client_encoding");
  CHECK(odd.value == "SJIS");
  CHECK_FALSE(odd.own);
  const SettingsRef strings =
      book.intern({{"client_encoding", "UTF8"}, {"standard_conforming_strings", "off"}});
  CHECK_FALSE(book.plain_sql(*strings));
  CHECK(book.odd_setting(*strings).name == "standard_conforming_strings");
  CHECK(book.odd_setting(*strings).own);
}

TEST_CASE("how long a map lets its server be idle") {
  SettingsBook book;
  using std::chrono::milliseconds;
  CHECK_FALSE(book.empty()->idle_most);
  CHECK_FALSE(book.intern({{"statement_timeout", "5"}})->idle_most);
  CHECK(book.intern({{"idle_session_timeout", "0"}})->idle_most == milliseconds(0));
  CHECK(book.intern({{"idle_session_timeout", "1500"}})->idle_most == milliseconds(1500));
  CHECK(book.intern({{"Idle_Session_Timeout", "2min"}})->idle_most == milliseconds(120'000));
  CHECK(book.intern({{"idle_session_timeout", "soon"}})->idle_most == milliseconds(0));
}

TEST_CASE("a timeout that may end a request of ours is known") {
  SettingsBook book;
  for (const char* value : {"1", "99", "1ms", "50 ms", "0.05s", "500us", "99999us"})
    CHECK(book.intern({{"statement_timeout", value}})->hasty);
  for (const char* value : {"0", "100", "100ms", "1s", "0.1s", "1min", "1h", "1d", "", "off", "ms", "-1"})
    CHECK_FALSE(book.intern({{"statement_timeout", value}})->hasty);
  CHECK(book.intern({{"transaction_timeout", "5"}})->hasty);
  CHECK_FALSE(book.intern({{"lock_timeout", "5"}})->hasty);
  CHECK_FALSE(book.empty()->hasty);
}
