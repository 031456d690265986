#include "protocol/sql.h"

#include <array>
#include <catch2/catch.hpp>
#include <string>
#include <thread>

#include "protocol/sql_functions.h"
#include "protocol/sql_words.h"

using namespace pgweir;
using namespace pgweir::protocol;

namespace {

std::string told(const SqlChanges& c) {
  std::string out;
  for (const std::string& setting : c.settings) out += " =" + setting;
  if (c.opaque) {
    CHECK((c.any_setting && c.temp && c.temp_gone && c.temp_path && c.hold_cursor && c.cursor_gone &&
           c.advisory_lock && c.advisory_unlock && c.listens && c.unlistens));
    out += " opaque";
  } else {
    if (c.any_setting) out += " any_setting";
    if (c.temp) out += " temp";
    if (c.temp_gone) out += " temp_gone";
    if (c.temp_path) out += " temp_path";
    if (c.hold_cursor) out += " hold_cursor";
    if (c.cursor_gone) out += " cursor_gone";
    if (c.advisory_lock) out += " lock";
    if (c.advisory_unlock) out += " unlock";
    if (c.listens) out += " listens";
    if (c.unlistens) out += " unlistens";
  }
  if (c.unfollowable) out += " unfollowable";
  return out;
}

// "Kind(name)[name as it stands] =setting flags; ..."
std::string told(Bytes text) {
  const SqlEffects effects = read_sql(text);
  if (effects.read == SqlEffects::Read::Unknown) return "Unknown";
  std::string out;
  for (const SqlStatement& statement : effects.statements) {
    if (!out.empty()) out += "; ";
    out += name(statement.kind);
    if (!statement.name.empty()) out += "(" + statement.name + ")";
    if (statement.name_size > 0)
      out += "[" + std::string(text.substr(statement.name_at, statement.name_size)) + "]";
    out += told(statement.changes);
  }
  return out;
}

std::string times(std::size_t count, const std::string& text) {
  std::string out;
  for (std::size_t i = 0; i < count; ++i) out += text;
  return out;
}

struct Row {
  const char* text;
  const char* told;
};
const Row kRows[] = {
    // SET and RESET, in all forms of the manual
    {"SET work_mem = '1MB'", "Set(work_mem) =work_mem"},
    {"set session work_mem to default", "Set(work_mem) =work_mem"},
    {"SET Work_Mem TO 4096", "Set(work_mem) =work_mem"},
    {"SET \"work_mem\" = 1", "Set(work_mem) =work_mem"},
    {"SET sort_mem = 1", "Set(sort_mem) =work_mem"},
    {"SET a.b = 'c'", "Set(a.b) =a.b"},
    {"SET \"A.b\" = 'c'", "Set(a.b) =a.b"},
    {"set a.b.c to on, off", "Set(a.b.c) =a.b.c"},
    {"SET search_path TO a, \"B\", pg_temp", "Set(search_path) =search_path temp"},
    {"SET search_path = 'pg_temp, a'", "Set(search_path) =search_path temp"},
    {"SET search_path FROM CURRENT", "Set(search_path) =search_path"},
    {"SET TIME ZONE 'UTC'", "Set(timezone) =timezone"},
    {"SET TIME ZONE LOCAL", "Set(timezone) =timezone"},
    {"SET TIME ZONE DEFAULT", "Set(timezone) =timezone"},
    {"SET TIME ZONE INTERVAL '+02:00' HOUR TO MINUTE", "Set(timezone) =timezone"},
    {"SET TIME ZONE -7", "Set(timezone) =timezone"},
    {"SET LOCAL TIME ZONE 'UTC'", "SetLocal(timezone)"},
    {"SET SESSION TIME ZONE 'UTC'", "Set(timezone) =timezone"},
    {"SET ROLE x", "Set(role) =role"},
    {"SET ROLE NONE", "Set(role) =role"},
    {"SET ROLE 'x'", "Set(role) =role"},
    {"SET LOCAL ROLE x", "SetLocal(role)"},
    {"SET SESSION ROLE x", "Set(role) =role"},
    {"RESET ROLE", "Reset(role) =role"},
    {"SET SESSION AUTHORIZATION x", "Set(session_authorization) =role =session_authorization"},
    {"SET LOCAL SESSION AUTHORIZATION x", "SetLocal(session_authorization)"},
    {"SET SESSION SESSION AUTHORIZATION DEFAULT", "Set(session_authorization) =role =session_authorization"},
    {"RESET SESSION AUTHORIZATION", "Reset(session_authorization) =role =session_authorization"},
    {"SET SESSION CHARACTERISTICS AS TRANSACTION ISOLATION LEVEL SERIALIZABLE, READ ONLY, NOT DEFERRABLE",
     "Set(default_transaction_isolation) =default_transaction_deferrable =default_transaction_isolation "
     "=default_transaction_read_only"},
    {"SET TRANSACTION ISOLATION LEVEL SERIALIZABLE", "SetTransaction"},
    {"SET TRANSACTION SNAPSHOT '00000003-0000001B-1'", "SetTransaction"},
    {"SET LOCAL TRANSACTION READ ONLY", "SetTransaction"},
    {"SET CONSTRAINTS ALL DEFERRED", "SetTransaction"},
    {"SET NAMES 'UTF8'", "Set(client_encoding) =client_encoding"},
    {"SET NAMES", "Set(client_encoding) =client_encoding"},
    {"SET NAMES DEFAULT", "Set(client_encoding) =client_encoding"},
    {"SET SCHEMA 'x'", "Set(search_path) =search_path"},
    {"SET SCHEMA 'pg_temp'", "Set(search_path) =search_path temp"},
    {"SET LOCAL SCHEMA 'x'", "SetLocal(search_path)"},
    {"SET SEED TO 0.5", "Set(seed) =seed unfollowable"},
    {"SET LOCAL SEED TO 0.5", "SetLocal(seed) unfollowable"},
    {"SET XML OPTION DOCUMENT", "Set(xmloption) =xmloption"},
    {"SET XML OPTION CONTENT", "Set(xmloption) =xmloption"},
    {"SET LOCAL search_path = pg_temp", "SetLocal(search_path) temp"},
    {"SET LOCAL search_path = x", "SetLocal(search_path)"},
    {"SET LOCAL work_mem = 1", "SetLocal(work_mem)"},
    {"SET transaction_isolation = 'serializable'", "Set(transaction_isolation) =transaction_isolation"},
    {"RESET work_mem", "Reset(work_mem) =work_mem"},
    {"RESET a.b", "Reset(a.b) =a.b"},
    {"RESET TIME ZONE", "Reset(timezone) =timezone"},
    {"RESET TRANSACTION ISOLATION LEVEL", "Reset(transaction_isolation) =transaction_isolation"},
    {"RESET ALL", "ResetAll any_setting"},
    {"SHOW ALL", "Other"},
    // DISCARD
    {"DISCARD ALL", "DiscardAll any_setting temp_gone cursor_gone unlock unlistens"},
    {"DISCARD PLANS", "DiscardPlans"},
    {"DISCARD SEQUENCES", "DiscardSequences"},
    {"DISCARD TEMP", "DiscardTemp temp_gone"},
    {"DISCARD TEMPORARY", "DiscardTemp temp_gone"},
    // transactions
    {"BEGIN", "Begin"},
    {"BEGIN WORK ISOLATION LEVEL SERIALIZABLE", "Begin"},
    {"START TRANSACTION READ ONLY", "Begin"},
    {"COMMIT", "Commit temp_gone cursor_gone"},
    {"END", "Commit temp_gone cursor_gone"},
    {"COMMIT AND CHAIN", "Commit temp_gone cursor_gone"},
    {"ROLLBACK", "Rollback temp_gone cursor_gone"},
    {"ABORT", "Rollback temp_gone cursor_gone"},
    {"SAVEPOINT a", "Savepoint(a)"},
    {"ROLLBACK TO SAVEPOINT a", "RollbackTo(a) temp_gone cursor_gone"},
    {"RELEASE \"A b\"", "Release(A b)"},
    {"PREPARE TRANSACTION 'x'", "PrepareTransaction(x) temp_gone cursor_gone"},
    {"COMMIT PREPARED 'x'", "CommitPrepared(x)"},
    {"ROLLBACK PREPARED 'x'", "RollbackPrepared(x)"},
    // prepared statements
    {"PREPARE p AS SELECT 1", "Prepare(p)[p]"},
    {"PREPARE \"a\"\"b\" (int, text) AS SELECT set_config('a.b', $2, false)",
     "Prepare(a\"b)[\"a\"\"b\"] =a.b"},
    {"PREPARE p AS INSERT INTO t VALUES (pg_advisory_lock(1))", "Prepare(p)[p] lock"},
    {"EXECUTE p", "Execute(p)[p]"},
    {"EXECUTE P(1, set_config('x.y', 'z', false))", "Execute(p)[P] =x.y"},
    {"EXPLAIN EXECUTE p(1)", "Execute(p)[p]"},
    {"EXPLAIN (ANALYZE, FORMAT 'json') EXECUTE \"P\"", "Execute(P)[\"P\"]"},
    {"EXPLAIN ANALYZE VERBOSE EXECUTE p", "Execute(p)[p]"},
    {"CREATE TABLE execute AS EXECUTE p WITH NO DATA", "Execute(p)[p]"},
    {"EXPLAIN ANALYZE CREATE TABLE t AS EXECUTE p", "Execute(p)[p]"},
    {"CREATE TEMP TABLE t AS EXECUTE p", "Execute(p)[p] temp"},
    {"DEALLOCATE p", "Deallocate(p)[p]"},
    {"DEALLOCATE PREPARE p", "Deallocate(p)[p]"},
    {"DEALLOCATE prepare", "Deallocate(prepare)[prepare]"},
    {"DEALLOCATE prepare;", "Deallocate(prepare)[prepare]"},
    {"DEALLOCATE ALL", "DeallocateAll"},
    {"DEALLOCATE PREPARE ALL", "DeallocateAll"},
    {"DEALLOCATE \"ALL\"", "Deallocate(ALL)[\"ALL\"]"},
    {"DEALLOCATE U&\"p\"", "Deallocate(p)"},
    {"EXECUTE U&\"\\0070\" (1)", "Execute(p)"},
    {"PREPARE U&\"!0070\" UESCAPE '!' AS SELECT 1", "Prepare(p)"},
    {"PREPARE äöü AS SELECT 1", "Prepare(äöü)[äöü]"},
    {"PREPARE \"ÄÖÜ\" AS SELECT 1", "Prepare(ÄÖÜ)[\"ÄÖÜ\"]"},
    {"PREPARE aaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaa AS SELECT 1",
     "Prepare(aaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaa)["
     "aaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaa]"},
    {"PREPARE aaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaäaaaaaaaaaaaaaaa AS SELECT 1",
     "Prepare(aaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaa)["
     "aaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaäaaaaaaaaaaaaaaa]"},
    // channels
    {"LISTEN a", "Listen(a) listens"},
    {"LISTEN \"A b\"", "Listen(A b) listens"},
    {"UNLISTEN a", "Unlisten(a) unlistens"},
    {"UNLISTEN *", "UnlistenAll unlistens"},
    {"NOTIFY a, 'x'", "Notify(a)"},
    // cursors
    {"DECLARE c CURSOR FOR SELECT 1", "Declare(c)"},
    {"DECLARE c CURSOR WITH HOLD FOR SELECT 1", "DeclareHold(c) hold_cursor"},
    {"DECLARE \"C\" BINARY INSENSITIVE NO SCROLL CURSOR WITHOUT HOLD FOR SELECT set_config('a.b','c',false)",
     "Declare(C) =a.b"},
    {"CLOSE c", "Close(c) cursor_gone"},
    {"CLOSE ALL", "CloseAll cursor_gone"},
    {"FETCH 1 FROM c", "Other"},
    // temporary objects
    {"CREATE TEMP TABLE t (a int)", "CreateTemp temp"},
    {"CREATE TEMPORARY SEQUENCE s", "CreateTemp temp"},
    {"CREATE OR REPLACE TEMP VIEW v AS SELECT 1", "CreateTemp temp"},
    {"CREATE TEMP RECURSIVE VIEW v (n) AS SELECT 1", "CreateTemp temp"},
    {"CREATE LOCAL TEMPORARY TABLE t (a int) ON COMMIT DROP", "CreateTemp"},
    {"CREATE TEMP TABLE t ON COMMIT DROP AS SELECT 1", "CreateTemp"},
    {"CREATE TEMP TABLE t ON COMMIT DELETE ROWS AS SELECT 1", "CreateTemp temp"},
    {"CREATE TEMP TABLE t (a int) ON COMMIT DROP; CREATE TEMP TABLE u (a int)",
     "CreateTemp; CreateTemp temp"},
    {"CREATE TEMP TABLE t (LIKE pg_temp.u) ON COMMIT DROP", "CreateTemp temp"},
    {"CREATE TABLE pg_temp.t (a int)", "CreateTemp temp"},
    {"CREATE VIEW \"pg_temp\".v AS SELECT 1", "CreateTemp temp"},
    {"CREATE FUNCTION pg_temp.f() RETURNS int LANGUAGE sql AS 'select 1'", "CreateTemp temp"},
    {"CREATE TYPE pg_temp.t AS (a int)", "CreateTemp temp"},
    {"CREATE DOMAIN pg_temp.d AS int", "CreateTemp temp"},
    // A function's name, and no schema's.
    {"CREATE TYPE t (input = 'pg_temp_f')", "Other"},
    {"SELECT 1 INTO TEMP t", "CreateTemp temp"},
    {"SELECT * INTO pg_temp.t FROM u", "CreateTemp temp"},
    {"CREATE TABLE t AS SELECT 1", "Other"},
    {"select temp from readings", "Other"},
    {"insert into temp values (1)", "Other"},
    {"DROP TABLE t", "Drop temp_gone"},
    {"DROP SCHEMA x CASCADE", "Drop temp_gone"},
    // databases that nobody else may be connected to
    {"DROP DATABASE IF EXISTS \"My Db\" WITH (FORCE)", "EmptyDatabase(My Db)"},
    {"CREATE DATABASE x", "EmptyDatabase(template1)"},
    {"CREATE DATABASE x TEMPLATE = y OWNER z", "EmptyDatabase(y)"},
    {"ALTER DATABASE X RENAME TO y", "EmptyDatabase(x)"},
    {"ALTER DATABASE x SET TABLESPACE y", "EmptyDatabase(x)"},
    {"ALTER DATABASE x OWNER TO y", "Other"},
    {"ALTER DATABASE x WITH CONNECTION LIMIT 5", "Other"},
    {"ALTER TABLE x RENAME TO y", "Other"},
    // set_config
    {"SELECT set_config('Work_Mem', '1MB', false)", "Other =work_mem"},
    {"SELECT set_config('work_mem', '1MB', true)", "Other"},
    {"SELECT set_config('work_mem', '1MB', 'true')", "Other"},
    {"SELECT set_config('work_mem', '1MB', 't'::boolean)", "Other"},
    {"SELECT set_config('work_mem', '1MB', $1)", "Other =work_mem"},
    {"SELECT set_config($1, $2, true)", "Other temp_path"},
    {"SELECT set_config($1, $2, false)", "Other any_setting temp_path"},
    {"SELECT set_config('a' || 'b', 'c', false)", "Other any_setting temp_path"},
    {"SELECT set_config('a.b'::text, 'c', 0::bool)", "Other =a.b"},
    {"SELECT set_config('a.b'::name, 'c', false)", "Other any_setting temp_path"},
    {"SELECT set_config('a.b', 'c', is_local => false)", "Other =a.b"},
    {"SELECT set_config('search_path', $1, true)", "Other temp_path"},
    {"SELECT set_config('search_path', 'a', true)", "Other"},
    {"SELECT pg_catalog.\"set_config\"('a.b', 'c', false)", "Other =a.b"},
    {"SELECT U&\"\\0073et_config\"('a.b', 'c', false)", "Other =a.b"},
    {"select set_config(name, setting, false) from pg_settings", "Other any_setting temp_path"},
    {"select set_config(E'a\\x2eb', 'c', false)", "Other =a.b"},
    // ... wherever an expression may stand
    {"SELECT 1 WHERE (SELECT set_config('a.b', 'c', false)) IS NOT NULL", "Other =a.b"},
    {"WITH x AS MATERIALIZED (SELECT set_config('a.b', 'c', false)) SELECT * FROM x", "Other =a.b"},
    {"SELECT * FROM set_config('a.b', 'c', false)", "Other =a.b"},
    {"SELECT * FROM t, LATERAL set_config('a.b', t.x, false) AS x", "Other =a.b"},
    {"INSERT INTO t SELECT set_config('a.b', 'c', false)", "Other =a.b"},
    {"INSERT INTO t VALUES (1) RETURNING set_config('a.b', 'c', false)", "Other =a.b"},
    {"UPDATE t SET a = set_config('a.b', 'c', false)", "Other =a.b"},
    {"DELETE FROM t WHERE a = set_config('a.b', 'c', false)", "Other =a.b"},
    {"MERGE INTO t USING u ON true WHEN MATCHED THEN UPDATE SET a = set_config('a.b', 'c', false)",
     "Other =a.b"},
    {"SELECT 1 LIMIT (set_config('a.b', '1', false))::int", "Other =a.b"},
    {"SELECT sum(1) FILTER (WHERE set_config('a.b', '1', false) = '1') OVER (ORDER BY set_config('c.d', '1', "
     "false))",
     "Other =a.b =c.d"},
    {"COPY (SELECT set_config('a.b', 'c', false)) TO STDOUT", "Other =a.b"},
    {"EXPLAIN ANALYZE SELECT set_config('a.b', 'c', false)", "Other =a.b"},
    {"CREATE TABLE t (a text DEFAULT set_config('a.b', 'c', false))", "Other =a.b"},
    {"CREATE AGGREGATE g (text, text, bool) (SFUNC = set_config, STYPE = text)", "Other any_setting"},
    // settings of others, and by a view
    {"ALTER ROLE x SET work_mem = 1", "Other"},
    {"ALTER DATABASE x SET work_mem = 1", "Other"},
    {"ALTER SYSTEM SET work_mem = 1", "Other"},
    {"CREATE FUNCTION f() RETURNS int LANGUAGE sql SET work_mem = 1 AS 'select 1'", "Other"},
    {"UPDATE pg_settings SET setting = '1' WHERE name = 'work_mem'", "Other any_setting"},
    {"UPDATE pg_catalog.pg_settings SET setting = '1'", "Other any_setting"},
    {"SELECT * FROM pg_settings", "Other"},
    // advisory locks
    {"SELECT pg_advisory_lock(1)", "Other lock"},
    {"SELECT pg_try_advisory_lock_shared(1, 2)", "Other lock"},
    {"SELECT pg_advisory_xact_lock(1)", "Other"},
    {"SELECT pg_try_advisory_xact_lock_shared(1)", "Other"},
    {"SELECT pg_advisory_unlock(1)", "Other unlock"},
    {"SELECT pg_advisory_unlock_all()", "Other unlock"},
    {"SELECT pg_catalog.pg_advisory_unlock_shared(1)", "Other unlock"},
    {"SELECT count(pg_advisory_lock(id)) FROM t", "Other lock"},
    // what nobody can follow
    {"LOAD 'auto_explain'", "Load unfollowable"},
    {"SELECT setseed(0.5)", "Other unfollowable"},
    {"SELECT set_limit(0.5)", "Other =pg_trgm.similarity_threshold"},
    {"SELECT dblink_connect('c', '')", "Other unfollowable"},
    {"SELECT * FROM dblink('c', 'select 1') AS t(a int)", "Other"},
    {"SELECT pg_replication_origin_session_setup('x')", "Other unfollowable"},
    {"SELECT pg_create_logical_replication_slot('a', 'b', true)", "Other unfollowable"},
    // SQL in arguments
    {"SELECT query_to_xml('select 1', true, true, '')", "Other"},
    {"SELECT query_to_xml('select set_config(1,2,3)', true, true, '')", "Other opaque"},
    {"SELECT query_to_xml($1, true, true, '')", "Other opaque"},
    {"SELECT ts_rewrite(a, 'select t, s from aliases') from x", "Other"},
    {"SELECT ts_rewrite(a, b, c) from x", "Other"},
    {"SELECT * FROM ts_stat('select v from t')", "Other"},
    {"SELECT * FROM ts_stat($1)", "Other opaque"},
    {"SELECT * FROM crosstab('select a, b, c from t') AS ct(a int, b int)", "Other"},
    {"SELECT cursor_to_xml('c', 1, true, true, '')", "Other opaque"},
    // code of the users' own that no word of the text names
    {"SELECT table_to_xml(16400, true, true, '')", "Other opaque"},
    {"SELECT schema_to_xmlschema('s', true, true, '')", "Other opaque"},
    {"SELECT database_to_xml(true, true, '')", "Other opaque"},
    {"SELECT domain_in('a', 16400, -1)", "Other opaque"},
    {"SELECT pg_input_is_valid('a', 'd')", "Other opaque"},
    // code
    {"DO $$ BEGIN PERFORM 1; END $$", "Do"},
    {"DO $$ BEGIN UPDATE t SET a = 1; END $$", "Do"},
    {"DO $$ BEGIN SET work_mem = 1; END $$", "Do =work_mem"},
    {"DO $$ BEGIN SET LOCAL work_mem = 1; END $$", "Do"},
    {"DO $$ BEGIN IF true THEN SET work_mem = 1; END IF; END $$", "Do =work_mem"},
    {"DO $$ DECLARE x int := 1; BEGIN EXECUTE 'set work_mem = 1'; END $$", "Do =work_mem"},
    {"DO $$ BEGIN EXECUTE format('set search_path to %I', x); END $$", "Do =search_path opaque"},
    {"DO $$ BEGIN EXECUTE $x$ do 'begin create temp table t (a int); end' $x$; END $$", "Do temp"},
    {"DO $$ BEGIN EXECUTE 'load ''x'''; END $$", "Do unfollowable"},
    {"DO LANGUAGE plpgsql $$ BEGIN PERFORM pg_advisory_lock(1); END $$", "Do lock"},
    {"DO LANGUAGE plpython3u $$ pass $$", "Do opaque"},
    {"DO LANGUAGE plpython3u $$ GD['a'] = 1 $$", "Do opaque unfollowable"},
    {"DO LANGUAGE plpython3u $$ # this is our global\npass $$", "Do opaque"},
    {"DO LANGUAGE plr $$ this $$", "Do opaque unfollowable"},
    {"DO $$ $_SHARED{a} = 1 $$ LANGUAGE plperl", "Do opaque unfollowable"},
    {"DO 'begin perform setseed(0.1); end'", "Do unfollowable"},
    {"DO $$ BEGIN PERFORM set_config('a.b', v, false); CREATE TEMP TABLE t (a int); END $$", "Do =a.b temp"},
    {"DO $$ BEGIN PERFORM set_config(a, b, false); END $$", "Do opaque"},
    {"DO $$ BEGIN DEALLOCATE ALL; END $$", "Do opaque"},
    {"DO $a$ BEGIN DO $b$ BEGIN SET work_mem = 1; END $b$; END $a$", "Do =work_mem"},
    {"DO $a$ BEGIN DO $b$ BEGIN PERFORM set_config(a, b, false); END $b$; END $a$", "Do opaque"},
    {"DO $a$ BEGIN DO $b$ BEGIN PERFORM setseed(1); END $b$; END $a$", "Do unfollowable"},
    {"DO $a$ BEGIN DO $b$ BEGIN DO $c$ BEGIN LISTEN x; END $c$; END $b$; END $a$", "Do listens"},
    {"DO $a$ BEGIN DO LANGUAGE plpython3u $b$ pass $b$; END $a$", "Do opaque"},
    {"DO $a$ BEGIN DO $b$ BEGIN SET LOCAL work_mem = 1; END $b$; END $a$", "Do"},
    {"DO $$ BEGIN CREATE TABLE IF NOT EXISTS x (a int); EXCEPTION WHEN duplicate_object THEN null; END $$",
     "Do"},
    {"CALL p()", "Call opaque"},
    {"CALL p(set_config('a.b', 'c', false))", "Call =a.b opaque"},
    // statements in statements
    {"CREATE PROCEDURE p() LANGUAGE sql BEGIN ATOMIC INSERT INTO t VALUES (1); INSERT INTO t VALUES (2); END",
     "Other"},
    {"CREATE RULE r AS ON INSERT TO t DO ALSO (NOTIFY x; DELETE FROM t)", "Other"},
    {"CREATE SCHEMA s CREATE TABLE t (a int) CREATE VIEW v AS SELECT 1", "Other"},
    // several statements
    {"SET work_mem = 1; SELECT 1; RESET work_mem",
     "Set(work_mem) =work_mem; Other; Reset(work_mem) =work_mem"},
    {"  /* a */ SET work_mem = 1 /* b */ ; -- c\n ; select 1", "Set(work_mem) =work_mem; Other"},
    {"BEGIN; SET LOCAL work_mem = 1; COMMIT", "Begin; SetLocal(work_mem); Commit temp_gone cursor_gone"},
    {"SELECT ';'; PREPARE p AS SELECT ';' ; EXECUTE p; DEALLOCATE p;",
     "Other; Prepare(p)[p]; Execute(p)[p]; Deallocate(p)[p]"},
    // what is not understood
    {"select from where", "Unknown"},
    {"SELECT json_table(", "Unknown"},
    {"SET", "Unknown"},
    {"SET work_mem", "Unknown"},
    // nothing
    {"VACUUM t", "Other"},
    {"LOCK TABLE t", "Other"},
    {"COPY t FROM STDIN", "Other"},
    {"ALTER TABLE t ADD COLUMN a int DEFAULT 1", "Other"},
    {"SELECT 1 AS set_config", "Other"},
    {"", ""},
    {";", ""},
    {"--", ""},
    {"REASSIGN OWNED BY a TO b", "Other"},
    {"DROP OWNED BY a", "Drop temp_gone"},
    {"IMPORT FOREIGN SCHEMA x FROM SERVER y INTO z", "Other"},
    {"CREATE INDEX CONCURRENTLY i ON t (a)", "Other"},
    {"GRANT EXECUTE ON FUNCTION f() TO x", "Other"},
    {"CREATE TRIGGER g AFTER INSERT ON t FOR EACH ROW EXECUTE FUNCTION f()", "Other"},
    // and more of these
    {"SET search_path = $1", "Set(search_path) =search_path temp_path"},
    {"SELECT set_config('search_path', 'pg_temp', true)", "Other temp"},
    {"SELECT set_config('seed', '0.5', true)", "Other unfollowable"},
    {"SELECT set_config(VARIADIC ARRAY['a', 'b', 'c'])", "Other any_setting temp_path"},
    {"SELECT set_config('role', $1, false), set_config('session_authorization', 'x', false)",
     "Other =role =session_authorization"},
    {"PREPARE p AS CREATE TABLE t (a int)", "Unknown"},
    {"CREATE EXTENSION dblink", "Other"},
    {"CREATE TABLE t (a int) INHERITS (pg_temp.u)", "CreateTemp temp"},
    {"DO $$ BEGIN EXECUTE format('DROP TABLE %I', 'x'); END $$", "Do opaque"},
    {"DO $$ BEGIN LOAD 'auto_explain'; END $$", "Do unfollowable"},
    {"DO $$ BEGIN PERFORM \"setseed\"(0.1); END $$", "Do unfollowable"},
    {"SELECT 1; this is no SQL; SELECT 2", "Unknown"},
    {"ROLLBACK WORK TO a", "RollbackTo(a) temp_gone cursor_gone"},
    {"EXPLAIN DECLARE c CURSOR WITH HOLD FOR SELECT 1", "Other"},
    {"SELECT pg_notify('a', 'b')", "Other"},
    {"SELECT nextval('s'), lastval()", "Other"},
};

}  // namespace

