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
  if (name == "connectby" || name == "xpath_table") return SqlFunction::Assembler;
  if (name == "setseed" || name.starts_with("dblink_connect") || name.starts_with("pg_replication_origin_") ||
      name == "pg_create_logical_replication_slot" || name == "pg_create_physical_replication_slot" ||
      name == "pg_copy_logical_replication_slot" || name == "pg_copy_physical_replication_slot" ||
      name == "pg_backup_start" || name == "pg_start_backup")
    return SqlFunction::Unfollowable;
  return SqlFunction::Other;
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
}  // namespace

SqlFunction sql_function(std::uint32_t oid) {
  if (oid == kSetConfig) return SqlFunction::SetConfig;
  const bool executor = std::find(kExecutors.begin(), kExecutors.end(), oid) != kExecutors.end();
  return executor ? SqlFunction::Executor : SqlFunction::Other;
}

}  // namespace pgweir::protocol
