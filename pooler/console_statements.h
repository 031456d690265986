// pooler/console_statements.h - the prepared statements of one worker, a few at a time.
#pragma once

#include <cstddef>
#include <map>
#include <optional>
#include <span>
#include <string>

#include "pooler/console_core.h"
#include "pooler/console_tables.h"
#include "pooler/walk.h"

namespace pgweir::console {

// Goes through the groups and through the book of each. Of what it sees it keeps only the first rows of the
// page, since each has a part of its text with it.
class StatementWalk {
 public:
  explicit StatementWalk(Page page) : page_(std::move(page)) {}

  // True when all have been seen. `rows` by their names.
  bool step(const Worker& worker, std::map<std::string, StatementRow>& rows, std::size_t most = kWalkAtOnce);

 private:
  using Rows = std::map<std::string, StatementRow>;
  Walked walk(const Group& group, Rows& rows, std::size_t most);
  void keep(const Group& group, const Statement& statement, Rows& rows) const;
  bool none_wanted(const Group& group, const Rows& rows) const;

  Page page_;
  std::optional<GroupKey> at_;  // empty: at the first group
  bool inside_ = false;         // some of that group's statements have been seen
  std::string prefix_;          // of their names
  BucketWalk book_;
};

// Fills in the fingerprints. Takes a parser's time for each row.
void tell_fingerprints(std::span<StatementRow> rows);

}  // namespace pgweir::console
