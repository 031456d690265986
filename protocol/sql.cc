#include "protocol/sql.h"

#include <algorithm>
#include <array>
#include <cstdlib>
#include <optional>
#include <utility>

#include "protocol/sql_extent.h"
#include "protocol/sql_functions.h"
#include "protocol/sql_lexer.h"
#include "protocol/sql_tree.h"
#include "protocol/sql_words.h"

namespace pgweir::protocol {

namespace {

using Kind = SqlStatement::Kind;

constexpr std::size_t kNameMax = 63;  // NAMEDATALEN - 1

Bytes text_of(const char* string) { return string == nullptr ? Bytes() : Bytes(string); }

std::string lower(Bytes text) {
  std::string result(text);
  for (char& c : result)
    if (c >= 'A' && c <= 'Z') c = static_cast<char>(c | 0x20);
  return result;
}

template <typename Message>
const Message* as(const ProtobufCMessage* message, const ProtobufCMessageDescriptor& descriptor) {
  return message != nullptr && message->descriptor == &descriptor ? reinterpret_cast<const Message*>(message)
                                                                  : nullptr;
}
#define PGWEIR_AS(Type, name, message) as<PgQuery__##Type>(message, pg_query__##name##__descriptor)

const PgQuery__String* string_in(const PgQuery__Node* node) {
  return PGWEIR_AS(String, string, inside(node));
}

// ---------------------------------------------------------------- settings

std::string setting_name(Bytes spelled) {
  std::string name = lower(spelled);
  if (name == "sort_mem") name = "work_mem";
  if (name == "vacuum_mem") name = "maintenance_work_mem";
  return name;
}

void set(SqlChanges& changes, Bytes spelled) {
  std::string name = setting_name(spelled);
  const bool authorization = name == "session_authorization";
  if (name == "seed") changes.unfollowable = true;
  const auto place = std::lower_bound(changes.settings.begin(), changes.settings.end(), name);
  if (place == changes.settings.end() || *place != name) changes.settings.insert(place, std::move(name));
  if (authorization) set(changes, "role");  // it goes back to none
}

bool is_temp_schema(Bytes name) { return lower(name.substr(0, 7)) == "pg_temp"; }

// ---------------------------------------------------------------- literals

struct Literal {
  Bytes text;
  bool is_true = false;
};

// A constant that means what it says: a plain string or boolean, or one cast to text or boolean.
std::optional<Literal> literal_in(const PgQuery__Node* node) {
  const ProtobufCMessage* message = inside(node);
  if (const auto* cast = PGWEIR_AS(TypeCast, type_cast, message)) {
    const PgQuery__TypeName* const type = cast->type_name;
    if (type == nullptr || type->n_names == 0 || type->n_typmods > 0 || type->n_array_bounds > 0) return {};
    const PgQuery__String* const last = string_in(type->names[type->n_names - 1]);
    const Bytes to = last == nullptr ? Bytes() : text_of(last->sval);
    if (to != "text" && to != "varchar" && to != "bool") return {};
    message = inside(cast->arg);
  }
  const auto* constant = PGWEIR_AS(AConst, a__const, message);
  if (constant == nullptr) return {};
  if (constant->val_case == PG_QUERY__A__CONST__VAL_SVAL) {
    const Bytes text = text_of(constant->sval->sval);
    return Literal{text, text == "t" || text == "true"};
  }
  if (constant->val_case == PG_QUERY__A__CONST__VAL_BOOLVAL)
    return Literal{Bytes(), constant->boolval->boolval != 0};
  return {};
}

// With pg_temp in front of the path, every CREATE makes a temporary object.
void add_path(const std::optional<Literal>& schemas, SqlChanges& changes) {
  if (!schemas) {
    changes.temp_path = true;
  } else if (lower(schemas->text).find("pg_temp") != std::string::npos) {
    changes.temp = true;
  }
}

bool is_string(const PgQuery__Node* node) {
  const std::optional<Literal> literal = literal_in(node);
  return literal && literal->text.data() != nullptr;
}

const PgQuery__AConst* constant_in(const PgQuery__Node* node) {
  const ProtobufCMessage* message = inside(node);
  if (const auto* cast = PGWEIR_AS(TypeCast, type_cast, message)) message = inside(cast->arg);
  return PGWEIR_AS(AConst, a__const, message);
}

bool is_null(const PgQuery__Node* node) {
  const PgQuery__AConst* const constant = constant_in(node);
  return constant != nullptr && constant->isnull;
}

// ---------------------------------------------------------------- values of SET

// Postgres writes the items of these as names, and leaves those of others as they are.
bool is_list_of_names(Bytes setting) { return setting == "search_path" || setting == "temp_tablespaces"; }

std::string as_name(Bytes text) {
  const auto plain = [](char c) { return (c >= 'a' && c <= 'z') || c == '_'; };
  const auto digit = [](char c) { return c >= '0' && c <= '9'; };
  const bool is_plain = !text.empty() && plain(text[0]) &&
                        std::all_of(text.begin(), text.end(), [&](char c) { return plain(c) || digit(c); });
  if (is_plain) return std::string(text);
  std::string quoted = "\"";
  for (const char c : text) quoted.append(c == '"' ? 2 : 1, c);
  return quoted + '"';
}

std::optional<std::string> item_of(const PgQuery__Node* node, Bytes setting) {
  const auto* constant = PGWEIR_AS(AConst, a__const, inside(node));
  if (constant == nullptr) return {};
  switch (constant->val_case) {
    case PG_QUERY__A__CONST__VAL_IVAL: return std::to_string(constant->ival->ival);
    case PG_QUERY__A__CONST__VAL_FVAL: return std::string(text_of(constant->fval->fval));
    case PG_QUERY__A__CONST__VAL_SVAL: {
      const Bytes text = text_of(constant->sval->sval);
      return is_list_of_names(setting) ? as_name(text) : std::string(text);
    }
    default: return {};
  }
}

std::optional<std::string> value_of(const PgQuery__VariableSetStmt& statement, Bytes setting) {
  std::optional<std::string> all;
  for (std::size_t i = 0; i < statement.n_args; ++i) {
    const std::optional<std::string> item = item_of(statement.args[i], setting);
    if (!item) return {};
    all = all ? *all + ", " + *item : *item;
  }
  return all;
}

// What the statement gives a value to. Not of RESET, nor of a name that is taken from the session as it is.
void add_assignments(const PgQuery__VariableSetStmt& statement, SqlAssignment::Where where, SqlReach& reach) {
  if (statement.kind == PG_QUERY__VARIABLE_SET_KIND__VAR_SET_MULTI) {
    if (lower(text_of(statement.name)) != "session characteristics") return;
    for (std::size_t i = 0; i < statement.n_args; ++i)
      if (const auto* option = PGWEIR_AS(DefElem, def_elem, inside(statement.args[i])))
        reach.assignments.push_back({where, "default_" + lower(text_of(option->defname)), {}});
    return;
  }
  if (statement.kind != PG_QUERY__VARIABLE_SET_KIND__VAR_SET_VALUE) return;
  const std::string name = setting_name(text_of(statement.name));
  reach.assignments.push_back({where, name, value_of(statement, name)});
  if (name == "session_authorization") reach.assignments.push_back({where, "role", {}});
}

// ---------------------------------------------------------------- what stands anywhere in a statement

void become_opaque(SqlChanges& changes) {
  const bool unfollowable = changes.unfollowable;
  changes.add(SqlChanges::anything());
  changes.unfollowable = unfollowable;
}

// The code of a DO, in a language of which only the words are known.
void add_body(Bytes code, SqlChanges& changes) {
  if (body_may_leave_state(code)) become_opaque(changes);
  SqlLexer lexer(code);
  for (SqlToken token = lexer.next(); token.kind != SqlToken::Kind::End; token = lexer.next())
    if (token.kind == SqlToken::Kind::Word || token.kind == SqlToken::Kind::Quoted) {
      const std::string word = lower(lexer.text_of(token));
      const Bytes name = Bytes(word).substr(token.kind == SqlToken::Kind::Quoted ? 1 : 0);
      if (sql_function(name) == SqlFunction::Unfollowable || name.starts_with("setseed\"") || name == "load")
        changes.unfollowable = true;
    }
}

// Goes through a whole statement and notes what the names in it mean.
class Finder {
 public:
  Finder(Bytes sql, const ProtobufCMessage& statement, SqlChanges& changes, SqlReach& reach)
      : sql_(sql), walk_(&statement), changes_(changes), reach_(reach) {
    while (const ProtobufCMessage* const message = walk_.next()) look_at(*message);
  }

