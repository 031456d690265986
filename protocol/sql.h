// protocol/sql.h - what a SQL text does to the session that runs it.
//
// Read by the grammar of Postgres 15 (libpg_query). Every flag means "may": what cannot be told counts as
// done. Functions, views, triggers and rules that a user wrote are not looked into. The text must hold no
// NUL, and must be read by the server with standard_conforming_strings = on and in an encoding in which no
// byte below 0x80 is part of a character; for other sessions the caller takes every text for Unknown.
#pragma once

#include <cstddef>
#include <cstdint>
#include <optional>
#include <string>
#include <vector>

#include "pooler/base/bytes.h"

namespace pgweir::protocol {

// What is left in the session, or gone from it, once the text has run and its transaction has ended.
struct SqlChanges {
  // Settings that SET, RESET or set_config may have changed for the session: lower case, sorted, each once,
  // obsolete names replaced. SHOW knows role and session_authorization, pg_settings does not; nobody knows
  // seed, which is unfollowable as well.
  std::vector<std::string> settings;
  bool any_setting = false;  // and settings whose names cannot be told, or all of them
  // The same of values that end with the transaction (SET LOCAL, set_config(..., true)), which leave nothing.
  std::vector<std::string> local_settings;
  bool any_local = false;
  bool temp = false;       // temporary objects made
  bool temp_gone = false;  // ... dropped
  // search_path set, perhaps only for the transaction, to a value that is not in the text. Should it begin
  // with pg_temp, each CREATE under it makes a temporary object, and its text does not show it.
  bool temp_path = false;
  bool hold_cursor = false;      // a cursor WITH HOLD declared
  bool cursor_gone = false;      // ... closed
  bool advisory_lock = false;    // a lock of the session taken (those of a transaction do not count)
  bool advisory_unlock = false;  // ... given back
  bool listens = false;
  bool unlistens = false;
  bool reads_sequence =
      false;            // lastval or currval: what the session's own nextval said last. Leaves nothing
  bool opaque = false;  // ran what cannot be read here (CALL, a DO with a suspicious word, query_to_xml ...):
                        // all flags above are set with it, but for reads_sequence
  bool unfollowable = false;  // state that the server cannot be asked for: LOAD, setseed, dblink_connect,
                              // replication origins and temporary slots, a backup begun