TEST_CASE("what a text does to its session is read from its tree") {
  for (const Row& row : kRows) {
    CAPTURE(row.text);
    CHECK(told(row.text) == row.told);
  }
}

TEST_CASE("the word filter says yes to every text that leaves something") {
  for (const Row& row : kRows) {
    const SqlEffects effects = read_sql(row.text);
    if (effects.read == SqlEffects::Read::Unknown || !effects.changes.leave_something()) continue;
    CAPTURE(row.text);
    CHECK(may_leave_state(row.text));
  }
}

TEST_CASE("a text changes what its statements change, but not what it prepares") {
  const SqlEffects effects = read_sql(
      "set a.b = 1; prepare p as select set_config('c.d', '1', false), pg_advisory_lock(1); listen x");
  CHECK(told(effects.changes) == " =a.b listens");
  CHECK(told(effects.statements.at(1).changes) == " =c.d lock");
  CHECK(told(read_sql("reset b.c; set a.b = 1; set b.c = 1").changes) == " =a.b =b.c");
}

TEST_CASE("statements know where they stand") {
  const std::string text = " /* a */ set x.y = ';' /* b */ ;; -- c\n select 1;execute  \"P\"(1) ";
  const SqlEffects effects = read_sql(text);
  REQUIRE(effects.statements.size() == 3);
  const auto stands = [&](std::size_t i) {
    return text.substr(effects.statements[i].at, effects.statements[i].size);
  };
  CHECK(stands(0) == "set x.y = ';' /* b */ ");
  CHECK(stands(1) == "select 1");
  CHECK(stands(2) == "execute  \"P\"(1) ");
  CHECK(text.substr(effects.statements[2].name_at, effects.statements[2].name_size) == "\"P\"");
}

