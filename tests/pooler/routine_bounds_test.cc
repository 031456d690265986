#include <catch2/catch.hpp>
#include <optional>
#include <string>
#include <vector>

#include "pooler/deeds.h"
#include "pooler/routine_graph.h"
#include "tests/pooler/routines_help.h"

namespace pgweir {

TEST_CASE("code is read a piece at a time, and is known when all of it was") {
  RoutineBook book = followed();
  Rows bodies;
  for (std::size_t i = 0; i < 100; ++i) {
    std::string code = "begin ";
    for (int j = 0; j < 200; ++j) code += "perform set_config('app.x', '1', false);";
    bodies.push_back({"1255 " + std::to_string(20000 + i), "f" + std::to_string(i), "plpgsql", code + "end"});
  }
  book.start({});
  REQUIRE(give(book, {"100 1"}));
  REQUIRE(next(book));
  for (const Row& row : bodies) REQUIRE(give(book, row));
  // Each has more than is parsed in one go.
  std::size_t pieces = 1;
  while (book.read_some()) ++pieces;
  CHECK(pieces == bodies.size());
  CHECK(book.unsure());
  REQUIRE(next(book));
  REQUIRE(next(book));
  give_users(book, bodies, {});
  REQUIRE(next(book));
  CHECK_FALSE(next(book));
  CHECK(book.changes_of("select f0()")->settings == std::vector<std::string>{"app.x"});
  CHECK_FALSE(book.changes_of("select f99()")->opaque);

  // Those that nobody has read when the reading ends are forgotten.
  book.start({});
  REQUIRE(give(book, {"100 2"}));
  REQUIRE(next(book));
  for (const Row& row : bodies) REQUIRE(give(book, row));
  CHECK(book.read_some());
  book.stopped();
  CHECK(book.failures() == 1);
  CHECK(book.changes_of("select f99()"));
  CHECK(read(book, "100 3", {}, {}) == 3);
  CHECK_FALSE(book.changes_of("select f99()"));
}

TEST_CASE("of code that would take too long to parse the words decide") {
  RoutineBook book = followed();
  Rows bodies;
  std::string code = "begin ";
  for (int j = 0; j < 900; ++j) code += "set a.b = 1;";
  for (std::size_t i = 0; i < 120; ++i)
    bodies.push_back({"1255 " + std::to_string(20000 + i), "f" + std::to_string(i), "plpgsql", code + "end"});
  bodies.push_back({"1255 30000", "harmless", "plpgsql", "begin update t set a = 1; end"});
  read(book, "100 1", bodies, {});
  CHECK_FALSE(book.changes_of("select f0()")->opaque);
  CHECK(book.changes_of("select f119()")->opaque);
  CHECK_FALSE(book.changes_of("select harmless()"));
}

TEST_CASE("a database full of code costs no more than its bounds") {
  RoutineBook book = followed();
  const std::string harmless = "begin\nset_up := " + std::string(11'000, '1') + "; end";
  Rows bodies;
  for (std::size_t i = 0; i <= RoutineBook::kBodiesMost / harmless.size() + 1; ++i)
    bodies.push_back({"1255 " + std::to_string(20000 + i), "f" + std::to_string(i), "plpgsql", harmless});
  read(book, "9 9", bodies, {});
  CHECK_FALSE(book.changes_of("select f0()"));
  CHECK(book.changes_of("select f" + std::to_string(bodies.size() - 1) + "()")->opaque);
  CHECK_FALSE(book.changes_of("select 1"));

  Rows names;
  for (std::size_t i = 0; i <= RoutineBook::kNamesMost; ++i)
    names.push_back({"1255 " + std::to_string(20000 + i), "g" + std::to_string(i), "plpgsql", std::nullopt});
  read(book, "9 10", names, {});
  CHECK(book.size() == RoutineBook::kNamesMost);
  CHECK(book.changes_of("select 1 + 1")->opaque);
}

TEST_CASE("what functions do is kept once, however many names lead to it") {
  RoutineBook book = followed();
  std::string code;
  for (int i = 0; i < 200; ++i) code += "reset app.setting_number_" + std::to_string(i) + ";";
  Rows users;
  for (int i = 0; i < 10'000; ++i) users.push_back({"1255 16400", "u" + std::to_string(i), "f"});
  read(book, "1 1", {{"1255 16400", "root", "sql", code}}, users);
  CHECK(book.size() == 10'001);
  CHECK(book.deeds_bytes() < 50'000);
  CHECK(book.changes_of("select u7(), u9999()")->settings.size() == 200);
  // To look for them takes time by the text, whatever they do.
  std::string sql = "select u0()";
  for (int i = 0; i < 1000; ++i) sql += ", u" + std::to_string(i) + "()";
  const auto before = book.work();
  CHECK(book.changes_of(sql)->settings.size() == 200);
  CHECK(book.work() - before < 10 * sql.size());
}

TEST_CASE("beyond the bytes that are kept of functions each does anything") {
  RoutineBook book = followed();
  Rows bodies;
  const std::size_t many = Deeds::kBytesMost / (200 * sizeof(std::string)) + 1;
  for (std::size_t i = 0; i < many; ++i) {
    std::string code = i % 2 == 0 ? "" : "select setseed(0);";
    for (int j = 0; j < 200; ++j) code += "reset a.x" + std::to_string(j) + ";";
    bodies.push_back({"1255 " + std::to_string(20000 + i), "f" + std::to_string(i), "sql", code});
  }
  read(book, "1 1", bodies, {});
  CHECK(book.deeds_bytes() <= Deeds::kBytesMost);
  CHECK(book.changes_of("select f0()")->settings.size() == 200);
  CHECK_FALSE(book.changes_of("select f0()")->opaque);
  for (std::size_t i = many - 2; i < many; ++i) {
    const auto last = book.changes_of("select f" + std::to_string(i) + "()");
    CHECK(last->opaque);
    CHECK(last->unfollowable == (i % 2 == 1));
  }
  CHECK_FALSE(book.changes_of("select 1"));
  CHECK_FALSE(book.overflowed());
}

TEST_CASE("what may set more settings than a text can, or is many functions, does anything") {
  RoutineBook book = followed();
  std::string code;
  for (std::size_t i = 0; i <= Deeds::kSettingsMost; ++i) code += "reset a.x" + std::to_string(i) + ";";
  Rows bodies = {{"1255 20000", "big", "sql", code}};
  for (std::size_t i = 0; i <= Deeds::kTogetherMost; ++i)
    bodies.push_back({"1255 " + std::to_string(20001 + i), "many", "sql",
                      i == 3 ? "select setseed(0)" : "reset a.m" + std::to_string(i)});
  for (std::size_t i = 0; i < Deeds::kTogetherMost; ++i)
    bodies.push_back({"1255 " + std::to_string(30001 + i), "few", "sql", "reset a.f" + std::to_string(i)});
  read(book, "1 1", bodies, {});
  CHECK(book.changes_of("select big()")->opaque);
  CHECK(book.changes_of("select big()")->settings.empty());
  CHECK(book.changes_of("select many(1)")->opaque);
  CHECK(book.changes_of("select many(1)")->unfollowable);
  CHECK_FALSE(book.changes_of("select few(1)")->opaque);
  CHECK(book.changes_of("select few(1)")->settings.size() == Deeds::kTogetherMost);
}

TEST_CASE("where an answer was cut off every text may do anything, and that is told once") {
  RoutineBook book = followed();
  const Row harmless = {"1255 20000", "f", "sql", "select 1"};
  struct Row3 {
    std::size_t bodies, stored;
    bool over;
  };
  int number = 0;
  for (const Row3& each : {Row3{10, 10, false}, Row3{RoutineBook::kBodyRowsMost, 0, true},
                           Row3{10, RoutineBook::kBodyRowsMost, true}}) {
    CAPTURE(number);
    for (const bool first : {true, false}) {
      read(book, std::to_string(++number) + " 1", Rows(each.bodies, harmless), {}, {},
           Rows(each.stored, harmless));
      CHECK(book.changes_of("select 1 + 1").has_value() == each.over);
      if (each.over) CHECK(book.changes_of("select 1 + 1")->opaque);
      CHECK(book.overflowed() == (each.over && first && number == 3));
    }
  }
  // So of those who use a function.
  RoutineBook other = followed();
  const Rows users(RoutineBook::kUserRowsMost, Row{"1255 16400", "u", "f"});
  read(other, "1 1", {{"1255 16400", "root", "sql", "reset a.b"}}, users);
  CHECK(other.changes_of("select 1 + 1")->opaque);
  CHECK(other.overflowed());
}

TEST_CASE("where more leads to each other than is kept every text may do anything") {
  RoutineBook book = followed();
  constexpr std::size_t kNames = 700;
  Rows things, code;
  std::string names = "select ";
  for (std::size_t i = 0; i < kNames; ++i) {
    things.push_back({"1255 " + std::to_string(20'000 + i), "n" + std::to_string(i), "sql", "select 1"});
    names += "n" + std::to_string(i) + "(), ";
  }
  things[0][3] = "reset a.b";
  const bool over = GENERATE(false, true);
  const std::size_t many = over ? RoutineGraph::kStepsMost / kNames + 1 : 100;
  for (std::size_t i = 0; i < many; ++i) code.push_back({things[i][0], names});
  read(book, "4 99", things, {}, {}, {}, code);
  CHECK(book.changes_of("select n99()")->settings == std::vector<std::string>{"a.b"});
  CHECK(book.changes_of("select n99()")->opaque == over);
  CHECK(book.changes_of("select 1 + 1").has_value() == over);
  CHECK(book.overflowed() == over);
}

TEST_CASE("who leads to whom is worked out a piece at a time") {
  RoutineBook book = followed();
  Rows users;
  for (int i = 0; i < 10'000; ++i) users.push_back({"1255 16400", "u" + std::to_string(i), ""});
  book.start({});
  REQUIRE(give(book, {"1 1"}));
  REQUIRE(next(book));
  REQUIRE(give(book, kBodies[0]));
  REQUIRE(next(book));
  REQUIRE(next(book));
  give_users(book, {kBodies[0]}, users);
  REQUIRE(next(book));
  const std::string long_one = "return set_tenant('" + std::string(10'000, 'x') + "');";
  for (int i = 0; i < 100; ++i) REQUIRE(give(book, {"1 " + std::to_string(60'000 + i), long_one}));
  CHECK(book.read_some());
  std::size_t pieces = 1;
  while (book.read_some()) ++pieces;
  CHECK(pieces > 100 * long_one.size() / RoutineBook::kBytesAtOnce + 5);
  CHECK_FALSE(book.next(true));
  CHECK(book.changes_of("select u9999()"));
}

}  // namespace pgweir
