// protocol/sql_values.h - what libpg_query's tree says of settings, their values and constants. Only the
// files that make up read_sql() include it.
#pragma once

#include <optional>
#include <string>

#include "protocol/sql.h"
#include "protocol/sql_tree.h"

namespace pgweir::protocol {

inline Bytes text_of(const char* string) { return string == nullptr ? Bytes() : Bytes(string); }
std::string lower(Bytes text);

template <typename Message>
const Message* as(const ProtobufCMessage* message, const ProtobufCMessageDescriptor& descriptor) {
  return message != nullptr && message->descriptor == &descriptor ? reinterpret_cast<const Message*>(message)
                                                                  : nullptr;
}
#define PGWEIR_AS(Type, name, message) as<PgQuery__##Type>(message, pg_query__##name##__descriptor)

inline const PgQuery__String* string_in(const PgQuery__Node* node) {
  return PGWEIR_AS(String, string, inside(node));
}

// As Postgres has it: lower case, no obsolete name.
std::string setting_name(Bytes spelled);
void add_setting(SqlChanges& changes, Bytes spelled);
void add_local_setting(SqlChanges& changes, Bytes spelled);
bool is_temp_schema(Bytes name);
// All that can be asked of a server; what cannot, each text says by its own words.
void become_opaque(SqlChanges& changes);

struct Literal {
  Bytes text;
  bool is_true = false;
};
// A constant that means what it says: a plain string or boolean, or one cast to a text or boolean (of
// Postgres, or of no schema: see unqualified_type).
std::optional<Literal> literal_in(const PgQuery__Node* node);
bool is_string(const PgQuery__Node* node);
// The type of a cast that is named without its schema: a domain of the user's own may be called text, and cut
// what it is given. Null: there is none.
const PgQuery__TypeName* unqualified_type(const PgQuery__Node* node);
// Any constant, cast or not.
const PgQuery__AConst* constant_in(const PgQuery__Node* node);
bool is_null(const PgQuery__Node* node);

// With pg_temp in front of the path, every CREATE makes a temporary object.
void add_path(const std::optional<Literal>& schemas, SqlChanges& changes);

// What the statement gives a value to. Not of RESET, nor of a name that is taken from the session as it is.
void add_assignments(const PgQuery__VariableSetStmt& statement, SqlAssignment::Where where, SqlReach& reach);

}  // namespace pgweir::protocol
