// What one step of a session does is bounded by the texts that it looks through, not by how often a client
// uses them.
#include <catch2/catch.hpp>
#include <string>

#include "tests/pooler/session_help.h"

namespace pgweir::test {
namespace {

std::string times(std::size_t count, const std::string& text) {
  std::string all;
  for (std::size_t i = 0; i < count; ++i) all += text;
  return all;
}

// Which is more than the cache keeps, and leaves nothing.
std::string long_text(Bytes name, std::size_t size = 100'000) {
  return "select set_config('app." + std::string(name) + "', '1', true) where 1 in (" + times(300, "1,") +
         "1) /*" + std::string(size, 'x') + "*/";
}

// Goes on until there is no more; answers how many steps that took.
std::size_t steps_of(Client& client, std::string step, std::size_t work_most) {
  std::size_t steps = 1;
  for (; step == "more"; ++steps) {
    const std::uint64_t before = client.place.texts.work();
    const std::size_t held = client.held.size();
    step = client.again();
    CHECK(client.place.texts.work() - before <= work_most);
    CHECK(client.held.size() < held);
  }
  CHECK(step.empty());
  CHECK(client.held.empty());
  return steps;
}

}  // namespace

TEST_CASE("what a long named statement does is read when it is prepared, and by no use of it") {
  constexpr std::size_t kSize = 10'000;  // the cache keeps no such text
  Place place;
  Client client(place);
  for (const char* const name : {"a", "b"})
    client.runs(parse(name, long_text(name, kSize)) + sync_message(), parsed() + ready(), place.server);
  // Two of them, since the last one is known anyway.
  const auto use = bind("a") + execute() + bind("b") + execute();
  client.runs(use + sync_message(), bound() + done() + bound() + done() + ready(), place.server);
  const auto read = place.texts.counts().parsed;
  const std::uint64_t before = place.texts.work();
  CHECK(client.says(times(200, use) + sync_message()) == "ask");
  CHECK(client.granted(place.server).empty());
  CHECK(place.texts.counts().parsed == read);
  CHECK(place.texts.work() - before <= 801 * (256 + 64));
  CHECK(client.hears(times(400, bound() + done()) + ready()) == "release");
}

TEST_CASE("a statement whose reading finds no room in its share of the book is read all the same") {
  std::string text = "select 1";
  for (int i = 0; i < 200; ++i) text += ", set_config('app.a" + std::to_string(i) + "', '1', true)";
  Place place(text.size() + 3 + StatementBook::kStatementCost + StatementBook::kNameCost + 100);
  Client client(place);
  client.runs(parse("a", text) + sync_message(), parsed() + ready(), place.server);
  CHECK(client.core.statement_count() == 1);
  for (int i = 0; i < 3; ++i)
    client.runs(bind("a") + execute() + sync_message(), bound() + done() + ready(), place.server);
  CHECK(place.texts.counts().parsed == 1);
  CHECK(place.books.statements.bytes() <= place.books.statements.bytes_max());
}

TEST_CASE("a pipeline over a long text goes on step by step") {
  Place place;
  Client client(place);
  const std::string text = long_text("a");
  const std::string request = parse("", text) + times(100, bind() + execute()) + sync_message();
  CHECK(client.says(request) == "ask");
  const std::string first = client.granted(place.server);
  CHECK(first == "more");
  // A step ends behind the message that was too much.
  const std::size_t steps = steps_of(client, first, SessionCore::kWorkAtOnce + 6 * text.size());
  CHECK(steps > 5);
  CHECK(client.hears(parsed() + times(100, bound() + done()) + ready()) == "release");
}

TEST_CASE("simple queries that take long to read go on step by step") {
  Place place;
  Client client(place);
  std::string request, answers;
  for (int i = 0; i < 20; ++i) {
    request += query("select set_config('app.a', '1', true) where 1 in (" + times(3900, "1,") + "1) -- " +
                     std::to_string(i));
    answers += done() + ready();
  }
  CHECK(client.says(request) == "ask");
  const std::string first = client.granted(place.server);
  CHECK(first == "more");
  // The next one waits for another step.
  CHECK(steps_of(client, first, 2 * SessionCore::kWorkAtOnce) == 10);
  CHECK(client.hears(answers) == "release");
}

TEST_CASE("what an ordinary pipeline asks for is one step") {
  Place place;
  Client client(place);
  client.runs(parse("a", "select 1") + sync_message(), parsed() + ready(), place.server);
  CHECK(client.says(times(1000, bind("a") + execute()) + sync_message()) == "ask");
  CHECK(client.granted(place.server).empty());
  CHECK(client.held.empty());
  CHECK(client.hears(times(1000, bound() + done()) + ready()) == "release");
}

TEST_CASE("more settings than are kept, set back in one transaction, count as all") {
  Suspicion suspicion;
  for (std::size_t i = 0; i < kSettingsMost; ++i) suspicion.add_set_back("a.b" + std::to_string(i));
  CHECK(suspicion.may_set_back("a.b7"));
  CHECK_FALSE(suspicion.may_set_back("a.c"));
  suspicion.add_set_back("a.b7");
  CHECK_FALSE(suspicion.all_set_back);
  for (int i = 0; i < 3; ++i) suspicion.add_set_back("a.c" + std::to_string(i));
  CHECK(suspicion.set_back.size() == kSettingsMost);
  CHECK(suspicion.may_set_back("a.d"));
}

}  // namespace pgweir::test
