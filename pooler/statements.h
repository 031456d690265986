// pooler/statements.h - prepared statements that outlive a server: by content in the group, by name in the
// client, by least recent use on the server.
//
// A Statement is one text with its parameter types. It exists once per group while a client names it or a
// server knows it, counted without atomics: all of it lives on one worker.
#pragma once

#include <cstdint>
#include <deque>
#include <list>
#include <memory>
#include <string>
#include <unordered_map>
#include <utility>

#include "pooler/base/bytes.h"
#include "pooler/base/check.h"

namespace pgweir {

class StatementBook;

struct Statement {
  std::string content;      // what follows the name in a Parse: text, NUL, parameter types
  std::string server_name;  // "pgweir_<n>", the same on every server of the group
  bool leaves_state = false;
  StatementBook* book = nullptr;
  std::uint32_t refs = 0;
};

class StatementRef {
 public:
  StatementRef() = default;
  explicit StatementRef(Statement* statement) : statement_(statement) { retain(); }
  StatementRef(const StatementRef& other) : statement_(other.statement_) { retain(); }
  StatementRef(StatementRef&& other) noexcept : statement_(std::exchange(other.statement_, nullptr)) {}
  StatementRef& operator=(StatementRef other) noexcept {
    return std::swap(statement_, other.statement_), *this;
  }
  ~StatementRef() { release(); }
  Statement* get() const { return statement_; }
  Statement* operator->() const { return statement_; }
  explicit operator bool() const { return statement_ != nullptr; }

 private:
  void retain() {
    if (statement_) ++statement_->refs;
  }
  void release();
  Statement* statement_ = nullptr;
};

// Owns the statements of one group. Must outlive every StatementRef.
class StatementBook {
 public:
  explicit StatementBook(std::size_t bytes_max) : bytes_max_(bytes_max) {}
  ~StatementBook() { PGWEIR_CHECK(statements_.empty()); }
  StatementBook(const StatementBook&) = delete;
  StatementBook& operator=(const StatementBook&) = delete;

  // Empty when the group's budget is used up.
  StatementRef intern(Bytes content);
  std::size_t bytes() const { return bytes_; }
  std::size_t bytes_max() const { return bytes_max_; }

 private:
  friend class StatementRef;
  void forget(Statement* statement);
  std::size_t bytes_max_;
  std::size_t bytes_ = 0;
  std::uint64_t next_ = 1;
  std::unordered_map<std::string_view, std::unique_ptr<Statement>> statements_;  // key: into content
};

// What one server has prepared, least recently used first.
class ServerStatements {
 public:
  bool knows(const Statement* statement) const { return places_.count(statement) != 0; }
  void touch(const Statement* statement) {
    const auto place = places_.find(statement);
    PGWEIR_CHECK(place != places_.end());
    order_.splice(order_.end(), order_, place->second);
  }
  void add(StatementRef statement) {
    if (knows(statement.get())) return touch(statement.get());
    const Statement* key = statement.get();
    places_[key] = order_.insert(order_.end(), std::move(statement));
  }
  StatementRef take_oldest() {
    PGWEIR_CHECK(!order_.empty());
    StatementRef oldest = order_.front();
    places_.erase(oldest.get());
    order_.pop_front();
    return oldest;
  }
  std::size_t size() const { return places_.size(); }
  void clear() {
    places_.clear();
    order_.clear();
  }

 private:
  std::list<StatementRef> order_;
  std::unordered_map<const Statement*, std::list<StatementRef>::iterator> places_;
};

// The names of one client.
using ClientStatements = std::unordered_map<std::string, StatementRef>;

// A change of prepared statements that takes effect when the server has answered it. Kept in the order of the
// pipeline's entries that have Op::Statement.
struct StatementOp {
  enum class Kind : std::uint8_t {
    Prepare,  // the client's Parse under `name`; when it fails the name means `before` again
    Inject,   // our Parse, because this server did not know the statement
    Forget,   // the client's Close of `name`; when it is skipped the name means `before` again
    Evict,    // our Close, because the server knew too many
    Refuse,   // a request that we refuse: `name` holds the ErrorResponse that replaces the server's
  };
  Kind kind = Kind::Inject;
  std::uint32_t batch = 0;
  std::string name;
  StatementRef statement;
  StatementRef before;
};

}  // namespace pgweir
