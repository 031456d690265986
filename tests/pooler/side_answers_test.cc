#include "pooler/side_answers.h"

#include <catch2/catch.hpp>

#include "protocol/messages.h"
#include "tests/support/messages.h"

namespace pgweir {
namespace {

using namespace test;

// "2 rows: a,- | b,c", or "! message".
std::string told(const SideAnswer& answer) {
  if (!answer) return "! " + answer.error().message;
  std::string text;
  for (const SideRow& row : *answer) {
    if (!text.empty()) text += " | ";
    for (std::size_t i = 0; i < row.size(); ++i) text += (i == 0 ? "" : ",") + row[i].value_or("-");
  }
  return text;
}

std::string two(std::optional<std::string> a, std::optional<std::string> b) {
  std::string out;
  protocol::put_data_row(out, {std::move(a), std::move(b)});
  return out;
}

std::string fatal(const char* text) {
  std::string out;
  protocol::put_error(out, "FATAL", Error{sqlstate::kAdminShutdown, text, {}, {}});
  return out;
}

TEST_CASE("answers to our own questions are read whole, however they come") {
  const std::string bytes = row_description() + two("a", {}) + notice() + two("b", "") + done() + ready() +
                            error("42501", "no") + ready() + row_description() + done() + ready();
  for (const std::size_t part : {bytes.size(), std::size_t{7}, std::size_t{1}}) {
    SideAnswers answers;
    std::vector<std::string> all;
    for (std::size_t at = 0; at < bytes.size(); at += part)
      for (const SideAnswer& answer : answers.read(Bytes(bytes).substr(at, part)))
        all.push_back(told(answer));
    CHECK(all == std::vector<std::string>{"a,- | b,", "! no", ""});
    CHECK_FALSE(answers.broken());
  }
}

TEST_CASE("a server that does not answer properly is not heard any more") {
  const struct {
    std::string bytes;
    const char* why;
  } cases[] = {
      {fatal("bye"), "bye"},
      {message('D', std::string("\0\1\0\0\0\x09z", 7)), "the server sent no proper answer"},
      {message('D', std::string("\0\0z", 3)), "the server sent no proper answer"},
      {message('K', "12345678"), "the server sent no proper answer"},
      {message('G', std::string(3, '\0')), "the server sent no proper answer"},
      {std::string("D\x7f\0\0\0", 5), "the server sent no proper answer"},
      {std::string("D\0\0\0\1", 5), "the server sent no proper answer"},
  };
  for (const auto& one : cases) {
    CAPTURE(one.bytes);
    SideAnswers answers;
    CHECK(answers.read(one.bytes).empty());
    REQUIRE(answers.broken());
    CHECK(answers.broken()->message == one.why);
    CHECK(answers.read(rows()).empty());
  }
}

TEST_CASE("an answer without end is cut off") {
  SideAnswers answers;
  const std::string one = two(std::string(1000, 'x'), {});
  std::size_t sent = 0;
  while (!answers.broken() && sent < 2 * SideAnswers::kAnswerMost) {
    answers.read(one);
    sent += one.size();
  }
  CHECK(answers.broken());
  CHECK(sent <= SideAnswers::kAnswerMost + one.size());
}

}  // namespace
}  // namespace pgweir
