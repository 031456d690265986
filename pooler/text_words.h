// pooler/text_words.h - which words a SQL text has that may concern what its client holds: in any case, and
// anywhere, in strings and comments, too. Found by one pass over the text when the first of them is asked
// for.
#pragma once

#include <cstdint>

#include "pooler/base/bytes.h"

namespace pgweir {

enum class TextWord : std::uint8_t {
  Abort,
  Alter,
  Close,
  Commit,
  Constraints,
  Create,
  Currval,
  Deallocate,
  Drop,
  End,
  Execute,
  Fetch,
  Lastval,
  Move,
  Prepare,
  Rollback,
  TempBuffers,
};

class TextWords {
 public:
  // `sql`: always the same text.
  bool has(TextWord word, Bytes sql) {
    if (bits_ == 0) look(sql);
    return (bits_ >> static_cast<unsigned>(word) & 1U) != 0;
  }
  // That text was looked through.
  bool known() const { return bits_ != 0; }

 private:
  void look(Bytes sql);
  std::uint32_t bits_ = 0;  // one of each word, and one that says that they are known
};

}  // namespace pgweir
