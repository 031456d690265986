#include "pooler/console_core.h"

#include <catch2/catch.hpp>
#include <set>

using namespace pgweir;
using namespace pgweir::console;

namespace {

// "SHOW POOLS|PAUSE(app)", or "! sqlstate what is wrong".
std::string read(std::string_view text) {
  const auto parsed = parse(text);
  if (!parsed) return std::string("! ") + parsed.error().sqlstate + " " + parsed.error().message;
  std::string all;
  for (const Request& request : *parsed) {
    if (!all.empty()) all += '|';
    all += request.command->words;
    if (!request.argument.empty()) all += "(" + request.argument + ")";
    if (!request.value.empty()) all += "(" + request.value + ")";
    if (request.seconds > 0) all += "(" + std::to_string(request.seconds) + "s)";
  }
  return all;
}

}  // namespace

TEST_CASE("commands are read in any case and spacing, one or many") {
  const struct {
    const char* text;
    const char* meaning;
  } cases[] = {
      {"", ""},
      {" ;; ; ", ""},
      {"-- nothing", ""},
      {"SHOW POOLS", "SHOW POOLS"},
      {"show pools;", "SHOW POOLS"},
      {"\tShOw\r\n pOOls \v;", "SHOW POOLS"},
      {"show/* which? */pools -- those", "SHOW POOLS"},
      {"SHOW STATS; show totals;SHOW VERSION", "SHOW STATS|SHOW TOTALS|SHOW VERSION"},
      {"SHOW STATS_TOTALS", "SHOW STATS_TOTALS"},
      {"reload", "RELOAD"},
      {"set tier acme pro", "SET TIER(acme)(pro)"},
      {"SET TIER \"a b\" \"p q\"", "SET TIER(a b)(p q)"},
      {"SET TIER acme", "! 42601 SET TIER takes tenant tier"},
      {"SET TIER acme pro now", "! 42601 SET TIER takes tenant tier"},
      {"suspend_tenant acme", "SUSPEND_TENANT(acme)"},
      {"SUSPEND_TENANT acme 'not; paid'", "SUSPEND_TENANT(acme)(not; paid)"},
      {"SUSPEND_TENANT acme paid", "! 42601 SUSPEND_TENANT takes tenant ['reason']"},
      {"RESUME_TENANT acme", "RESUME_TENANT(acme)"},
      {"RESUME_TENANT", "! 42601 RESUME_TENANT takes tenant"},
      {"show breakers", "SHOW BREAKERS"},
      {"breaker open main", "BREAKER OPEN(main)"},
      {"BREAKER CLOSE \"my host\"", "BREAKER CLOSE(my host)"},
      {"BREAKER AUTO main", "BREAKER AUTO(main)"},
      {"BREAKER AUTO", "! 42601 BREAKER AUTO takes the name of one backend"},
      {"BREAKER OPEN a b", "! 42601 BREAKER OPEN takes the name of one backend"},
      {"SHOW LIMIT acme", "SHOW LIMIT(acme)"},
      {"SHOW LIMIT", "! 42601 SHOW LIMIT takes tenant"},
      {"SHOW USAGE", "SHOW USAGE"},
      {"pause", "PAUSE"},
      {"PAUSE app;", "PAUSE(app)"},
      {"PAUSE MyApp", "PAUSE(MyApp)"},
      {"pause \"my;\"\"app\"", "PAUSE(my;\"app)"},
      {"resume t-1.x", "RESUME(t-1.x)"},
      {"shutdown", "SHUTDOWN"},
      {"kill app", "KILL(app)"},
      {"KILL_CLIENT 17", "KILL_CLIENT(17)"},
      {"move acme to other", "MOVE(acme)(other)"},
      {"MOVE \"a b\" TO \"p q\" 5", "MOVE(a b)(p q)(5s)"},
      {"MOVE acme TO other 3600", "MOVE(acme)(other)(3600s)"},
      {"reconnect", "RECONNECT"},
      {"wait_close \"a b\"", "WAIT_CLOSE(a b)"},
      {"show tenants", "SHOW TENANTS"},
      {"suspend", "SUSPEND"},
      {"SHOW statements LIMIT 5 AFTER 'a/b/c'", "SHOW STATEMENTS(LIMIT 5 AFTER '...')"},
      {"SHOW TENANTS limit 5 LIKE 'a%'", "SHOW TENANTS(LIMIT 5 LIKE '...')"},
      {"deallocate all; discard all", "DEALLOCATE ALL|DISCARD ALL"},
      {"shutdown wait_for_servers", "SHUTDOWN WAIT_FOR_SERVERS"},
      {"SELECT 1", "SELECT 1"},
      {"select version()", "SELECT VERSION ( )"},
      {"begin; select 1; commit", "BEGIN|SELECT 1|COMMIT"},
      {"BEGIN ISOLATION LEVEL SERIALIZABLE", "BEGIN"},
      {"start transaction", "START TRANSACTION"},
      {"COMMIT WORK", "COMMIT"},
      {"SET application_name = 'it''s; me'", "SET"},
      {"set session client_encoding to 'UTF8'", "SET"},
      {"SET TIME ZONE 'UTC'", "SET"},
      {"set extra_float_digits=3", "SET"},
      {"SET client.MAX TO 5", "SET key = value(client.max)(5)"},
      {"set log.level='debug'", "SET key = value(log.level)(debug)"},
      {"SHUTDOWN  wait_for_clients", "SHUTDOWN WAIT_FOR_CLIENTS"},
      {"disable Acme", "DISABLE(Acme)"},
      {"SHOW CEILINGS", "SHOW CEILINGS"},
      {"show ceilings \"a b\"", "SHOW CEILINGS(a b)"},
  };
  for (const auto& one : cases) {
    INFO(one.text);
    CHECK(read(one.text) == one.meaning);
  }
}

