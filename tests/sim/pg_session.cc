#include "tests/sim/pg_session.h"

#include <algorithm>
#include <charconv>
#include <utility>

#include "pooler/base/error.h"
#include "protocol/messages.h"
#include "tests/sim/pg_words.h"

namespace pgweir::sim {

using protocol::Reader;
using protocol::Writer;

namespace {
bool reports(Bytes name) { return PgSession::defaults().contains(name); }
bool is_timeout(Bytes name) { return name.ends_with("_timeout"); }

// A semicolon that stands in a string ends no command.
std::size_t end_of_command(Bytes text, std::size_t at) {
  bool in_string = false;
  for (; at < text.size() && (in_string || text[at] != ';'); ++at)
    if (text[at] == '\'') in_string = !in_string;
  return at;
}

}  // namespace

const PgSession::Values& PgSession::defaults() {
  static const Values values{
      {"DateStyle", "ISO, MDY"},  {"IntervalStyle", "postgres"},        {"TimeZone", "UTC"},
      {"application_name", ""},   {"client_encoding", "SQL_ASCII"},     {"integer_datetimes", "on"},
      {"server_version", "15.4"}, {"standard_conforming_strings", "on"}};
  return values;
}

std::optional<std::string> PgSession::bad_setting(const Values& settings) {
  for (const auto& [name, value] : settings) {
    if (!reports(name) && name != "work_mem" && name != "app.mark" && !is_timeout(name))
      return "unrecognized configuration parameter \"" + name + "\"";
    if (value.substr(0, 3) == "bad") return "invalid value for parameter \"" + name + "\": \"" + value + "\"";
  }
  return std::nullopt;
}

PgSession::PgSession(Identity identity, const Values& settings) : identity_(std::move(identity)) {
  settings_ = defaults();
  settings_["work_mem"] = "4MB";
  settings_["lock_timeout"] = "0";
  settings_["app.mark"] = "";
  settings_[std::string(kGuarded)] = "none";
  for (const auto& [name, value] : settings) settings_[name] = spelt(name, value);
  initial_ = settings_;
  told_ = reported();
}

PgSession::Values PgSession::reported() const {
  Values out;
  for (const auto& [name, value] : settings_)
    if (reports(name)) out[name] = value;
  return out;
}

PgSession::Values PgSession::traces() const {
  Values all = traces_;
  if (const std::string& mark = settings_.at("app.mark"); !mark.empty()) all["app.mark"] = mark;
  if (const std::string& guarded = settings_.find(kGuarded)->second; guarded != "none")
    all[std::string(kGuarded)] = guarded;
  for (const auto& [channel, who] : channels_)
    if (!who.empty()) all["channel " + channel] = who;
  for (const auto& [name, cursor] : cursors_) all["cursor " + name] = cursor.value;
  for (const auto& [key, lock] : locks_) all["lock " + key] = lock.who;
  return all;
}

std::string PgSession::temp() const {
  const auto found = traces_.find("temp");
  return found == traces_.end() ? std::string() : found->second;
}

std::size_t PgSession::shared_statements() const {
  constexpr Bytes kPrefix = "pgweir_";
  return static_cast<std::size_t>(
      std::count_if(statements_.begin(), statements_.end(), [&](const auto& each) {
        const Bytes name = each.first;
        return name.starts_with(kPrefix) && name.size() > kPrefix.size() && name[kPrefix.size()] <= '9';
      }));
}

void PgSession::begin_block() {
  if (in_block_) return;
  in_block_ = true;
  settings_before_ = settings_;
  traces_before_ = traces_;
  channels_before_ = channels_;
  cursors_before_ = cursors_made_;
}

void PgSession::commit() {
  committed_.insert(committed_.end(), pending_.begin(), pending_.end());
  pending_.clear();
  notified_.insert(notified_.end(), notifying_.begin(), notifying_.end());
  notifying_.clear();
  for (auto& [name, value] : hidden_) settings_[name] = std::move(value);
  hidden_.clear();
  savepoints_.clear();
  in_block_ = false;
  portals_.clear();
}

std::set<std::string> PgSession::channels() const {
  std::set<std::string> all;
  for (const auto& [channel, who] : channels_) all.insert(channel);
  return all;
}

void PgSession::notify(std::uint32_t pid, const Notified& notified) {
  std::string out;
  Writer(out, 'A').u32(pid).c_string(notified.channel).c_string(notified.payload);
  put(std::move(out));
}

void PgSession::abort() {
  aborted_.insert(aborted_.end(), pending_.begin(), pending_.end());
  pending_.clear();
  if (in_block_) {
    settings_ = settings_before_;
    traces_ = traces_before_;
    channels_ = channels_before_;
    drop_cursors(cursors_before_);
  }
  notifying_.clear();
  hidden_.clear();
  savepoints_.clear();
  in_block_ = false;
  portals_.clear();
}

void PgSession::drop_cursors(std::uint64_t from) {
  std::erase_if(cursors_, [from](const auto& each) { return each.second.number >= from; });
}

void PgSession::undo_to(const Savepoint& savepoint) {
  settings_ = savepoint.settings;
  hidden_ = savepoint.hidden;
  traces_ = savepoint.traces;
  channels_ = savepoint.channels;
  drop_cursors(savepoint.cursor);
  const auto kept = pending_.begin() + static_cast<std::ptrdiff_t>(savepoint.pending);
  aborted_.insert(aborted_.end(), kept, pending_.end());
  pending_.erase(kept, pending_.end());
  notifying_.resize(savepoint.notifying);
}

// What an error takes back at once: all since the last savepoint.
void PgSession::undo() { savepoints_.empty() ? abort() : undo_to(savepoints_.back()); }

void PgSession::fail(const char* state, const std::string& message, const char* routine) {
  std::string out;
  {
    Writer body(out, 'E');
    body.c_string("SERROR").c_string("VERROR").c_string(std::string("C") + state).c_string("M" + message);
    if (routine) body.c_string(std::string("R") + routine);
    body.u8(0);
  }
  put(std::move(out));
  undo();
  if (tx_ == 'T') tx_ = 'E';
  busy_ = copy_in_ = false;
  implicit_ = false;
  busy_portal_ = nullptr;
  if (simple_open_) {
    commands_.clear();
    simple_open_ = false;
    ready();
  } else {
    skip_ = true;
  }
}

void PgSession::fail_stale() {
  fail("0A000", "cached plan must not change result type", "RevalidateCachedQuery");
}

std::string PgSession::column_of(Bytes sql) const {
  constexpr Bytes kReads = "table ";
  if (!sql.starts_with(kReads)) return "v";
  const auto table = tables_->find(sql.substr(kReads.size()));
  return table == tables_->end() ? "" : table->second;
}

void PgSession::renew(Bytes bind) {
  Reader in(bind);
  in.c_string();
  const auto statement = statements_.find(in.c_string());
  if (statement != statements_.end()) statement->second.column = column_of(statement->second.sql);
}

// Those with a name.
void PgSession::drop_statements() {
  statements_.erase(statements_.upper_bound(std::string()), statements_.end());
}

void PgSession::ready() {
  if (tx_ == 'I' && idle) idle();
  for (const auto& [name, value] : settings_) {
    if (!reports(name) || told_[name] == value) continue;
    told_[name] = value;
    std::string out;
    protocol::put_parameter_status(out, name, value);
    put(std::move(out));
  }
  std::string out;
  protocol::put_ready(out, tx_);
  put(std::move(out));
}

void PgSession::complete(Bytes tag) {
  std::string out;
  protocol::put_command_complete(out, tag);
  put(std::move(out));
}

void PgSession::describe_row(Bytes sql) {
  std::string out;
  protocol::put_row_description(out, {{column_of(sql), protocol::kTextOid}});
  put(std::move(out));
}

void PgSession::row(Bytes value) {
  std::string out;
  protocol::put_data_row(out, {std::string(value)});
  put(std::move(out));
}

bool PgSession::silent(char type) const {
  if (busy_) return false;
  if (type == 'H') return true;
  if (copy_in_) return type == 'd' || type == 'S';
  if (type == 'd' || type == 'c' || type == 'f') return true;
  return skip_ && type != 'S';
}

void PgSession::message(char type, Bytes body) {
  if (copy_in_) return copy_message(type, body);
  if (type == 'H' || type == 'd' || type == 'c' || type == 'f') return;
  if (type == 'S') {
    skip_ = false;
    if (implicit_) commit();
    implicit_ = false;
    if (tx_ == 'I') portals_.clear();
    return ready();
  }
  if (skip_) return;
  if (type != 'Q') return extended(type, body);
  simple_open_ = true;
  statements_.erase("");
  const Bytes text = body.substr(0, body.find('\0'));
  for (std::size_t at = 0; at <= text.size();) {
    const std::size_t end = end_of_command(text, at);
    Bytes command = text.substr(at, end - at);
    while (!command.empty() && command[0] == ' ') command.remove_prefix(1);
    if (!command.empty()) commands_.emplace_back(command);
    at = end + 1;
  }
  if (commands_.empty()) put(bare_message('I'));
  // An open batch ends with the query, and shares its fate.
  if (commands_.size() > 1 && tx_ == 'I' && !implicit_) {
    implicit_ = true;
    begin_block();
  }
  run_simple();
}

void PgSession::run_simple() {
  while (simple_open_ && !busy_ && !copy_in_) {
    if (commands_.empty()) {
      simple_open_ = false;
      if (implicit_) commit();
      implicit_ = false;
      return ready();
    }
    const std::string command = std::move(commands_.front());
    commands_.pop_front();
    run(command, {}, From::Simple, settings_["TimeZone"]);
  }
}

void PgSession::refused(char type, std::string error) {
  put(std::move(error));
  undo();
  if (tx_ == 'T') tx_ = 'E';
  implicit_ = false;
  if (type == 'Q' || type == 'F') {
    ready();
  } else {
    skip_ = true;
  }
}

void PgSession::copy_message(char type, Bytes body) {
  if (type == 'd') {
    // Each line carries the word, so that foreign data is seen.
    if (body.substr(0, copy_word_.size()) != copy_word_)
      return fail("22P04", "foreign COPY data for " + copy_word_);
    ++copied_;
  } else if (type == 'c') {
    copy_in_ = false;
    complete("COPY " + std::to_string(copied_));
    if (copy_from_ == From::Extended) return;
    if (tx_ == 'I' && !implicit_) commit();
    run_simple();
  } else if (type == 'f') {
    fail("57014", "COPY from stdin failed: " + std::string(body.substr(0, body.find('\0'))));
  } else if (type != 'S' && type != 'H') {
    fail("08P01", "unexpected message type during COPY from stdin");
  }
}

void PgSession::extended(char type, Bytes body) {
  Reader in(body);
  if (tx_ == 'I' && !implicit_) {
    implicit_ = true;
    begin_block();
  }
  if (type == 'P') {
    const std::string name(in.c_string());
    const std::string sql(in.c_string());
    if (name.empty()) statements_.erase("");
    if (tx_ == 'E' && !ends_block(sql) && !sql.empty()) return run(sql, {}, From::Extended, {});
    if (sql.substr(0, 8) == "badparse") return fail("42601", "syntax error in " + sql);
    if (!name.empty() && statements_.contains(name))
      return fail("42P05", "prepared statement \"" + name + "\" already exists");
    std::string types;
    for (std::uint16_t count = in.u16(); count > 0; --count)
      types += (types.empty() ? "" : ",") + std::to_string(in.u32());
    statements_[name] = {sql, '{' + types + '}', {}, column_of(sql), settings_["TimeZone"]};
    put(bare_message('1'));
  } else if (type == 'B') {
    const std::string portal(in.c_string());
    const std::string name(in.c_string());
    const auto statement = statements_.find(name);
    if (statement == statements_.end())
      return fail("26000", name.empty() ? "unnamed prepared statement does not exist"
                                        : "prepared statement \"" + name + "\" does not exist");
    if (tx_ == 'E' && !ends_block(statement->second.sql))
      return run(statement->second.sql, {}, From::Extended, {});
    if (statement->second.column != column_of(statement->second.sql)) return fail_stale();
    Portal made{statement->second.sql, {}, 0, statement->second.zone};
    for (std::uint16_t formats = in.u16(); formats > 0; --formats) in.u16();
    for (std::uint16_t count = in.u16(); count > 0; --count) {
      const std::uint32_t size = in.u32();
      made.values.emplace_back(size == 0xffffffff ? Bytes() : in.bytes(size));
    }
    portals_[portal] = std::move(made);
    put(bare_message('2'));
  } else if (type == 'D') {
    const char what = static_cast<char>(in.u8());
    const Bytes name = in.c_string();
    const auto statement = statements_.find(name);
    const auto portal = portals_.find(name);
    if (what == 'S' ? statement == statements_.end() : portal == portals_.end())
      return fail(what == 'S' ? "26000" : "34000",
                  what == 'S' ? "prepared statement \"" + std::string(name) + "\" does not exist"
                              : "portal does not exist");
    const std::string& sql = what == 'S' ? statement->second.sql : portal->second.sql;
    if (what == 'S') {
      if (statement->second.column != column_of(sql)) return fail_stale();
      std::string out;
      const bool parameter = sql.find("$1") != std::string::npos;
      Writer(out, 't').u16(parameter ? 1 : 0).bytes(parameter ? Bytes("\0\0\0\x19", 4) : Bytes());
      put(std::move(out));
    }
    returns_rows(sql) ? describe_row(sql) : put(bare_message('n'));
  } else if (type == 'E') {
    const auto portal = portals_.find(in.c_string());
    if (portal == portals_.end()) return fail("34000", "portal does not exist");
    const std::uint32_t limit = in.u32();
    const Portal held = portal->second;
    if (held.sql.substr(0, 5) == "rows ") {
      busy_portal_ = &portal->second;
      rows_limit_ = limit;
    }
    run(held.sql, held.values, From::Extended, held.zone);
  } else if (type == 'C') {
    const char what = static_cast<char>(in.u8());
    const Bytes name = in.c_string();
    if (what == 'S') {
      if (const auto found = statements_.find(name); found != statements_.end()) statements_.erase(found);
    } else if (const auto found = portals_.find(name); found != portals_.end()) {
      portals_.erase(found);
    }
    put(bare_message('3'));
  } else {
    fail("08P01", "invalid frontend message type");
  }
}

Token token_in(Bytes text) {
  for (std::size_t at = text.find('c'); at != Bytes::npos; at = text.find('c', at + 1)) {
    Token token;
    const char* const end = text.data() + text.size();
    const auto client = std::from_chars(text.data() + at + 1, end, token.client);
    if (client.ec != std::errc{} || client.ptr == end || *client.ptr != '_') continue;
    if (std::from_chars(client.ptr + 1, end, token.serial).ec == std::errc{}) return token;
  }
  return {};
}

}  // namespace pgweir::sim
