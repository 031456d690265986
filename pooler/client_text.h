// pooler/client_text.h - a SQL text of a client's, and what is known of it: of a prepared statement it is
// kept there, so that using the statement again costs no other look at its text.
#pragma once

#include "pooler/base/bytes.h"
#include "pooler/statements.h"
#include "pooler/text_words.h"

namespace pgweir {

// Borrows all of it. Converts from a text of which nothing is kept.
class ClientText {
 public:
  ClientText(Bytes sql, Bytes types = {}) : sql_(sql), types_(types) {}
  explicit ClientText(Statement& statement)
      : sql_(statement.sql), types_(statement.types()), statement_(&statement) {}
  // Postgres has read it under settings that nobody knows any more.
  static ClientText read_otherwise(Bytes sql) {
    ClientText text(sql);
    text.misread_ = true;
    return text;
  }

  Bytes sql() const { return sql_; }
  // Of its parameters, as a Parse tells them.
  Bytes types() const { return types_; }
  Statement* statement() const { return statement_; }
  bool misread() const { return misread_; }
  bool has(TextWord word) const { return words().has(word, sql_); }
  bool looked_through() const { return words().known(); }

 private:
  TextWords& words() const { return statement_ ? statement_->mentioned : own_; }

  Bytes sql_, types_;
  Statement* statement_ = nullptr;
  bool misread_ = false;
  mutable TextWords own_;
};

}  // namespace pgweir