TEST_CASE("a PREPARE tells where its body begins") {
  for (const Bytes text :
       {"prepare p as BODY", "select 1; PREPARE \"as\" (int, numeric(5,2)) /* as */ AS BODY; select 2",
        "prepare U&\"\\0061s\" UESCAPE '\\' (text) as BODY"}) {
    std::string sql(text);
    sql.replace(sql.find("BODY"), 4, "select $1");
    const SqlEffects effects = read_sql(sql);
    CAPTURE(sql);
    REQUIRE(effects.read == SqlEffects::Read::Parsed);
    const SqlStatement& prepare = effects.statements[effects.statements.size() / 2];
    CHECK(Bytes(sql).substr(prepare.body_at, prepare.at + prepare.size - prepare.body_at) == "select $1");
  }
}

TEST_CASE("a text that is too long, holds too much or a NUL, or is nested too deep is not understood") {
  CHECK(told("select '" + std::string(kSqlTextMax - 9, 'a') + "'") == "Other");
  CHECK(told("select '" + std::string(kSqlTextMax - 8, 'a') + "'") == "Unknown");
  CHECK(told(std::string("select 1\0", 9)) == "Unknown");
  const std::size_t deep = 16000;
  const std::string texts[] = {
      "select " + times(deep, "1+") + "1",
      "select " + times(deep, "not ") + "true",
      "select " + times(deep, "- "),
      "select 1" + times(deep, "::a"),
      "select " + times(deep, "(") + "1" + times(deep, ")"),
      times(deep, "("),
      "select " + times(deep / 4, "array[") + "1" + times(deep / 4, "]"),
      "select " + times(deep / 4, "(select ") + "1" + times(deep / 4, ")"),
      "select " + times(deep / 2, "f(") + "1" + times(deep / 2, ")"),
      "select " + times(deep / 2, "a.") + "a",
      "select 1,1" + times(deep / 5, " union select 1,1"),
      "select * from a" + times(deep / 5, " cross join a"),
      "select " + times(deep / 8, "case when 1 or ") + "1",
      "select " + times(900, "(1+") + "1" + times(900, "+1+1+1+1+1+1+1+1)"),
      "select " + times(90, "(" + times(90, "1+")) + "1" + times(90, times(90, "+1") + ")"),
      "select " + times(900, "f(1,") + "1" + times(900, times(20, "+1") + ")"),
  };
  for (const std::string& text : texts) {
    CAPTURE(text.substr(0, 40));
    REQUIRE(text.size() <= kSqlTextMax);
    CHECK(told(text) == "Unknown");
  }
  CHECK(told(times(1000000, "(")) == "Unknown");
  CHECK(told("select 1" + times(kSqlTokensMax / 2 - 1, ",1")) == "Other");
  CHECK(told("select 1" + times(kSqlTokensMax / 2, ",1")) == "Unknown");
}

