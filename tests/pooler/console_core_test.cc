#include "pooler/console_core.h"

#include <algorithm>
#include <catch2/catch.hpp>
#include <set>

#include "pooler/console_columns.h"
#include "pooler/console_show.h"

using namespace pgweir;
using namespace pgweir::console;

namespace {

// "SHOW POOLS[database user]|PAUSE(app)", or "! sqlstate what is wrong".
std::string read(std::string_view text) {
  const auto parsed = parse(text, shape);
  if (!parsed) return std::string("! ") + parsed.error().sqlstate + " " + parsed.error().message;
  std::string all;
  for (const Request& request : *parsed) {
    if (!all.empty()) all += '|';
    all += request.command->words;
    if (!request.argument.empty()) all += "(" + request.argument + ")";
    if (!request.field.empty()) all += "(" + request.field + ")";
    if (!request.value.empty()) all += "(" + request.value + ")";
    for (const std::string& column : request.columns)
      all.append(&column == request.columns.data() ? "[" : " ").append(column);
    if (!request.columns.empty()) all += ']';
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
      {"set override acme max_clients 500", "SET OVERRIDE(acme)(max_clients)(500)"},
      {"SET OVERRIDE \"a b\" Statement_Timeout '7 s'", "SET OVERRIDE(a b)(statement_timeout)(7 s)"},
      {"SET OVERRIDE acme \"inject.app.Id\" ''", "SET OVERRIDE(acme)(inject.app.Id)"},
      {"SET OVERRIDE acme max_clients", "! 42601 SET OVERRIDE takes tenant field value"},
      {"SET OVERRIDE acme max_clients =", "! 42601 SET OVERRIDE takes tenant field value"},
      {"SET OVERRIDE acme max_clients 5 6", "! 42601 SET OVERRIDE takes tenant field value"},
      {"SET OVERRIDE acme 'max_clients' 5", "! 42601 SET OVERRIDE takes tenant field value"},
      {"reset override acme MAX_CLIENTS", "RESET OVERRIDE(acme)(max_clients)"},
      {"RESET OVERRIDE acme", "! 42601 RESET OVERRIDE takes tenant field"},
      {"RESET OVERRIDE acme max_clients 5", "! 42601 RESET OVERRIDE takes tenant field"},
      {"suspend_tenant acme", "SUSPEND_TENANT(acme)"},
      {"SUSPEND_TENANT acme 'not; paid'", "SUSPEND_TENANT(acme)(not; paid)"},
      {"SUSPEND_TENANT acme paid", "! 42601 SUSPEND_TENANT takes tenant ['reason']"},
      {"RESUME_TENANT acme", "RESUME_TENANT(acme)"},
      {"RESUME_TENANT", "! 42601 RESUME_TENANT takes tenant"},
      {"show breakers", "SHOW BREAKERS"},
      {"breaker open main", "BREAKER OPEN(main)"},
      {"BREAKER CLOSE \"my host\"", "BREAKER CLOSE(my host)"},
      {"BREAKER AUTO main", "BREAKER AUTO(main)"},
      {"BREAKER AUTO", "! 42601 BREAKER AUTO takes backend [TENANT tenant]"},
      {"BREAKER OPEN a b", "! 42601 BREAKER OPEN takes backend [TENANT tenant]"},
      {"breaker open main tenant acme", "BREAKER OPEN(main)(acme)"},
      {"BREAKER CLOSE tenant TENANT \"a b\"", "BREAKER CLOSE(tenant)(a b)"},
      {"BREAKER OPEN main TENANT", "! 42601 BREAKER OPEN takes backend [TENANT tenant]"},
      {"BREAKER OPEN main TENANT 'acme'", "! 42601 BREAKER OPEN takes backend [TENANT tenant]"},
      {"BREAKER OPEN main \"TENANT\" acme", "! 42601 BREAKER OPEN takes backend [TENANT tenant]"},
      {"BREAKER OPEN main TENANT acme now", "! 42601 BREAKER OPEN takes backend [TENANT tenant]"},
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
      {"SET application_name = 'it''s; me'", "SET(application_name)(it's; me)"},
      {"set session Application_Name to psql", "SET(application_name)(psql)"},
      {"set session client_encoding to 'UTF8'", "SET"},
      {"SET TIME ZONE 'UTC'", "SET"},
      {"set extra_float_digits=3", "SET"},
      {"SET default_transaction_isolation TO 'SERIALIZABLE'", "SET"},
      {"SET default_transaction_read_only TO on; set NAMES 'UTF8'", "SET|SET"},
      {"SET search_path = a, \"b\"", "SET"},
      {"SET SESSION CHARACTERISTICS AS TRANSACTION READ ONLY", "SET"},
      {"show client_encoding", "SHOW setting(client_encoding)(UTF8)"},
      {"SHOW Standard_Conforming_Strings;", "SHOW setting(standard_conforming_strings)(on)"},
      {"SHOW DateStyle", "SHOW setting(datestyle)(ISO)"},
      {"SHOW TimeZone; show time zone", "SHOW setting(timezone)(UTC)|SHOW setting(timezone)(UTC)"},
      {"SHOW default_transaction_isolation", "SHOW setting(default_transaction_isolation)(read committed)"},
      {"SHOW TRANSACTION ISOLATION LEVEL", "SHOW setting(transaction_isolation)(read committed)"},
      {"show \"application_name\"", "SHOW setting(application_name)"},
      {"SET client.MAX TO 5", "SET key = value(client.max)(5)"},
      {"set log.level='debug'", "SET key = value(log.level)(debug)"},
      {"SHUTDOWN  wait_for_clients", "SHUTDOWN WAIT_FOR_CLIENTS"},
      {"SHOW /* a /* b * / **/ c */ VERSION /**/", "SHOW VERSION"},
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
      {"SHOW TENANTS LIKE",
       "! 42601 SHOW TENANTS takes names of columns, LIKE 'pattern', LIMIT count and AFTER 'key'"},
      {"SHOW WORKERS AFTER 'one'", "! 42601 AFTER takes a number here, not 'one'"},
      {"SHOW PINNED_CLIENTS AFTER -1", "! 42601 AFTER takes a number here, not '-1'"},
      {"SHOW BREAKERS LIMIT 1 UP",
       "! 42601 SHOW BREAKERS takes names of columns, LIKE 'pattern', LIMIT count "
       "and AFTER 'key'"},
      {"SHOW CLIENTS LIKE 'a%'", "! 42601 SHOW CLIENTS takes no argument such as 'a%'"},
      {"SHOW TENANTS LIMIT 1 LIKE 'a' LIMIT 2", "! 42601 LIMIT is given twice"},
      {"SHOW TENANTS LIMIT x", "! 42601 LIMIT takes a whole number, not 'x'"},
      {"SHOW TENANTS LIMIT -1", "! 42601 LIMIT takes a whole number, not '-1'"},
      {"PAUSE a b", "! 42601 PAUSE takes the name of one database"},
      {"PAUSE 'a'", "! 42601 PAUSE takes the name of one database"},
      {"PAUSE \"\"", "! 42601 PAUSE takes the name of one database"},
      {"PAUSE \"a", "! 42601 unterminated quoted name in '\"a'"},
      {"SET x = 'a", "! 42601 unterminated string in ''a'"},
      {"RELOAD /* x", "! 42601 unterminated /* comment"},
      {"SET", "! 42601 unknown command 'SET'"},
      {"SHOW client_encodin", "! 42601 unknown command 'SHOW client_encodin'"},
      {"SHOW DateStyle now", "! 42601 unknown command 'SHOW DateStyle now'"},
      {"SHOW 'DateStyle'", "! 42601 unknown command 'SHOW '...''"},
      {"SET client_encoding", "! 42601 SET client_encoding takes '=' and a value"},
      {"SET SESSION application_name TO", "! 42601 SET application_name takes '=' and a value"},
      {"SET TIME ZONE", "! 42601 SET takes the key of a setting, '=' and one value"},
      {"RELOAD /* a /* b */", "! 42601 unterminated /* comment"},
      {"RELOAD /*/", "! 42601 unterminated /* comment"},
      {"SET NAMES", "! 42601 SET takes the key of a setting, '=' and one value"},
      {"SET SESSION", "! 42601 SET takes the key of a setting, '=' and one value"},
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
  CHECK(parse("SHOW WORKERS AFTER x", shape).error().hint ==
        "LIKE is compared with the column worker, and AFTER takes the worker of the last row before.");
  CHECK(parse("SHOW CEILINGS acme LIKE", shape).error().hint ==
        "LIKE is compared with the column parameter, and AFTER takes the tier/parameter/kind of the last row "
        "before.");
  CHECK_THAT(parse("SHOW POOLS LIMIT 5", shape).error().hint, Catch::Contains("LIKE, LIMIT and AFTER"));
  CHECK_THAT(parse("SHOW X", shape).error().hint,
             Catch::Contains("SHOW POOLS") && Catch::Contains("SHUTDOWN"));
}

TEST_CASE("a SHOW may name the columns that it is to show") {
  const struct {
    const char* text;
    const char* meaning;
  } cases[] = {
      {"SHOW CLIENTS user, state", "SHOW CLIENTS[user state]"},
      {" show\tclients USER\n,State ,user;", "SHOW CLIENTS[user state user]"},
      {"SHOW CLIENTS \"user\"/* who */,\"state\"", "SHOW CLIENTS[user state]"},
      {"SHOW VERSION version; SHOW STATE", "SHOW VERSION[version]|SHOW STATE"},
      {"SHOW TENANTS tenant, clients LIKE 'a%' LIMIT 5", "SHOW TENANTS(LIKE '...' LIMIT 5)[tenant clients]"},
      {"SHOW TENANTS \"tenant\" AFTER 'acme'", "SHOW TENANTS(AFTER '...')[tenant]"},
      {"SHOW STATEMENTS user limit 1", "SHOW STATEMENTS(LIMIT 1)[user]"},
      {"SHOW LIMIT acme limit, value", "SHOW LIMIT(acme)[limit value]"},
      {"SHOW CEILINGS acme parameter, value", "SHOW CEILINGS(acme)[parameter value]"},
      {"SHOW CEILINGS parameter, value", "SHOW CEILINGS[parameter value]"},
      {"SHOW CEILINGS parameter", "SHOW CEILINGS(parameter)"},
      {"SHOW CEILINGS like 'w%'", "SHOW CEILINGS(LIKE '...')"},
      {"SHOW CEILINGS acme limit 5", "SHOW CEILINGS(acme)(LIMIT 5)"},
      {"SHOW CEILINGS \"like\" after 'a'", "SHOW CEILINGS(like)(AFTER '...')"},
      {"SHOW CEILINGS parameter, value LIMIT 5", "SHOW CEILINGS(LIMIT 5)[parameter value]"},
      {"SHOW LIMIT acme limit", "SHOW LIMIT(acme)[limit]"},
      {"SHOW LIMIT acme limit 1", "SHOW LIMIT(acme)(LIMIT 1)"},
      {"SHOW LIMIT acme value, limit limit 1", "SHOW LIMIT(acme)(LIMIT 1)[value limit]"},
      {"SHOW BACKENDS name, host LIKE 'a%'", "SHOW BACKENDS(LIKE '...')[name host]"},
      {"SHOW CLIENTS usr", "! 42703 SHOW CLIENTS has no column 'usr'; did you mean user?"},
      {"SHOW CLIENTS \"User\"", "! 42703 SHOW CLIENTS has no column 'User'; did you mean user?"},
      {"SHOW STATS TOTALS", "! 42703 SHOW STATS has no column 'totals'"},
      {"SHOW TENANTS a", "! 42703 SHOW TENANTS has no column 'a'"},
      {"SHOW CLIENTS user, xyzzy", "! 42703 SHOW CLIENTS has no column 'xyzzy'"},
      {"RELOAD; SHOW DNS_HOSTS host", "! 42703 SHOW DNS_HOSTS has no column 'host'"},
      {"SHOW CLIENTS user state", "! 42601 SHOW CLIENTS takes no argument such as 'state'"},
      {"SHOW CLIENTS user,", "! 42601 SHOW CLIENTS takes names of its columns, with commas between"},
      {"SHOW CLIENTS , user", "! 42601 SHOW CLIENTS takes names of its columns, with commas between"},
      {"SHOW CLIENTS 'user'", "! 42601 SHOW CLIENTS takes names of its columns, with commas between"},
      {"SHOW CLIENTS \"\"", "! 42601 SHOW CLIENTS takes names of its columns, with commas between"},
      {"SHOW CLIENTS (user)", "! 42601 SHOW CLIENTS takes names of its columns, with commas between"},
      {"SHOW TENANTS tenant, LIKE", "! 42703 SHOW TENANTS has no column 'like'"},
      {"SHOW TENANTS tenant, LIKE 'a'",
       "! 42601 SHOW TENANTS takes names of columns, LIKE 'pattern', LIMIT count and AFTER 'key'"},
      {"SHOW CEILINGS acme value, ", "! 42601 SHOW CEILINGS takes names of its columns, with commas between"},
      {"SHOW LIMIT limit, value", "! 42601 SHOW LIMIT takes names of its columns, with commas between"},
      {"SHOW HELP all", "! 42601 SHOW HELP has no columns"},
      {"RELOAD all", "! 42601 RELOAD takes no argument such as 'all'"},
  };
  for (const auto& one : cases) {
    INFO(one.text);
    CHECK(read(one.text) == one.meaning);
  }
  CHECK(parse("SHOW POOLS x", shape).error().hint.starts_with("Its columns are database, user, cl_active, "));
  std::string many = "SHOW VERSION version";
  for (int i = 1; i < 100; ++i) many += ", version";
  CHECK(parse(many, shape)->front().places.size() == 100);
  CHECK(read(many + ", version") == "! 54000 more than 100 columns in one SHOW");
}

TEST_CASE("every SHOW that is a table has each of its columns by itself") {
  for (const Command& command : commands()) {
    if (!command.words.starts_with("SHOW ") || command.action == Action::ShowSetting) continue;  // one value
    INFO(command.words);
    std::string text(command.words);
    if (command.argument == Argument::Tenant || command.argument == Argument::Database) text += " acme";
    const auto all = columns_of(shape(parse(text, shape)->front()));
    CHECK(all.empty() == (command.action == Action::ShowHelp));
    for (const protocol::Column& column : all) {
      const auto one = parse(text + " " + column.name, shape);
      REQUIRE(one);
      const auto told = columns_of(shape(one->front()));
      REQUIRE(told.size() == 1);
      CHECK(told[0].name == column.name);
      CHECK(told[0].type_oid == column.type_oid);
    }
  }
}

TEST_CASE("a text has a bounded number of statements") {
  std::string text;
  for (int i = 0; i < 100; ++i) text += "SHOW CLIENTS;";
  CHECK(parse(text, shape)->size() == 100);
  CHECK(read(text + "RELOAD") == "! 54000 more than 100 statements in one text");
}

TEST_CASE("a page says what it shows of a list, in any order") {
  const auto page = [](std::string_view text) { return parse(text, shape)->front().page; };
  CHECK(page("SHOW TENANTS") == Page{"%", 1000, ""});
  CHECK(page("SHOW STATEMENTS") == Page{"%", 1000, ""});
  CHECK(page("SHOW TENANTS LIKE 'a%' LIMIT 100 AFTER 'acme'") == Page{"a%", 100, "acme"});
  CHECK(page("SHOW TENANTS tier, tenant LIMIT 7 AFTER x") == Page{"%", 7, "x"});
  CHECK(page("show tenants after \"Acme\" limit 0 like b_c") == Page{"b_c", 0, "Acme"});
  CHECK(page("SHOW WORKERS AFTER 10 LIMIT 2") == Page{"%", 2, "10", 10});
  CHECK(page("SHOW WORKERS AFTER '' LIMIT 2") == Page{"%", 2, ""});
}

TEST_CASE("every SHOW of our own that is a list has pages, and shows all of it where none is asked for") {
  constexpr std::string_view kPaged[] = {"BACKENDS", "BREAKERS", "CEILINGS", "LIMIT acme", "PINNED_CLIENTS",
                                         "PINS",     "TIERS",    "USAGE",    "WORKERS"};
  for (const std::string_view what : kPaged) {
    const std::string show = "SHOW " + std::string(what);
    INFO(show);
    const Request all = parse(show, shape)->front(),
                  part = parse(show + " LIKE 'a%' LIMIT 3 AFTER 7", shape)->front();
    CHECK(all.page == Page{"%", Page::kAll, ""});
    CHECK(part.page.like == "a%");
    CHECK(part.page.limit == 3);
    CHECK(part.page.after == "7");
    CHECK(part.value == "LIKE '...' LIMIT 3 AFTER 7");
    CHECK(part.argument == all.argument);
    // What it goes by can be read in the table.
    const auto columns = columns_of(shape(all));
    for (std::string_view rest = all.command->keys.after; !rest.empty();) {
      const std::string_view name = rest.substr(0, rest.find('/'));
      rest.remove_prefix(std::min(name.size() + 1, rest.size()));
      CHECK(std::count_if(columns.begin(), columns.end(), [&](const auto& c) { return c.name == name; }) ==
            1);
    }
  }
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
    const auto parsed = parse(text, shape);
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
    // HELP tells all that matters: who tries out what a role may do takes it from there.
    if (command.words.starts_with("SHOW ") || !may(Role::Stats, command)) CHECK_FALSE(command.help.empty());
  }
  // What drivers say on every connection, and nothing that changes anything.
  CHECK(stats == std::set<std::string_view>{"SET", "BEGIN", "BEGIN TRANSACTION", "START TRANSACTION",
                                            "COMMIT", "END", "ROLLBACK", "DEALLOCATE ALL", "DISCARD ALL",
                                            "SELECT 1", "SELECT VERSION ( )"});
  CHECK_FALSE(may(Role::Stats, Command{.words = "NEW", .action = Action::Reload, .tag = "NEW", .help = ""}));
}

TEST_CASE("help tells each role what it may use") {
  CHECK_THAT(help(Role::Admin), Catch::Contains("PAUSE [database]"));
  CHECK_THAT(help(Role::Stats), Catch::Contains("SHOW POOLS") && !Catch::Contains("PAUSE") &&
                                    Catch::Contains("SHOW CLIENTS user, state"));
  CHECK_THAT(help(Role::Stats),
             Catch::Contains("SHOW BREAKERS ...") && Catch::Contains(", BREAKERS backend/database/user, "));
  CHECK(help(Role::None).empty());
}
