#include "pooler/statements.h"

#include <algorithm>

#include "pooler/base/plain_sql.h"
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
  if (statement_ && --statement_->refs == 0) statement_->book->put_down(*statement_);
  statement_ = nullptr;
}

StatementBook::~StatementBook() { PGWEIR_CHECK(unused_.size() == statements_.size() && superseded_.empty()); }

StatementRef StatementBook::intern(Bytes content, Bytes parsing) {
  std::string key;
  key.reserve(parsing.size() + 1 + content.size());
  key.append(parsing).append(1, '\0').append(content);
  const auto known = statements_.find(key);
  if (known != statements_.end()) {
    Statement& statement = *known->second;
    if (statement.refs == 0) unused_.erase(statement.unused);
    StatementRef found(&statement);
    if (statement.definitions == definitions_) return found;
    supersede(statement);
  }
  if (!make_room(key.size() + kStatementCost)) return {};
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
  bytes_ += cost(*statement);
  Statement* raw = statement.get();
  statements_.emplace(raw->key, std::move(statement));
  return StatementRef(raw);
}

void StatementBook::remember(Statement& statement, std::shared_ptr<const protocol::SqlEffects> effects,
                             std::size_t bytes) {
  PGWEIR_CHECK(statement.refs > 0 && !statement.effects);
  const std::size_t most = bytes_max_ / kEffectsShare;
  if (bytes > most || effects_bytes_ > most - bytes || bytes_ + bytes > bytes_max_ / 2) return;
  bytes_ += bytes;
  effects_bytes_ += bytes;
  statement.effects_bytes = bytes;
  statement.effects = std::move(effects);
}

void StatementBook::tell_types(Statement& statement, Bytes types) {
  if (types == statement.types() || types == statement.told_types) return;
  const std::size_t before = statement.told_types.size();
  if (bytes_ - before + types.size() > bytes_max_ / 2) return;
  bytes_ = bytes_ - before + types.size();
  statement.told_types = types;
}

void StatementBook::forget(const Statement& statement) {
  bytes_ -= cost(statement);
  effects_bytes_ -= statement.effects_bytes;
}

bool StatementBook::make_room(std::size_t bytes) {
  if (bytes > bytes_max_) return false;
  while (bytes_ > bytes_max_ - bytes) {
    if (unused_.empty()) return false;
    const Statement& oldest = *unused_.front();
    forget(oldest);
    statements_.erase(statements_.find(oldest.key));
    unused_.pop_front();
  }
  return true;
}

void StatementBook::retire(Statement& statement) {
  supersede(statement);
  statement.stale = true;
}

void StatementBook::supersede(Statement& statement) {
  if (!statement.current) return;
  PGWEIR_CHECK(statement.refs > 0);
  const auto place = statements_.find(statement.key);
  superseded_.emplace(&statement, std::move(place->second));
  statements_.erase(place);
  statement.current = false;
}

void StatementBook::put_down(Statement& statement) {
  if (!statement.current) {
    forget(statement);
    superseded_.erase(&statement);
    return;
  }
  statement.unused = unused_.insert(unused_.end(), &statement);
}

void ClientStatements::set(Bytes name, StatementRef statement, Made made) {
  const auto [place, is_new] = names_.try_emplace(std::string(name), Named{{}, Made::ByProtocol});
  if (is_new) {
    bytes_ += name.size();
    book_.bytes_ += cost(name);
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
  book_.bytes_ -= cost(name);
  bytes_ -= name.size() + place->second.statement->content.size();
  --place->second.statement->names;
  last_ = nullptr;
  if (place->second.made == Made::BySql) --by_sql_;
  names_.erase(place);
}

void ClientStatements::clear() {
  for (const auto& [name, named] : names_) {
    book_.bytes_ -= cost(name);
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
