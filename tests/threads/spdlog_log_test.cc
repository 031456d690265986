#include "pooler/spdlog_log.h"

#include <fcntl.h>
#include <unistd.h>

#include <csignal>

#include <catch2/catch.hpp>
#include <chrono>
#include <thread>
#include <vector>

using namespace pgweir;

namespace {

constexpr std::int64_t kTime = 1'767'225'600'007;  // 2026-01-01 00:00:00.007 UTC

class Pipe {
 public:
  Pipe() { REQUIRE(::pipe(ends_) == 0); }
  ~Pipe() {
    ::close(ends_[0]);
    ::close(ends_[1]);
  }
  int in() const { return ends_[1]; }
  // All that is in it now.
  std::string read() {
    ::fcntl(ends_[0], F_SETFL, O_NONBLOCK);
    std::string all;
    char part[65536];
    for (ssize_t size; (size = ::read(ends_[0], part, sizeof part)) > 0;)
      all.append(part, static_cast<std::size_t>(size));
    return all;
  }

 private:
  int ends_[2];
};

std::size_t count(std::string_view text, std::string_view what) {
  std::size_t n = 0;
  for (std::size_t at = 0; (at = text.find(what, at)) != std::string_view::npos; at += what.size()) ++n;
  return n;
}

}  // namespace

TEST_CASE("a line for collectors is one JSON object in ECS") {
  CHECK(format_json(LogLevel::Info, kTime, 42, "server lost", {{"tenant", "acme"}, {"server", 7}}) ==
        R"({"@timestamp":"2026-01-01T00:00:00.007Z","log.level":"info","message":"server lost",)"
        R"("ecs.version":"8.11.0","event.action":"server lost","service.name":"pgweir","process.pid":42,)"
        R"("pgweir":{"tenant":"acme","server":7}})");
  CHECK_THAT(format_json(LogLevel::Error, kTime, 1, "x", {}), Catch::EndsWith(R"("process.pid":1})"));
  CHECK_THAT(format_json(LogLevel::Info, kTime, 1, "x", {{"tenant", "acme"}}, R"(,"service.node.name":"r1")"),
             Catch::EndsWith(R"("process.pid":1,"service.node.name":"r1","pgweir":{"tenant":"acme"}})"));
}

TEST_CASE("a field of ECS stands beside the others, and is left out where it is empty") {
  CHECK_THAT(
      format_json(LogLevel::Info, kTime, 1, "x", {{"tenant", "acme"}, {"trace.id", "0af7"}, {"span.id", ""}}),
      Catch::EndsWith(R"("process.pid":1,"trace.id":"0af7","pgweir":{"tenant":"acme"}})"));
  CHECK_THAT(format_json(LogLevel::Info, kTime, 1, "x", {{"span.id", ""}}),
             Catch::EndsWith(R"("process.pid":1})"));
  CHECK(format_text(LogLevel::Info, kTime, "x", {{"trace.id", "0af7"}, {"span.id", ""}, {"tenant", ""}}) ==
        R"(2026-01-01 00:00:00.007 INFO  x trace.id=0af7 tenant="")");
}

TEST_CASE("what is ours to the last letter is not masked") {
  const char* const digits = "4242424242424242";  // as of a card
  CHECK_THAT(format_text(LogLevel::Info, kTime, "x", {LogField::ours("f", digits), {"g", digits}}),
             Catch::EndsWith("f=4242424242424242 g=***4242"));
}

