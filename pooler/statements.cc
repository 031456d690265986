#include "pooler/statements.h"

#include "protocol/sql_words.h"

namespace pgweir {

void StatementRef::release() {
  if (statement_ && --statement_->refs == 0) statement_->book->forget(statement_);
  statement_ = nullptr;
}

StatementRef StatementBook::intern(Bytes content) {
  const auto known = statements_.find(content);
  if (known != statements_.end()) return StatementRef(known->second.get());
  if (content.size() > bytes_max_ - bytes_) return {};
  auto statement = std::make_unique<Statement>();
  statement->content = content;
  statement->server_name = "pgweir_" + std::to_string(next_++);
  statement->leaves_state = protocol::may_leave_state(content.substr(0, content.find('\0')));
  statement->book = this;
  bytes_ += content.size();
  Statement* raw = statement.get();
  statements_.emplace(raw->content, std::move(statement));
  return StatementRef(raw);
}

void StatementBook::forget(Statement* statement) {
  bytes_ -= statement->content.size();
  const auto place = statements_.find(statement->content);
  PGWEIR_CHECK(place != statements_.end());
  statements_.erase(place);
}

}  // namespace pgweir
