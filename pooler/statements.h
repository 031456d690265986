// pooler/statements.h - prepared statements that outlive a server: by content in the group, by name in the
// client, by what they cost with the tenant, by least recent use on the server.
//
// A Statement is one text with its parameter types; it exists once per group. Clients and their requests
// under way hold it by reference, which each tenant pays for by itself: who shares a text pays as much as who
// does not, so that no tenant's room depends on what others have. When nobody holds it it stays in the book,
// so that the next client that prepares it finds it on the servers, until its room is needed. Servers hold
// ids only, so what they remember costs no budget; an id is never used again. Counted without atomics: all of
// it lives on one worker.
#pragma once

#include <algorithm>
#include <cstdint>
#include <functional>
#include <limits>
#include <list>
#include <memory>
#include <string>
#include <unordered_map>
#include <utility>
#include <vector>

#include "pooler/base/bytes.h"
#include "pooler/base/check.h"
#include "pooler/base/error.h"
#include "pooler/base/list.h"
#include "pooler/text_words.h"
#include "protocol/sql.h"
#include "protocol/sql_words.h"

namespace pgweir {

class StatementBook;
class TenantStatements;

using StatementId = std::uint64_t;  // 0: none

// How often the clients of one tenant hold a statement.
struct StatementHold {
  TenantStatements* tenant = nullptr;  // null: nobody's
  std::uint32_t refs = 0;
};

struct Statement : ListLink<Statement> {
  std::string key;          // `parsing` (see SettingsMap), NUL, content
  Bytes content;            // in key: what follows the name in a Parse: text, NUL, parameter types
  Bytes sql;                // in content: the text
  std::string server_name;  // "pgweir_<id>", the same on every server of the group
  StatementId id = 0;
  protocol::SqlWords words = protocol::SqlWords::Harmless;
  bool alike = false;   // see reads_alike()
  bool unsure = false;  // was prepared behind what may have changed how texts are read
  bool current = true;  // who prepares the text now gets this one
  bool stale = false;   // see StatementBook::retire
  TextWords mentioned;  // by sql
  // What the text does; null: see StatementBook::remember.
  std::shared_ptr<const protocol::SqlEffects> effects;
  std::size_t effects_bytes = 0;
  bool runs_routines = false;          // by RoutineBook::version():
  std::uint32_t routines_version = 0;  // 0: not looked at yet
  std::uint32_t definitions = 0;
  std::uint64_t columns = 0;  // see columns_of(), as a client was told of them; 0: none was
  std::string told_types;     // see StatementBook::tell_types
  StatementBook* book = nullptr;
  StatementHold hold;                   // some tenant's; those of others are with them
  std::uint32_t refs = 0;               // tenants, and KeptStatements
  std::uint32_t names = 0;              // that clients have for it
  std::uint64_t parses = 0, binds = 0;  // of clients

  Bytes types() const { return content.substr(std::min(content.size(), sql.size() + 1)); }
  Bytes parsing() const { return Bytes(key).substr(0, key.size() - content.size() - 1); }
  // With the parameter types that clients were told of. Postgres finds them once, at the Parse, and binds by
  // them whatever becomes of the tables: so must a server that learns the text after such a change.
  std::string content_as_told() const {
    return told_types.empty() ? std::string(content) : std::string(sql) + '\0' + told_types;
  }
};

// What Postgres says where a statement's result would have other columns than it was prepared with.
void put_stale_statement(std::string& out);
// The names and types of the columns that a RowDescription (`type` 'T') or NoData tells of, in one number,
// which is never 0. Of one that has not come in full, or is none, it is kUnreadColumns.
inline constexpr std::uint64_t kUnreadColumns = 1;
std::uint64_t columns_of(char type, Bytes message);

// For one tenant, which pays for the statement while it has any. See TenantStatements::hold.
class StatementRef {
 public:
  StatementRef() = default;
  StatementRef(const StatementRef& other) : statement_(other.statement_), hold_(other.hold_) { retain(); }
  StatementRef(StatementRef&& other) noexcept
      : statement_(std::exchange(other.statement_, nullptr)), hold_(other.hold_) {}
  StatementRef& operator=(StatementRef other) noexcept {
    std::swap(statement_, other.statement_);
    std::swap(hold_, other.hold_);
    return *this;
  }
  ~StatementRef() { release(); }
  Statement* get() const { return statement_; }
  Statement& operator*() const { return *statement_; }
  Statement* operator->() const { return statement_; }
  explicit operator bool() const { return statement_ != nullptr; }

