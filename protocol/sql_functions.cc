#include "protocol/sql_functions.h"

#include <algorithm>
#include <array>

namespace pgweir::protocol {

SqlFunction sql_function(Bytes name) {
  if (name == "set_config") return SqlFunction::SetConfig;
  if (name == "lastval" || name == "currval") return SqlFunction::ReadsSequence;
  if (name == "set_limit") return SqlFunction::SetLimit;
  if (name.starts_with("pg_advisory_") || name.starts_with("pg_try_advisory_")) {
    if (name.find("_unlock") != Bytes::npos) return SqlFunction::AdvisoryUnlock;
    return name.find("_xact_") == Bytes::npos ? SqlFunction::AdvisoryLock : SqlFunction::Other;
  }
  if (name.starts_with("query_to_xml") || name.starts_with("cursor_to_xml") || name == "ts_stat" ||
      name == "ts_rewrite" || name.starts_with("crosstab"))
    return SqlFunction::Executor;
  if (name.starts_with("table_to_xml") || name.starts_with("schema_to_xml") ||
      name.starts_with("database_to_xml") || name.starts_with("pg_input_") || name == "array_in" ||
      name == "array_recv" || name == "domain_in" || name == "domain_recv" || name == "record_in" ||
      name == "record_recv" || name == "range_in" || name == "range_recv" || name == "multirange_in" ||
      name == "multirange_recv")
    return SqlFunction::CodeByName;
  if (name == "connectby" || name == "xpath_table") return SqlFunction::Assembler;
  if (name == "setseed" || name.starts_with("dblink_connect") || name.starts_with("pg_replication_origin_") ||
      name == "pg_create_logical_replication_slot" || name == "pg_create_physical_replication_slot" ||
      name == "pg_copy_logical_replication_slot" || name == "pg_copy_physical_replication_slot" ||
      name == "pg_backup_start" || name == "pg_start_backup")
    return SqlFunction::Unfollowable;
  return SqlFunction::Other;
}

bool opens_session(Bytes name) {
  return name == "dblink" || name == "dblink_exec" || name.starts_with("dblink_connect");
}

namespace {
// Of pg_catalog, the same in all versions.
constexpr std::uint32_t kSetConfig = 2078;
constexpr std::array<std::uint32_t, 8> kExecutors = {
    2924, 2927, 2930,  // query_to_xml, query_to_xmlschema, query_to_xml_and_xmlschema
    2925, 2928,        // cursor_to_xml, cursor_to_xmlschema
    3685,              // ts_rewrite(tsquery, text)
    3689, 3690,        // ts_stat
};
constexpr std::array<std::uint32_t, 19> kCodeByName = {
    2923, 2926, 2929,        // table_to_xml, table_to_xmlschema, table_to_xml_and_xmlschema
    2933, 2934, 2935,        // schema_to_xml ...
    2936, 2937, 2938,        // database_to_xml ...
    750,  2400, 2597, 2598,  // array_in, array_recv, domain_in, domain_recv
    2290, 2402,              // record_in, record_recv
    3834, 3836, 4231, 4233,  // range_in, range_recv, multirange_in, multirange_recv
};
constexpr std::array<std::uint32_t, 2> kReadsSequence = {2559, 1575};  // lastval, currval
constexpr std::array<std::uint32_t, 20> kUnfollowable = {
    1599,                                                              // setseed
    3779, 3786, 4220, 4221, 4222, 4223, 4224,                          // replication slots, made and copied
    6003, 6004, 6005, 6006, 6007, 6008, 6009, 6010, 6011, 6012, 6013,  // pg_replication_origin_...
    2172,                                                              // pg_backup_start
};
}  // namespace

SqlFunction sql_function(std::uint32_t oid) {
  const auto is_in = [oid](const auto& oids) {
    return std::find(oids.begin(), oids.end(), oid) != oids.end();
  };
  if (oid == kSetConfig) return SqlFunction::SetConfig;
  if (is_in(kExecutors)) return SqlFunction::Executor;
  if (is_in(kReadsSequence)) return SqlFunction::ReadsSequence;
  if (is_in(kUnfollowable)) return SqlFunction::Unfollowable;
  return is_in(kCodeByName) ? SqlFunction::CodeByName : SqlFunction::Other;
}

}  // namespace pgweir::protocol