  // A temporary object is named as such.
  bool names_temp() const { return names_temp_; }

 private:
  void look_at(const ProtobufCMessage& message) {
    if (const auto* call = PGWEIR_AS(FuncCall, func_call, &message)) {
      call_of(*call);
      // Its name was looked at, with its arguments in mind.
      for (std::size_t i = 0; i + 1 < call->n_funcname; ++i) walk_.add(call->funcname[i]);
      for (std::size_t i = 0; i < call->n_args; ++i) walk_.add(call->args[i]);
      for (std::size_t i = 0; i < call->n_agg_order; ++i) walk_.add(call->agg_order[i]);
      walk_.add(call->agg_filter);
      if (call->over != nullptr) walk_.add(&call->over->base);
      return;
    }
    if (message.descriptor == &pg_query__a__const__descriptor) return;  // a string of the user, not a name
    if (const auto* table = PGWEIR_AS(RangeVar, range_var, &message)) {
      if (text_of(table->relpersistence) == "t" || is_temp_schema(text_of(table->schemaname))) {
        names_temp_ = true;
        if (table != dropped_) changes_.temp = true;
      }
    } else if (const auto* create = PGWEIR_AS(CreateStmt, create_stmt, &message)) {
      if (create->oncommit == kOnCommitDrop) dropped_ = create->relation;
    } else if (const auto* into = PGWEIR_AS(IntoClause, into_clause, &message)) {
      if (into->on_commit == kOnCommitDrop) dropped_ = into->rel;
    } else if (const auto* update = PGWEIR_AS(UpdateStmt, update_stmt, &message)) {
      if (update->relation != nullptr && text_of(update->relation->relname) == "pg_settings")
        changes_.any_setting = reach_.hidden_setting = true;
    } else if (const auto* view = PGWEIR_AS(ViewStmt, view_stmt, &message)) {
      if (is_whole_settings(view->query)) reach_.hidden_setting = true;
    } else if (const auto* column = PGWEIR_AS(ColumnRef, column_ref, &message)) {
      // One that is called like a function runs nothing.
      const bool hidden = reach_.hidden_setting;
      for (std::size_t i = 0; i < column->n_fields; ++i)
        if (const PgQuery__String* const field = string_in(column->fields[i])) named(text_of(field->sval));
      reach_.hidden_setting = hidden;
      return;
    } else if (const auto* select = PGWEIR_AS(SelectStmt, select_stmt, &message)) {
      note_named_row(*select);
    } else if (const auto* stored = PGWEIR_AS(VariableSetStmt, variable_set_stmt, &message)) {
      add_assignments(*stored, SqlAssignment::Where::Stored, reach_);
    } else if (const auto* define = PGWEIR_AS(DefineStmt, define_stmt, &message)) {
      if (define->kind == PG_QUERY__OBJECT_TYPE__OBJECT_AGGREGATE) reach_.code = true;
      functions_of(*define);
    } else if (const auto* option = PGWEIR_AS(DefElem, def_elem, &message)) {
      if (string_in(option->arg) != nullptr) return;
    } else if (message.descriptor == &pg_query__create_function_stmt__descriptor ||
               message.descriptor == &pg_query__alter_function_stmt__descriptor ||
               message.descriptor == &pg_query__call_stmt__descriptor) {
      reach_.code = true;
    } else if (const auto* string = PGWEIR_AS(String, string, &message)) {
      named(text_of(string->sval));
    }
    walk_.add_children(message);
  }

