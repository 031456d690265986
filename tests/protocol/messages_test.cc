#include "protocol/messages.h"

#include <catch2/catch.hpp>
#include <functional>

#include "tests/support/messages.h"

using namespace std::literals;
using namespace pgweir;
using namespace pgweir::protocol;
using pgweir::test::message;

namespace {
std::string put(const std::function<void(std::string&)>& write) {
  std::string out;
  write(out);
  return out;
}
}  // namespace

TEST_CASE("messages have the bytes of the manual") {
  struct Row {
    const char* what;
    std::string written, expected;
  };
  const Row table[] = {
      {"auth ok", put([](auto& o) { put_auth(o, AuthRequest::Ok); }), message('R', "\0\0\0\0"sv)},
      {"auth md5", put([](auto& o) { put_auth(o, AuthRequest::Md5Password, "salt"); }),
       message('R', "\0\0\0\5salt"sv)},
      {"notice", put([](auto& o) { put_notice(o, "m", "h"); }),
       message('N', "SNOTICE\0VNOTICE\0C00000\0Mm\0Hh\0\0"sv)},
      {"notice with more to say", put([](auto& o) { put_notice(o, "m", "h", "d"); }),
       message('N', "SNOTICE\0VNOTICE\0C00000\0Mm\0Dd\0Hh\0\0"sv)},
      {"parameter", put([](auto& o) { put_parameter_status(o, "a", "b"); }), message('S', "a\0b\0"sv)},
      {"key", put([](auto& o) { put_backend_key(o, 258, "abcd"); }), message('K', "\0\0\1\2abcd"sv)},
      {"ready", put([](auto& o) { put_ready(o, 'T'); }), message('Z', "T")},
      {"parse complete", put([](auto& o) { put_parse_complete(o); }), message('1')},
      {"negotiate", put([](auto& o) {
         put_negotiate(o, 2, {"_pq_.a", "_pq_.b"});
       }),
       message('v', "\0\0\0\2\0\0\0\2_pq_.a\0_pq_.b\0"sv)},
      {"command complete", put([](auto& o) { put_command_complete(o, "SHOW"); }), message('C', "SHOW\0"sv)},
      {"row description", put([](auto& o) {
         put_row_description(o, {{"a"}, {"b", kInt4Oid}, {"c", kInt8Oid}});
       }),
       message('T',
               "\0\3a\0\0\0\0\0\0\0\0\0\0\x19\xff\xff\xff\xff\xff\xff\0\0"
               "b\0\0\0\0\0\0\0\0\0\0\x17\0\4\xff\xff\xff\xff\0\0"
               "c\0\0\0\0\0\0\0\0\0\0\x14\0\x08\xff\xff\xff\xff\0\0"sv)},
      {"row", put([](auto& o) {
         put_data_row(o, {"ab", std::nullopt, ""});
       }),
       message('D', "\0\3\0\0\0\2ab\xff\xff\xff\xff\0\0\0\0"sv)},
      {"ssl", put([](auto& o) { put_ssl_request(o); }), "\0\0\0\x08\x04\xd2\x16\x2f"s},
      {"cancel", put([](auto& o) { put_cancel_request(o, 1, "abcd"); }),
       "\0\0\0\x10\x04\xd2\x16\x2e\0\0\0\1abcd"s},
      {"startup", put([](auto& o) {
         put_startup(o, kVersion30, "u", "d", {{"a", "b"}});
       }),
       "\0\0\0\x1f\0\3\0\0user\0u\0database\0d\0a\0b\0\0"s},
      {"password", put([](auto& o) { put_password(o, "s"); }), message('p', "s\0"sv)},
      {"sasl", put([](auto& o) { put_sasl_initial(o, "M", "data"); }), message('p', "M\0\0\0\0\4data"sv)},
      {"sasl response", put([](auto& o) { put_sasl_response(o, "data"); }), message('p', "data")},
      {"query", put([](auto& o) { put_query(o, "x"); }), test::query("x")},
      {"parse", put([](auto& o) { put_parse(o, "n", "x\0\0\0"sv); }), test::parse("n", "x")},
      {"bind", put([](auto& o) { put_bind_text(o, "n", {}); }), test::bind("n")},
      {"bind with values", put([](auto& o) {
         put_bind_text(o, "n", {"ab", std::nullopt});
       }),
       message('B', "\0n\0\0\0\0\2\0\0\0\2ab\xff\xff\xff\xff\0\0"sv)},
      {"execute", put([](auto& o) { put_execute(o); }), test::execute()},
      {"close", put([](auto& o) { put_close_statement(o, "n"); }), test::close('S', "n")},
      {"sync", put([](auto& o) { put_sync(o); }), test::sync_message()},
      {"terminate", put([](auto& o) { put_terminate(o); }), test::terminate()},
  };
  for (const Row& row : table) {
    CAPTURE(row.what);
    CHECK(row.written == row.expected);
  }
}

TEST_CASE("an error survives writing and reading") {
  const std::string out = put([](auto& o) {
    put_error(o, "FATAL", Error{"53300", "message", "detail", "hint"});
  });
  const ErrorFields read = parse_error(Bytes(out).substr(5));
  CHECK(read.severity == "FATAL");
  CHECK(read.sqlstate == "53300");
  CHECK(read.message == "message");
  CHECK(read.detail == "detail");
  CHECK(read.hint == "hint");
  CHECK(put([&](auto& o) { put_error(o, "FATAL", read); }) == out);
}

TEST_CASE("a server's error is read as far as it makes sense") {
  struct Row {
    Bytes body;
    const char *severity, *sqlstate, *message;
  };
  const Row table[] = {
      {"", "", "", ""},
      {"\0"sv, "", "", ""},
      {"SFATAL\0C57P01\0Mbye\0\0"sv, "FATAL", "57P01", "bye"},
      {"SFATAAL\0VFATAL\0\0"sv, "FATAL", "", ""},
      {"VFATAL\0SFATAAL\0\0"sv, "FATAL", "", ""},
      {"Mbye\0\0"sv, "", "", "bye"},
      {"C57P01"sv, "", "", ""},
      {"C57P\0\0"sv, "", "", ""},
      {"C57P011\0\0"sv, "", "", ""},
      {"C57p01\0\0"sv, "", "", ""},
      {"C5\n001\0\0"sv, "", "", ""},
      {"Xnew field\0Mbye\0\0Mlate\0"sv, "", "", "bye"},
  };
  for (const Row& row : table) {
    CAPTURE(row.body);
    const ErrorFields fields = parse_error(row.body);
    CHECK(fields.severity == row.severity);
    CHECK(fields.sqlstate == row.sqlstate);
    CHECK(fields.message == row.message);
  }
}

TEST_CASE("a server's error without a usable SQLSTATE is passed on as XX000") {
  ErrorFields fields;
  fields.message = "m";
  const std::string out = put([&](auto& o) { put_error(o, "FATAL", fields); });
  CHECK(parse_error(Bytes(out).substr(5)).sqlstate == "XX000");
}
