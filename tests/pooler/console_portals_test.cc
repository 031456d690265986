#include "pooler/console_portals.h"

#include <catch2/catch.hpp>
#include <utility>
#include <vector>

#include "pooler/console_columns.h"
#include "protocol/messages.h"
#include "tests/support/messages.h"

using namespace pgweir;
using namespace pgweir::console;

namespace {

std::string u16(unsigned value) { return {static_cast<char>(value >> 8), static_cast<char>(value)}; }
std::string u32(std::uint32_t value) { return u16(value >> 16) + u16(value & 0xffff); }
std::string c_string(const std::string& text) { return text + '\0'; }

std::string shape(const Request& request) {
  std::string out;
  if (request.command->words == "SHOW POOLS")
    protocol::put_row_description(out, {{"name", protocol::kTextOid},
                                        {"four", protocol::kInt4Oid},
                                        {"eight", protocol::kInt8Oid},
                                        {"number", protocol::kNumericOid}});
  return selected(std::move(out), request.places);
}

std::string rows(const Request& request, int count) {
  std::string out = shape({.command = request.command});
  for (int i = 0; i < count; ++i) protocol::put_data_row(out, {"a", "-2", "4294967297", "120030000"});
  return selected(std::move(out), request.places);
}

struct Client {
  // Types of the answers, or the error.
  std::string told(Expected<void> good) {
    std::string all;
    for (const std::string& one : test::split(std::exchange(out, {}))) all += one[0];
    return good ? all : good.error().sqlstate + std::string(" ") + good.error().message;
  }
  std::string parse(const std::string& text, const std::string& name = "") {
    return told(portals.parse(c_string(name) + c_string(text) + u16(0), out));
  }
  std::string bind(const std::vector<unsigned>& formats = {}, const std::string& statement = "",
                   const std::string& portal = "", unsigned parameters = 0) {
    std::string body = c_string(portal) + c_string(statement) + u16(0) + u16(parameters);
    for (unsigned i = 0; i < parameters; ++i) body += u32(0xffffffff);
    body += u16(static_cast<unsigned>(formats.size()));
    for (const unsigned one : formats) body += u16(one);
    return told(portals.bind(body, out));
  }
  std::string describe(char what, const std::string& name = "") {
    return told(portals.describe(what + c_string(name), out));
  }
  // As if the request had as many rows.
  std::string execute(int count = 1, std::uint32_t most = 0, const std::string& portal = "") {
    auto request = portals.execute(c_string(portal) + u32(most), out);
    if (!request) return told(tl::unexpected(request.error()));
    if (*request) portals.ran(rows(**request, count), out);
    last = out;
    return told({});
  }
  Portals portals{shape};
  std::string out, last;
};

}  // namespace

TEST_CASE("a command is prepared, described, bound and executed") {
  Client client;
  CHECK(client.parse("show pools;") == "1");
  CHECK(client.describe('S') == "tT");
  CHECK(client.bind() == "2");
  CHECK(client.describe('P') == "T");
  CHECK(client.execute(3) == "DDDC");
  CHECK(client.execute(3) == "C");  // all of it has been told
  CHECK(client.parse("reload") == "1");
  CHECK(client.describe('S') == "tn");
  CHECK(client.bind() == "2");
  CHECK(client.describe('P') == "n");
  CHECK(client.execute(0) == "C");
  CHECK(client.parse("") == "1");
  CHECK(client.bind({1}) == "2");
  CHECK(client.execute() == "I");
}

TEST_CASE("a portal gives out as many rows as it is asked for") {
  Client client;
  client.parse("show pools", "s");
  CHECK(client.bind({}, "s", "p") == "2");
  CHECK(client.execute(5, 2, "p") == "DDs");
  CHECK(client.execute(5, 2, "p") == "DDs");
  CHECK(client.execute(5, 2, "p") == "DC");
  CHECK(client.bind({}, "s", "p") == "42P03 cursor \"p\" already exists");
  client.portals.sync(true);
  CHECK(client.execute(5, 0, "p") == "C");
  client.portals.sync(false);
  CHECK(client.execute(5, 0, "p") == "34000 portal \"p\" does not exist");
}