  // Functions may be named by strings there, and in no other list of options. Making it changes no session.
  void functions_of(const PgQuery__DefineStmt& define) {
    const SqlChanges before = changes_;
    for (std::size_t i = 0; i < define.n_definition; ++i)
      if (const auto* option = PGWEIR_AS(DefElem, def_elem, inside(define.definition[i])))
        if (const PgQuery__String* const name = string_in(option->arg)) named(text_of(name->sval));
    changes_ = before;
  }

  // A function that is given a name of its own, as by CREATE AGGREGATE, or a column that is called like one.
  void named(Bytes name) {
    if (is_temp_schema(name)) changes_.temp = names_temp_ = true;
    switch (sql_function(lower(name))) {
      case SqlFunction::Other: return;
      case SqlFunction::SetConfig: reach_.hidden_setting = true; [[fallthrough]];
      case SqlFunction::SetLimit: changes_.any_setting = true; return;
      case SqlFunction::AdvisoryLock: changes_.advisory_lock = true; return;
      case SqlFunction::AdvisoryUnlock: changes_.advisory_unlock = true; return;
      case SqlFunction::ReadsSequence: changes_.reads_sequence = true; return;
      case SqlFunction::Executor:
      case SqlFunction::Assembler:
        become_opaque(changes_);
        reach_.hidden_sql = true;
        return;
      case SqlFunction::Unfollowable: changes_.unfollowable = true; return;
    }
  }

