#include "pooler/statements.h"

#include <algorithm>

#include "pooler/base/plain_sql.h"
#include "pooler/base/planted.h"
#include "protocol/frame.h"
#include "protocol/wire.h"

namespace pgweir {

// Drivers know it by the routine, in whatever language its text is, and prepare again.
void put_stale_statement(std::string& out) {
  protocol::Writer body(out, 'E');
  for (const Bytes field :
       {Bytes("SERROR"), Bytes("VERROR"), Bytes("C0A000"), Bytes("Mcached plan must not change result type"),
        Bytes("RRevalidateCachedQuery")})
    body.c_string(field);
  body.u8(0);
}

std::uint64_t columns_of(char type, Bytes message) {
  constexpr std::uint64_t kNone = 2, kBasis = 0xcbf29ce484222325, kPrime = 0x100000001b3;  // FNV-1a
  if (type == 'n') return kNone;
  if (type != 'T') return kUnreadColumns;
  std::uint64_t sum = kBasis;
  const auto add = [&sum](Bytes bytes) {
    for (const char c : bytes) sum = (sum ^ static_cast<unsigned char>(c)) * kPrime;
  };
  protocol::Reader in(message.substr(std::min(message.size(), protocol::kHeaderBytes)));
  for (std::uint16_t left = in.u16(); left > 0 && in.ok(); --left) {
    const Bytes name = in.c_string();
    in.bytes(6);  // the table's column: another one may take its place
    const Bytes of_type = in.bytes(10);
    in.u16();  // the format
    if (!in.ok()) break;
    add(name);
    add(of_type);
  }
  if (!in.ok() || !in.empty()) return kUnreadColumns;
  return sum > kNone ? sum : kNone + 1;
}

void StatementRef::release() {
  if (statement_ && --hold_->refs == 0) hold_->tenant->let_go(*statement_);
  statement_ = nullptr;
}

void KeptStatement::release() {
  if (statement_) statement_->book->put_down(*statement_);
  statement_ = nullptr;
}

StatementBook::~StatementBook() {
  PGWEIR_CHECK(unused_.size() == statements_.size() && superseded_.empty());
  while (Statement* const unused = unused_.front()) unused_.remove(*unused);
}

StatementRef StatementBook::intern(TenantStatements& tenant, Bytes content, Bytes parsing) {
  std::string key;
  key.reserve(parsing.size() + 1 + content.size());
  key.append(parsing).append(1, '\0').append(content);
  const auto known = statements_.find(key);
  if (known != statements_.end() && !outdated(*known->second)) return tenant.hold(*known->second, bytes_max_);
  if (!tenant.has_room(key.size() + kStatementCost, bytes_max_)) return {};
  if (known != statements_.end()) supersede(*known->second);
  make_room(key.size() + kStatementCost);
  auto statement = std::make_unique<Statement>();
  statement->key = std::move(key);
  statement->content = Bytes(statement->key).substr(parsing.size() + 1);
  statement->sql = statement->content.substr(0, statement->content.find('\0'));
  statement->id = next_++;
  statement->definitions = definitions_;
  statement->server_name = "pgweir_" + std::to_string(statement->id);
  statement->words = protocol::sql_words(statement->sql);
  statement->alike = reads_alike(statement->sql);
  statement->book = this;
  bytes_ += size(*statement);
  Statement* raw = statement.get();
  statements_.emplace(raw->key, std::move(statement));
  return tenant.hold(*raw);
}

void StatementBook::remember(Statement& statement, std::shared_ptr<const protocol::SqlEffects> effects,
                             std::size_t bytes) {
  PGWEIR_CHECK(statement.refs > 0 && !statement.effects);
  const std::size_t most = bytes_max_ / kEffectsShare;
  if (bytes > most || effects_bytes_ > most - bytes) return;
  bytes_ += bytes;
  effects_bytes_ += bytes;
  statement.effects_bytes = bytes;
  statement.effects = std::move(effects);
}

void StatementBook::tell_types(Statement& statement, Bytes types) {
  if (types == statement.types() || types == statement.told_types) return;
  if (types.size() > cost(statement)) return;
  bytes_ = bytes_ - statement.told_types.size() + types.size();
  statement.told_types = types;
}

void StatementBook::forget(const Statement& statement) {
  bytes_ -= size(statement);
  effects_bytes_ -= statement.effects_bytes;
}

void StatementBook::forget_unused(Statement& statement) {
  forget(statement);
  unused_.remove(statement);
  statements_.erase(statements_.find(statement.key));
}

void StatementBook::make_room(std::size_t bytes) {
  while (bytes_ + bytes > bytes_max_ && !unused_.empty()) forget_unused(*unused_.front());
}

void StatementBook::retire(Statement& statement) {
  PGWEIR_CHECK(statement.refs > 0);
  supersede(statement);
  statement.stale = true;
}

void StatementBook::supersede(Statement& statement) {
  if (!statement.current) return;
  if (statement.refs == 0) return forget_unused(statement);
  const auto place = statements_.find(statement.key);
  superseded_.emplace(&statement, std::move(place->second));
  statements_.erase(place);
  statement.current = false;
}

void StatementBook::take_up(Statement& statement) {
  if (statement.refs++ == 0 && unused_.has(statement)) unused_.remove(statement);
}

void StatementBook::put_down(Statement& statement) {
  if (--statement.refs > 0) return;
  if (!statement.current) {
    forget(statement);
    superseded_.erase(&statement);
    return;
  }
  unused_.push_back(statement);
  make_room(0);
}

StatementRef TenantStatements::hold(Statement& statement, std::size_t most) {
  if (statement.hold.tenant == this) return {statement, statement.hold};
  if (!others_.empty())
    if (const auto place = others_.find(&statement); place != others_.end())
      return {statement, place->second};
  const std::size_t bytes = StatementBook::cost(statement);
  if (!has_room(bytes, most)) return {};
  bytes_ += bytes;
  statement.book->take_up(statement);
  StatementHold& own = statement.hold.tenant ? others_[&statement] : statement.hold;
  own.tenant = this;
  return {statement, own};
}

void TenantStatements::let_go(Statement& statement) {
  bytes_ -= StatementBook::cost(statement);
  if (statement.hold.tenant == this)
    statement.hold.tenant = nullptr;
  else
    others_.erase(&statement);
  statement.book->put_down(statement);
}

void ClientStatements::set(Bytes name, StatementRef statement, Made made) {
  const auto [place, is_new] = names_.try_emplace(std::string(name), Named{{}, Made::ByProtocol});
  if (is_new) {
    bytes_ += name.size();
    tenant_.bytes_ += cost(name);
  }
  if (made == Made::BySql && place->second.made != Made::BySql) ++by_sql_;
  if (made != Made::BySql && place->second.made == Made::BySql) --by_sql_;
  put(place->second, std::move(statement));
  place->second.made = made;
}

void ClientStatements::replace(Bytes name, StatementRef statement) {
  put(names_.find(name)->second, std::move(statement));
}

void ClientStatements::put(Named& named, StatementRef statement) {
  ++statement->names;
  bytes_ += statement->content.size();
  if (named.statement) {
    --named.statement->names;
    bytes_ -= named.statement->content.size();
  }
  named.statement = std::move(statement);
}

void ClientStatements::erase(Bytes name) {
  const auto place = names_.find(name);
  if (place == names_.end()) return;
  if (!PGWEIR_PLANTED(CHARGE_CLOSED)) tenant_.bytes_ -= cost(name);
  bytes_ -= name.size() + place->second.statement->content.size();
  --place->second.statement->names;
  last_ = nullptr;
  if (place->second.made == Made::BySql) --by_sql_;
  names_.erase(place);
}

void ClientStatements::clear() {
  for (const auto& [name, named] : names_) {
    tenant_.bytes_ -= cost(name);
    --named.statement->names;
  }
  last_ = nullptr;
  names_.clear();
  bytes_ = by_sql_ = 0;
}

std::string ClientStatements::name_of(const Statement& statement) const {
  const auto place = std::find_if(names_.begin(), names_.end(), [&](const auto& each) {
    return each.second.statement.get() == &statement;
  });
  return place == names_.end() ? std::string() : place->first;
}

std::vector<std::string> ClientStatements::others_in(Bytes sql) const {
  const auto lower = [](Bytes text) {
    std::string out(text);
    for (char& c : out)
      if (c >= 'A' && c <= 'Z') c = static_cast<char>(c | 0x20);
    return out;
  };
  const std::string text = lower(sql);
  std::vector<std::string> all;
  for (const auto& [name, named] : names_)
    if (named.made == Made::ByProtocol && text.find(lower(name)) != std::string::npos) all.push_back(name);
  return all;
}

std::vector<std::string> ClientStatements::made_by_sql() const {
  std::vector<std::string> all;
  for (const auto& [name, named] : names_)
    if (named.made == Made::BySql) all.push_back(name);
  return all;
}

}  // namespace pgweir
