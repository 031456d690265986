#include "protocol/sql_finder.h"

#include <algorithm>
#include <optional>
#include <string>
#include <utility>
#include <vector>

#include "protocol/sql_functions.h"
#include "protocol/sql_lexer.h"
#include "protocol/sql_values.h"
#include "protocol/sql_words.h"

namespace pgweir::protocol {

namespace {

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
    } else if (const auto* rule = PGWEIR_AS(RuleStmt, rule_stmt, &message)) {
      // One called _RETURN makes a view of a table.
      for (std::size_t i = 0; i < rule->n_actions; ++i)
        if (is_whole_settings(rule->actions[i])) reach_.hidden_setting = true;
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
    const bool named_temp = names_temp_;
    for (std::size_t i = 0; i < define.n_definition; ++i)
      if (const auto* option = PGWEIR_AS(DefElem, def_elem, inside(define.definition[i]))) {
        const PgQuery__String* name = string_in(option->arg);
        if (name != nullptr) named(text_of(name->sval));
        if (const auto* type = PGWEIR_AS(TypeName, type_name, inside(option->arg)); type && type->n_names > 0)
          name = string_in(type->names[type->n_names - 1]);
        if (name != nullptr && opens_session(lower(text_of(name->sval)))) reach_.other_session = true;
      }
    changes_ = before;
    names_temp_ = named_temp;  // a string names no schema
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
      case SqlFunction::CodeByName: become_opaque(changes_); return;
      case SqlFunction::Unfollowable: changes_.unfollowable = true; return;
    }
  }

  void call_of(const PgQuery__FuncCall& call) {
    if (call.n_funcname == 0) return;
    const PgQuery__String* const last = string_in(call.funcname[call.n_funcname - 1]);
    if (last == nullptr) return;
    const Bytes name = text_of(last->sval);
    if (opens_session(name)) reach_.other_session = true;
    switch (sql_function(name)) {
      case SqlFunction::Other: return;
      case SqlFunction::SetConfig: set_config(call); return;
      case SqlFunction::SetLimit: add_setting(changes_, "pg_trgm.similarity_threshold"); return;
      case SqlFunction::AdvisoryLock: changes_.advisory_lock = true; return;
      case SqlFunction::AdvisoryUnlock: changes_.advisory_unlock = true; return;
      case SqlFunction::ReadsSequence: changes_.reads_sequence = true; return;
      case SqlFunction::Executor: execute(name, call); return;
      case SqlFunction::Assembler: assemble(name, call); return;
      case SqlFunction::CodeByName: become_opaque(changes_); return;
      case SqlFunction::Unfollowable: changes_.unfollowable = true; return;
    }
  }

  void set_config(const PgQuery__FuncCall& call) {
    if (call.n_args != 3 || call.func_variadic) {
      changes_.any_setting = changes_.any_local = changes_.temp_path = reach_.hidden_setting = true;
      return;
    }
    assign(call);
    const std::optional<Literal> value = literal_in(call.args[1]);
    const std::optional<Literal> local = literal_in(call.args[2]);
    const bool session = !local || !local->is_true;
    if (!is_string(call.args[0])) {
      (session ? changes_.any_setting : changes_.any_local) = true;
      changes_.temp_path = true;  // for all we know
      return;
    }
    const std::string name = lower(literal_in(call.args[0])->text);
    session ? add_setting(changes_, name) : add_local_setting(changes_, name);
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
    if (row != named_rows_.end() && say_for(call.args[0], row->second)) {
      made.name = setting_name(row->second);
    } else if (is_string(call.args[0])) {
      made.name = setting_name(literal_in(call.args[0])->text);
    } else {
      reach_.hidden_setting = true;
      return;
    }
    if (!qualify(call.args[0]) || !qualify(call.args[1])) {
      reach_.hidden_setting = true;
      return;
    }
    if (is_null(call.args[1])) {
      place_null(*constant_in(call.args[1]), made);
      reach_.taken_back.push_back(std::move(made));
      return;
    }
    if (is_string(call.args[1])) {
      made.value = std::string(literal_in(call.args[1])->text);
      place_literal(*constant_in(call.args[1]), made);
    }
    const bool authorization = made.name == "session_authorization";
    reach_.assignments.push_back(std::move(made));
    if (authorization) reach_.assignments.push_back({SqlAssignment::Where::Argument, "role", {}});
  }

  // The column `name` of pg_settings, replaced by what it is compared with: a table of the user's may have
  // that name, and an operator that of =. False: it cannot be.
  bool say_for(const PgQuery__Node* column, Bytes name) {
    const auto plain = [](char c) {
      return (c >= 'a' && c <= 'z') || (c >= '0' && c <= '9') || c == '_' || c == '.';
    };
    const auto* reference = PGWEIR_AS(ColumnRef, column_ref, inside(column));
    if (reference == nullptr || !std::all_of(name.begin(), name.end(), plain)) return false;
    if (reference->location <= 0 || static_cast<std::size_t>(reference->location) >= sql_.size())
      return false;
    const SqlToken token = SqlLexer(sql_, static_cast<std::size_t>(reference->location)).next();
    if (token.kind != SqlToken::Kind::Word && token.kind != SqlToken::Kind::Quoted) return false;
    reach_.unsure.push_back({static_cast<std::uint32_t>(token.at), static_cast<std::uint32_t>(token.size),
                             "'" + std::string(name) + "'"});
    return true;
  }

  // Has the type of a cast looked for where Postgres's are. False: that cannot be said.
  bool qualify(const PgQuery__Node* argument) {
    const PgQuery__TypeName* const type = unqualified_type(argument);
    if (type == nullptr || (!is_string(argument) && !is_null(argument))) return true;
    if (type->location <= 0 || static_cast<std::size_t>(type->location) >= sql_.size()) return false;
    reach_.unsure.push_back({static_cast<std::uint32_t>(type->location), 0, "pg_catalog."});
    return true;
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

  void place_null(const PgQuery__AConst& constant, SqlAssignment& made) const {
    if (constant.location < 0 || static_cast<std::size_t>(constant.location) >= sql_.size()) return;
    const SqlToken null = SqlLexer(sql_, static_cast<std::size_t>(constant.location)).next();
    if (null.kind != SqlToken::Kind::Word) return;
    made.at = static_cast<std::uint32_t>(null.at);
    made.size = static_cast<std::uint32_t>(null.size);
  }

  // The SQL that it runs, if it stands there to be read, is judged by its words.
  void execute(Bytes name, const PgQuery__FuncCall& call) {
    if (name == "ts_rewrite" && call.n_args == 3) return;
    const std::size_t at = name == "ts_rewrite" ? 1 : 0;
    const bool cursor = name.starts_with("cursor_to_xml");  // of a query that was read where it was declared
    run(at < call.n_args ? call.args[at] : nullptr, cursor);
    // crosstab(query, how many), crosstab(query, query of categories).
    if (name == "crosstab" && call.n_args > 1 && !is_number(call.args[1])) run(call.args[1], false);
  }

  void run(const PgQuery__Node* query, bool was_read) {
    const SqlWords words =
        was_read || !is_string(query) ? SqlWords::State : sql_words(literal_in(query)->text);
    if (words == SqlWords::State) become_opaque(changes_);
    if (words != SqlWords::Harmless && !was_read) reach_.hidden_sql = true;
  }

  // As it stands: "1::text" is none.
  static bool is_number(const PgQuery__Node* node) {
    const auto* constant = PGWEIR_AS(AConst, a__const, inside(node));
    return constant != nullptr && constant->val_case == PG_QUERY__A__CONST__VAL_IVAL;
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
    const bool depth_comes_fifth = call.n_args > kLeast && is_number(call.args[kOrder + 1]);
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

}  // namespace

bool find_names(Bytes sql, const ProtobufCMessage& statement, SqlChanges& changes, SqlReach& reach) {
  return Finder(sql, statement, changes, reach).names_temp();
}

}  // namespace pgweir::protocol
