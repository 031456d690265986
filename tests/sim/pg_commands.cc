// tests/sim/pg_commands.cc - the commands of PgSession's little language.
#include <fmt/format.h>

#include <algorithm>
#include <charconv>

#include "protocol/messages.h"
#include "tests/sim/pg_session.h"
#include "tests/sim/pg_words.h"

namespace pgweir::sim {

namespace {
constexpr std::uint64_t kRowsAtOnce = 8;
const char* const kTraces[] = {"mark", "temp"};
struct Function {
  std::string oid, name, setting;
};
const Function kFunctions[] = {{"16400", "remember", "app.mark"},
                               {"16401", "elevate", std::string(kGuarded)}};

bool is_trace(Bytes name) {
  return std::find(std::begin(kTraces), std::end(kTraces), name) != std::end(kTraces);
}

// As Postgres compares names of settings.
bool same_name(Bytes a, Bytes b) {
  return std::equal(a.begin(), a.end(), b.begin(), b.end(), [](char x, char y) {
    const auto lower = [](char c) { return c >= 'A' && c <= 'Z' ? static_cast<char>(c | 0x20) : c; };
    return lower(x) == lower(y);
  });
}

std::vector<std::string> words_of(Bytes sql) {
  std::vector<std::string> words;
  for (std::size_t at = 0; at < sql.size();) {
    const std::size_t end = std::min(sql.find(' ', at), sql.size());
    if (end > at) words.emplace_back(sql.substr(at, end - at));
    at = end + 1;
  }
  return words;
}

std::uint64_t number(const std::string& text) {
  std::uint64_t value = 0;
  std::from_chars(text.data(), text.data() + text.size(), value);
  return value;
}

std::string unquoted(const std::string& word) {
  return word.size() > 1 && word.front() == '\'' ? word.substr(1, word.size() - 2) : word;
}

// Without quotes, and without the comma or the payload behind it.
std::string channel_of(const std::vector<std::string>& words) {
  const std::string& word = words[1];
  if (word[0] == '"') return word.substr(1, word.size() - 2);
  return word.substr(0, word.find(','));
}

// Of a statement, in front of its arguments.
std::string name_in(const std::string& word) { return word.substr(0, word.find('(')); }

std::string quoted_in(const std::string& sql) {
  const std::size_t from = sql.find('\'') + 1;
  return sql.substr(from, sql.find('\'', from) - from);
}

}  // namespace

void PgSession::set(const std::string& name, std::string value) {
  if (is_trace(name)) {
    traces_[name] = value;
    return;
  }
  if (value == "default") value = initial_[name];
  hidden_.erase(name);
  settings_[name] = spelt(name, value);
}

void PgSession::set_local(const std::string& name, const std::string& value) {
  if (tx_ == 'I') {
    std::string out;
    protocol::put_notice(out, "SET LOCAL can only be used in transaction blocks");
    return put(std::move(out));
  }
  hidden_.emplace(name, settings_[name]);
  settings_[name] = spelt(name, value);
}

// SAVEPOINT, ROLLBACK TO and RELEASE. False when it is none of them; it may have failed.
bool PgSession::run_savepoint(const std::vector<std::string>& words) {
  const bool makes = words[0] == "savepoint", releases = words[0] == "release";
  if (!makes && !releases && (words[0] != "rollback" || words.size() < 3 || words[1] != "to")) return false;
  const char* const tag = makes ? "SAVEPOINT" : releases ? "RELEASE" : "ROLLBACK";
  const std::string& name = words.back();
  if (tx_ == 'I') return fail("25P01", std::string(tag) + " can only be used in transaction blocks"), true;
  if (makes) {
    savepoints_.push_back(
        {name, settings_, hidden_, traces_, channels_, pending_.size(), notifying_.size(), cursors_made_});
    return complete(tag), true;
  }
  const auto found = std::find_if(savepoints_.rbegin(), savepoints_.rend(),
                                  [&name](const Savepoint& each) { return each.name == name; });
  if (found == savepoints_.rend()) return fail("3B001", "savepoint \"" + name + "\" does not exist"), true;
  savepoints_.erase(found.base(), savepoints_.end());
  if (releases) {
    savepoints_.pop_back();
  } else {
    undo_to(savepoints_.back());
    tx_ = 'T';
  }
  return complete(tag), true;
}

PgSession::Ran PgSession::run_cursor(const std::vector<std::string>& words, const std::string& sql) {
  const std::string& verb = words[0];
  if (verb != "declare" && verb != "fetch" && verb != "close") return Ran::Not;
  const std::string& name = words[verb == "fetch" ? 3 : 1];
  const auto found = cursors_.find(name);
  if (verb == "declare") {
    if (found != cursors_.end()) return fail("42P03", "cursor \"" + name + "\" already exists"), Ran::Failed;
    cursors_[name] = {quoted_in(sql), cursors_made_++};
    complete("DECLARE CURSOR");
  } else if (name == "all") {
    cursors_.clear();
    complete("CLOSE CURSOR ALL");
  } else if (found == cursors_.end()) {
    return fail("34000", "cursor \"" + name + "\" does not exist"), Ran::Failed;
  } else if (verb == "fetch") {
    row(found->second.value);
    complete("FETCH 1");
  } else {
    cursors_.erase(found);  // for good, whatever becomes of the transaction
    complete("CLOSE CURSOR");
  }
  return Ran::Well;
}

// Of the session's advisory locks. Nobody waits: each client has keys of its own.
PgSession::Ran PgSession::run_lock(const std::string& call, const std::string& sql) {
  constexpr Bytes kPrefix = "pg_advisory_";
  if (!call.starts_with(kPrefix)) return Ran::Not;
  const std::size_t open = call.find('(');
  const Bytes does = Bytes(call).substr(kPrefix.size(), open - kPrefix.size());
  const std::string key = call.substr(open + 1, call.find(')') - open - 1);
  if (does == "unlock_all") {
    locks_.clear();
    row({});
  } else if (does == "lock") {
    Lock& lock = locks_[key];
    ++lock.held;
    const Token who = token_in(sql);
    lock.who = fmt::format("c{}_{}", who.client, who.serial);
    row({});
  } else if (const auto found = locks_.find(key); found != locks_.end()) {
    if (--found->second.held == 0) locks_.erase(found);
    row("t");
  } else {
    std::string out;
    protocol::put_notice(out, "you don't own a lock of type ExclusiveLock");
    put(std::move(out));
    row("f");
  }
  complete("SELECT 1");
  return Ran::Well;
}

void PgSession::refuse_setting() {
  fail("42501", "permission denied to set parameter \"" + std::string(kGuarded) + "\"");
}

// What is told of remember() and elevate(), the functions of a user: their catalogs, bodies, who uses them.
bool PgSession::asked_for_functions(const std::string& sql) {
  const auto says = [&](const char* part) { return sql.find(part) != std::string::npos; };
  std::string out;
  if (says("hashtext"))
    protocol::put_data_row(out, {"1 1"});
  else if (says("proconfig"))
    for (const auto& [oid, name, setting] : kFunctions)
      protocol::put_data_row(out, {"1255 " + std::string(oid), name, "sql",
                                   fmt::format("select set_config('{}', $1, false)", setting)});
  else if (says("edges"))
    for (const auto& [oid, name, setting] : kFunctions)
      protocol::put_data_row(out, {"1255 " + std::string(oid), std::nullopt, name, ""});
  else if (says("ev_action") || says("ORDER BY p.oid"))
    return true;
  else
    return false;
  put(std::move(out));
  return true;
}

// What is not the pooler's own.
void PgSession::tell_statements() {
  for (const auto& [name, prepared] : statements_) {
    if (name.empty() || name.starts_with("pgweir_")) continue;
    std::string out;
    const bool from_sql = !prepared.text.empty();
    protocol::put_data_row(
        out, {name, prepared.types, from_sql ? "t" : "f", from_sql ? prepared.text : prepared.sql});
    put(std::move(out));
  }
}

// False when it failed.
bool PgSession::asked_by_pooler(const std::string& sql, const std::vector<std::string>& values) {
  const auto says = [&](const char* part) { return sql.find(part) != std::string::npos; };
  if (asked_for_functions(sql)) {
  } else if (says("pg_is_in_recovery")) {
    std::string out;
    protocol::put_data_row(out, {in_recovery() ? "t" : "f", "off"});
    put(std::move(out));
  } else if (says("set_config('statement_timeout', NULL, true)")) {
    row(initial_["statement_timeout"]);  // for the transaction only, in which no time passes
  } else if (says("pgweir_was")) {
    // For a moment in its transaction, and back.
    if (!values[1].empty())
      was_[values[0]] = std::exchange(settings_[values[0]], values[1]);
    else
      settings_[values[0]] = was_[values[0]];
    row(settings_[values[0]]);
  } else if (says("set_config")) {
    if (values.size() < 2) return fail("42601", "wrong parameters"), false;
    if (values[0] == kGuarded) return refuse_setting(), false;
    if (const auto bad = bad_setting({{values[0], values[1]}})) return fail("22023", *bad), false;
    set(values[0], values[1].empty() ? "default" : values[1]);
    row(settings_[values[0]]);  // as Postgres spells it
  } else if (says("current_setting(s.name)")) {
    for (const auto& [name, value] : settings_) {
      if (value == initial_[name]) continue;
      std::string out;
      protocol::put_data_row(out, {name, value, name == kGuarded ? "f" : "t"});
      put(std::move(out));
    }
  } else if (says("current_setting")) {
    if (values.size() != 1) return fail("42601", "wrong parameters"), false;
    std::optional<std::string> value, source;  // none of a setting that it does not know
    const auto known = std::find_if(settings_.begin(), settings_.end(),
                                    [&](const auto& each) { return same_name(each.first, values[0]); });
    if (known != settings_.end()) {
      value = known->second;
      source = value == initial_[known->first] ? "default" : "session";
    }
    std::string out;
    if (says("pg_settings"))
      protocol::put_data_row(out, {value, source, values[0] == kGuarded ? "f" : "t"});
    else
      protocol::put_data_row(out, {value});
    put(std::move(out));
  } else if (says("pg_terminate_backend")) {
    row(terminate && terminate(static_cast<std::uint32_t>(number(sql.substr(sql.find('(') + 1)))) ? "t"
                                                                                                  : "f");
  } else if (says("pg_depend") && traces_.contains("temp")) {
    row("1");
  } else if ((says("pg_cursors") && !cursors_.empty()) || (says("pg_locks") && !locks_.empty())) {
    row("1");
  } else if (says("pg_prepared_statements")) {
    tell_statements();
  } else if (says("pg_listening_channels")) {
    for (const auto& [channel, who] : channels_) row(channel);
  }
  complete("SELECT 1");
  return true;
}

void PgSession::run(const std::string& asked, const std::vector<std::string>& bound, From from,
                    std::string zone) {
  std::vector<std::string> words = words_of(asked);
  if (words.empty()) return put(bare_message('I'));
  std::string sql = asked;
  std::vector<std::string> values = bound;
  if (words[0] == "execute" && tx_ != 'E') {
    const auto prepared = statements_.find(name_in(words[1]));
    if (prepared == statements_.end())
      return fail("26000", "prepared statement \"" + name_in(words[1]) + "\" does not exist");
    sql = prepared->second.sql;
    zone = prepared->second.zone;
    values.clear();
    const bool takes = sql.find("$1") != std::string::npos;
    if (takes && asked.find('\'') != std::string::npos) values.push_back(quoted_in(asked));
    words = words_of(sql);
  }
  for (std::string& word : words)
    if (word == "$1" && !values.empty()) word = values[0];
  const std::string verb = words[0];
  const std::string word = words.size() > 1 ? words.back() : "";
  if (tx_ == 'E' && !ends_block(sql))
    return fail("25P02", "current transaction is aborted, commands ignored until end of transaction block");
  const bool lone = tx_ == 'I' && !implicit_;
  if (lone) begin_block();
  // A simple query describes its rows by itself.
  const bool describes = from == From::Simple && returns_rows(sql) && verb != "rows";
  if (describes && (verb != "fetch" || cursors_.contains(words[3]))) describe_row(sql);

  if (run_savepoint(words)) return;
  Ran ran = run_cursor(words, sql);
  if (ran == Ran::Not && words.size() > 1) ran = run_lock(words[1], sql);
  if (ran == Ran::Failed) return;
  if (ran == Ran::Well) {
  } else if (verb == "echo") {
    row(word);
    complete("SELECT 1");
  } else if (verb == "begin") {
    tx_ = 'T';
    implicit_ = false;
    complete("BEGIN");
    return;
  } else if (verb == "commit" || verb == "rollback" || verb == "ROLLBACK") {
    const bool good = verb == "commit" && tx_ != 'E';
    good ? commit() : abort();
    tx_ = 'I';
    implicit_ = false;
    if (word == "chain" || word == "CHAIN") {
      begin_block();
      tx_ = 'T';
    }
    complete(good ? "COMMIT" : "ROLLBACK");
    return;
  } else if (verb == "error") {
    return fail(words[1].c_str(), "as asked by " + word);
  } else if (verb == "where") {
    row(identity_.where);
    complete("SELECT 1");
  } else if (verb == "whoami") {
    row(std::to_string(identity_.pid));
    answers_.back().wild = true;
    complete("SELECT 1");
  } else if (verb == "show") {
    const auto& from_map = is_trace(words[1]) ? traces_ : settings_;
    const auto found = from_map.find(words[1]);
    row(found == from_map.end() ? Bytes() : Bytes(found->second));
    complete("SHOW");
  } else if ((verb == "set" || verb == "reset") && words[1] == kGuarded) {
    return refuse_setting();
  } else if (verb == "set") {
    words[1] == "local" ? set_local(words[2], unquoted(word)) : set(words[1], unquoted(word));
    complete("SET");
  } else if (verb == "reset") {
    if (word == "all")
      settings_ = initial_, hidden_.clear();
    else
      set(word, "default");
    complete("RESET");
  } else if (verb == "create") {
    set("temp", words[3]);
    complete("CREATE TABLE");
  } else if (verb == "drop") {
    traces_.erase("temp");
    complete("DROP TABLE");
  } else if (verb == "listen" || verb == "LISTEN") {
    const Token who = token_in(sql);
    channels_[channel_of(words)] = who.client < 0 ? "" : fmt::format("c{}_{}", who.client, who.serial);
    complete("LISTEN");
  } else if (verb == "unlisten" || verb == "UNLISTEN") {
    if (words[1] == "*")
      channels_.clear();
    else
      channels_.erase(channel_of(words));
    complete("UNLISTEN");
  } else if (verb == "notify" || verb == "NOTIFY") {
    notifying_.push_back({channel_of(words), quoted_in(sql)});
    complete("NOTIFY");
  } else if (verb == "select" && (word.starts_with("remember(") || word.starts_with("elevate("))) {
    const std::string setting = word[0] == 'r' ? "app.mark" : std::string(kGuarded);
    set(setting, values.empty() ? quoted_in(sql) : values[0]);
    row(settings_[setting]);
    complete("SELECT 1");
  } else if (verb == "select") {
    set(quoted_in(sql), values.empty() ? "" : values[0]);
    row(settings_[quoted_in(sql)]);
    complete("SELECT 1");
  } else if (verb == "SET") {
    complete("SET");
  } else if (verb == "SELECT" || verb == "WITH") {
    if (!asked_by_pooler(sql, values)) return;
  } else if (verb == "insert") {
    pending_.push_back(word);
    complete("INSERT 0 1");
  } else if (verb == "notice") {
    std::string out;
    protocol::put_notice(out, word);
    put(std::move(out));
    complete("NOTICE");
  } else if (verb == "discard" || verb == "DISCARD") {
    if (!lone) return fail("25001", "DISCARD ALL cannot run inside a transaction block");
    traces_.clear();
    channels_.clear();
    cursors_.clear();
    locks_.clear();
    settings_ = initial_;
    drop_statements();
    portals_.clear();
    complete("DISCARD ALL");
  } else if (verb == "prepare") {
    const bool parameter = words[2] == "(text)";
    if (statements_.contains(words[1]))
      return fail("42P05", "prepared statement \"" + words[1] + "\" already exists");
    statements_[words[1]] = {sql.substr(sql.find(" as ") + 4), parameter ? "{25}" : "{}", sql, "v",
                             settings_["TimeZone"]};
    complete("PREPARE");
  } else if (verb == "table") {
    row(column_of(sql) + " of " + word);
    complete("SELECT 1");
  } else if (verb == "alter") {
    if (!lone) return fail("25001", "ALTER TABLE cannot run inside a transaction block");
    (*tables_)[words[2]] = word;
    complete("ALTER TABLE");
  } else if (verb == "values") {
    row(values.empty() ? quoted_in(sql) + " in " + zone : values[0]);
    complete("SELECT 1");
  } else if (verb == "deallocate" || verb == "DEALLOCATE") {
    if (word == "all")
      drop_statements();
    else if (statements_.erase(word) == 0)
      return fail("26000", "prepared statement \"" + word + "\" does not exist");
    complete(word == "all" ? "DEALLOCATE ALL" : "DEALLOCATE");
  } else if (verb == "sleep" || verb == "stubborn" || verb == "rows" || verb == "copyout") {
    busy_ = true;
    busy_from_ = from;
    stubborn_ = verb == "stubborn";
    const bool sleeps = verb == "sleep" || stubborn_;
    sleep_ms_ = sleeps ? static_cast<std::uint32_t>(number(words[1])) : 0;
    rows_copy_ = verb == "copyout";
    rows_left_ = sleeps ? 0 : number(words[1]);
    rows_size_ = verb == "rows" ? number(words[2]) : 0;
    rows_given_ = 0;
    rows_word_ = word;
    if (busy_portal_) {
      rows_given_ = busy_portal_->rows_done;
      rows_left_ -= std::min(rows_left_, rows_given_);
    }
    if (verb == "rows" && from == From::Simple) describe_row(sql);
    if (rows_copy_) put(copy_start('H'));
    return;  // resume() completes it
  } else if (verb == "copyin") {
    copy_in_ = true;
    copy_from_ = from;
    copy_word_ = word;
    copied_ = 0;
    put(copy_start('G'));
    return;
  } else {
    return fail("42601", "syntax error at \"" + verb + "\"");
  }
  if (lone && from == From::Simple) commit();
}

void PgSession::resume() {
  for (std::uint64_t i = 0; i < kRowsAtOnce && rows_left_ > 0; ++i) {
    if (rows_limit_ > 0 && rows_given_ - (busy_portal_ ? busy_portal_->rows_done : 0) >= rows_limit_) break;
    std::string value = rows_word_ + ":" + std::to_string(rows_given_) + ":";
    if (value.size() < rows_size_) value.resize(rows_size_, static_cast<char>('a' + rows_given_ % 26));
    if (rows_copy_) {
      std::string out;
      protocol::Writer(out, 'd').bytes(value).bytes("\n");
      put(std::move(out));
    } else {
      row(value);
    }
    --rows_left_;
    ++rows_given_;
  }
  const bool suspended = rows_left_ > 0 && rows_limit_ > 0 && busy_portal_ &&
                         rows_given_ - busy_portal_->rows_done >= rows_limit_;
  if (rows_left_ > 0 && !suspended) return;
  busy_ = false;
  sleep_ms_ = 0;
  if (busy_portal_) busy_portal_->rows_done = rows_given_;
  busy_portal_ = nullptr;
  rows_limit_ = 0;
  if (suspended) return put(bare_message('s'));
  if (rows_copy_) {
    put(bare_message('c'));
    complete("COPY " + std::to_string(rows_given_));
  } else {
    complete(rows_size_ > 0 ? "SELECT " + std::to_string(rows_given_) : "SLEEP");
  }
  rows_copy_ = false;
  if (busy_from_ == From::Extended) return;
  if (tx_ == 'I' && !implicit_) commit();
  run_simple();
}

void PgSession::cancel() {
  rows_left_ = rows_limit_ = 0;
  rows_copy_ = false;
  sleep_ms_ = 0;
  fail("57014", "canceling statement due to user request");
}

}  // namespace pgweir::sim