  void call_of(const PgQuery__FuncCall& call) {
    if (call.n_funcname == 0) return;
    const PgQuery__String* const last = string_in(call.funcname[call.n_funcname - 1]);
    if (last == nullptr) return;
    const Bytes name = text_of(last->sval);
    switch (sql_function(name)) {
      case SqlFunction::Other: return;
      case SqlFunction::SetConfig: set_config(call); return;
      case SqlFunction::SetLimit: set(changes_, "pg_trgm.similarity_threshold"); return;
      case SqlFunction::AdvisoryLock: changes_.advisory_lock = true; return;
      case SqlFunction::AdvisoryUnlock: changes_.advisory_unlock = true; return;
      case SqlFunction::ReadsSequence: changes_.reads_sequence = true; return;
      case SqlFunction::Executor: execute(name, call); return;
      case SqlFunction::Assembler: assemble(name, call); return;
      case SqlFunction::Unfollowable: changes_.unfollowable = true; return;
    }
  }

  void set_config(const PgQuery__FuncCall& call) {
    if (call.n_args != 3 || call.func_variadic) {
      changes_.any_setting = changes_.temp_path = reach_.hidden_setting = true;
      return;
    }
    assign(call);
    const std::optional<Literal> value = literal_in(call.args[1]);
    const std::optional<Literal> local = literal_in(call.args[2]);
    const bool session = !local || !local->is_true;
    if (!is_string(call.args[0])) {
      if (session) changes_.any_setting = true;
      changes_.temp_path = true;  // for all we know
      return;
    }
    const std::string name = lower(literal_in(call.args[0])->text);
    if (session) set(changes_, name);
    if (name == "search_path") add_path(value, changes_);
    if (name == "seed") changes_.unfollowable = true;
  }

  // Notes the setting that is named in `select set_config(name, ...) from pg_settings where name = '...'`, as
  // pg_dump has it.
  void note_named_row(const PgQuery__SelectStmt& select) {
    const auto* where = PGWEIR_AS(AExpr, a__expr, inside(select.where_clause));
    const auto* from =
        select.n_from_clause == 1 ? PGWEIR_AS(RangeVar, range_var, inside(select.from_clause[0])) : nullptr;
    if (where == nullptr || from == nullptr || text_of(from->relname) != "pg_settings") return;
    if (where->kind != PG_QUERY__A__EXPR__KIND__AEXPR_OP || where->n_name != 1) return;
    const PgQuery__String* const sign = string_in(where->name[0]);
    if (sign == nullptr || text_of(sign->sval) != "=" || !is_name_column(where->lexpr)) return;
    if (!is_string(where->rexpr)) return;
    for (std::size_t i = 0; i < select.n_target_list; ++i)
      if (const auto* target = PGWEIR_AS(ResTarget, res_target, inside(select.target_list[i])))
        if (const auto* call = PGWEIR_AS(FuncCall, func_call, inside(target->val)))
          if (call->n_args == 3 && is_name_column(call->args[0]))
            named_rows_.emplace_back(call, lower(literal_in(where->rexpr)->text));
  }

