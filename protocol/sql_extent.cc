#include "protocol/sql_extent.h"

#include <algorithm>
#include <cstddef>
#include <vector>

#include "protocol/sql.h"
#include "protocol/sql_lexer.h"

namespace pgweir::protocol {

namespace {

bool same_word(Bytes word, Bytes lower) {
  return std::equal(word.begin(), word.end(), lower.begin(), lower.end(), [](char a, char b) {
    return (a >= 'A' && a <= 'Z' ? static_cast<char>(a | 0x20) : a) == b;
  });
}

// Counts tokens, and an upper bound for the depth of the tree. A path down the tree passes the tokens of one
// item of a list, those around the list, and the deepest list beside them. UNION takes down what stands
// before it, commas and all.
class Extent {
 public:
  std::optional<std::size_t> tokens_of(Bytes sql) {
    SqlLexer lexer(sql);
    std::size_t tokens = 0;
    for (SqlToken token = lexer.next(); token.kind != SqlToken::Kind::End; token = lexer.next()) {
      if (++tokens > kSqlTokensMax) return {};
      const char symbol = token.kind == SqlToken::Kind::Symbol ? sql[token.at] : '\0';
      if (symbol == ';') {
        levels_.assign(1, Level{});
        depth_ = 0;
      } else if (symbol == ',') {
        levels_.back().item = 0;
      } else if (symbol == '(' || symbol == '[') {
        grow(1);
        levels_.push_back(Level{});
      } else if ((symbol == ')' || symbol == ']') && levels_.size() > 1) {
        const std::size_t inside = levels_.back().depth();
        depth_ -= inside;
        levels_.pop_back();
        grow(inside);
      } else if (token.kind == SqlToken::Kind::Word && is_set_operation(lexer.text_of(token))) {
        levels_.back().joins += 2;
        depth_ += 2;
      } else {
        grow(1);
      }
      if (depth_ > kSqlNestingMax) return {};
    }
    return tokens;
  }

 private:
  struct Level {
    std::size_t item = 0;     // tokens since the last comma
    std::size_t deepest = 0;  // ... of the longest item
    std::size_t joins = 0;
    std::size_t depth() const { return deepest + joins; }
  };

  static bool is_set_operation(Bytes word) {
    if (word.size() != 5 && word.size() != 6 && word.size() != 9) return false;
    return same_word(word, "union") || same_word(word, "except") || same_word(word, "intersect");
  }
  void grow(std::size_t tokens) {
    Level& level = levels_.back();
    level.item += tokens;
    if (level.item <= level.deepest) return;
    depth_ += level.item - level.deepest;
    level.deepest = level.item;
  }

  std::vector<Level> levels_ = std::vector<Level>(1);
  std::size_t depth_ = 0;  // of all levels
};

}  // namespace

std::optional<std::size_t> tokens_for_parser(Bytes sql) {
  if (sql.size() > kSqlTextMax || sql.find('\0') != Bytes::npos) return {};
  return Extent().tokens_of(sql);
}

}  // namespace pgweir::protocol
