// tests/sim/pg_session.h - what Postgres answers to one session's messages, in a language of a few commands.
//
// Used twice: by the model server, and by each model client as the oracle of what direct Postgres would have
// said. Pure: messages in, answers out. A command that takes time leaves the session busy(); resume() goes
// on, cancel() ends it with 57014.
//
//   echo W | rows N SIZE W | begin | commit | rollback | error STATE W | sleep MS W | stubborn MS W |
//   show NAME |
//   set [local] NAME = 'VALUE' | savepoint NAME | rollback to NAME | release NAME | reset NAME | reset all |
//   select set_config('NAME', $1, false) | select remember('VALUE') | select elevate('VALUE') | create temp
//   table W () | drop table W | listen CHANNEL | unlisten CHANNEL | unlisten * | notify CHANNEL, 'W' | insert
//   W | where | whoami | notice W | copyin W | copyout N W | discard all | deallocate all | set mark W |
//   values ('W') | table NAME | alter table NAME rename column v to W | prepare NAME [(text)] as COMMAND |
//   execute NAME[('W')] | deallocate NAME | declare NAME scroll cursor with hold for values ('W') | fetch
//   first from NAME | close NAME | close all | select pg_advisory_lock(KEY) | select pg_advisory_unlock(KEY)
//   | select pg_advisory_unlock_all()
//
// (stubborn is a sleep that heeds no cancel; "set mark" is nothing that Postgres's grammar knows, and what it
// leaves behind nobody can be asked for; a table is there when its one column has been renamed) and what the
// pooler asks on its own. What changes a session is written as Postgres would read it, because the pooler
// reads it, too. W may be $1. Commands of one simple query are separated by ';'.
#pragma once

#include <cstdint>
#include <deque>
#include <functional>
#include <map>
#include <memory>
#include <optional>
#include <set>
#include <string>
#include <utility>
#include <vector>

#include "pooler/base/bytes.h"

namespace pgweir::sim {

// One answer message. A pooler may lawfully say something else where `exact` is false.
struct Answer {
  std::string bytes;
  std::string other;  // as good, when not empty
  bool wild = false;  // only the type is compared
};

class PgSession {
 public:
  using Values = std::map<std::string, std::string, std::less<>>;
  struct Identity {
    std::string where;  // "database/user"
    std::uint32_t pid = 0;
  };
  // `settings`: of the startup packet; the first bad one is an error (its message).
  PgSession(Identity identity, const Values& settings);
  void be_at(const std::string& where) { identity_.where = where; }
  static std::optional<std::string> bad_setting(const Values& settings);
  static const Values& defaults();  // those that Postgres reports
  Values reported() const;

  // Only while not busy(). 'X' is the caller's.
  void message(char type, Bytes body);
  bool busy() const { return busy_; }
  std::uint32_t sleep_ms() const { return sleep_ms_; }  // while busy: how long before resume()
  bool stubborn() const { return stubborn_; }           // heeds no cancel
  void resume();
  void cancel();
  // The request was refused from outside with this ErrorResponse (the client's side of a pooler), and a
  // transaction aborted with it.
  void refused(char type, std::string error);
  // This message, now, is answered by nothing.
  bool silent(char type) const;
  // No transaction, no open batch.
  bool at_rest() const { return tx_ == 'I' && !implicit_ && !skip_ && !copy_in_ && !busy_; }
  char tx_status() const { return tx_; }
  bool copying_in() const { return copy_in_; }

  std::vector<Answer> take_answers() { return std::exchange(answers_, {}); }
  // Rows inserted: durable since the last call; given up since the last call.
  std::vector<std::string> take_committed() { return std::exchange(committed_, {}); }
  std::vector<std::string> take_aborted() { return std::exchange(aborted_, {}); }
  // What would be visible to the next user of this session.
  Values traces() const;
  std::string temp() const;  // the token of its temporary table; empty: none
  // Statements that the pooler has prepared for its clients.
  std::size_t shared_statements() const;
  bool listens_to(const std::string& channel) const { return channels_.contains(channel); }
  std::set<std::string> channels() const;
  struct Notified {
    std::string channel, payload;
  };
  std::vector<Notified> take_notified() { return std::exchange(notified_, {}); }
  // Called between two transactions, in front of ReadyForQuery: what comes from others goes by notify().
  std::function<void()> idle;
  // pg_is_in_recovery()
  std::function<bool()> in_recovery = [] { return false; };
  // pg_terminate_backend()
  std::function<bool(std::uint32_t pid)> terminate;
  void notify(std::uint32_t pid, const Notified& notified);
  // Names of tables, and of the column of each. They are this session's own, or those of a database.
  using Tables = std::map<std::string, std::string, std::less<>>;
  void share(Tables& tables) { tables_ = &tables; }
  // What this Bind is of is as if it were prepared only now.
  void renew(Bytes bind);

