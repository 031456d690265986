#include <catch2/catch.hpp>
#include <optional>
#include <string>
#include <vector>

#include "tests/pooler/routines_help.h"

namespace pgweir {

TEST_CASE("code that names what changes something changes it, too") {
  RoutineBook book = followed();
  const Rows bodies = {{"1255 1", "-x", "sql", "select set_config('app.x', '1', false)"},
                       {"1255 2", "a\"b", "sql", "select set_config('app.x', '1', false)"},
                       {"1255 3", std::string(63, 'z'), "sql", "select set_config('app.x', '1', false)"},
                       {"1255 4", "select", "sql", "select set_config('app.x', '1', false)"},
                       {"1255 5", "plain", "sql", "select set_config('app.x', '1', false)"}};
  const std::string longer = std::string(63, 'z') + "zz";
  struct Each {
    std::string code;
    bool runs;
  };
  for (const Each& each :
       {Each{"return \"-x\"();", true}, Each{"return x();", false}, Each{"return \"a\"\"b\"()", true},
        Each{"return ab()", false}, Each{"return " + longer + "()", true},
        Each{"return \"" + longer + "\"()", true}, Each{"select 1", false}, Each{"return op.select()", true},
        Each{"return op . SELECT()", true}, Each{"return op./**/select()", true}, Each{"\"select\"()", true},
        Each{"return PLAIN()", true}, Each{"return 'plain'", true}, Each{"return plainly()", false},
        Each{"x := '\"'; return \"plain\"();", true}, Each{"return \"Plain\"()", true}}) {
    CAPTURE(each.code);
    read(book, "5 " + each.code, bodies, {{"1255 9", "over", ""}}, {}, {}, {{"1255 9", each.code}});
    CHECK(book.changes_of("select over()").has_value() == each.runs);
  }
}

TEST_CASE("names with other letters are any of them where the encoding is not UTF-8") {
  RoutineBook book = followed();
  const Rows bodies = {{"1255 1", "\xe9t\xe9", "sql", "select set_config('app.x', '1', false)"}};
  read(book, "1 LATIN1", bodies, {});
  CHECK(book.changes_of("select \xc3\xa9t\xc3\xa9()"));
  CHECK_FALSE(book.changes_of("select ete()"));
  read(book, "1 UTF8", bodies, {});
  CHECK_FALSE(book.changes_of("select \xc3\xa9t\xc3\xa9()"));
  // A letter is not cut through.
  std::string name;
  for (int i = 0; i < 31; ++i) name += "\xc3\xa9";
  read(book, "2 UTF8", {{"1255 1", name, "sql", "select set_config('app.x', '1', false)"}}, {});
  CHECK(book.changes_of("select " + name + "\xc3\xa9\xc3\xa9()"));
}

TEST_CASE("a reserved word is a name in quotes or behind a point only") {
  RoutineBook book = followed();
  read(book, "1 1", {{"1255 1", "select", "sql", "select set_config('app.x', '1', false)"}}, {});
  CHECK_FALSE(book.changes_of("select 1 + 1"));
  CHECK(book.changes_of("select op.select()"));
  CHECK(book.changes_of("select op . Select()"));
  CHECK(book.changes_of("table \"select\""));
}

TEST_CASE("what the role can not name is told by what leads to it only") {
  RoutineBook book = followed();
  read(book, "4 99", kBodies,
       {{"1255 16401", std::nullopt, "h"}, {"1255 16401", "apart", "h"}, {"1255 16401", "open", ""}});
  CHECK_FALSE(book.changes_of("select 1 @@@ 2"));
  CHECK_FALSE(book.changes_of("select apart()"));
  CHECK(book.changes_of("select open()")->temp);
}

TEST_CASE("upkeep may run any code of the database, DDL that of event triggers") {
  RoutineBook book = followed();
  read(book, "4 99", {kBodies[0]}, {{"1255 16400", std::nullopt, "d"}});
  for (const char* const sql : {"analyze", "VACUUM full", "reindex schema s", "truncate t cascade",
                                "select brin_summarize_new_values('i')", "create table t (a int)",
                                "comment on table t is 'x'", "select 1 + 1 into t"})
    CHECK(book.changes_of(sql)->settings == std::vector<std::string>{"app.tenant"});
  CHECK_FALSE(book.changes_of("select \"analyze\" from t"));
  CHECK_FALSE(book.changes_of("select 1 + 1"));
  CHECK_FALSE(book.changes_of("truncate t"));
}

}  // namespace pgweir