  // Something may be left behind. (What only takes away leaves nothing, nor does a path.)
  bool leave_something() const;
  // That, or what is said of the session otherwise: but for values that end with the transaction.
  bool concern_session() const;
  bool set_locally() const { return any_local || !local_settings.empty(); }
  void add(const SqlChanges& other);
  void add_flags(const SqlChanges& other);  // all but the names of settings
  void add_settings(const std::vector<std::string>& names);
  void add_local_settings(const std::vector<std::string>& names);
  static SqlChanges anything();
};

struct SqlStatement {
  enum class Kind : std::uint8_t {
    Other,
    Begin,  // and START TRANSACTION
    Commit,
    Rollback,
    Savepoint,
    RollbackTo,
    Release,
    PrepareTransaction,  // of two phases
    CommitPrepared,
    RollbackPrepared,
    Set,  // of the session, SET x TO DEFAULT included
    SetLocal,
    SetTransaction,  // SET TRANSACTION, SET CONSTRAINTS: for this transaction
    Reset,
    ResetAll,
    Prepare,
    Execute,  // also in EXPLAIN and in CREATE TABLE AS
    Deallocate,
    DeallocateAll,
    Listen,
    Unlisten,
    UnlistenAll,
    Notify,
    Declare,
    DeclareHold,
    Close,
    CloseAll,
    DiscardAll,
    DiscardPlans,
    DiscardSequences,
    DiscardTemp,
    CreateTemp,
    Drop,
    EmptyDatabase,  // takes a database that nobody is connected to: DROP, RENAME, a copy of it, another
                    // tablespace
    Load,
    Do,
    Call,
  };
  Kind kind = Kind::Other;
  // Of the setting (the first one, see changes.settings), savepoint, global transaction, prepared statement,
  // channel, cursor or database, as the server knows it: without quotes, folded to lower case, cut to 63
  // bytes.
  std::string name;
  // Where it stands, of Prepare, Execute and Deallocate, quotes and all; else, and of U&"...", 0 and 0.
  std::uint32_t name_at = 0;
  std::uint32_t name_size = 0;
  // The statement in the text, from its first word to its end, without the semicolon.
  std::uint32_t at = 0;
  std::uint32_t size = 0;
  // For Prepare: where in the text that which is prepared begins; it goes on to the statement's end.
  std::uint32_t body_at = 0;
  // For Prepare: what each EXECUTE of it does. PREPARE itself changes nothing but the list of statements.
  SqlChanges changes;
};
const char* name(SqlStatement::Kind kind);

// A value that the text gives to a setting.
struct SqlAssignment {
  enum class Where : std::uint8_t {
    Set,
    SetLocal,
    Argument,  // of set_config
    Stored,    // for others than this session: ALTER ROLE, ALTER DATABASE, the SET of a function
  };
  Where where = Where::Set;
  std::string name;                  // lower case, obsolete names replaced
  std::optional<std::string> value;  // as Postgres would take it; none: the text does not say
  // What must be replaced to give another value: of Set the whole statement, of Argument the literal. 0 and 0
  // where that cannot be.
  std::uint32_t at = 0;
  std::uint32_t size = 0;
};

// A piece of the text, and what means the same whatever types and tables the user has made.
struct SqlPiece {
  std::uint32_t at = 0;
  std::uint32_t size = 0;
  std::string with;
};

// How settings may come to values by this text, in the session or elsewhere, until its transaction has ended
// or for longer; bodies of PREPARE included.
struct SqlReach {
  std::vector<SqlAssignment> assignments;
  // What goes back to the value that the session began with: RESET, TO DEFAULT, set_config(..., NULL, ...).
  // None has a value; those without a name are RESET ALL and DISCARD ALL.
  std::vector<SqlAssignment> taken_back;
  // To be replaced, because something of the user's may have this name and make another assignment of it.
  std::vector<SqlPiece> unsure;
  bool hidden_setting = false;  // the name is not in the text: set_config(a, b, c), UPDATE pg_settings, a
                                // view of it that can be updated
  bool hidden_sql = false;      // a SQL text is run that is not in the text, or may set something
  bool other_session = false;   // one is opened, or used, that Postgres is itself the client of: dblink
  bool code = false;            // code is run or made: DO, CALL, CREATE FUNCTION and their like
};

struct SqlEffects {
  enum class Read : std::uint8_t {
    Plain,    // no word in it could change a session; nothing was parsed
    Parsed,   // statements and changes say what it does
    Unknown,  // not understood, or too long: changes are anything(), and statements are missing
  };
  Read read = Read::Plain;
  bool in_part = false;                  // of Parsed: statements that need not be were not
  std::vector<SqlStatement> statements;  // in order
  SqlChanges changes;                    // of all statements together, but for the bodies of PREPARE
  SqlReach reach;                        // of all statements; of Unknown nothing
};

// What is beyond these is Unknown: the parser's time and stack must have an end. Long literals and comments
// are cheap, tokens are not.
inline constexpr std::size_t kSqlTextMax = 1UL << 20;
inline constexpr std::size_t kSqlTokensMax = 8000;
inline constexpr std::size_t kSqlNestingMax = 1000;
inline constexpr std::size_t kSqlBodyMax = 64UL * 1024;  // of the code of a DO, which is one token
// What is parsed of the code of all DOs together is bounded, too: code beyond that is opaque.

// Parses always, without the word filter: the answer is never Plain. Of a text of several statements that is
// too much for the parser, or that it cannot parse, those are read by themselves that have a word of
// sql_words(); the others count as Other, what stands together of them as one. Microseconds for a short text,
// up to some 10 ms for the largest; 4 MB of stack must be there. From any thread.
SqlEffects read_sql(Bytes text);

}  // namespace pgweir::protocol
