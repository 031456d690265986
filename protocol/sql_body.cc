#include "protocol/sql_body.h"

#include <algorithm>
#include <array>
#include <string>
#include <vector>

#include "protocol/script_state.h"
#include "protocol/sql_dynamic.h"
#include "protocol/sql_lexer.h"
#include "protocol/sql_nested.h"
#include "protocol/sql_words.h"

namespace pgweir::protocol {

namespace {

using Kind = SqlToken::Kind;

// As of a DO: what no server can be asked for is told by its own word only.
SqlChanges opaque() {
  SqlChanges changes = SqlChanges::anything();
  changes.unfollowable = false;
  return changes;
}

// What `words` says of code that is not read.
SqlChanges unread(SqlWords words) {
  SqlChanges changes = words == SqlWords::State ? opaque() : SqlChanges{};
  changes.any_local = words != SqlWords::Harmless;
  return changes;
}

SqlChanges changes_of(const SqlEffects& effects, SqlWords words = SqlWords::State) {
  if (effects.read == SqlEffects::Read::Unknown) return unread(words);
  SqlChanges changes = effects.changes;
  // Which prepared statements are there is not followed, nor what EXECUTE will do with one.
  using Statement = SqlStatement::Kind;
  constexpr std::array<Statement, 5> kPrepared = {Statement::Prepare, Statement::Execute,
                                                  Statement::Deallocate, Statement::DeallocateAll,
                                                  Statement::DiscardAll};
  for (const SqlStatement& each : effects.statements)
    if (std::find(kPrepared.begin(), kPrepared.end(), each.kind) != kPrepared.end()) changes.add(opaque());
  return changes;
}

// Makes functions, or what makes them run: nobody can know what these do as long as the code runs.
bool makes_code(Bytes sql) {
  constexpr std::array<Bytes, 10> kWhat = {"function", "procedure", "routine",  "trigger",   "view",
                                           "rule",     "aggregate", "operator", "extension", "policy"};
  SqlLexer lexer(sql);
  bool begins = true, makes = false;
  for (SqlToken token = lexer.next(); token.kind != Kind::End; token = lexer.next()) {
    const Bytes text = lexer.text_of(token);
    if (token.kind == Kind::Word) {
      makes = begins ? equals(text, "create") || equals(text, "alter") : makes;
      if (makes && std::any_of(kWhat.begin(), kWhat.end(), [text](Bytes each) { return equals(text, each); }))
        return true;
    } else if (text != "(" && text != ";") {
      continue;
    } else {
      makes = false;
    }
    begins = text == ";";
  }
  return false;
}

// PL/pgSQL, piece by piece: a piece is a statement, or the part of one that ends with a word behind which
// another statement may begin. Most are SQL; of the others only the calls in them are.
class Pieces {
 public:
  Pieces(Bytes code, unsigned depth, ParserLeft& left)
      : code_(code), begin_(code.find_first_not_of(" \t\r\n")), depth_(depth), left_(left) {}

  SqlChanges read() {
    SqlLexer lexer(code_);
    for (SqlToken token = lexer.next(); token.kind != Kind::End; token = lexer.next()) {
      const Bytes text = lexer.text_of(token);
      if ((token.kind == Kind::Symbol && text[0] == ';') ||
          (token.kind == Kind::Word && opens_statements(text)))
        end_piece();
      else
        piece_.push_back(token);
    }
    end_piece();
    return std::move(changes_);
  }

 private:
  // A piece has one EXECUTE, but for names that are spelled like it.
  static constexpr unsigned kExecutes = 4;

  static bool opens_statements(Bytes word) {
    constexpr std::array<Bytes, 6> kWords = {"begin", "then", "else", "loop", "atomic", "declare"};
    return std::any_of(kWords.begin(), kWords.end(), [word](Bytes each) { return equals(word, each); });
  }

  Bytes text_of(const SqlToken& token) const { return code_.substr(token.at, token.size); }

  void end_piece() {
    if (!piece_.empty()) read_piece();
    piece_.clear();
  }

  void read_piece() {
    const std::size_t at = piece_.front().at;
    std::string piece(code_.substr(at, piece_.back().at + piece_.back().size - at));
    // What begins with CREATE is the definition of a function, as Postgres tells it.
    const bool definition = begin_ == at;
    if (!definition && makes_code(piece)) return changes_.add(opaque());
    if (body_words(piece) == SqlWords::Harmless) return;
    if (!executes_by_grammar()) {
      unsigned executes = 0;
      for (std::size_t i = 0; i < piece_.size(); ++i)
        if (piece_[i].kind == Kind::Word && equals(text_of(piece_[i]), "execute")) {
          if (++executes > kExecutes) return changes_.add(opaque());
          execute(read_dynamic(code_, piece_, i + 1));
          std::fill_n(piece.begin() + static_cast<std::ptrdiff_t>(piece_[i].at - at), piece_[i].size, ' ');
        }
      if (body_words(piece) == SqlWords::Harmless) return;
    }
    const bool performs = equals(text_of(piece_.front()), "perform");
    const SqlEffects whole =
        read_nested_sql(performs ? "SELECT" + piece.substr(piece_.front().size) : piece, depth_, left_);
    if (whole.read == SqlEffects::Read::Parsed) return changes_.add(changes_of(whole));
    find_closing();
    for (std::size_t i = 0; i + 1 < piece_.size(); ++i) i = read_call(i, at, piece);
    // With the calls blanked out nothing must be left to explain.
    changes_.add(unread(body_words(piece)));
  }