 private:
  friend class TenantStatements;
  StatementRef(Statement& statement, StatementHold& hold) : statement_(&statement), hold_(&hold) { retain(); }
  void retain() {
    if (statement_) ++hold_->refs;
  }
  void release();
  Statement* statement_ = nullptr;
  StatementHold* hold_ = nullptr;
};

// Keeps a statement that somebody holds, at nobody's cost: for what is soon over.
class KeptStatement {
 public:
  explicit KeptStatement(Statement& statement) : statement_(&statement) { ++statement.refs; }
  KeptStatement(const KeptStatement& other) : statement_(other.statement_) { ++statement_->refs; }
  KeptStatement(KeptStatement&& other) noexcept : statement_(std::exchange(other.statement_, nullptr)) {}
  KeptStatement& operator=(KeptStatement other) noexcept {
    return std::swap(statement_, other.statement_), *this;
  }
  ~KeptStatement() { release(); }
  Statement* get() const { return statement_; }
  Statement& operator*() const { return *statement_; }
  Statement* operator->() const { return statement_; }

 private:
  void release();
  Statement* statement_;
};

// Owns the statements of one group. Must outlive every StatementRef and KeptStatement.
class StatementBook {
 public:
  // What a statement or a client's name for it costs besides its text.
  static constexpr std::size_t kStatementCost = 256, kNameCost = 128;

  // `bytes_max`: of each tenant whose clients prepare, and of all statements here, those that nobody holds
  // among them. Those are forgotten before there are more; what is held may be more, where tenants are many.
  explicit StatementBook(std::size_t bytes_max) : bytes_max_(bytes_max) {}
  ~StatementBook();
  StatementBook(const StatementBook&) = delete;
  StatementBook& operator=(const StatementBook&) = delete;

  // Empty when the tenant's budget is used up. Equal texts under different `parsing` are different
  // statements.
  StatementRef intern(TenantStatements& tenant, Bytes content, Bytes parsing = {});
  // Its tables have changed so that its result would have other columns: who prepares the text from now on
  // gets a statement of its own, known to no server yet. Those who hold this one were told of its old
  // columns. Somebody does.
  void retire(Statement& statement);
  // Tables, views or the like were made, altered or dropped: the same for all statements, but whether theirs
  // are concerned is not known.
  void definitions_changed() { ++definitions_; }
  // They were, since it was first prepared.
  bool outdated(const Statement& statement) const { return statement.definitions != definitions_; }
  // Keeps with the statement what its text does, which takes so many bytes, where that takes less than an
  // eighth of the book's.
  void remember(Statement& statement, std::shared_ptr<const protocol::SqlEffects> effects, std::size_t bytes);
  // Clients are told of these parameter types, as in a ParameterDescription's body. Not kept where they are
  // more than the statement itself.
  void tell_types(Statement& statement, Bytes types);
  std::size_t bytes() const { return bytes_; }
  std::size_t bytes_max() const { return bytes_max_; }
  // With a lower one, clients keep what they have prepared.
  void set_bytes_max(std::size_t bytes_max) {
    bytes_max_ = bytes_max;
    make_room(0);
  }
  std::size_t size() const { return statements_.size(); }
  using Statements = std::unordered_map<Bytes, std::unique_ptr<Statement>>;  // by Statement::key
  // Those that who prepares their text now is given.
  const Statements& statements() const { return statements_; }
  // To each tenant that holds it.
  static std::size_t cost(const Statement& statement) { return statement.key.size() + kStatementCost; }