TEST_CASE("what is not a command is refused with what was probably meant") {
  const struct {
    const char* text;
    const char* error;
  } cases[] = {
      {"SHOW", "! 42601 unknown command 'SHOW'"},
      {"SHOW POOL", "! 42601 unknown command 'SHOW POOL'; did you mean SHOW POOLS?"},
      {"show clients foo", "! 42601 unknown command 'show clients foo'; did you mean SHOW CLIENTS?"},
      {"SHWO POOLS", "! 42601 unknown command 'SHWO POOLS'; did you mean SHOW?"},
      {"relod", "! 42601 unknown command 'relod'; did you mean RELOAD?"},
      {"SELECT * FROM pg_class", "! 42601 unknown command 'SELECT * FROM pg_class'"},
      {"ALTER USER u PASSWORD 'hidden'", "! 42601 unknown command 'ALTER USER u PASSWORD '...''"},
      {"RELOAD now", "! 42601 RELOAD takes no argument such as 'now'"},
      {"SHUTDOWN WAIT_FOR_ALL", "! 42601 SHUTDOWN takes no argument such as 'WAIT_FOR_ALL'"},
      {"DISABLE", "! 42601 DISABLE takes the name of one database"},
      {"DISABLE a b", "! 42601 DISABLE takes the name of one database"},
      {"SHOW CEILINGS 'a'", "! 42601 SHOW CEILINGS takes the name of one database"},
      {"MOVE", "! 42601 MOVE takes tenant TO backend [seconds]"},
      {"MOVE acme other", "! 42601 MOVE takes tenant TO backend [seconds]"},
      {"MOVE acme TO", "! 42601 MOVE takes tenant TO backend [seconds]"},
      {"MOVE acme TO other 0", "! 42601 MOVE takes tenant TO backend [seconds]"},
      {"MOVE acme TO other 3601", "! 42601 MOVE takes tenant TO backend [seconds]"},
      {"MOVE acme TO other 1s", "! 42601 MOVE takes tenant TO backend [seconds]"},
      {"MOVE acme TO other 1 2", "! 42601 MOVE takes tenant TO backend [seconds]"},
      {"MOVE acme TO 'other'", "! 42601 MOVE takes tenant TO backend [seconds]"},
      {"KILL_CLIENT", "! 42601 KILL_CLIENT takes the id of one client"},
      {"KILL_CLIENT c17", "! 42601 KILL_CLIENT takes the id of one client"},
      {"KILL_CLIENT -1", "! 42601 KILL_CLIENT takes the id of one client"},
      {"KILL_CLIENT 1 2", "! 42601 KILL_CLIENT takes the id of one client"},
      {"SHOW TENANTS a", "! 42601 SHOW TENANTS takes LIKE 'pattern', LIMIT count and AFTER 'name'"},
      {"SHOW TENANTS LIKE", "! 42601 SHOW TENANTS takes LIKE 'pattern', LIMIT count and AFTER 'name'"},
      {"SHOW TENANTS LIMIT x", "! 42601 LIMIT takes a whole number, not 'x'"},
      {"SHOW TENANTS LIMIT -1", "! 42601 LIMIT takes a whole number, not '-1'"},
      {"PAUSE a b", "! 42601 PAUSE takes the name of one database"},
      {"PAUSE 'a'", "! 42601 PAUSE takes the name of one database"},
      {"PAUSE \"\"", "! 42601 PAUSE takes the name of one database"},
      {"PAUSE \"a", "! 42601 unterminated quoted name in '\"a'"},
      {"SET x = 'a", "! 42601 unterminated string in ''a'"},
      {"RELOAD /* x", "! 42601 unterminated /* comment"},
      {"SET", "! 42601 unknown command 'SET'"},
      {"SET client.max", "! 42601 SET takes the key of a setting, '=' and one value"},
      {"SET client.max =", "! 42601 SET takes the key of a setting, '=' and one value"},
      {"SET client.max = 5 6", "! 42601 SET takes the key of a setting, '=' and one value"},
      {"SET client.max 5", "! 42601 SET takes the key of a setting, '=' and one value"},
      // Nothing of a text is done when a part of it is wrong.
      {"RELOAD; SHOW POOL", "! 42601 unknown command 'SHOW POOL'; did you mean SHOW POOLS?"},
  };
  for (const auto& one : cases) {
    INFO(one.text);
    CHECK(read(one.text) == one.error);
  }
  CHECK_THAT(parse("SHOW X").error().hint, Catch::Contains("SHOW POOLS") && Catch::Contains("SHUTDOWN"));
}

