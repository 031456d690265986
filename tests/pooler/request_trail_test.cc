#include "pooler/request_trail.h"

#include <catch2/catch.hpp>
#include <string>

#include "tests/pooler/session_help.h"

namespace pgweir::test {
namespace {

constexpr Duration ms(int count) { return std::chrono::milliseconds(count); }

TEST_CASE("of the requests that were answered the one that took longest stays") {
  RequestTrail trail(ms(7));
  CHECK(trail.empty());
  const struct {
    const char* text;
    int took;
  } requests[] = {{"begin", 1}, {"select 1", 30}, {"select 2", 20}, {"select 3", 30}, {"commit", 2}};
  for (const auto& each : requests) {
    trail.runs(each.text);
    CHECK(trail.current().head == each.text);
    trail.sent();
    CHECK(trail.current().head == each.text);
    trail.answered(1, ms(each.took));
  }
  CHECK(trail.longest().head == "select 1");
  CHECK(trail.current().head == "select 1");
  CHECK(trail.longest_took() == ms(30));
  CHECK(trail.requests() == 5);
  CHECK(trail.waited() == ms(7));
}

TEST_CASE("requests that are sent ahead are told apart, and of a batch its last statement counts") {
  RequestTrail trail({});
  trail.runs("begin");
  trail.runs("select 1");
  trail.sent();
  trail.runs("select 2");
  trail.sent();
  trail.sent();  // of nothing that has a text
  trail.answered(1, ms(5));
  CHECK(trail.longest().head == "select 1");
  trail.answered(2, ms(9));  // the first of them took that long
  CHECK(trail.longest().head == "select 2");
  CHECK(trail.requests() == 3);
}

TEST_CASE("of many requests that are sent ahead some have no text, and none has another's") {
  RequestTrail trail({});
  constexpr std::size_t kSent = RequestTrail::kOpenMost + 3;
  for (std::size_t i = 0; i < kSent; ++i) {
    trail.runs("select " + std::to_string(i));
    trail.sent();
  }
  for (std::size_t i = 0; i < kSent; ++i) {
    trail.answered(1, ms(static_cast<int>(i) + 1));
    CHECK(trail.longest().head ==
          (i < RequestTrail::kOpenMost ? "select " + std::to_string(i) : std::string()));
  }
  trail.runs("select 'next'");
  trail.sent();
  trail.answered(1, ms(100));
  CHECK(trail.longest().head == "select 'next'");
}

TEST_CASE("a transaction that ends in the middle of a request is told with that request") {
  RequestTrail between({});
  between.runs("begin");
  between.sent();
  between.answered(1, ms(1));
  between.cut_off(ms(500));  // while it was idle
  CHECK(between.requests() == 1);
  CHECK(between.longest().head == "begin");

  RequestTrail running({});
  running.runs("begin");
  running.sent();
  running.answered(1, ms(1));
  running.runs("select pg_sleep(9)");
  running.sent();
  running.cut_off(ms(500));
  CHECK(running.requests() == 2);
  CHECK(running.longest().head == "select pg_sleep(9)");
  CHECK(running.longest_took() == ms(500));

  RequestTrail no_sync({});
  no_sync.runs("select 1");
  no_sync.cut_off(ms(3));
  CHECK(no_sync.longest().head == "select 1");
}

TEST_CASE("of a long text its beginning and its end are kept") {
  KeptText text;
  const std::string sql = "select '" + std::string(20'000, 'x') + "' /*end*/";
  text.keep(sql, true);
  CHECK(text.cut);
  CHECK(text.head == sql.substr(0, KeptText::kHeadMax));
  CHECK(text.end() == sql.substr(sql.size() - KeptText::kTailMax));
  text.keep("select 1", true);
  CHECK_FALSE(text.cut);
  CHECK(text.end() == "select 1");
  text.keep("select 'the rest is not here yet", false);
  CHECK(text.cut);
  CHECK(text.end().empty());
}

// What a session tells its trail.
struct Followed : Client {
  explicit Followed(Place& p) : Client(p) {}
  std::string asks(Bytes request, unsigned answers = 1) {
    core.keep_trail(std::make_unique<RequestTrail>(Duration{}));
    says(request);
    granted(place.server);
    core.trail()->answered(answers, ms(1));
    return core.trail()->longest().head;
  }
};

TEST_CASE("a session tells which texts its requests run") {
  const auto asked = [](const std::string& request) {
    Place place;
    Followed client(place);
    return client.asks(request);
  };
  CHECK(asked(query("select 1")) == "select 1");
  CHECK(asked(parse("", "select 2") + bind() + execute() + sync_message()) == "select 2");
  CHECK(asked(parse("s", "select 3") + bind("s") + execute() + sync_message()) == "select 3");
  CHECK(asked(parse("", "begin") + bind() + execute() + parse("", "select 4") + bind() + execute() +
              sync_message()) == "select 4");
  CHECK(asked(parse("s", "select 5") + sync_message()).empty());  // nothing was run
  CHECK(asked(function_call()).empty());
  const std::string long_text = "select '" + std::string(300'000, 'x') + "'";
  CHECK(asked(query(long_text)) == long_text.substr(0, KeptText::kHeadMax));
  CHECK(asked(parse("", long_text) + bind() + execute() + sync_message()) ==
        long_text.substr(0, KeptText::kHeadMax));
}

TEST_CASE("a statement's text is known on every use of its name") {
  Place place;
  Followed client(place);
  CHECK(client.asks(parse("s", "select 1") + bind("s") + execute() + sync_message()) == "select 1");
  CHECK(client.hears(parsed() + rows_of_batch()) == "release");
  CHECK(client.asks(bind("s") + execute() + sync_message()) == "select 1");
}

}  // namespace
}  // namespace pgweir::test