TEST_CASE("a long list is not a deep one, and what may be deep is read") {
  const std::string texts[] = {
      "insert into t values (1)" + times(1998, ",(1)"),
      "select * from t where a in (1" + times(3990, ", 1") + ")",
      "select 1" + times(2660, ";select 1"),
      "select " + times(kSqlNestingMax / 2 - 10, "1+") + "1",
      "select " + times(kSqlNestingMax / 2 - 10, "(select ") + "1" + times(kSqlNestingMax / 2 - 10, ")"),
      "select " + times(kSqlNestingMax - 10, "not ") + "true",
      "select 1,1" + times(kSqlNestingMax / 2 - 10, " union select 1,1"),
  };
  for (const std::string& text : texts) {
    CAPTURE(text.substr(0, 40));
    REQUIRE(text.size() <= kSqlTextMax);
    CHECK(told(text).substr(0, 5) == "Other");
  }
}

TEST_CASE("texts are read from several threads at once") {
  std::string answers[4];
  std::thread threads[4];
  for (int i = 0; i < 4; ++i)
    threads[i] = std::thread([&answer = answers[i]] {
      for (int n = 0; n < 50; ++n) answer = told("set a.b = 1 2") + told("listen x");
    });
  for (std::thread& thread : threads) thread.join();
  for (const std::string& answer : answers) CHECK(answer == "UnknownListen(x) listens");
}