  // An UPDATE of a view of nothing else is one of pg_settings.
  static bool is_whole_settings(const PgQuery__Node* query) {
    const auto* select = PGWEIR_AS(SelectStmt, select_stmt, inside(query));
    if (select == nullptr || select->n_from_clause != 1) return false;
    const auto* from = PGWEIR_AS(RangeVar, range_var, inside(select->from_clause[0]));
    return from != nullptr && text_of(from->relname) == "pg_settings";
  }

  static bool is_name_column(const PgQuery__Node* node) {
    const auto* column = PGWEIR_AS(ColumnRef, column_ref, inside(node));
    const PgQuery__String* const name =
        column != nullptr && column->n_fields == 1 ? string_in(column->fields[0]) : nullptr;
    return name != nullptr && text_of(name->sval) == "name";
  }

  // A call of set_config, by what its arguments say.
  void assign(const PgQuery__FuncCall& call) {
    const auto row = std::find_if(named_rows_.begin(), named_rows_.end(),
                                  [&](const auto& each) { return each.first == &call; });
    SqlAssignment made{SqlAssignment::Where::Argument, {}, {}};
    if (row != named_rows_.end()) {
      made.name = setting_name(row->second);
    } else if (is_string(call.args[0])) {
      made.name = setting_name(literal_in(call.args[0])->text);
    } else {
      reach_.hidden_setting = true;
      return;
    }
    if (is_null(call.args[1])) return;  // what the session began with
    if (is_string(call.args[1])) {
      made.value = std::string(literal_in(call.args[1])->text);
      place_literal(*constant_in(call.args[1]), made);
    }
    const bool authorization = made.name == "session_authorization";
    reach_.assignments.push_back(std::move(made));
    if (authorization) reach_.assignments.push_back({SqlAssignment::Where::Argument, "role", {}});
  }

  void place_literal(const PgQuery__AConst& constant, SqlAssignment& made) const {
    if (constant.location < 0 || static_cast<std::size_t>(constant.location) >= sql_.size()) return;
    SqlLexer lexer(sql_, static_cast<std::size_t>(constant.location));
    const SqlToken literal = lexer.next();
    // Strings that Postgres joins over a line break are one literal of several tokens.
    if (literal.kind != SqlToken::Kind::String || lexer.next().kind == SqlToken::Kind::String) return;
    made.at = static_cast<std::uint32_t>(literal.at);
    made.size = static_cast<std::uint32_t>(literal.size);
  }

  // The SQL that it runs, if it stands there to be read, is judged by its words.
  void execute(Bytes name, const PgQuery__FuncCall& call) {
    if (name == "ts_rewrite" && call.n_args == 3) return;
    const std::size_t at = name == "ts_rewrite" ? 1 : 0;
    const bool cursor = name.starts_with("cursor_to_xml");  // of a query that was read where it was declared
    const SqlWords words = cursor || at >= call.n_args || !is_string(call.args[at])
                               ? SqlWords::State
                               : sql_words(literal_in(call.args[at])->text);
    if (words == SqlWords::State) become_opaque(changes_);
    if (words != SqlWords::Harmless && !cursor) reach_.hidden_sql = true;
  }

  // Of names of columns and tables no SQL can be made that does more than read them.
  void assemble(Bytes name, const PgQuery__FuncCall& call) {
    for (std::size_t i = 0; i < call.n_args; ++i) {
      if (!makes_sql(name, call, i)) continue;
      if (is_string(call.args[i]) && is_names(literal_in(call.args[i])->text)) continue;
      become_opaque(changes_);
      reach_.hidden_sql = true;
      return;
    }
  }

