#include "pooler/console_statements.h"

#include <fmt/format.h>

#include <algorithm>
#include <iterator>
#include <string_view>

#include "pooler/session_parts.h"
#include "pooler/worker.h"
#include "protocol/sql_fingerprint.h"

namespace pgweir::console {

namespace {

// Numbers in hex of one length, so that the order of names is the order of numbers.
std::string prefix_of(const Worker& worker, const Group& group) {
  return fmt::format("{}/{}/{:02x}{:08x}.", group.key().database, group.key().user, worker.index(),
                     group.id());
}

}  // namespace

bool StatementWalk::step(const Worker& worker, Rows& rows, std::size_t most) {
  const auto& groups = worker.groups();
  auto place = at_ ? groups.lower_bound(*at_) : groups.begin();
  for (std::size_t seen = 0; place != groups.end(); ++place) {
    if (seen >= most) {
      at_ = place->first;
      inside_ = false;
      return false;
    }
    const Group& group = *place->second;
    if (!inside_ || *at_ != place->first) {
      prefix_ = prefix_of(worker, group);
      book_ = {};
    }
    inside_ = false;
    ++seen;
    if (none_wanted(group, rows)) continue;
    if (walk(group, rows, most - seen) == Walked::All) {
      seen += group.books.statements.size();
      continue;
    }
    at_ = place->first;
    inside_ = true;
    return false;
  }
  return true;
}

bool StatementWalk::none_wanted(const Group& group, const Rows& rows) const {
  if (!matches(group.key().database, page_.like)) return true;
  const std::string_view after = page_.after;
  if (prefix_ < after && !after.starts_with(prefix_)) return true;
  return rows.size() >= page_.limit && (rows.empty() || rows.rbegin()->first < prefix_);
}

// For each statement all servers are asked.
Walked StatementWalk::walk(const Group& group, Rows& rows, std::size_t most) {
  return book_.step(
      group.books.statements.statements(), [&](const auto& entry) { keep(group, *entry.second, rows); },
      std::max<std::size_t>(most / (1 + group.servers().size()), 1));
}

void StatementWalk::keep(const Group& group, const Statement& statement, Rows& rows) const {
  std::string name = fmt::format("{}{:08x}", prefix_, statement.id);
  if (name <= page_.after || page_.limit == 0) return;
  if (rows.size() >= page_.limit && !rows.contains(name)) {
    const auto last = std::prev(rows.end());
    if (last->first < name) return;
    rows.erase(last);
  }
  StatementRow& row = rows[name];
  row.name = std::move(name);
  row.backend = group.key().backend;
  row.database = group.key().database;
  row.user = group.key().user;
  row.statement = statement.server_name;
  row.text.keep(sql_of(statement.content), true);
  row.bytes = StatementBook::cost(statement);
  row.names = statement.names;
  row.servers = static_cast<std::uint32_t>(
      std::count_if(group.servers().begin(), group.servers().end(),
                    [&](const auto& entry) { return entry.second->core.statements.knows(statement.id); }));
  row.parses = statement.parses;
  row.binds = statement.binds;
}

void tell_fingerprints(std::span<StatementRow> rows) {
  for (StatementRow& row : rows) row.fingerprint = protocol::sql_fingerprint(row.text.head, row.text.cut);
}

}  // namespace pgweir::console