 private:
  friend class TenantStatements;
  friend class KeptStatement;
  static constexpr std::size_t kEffectsShare = 8;
  static std::size_t size(const Statement& statement) {
    return cost(statement) + statement.effects_bytes + statement.told_types.size();
  }
  // Forgets unused statements, oldest first, until `bytes` more fit or there are none.
  void make_room(std::size_t bytes);
  void forget(const Statement& statement);
  void forget_unused(Statement& statement);
  void take_up(Statement& statement);
  void put_down(Statement& statement);
  void supersede(Statement& statement);
  std::size_t bytes_max_;
  std::size_t bytes_ = 0, effects_bytes_ = 0;
  std::uint32_t definitions_ = 0;
  StatementId next_ = 1;
  Statements statements_;
  List<Statement> unused_;                                                 // longest unused first
  std::unordered_map<Statement*, std::unique_ptr<Statement>> superseded_;  // until nobody holds them
};

// What the clients of one tenant have prepared, or ask for, in all groups that they are in: each statement is
// counted once, however many of them hold it, and each name. Must outlive their StatementRefs.
class TenantStatements {
 public:
  TenantStatements() = default;
  ~TenantStatements() { PGWEIR_CHECK(bytes_ == 0 && others_.empty()); }
  TenantStatements(const TenantStatements&) = delete;
  TenantStatements& operator=(const TenantStatements&) = delete;

  std::size_t bytes() const { return bytes_; }
  bool has_room(std::size_t bytes, std::size_t most) const { return bytes <= most && bytes_ <= most - bytes; }
  // Empty where it is not held yet, and has no room within `most`.
  StatementRef hold(Statement& statement, std::size_t most = std::numeric_limits<std::size_t>::max());

 private:
  friend class StatementRef;
  friend class ClientStatements;
  void let_go(Statement& statement);
  std::size_t bytes_ = 0;
  // Where another tenant has Statement::hold.
  std::unordered_map<const Statement*, StatementHold> others_;
};

// What one server has prepared, least recently used first.
class ServerStatements {
 public:
  bool knows(StatementId id) const { return is_last(id) || places_.contains(id); }
  // Notes a use; false when the server does not know it.
  bool use(StatementId id) {
    if (is_last(id)) return true;
    const auto place = places_.find(id);
    if (place == places_.end()) return false;
    order_.splice(order_.end(), order_, place->second);
    return true;
  }
  void add(StatementId id) {
    if (!use(id)) places_[id] = order_.insert(order_.end(), id);
  }
  // False when the server does not know it.
  bool take(StatementId id) {
    const auto place = places_.find(id);
    if (place == places_.end()) return false;
    order_.erase(place->second);
    places_.erase(place);
    return true;
  }
  StatementId take_oldest() {
    PGWEIR_CHECK(!order_.empty());
    const StatementId oldest = order_.front();
    places_.erase(oldest);
    order_.pop_front();
    return oldest;
  }
  std::size_t size() const { return places_.size(); }
  void clear() {
    places_.clear();
    order_.clear();
  }

 private:
  bool is_last(StatementId id) const { return !order_.empty() && order_.back() == id; }

  std::list<StatementId> order_;  // the oldest use first
  std::unordered_map<StatementId, std::list<StatementId>::iterator> places_;
};

// The names of one client, which are counted with its tenant. That must outlive this.
class ClientStatements {
 public:
  explicit ClientStatements(TenantStatements& tenant) : tenant_(tenant) {}
  ~ClientStatements() { clear(); }
  ClientStatements(const ClientStatements&) = delete;
  ClientStatements& operator=(const ClientStatements&) = delete;

  // Whether a name is one of SQL, too: made by PREPARE, or used by a text.
  enum class Made : std::uint8_t { ByProtocol, BySql };