namespace {
// "Where name=value <what would be replaced>; ..."
std::string listed(const std::vector<SqlAssignment>& assignments, Bytes text) {
  constexpr std::array kWhere = {"Set", "SetLocal", "Argument", "Stored"};
  std::string out;
  for (const SqlAssignment& each : assignments) {
    if (!out.empty()) out += "; ";
    out += std::string(kWhere[static_cast<std::size_t>(each.where)]) + " " + each.name + "=" +
           each.value.value_or("?");
    if (each.size > 0) out += " <" + std::string(text.substr(each.at, each.size)) + ">";
  }
  return out;
}

// ... and flags.
std::string reach_of(Bytes text) {
  const SqlReach reach = read_sql(text).reach;
  std::string out = listed(reach.assignments, text);
  if (reach.hidden_setting) out += " hidden_setting";
  if (reach.hidden_sql) out += " hidden_sql";
  if (reach.other_session) out += " other_session";
  if (reach.code) out += " code";
  return out;
}
}  // namespace

TEST_CASE("values that a text gives to settings are found, and where they stand") {
  const Row rows[] = {
      {"select 1", ""},
      {"SET work_mem = '1GB'", "Set work_mem=1GB <SET work_mem = '1GB'>"},
      {" set local Sort_Mem to 4096 ; select 1", "SetLocal work_mem=4096 <set local Sort_Mem to 4096 >"},
      {"set a.b = -1.5", "Set a.b=-1.5 <set a.b = -1.5>"},
      {"set x = E'1\\x47B'", "Set x=1GB <set x = E'1\\x47B'>"},
      {"set U&\"work\\005Fmem\" = on", "Set work_mem=on <set U&\"work\\005Fmem\" = on>"},
      {"set search_path to a, \"B c\"", "Set search_path=a, \"B c\" <set search_path to a, \"B c\">"},
      {"set search_path = 'a, b'", "Set search_path=\"a, b\" <set search_path = 'a, b'>"},
      {"set datestyle to iso, mdy", "Set datestyle=iso, mdy <set datestyle to iso, mdy>"},
      {"set names 'SJIS'", "Set client_encoding=SJIS <set names 'SJIS'>"},
      {"set time zone interval '+02:00' hour to minute", "Set timezone=?"},
      {"set role x", "Set role=x <set role x>"},
      {"set session authorization x",
       "Set session_authorization=x <set session authorization x>; Set role=?"},
      {"set session characteristics as transaction read only", "Set default_transaction_read_only=?"},
      {"set work_mem to default; reset work_mem; reset all; set transaction read only", ""},
      {"select set_config('Work_Mem', '1GB', true)", "Argument work_mem=1GB <'1GB'>"},
      {"select set_config('work_mem'::text, '1'\n 'GB', true)", "Argument work_mem=1GB"},
      {"select pg_catalog.set_config('work_mem', $$1GB$$::text, $1)", "Argument work_mem=1GB <$$1GB$$>"},
      {"select set_config('work_mem', U&'1!0047B' uescape '!', true)", "Argument work_mem=1GB"},
      {"select set_config('work_mem', null, true)", ""},
      {"select set_config('a.b', $1, true)", "Argument a.b=?"},
      {"select set_config($1, 'x', true)", " hidden_setting"},
      {"select set_config('work_' || 'mem', 'x', true)", " hidden_setting"},
      {"select set_config(is_local => true, setting_name => 'a', new_value => 'b')", " hidden_setting"},
      {"select set_config(variadic array['a'])", " hidden_setting"},
      {"with x as (select set_config('a', 'b', true)) select * from x limit set_config('c', 'd', true)::int",
       "Argument a=b <'b'>; Argument c=d <'d'>"},
      {"copy (select set_config('a', 'b', true)) to stdout", "Argument a=b <'b'>"},
      {"prepare p as select set_config('a', 'b', true)", "Argument a=b <'b'>"},
      {"create table t (a text default set_config('a', 'b', true))", "Argument a=b <'b'>"},
      {"create policy p on t using (set_config('a', 'b', true) = 'b')", "Argument a=b <'b'>"},
      {"create aggregate a (text, text) (sfunc = set_config, stype = text)", " hidden_setting code"},
      {"select set_config from set_config('a', 'b', true)", "Argument a=b <'b'>"},
      {"SELECT set_config(name, 'view', false) FROM pg_settings WHERE name = 'restrict'",
       "Argument restrict=view <'view'>"},
      {"select set_config(name, 'view', false) from pg_settings where name <> 'restrict'", " hidden_setting"},
      {"select set_config(name, 'view', false) from pg_settings where name = $1", " hidden_setting"},
      {"select set_config(name, 'view', false) from pg_settings, t where name = 'restrict'",
       " hidden_setting"},
      {"select set_config(setting, 'view', false) from pg_settings where name = 'restrict'",
       " hidden_setting"},
      {"update pg_settings set setting = '1GB' where name = 'work_mem'", " hidden_setting"},
      {"update pg_catalog.pg_settings set setting = '1GB'", " hidden_setting"},
      {"create aggregate a (text, text) (sfunc = 'set_config', stype = text)", " hidden_setting code"},
      {"create aggregate a (text) (sfunc = ts_rewrite, stype = tsquery)", " hidden_sql code"},
      {"vacuum (parallel 'set_config') t", ""},
      {"select * from connectby('tree', 'id', 'parent', $1, 0) as t (a int, b int, c int)", ""},
      {"select * from connectby('tree', 'id', 'parent', 'a-b', 0, '~') as t (a int, b int)", ""},
      {"select * from connectby('s.tree', 'id', 'parent', 'id', $1, 0, '~') as t (a int, b int)", ""},
      {"select * from connectby('s.tree', 'id', 'parent', $1, 'a', 0, '~') as t (a int, b int)",
       " hidden_sql"},
      {"select * from connectby('tree', 'id', 'parent', 'id, (select f())', 'a', 0) as t (a int, b int)",
       " hidden_sql"},
      {"select * from connectby($1, 'id', 'parent', '1', 0) as t (a int, b int, c int)", " hidden_sql"},
      {"select * from connectby('(select set_config(1)) x', 'a', 'b', '1', 0) as t (a int)", " hidden_sql"},
      {"select * from connectby('tree', 'id', 'parent', 'f()', 1::text, 0) as t (a int)", " hidden_sql"},
      {"select * from crosstab('select 1', 'select set_config(1)') as t (a int)", " hidden_sql"},
      {"select * from crosstab($$select 1$$, 'select 2') as t (a int)", ""},
      {"select * from crosstab('select 1', 2) as t (a int)", ""},
      {"select * from crosstab('select 1', $1) as t (a int)", " hidden_sql"},
      {"select * from xpath_table('id', 'doc', 't', '//a', '1=1') as x (a int)", " hidden_sql"},
      {"create rule \"_RETURN\" as on select to t do instead select * from pg_settings", " hidden_setting"},
      {"create rule r as on insert to t do also (select 1; select name from pg_settings)", " hidden_setting"},
      {"select set_config('a'::mine.text, 'b', true)", " hidden_setting"},
      // A function of the user's may make a text of it.
      {"select set_config('a', null::mine.t, true)", "Argument a=?"},
      {"select set_config('a', null::text, true)", ""},
      {"select set_config('a', 'b'::mine.text, true)", "Argument a=?"},
      {"create view v as select * from pg_settings", " hidden_setting"},
      {"create or replace view v (a) as select setting from pg_catalog.pg_settings as s where name = "
       "'work_mem'",
       " hidden_setting"},
      {"create schema s create view v as table pg_settings", " hidden_setting"},
      {"create view v as select * from pg_settings, t", ""},
      {"create view v as select * from (select * from pg_settings) s", ""},
      {"select query_to_xml('select 1', true, true, '')", ""},
      {"select query_to_xml('set local work_mem = 1', true, true, '')", " hidden_sql"},
      {"select query_to_xml('select set_config(''a'', ''b'', true)', true, true, '')", " hidden_sql"},
      {"select query_to_xml($1, true, true, '')", " hidden_sql"},
      {"select * from ts_stat('sel' || 'ect 1')", " hidden_sql"},
      {"select cursor_to_xml('c', 1, true, true, '')", ""},
      {"select dblink_connect('c', 'host=a')", " other_session"},
      {"select * from public.\"dblink\"('host=a', 'select 1') as t (a int)", " other_session"},
      {"select U&\"dblink\\005Fexec\"($1, $2)", " other_session"},
      {"create operator ==> (function = dblink_exec, leftarg = text, rightarg = text)", " other_session"},
      {"create aggregate a (text) (sfunc = 'dblink_exec', stype = text)", " other_session code"},
      {"select dblink from dblink; select dblink_get_connections(), dblink_disconnect('c')", ""},
      {"create extension dblink; drop function dblink(text); grant all on function dblink(text) to x", ""},
      {"do $$ begin end $$", " code"},
      {"call p(set_config('a', 'b', true))", "Argument a=b <'b'> code"},
      {"create function f() returns int language sql as 'select 1'", " code"},
      {"create function f() returns int language sql set work_mem = '1GB' as 'select 1'",
       "Stored work_mem=1GB code"},
      {"alter procedure p() set work_mem to '1GB'", "Stored work_mem=1GB code"},
      {"create function f() returns int language sql set work_mem from current as 'select 1'", " code"},
      {"alter role r set work_mem = '1GB'", "Stored work_mem=1GB"},
      {"alter role r in database d set work_mem = '1GB'", "Stored work_mem=1GB"},
      {"alter role all reset work_mem", ""},
      {"alter database d set work_mem = '1GB'", "Stored work_mem=1GB"},
      {"set a = 1; set local b = 2", "Set a=1 <set a = 1>; SetLocal b=2 <set local b = 2>"},
  };
  for (const Row& row : rows) {
    INFO(row.text);
    CHECK(reach_of(row.text) == row.told);
  }
}