TEST_CASE("whatever stands in a field, the line stays one line of valid JSON") {
  const struct {
    std::string value;
    const char* json;
  } cases[] = {
      {"a\"b\\c/", R"("a\"b\\c/")"},
      {"two\nlines\r\t", R"("two\nlines\u000d\u0009")"},
      {std::string("\0\x1b[31m\x7f", 7), R"("\u0000\u001b[31m\u007f")"},
      {"\u00fc\u20ac\U0001f600", "\"\u00fc\u20ac\U0001f600\""},
      {"\xff"
       "a\xc3",
       R"("\ufffda\ufffd")"},
      {"\xc0\xaf", R"("\ufffd\ufffd")"},                      // longer than need be
      {"\xed\xa0\x80", R"("\ufffd\ufffd\ufffd")"},            // a surrogate
      {"\xf4\x90\x80\x80", R"("\ufffd\ufffd\ufffd\ufffd")"},  // beyond Unicode
      {"\xe2\x82", R"("\ufffd\ufffd")"},                      // cut off
      {"", R"("")"},
  };
  for (const auto& one : cases)
    CHECK_THAT(format_json(LogLevel::Warn, kTime, 1, "e", {{"f", one.value}}),
               Catch::EndsWith(std::string("\"pgweir\":{\"f\":") + one.json + "}}"));
  const std::string huge = format_json(LogLevel::Info, kTime, 1, "e", {{"f", std::string(1 << 20, 'x')}});
  CHECK(huge.size() < 5000);
}

TEST_CASE("a line for people") {
  CHECK(format_text(LogLevel::Warn, kTime, "server lost",
                    {{"tenant", "acme"}, {"server", 7}, {"error", "no route"}, {"none", ""}}) ==
        R"(2026-01-01 00:00:00.007 WARN  server lost tenant=acme server=7 error="no route" none="")");
  // Nobody else's text can begin a new line or speak to the terminal.
  CHECK_THAT(format_text(LogLevel::Info, kTime, "e", {{"user", "a\n2026 ERROR\x1b[2J"}}),
             Catch::EndsWith(R"(user="a\n2026 ERROR\u001b[2J")"));
}

TEST_CASE("what a client put into a field is masked in both styles") {
  const char* const told = "no user \"bob@example.com\" with password=hush";
  for (const std::string& line : {format_text(LogLevel::Info, kTime, "e", {{"reason", told}}),
                                  format_json(LogLevel::Info, kTime, 1, "e", {{"reason", told}})}) {
    CHECK_THAT(line, Catch::Contains("***@example.com") && Catch::Contains("password=***"));
    CHECK_THAT(line, !Catch::Contains("bob") && !Catch::Contains("hush"));
  }
  // Numbers are ours.
  CHECK_THAT(format_json(LogLevel::Info, kTime, 1, "e", {{"bytes", 4111111111111111}}),
             Catch::Contains("4111111111111111"));
}

TEST_CASE("only what is at or above the level is written, and the level can change") {
  Pipe pipe;
  {
    SpdlogLog log(pipe.in(), LogStyle::Text, LogLevel::Info);
    log.debug("one");
    log.info("two");
    log.set_level(LogLevel::Error);
    log.warn("three");
    log.error("four", {{"n", 1}});
    log.set_level(LogLevel::Debug);
    log.debug("five");
  }
  const std::string text = pipe.read();
  CHECK(count(text, "\n") == 3);
  CHECK_THAT(text, Catch::Contains("INFO  two\n") && Catch::Contains("ERROR four n=1\n") &&
                       Catch::EndsWith("DEBUG five\n"));
  CHECK(count(text, "\x1b") == 0);  // no colours in a pipe
}

TEST_CASE("many threads' lines stay whole") {
  Pipe pipe;
  {
    SpdlogLog log(pipe.in(), LogStyle::Json, LogLevel::Info);
    std::vector<std::thread> threads;
    for (int t = 0; t < 4; ++t)
      threads.emplace_back([&log, t] {
        for (int i = 0; i < 50; ++i) log.error("line", {{"thread", t}, {"i", i}});  // all let through
      });
    for (std::thread& thread : threads) thread.join();
  }
  const std::string text = pipe.read();
  CHECK(count(text, "\n") == 200);
  CHECK(count(text, "}}\n{\"@timestamp\"") == 199);
}

TEST_CASE("nobody waits for a log that nobody reads; what is lost is counted and told") {
  Pipe pipe;  // whoever waited for it would wait for ever
  std::string seen;
  {
    SpdlogLog log(pipe.in(), LogStyle::Text, LogLevel::Info);
    const std::string big(1000, 'x');
    for (std::size_t i = 0; i < SpdlogLog::kQueueMax + 1000; ++i) log.error("line", {{"x", big}});
    CHECK(log.lost() > 0);
    seen = pipe.read();  // the reader is back
    for (int i = 0; i < 200 && count(seen, "log lines lost count=") == 0; ++i) {
      std::this_thread::sleep_for(std::chrono::milliseconds(10));
      seen += pipe.read();
    }
    CHECK(count(seen, "log lines lost count=") >= 1);
    for (std::size_t i = 0; i < SpdlogLog::kQueueMax; ++i) log.error("line", {{"x", big}});
  }
  // The pipe is full again, and the log has given up on it.
  CHECK(count(pipe.read(), "line") > 0);
}

TEST_CASE("a line that repeats itself is told once with its count, and errors are all written") {
  Pipe pipe;
  {
    SpdlogLog log(pipe.in(), LogStyle::Json, LogLevel::Info);
    for (std::uint64_t i = 0; i < Repeats::kMost + 7; ++i) log.warn("refused", {{"tenant", "acme"}});
    for (std::uint64_t i = 0; i < Repeats::kMost + 7; ++i) log.error("broken", {{"tenant", "acme"}});
  }
  const std::string text = pipe.read();
  CHECK(count(text, R"("message":"refused")") == Repeats::kMost + 1);
  CHECK(count(text, R"("pgweir":{"tenant":"acme","repeated":7}})") == 1);
  CHECK(count(text, R"("message":"broken")") == Repeats::kMost + 7);
}

TEST_CASE("a reader that has gone does no harm") {
  int ends[2];
  REQUIRE(::pipe(ends) == 0);
  ::close(ends[0]);
  ::signal(SIGPIPE, SIG_IGN);
  {
    SpdlogLog log(ends[1], LogStyle::Text, LogLevel::Info);
    for (int i = 0; i < 100; ++i) log.info("line");
  }
  ::close(ends[1]);
}