  // Null when the client has no such name. Valid until the next change.
  const StatementRef* find(Bytes name) const {
    if (last_ && last_->first == name) return &last_->second.statement;
    const auto place = names_.find(name);
    if (place == names_.end()) return nullptr;
    last_ = &*place;
    return &place->second.statement;
  }
  std::vector<std::string> made_by_sql() const;
  // Those of the others that stand in the text, in any case.
  std::vector<std::string> others_in(Bytes sql) const;
  // One that it has for the statement; empty: none.
  std::string name_of(const Statement& statement) const;
  // `name` is there.
  Made made(Bytes name) const { return names_.find(name)->second.made; }
  bool any_by_sql() const { return by_sql_ > 0; }
  static std::size_t cost(Bytes name) { return name.size() + StatementBook::kNameCost; }
  void set(Bytes name, StatementRef statement, Made made = Made::ByProtocol);
  // `name` is there.
  void replace(Bytes name, StatementRef statement);
  void erase(Bytes name);
  void clear();
  std::size_t size() const { return names_.size(); }
  // Of names and texts, also where others have the same text.
  std::size_t bytes() const { return bytes_; }

 private:
  struct Hash {
    using is_transparent = void;
    std::size_t operator()(Bytes name) const { return std::hash<Bytes>()(name); }
  };
  struct Named {
    StatementRef statement;
    Made made;
  };
  void put(Named& named, StatementRef statement);
  TenantStatements& tenant_;
  using Names = std::unordered_map<std::string, Named, Hash, std::equal_to<>>;
  Names names_;
  // That was found: one request asks for the same name several times.
  mutable const Names::value_type* last_ = nullptr;
  std::size_t bytes_ = 0, by_sql_ = 0;
};

// A change of prepared statements that takes effect when the server has answered it. Kept in the order of the
// pipeline's entries that have Op::Statement.
struct StatementOp {
  enum class Kind : std::uint8_t {
    Prepare,     // the client's Parse under `name`; when it fails the name means nothing again
    Inject,      // our Parse, because this server did not know the statement
    Try,         // our Parse for the sake of its errors
    Forget,      // the client's Close of `name`; when it is skipped the name means `statement` again
    Evict,       // our Close, because the server knew too many, or is to learn it anew
    Refuse,      // a request that we refuse: `name` holds the ErrorResponse that replaces the server's
    Tell,        // a request that was changed: `name` holds the NoticeResponses that go ahead of its answer
    Lend,        // our Parse under the client's own `name`, for a text of its batch
    Supply,      // our Parse in front of a simple query, with a Sync of its own; `name` as of Lend, or empty
    Supplied,    // that query; else as Tell. Where it executes `statement`, `called` tells by what name
    Unsupplied,  // the same, when its Supply has failed with the ErrorResponse in `name`
    Columns,     // a Describe, of the client's or ours, that tells the columns of `statement`
    Unnamed,  // the client's Parse or Close of none; when it is skipped `name` is again its content, `here`
  };
  Kind kind = Kind::Inject;
  std::uint32_t batch = 0;
  StatementId id = 0;  // what the server learns (Prepare, Inject) or forgets (Evict)
  std::string name;
  StatementRef statement;
  bool here = false;     // of Unnamed: the server had it
  bool misread = false;  // ... and did not read it as we do
  struct Called {
    std::string name;  // of the client's
    // In characters: as it stands in the client's text, through its end there, and of the whole.
    std::size_t size = 0, end = 0, whole = 0;
  };
  Called called = {};
  // Of a query, in the order of its DEALLOCATEs: what each takes from the client, or nothing. It takes place
  // as it is run, whatever becomes of the query; so `deallocated` of them have.
  struct Taken {
    std::string name;
    StatementRef statement;
    ClientStatements::Made made = ClientStatements::Made::ByProtocol;
  };
  std::vector<Taken> taken = {};
  std::size_t deallocated = 0;
};

}  // namespace pgweir
