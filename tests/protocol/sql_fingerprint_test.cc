#include "protocol/sql_fingerprint.h"

#include <catch2/catch.hpp>
#include <string>

#include "protocol/sql.h"

using namespace pgweir::protocol;

TEST_CASE("texts that differ in their values share a fingerprint, and others do not") {
  struct Row {
    std::string one, other;
    bool same;
  };
  const Row rows[] = {
      {"select 1", "SELECT  2 -- two", true},
      {"select * from t where a = $1", "select * from t where a = 'secret'", true},
      {"select * from t where a in (1, 2)", "select * from t where a in (1, 2, 3)", true},
      {"select * from t", "select * from u", false},
      {"select a from t", "select a, b from t", false},
      {"begin", "commit", false},
      // What no parser understands.
      {"selectt 1 from t", "Selectt 'two' from t", true},
      {"selectt (1, 2) from t", "selectt (1, 2, 3, 'x') from t", true},
      {"selectt 1 from t", "selectt 1 from u", false},
      {"select \"", "select \"a", false},
  };
  for (const Row& row : rows) {
    INFO(row.one << " | " << row.other);
    CHECK((sql_fingerprint(row.one) == sql_fingerprint(row.other)) == row.same);
  }
}

TEST_CASE("a fingerprint is 16 hex digits, marked where it is made of words only") {
  const auto is_hex = [](const std::string& text) {
    return text.size() == 16 && text.find_first_not_of("0123456789abcdef") == std::string::npos;
  };
  CHECK(is_hex(sql_fingerprint("select 1")));
  CHECK(sql_fingerprint("select 1") == "50fde20626009aba");  // as libpg_query's own tests have it
  const std::string words = sql_fingerprint("selectt 1");
  CHECK(words[0] == '~');
  CHECK(is_hex(words.substr(1)));
  CHECK(sql_fingerprint("select 1", true)[0] == '~');
  CHECK(sql_fingerprint("").empty());
  CHECK(sql_fingerprint(" /* nothing */ -- here").empty());
}

TEST_CASE("texts that are too long, too deep or cut have one, too, whatever the length of their lists") {
  const auto insert = [](int rows) {
    std::string text = "insert into t values (0";
    for (int i = 0; i < rows; ++i) text += ", " + std::to_string(i);
    return text + ")";
  };
  CHECK(sql_fingerprint(insert(20'000)) == sql_fingerprint(insert(30'000)));
  CHECK(sql_fingerprint(insert(20'000))[0] == '~');
  CHECK(sql_fingerprint(insert(5).substr(0, 28), true) == sql_fingerprint(insert(9).substr(0, 31), true));
  const std::string deep = "select " + std::string(5000, '(') + "1" + std::string(5000, ')');
  CHECK(sql_fingerprint(deep)[0] == '~');
  const std::string allowed =
      "select " + std::string(kSqlNestingMax / 2, '(') + "1" + std::string(kSqlNestingMax / 2, ')');
  CHECK(sql_fingerprint(allowed)[0] != '~');
}
