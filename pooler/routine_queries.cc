#include "pooler/routine_queries.h"

#include <fmt/format.h>

#include "pooler/base/bytes.h"

namespace pgweir::routine_queries {

namespace {

// A multi-statement query is one transaction, so the path is gone with its end; pg_temp stands last, so that
// no temporary table answers for a catalog.
constexpr Bytes kPath = "SET LOCAL search_path = pg_catalog, pg_temp; ";

// 16384 is the first oid that is not Postgres's own. The first number is that of what may be code, whose
// kinds are small letters; the rest decides what leads to it, or who can name it. What is temporary comes and
// goes.
constexpr Bytes kFingerprint =
    "WITH spaces AS MATERIALIZED (SELECT oid FROM pg_namespace WHERE nspname !~ '^pg_(toast_)?temp_'),"
    " classes AS MATERIALIZED (SELECT c.* FROM pg_class c JOIN spaces n ON n.oid = c.relnamespace"
    " WHERE c.oid >= 16384)"
    " SELECT count(*) FILTER (WHERE c.kind = lower(c.kind)) || ' ' || count(*) || ' ' ||"
    " coalesce(sum(hashtext(c.kind || c.oid || ' ' || c.xmin)::bigint), 0) || ' ' || getdatabaseencoding() "
    "FROM ("
    "SELECT 'f' AS kind, oid::text, xmin::text FROM pg_proc WHERE oid >= 16384"
    " UNION ALL SELECT 't', oid::text, xmin::text FROM pg_trigger WHERE oid >= 16384 AND NOT tgisinternal"
    " UNION ALL SELECT 'v', oid::text, xmin::text FROM pg_rewrite WHERE oid >= 16384"
    " UNION ALL SELECT 'd', oid::text, xmin::text FROM pg_attrdef WHERE oid >= 16384"
    " UNION ALL SELECT 'p', oid::text, xmin::text FROM pg_policy WHERE oid >= 16384"
    " UNION ALL SELECT CASE contype WHEN 'c' THEN 'c' ELSE 'C' END, k.oid::text, k.xmin::text"
    " FROM pg_constraint k JOIN spaces n ON n.oid = k.connamespace WHERE k.oid >= 16384"
    " UNION ALL SELECT CASE typtype WHEN 'd' THEN 'y' ELSE 'Y' END, y.oid::text, y.xmin::text"
    " FROM pg_type y JOIN spaces n ON n.oid = y.typnamespace WHERE y.oid >= 16384"
    " UNION ALL SELECT 'o', oid::text, xmin::text FROM pg_operator WHERE oid >= 16384"
    " UNION ALL SELECT 'x', oid::text, xmin::text FROM pg_cast WHERE oid >= 16384"
    " UNION ALL SELECT 'E', oid::text, xmin::text FROM pg_event_trigger"
    " UNION ALL SELECT 'R', rngtypid::text, xmin::text FROM pg_range WHERE rngtypid >= 16384"
    " UNION ALL SELECT 'O', oid::text, xmin::text FROM pg_amproc WHERE oid >= 16384"
    " UNION ALL SELECT 'S', oid::text, xmin::text FROM pg_statistic_ext"
    " UNION ALL SELECT 'P', partrelid::text, xmin::text FROM pg_partitioned_table"
    " UNION ALL SELECT 'N', oid::text, xmin::text FROM pg_namespace"
    " WHERE nspname !~ '^pg_(toast_)?temp_' AND (oid >= 16384 OR nspname = 'public')"
    " UNION ALL SELECT 'M', concat_ws(' ', roleid, member), xmin::text FROM pg_auth_members"
    // Its xmin changes when a table is truncated.
    " UNION ALL SELECT 'T', oid::text, concat_ws(' ', relname, relnamespace, relkind) FROM classes"
    " UNION ALL SELECT 'A', concat_ws(' ', attrelid, attnum), atttypid::text"
    " FROM pg_attribute a JOIN classes c ON c.oid = a.attrelid WHERE atttypid >= 16384"
    " UNION ALL SELECT 'I', indexrelid::text, i.xmin::text FROM pg_index i JOIN classes c"
    " ON c.oid = i.indexrelid WHERE indexprs IS NOT NULL OR indpred IS NOT NULL"
    " UNION ALL SELECT 'H', concat_ws(' ', inhrelid, inhparent), h.xmin::text FROM pg_inherits h JOIN "
    "classes c"
    " ON c.oid = h.inhrelid) c";

// Wider than the reader of bodies: whatever it would find must be fetched. A body without text is one of
// BEGIN ATOMIC, which is kept as an expression: kStored. What is too long to be read whole counts as opaque,
// and so does what runs under a path of its own by which each table that it makes is temporary.
constexpr Bytes kBodies =
    "SELECT 'pg_proc'::regclass::oid || ' ' || p.oid, p.proname, l.lanname,"
    " CASE WHEN octet_length(p.prosrc) <= 12000 AND NOT t.temporary THEN p.prosrc END"
    " FROM pg_proc p JOIN pg_language l ON l.oid = p.prolang CROSS JOIN LATERAL (SELECT coalesce(bool_or("
    "c ~* '^search_path=.*pg_temp' AND NOT EXISTS (SELECT FROM pg_namespace n, regexp_split_to_table("
    "regexp_replace(substr(c, 13), 'pg_temp.*', '', 'i'), '[\", ]+') s WHERE n.nspname = s"
    " AND has_schema_privilege(session_user, n.oid, 'USAGE'))), false)"
    " FROM unnest(p.proconfig) c) t(temporary)"
    " WHERE p.oid >= 16384 AND l.lanname NOT IN ('c', 'internal')"
    " AND (l.lanname NOT IN ('sql', 'plpgsql') OR t.temporary OR p.prosrc ~*"
    " '(u&|pg_settings|set_config|lastval|currval|setseed|set_limit|ts_stat|ts_rewrite|advisory|pg_temp|"
    "backup|crosstab"
    "|dblink|replication_origin|pg_create_|pg_copy_|_to_xml|connectby|xpath_table|pg_input_"
    "|(array|domain|record|range)_(in|recv)\\M"
    "|\\m(set|reset|discard|deallocate|prepare|execute|listen|unlisten|load|do|call|temp|temporary|create|"
    "alter|hold)\\M)')"
    " ORDER BY p.oid";

// What tables, views, types, operators and declarations of functions keep as expressions that name one of
// Postgres's own functions of protocol/sql_functions.h, or pg_settings, of which a view may be updated: of
// these pg_depend has no row. Told as code that calls them with nobody knows what: only an expression that is
// deparsed, for which Postgres locks its tables, would tell.
constexpr Bytes kStored =
    "WITH own AS MATERIALIZED (SELECT p.oid, p.proname FROM pg_proc p JOIN pg_language l ON l.oid = p.prolang"
    " WHERE l.lanname IN ('c', 'internal') AND p.proname ~ '^(set_config|set_limit|setseed|lastval|currval|"
    "pg_(try_)?advisory_|pg_create_|pg_copy_|pg_replication_origin_|pg_backup_start|pg_start_backup|dblink|"
    "crosstab|connectby|xpath_table|ts_stat|ts_rewrite|(query|cursor|table|schema|database)_to_xml|"
    "pg_input_|(array|domain|record|range|multirange)_(in|recv)$)'),"
    " stored(cls, id, tree) AS (SELECT 'pg_class'::regclass::oid, ev_class, concat(ev_qual, ev_action)"
    " FROM pg_rewrite WHERE oid >= 16384"
    " UNION ALL SELECT 'pg_class'::regclass, adrelid, adbin::text FROM pg_attrdef WHERE oid >= 16384"
    " UNION ALL SELECT 'pg_class'::regclass, tgrelid, tgqual::text FROM pg_trigger WHERE oid >= 16384"
    " UNION ALL SELECT 'pg_class'::regclass, polrelid, concat(polqual, polwithcheck)"
    " FROM pg_policy WHERE oid >= 16384"
    " UNION ALL SELECT CASE contypid WHEN 0 THEN 'pg_class'::regclass ELSE 'pg_type'::regclass END,"
    " CASE contypid WHEN 0 THEN conrelid ELSE contypid END, conbin::text"
    " FROM pg_constraint WHERE oid >= 16384"
    " UNION ALL SELECT 'pg_type'::regclass, oid, typdefaultbin::text FROM pg_type WHERE oid >= 16384"
    " UNION ALL SELECT 'pg_proc'::regclass, oid, proargdefaults::text FROM pg_proc WHERE oid >= 16384"
    // BEGIN ATOMIC; the column is not there before Postgres 14
    " UNION ALL SELECT 'pg_proc'::regclass, p.oid, to_jsonb(p) ->> 'prosqlbody' FROM pg_proc p"
    " WHERE p.oid >= 16384 AND p.prosrc = ''"
    // written as the expressions above write a call
    " UNION ALL SELECT 'pg_proc'::regclass, aggfnoid, format('funcid %s ', concat_ws(' funcid ',"
    " aggtransfn::oid, aggfinalfn::oid, aggcombinefn::oid, aggserialfn::oid, aggdeserialfn::oid,"
    " aggmtransfn::oid, aggminvtransfn::oid, aggmfinalfn::oid)) FROM pg_aggregate WHERE aggfnoid >= 16384"
    " UNION ALL SELECT 'pg_operator'::regclass, oid, format('funcid %s ', oprcode::oid)"
    " FROM pg_operator WHERE oid >= 16384"
    " UNION ALL SELECT 'pg_cast'::regclass, oid, format('funcid %s ', castfunc)"
    " FROM pg_cast WHERE oid >= 16384)"
    " SELECT s.cls || ' ' || s.id, coalesce(c.relname, p.proname, y.typname), 'sql', concat("
    "(SELECT 'SELECT ' || string_agg(DISTINCT quote_ident(o.proname) || '(x, x, x)', ', ')"
    " FROM own o WHERE strpos(s.tree, 'funcid ' || o.oid || ' ') > 0), CASE WHEN"
    " strpos(s.tree, ':relid ' || 'pg_settings'::regclass::oid || ' ') > 0"
    " THEN '; UPDATE pg_settings SET setting = x WHERE name = x' END)"
    " FROM stored s LEFT JOIN pg_class c ON s.cls = 'pg_class'::regclass AND c.oid = s.id"
    " LEFT JOIN pg_proc p ON s.cls = 'pg_proc'::regclass AND p.oid = s.id"
    " LEFT JOIN pg_type y ON s.cls = 'pg_type'::regclass AND y.oid = s.id"
    " WHERE s.tree ~ (SELECT format('funcid (%s) |:relid %s ', string_agg(oid::text, '|'),"
    " 'pg_settings'::regclass::oid) FROM own) ORDER BY s.cls, s.id";

// {0}: what was found, each by the oids of its catalog and in that. Told are the things that it or other code
// may lead to by the catalogs, and from which to which: a thing, its name, and whether it is a type ('t') or
// run by any DDL ('d'), and whether no role of ours can name it ('h'); or two things. Of tables only what
// runs code of theirs counts. What has no name no text has to name.
constexpr const char* kUsers =
    "WITH RECURSIVE mine AS MATERIALIZED (SELECT oid FROM pg_roles WHERE pg_has_role(session_user, oid,"
    " 'MEMBER')), spaces AS MATERIALIZED (SELECT n.oid FROM pg_namespace n"
    " WHERE has_schema_privilege(session_user, n.oid, 'USAGE') OR EXISTS (SELECT FROM mine m"
    " WHERE m.oid = n.nspowner OR has_schema_privilege(m.oid, n.oid, 'USAGE'))),"
    " edges(cls, id, ucls, uid) AS MATERIALIZED ("
    // functions and aggregates made of it; types over it; operators, casts, operator classes, event triggers
    "SELECT d.refclassid, d.refobjid, d.classid, d.objid FROM pg_depend d WHERE d.refobjid >= 16384"
    " AND (d.classid = 'pg_proc'::regclass OR d.classid IN ('pg_operator'::regclass, 'pg_cast'::regclass,"
    " 'pg_amproc'::regclass, 'pg_amop'::regclass, 'pg_event_trigger'::regclass)"
    " OR d.classid = 'pg_type'::regclass AND d.refclassid IN ('pg_proc'::regclass, 'pg_type'::regclass))"
    // relations: triggers, views and rules, defaults, checks, policies, indexes, columns of such a type
    " UNION SELECT d.refclassid, d.refobjid, 'pg_class'::regclass, c.oid FROM pg_depend d"
    " LEFT JOIN pg_trigger t ON d.classid = 'pg_trigger'::regclass AND t.oid = d.objid"
    " LEFT JOIN pg_rewrite r ON d.classid = 'pg_rewrite'::regclass AND r.oid = d.objid"
    " LEFT JOIN pg_attrdef a ON d.classid = 'pg_attrdef'::regclass AND a.oid = d.objid"
    " LEFT JOIN pg_constraint k ON d.classid = 'pg_constraint'::regclass AND k.oid = d.objid"
    " LEFT JOIN pg_policy y ON d.classid = 'pg_policy'::regclass AND y.oid = d.objid"
    " LEFT JOIN pg_index i ON d.classid = 'pg_class'::regclass AND i.indexrelid = d.objid"
    " JOIN pg_class c ON c.oid = coalesce(t.tgrelid, r.ev_class, a.adrelid, nullif(k.conrelid, 0),"
    " y.polrelid, i.indrelid, CASE WHEN d.classid = 'pg_class'::regclass THEN d.objid END)"
    " WHERE d.refobjid >= 16384 AND d.deptype IN ('n', 'a')"
    " AND (d.refclassid <> 'pg_class'::regclass OR d.classid = 'pg_rewrite'::regclass)"
    // domains with such a check
    " UNION SELECT d.refclassid, d.refobjid, 'pg_type'::regclass, k.contypid FROM pg_depend d"
    " JOIN pg_constraint k ON d.classid = 'pg_constraint'::regclass AND k.oid = d.objid"
    " WHERE k.contypid <> 0 AND d.refobjid >= 16384 AND d.refclassid IN ('pg_proc'::regclass,"
    " 'pg_type'::regclass)"
    // rows with such a column; types whose values a cast takes or gives
    " UNION SELECT 'pg_type'::regclass, a.atttypid, 'pg_type'::regclass, c.reltype FROM pg_attribute a"
    " JOIN pg_class c ON c.oid = a.attrelid WHERE a.atttypid >= 16384 AND c.reltype <> 0"
    " UNION SELECT 'pg_class'::regclass, c.oid, 'pg_type'::regclass, c.reltype FROM pg_class c"
    " WHERE c.oid >= 16384 AND c.relkind = 'c'"
    " UNION SELECT 'pg_cast'::regclass, x.oid, 'pg_type'::regclass, y FROM pg_cast x,"
    " unnest(ARRAY[x.castsource, x.casttarget]) y WHERE x.oid >= 16384 AND y >= 16384"
    // the tables above a partition, those whose bounds are such expressions, and those whose rows take rows
    // of this one with them
    " UNION SELECT 'pg_class'::regclass, inhrelid, 'pg_class'::regclass, inhparent FROM pg_inherits"
    " UNION SELECT 'pg_class'::regclass, h.inhparent, 'pg_class'::regclass, h.inhrelid FROM pg_inherits h"
    " JOIN pg_partitioned_table p ON p.partrelid = h.inhparent"
    " WHERE EXISTS (SELECT FROM pg_partitioned_table e WHERE e.partexprs IS NOT NULL)"
    " UNION SELECT 'pg_class'::regclass, conrelid, 'pg_class'::regclass, confrelid FROM pg_constraint"
    " WHERE contype = 'f' AND (confdeltype IN ('c', 'n', 'd') OR confupdtype IN ('c', 'n', 'd'))"
    // what may use the operators of others: it runs with their rights
    " UNION SELECT 'pg_operator'::regclass, oid, 'pg_operator'::regclass, 0 FROM pg_operator"
    " WHERE oid >= 16384 AND oprnamespace NOT IN (SELECT oid FROM spaces)"
    " UNION SELECT 'pg_operator'::regclass, 0, 'pg_proc'::regclass, oid FROM pg_proc WHERE oid >= 16384"
    " AND (prosecdef OR prorettype = 'trigger'::regtype)),"
    " reach(cls, id) AS (SELECT cls, id FROM (SELECT split_part(r, ' ', 1)::oid, split_part(r, ' ', 2)::oid"
    " FROM unnest('{{{0}}}'::text[]) r UNION SELECT 'pg_proc'::regclass, p.oid FROM pg_proc p JOIN "
    "pg_language l"
    " ON l.oid = p.prolang WHERE p.oid >= 16384 AND l.lanname NOT IN ('c', 'internal')) s(cls, id)"
    " UNION SELECT e.ucls, e.uid FROM reach f JOIN edges e ON e.cls = f.cls AND e.id = f.id),"
    " things AS (SELECT f.cls, f.id, coalesce(p.proname, c.relname, y.typname)::text AS name, concat("
    "CASE WHEN f.cls = 'pg_type'::regclass THEN 't' END,"
    " CASE WHEN f.cls = 'pg_event_trigger'::regclass THEN 'd' END,"
    " CASE WHEN coalesce(p.pronamespace, c.relnamespace, y.typnamespace, o.oprnamespace)"
    " NOT IN (SELECT oid FROM spaces) OR f.cls = 'pg_operator'::regclass AND f.id = 0 THEN 'h'"
    // of a cast: who can name none of its types meets them in what is made of them
    " WHEN f.cls = 'pg_cast'::regclass AND NOT EXISTS (SELECT FROM pg_cast x JOIN pg_type z"
    " ON z.oid IN (x.castsource, x.casttarget) AND z.oid >= 16384 WHERE x.oid = f.id"
    " AND z.typnamespace IN (SELECT oid FROM spaces)) THEN 'h' END) AS flags FROM reach f"
    " LEFT JOIN pg_proc p ON f.cls = 'pg_proc'::regclass AND p.oid = f.id"
    " LEFT JOIN pg_class c ON f.cls = 'pg_class'::regclass AND c.oid = f.id"
    " LEFT JOIN pg_type y ON f.cls = 'pg_type'::regclass AND y.oid = f.id"
    " LEFT JOIN pg_operator o ON f.cls = 'pg_operator'::regclass AND o.oid = f.id)"
    " SELECT cls || ' ' || id, NULL, name, flags FROM things WHERE name IS NOT NULL"
    " OR cls NOT IN ('pg_proc'::regclass, 'pg_class'::regclass, 'pg_type'::regclass)"
    " UNION ALL SELECT e.cls || ' ' || e.id, e.ucls || ' ' || e.uid, NULL, NULL FROM edges e JOIN reach f"
    " ON e.cls = f.cls AND e.id = f.id";

// Plainly, in which the names of kUsers are looked for.
constexpr Bytes kCode =
    "SELECT 'pg_proc'::regclass::oid || ' ' || p.oid, CASE WHEN octet_length(p.prosrc) <= 12000 THEN p.prosrc"
    " END FROM pg_proc p JOIN pg_language l ON l.oid = p.prolang WHERE p.oid >= 16384 AND p.prosrc <> ''"
    " AND l.lanname NOT IN ('c', 'internal') ORDER BY p.oid";

std::string query(Bytes sql, std::size_t rows_most) {
  return fmt::format("{}{} LIMIT {}", kPath, sql, rows_most);
}

}  // namespace

std::string fingerprint() { return query(kFingerprint, 1); }
std::string bodies(std::size_t rows_most) { return query(kBodies, rows_most); }
std::string stored(std::size_t rows_most) { return query(kStored, rows_most); }
std::string code(std::size_t rows_most) { return query(kCode, rows_most); }

std::string users(const std::set<std::string>& found, std::size_t rows_most) {
  return query(fmt::format(fmt::runtime(kUsers), fmt::join(found, ",")), rows_most);
}

}  // namespace pgweir::routine_queries
