#include "protocol/sql_dynamic.h"

#include <algorithm>
#include <optional>
#include <utility>

namespace pgweir::protocol {

namespace {

using Kind = SqlToken::Kind;

// What a literal says; nothing where that takes more than leaving out its quotes.
std::optional<std::string> literal(Bytes text) {
  if (text[0] == 'E' || text[0] == 'e') {
    if (text.find('\\') != Bytes::npos) return {};
    text.remove_prefix(1);
  }
  if (text[0] == '$') {
    const std::size_t tag = text.find('$', 1) + 1;
    if (tag == 0 || text.size() < 2 * tag || !text.ends_with(text.substr(0, tag))) return {};
    return std::string(text.substr(tag, text.size() - 2 * tag));
  }
  if (text.size() < 2 || text[0] != '\'' || text.back() != '\'') return {};
  std::string said;
  for (std::size_t i = 1; i + 1 < text.size(); ++i) {
    said.push_back(text[i]);
    if (text[i] == '\'') ++i;  // the first of two
  }
  return said;
}

std::string quoted(Bytes text, char quote) {
  std::string out(1, quote);
  for (const char c : text) out.append(c == quote ? 2 : 1, c);
  return out + quote;
}

class Expression {
 public:
  Expression(Bytes code, const std::vector<SqlToken>& tokens, std::size_t first)
      : code_(code), tokens_(tokens) {
    if (first < tokens.size()) most_ = kBeyond + tokens.back().at + tokens.back().size - tokens[first].at;
    std::size_t end = first;
    for (int depth = 0; end < tokens.size(); ++end) {
      depth += is_symbol(end, '(') ? 1 : is_symbol(end, ')') ? -1 : 0;
      if (depth == 0 && (is_word(end, "into") || is_word(end, "using"))) break;
    }
    if (end == first + 1)
      if (auto all = literal_at(first)) {
        sql_ = {std::move(*all), true};
        return;
      }
    concatenate(first, end);
    if (sql_.text.size() > most_) sql_.text.resize(most_);
  }

  DynamicSql take() { return std::move(sql_); }

 private:
  Bytes text_at(std::size_t i) const { return code_.substr(tokens_[i].at, tokens_[i].size); }
  bool is_symbol(std::size_t i, char symbol) const {
    return i < tokens_.size() && tokens_[i].kind == Kind::Symbol && code_[tokens_[i].at] == symbol;
  }
  bool is_word(std::size_t i, Bytes lower_word) const {
    return i < tokens_.size() && tokens_[i].kind == Kind::Word && equals(text_at(i), lower_word);
  }
  std::optional<std::string> literal_at(std::size_t i) const {
    if (tokens_[i].kind != Kind::String) return {};
    return literal(text_at(i));
  }

  // Calls `take` with the first and the end of each part between two separators.
  template <typename Take>
  void split(std::size_t from, std::size_t end, char separator, std::size_t separator_size, Take take) const {
    std::size_t begun = from;
    int depth = 0;
    for (std::size_t i = from; i < end; ++i) {
      depth += is_symbol(i, '(') ? 1 : is_symbol(i, ')') ? -1 : 0;
      const bool here = is_symbol(i, separator) && (separator_size == 1 || is_symbol(i + 1, separator));
      if (depth != 0 || !here) continue;
      take(begun, i);
      begun = i + separator_size;
      i = begun - 1;
    }
    take(begun, end);
  }

  void concatenate(std::size_t from, std::size_t end) {
    split(from, end, '|', 2, [this](std::size_t first, std::size_t last) {
      const auto said = last == first + 1 ? literal_at(first) : std::nullopt;
      if (said)
        sql_.text.append(*said);
      else if (!format(first, last))
        sql_.text.append(kMadeLater);
    });
  }

  // format('template', ...), with the schema or without.
  bool format(std::size_t from, std::size_t end) {
    if (is_word(from, "pg_catalog") && is_symbol(from + 1, '.')) from += 2;
    if (!is_word(from, "format") || !is_symbol(from + 1, '(') || end < from + 4 || !is_symbol(end - 1, ')'))
      return false;
    std::vector<std::optional<std::string>> arguments;
    split(from + 2, end - 1, ',', 1, [&](std::size_t first, std::size_t last) {
      arguments.push_back(last == first + 1 ? literal_at(first) : std::nullopt);
    });
    if (!arguments[0]) return false;
    fill(*arguments[0], arguments);
    return true;
  }

  // %[position$][-][width]type; widths change no name of a setting that is worth reading.
  void fill(Bytes form, const std::vector<std::optional<std::string>>& arguments) {
    std::size_t next = 1;
    for (std::size_t i = 0; i < form.size(); ++i) {
      if (sql_.text.size() > most_) return;
      if (form[i] != '%') {
        sql_.text.push_back(form[i]);
        continue;
      }
      std::size_t number = 0;
      for (++i; i < form.size() && ((form[i] >= '0' && form[i] <= '9') || form[i] == '-' || form[i] == '*');
           ++i)
        if (form[i] >= '0' && form[i] <= '9' && number <= arguments.size())
          number = number * 10 + static_cast<std::size_t>(form[i] - '0');
      const bool placed = i < form.size() && form[i] == '$';
      if (placed) ++i;
      if (i >= form.size()) return;
      if (form[i] == '%') {
        sql_.text.push_back('%');
        continue;
      }
      const std::size_t which = placed ? number : next;
      next = which + 1;
      const bool known = which < arguments.size() && arguments[which];
      const Bytes argument = known ? Bytes(*arguments[which]) : kMadeLater;
      switch (form[i]) {
        case 'I': sql_.text.append(known ? quoted(argument, '"') : std::string(argument)); break;
        case 'L': sql_.text.append(quoted(argument, '\'')); break;
        default: sql_.text.append(argument);
      }
    }
  }

  // A template may name an argument often: its text is cut where it is that much longer than the code.
  static constexpr std::size_t kBeyond = 4096;

  Bytes code_;
  const std::vector<SqlToken>& tokens_;
  std::size_t most_ = kBeyond;
  DynamicSql sql_;
};

}  // namespace

DynamicSql read_dynamic(Bytes code, const std::vector<SqlToken>& tokens, std::size_t first) {
  return Expression(code, tokens, first).take();
}

bool equals(Bytes word, Bytes lower_word) {
  return word.size() == lower_word.size() &&
         std::equal(word.begin(), word.end(), lower_word.begin(), [](char a, char b) {
           return (a >= 'A' && a <= 'Z' ? static_cast<char>(a | 0x20) : a) == b;
         });
}

}  // namespace pgweir::protocol