TEST_CASE("what a text takes back is found, and where it stands") {
  const Row rows[] = {
      {"select 1; set work_mem = 1", ""},
      {"select 1; RESET Sort_Mem ; select 2", "Set work_mem=? <RESET Sort_Mem >"},
      {"set work_mem to default; set local jit = default",
       "Set work_mem=? <set work_mem to default>; SetLocal jit=? <set local jit = default>"},
      {"set time zone local", "Set timezone=? <set time zone local>"},
      {"reset all; select 1", "Set =? <reset all>"},
      {"discard all", "Set =? <discard all>"},
      {"discard temp", ""},
      {"select set_config('Work_Mem', NULL, true)", "Argument work_mem=? <NULL>"},
      {"select set_config('work_mem', null::text, $1)", "Argument work_mem=? <null>"},
      {"prepare p as select set_config('work_mem', null, true)", "Argument work_mem=? <null>"},
      {"alter role r reset work_mem", ""},
      {"create function f() returns int language sql set work_mem to default as 'select 1'", ""},
  };
  for (const Row& row : rows) {
    INFO(row.text);
    CHECK(listed(read_sql(row.text).reach.taken_back, row.text) == row.told);
  }
}

TEST_CASE("of a text that is too much for the parser, the statements that matter are read by themselves") {
  const std::string many = "select 1 in (" + times(kSqlTokensMax, "1,") + "1)";
  struct Long {
    std::string text;
    const char* told;
    const char* reach;
  };
  const Long rows[] = {
      {many + "; set work_mem = '1GB'", "Other; Set(work_mem) =work_mem",
       "Set work_mem=1GB <set work_mem = '1GB'>"},
      {"set work_mem = '1GB'; " + many + ";" + many + "; reset a",
       "Set(work_mem) =work_mem; Other; Reset(a) =a", "Set work_mem=1GB <set work_mem = '1GB'>"},
      {times(kSqlTokensMax, "select 1;") + "prepare p as select set_config('a', 'b', true)",
       "Other; Prepare(p)[p]", "Argument a=b <'b'>"},
      {"select " + times(kSqlNestingMax + 1, "(") + "1" + times(kSqlNestingMax + 1, ")") + ";; set a = 1;",
       "Other; Set(a) =a", "Set a=1 <set a = 1>"},
      // Grammar that the parser does not know.
      {"select new grammar 1 2; set a = 1", "Other; Set(a) =a", "Set a=1 <set a = 1>"},
      {"/*" + std::string(300'000, 'x') + "*/ set a = 1", "Set(a) =a", "Set a=1 <set a = 1>"},
      // What matters is itself what cannot be read.
      {"select 1; set new grammar 1 2", "Unknown", ""},
      {many + "; select set_config('a', 'b', 1 in (" + times(kSqlTokensMax, "1,") + "1))", "Unknown", ""},
      {times(kSqlTokensMax / 4 + 1, "set a = 1;"), "Unknown", ""},
      {many +
           "; create function f() returns int begin atomic select 1; select set_config('a', 'b', true); end",
       "Unknown", ""},
      {many + "; set a = 1" + std::string(1, '\0'), "Unknown", ""},
  };
  for (const Long& row : rows) {
    INFO(row.text.substr(0, 60));
    CHECK(told(row.text) == row.told);
    CHECK(reach_of(row.text) == row.reach);
  }
  const std::string prepare = many + "; prepare p as select 2";
  const SqlStatement last = read_sql(prepare).statements.back();
  CHECK(prepare.substr(last.name_at, last.name_size) == "p");
  CHECK(prepare.substr(last.body_at) == "select 2");
  // The code of a DO is one token, so its length has a bound of its own.
  const std::string body = "do $$ begin set a = 1;" + times(kSqlBodyMax / 9, "a := 1;");
  CHECK(told(body.substr(0, kSqlBodyMax / 2) + " end $$") == "Do =a");
  CHECK(told(body + times(kSqlBodyMax, " ") + " end $$") == "Do opaque");
}

TEST_CASE("functions that run a query or set a value are known by their numbers, too") {
  CHECK(sql_function(2078) == SqlFunction::SetConfig);
  for (const std::uint32_t oid : {2924U, 2925U, 2927U, 2928U, 2930U, 3685U, 3689U, 3690U})
    CHECK(sql_function(oid) == SqlFunction::Executor);
  for (const std::uint32_t oid : {750U, 2290U, 2400U, 2402U, 2597U, 2598U, 2923U, 2926U, 2938U})
    CHECK(sql_function(oid) == SqlFunction::CodeByName);
  for (const std::uint32_t oid : {1575U, 2559U}) CHECK(sql_function(oid) == SqlFunction::ReadsSequence);
  for (const std::uint32_t oid : {1599U, 2172U, 3779U, 4224U, 6006U, 6013U})
    CHECK(sql_function(oid) == SqlFunction::Unfollowable);
  for (const std::uint32_t oid : {0U, 715U, 957U, 1574U, 1598U, 2931U, 3684U})  // large objects ...
    CHECK(sql_function(oid) == SqlFunction::Other);
}