TEST_CASE("values come in the formats that were asked for") {
  Client client;
  client.parse("show pools");
  client.bind({0, 1, 1, 1});
  client.execute();
  const std::string row = u16(4) + u32(1) + "a" + u32(4) + "\xff\xff\xff\xfe" + u32(8) + u32(1) + u32(1) +
                          u32(12) + u16(2) + u16(2) + u16(0) + u16(0) + u16(1) + u16(2003);
  CHECK(test::split(client.last)[0].substr(5) == row);
  client.bind({1});
  client.execute();
  CHECK(test::split(client.last)[0].substr(5) == row);
  CHECK(client.bind({0, 1}) == "08P01 bind message has 2 result formats but query has 4 columns");
  CHECK(client.bind({2}) == "22023 unsupported format code: 2");
}

TEST_CASE("a portal has the columns that its text selects, in their formats") {
  Client client;
  CHECK(client.parse("show pools eight, name", "s") == "1");
  CHECK(client.bind({1, 0, 0}, "s") == "08P01 bind message has 3 result formats but query has 2 columns");
  CHECK(client.bind({1, 0}, "s") == "2");
  client.portals.describe(std::string("P") + '\0', client.out);
  const auto columns = columns_of(std::exchange(client.out, {}));
  REQUIRE(columns.size() == 2);
  CHECK(columns[0].name == "eight");
  CHECK(columns[0].type_oid == protocol::kInt8Oid);
  CHECK(columns[1].name == "name");
  CHECK(client.execute() == "DC");
  CHECK(test::split(client.last)[0].substr(5) == u16(2) + u32(8) + u32(1) + u32(1) + u32(1) + "a");
  CHECK(client.parse("show pools nine") == "42703 SHOW POOLS has no column 'nine'");
}

TEST_CASE("what cannot be is refused with Postgres's own codes") {
  Client client;
  CHECK(client.parse("show nonsense").substr(0, 5) == "42601");
  CHECK(client.parse("show pools; reload") ==
        "42601 cannot insert multiple commands into a prepared statement");
  CHECK(client.bind({}, "s") == "26000 prepared statement \"s\" does not exist");
  CHECK(client.describe('S', "s") == "26000 prepared statement \"s\" does not exist");
  CHECK(client.describe('P', "p") == "34000 portal \"p\" does not exist");
  CHECK(client.describe('X') == "08P01 malformed Describe message");
  CHECK(client.parse("reload", "s") == "1");
  CHECK(client.parse("reload", "s") == "42P05 prepared statement \"s\" already exists");
  CHECK(client.bind({}, "s", "", 1).substr(0, 5) == "08P01");
  CHECK(client.told(client.portals.close(c_string("Ss"), client.out)) == "3");
  CHECK(client.told(client.portals.close(c_string("Ss"), client.out)) == "3");
  CHECK(client.parse("reload", "s") == "1");
  for (const char* body : {"", "a", "a\0b", "\0\0\0"}) {
    CHECK_FALSE(client.portals.parse(body, client.out));
    CHECK_FALSE(client.portals.bind(body, client.out));
    CHECK_FALSE(client.portals.execute(body, client.out));
  }
}

TEST_CASE("a connection keeps a bounded number of statements and portals") {
  Client client;
  for (std::size_t i = 0; i < Portals::kMost; ++i) {
    CHECK(client.parse("reload", "s" + std::to_string(i)) == "1");
    CHECK(client.bind({}, "s0", "p" + std::to_string(i)) == "2");
  }
  CHECK(client.parse("reload", "more").substr(0, 5) == "54000");
  CHECK(client.bind({}, "s0", "more").substr(0, 5) == "54000");
  CHECK(client.parse("reload") == "1");
  CHECK(client.bind() == "2");
}