 private:
  struct Portal {
    std::string sql;
    std::vector<std::string> values;
    std::uint64_t rows_done = 0;
    std::string zone = {};  // as of Prepared
  };
  enum class From : std::uint8_t { Simple, Extended };

  void run_simple();
  // `zone`: the TimeZone when it was parsed, by which literals are read.
  void run(const std::string& asked, const std::vector<std::string>& bound, From from, std::string zone);
  void extended(char type, Bytes body);
  void copy_message(char type, Bytes body);
  void set(const std::string& name, std::string value);
  void refuse_setting();
  void tell_statements();
  bool asked_for_functions(const std::string& sql);
  bool asked_by_pooler(const std::string& sql, const std::vector<std::string>& values);
  void begin_block();
  void commit();
  void abort();
  struct Savepoint;
  void undo_to(const Savepoint& savepoint);
  void undo();
  bool run_savepoint(const std::vector<std::string>& words);
  enum class Ran : std::uint8_t { Not, Well, Failed };
  Ran run_cursor(const std::vector<std::string>& words, const std::string& sql);
  Ran run_lock(const std::string& call, const std::string& sql);
  void set_local(const std::string& name, const std::string& value);
  void drop_cursors(std::uint64_t from);
  void fail(const char* state, const std::string& message, const char* routine = nullptr);
  void fail_stale();
  std::string column_of(Bytes sql) const;
  void drop_statements();
  void complete(Bytes tag);
  void row(Bytes value);
  void describe_row(Bytes sql);
  void ready();
  void put(std::string bytes) { answers_.push_back({std::move(bytes), {}, false}); }

  Identity identity_;
  Values settings_, initial_, told_;
  Values was_;                              // of settings that are otherwise for a moment
  Values traces_;                           // what is there only once: temp, listen
  Values settings_before_, traces_before_;  // of the transaction
  Values channels_, channels_before_;       // and who has made it listen
  std::vector<Notified> notifying_, notified_;
  Values hidden_;  // by SET LOCAL: what is there again behind the transaction
  struct Savepoint {
    std::string name;
    Values settings, hidden, traces, channels;
    std::size_t pending, notifying;  // so many of them
    std::uint64_t cursor;            // the first that was not made yet
  };
  std::vector<Savepoint> savepoints_;
  struct Cursor {
    std::string value;
    std::uint64_t number;
  };
  std::map<std::string, Cursor, std::less<>> cursors_;  // WITH HOLD
  std::uint64_t cursors_made_ = 0, cursors_before_ = 0;
  struct Lock {
    unsigned held = 0;
    std::string who;
  };
  std::map<std::string, Lock, std::less<>> locks_;  // advisory ones of the session, which nothing takes back
  bool in_block_ = false;                           // what is "before" is meaningful
  char tx_ = 'I';
  bool implicit_ = false;  // an extended batch or a query of several commands stands open
  bool skip_ = false;
  bool copy_in_ = false;
  From copy_from_ = From::Simple;
  std::string copy_word_;
  std::uint64_t copied_ = 0;
  bool busy_ = false;
  std::uint32_t sleep_ms_ = 0;
  bool stubborn_ = false;
  // The rows that a busy session still has to give.
  std::uint64_t rows_left_ = 0, rows_size_ = 0, rows_given_ = 0, rows_limit_ = 0;
  bool rows_copy_ = false;
  std::string rows_word_;
  From busy_from_ = From::Simple;
  Portal* busy_portal_ = nullptr;
  bool simple_open_ = false;
  std::deque<std::string> commands_;  // of the simple query that runs
  struct Prepared {
    std::string sql;
    std::string types = "{}";  // as Postgres writes them
    std::string text = {};     // of the whole PREPARE; empty: by Parse
    std::string column = {};   // of its result, as it was when it was prepared
    std::string zone = {};     // the TimeZone then
  };
  std::map<std::string, Prepared, std::less<>> statements_;
  std::map<std::string, Portal, std::less<>> portals_;
  Tables own_tables_;
  Tables* tables_ = &own_tables_;
  std::vector<std::string> pending_, committed_, aborted_;
  std::vector<Answer> answers_;
};

// The token in a text: "c<client>_<serial>". Client -1: none.
struct Token {
  int client = -1;
  std::uint64_t serial = 0;
};
Token token_in(Bytes text);
inline int owner_of(Bytes text) { return token_in(text).client; }

}  // namespace pgweir::sim