TEST_CASE("a text has a bounded number of statements") {
  std::string text;
  for (int i = 0; i < 100; ++i) text += "SHOW CLIENTS;";
  CHECK(parse(text)->size() == 100);
  CHECK(read(text + "RELOAD") == "! 54000 more than 100 statements in one text");
}

TEST_CASE("a page says what it shows of a list, in any order") {
  const auto page = [](std::string_view text) { return parse(text)->front().page; };
  CHECK(page("SHOW TENANTS") == Page{"%", Page::kLimit, ""});
  CHECK(page("SHOW TENANTS LIKE 'a%' LIMIT 100 AFTER 'acme'") == Page{"a%", 100, "acme"});
  CHECK(page("show tenants after \"Acme\" limit 0 like b_c") == Page{"b_c", 0, "Acme"});
}

TEST_CASE("LIKE means what it means in SQL") {
  const struct {
    const char *name, *like;
    bool matches;
  } cases[] = {
      {"", "", true},           {"", "%", true},        {"a", "", false},      {"abc", "abc", true},
      {"abc", "a%", true},      {"abc", "%c", true},    {"abc", "%b%", true},  {"abc", "a_c", true},
      {"abc", "_", false},      {"abc", "%%%", true},   {"abc", "ABC", false}, {"a%c", "a\\%c", true},
      {"abc", "a\\%c", false},  {"a_c", "a\\_c", true}, {"aab", "%ab", true},  {"abab", "%ab", true},
      {"aXbXc", "a%X%c", true}, {"abc", "abcd", false}, {"abc", "%d", false},  {"a\\", "a\\", true}};
  for (const auto& one : cases) {
    INFO(one.name << " like " << one.like);
    CHECK(matches(one.name, one.like) == one.matches);
  }
  // Nothing takes long.
  const std::string name(63, 'a');
  std::string like;
  for (int i = 0; i < 500; ++i) like += "%a";
  CHECK_FALSE(matches(name, like + "b"));
}

TEST_CASE("any bytes are read to an end") {
  constexpr std::string_view kBytes = "sShow'\"/*-; \n\\\xff\x01PAUSE=";
  std::uint64_t seed = 1;
  for (int round = 0; round < 2000; ++round) {
    std::string text;
    for (int i = 0; i < 40; ++i) {
      seed = seed * 6364136223846793005ULL + 1442695040888963407ULL;
      text += kBytes[(seed >> 33) % kBytes.size()];
    }
    const auto parsed = parse(text);
    if (!parsed) CHECK_FALSE(parsed.error().message.empty());
  }
}

TEST_CASE("every command says who may use it; nobody gets what no row gives") {
  std::set<std::string_view> stats;
  for (const Command& command : commands()) {
    INFO(command.words);
    CHECK_FALSE(may(Role::None, command));
    CHECK(may(Role::Admin, command));
    CHECK_FALSE(command.tag.empty());
    if (may(Role::Stats, command) && !command.words.starts_with("SHOW ")) stats.insert(command.words);
    if (command.words.starts_with("SHOW ")) CHECK(command.tag == "SHOW");
  }
  // What drivers say on every connection, and nothing that changes anything.
  CHECK(stats == std::set<std::string_view>{"SET", "BEGIN", "BEGIN TRANSACTION", "START TRANSACTION",
                                            "COMMIT", "END", "ROLLBACK", "DEALLOCATE ALL", "DISCARD ALL",
                                            "SELECT 1", "SELECT VERSION ( )"});
  CHECK_FALSE(may(Role::Stats, Command{.words = "NEW", .action = Action::Reload, .tag = "NEW", .help = ""}));
}

TEST_CASE("help tells each role what it may use") {
  CHECK_THAT(help(Role::Admin), Catch::Contains("PAUSE [database]"));
  CHECK_THAT(help(Role::Stats), Catch::Contains("SHOW POOLS") && !Catch::Contains("PAUSE"));
  CHECK(help(Role::None).empty());
}
