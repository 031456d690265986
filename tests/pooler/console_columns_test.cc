#include "pooler/console_columns.h"

#include <catch2/catch.hpp>

#include "tests/support/messages.h"

using namespace pgweir;
using namespace pgweir::console;

namespace {

using Values = std::vector<std::optional<std::string>>;

const std::vector<protocol::Column> kColumns{
    {"name", protocol::kTextOid}, {"four", protocol::kInt4Oid}, {"eight", protocol::kInt8Oid}};

std::string table(const std::vector<Values>& rows) {
  std::string out;
  protocol::put_notice(out, "look");
  std::string all;
  protocol::put_row_description(all, kColumns);
  for (const Values& row : rows) protocol::put_data_row(all, row);
  return all + out;
}

std::string expected(const std::vector<protocol::Column>& columns, const std::vector<Values>& rows) {
  std::string all;
  protocol::put_row_description(all, columns);
  for (const Values& row : rows) protocol::put_data_row(all, row);
  protocol::put_notice(all, "look");
  return all;
}

const std::string kLong(70'000, 'x');

}  // namespace

TEST_CASE("an answer keeps the columns that are asked for, in that order, and what is no row") {
  const std::string all = table({{"a", "1", "2"}, {std::nullopt, "", "3"}, {kLong, std::nullopt, "-4"}});
  CHECK(selected(all, {}) == all);
  CHECK(selected(all, {0}) == expected({kColumns[0]}, {{"a"}, {std::nullopt}, {kLong}}));
  CHECK(selected(all, {2, 1}) ==
        expected({kColumns[2], kColumns[1]}, {{"2", "1"}, {"3", ""}, {"-4", std::nullopt}}));
  CHECK(selected(all, {1, 1}) ==
        expected({kColumns[1], kColumns[1]}, {{"1", "1"}, {"", ""}, {std::nullopt, std::nullopt}}));
  CHECK(selected(table({}), {1}) == expected({kColumns[1]}, {}));
  CHECK(selected({}, {1}).empty());
}

TEST_CASE("columns are read back as they were put") {
  const auto read = columns_of(table({{"a", "1", "2"}}));
  REQUIRE(read.size() == 3);
  CHECK(read[2].name == "eight");
  CHECK(read[2].type_oid == protocol::kInt8Oid);
  CHECK(columns_of("").empty());
  CHECK(columns_of(test::ready()).empty());
}