  // Statements of SQL's that hold the word: GRANT EXECUTE, CREATE TRIGGER ... EXECUTE FUNCTION.
  bool executes_by_grammar() const {
    constexpr std::array<Bytes, 5> kWords = {"create", "alter", "grant", "revoke", "explain"};
    const Bytes first = text_of(piece_.front());
    return std::any_of(kWords.begin(), kWords.end(), [first](Bytes each) { return equals(first, each); });
  }

  void execute(const DynamicSql& sql) {
    if (sql.whole) {
      if (makes_code(sql.text)) changes_.add(opaque());
      if (const SqlWords words = sql_words(sql.text); words != SqlWords::Harmless)
        changes_.add(changes_of(read_nested_sql(sql.text, depth_, left_), words));
      return;
    }
    changes_.add(opaque());
    const SqlEffects effects = read_nested_sql(sql.text, depth_, left_);
    if (effects.read == SqlEffects::Read::Unknown) return;
    SqlChanges named;
    for (const std::string& setting : effects.changes.settings)
      if (setting.find(kMadeLater) == std::string::npos) named.settings.push_back(setting);
    changes_.add(named);
  }

  // Where token `i` is the name in a call that changes something: reads it and blanks it out. Answers the
  // last token that was seen.
  std::size_t read_call(std::size_t i, std::size_t base, std::string& piece) {
    const bool named = piece_[i].kind == Kind::Word || piece_[i].kind == Kind::Quoted;
    if (!named || !is_symbol(i + 1, '(')) return i;
    // A word that opens statements says nothing inside of one.
    if (!may_leave_state("x " + std::string(text_of(piece_[i])))) return i;
    const std::size_t end = closing_[i + 1];
    if (end == 0) return i;
    const std::size_t from = piece_[i].at;
    const std::size_t size = piece_[end].at + piece_[end].size - from;
    const SqlEffects call = read_nested_sql("SELECT " + std::string(code_.substr(from, size)), depth_, left_);
    changes_.add(changes_of(call));
    std::fill_n(piece.begin() + static_cast<std::ptrdiff_t>(from - base), size, ' ');
    return end;
  }

  // Of each parenthesis that opens, the place of the one that closes it; 0: none does.
  void find_closing() {
    closing_.assign(piece_.size(), 0);
    std::vector<std::size_t> open;
    for (std::size_t i = 0; i < piece_.size(); ++i) {
      if (is_symbol(i, '(')) open.push_back(i);
      if (!is_symbol(i, ')') || open.empty()) continue;
      closing_[open.back()] = i;
      open.pop_back();
    }
  }

  bool is_symbol(std::size_t i, char symbol) const {
    return i < piece_.size() && piece_[i].kind == Kind::Symbol && code_[piece_[i].at] == symbol;
  }

  Bytes code_;
  std::size_t begin_;
  unsigned depth_;
  ParserLeft& left_;
  std::vector<SqlToken> piece_;
  std::vector<std::size_t> closing_;
  SqlChanges changes_;
};

std::string in_lower_case(Bytes code) {
  std::string lower(code);
  for (char& c : lower)
    if (c >= 'A' && c <= 'Z') c = static_cast<char>(c | 0x20);
  return lower;
}

// How the other languages call the server: plpy.execute, spi_exec, plv8.execute, plan ...
bool may_run_sql(Bytes lower_code) {
  constexpr std::array<Bytes, 4> kTraces = {"exec", "spi", "prepare", "plan"};
  return std::any_of(kTraces.begin(), kTraces.end(),
                     [=](Bytes each) { return lower_code.find(each) != Bytes::npos; });
}

// What code in another language may do. All of it is looked through, however much it is: no server can be
// asked for what the interpreter keeps.
SqlChanges read_script(Bytes code, BodyLanguage language) {
  SqlChanges changes = may_run_sql(in_lower_case(code)) ? opaque() : SqlChanges{};
  changes.unfollowable = may_keep_something(code, language);
  return changes;
}

}  // namespace

BodyLanguage body_language(Bytes name) {
  if (name == "sql") return BodyLanguage::Sql;
  if (name == "plpgsql") return BodyLanguage::PlPgsql;
  if (name.starts_with("plperl")) return BodyLanguage::Perl;
  if (name.starts_with("plpython")) return BodyLanguage::Python;
  if (name.starts_with("pltcl")) return BodyLanguage::Tcl;
  return name == "plv8" || name == "pljs" ? BodyLanguage::JavaScript : BodyLanguage::Other;
}

SqlChanges read_nested_body(Bytes code, BodyLanguage language, unsigned depth, ParserLeft& left) {
  if (is_script(language)) return read_script(code, language);
  if (depth >= kBodiesDeep || code.size() > kSqlBodyMax) return unread(body_words(code));
  switch (language) {
    case BodyLanguage::Sql: {
      if (makes_code(code)) return opaque();
      const SqlWords words = sql_words(code);
      if (words == SqlWords::Harmless) return {};
      return changes_of(read_nested_sql(code, depth + 1, left), words);
    }
    case BodyLanguage::PlPgsql: return Pieces(code, depth + 1, left).read();
    case BodyLanguage::Perl:
    case BodyLanguage::Python:
    case BodyLanguage::Tcl:
    case BodyLanguage::JavaScript:
    case BodyLanguage::Other: break;
  }
  return opaque();
}

SqlChanges read_body(Bytes code, BodyLanguage language) {
  std::size_t tokens = ParserLeft::kMost;
  return read_body(code, language, tokens);
}

SqlChanges read_body(Bytes code, BodyLanguage language, std::size_t& tokens_left) {
  ParserLeft left{std::min(tokens_left, ParserLeft::kMost)};
  tokens_left -= left.tokens;
  SqlChanges changes = read_nested_body(code, language, 0, left);
  tokens_left += left.tokens;
  return changes;
}

}  // namespace pgweir::protocol