  // connectby(table, key, parent [, order], start, depth [, branch]); xpath_table(key, document, table,
  // paths, condition).
  static bool makes_sql(Bytes name, const PgQuery__FuncCall& call, std::size_t argument) {
    constexpr std::size_t kOrder = 3, kLeast = 5, kPaths = 3;
    if (name == "xpath_table") return argument != kPaths;
    const PgQuery__AConst* const fifth = call.n_args > kLeast ? constant_in(call.args[kOrder + 1]) : nullptr;
    const bool depth_comes_fifth = fifth != nullptr && fifth->val_case == PG_QUERY__A__CONST__VAL_IVAL;
    const bool has_order = call.n_args > kLeast && !depth_comes_fifth;
    return argument < kOrder || (argument == kOrder && has_order);
  }

  static bool is_names(Bytes text) {
    return std::all_of(text.begin(), text.end(), [](char c) {
      return (c >= 'a' && c <= 'z') || (c >= 'A' && c <= 'Z') || (c >= '0' && c <= '9') || c == '_' ||
             c == '.' || c == ',' || c == ' ' || static_cast<unsigned char>(c) >= 0x80;
    });
  }

  static constexpr auto kOnCommitDrop = PG_QUERY__ON_COMMIT_ACTION__ONCOMMIT_DROP;
  Bytes sql_;
  SqlWalk walk_;
  SqlChanges& changes_;
  SqlReach& reach_;
  std::vector<std::pair<const PgQuery__FuncCall*, std::string>> named_rows_;
  const PgQuery__RangeVar* dropped_ = nullptr;  // a table that ends with its transaction
  bool names_temp_ = false;
};

// ---------------------------------------------------------------- statements

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
          set(out.changes, setting);
        }
      return;
    case PG_QUERY__VARIABLE_SET_KIND__VAR_RESET_ALL:
      out.kind = Kind::ResetAll;
      out.changes.any_setting = true;
      return;
    case PG_QUERY__VARIABLE_SET_KIND__VAR_RESET:
      out.kind = Kind::Reset;
      set(out.changes, name);
      break;
    case PG_QUERY__VARIABLE_SET_KIND__VAR_SET_VALUE:
    case PG_QUERY__VARIABLE_SET_KIND__VAR_SET_DEFAULT:
    case PG_QUERY__VARIABLE_SET_KIND__VAR_SET_CURRENT:
      out.kind = statement.is_local ? Kind::SetLocal : Kind::Set;
      if (!statement.is_local) set(out.changes, name);
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

void read_do(const PgQuery__DoStmt& statement, SqlChanges& changes) {
  for (std::size_t i = 0; i < statement.n_args; ++i) {
    const auto* argument = PGWEIR_AS(DefElem, def_elem, inside(statement.args[i]));
    const PgQuery__String* const value = argument == nullptr ? nullptr : string_in(argument->arg);
    if (value == nullptr) {
      become_opaque(changes);
    } else if (text_of(argument->defname) == "as") {
      add_body(text_of(value->sval), changes);
    } else if (lower(text_of(value->sval)) != "plpgsql") {
      become_opaque(changes);
    }
  }
}

void read_statement(Bytes sql, const PgQuery__Node* node, SqlStatement& out, SqlReach& reach) {
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
    case PG_QUERY__NODE__NODE_DISCARD_STMT: read_discard(node->discard_stmt->target, out); return;
    case PG_QUERY__NODE__NODE_CONSTRAINTS_SET_STMT: out.kind = Kind::SetTransaction; return;
    case PG_QUERY__NODE__NODE_DO_STMT:
      out.kind = Kind::Do;
      read_do(*node->do_stmt, out.changes);
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
    case PG_QUERY__NODE__NODE_DROP_STMT:
    case PG_QUERY__NODE__NODE_DROP_OWNED_STMT:
      out.kind = Kind::Drop;
      out.changes.temp_gone = true;
      break;
    default: break;
  }
  const Finder finder(sql, *message, out.changes, reach);
  if (out.kind == Kind::Other && finder.names_temp()) out.kind = Kind::CreateTemp;
}

// ---------------------------------------------------------------- where things stand

