#include "protocol/sql.h"

#include <iterator>
#include <optional>
#include <string>
#include <utility>
#include <vector>

#include "protocol/sql_extent.h"
#include "protocol/sql_finder.h"
#include "protocol/sql_functions.h"
#include "protocol/sql_lexer.h"
#include "protocol/sql_nested.h"
#include "protocol/sql_places.h"
#include "protocol/sql_tree.h"
#include "protocol/sql_values.h"
#include "protocol/sql_words.h"

namespace pgweir::protocol {

namespace {

using Kind = SqlStatement::Kind;

// The code of a DO. What no server can be asked for is told by the words, whatever its language.
void add_code(Bytes code, unsigned depth, ParserLeft& left, SqlChanges& changes) {
  const SqlChanges body = read_nested_body(code, BodyLanguage::PlPgsql, depth, left);
  changes.add(body);
  // Settings that are named at run time are the transaction's only.
  if (body.any_setting) become_opaque(changes);
  SqlLexer lexer(code);
  for (SqlToken token = lexer.next(); token.kind != SqlToken::Kind::End; token = lexer.next())
    if (token.kind == SqlToken::Kind::Word || token.kind == SqlToken::Kind::Quoted) {
      const std::string word = lower(lexer.text_of(token));
      const Bytes name = Bytes(word).substr(token.kind == SqlToken::Kind::Quoted ? 1 : 0);
      if (sql_function(name) == SqlFunction::Unfollowable || name.starts_with("setseed\"") || name == "load")
        changes.unfollowable = true;
    }
}

void read_set(const PgQuery__VariableSetStmt& statement, SqlStatement& out) {
  std::string name = lower(text_of(statement.name));
  switch (statement.kind) {
    case PG_QUERY__VARIABLE_SET_KIND__VAR_SET_MULTI:
      out.kind = Kind::SetTransaction;
      if (name != "session characteristics") return;
      out.kind = Kind::Set;
      for (std::size_t i = 0; i < statement.n_args; ++i)
        if (const auto* option = PGWEIR_AS(DefElem, def_elem, inside(statement.args[i]))) {
          const std::string setting = "default_" + lower(text_of(option->defname));
          if (out.name.empty()) out.name = setting;
          add_setting(out.changes, setting);
        }
      return;
    case PG_QUERY__VARIABLE_SET_KIND__VAR_RESET_ALL:
      out.kind = Kind::ResetAll;
      out.changes.any_setting = true;
      return;
    case PG_QUERY__VARIABLE_SET_KIND__VAR_RESET:
      out.kind = Kind::Reset;
      add_setting(out.changes, name);
      break;
    case PG_QUERY__VARIABLE_SET_KIND__VAR_SET_VALUE:
    case PG_QUERY__VARIABLE_SET_KIND__VAR_SET_DEFAULT:
    case PG_QUERY__VARIABLE_SET_KIND__VAR_SET_CURRENT:
      out.kind = statement.is_local ? Kind::SetLocal : Kind::Set;
      statement.is_local ? add_local_setting(out.changes, name) : add_setting(out.changes, name);
      if (name == "seed") out.changes.unfollowable = true;
      if (name == "search_path")
        for (std::size_t i = 0; i < statement.n_args; ++i)
          add_path(literal_in(statement.args[i]), out.changes);
      break;
    default: out.changes.any_setting = true; return;
  }
  out.name = std::move(name);
}

Kind kind_of(PgQuery__TransactionStmtKind kind) {
  switch (kind) {
    case PG_QUERY__TRANSACTION_STMT_KIND__TRANS_STMT_BEGIN:
    case PG_QUERY__TRANSACTION_STMT_KIND__TRANS_STMT_START: return Kind::Begin;
    case PG_QUERY__TRANSACTION_STMT_KIND__TRANS_STMT_COMMIT: return Kind::Commit;
    case PG_QUERY__TRANSACTION_STMT_KIND__TRANS_STMT_ROLLBACK: return Kind::Rollback;
    case PG_QUERY__TRANSACTION_STMT_KIND__TRANS_STMT_SAVEPOINT: return Kind::Savepoint;
    case PG_QUERY__TRANSACTION_STMT_KIND__TRANS_STMT_RELEASE: return Kind::Release;
    case PG_QUERY__TRANSACTION_STMT_KIND__TRANS_STMT_ROLLBACK_TO: return Kind::RollbackTo;
    case PG_QUERY__TRANSACTION_STMT_KIND__TRANS_STMT_PREPARE: return Kind::PrepareTransaction;
    case PG_QUERY__TRANSACTION_STMT_KIND__TRANS_STMT_COMMIT_PREPARED: return Kind::CommitPrepared;
    case PG_QUERY__TRANSACTION_STMT_KIND__TRANS_STMT_ROLLBACK_PREPARED: return Kind::RollbackPrepared;
    default: return Kind::Other;
  }
}

void read_transaction(const PgQuery__TransactionStmt& statement, SqlStatement& out) {
  out.kind = kind_of(statement.kind);
  out.name = text_of(statement.savepoint_name);
  if (out.name.empty()) out.name = text_of(statement.gid);
  // ON COMMIT DROP; and a COMMIT that fails rolls back.
  if (out.kind == Kind::Commit || out.kind == Kind::Rollback || out.kind == Kind::RollbackTo ||
      out.kind == Kind::PrepareTransaction)
    out.changes.temp_gone = out.changes.cursor_gone = true;
}

void read_discard(PgQuery__DiscardMode mode, SqlStatement& out) {
  switch (mode) {
    case PG_QUERY__DISCARD_MODE__DISCARD_PLANS: out.kind = Kind::DiscardPlans; return;
    case PG_QUERY__DISCARD_MODE__DISCARD_SEQUENCES: out.kind = Kind::DiscardSequences; return;
    case PG_QUERY__DISCARD_MODE__DISCARD_TEMP:
      out.kind = Kind::DiscardTemp;
      out.changes.temp_gone = true;
      return;
    default:
      out.kind = Kind::DiscardAll;
      out.changes.any_setting = out.changes.temp_gone = out.changes.cursor_gone = true;
      out.changes.advisory_unlock = out.changes.unlistens = true;
  }
}

void read_do(const PgQuery__DoStmt& statement, unsigned depth, ParserLeft& left, SqlChanges& changes) {
  Bytes code;
  BodyLanguage language = BodyLanguage::PlPgsql;
  for (std::size_t i = 0; i < statement.n_args; ++i) {
    const auto* argument = PGWEIR_AS(DefElem, def_elem, inside(statement.args[i]));
    const PgQuery__String* const value = argument == nullptr ? nullptr : string_in(argument->arg);
    if (value == nullptr) {
      become_opaque(changes);
    } else if (text_of(argument->defname) == "as") {
      code = text_of(value->sval);
    } else if (const std::string name = lower(text_of(value->sval)); name != "plpgsql") {
      become_opaque(changes);
      language = body_language(name);
    }
  }
  if (language == BodyLanguage::PlPgsql)
    add_code(code, depth, left, changes);
  else if (read_nested_body(code, language, depth, left).unfollowable)
    changes.unfollowable = true;
}

// The value of an option; null: it is not among them.
const PgQuery__Node* option(PgQuery__Node* const* options, std::size_t count, Bytes name) {
  for (std::size_t i = 0; i < count; ++i) {
    const auto* const each = PGWEIR_AS(DefElem, def_elem, inside(options[i]));
    if (each != nullptr && text_of(each->defname) == name) return each->arg;
  }
  return nullptr;
}

void take_database(Bytes name, SqlStatement& out) {
  out.kind = Kind::EmptyDatabase;
  out.name = name;
}

void read_statement(Bytes sql, const PgQuery__Node* node, unsigned depth, ParserLeft& left, SqlStatement& out,
                    SqlReach& reach) {
  const ProtobufCMessage* const message = inside(node);
  if (message == nullptr) return;
  switch (node->node_case) {
    case PG_QUERY__NODE__NODE_VARIABLE_SET_STMT:
      read_set(*node->variable_set_stmt, out);
      add_assignments(
          *node->variable_set_stmt,
          node->variable_set_stmt->is_local ? SqlAssignment::Where::SetLocal : SqlAssignment::Where::Set,
          reach);
      return;
    case PG_QUERY__NODE__NODE_TRANSACTION_STMT: read_transaction(*node->transaction_stmt, out); return;
    case PG_QUERY__NODE__NODE_DISCARD_STMT:
      read_discard(node->discard_stmt->target, out);
      if (out.kind == Kind::DiscardAll) reach.taken_back.emplace_back();
      return;
    case PG_QUERY__NODE__NODE_CONSTRAINTS_SET_STMT: out.kind = Kind::SetTransaction; return;
    case PG_QUERY__NODE__NODE_DO_STMT:
      out.kind = Kind::Do;
      read_do(*node->do_stmt, depth, left, out.changes);
      reach.code = true;
      return;
    case PG_QUERY__NODE__NODE_PREPARE_STMT:
      out.kind = Kind::Prepare;
      out.name = text_of(node->prepare_stmt->name);
      break;
    case PG_QUERY__NODE__NODE_EXECUTE_STMT:
      out.kind = Kind::Execute;
      out.name = text_of(node->execute_stmt->name);
      break;
    case PG_QUERY__NODE__NODE_DEALLOCATE_STMT:
      out.name = text_of(node->deallocate_stmt->name);
      out.kind = out.name.empty() ? Kind::DeallocateAll : Kind::Deallocate;
      break;
    case PG_QUERY__NODE__NODE_EXPLAIN_STMT:
    case PG_QUERY__NODE__NODE_CREATE_TABLE_AS_STMT: {
      const PgQuery__Node* query = node;
      while (query != nullptr && query->node_case == PG_QUERY__NODE__NODE_EXPLAIN_STMT)
        query = query->explain_stmt->query;
      const bool as = query != nullptr && query->node_case == PG_QUERY__NODE__NODE_CREATE_TABLE_AS_STMT;
      const PgQuery__Node* const from = as ? query->create_table_as_stmt->query : query;
      if (from != nullptr && from->node_case == PG_QUERY__NODE__NODE_EXECUTE_STMT) {
        out.kind = Kind::Execute;
        out.name = text_of(from->execute_stmt->name);
      }
      break;
    }
    case PG_QUERY__NODE__NODE_LISTEN_STMT:
      out.kind = Kind::Listen;
      out.name = text_of(node->listen_stmt->conditionname);
      out.changes.listens = true;
      return;
    case PG_QUERY__NODE__NODE_UNLISTEN_STMT:
      out.name = text_of(node->unlisten_stmt->conditionname);
      out.kind = out.name.empty() ? Kind::UnlistenAll : Kind::Unlisten;
      out.changes.unlistens = true;
      return;
    case PG_QUERY__NODE__NODE_NOTIFY_STMT:
      out.kind = Kind::Notify;
      out.name = text_of(node->notify_stmt->conditionname);
      return;
    case PG_QUERY__NODE__NODE_DECLARE_CURSOR_STMT: {
      constexpr int kHold = 0x0020;  // CURSOR_OPT_HOLD
      const bool hold = (node->declare_cursor_stmt->options & kHold) != 0;
      out.kind = hold ? Kind::DeclareHold : Kind::Declare;
      out.name = text_of(node->declare_cursor_stmt->portalname);
      out.changes.hold_cursor = hold;
      break;
    }
    case PG_QUERY__NODE__NODE_CLOSE_PORTAL_STMT:
      out.name = text_of(node->close_portal_stmt->portalname);
      out.kind = out.name.empty() ? Kind::CloseAll : Kind::Close;
      out.changes.cursor_gone = true;
      return;
    case PG_QUERY__NODE__NODE_LOAD_STMT:
      out.kind = Kind::Load;
      out.changes.unfollowable = true;
      return;
    case PG_QUERY__NODE__NODE_CALL_STMT:
      out.kind = Kind::Call;
      become_opaque(out.changes);
      break;
    case PG_QUERY__NODE__NODE_DROPDB_STMT: take_database(text_of(node->dropdb_stmt->dbname), out); return;
    case PG_QUERY__NODE__NODE_CREATEDB_STMT: {
      const auto& made = *node->createdb_stmt;
      const PgQuery__String* const from = string_in(option(made.options, made.n_options, "template"));
      take_database(from == nullptr ? Bytes("template1") : text_of(from->sval), out);
      return;
    }
    case PG_QUERY__NODE__NODE_ALTER_DATABASE_STMT: {
      const auto& altered = *node->alter_database_stmt;
      if (option(altered.options, altered.n_options, "tablespace") != nullptr)
        take_database(text_of(altered.dbname), out);
      return;
    }
    case PG_QUERY__NODE__NODE_RENAME_STMT:
      if (node->rename_stmt->rename_type == PG_QUERY__OBJECT_TYPE__OBJECT_DATABASE)
        take_database(text_of(node->rename_stmt->subname), out);
      break;
    case PG_QUERY__NODE__NODE_DROP_STMT:
    case PG_QUERY__NODE__NODE_DROP_OWNED_STMT:
      out.kind = Kind::Drop;
      out.changes.temp_gone = true;
      break;
    default: break;
  }
  const bool names_temp = find_names(sql, *message, out.changes, reach);
  if (out.kind == Kind::Other && names_temp) out.kind = Kind::CreateTemp;
}

void place_statement(const SqlStatement& statement, SqlAssignment& made) {
  made.at = statement.at;
  made.size = statement.size;
}

void move_by(std::size_t offset, SqlEffects& effects) {
  const auto by = static_cast<std::uint32_t>(offset);
  for (SqlStatement& each : effects.statements) {
    each.at += by;
    if (each.name_size > 0) each.name_at += by;
    if (each.kind == Kind::Prepare) each.body_at += by;
  }
  for (auto* list : {&effects.reach.assignments, &effects.reach.taken_back})
    for (SqlAssignment& each : *list)
      if (each.size > 0) each.at += by;
  for (SqlPiece& each : effects.reach.unsure) each.at += by;
}

template <typename T>
void append(std::vector<T>& to, std::vector<T>& from) {
  to.insert(to.end(), std::make_move_iterator(from.begin()), std::make_move_iterator(from.end()));
}

void add_effects(SqlEffects& to, SqlEffects from) {
  append(to.statements, from.statements);
  to.changes.add(from.changes);
  append(to.reach.assignments, from.reach.assignments);
  append(to.reach.taken_back, from.reach.taken_back);
  append(to.reach.unsure, from.reach.unsure);
  to.reach.hidden_setting |= from.reach.hidden_setting;
  to.reach.hidden_sql |= from.reach.hidden_sql;
  to.reach.other_session |= from.reach.other_session;
  to.reach.code |= from.reach.code;
}

SqlEffects unknown() {
  SqlEffects effects;
  effects.read = SqlEffects::Read::Unknown;
  effects.changes = SqlChanges::anything();
  return effects;
}

// Of a text that fits the parser.
SqlEffects parse(Bytes text, unsigned depth, ParserLeft& left) {
  const SqlTree tree{std::string(text)};
  if (tree.root() == nullptr) return unknown();
  SqlEffects effects;
  effects.read = SqlEffects::Read::Parsed;
  for (std::size_t i = 0; i < tree.root()->n_stmts; ++i) {
    const PgQuery__RawStmt& raw = *tree.root()->stmts[i];
    SqlStatement& statement = effects.statements.emplace_back();
    find_place(text, raw, statement);
    const std::size_t before = effects.reach.assignments.size();
    const std::size_t taken_before = effects.reach.taken_back.size();
    read_statement(text, raw.stmt, depth, left, statement, effects.reach);
    if (statement.kind == Kind::Set || statement.kind == Kind::SetLocal)
      for (std::size_t each = before; each < effects.reach.assignments.size(); ++each)
        if (SqlAssignment& made = effects.reach.assignments[each]; made.value)
          place_statement(statement, made);
    for (std::size_t each = taken_before; each < effects.reach.taken_back.size(); ++each)
      if (SqlAssignment& taken = effects.reach.taken_back[each];
          taken.where != SqlAssignment::Where::Argument)
        place_statement(statement, taken);
    const bool has_place = statement.kind == Kind::Prepare || statement.kind == Kind::Execute ||
                           statement.kind == Kind::Deallocate;
    if (has_place && !find_name(text, statement)) return unknown();
    if (statement.kind == Kind::Prepare) find_body(text, statement);
    if (statement.kind != Kind::Prepare) effects.changes.add(statement.changes);
  }
  return effects;
}

SqlEffects read(Bytes text, ParserLeft& left) { return fits_parser(text) ? parse(text, 0, left) : unknown(); }

// Statements of a text, cut at its semicolons. Where one has semicolons inside (CREATE FUNCTION ... BEGIN
// ATOMIC) the parser refuses its pieces, which have the word CREATE.
SqlEffects read_pieces(Bytes text, ParserLeft& left) {
  if (text.size() > kSqlTextMax || text.find('\0') != Bytes::npos) return unknown();
  SqlEffects effects;
  effects.read = SqlEffects::Read::Parsed;
  effects.in_part = true;
  std::size_t begin = 0, first = Bytes::npos, end = 0, tokens = 0, pieces = 0, parsed = 0;
  bool after_other = false;
  for (SqlLexer lexer(text);;) {
    const SqlToken token = lexer.next();
    if (token.kind != SqlToken::Kind::End && lexer.text_of(token) != ";") {
      if (first == Bytes::npos) first = token.at;
      end = token.at + token.size;
      ++tokens;
      continue;
    }
    if (first != Bytes::npos) {
      ++pieces;
      const Bytes piece = text.substr(begin, end - begin);
      if (sql_words(piece) != SqlWords::Harmless) {
        if ((parsed += tokens) > kSqlTokensMax || (pieces == 1 && token.kind == SqlToken::Kind::End))
          return unknown();
        SqlEffects of_piece = read(piece, left);
        if (of_piece.read == SqlEffects::Read::Unknown) return of_piece;
        move_by(begin, of_piece);
        add_effects(effects, std::move(of_piece));
        after_other = false;
      } else {
        if (!after_other) effects.statements.emplace_back().at = static_cast<std::uint32_t>(first);
        SqlStatement& other = effects.statements.back();
        other.size = static_cast<std::uint32_t>(end) - other.at;
        after_other = true;
      }
    }
    if (token.kind == SqlToken::Kind::End) break;
    begin = token.at + token.size;
    first = Bytes::npos;
    tokens = 0;
  }
  return parsed > 0 ? std::move(effects) : unknown();
}

}  // namespace

SqlEffects read_sql(Bytes text) {
  ParserLeft left;
  SqlEffects effects = read(text, left);
  return effects.read == SqlEffects::Read::Unknown ? read_pieces(text, left) : effects;
}

SqlEffects read_nested_sql(Bytes text, unsigned depth, ParserLeft& left) {
  const std::optional<std::size_t> tokens = tokens_for_parser(text);
  if (!tokens || *tokens + ParserLeft::kPiece > left.tokens) return unknown();
  left.tokens -= *tokens + ParserLeft::kPiece;
  return parse(text, depth, left);
}

}  // namespace pgweir::protocol
