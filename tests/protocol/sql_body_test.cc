#include "protocol/sql_body.h"

#include <catch2/catch.hpp>
#include <string>
#include <vector>

#include "protocol/sql_dynamic.h"
#include "protocol/sql_nested.h"

namespace pgweir::protocol {
namespace {

using Names = std::vector<std::string>;

SqlChanges plpgsql(const char* code) { return read_body(code, BodyLanguage::PlPgsql); }

TEST_CASE("a body that leaves nothing") {
  CHECK_FALSE(
      plpgsql("begin update t set a = 1, b = 2 where c; new.at := now(); return new; end").leave_something());
  CHECK_FALSE(plpgsql("begin perform set_config('app.tenant', who, true); end").leave_something());
  CHECK_FALSE(
      plpgsql("begin set local work_mem = '1MB'; perform pg_advisory_xact_lock(1); end").leave_something());
  CHECK_FALSE(plpgsql("-- set_config('a.b', 'c', false)\nbegin raise notice 'set x = 1; execute'; end")
                  .leave_something());
  CHECK_FALSE(read_body("select 1", BodyLanguage::Sql).leave_something());
  CHECK_FALSE(read_body("return a + b", BodyLanguage::Other).leave_something());
}

TEST_CASE("a body names the settings that it leaves") {
  CHECK(plpgsql("begin perform set_config('app.tenant', who, false); end").settings == Names{"app.tenant"});
  CHECK(plpgsql("begin PERFORM \"set_config\"('app.b', 'x', false); set app.a = 1; end").settings ==
        Names{"app.a", "app.b"});
  CHECK(plpgsql("declare was text := set_config('app.was', '1', false); begin end").settings ==
        Names{"app.was"});
  CHECK(
      plpgsql("begin if set_config('app.x', f(a, b), false) = 'y' then reset app.z; end if; end").settings ==
      Names{"app.x", "app.z"});
  CHECK(plpgsql("begin return set_config('app.one', coalesce(a, (select b)), false)"
                " || set_config('app.two', '', true); end")
            .settings == Names{"app.one"});
  CHECK(plpgsql("begin set time zone 'UTC'; end").settings == Names{"timezone"});
  CHECK(read_body("select set_config('app.tenant', $1, false)", BodyLanguage::Sql).settings ==
        Names{"app.tenant"});
  const SqlChanges definition = plpgsql(
      "CREATE OR REPLACE FUNCTION public.f()\n RETURNS text LANGUAGE sql\n SET work_mem TO '1MB'\n"
      "BEGIN ATOMIC\n SELECT set_config('app.tenant'::text, 'x'::text, false) AS set_config;\nEND");
  CHECK(definition.settings == Names{"app.tenant"});
  CHECK_FALSE(definition.opaque);
}

TEST_CASE("a body names the settings that it gives a value for the transaction") {
  const auto local = [](const char* code) { return plpgsql(code).local_settings; };
  CHECK(local("begin set local work_mem = '1MB'; perform set_config('app.a', who, true); end") ==
        Names{"app.a", "work_mem"});
  CHECK(local("begin if x then set local sort_mem to 1; end if; execute 'set local app.b = 1'; end") ==
        Names{"app.b", "work_mem"});
  CHECK(read_body("set local work_mem = 1; select 1", BodyLanguage::Sql).local_settings == Names{"work_mem"});
  CHECK_FALSE(plpgsql("begin set local work_mem = 1; end").concern_session());
  CHECK(plpgsql("begin perform set_config(name, '1GB', true); end").any_local);
  CHECK_FALSE(plpgsql("begin perform set_config(name, '1GB', true); end").any_setting);
  CHECK(plpgsql("begin set local to x y z; end").any_local);
  CHECK_FALSE(plpgsql("begin update t set a = 1; end").set_locally());
}

TEST_CASE("a body that leaves what is no setting") {
  CHECK(plpgsql("begin create temp table if not exists t (a int); end").temp);
  CHECK(plpgsql("begin perform pg_advisory_lock(hashtext(x)); end").advisory_lock);
  CHECK(plpgsql("begin if not pg_try_advisory_lock(1) then raise 'busy'; end if; end").advisory_lock);
  CHECK(plpgsql("begin listen changes; end").listens);
  CHECK(plpgsql("begin perform setseed(0.5); end").unfollowable);
}

TEST_CASE("an EXECUTE of a literal does what the literal says") {
  struct Row {
    const char* code;
    const char* leaves;  // settings, and a flag
  };
  const Row rows[] = {
      {"begin execute 'set app.x = ''1'''; end", "app.x"},
      {"begin EXECUTE $q$set app.x = '1'$q$ ; end", "app.x"},
      {"begin execute E'set app.x = 1'; end", "app.x"},
      {"begin <<here>> execute 'reset app.x'; end", "app.x"},
      {"begin execute 'select $1' into strict n using a, b; end", ""},
      {"begin execute 'select set_config($1, $2, false)' using a, b; end", "any"},
      {"begin execute 'select 1' using set_config('app.y', 'z', false); end", "app.y"},
      {"begin for r in execute 'select set_config(''app.x'', ''1'', false)' loop end loop; end", "app.x"},
      {"begin return query execute 'create temp table t (a int)'; end", "temp"},
      {"begin open c for execute 'select 1'; execute 'drop table t'; end", ""},
      {"begin if f() then execute 'set local work_mem = 1'; else execute 'set app.e = 1'; end if; end",
       "app.e"},
      {"begin execute 'execute p'; end", "opaque"},
      {"begin execute 'deallocate all'; end", "opaque"},
      {"begin execute 'this is no sql set_config'; end", "opaque"},
      // SQL's own
      {"begin create table t (function int); end", ""},
      {"begin execute 'create table t (a int)'; end", ""},
      {"begin grant execute on function f() to x; end", ""},
      {"begin explain execute p; end", "opaque"},
      {"begin create temp table t as execute p; end", "opaque"},
  };
  for (const Row& row : rows) {
    CAPTURE(row.code);
    const SqlChanges changes = plpgsql(row.code);
    std::string leaves;
    for (const std::string& setting : changes.settings) leaves += setting;
    leaves += changes.opaque ? "opaque" : changes.temp ? "temp" : changes.any_setting ? "any" : "";
    CHECK(leaves == row.leaves);
  }
}

TEST_CASE("code that makes code is opaque: it may run it") {
  for (const char* code :
       {"begin create function f() returns int language sql as 'select 1'; perform f(); end",
        "begin create or replace view v as select 1; end",
        "begin create trigger t after insert on a for each row execute function f(); end",
        "begin execute 'create function f() returns int language sql as ''select 1'''; end",
        "begin execute 'select 1; alter function f() set work_mem = 1'; end",
        "begin if x then create constraint trigger t after insert on a; end if; end"})
    CHECK(plpgsql(code).opaque);
}

TEST_CASE("a DO in a DO is read, until that is deeper than any honest code") {
  std::string code = "begin set app.x = 1; end";
  for (int depth = 1; depth <= 6; ++depth) {
    const std::string tag = "$t" + std::to_string(depth) + "$";
    code = "begin do " + tag + code + tag + "; end";
    CAPTURE(depth);
    const SqlChanges changes = plpgsql(code.c_str());
    CHECK(changes.opaque == (depth > 3));
    if (depth <= 3) CHECK(changes.settings == Names{"app.x"});
  }
}

TEST_CASE("of an EXECUTE that is made at run time the settings that it names are told") {
  struct Row {
    const char* expression;
    Names settings;
  };
  const Row rows[] = {
      {"format('set app.x = %L', y)", {"app.x"}},
      {"pg_catalog.format('set search_path to %I, public', schema)", {"search_path"}},
      {"format('set %I = %L', 'app.x', '1')", {"app.x"}},
      {"format('set %2$s to %1$s', v, 'work_mem')", {"work_mem"}},
      {"format('set app.%s = 1', x)", {}},
      {"format(x, 'set app.x = 1')", {}},
      {"'set search_path = ' || quote_ident(x)", {"search_path"}},
      {"'set app.x = ''' || x || ''''", {"app.x"}},
      {"'set ' || name || ' = 1'", {}},
      {"'set app.x ' || ' = 1'", {"app.x"}},
      {"('set app.x = 1')", {}},
      {"E'set app.x = \\'1\\''", {}},
      {"'set app.x' || ", {}},
      {"", {}},
      {"format(", {}},
      {"format('%", {}},
      {"format('%')", {}},
      {"format('set app.x = %9$s%%')", {}},
      {"format('select %I')", {}},
  };
  for (const Row& row : rows) {
    CAPTURE(row.expression);
    const SqlChanges changes =
        plpgsql(("begin execute " + std::string(row.expression) + " into v; end").c_str());
    CHECK(changes.opaque);
    CHECK(changes.settings == row.settings);
  }
}

TEST_CASE("a body that hides what it does is opaque") {
  CHECK_FALSE(plpgsql("begin execute what; end").unfollowable);
  CHECK(plpgsql("begin return query execute 'select ' || what; end").opaque);
  CHECK(plpgsql("begin for r in execute q loop end loop; end").opaque);
  CHECK(plpgsql("begin perform set_config(name, value, false); end").any_setting);
  CHECK(plpgsql("begin x := U&\"set_c\\006Fnfig\"('a.b', 'c', false); end").opaque);
  CHECK(plpgsql("begin update pg_settings set setting = '1MB' where name = 'work_mem'; end").any_setting);
  CHECK(plpgsql("begin x := set_config(").opaque);
  CHECK(read_body("select set_config($1, $2, false)", BodyLanguage::Sql).any_setting);
  CHECK(read_body("this is no sql set_config", BodyLanguage::Sql).opaque);
  CHECK(read_body("plpy.execute('select 1')", BodyLanguage::Other).opaque);
}

// What is parsed of a body, in tokens.
std::size_t parsed_of(const std::string& code, SqlChanges& changes) {
  ParserLeft left;
  changes = read_nested_body(code, BodyLanguage::PlPgsql, 0, left);
  return ParserLeft::kMost - left.tokens;
}

std::string times(std::size_t count, const std::string& text) {
  std::string all;
  for (std::size_t i = 0; i < count; ++i) all += text;
  return all;
}

TEST_CASE("reading a body takes work by its size, not by its size squared") {
  struct Row {
    const char* what;
    const char* before;
    const char* unit;
    const char* after;
  };
  for (const Row& each :
       {Row{"words like EXECUTE in one statement", "begin ", "execute 'select 1'||',a.'||", "'x'; end"},
        Row{"calls that are not closed", "begin x := ", "set_config(", "; end"},
        Row{"calls in no SQL", "begin x = = ", "set_config('a.b', '1', false) +", "1; end"},
        Row{"statements", "begin ", "execute 'set app.x = 1';", "end"}}) {
    CAPTURE(each.what);
    SqlChanges changes;
    const std::size_t few = parsed_of(each.before + times(50, each.unit) + each.after, changes);
    CHECK(changes.leave_something());
    const std::size_t more = parsed_of(each.before + times(200, each.unit) + each.after, changes);
    CHECK(changes.leave_something());
    CHECK(more <= 5 * few + 100);
    const std::size_t most = parsed_of(each.before + times(2000, each.unit) + each.after, changes);
    CHECK(changes.leave_something());
    CHECK(most <= ParserLeft::kMost);
  }
}

TEST_CASE("what is beyond the pieces that are parsed is told by its words") {
  const auto settings = [](std::size_t count) {
    std::string code = "begin ";
    for (std::size_t i = 0; i < count; ++i) code += "set app.x" + std::to_string(i) + " = 1; ";
    return read_body(code + "end", BodyLanguage::PlPgsql);
  };
  CHECK(settings(900).settings.size() == 900);
  CHECK_FALSE(settings(900).opaque);
  CHECK(settings(2000).opaque);
  // Of all bodies of one text together.
  const auto text = [](std::size_t count) {
    return read_sql(
        times(count, "do $$ begin " + times(200, "perform set_config('app.a', '1', false);") + " end $$;"));
  };
  CHECK_FALSE(text(2).changes.opaque);
  CHECK(text(2).changes.settings == Names{"app.a"});
  CHECK(text(20).changes.opaque);
  CHECK_FALSE(read_sql(times(20, "do $$ begin " + times(200, "update t set a = 1;") + " end $$;"))
                  .changes.leave_something());
}

TEST_CASE("a template that names its argument often makes no long text") {
  const std::string code =
      "execute format('set app.x = %L" + times(2000, "%1$s") + "', '" + std::string(6000, 'a') + "')";
  std::vector<SqlToken> tokens;
  SqlLexer lexer(code);
  for (SqlToken token = lexer.next(); token.kind != SqlToken::Kind::End; token = lexer.next())
    tokens.push_back(token);
  CHECK(read_dynamic(code, tokens, 1).text.size() <= 2 * code.size());
  CHECK(plpgsql(("begin " + code + "; end").c_str()).opaque);
}

TEST_CASE("what code of other languages keeps for the next call, of whatever client") {
  for (const char* code : {"$_SHARED{who} = shift; return 1;", "our $seen; $seen++", "$main::seen = 1",
                           "$::seen = 1", "GD['who'] = who", "return SD.get('n')", "global n\nn = 1",
                           "globalThis.who = 1", "this.who = 1", "upvar #0 who w", "set ::who 1"})
    CHECK(read_body(code, BodyLanguage::Other).unfollowable);
  for (const char* code :
       {"return a + b", "my $x = $_[0] * 2; return $x;", "var x = y; return x", "return [expr $1 + $2]",
        "return is_gd(x) + sdate", "import json\nreturn json.loads(a)"})
    CHECK_FALSE(read_body(code, BodyLanguage::Other).unfollowable);
}

TEST_CASE("code of other languages that keeps something is looked through however long it is") {
  const std::string much(kSqlBodyMax + 1, ' ');
  CHECK(read_body(much + "GD['who'] = who", BodyLanguage::Python).unfollowable);
  CHECK_FALSE(read_body(much + "return who", BodyLanguage::Python).unfollowable);
  CHECK(read_body(much + "plpy.execute(q)", BodyLanguage::Python).opaque);
  CHECK(read_sql("do language plperl $$" + much + "$_SHARED{who} = 1 $$").changes.unfollowable);
  CHECK_FALSE(read_sql("do language plperl $$" + much + "# this $$").changes.unfollowable);
}

TEST_CASE("the languages that are read") {
  CHECK(body_language("sql") == BodyLanguage::Sql);
  CHECK(body_language("plpgsql") == BodyLanguage::PlPgsql);
  for (const char* name : {"plperl", "plperlu"}) CHECK(body_language(name) == BodyLanguage::Perl);
  for (const char* name : {"plpython3u", "plpythonu"}) CHECK(body_language(name) == BodyLanguage::Python);
  for (const char* name : {"pltcl", "pltclu"}) CHECK(body_language(name) == BodyLanguage::Tcl);
  for (const char* name : {"plv8", "pljs"}) CHECK(body_language(name) == BodyLanguage::JavaScript);
  for (const char* name : {"plr", "pllua", "plcoffee"}) CHECK(body_language(name) == BodyLanguage::Other);
}

}  // namespace
}  // namespace pgweir::protocol
