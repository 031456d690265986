#include "protocol/sql_values.h"

#include <algorithm>
#include <utility>

namespace pgweir::protocol {

namespace {

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

}  // namespace

std::string lower(Bytes text) {
  std::string result(text);
  for (char& c : result)
    if (c >= 'A' && c <= 'Z') c = static_cast<char>(c | 0x20);
  return result;
}

std::string setting_name(Bytes spelled) {
  std::string name = lower(spelled);
  if (name == "sort_mem") name = "work_mem";
  if (name == "vacuum_mem") name = "maintenance_work_mem";
  return name;
}

namespace {
void add_sorted(std::vector<std::string>& names, std::string name) {
  const auto place = std::lower_bound(names.begin(), names.end(), name);
  if (place == names.end() || *place != name) names.insert(place, std::move(name));
}
}  // namespace

void add_setting(SqlChanges& changes, Bytes spelled) {
  std::string name = setting_name(spelled);
  const bool authorization = name == "session_authorization";
  if (name == "seed") changes.unfollowable = true;
  add_sorted(changes.settings, std::move(name));
  if (authorization) add_setting(changes, "role");  // it goes back to none
}

void add_local_setting(SqlChanges& changes, Bytes spelled) {
  std::string name = setting_name(spelled);
  if (name == "session_authorization") add_sorted(changes.local_settings, "role");
  add_sorted(changes.local_settings, std::move(name));
}

bool is_temp_schema(Bytes name) { return lower(name.substr(0, 7)) == "pg_temp"; }

void become_opaque(SqlChanges& changes) {
  const bool unfollowable = changes.unfollowable;
  changes.add(SqlChanges::anything());
  changes.unfollowable = unfollowable;
}

namespace {
bool is_of_postgres(const PgQuery__TypeName& type) {
  const PgQuery__String* const schema = type.n_names == 2 ? string_in(type.names[0]) : nullptr;
  return schema != nullptr && text_of(schema->sval) == "pg_catalog";
}
}  // namespace

const PgQuery__TypeName* unqualified_type(const PgQuery__Node* node) {
  const auto* cast = PGWEIR_AS(TypeCast, type_cast, inside(node));
  return cast != nullptr && cast->type_name != nullptr && cast->type_name->n_names == 1 ? cast->type_name
                                                                                        : nullptr;
}

std::optional<Literal> literal_in(const PgQuery__Node* node) {
  const ProtobufCMessage* message = inside(node);
  if (const auto* cast = PGWEIR_AS(TypeCast, type_cast, message)) {
    const PgQuery__TypeName* const type = cast->type_name;
    if (type == nullptr || type->n_names == 0 || type->n_typmods > 0 || type->n_array_bounds > 0) return {};
    if (type->n_names > 1 && !is_of_postgres(*type)) return {};
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

// One of a type of the user's may be made a text by a function of his.
bool is_null(const PgQuery__Node* node) {
  const auto* cast = PGWEIR_AS(TypeCast, type_cast, inside(node));
  if (cast != nullptr &&
      (cast->type_name == nullptr || (cast->type_name->n_names != 1 && !is_of_postgres(*cast->type_name))))
    return false;
  const PgQuery__AConst* const constant = constant_in(node);
  return constant != nullptr && constant->isnull;
}

void add_assignments(const PgQuery__VariableSetStmt& statement, SqlAssignment::Where where, SqlReach& reach) {
  if (statement.kind == PG_QUERY__VARIABLE_SET_KIND__VAR_SET_MULTI) {
    if (lower(text_of(statement.name)) != "session characteristics") return;
    for (std::size_t i = 0; i < statement.n_args; ++i)
      if (const auto* option = PGWEIR_AS(DefElem, def_elem, inside(statement.args[i])))
        reach.assignments.push_back({where, "default_" + lower(text_of(option->defname)), {}});
    return;
  }
  const std::string name = setting_name(text_of(statement.name));
  switch (statement.kind) {
    case PG_QUERY__VARIABLE_SET_KIND__VAR_SET_VALUE: break;
    case PG_QUERY__VARIABLE_SET_KIND__VAR_SET_DEFAULT:
    case PG_QUERY__VARIABLE_SET_KIND__VAR_RESET:
    case PG_QUERY__VARIABLE_SET_KIND__VAR_RESET_ALL:
      // Of what is stored: that it is no more.
      if (where != SqlAssignment::Where::Stored) reach.taken_back.push_back({where, name, {}});
      return;
    default: return;
  }
  reach.assignments.push_back({where, name, value_of(statement, name)});
  if (name == "session_authorization") reach.assignments.push_back({where, "role", {}});
}

}  // namespace pgweir::protocol
