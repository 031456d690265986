// perf/sql.cc - what it costs to look at a SQL text: by its words, by the cache, and by the parser.
//
//     build/release/perf/perf_sql
#include <algorithm>
#include <chrono>
#include <cstddef>
#include <cstdio>
#include <string>

#include "protocol/sql.h"
#include "protocol/sql_cache.h"
#include "protocol/sql_words.h"

using namespace pgweir;
using namespace pgweir::protocol;

namespace {

struct Text {
  const char* name;
  std::string sql;
};

std::string times(int count, const std::string& text) {
  std::string out;
  for (int i = 0; i < count; ++i) out += text;
  return out;
}

template <typename Call>
double ns_per(int count, Call call) {
  using Clock = std::chrono::steady_clock;
  double best = 1e18;
  for (int run = 0; run < 5; ++run) {
    const auto start = Clock::now();
    for (int i = 0; i < count; ++i) call();
    const std::chrono::duration<double, std::nano> took = Clock::now() - start;
    best = std::min(best, took.count() / count);
  }
  return best;
}

}  // namespace

int main() {
  const Text texts[] = {
      {"select 1", "SELECT 1"},
      {"begin", "BEGIN"},
      {"pgbench", "UPDATE pgbench_accounts SET abalance = abalance + $1 WHERE aid = $2"},
      {"orm",
       R"(SELECT "users"."id", "users"."email", "users"."name", "users"."created_at", "users"."deleted_at" )"
       R"(FROM "users" WHERE "users"."email" = $1 AND "users"."deleted_at" IS NULL ORDER BY "users"."id" LIMIT 1)"},
      {"long string", "INSERT INTO t VALUES ('" + std::string(10000, 'x') + "')"},
      {"set", "SET work_mem = '1MB'"},
      {"set_config", "SELECT set_config('app.user', $1, false)"},
      {"prepare", "PREPARE p (int) AS SELECT a, b, c FROM t WHERE a = $1 AND b > 2"},
      {"temp table",
       "CREATE TEMP TABLE t (" + times(24, "name_of_column integer NOT NULL DEFAULT 0, ") + "x int)"},
      {"largest", "DECLARE c CURSOR FOR SELECT * FROM t WHERE a IN (1" + times(3980, ",1") + ")"},
      {"deepest", "DECLARE c CURSOR FOR SELECT " + times(470, "(SELECT ") + "1" + times(470, ")")},
  };
  std::printf("%-12s %7s %12s %12s %12s\n", "text", "bytes", "words ns", "cached ns", "parsed ns");
  for (const Text& text : texts) {
    bool flagged = false;
    const int count = text.sql.size() < 2000 ? 20000 : 200;
    const double words = ns_per(count, [&] { flagged = may_leave_state(text.sql); });
    SqlCache cache(1024UL * 1024);
    cache.read(text.sql);
    const double cached = ns_per(count, [&] { cache.read(text.sql); });
    const double parsed = ns_per(text.sql.size() < 2000 ? 200 : 2, [&] { read_sql(text.sql); });
    std::printf("%-12s %7zu %12.0f %12.0f %12.0f%s\n", text.name, text.sql.size(), words, cached, parsed,
                flagged ? "" : "  (never parsed)");
  }
}
