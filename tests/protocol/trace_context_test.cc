#include "protocol/trace_context.h"

#include <catch2/catch.hpp>
#include <string>

using namespace pgweir::protocol;

namespace {
const std::string kTrace = "4bf92f3577b34da6a3ce929d0e0e4736";
const std::string kSpan = "00f067aa0ba902b7";
const std::string kParent = "00-" + kTrace + "-" + kSpan + "-01";

std::string found(const std::string& sql) {
  const auto context = trace_context(sql, sql);
  return context ? context->trace_id + " " + context->span_id : "";
}
}  // namespace

TEST_CASE("a traceparent is taken as the W3C writes it, and in no other way") {
  struct Row {
    std::string value;
    bool good;
  };
  const Row rows[] = {
      {kParent, true},
      {"00-" + kTrace + "-" + kSpan + "-00", true},
      {"cc-" + kTrace + "-" + kSpan + "-01", true},       // a version to come
      {"cc-" + kTrace + "-" + kSpan + "-01-what", true},  // ... with more fields
      {"cc-" + kTrace + "-" + kSpan + "-01what", false},
      {kParent + "-what", false},  // version 00 has no more
      {kParent + "0", false},
      {"ff-" + kTrace + "-" + kSpan + "-01", false},
      {"0-" + kTrace + "-" + kSpan + "-01", false},
      {"0g-" + kTrace + "-" + kSpan + "-01", false},
      {"00-" + std::string(32, '0') + "-" + kSpan + "-01", false},
      {"00-" + kTrace + "-" + std::string(16, '0') + "-01", false},
      {"00-4BF92F3577B34DA6A3CE929D0E0E4736-" + kSpan + "-01", false},
      {"00-" + kTrace + "-" + kSpan, false},
      {"00-" + kTrace + "-" + kSpan + "-0", false},
      {"00-" + kTrace + "-" + kSpan + "-0x", false},
      {"00_" + kTrace + "-" + kSpan + "-01", false},
      {"00-" + kTrace + "_" + kSpan + "-01", false},
      {"00-" + kTrace + "-" + kSpan + "_01", false},
      {"00-" + kTrace.substr(1) + "--" + kSpan + "-01", false},
      {" " + kParent, false},
      {"", false},
  };
  for (const Row& row : rows) {
    INFO(row.value);
    const auto context = parse_traceparent(row.value);
    CHECK(context.has_value() == row.good);
    if (context) CHECK(*context == TraceContext{kTrace, kSpan});
  }
}

TEST_CASE("the comment that ends a text, or begins it, may have a trace context") {
  struct Row {
    std::string sql;
    bool good;
  };
  const std::string pair = "traceparent='" + kParent + "'";
  const Row rows[] = {
      {"select 1 /*" + pair + "*/", true},
      {"select 1 /*" + pair + "*/ ;\n", true},
      {"/*" + pair + "*/ select 1", true},
      {" \n/* " + pair + " */ select 1", true},
      {"select 1 /*action='%2Fshop',application='a b'," + pair + ",tracestate='rojo%3D1'*/", true},
      {"select 1 /*route='it\\'s, x='," + pair + "*/", true},
      {"select 1 /*a='1', " + pair + "*/", true},
      {"select 1 /*traceparent='00%2D" + kTrace + "%2d" + kSpan + "-01'*/", true},
      {"/*" + pair + "*/ select 1 /*about nothing*/", true},
      {"select 1 /*about nothing*/ /*" + pair + "*/", true},
      {"select 1 /*" + pair + "*/ /*about nothing*/", true},
      {"select 1 /*" + pair + "*/\n/*a='b'*//*c='d'*/;", true},
      {"/*a='b'*/ /*about nothing*/ /*" + pair + "*/ select 1", true},
      {"/*a='b'*/ /*" + pair + "*/", true},
      {"select 1 /*traceparent='nonsense'*/ /*" + pair + "*/ /*a='b'*/", true},
      {"select 1", false},
      {"", false},
      {"/*", false},
      {"*/", false},
      {"/*/", false},
      {"/**/", false},
      {"select '/*" + pair + "*/'", false},         // a value
      {"select 1 /*" + pair + "*/ from t", false},  // in the middle
      {"select 1 /*" + pair + "*/ from t /*a='b'*/", false},
      {"/*a='b'*/ select /*" + pair + "*/ 1", false},
      {"*/ /*a='b'*/", false},
      {"select 1 -- " + pair, false},
      {"select 1 /*traceparent=" + kParent + "*/", false},  // no quotes
      {"select 1 /*traceparent='" + kParent + "*/", false},
      {"select 1 /*traceparent='" + kParent + "\\'*/", false},
      {"select 1 /*Traceparent='" + kParent + "'*/", false},
      {"select 1 /*xtraceparent='" + kParent + "'*/", false},
      {"select 1 /*a='1' " + pair + "*/", false},
      {"select 1 /*traceparent='00%2" + kTrace + "-" + kSpan + "-01'*/", false},
      {"select 1 /*traceparent='" + kParent + "%'*/", false},
      {"select 1 /*traceparent='nonsense'," + pair + "*/", false},  // the first one counts
  };
  for (const Row& row : rows) {
    INFO(row.sql);
    CHECK(found(row.sql) == (row.good ? kTrace + " " + kSpan : ""));
  }
}

TEST_CASE("of a text that was cut, the comment is looked for in what is left of its end") {
  const std::string sql = "select '" + std::string(10'000, 'x') + "' /*traceparent='" + kParent + "'*/";
  CHECK(trace_context(std::string(sql, 0, 100), sql.substr(sql.size() - 100))->span_id == kSpan);
  CHECK_FALSE(trace_context(std::string(sql, 0, 100), sql.substr(sql.size() - 60)));
  CHECK_FALSE(trace_context(std::string(sql, 0, 100), {}));
}