bool is_word(const SqlLexer& lexer, SqlToken token, Bytes word) {
  return token.kind == SqlToken::Kind::Word && lower(lexer.text_of(token)) == word;
}

// The token that names a prepared statement; of kind End when there is none to be seen.
SqlToken name_of(Kind kind, Bytes sql, std::size_t at) {
  SqlLexer lexer(sql, at);
  SqlToken token = lexer.next();
  if (kind == Kind::Prepare) return lexer.next();
  if (kind == Kind::Deallocate) {
    SqlToken last = lexer.next();
    const SqlToken after = lexer.next();
    return after.kind == SqlToken::Kind::End ? last : after;
  }
  if (is_word(lexer, token, "execute")) return lexer.next();
  if (is_word(lexer, token, "explain")) {
    token = lexer.next();
    if (token.kind == SqlToken::Kind::Symbol) {
      std::size_t depth = 0;
      do {
        if (lexer.text_of(token) == "(") ++depth;
        if (lexer.text_of(token) == ")") --depth;
        token = lexer.next();
      } while (depth > 0 && token.kind != SqlToken::Kind::End);
    }
    while (is_word(lexer, token, "analyze") || is_word(lexer, token, "analyse") ||
           is_word(lexer, token, "verbose"))
      token = lexer.next();
    if (is_word(lexer, token, "execute")) return lexer.next();
  }
  // CREATE TABLE execute AS EXECUTE name: AS is no name for a table.
  bool behind_as = false;
  for (; token.kind != SqlToken::Kind::End; token = lexer.next()) {
    if (behind_as && is_word(lexer, token, "execute")) return lexer.next();
    behind_as = is_word(lexer, token, "as");
  }
  return token;
}

// A name as the server takes it from the text. Nothing for what is no plain or quoted name.
std::optional<std::string> decoded(SqlToken token, Bytes text) {
  std::string name;
  if (token.kind == SqlToken::Kind::Word) {
    name = lower(text);
  } else if (token.kind == SqlToken::Kind::Quoted) {
    for (std::size_t at = 1; at + 1 < text.size(); ++at) {
      name += text[at];
      if (text[at] == '"') ++at;
    }
  } else {
    return {};
  }
  if (name.size() > kNameMax) {
    std::size_t size = kNameMax;
    while (size > 0 && (static_cast<unsigned char>(name[size]) & 0xC0U) == 0x80) --size;
    name.resize(size);
  }
  return name;
}

bool find_name(Bytes sql, SqlStatement& statement) {
  const SqlToken token = name_of(statement.kind, sql.substr(0, statement.at + statement.size), statement.at);
  const Bytes text = sql.substr(token.at, token.size);
  if (token.kind == SqlToken::Kind::Unicode) return true;  // has no place, with or without its UESCAPE
  if (decoded(token, text) != statement.name) return false;
  statement.name_at = static_cast<std::uint32_t>(token.at);
  statement.name_size = static_cast<std::uint32_t>(token.size);
  return true;
}

void find_place(Bytes sql, const PgQuery__RawStmt& raw, SqlStatement& statement) {
  const std::size_t from = std::min(static_cast<std::size_t>(std::max(raw.stmt_location, 0)), sql.size());
  std::size_t end = sql.size();
  if (raw.stmt_len > 0) end = std::min(end, from + static_cast<std::size_t>(raw.stmt_len));
  const std::size_t at = std::min(SqlLexer(sql, from).next().at, end);
  statement.at = static_cast<std::uint32_t>(at);
  statement.size = static_cast<std::uint32_t>(end - at);
}

void place_statement(const SqlStatement& statement, SqlAssignment& made) {
  if (!made.value) return;
  made.at = statement.at;
  made.size = statement.size;
}

SqlEffects unknown() {
  SqlEffects effects;
  effects.read = SqlEffects::Read::Unknown;
  effects.changes = SqlChanges::anything();
  return effects;
}

}  // namespace

bool SqlChanges::leave_something() const {
  return !settings.empty() || any_setting || temp || hold_cursor || advisory_lock || listens || opaque ||
         unfollowable;
}

