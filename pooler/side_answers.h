// pooler/side_answers.h - what Postgres answers to simple queries of our own, one after the other: rows of
// texts, or its error.
//
// Pure, and the server is not believed (R3): what is no answer, or is longer than kAnswerMost, is an error.
#pragma once

#include <cstddef>
#include <optional>
#include <string>
#include <vector>

#include "pooler/base/bytes.h"
#include "pooler/base/error.h"

namespace pgweir {

using SideRow = std::vector<std::optional<std::string>>;
using SideAnswer = Expected<std::vector<SideRow>>;

class SideAnswers {
 public:
  static constexpr std::size_t kAnswerMost = 1 << 20;  // bytes of one

  // What came; answers those that are complete now. After an error that ends the connection, broken() says
  // so.
  std::vector<SideAnswer> read(Bytes in);
  // Why the server is not to be heard any more.
  const std::optional<Error>& broken() const { return broken_; }

 private:
  bool message(char type, Bytes body, std::vector<SideAnswer>& complete);

  std::string held_;  // the beginning of a message
  std::size_t size_ = 0;
  SideAnswer answer_;  // that is coming
  std::optional<Error> broken_;
};

}  // namespace pgweir