void SqlChanges::add(const SqlChanges& other) {
  for (const std::string& setting : other.settings) set(*this, setting);
  any_setting |= other.any_setting;
  temp |= other.temp;
  temp_gone |= other.temp_gone;
  temp_path |= other.temp_path;
  hold_cursor |= other.hold_cursor;
  cursor_gone |= other.cursor_gone;
  advisory_lock |= other.advisory_lock;
  advisory_unlock |= other.advisory_unlock;
  listens |= other.listens;
  unlistens |= other.unlistens;
  reads_sequence |= other.reads_sequence;
  opaque |= other.opaque;
  unfollowable |= other.unfollowable;
}

SqlChanges SqlChanges::anything() {
  SqlChanges all;
  all.any_setting = all.temp = all.temp_gone = all.temp_path = all.hold_cursor = all.cursor_gone =
      all.advisory_lock = all.advisory_unlock = all.listens = all.unlistens = all.opaque = all.unfollowable =
          true;
  return all;
}

const char* name(SqlStatement::Kind kind) {
  switch (kind) {
    case Kind::Other: return "Other";
    case Kind::Begin: return "Begin";
    case Kind::Commit: return "Commit";
    case Kind::Rollback: return "Rollback";
    case Kind::Savepoint: return "Savepoint";
    case Kind::RollbackTo: return "RollbackTo";
    case Kind::Release: return "Release";
    case Kind::PrepareTransaction: return "PrepareTransaction";
    case Kind::CommitPrepared: return "CommitPrepared";
    case Kind::RollbackPrepared: return "RollbackPrepared";
    case Kind::Set: return "Set";
    case Kind::SetLocal: return "SetLocal";
    case Kind::SetTransaction: return "SetTransaction";
    case Kind::Reset: return "Reset";
    case Kind::ResetAll: return "ResetAll";
    case Kind::Prepare: return "Prepare";
    case Kind::Execute: return "Execute";
    case Kind::Deallocate: return "Deallocate";
    case Kind::DeallocateAll: return "DeallocateAll";
    case Kind::Listen: return "Listen";
    case Kind::Unlisten: return "Unlisten";
    case Kind::UnlistenAll: return "UnlistenAll";
    case Kind::Notify: return "Notify";
    case Kind::Declare: return "Declare";
    case Kind::DeclareHold: return "DeclareHold";
    case Kind::Close: return "Close";
    case Kind::CloseAll: return "CloseAll";
    case Kind::DiscardAll: return "DiscardAll";
    case Kind::DiscardPlans: return "DiscardPlans";
    case Kind::DiscardSequences: return "DiscardSequences";
    case Kind::DiscardTemp: return "DiscardTemp";
    case Kind::CreateTemp: return "CreateTemp";
    case Kind::Drop: return "Drop";
    case Kind::Load: return "Load";
    case Kind::Do: return "Do";
    case Kind::Call: return "Call";
  }
  return "?";
}

SqlEffects read_sql(Bytes text) {
  if (!fits_parser(text)) return unknown();
  const SqlTree tree{std::string(text)};
  if (tree.root() == nullptr) return unknown();
  SqlEffects effects;
  effects.read = SqlEffects::Read::Parsed;
  for (std::size_t i = 0; i < tree.root()->n_stmts; ++i) {
    const PgQuery__RawStmt& raw = *tree.root()->stmts[i];
    SqlStatement& statement = effects.statements.emplace_back();
    find_place(text, raw, statement);
    const std::size_t before = effects.reach.assignments.size();
    read_statement(text, raw.stmt, statement, effects.reach);
    if (statement.kind == Kind::Set || statement.kind == Kind::SetLocal)
      for (std::size_t each = before; each < effects.reach.assignments.size(); ++each)
        place_statement(statement, effects.reach.assignments[each]);
    const bool has_place = statement.kind == Kind::Prepare || statement.kind == Kind::Execute ||
                           statement.kind == Kind::Deallocate;
    if (has_place && !find_name(text, statement)) return unknown();
    if (statement.kind != Kind::Prepare) effects.changes.add(statement.changes);
  }
  return effects;
}

}  // namespace pgweir::protocol
