// pooler/routines.h - which functions of the users' own change a session, by what names texts reach them.
//
// No text shows what a function that it calls will do. So Postgres is asked for the code of all of them,
// which is read (protocol/sql_body.h), for what views, tables and types keep as expressions that call
// Postgres's own functions of that kind, and for whatever leads to those that change something: functions
// that mention them, tables whose triggers, defaults, policies or checks run them, views over these. A text
// that holds one of these names may do what they do. It is asked when the first server of a group is
// connected, again when definitions were changed through this group, and now and then, for they may be
// changed elsewhere; a fingerprint of the catalogs shows whether all must be read anew. Until that is done a
// text may run what nobody has read, unless it calls nothing.
//
//   Off --follow()--> Awaited --a reading--> Read --definitions_changed()--> Awaited or Blind
//   Awaited --a reading that fails, or takes too long--> Blind --a reading--> Read
//
// Functions in C are taken to be harmless unless protocol/sql_functions.h knows them.
//
// Pure: queries out, rows in.
#pragma once

#include <bitset>
#include <chrono>
#include <cstdint>
#include <deque>
#include <functional>
#include <optional>
#include <set>
#include <string>
#include <unordered_map>
#include <vector>

#include "pooler/base/bytes.h"
#include "pooler/base/time.h"
#include "pooler/deeds.h"
#include "pooler/routine_graph.h"
#include "protocol/sql.h"

namespace pgweir {

class RoutineBook {
 public:
  // How long what was read is believed where nobody changes definitions through this group.
  static constexpr Duration kFresh = std::chrono::seconds(30);
  // ... and so many times what the last reading took, up to so long: the catalogs may be large.
  static constexpr int kShare = 50;
  static constexpr Duration kFreshMost = std::chrono::minutes(10);
  // So long between two readings for the sake of what others change, who may do it without end.
  static constexpr Duration kPause = std::chrono::seconds(1);
  // Behind the second failure in a row; twice as long behind each of the next, up to the latter.
  static constexpr Duration kRetry = std::chrono::seconds(5), kRetryMost = std::chrono::seconds(60);
  // A tenant may own its database and fill it with code. Bodies beyond this, of one reading, are not read but
  // taken to do anything; with more names than this, or more rows in the answer to one query, every text is.
  static constexpr std::size_t kBodiesMost = 4 << 20, kNamesMost = 20'000;
  static constexpr std::size_t kBodyRowsMost = 50'000, kUserRowsMost = 100'000;
  // What is parsed of all of them, in tokens: beyond it they are judged by their words.
  static constexpr std::size_t kTokensMost = 1'000'000;
  // What is read in one go, while others wait: bytes of code, and tokens of it that are parsed; the last body
  // of them may have more.
  static constexpr std::size_t kBytesAtOnce = 64 << 10, kTokensAtOnce = 2000;

  // Off, as at first, nothing is read and nothing known.
  void follow(bool on);
  // A reading is at hand that is worth waiting for: who has made a function may call it next.
  bool awaited() const { return state_ == State::Awaited; }
  // There is code that was not read, or may be: what is not known by name may do anything.
  bool unsure() const { return state_ == State::Awaited || state_ == State::Blind; }
  bool reading() const { return step_ != Step::None; }
  bool due(Time now) const { return state_ != State::Off && !reading() && now >= due_at_; }
  // Functions or the like were made or changed: by a client of the same group, which waits for what it has
  // made, or of another one, for whose sake nobody waits.
  enum class By : std::uint8_t { Own, Others };
  void definitions_changed(By by);
  // The reading is over.
  void ended(Time now);
  // Another role's book of the same database has been read: what both find the same is as fresh here.
  void confirm(const RoutineBook& other);
  // The reading takes too long to be waited for any more. It may go on.
  void wait_no_longer();
  // Another number says that functions were made meanwhile.
  std::uint32_t epoch() const { return epoch_; }

  // A reading: the queries that it answers are to be sent by Query, one after the other, each of their rows
  // given to row(), and the end of each, once read_some() has no more to do, to next(), until there is no
  // more.
  std::string start(Time now);
  // `row`: the body of a DataRow; empty: it was too long. False when it is malformed.
  bool row(Bytes row);
  // Reads code that has come, for as long as others can wait. True: there is more.
  bool read_some();
  std::optional<std::string> next(bool answered);
  // Whoever read has gone, for whatever reason: the first time others wait for the next reading instead.
  void stopped();
  // Readings in a row that were not answered. The first one is tried again at once, then ever later.
  unsigned failures() const { return failures_; }
  // The last reading found others of them, though none was made through this group: what they have left on
  // its servers since was not seen.
  bool surprised() const { return surprised_; }
  // The last reading, and not the one before, was cut off: from now on every text may do anything.
  bool overflowed() const { return overflowed_; }

  bool empty() const { return empty_ && !unsure(); }
  std::size_t size() const { return names_.size(); }
  // Of what the functions do, on the heap; the names share it.
  std::size_t deeds_bytes() const { return deeds_.bytes(); }
  // Another number says that texts may be judged otherwise.
  std::uint32_t version() const { return version_; }
  // What the text may do by functions; nothing: none of them is named. `strings`: whether it may run what
  // stands in its strings, as DO does.
  enum class Strings : std::uint8_t { Data, Code };
  // Without what no name in the text or type of a parameter tells.
  enum class Told : std::uint8_t { All, Named };
  // What it took to look for names so far: in bytes that are looked through, by the time.
  std::uint64_t work() const { return work_; }
  // `types`: of its parameters, as a Parse tells them. Values of a domain or composite type are checked when
  // they are read, and of the oids nobody knows which is which.
  std::optional<protocol::SqlChanges> changes_of(Bytes sql, Strings strings = Strings::Data, Bytes types = {},
                                                 Told told = Told::All) const;

 private:
  enum class State : std::uint8_t { Off, Awaited, Blind, Read };
  enum class Step : std::uint8_t { None, Fingerprint, Bodies, Stored, Users, Code };
  struct Hash {
    using is_transparent = void;
    std::size_t operator()(Bytes name) const { return std::hash<Bytes>()(name); }
  };
  using Names = std::unordered_map<std::string, Deeds::Set, Hash, std::equal_to<>>;

  struct Unread {
    std::string key, language;
    std::optional<std::string> code;  // none: it is too much to be read
  };

  static std::size_t place_of(char letter) { return static_cast<unsigned char>(letter) & 31U; }
  bool body(std::vector<std::optional<std::string>>& columns);
  void read(const Unread& body);
  bool user(std::vector<std::optional<std::string>>& columns);
  bool code(std::vector<std::optional<std::string>>& columns);
  void look_through(const Unread& body);
  void found(const RoutineGraph::Thing& thing, Deeds::Set set);
  class Found;
  void look_for_names(Bytes sql, unsigned deep, Found& found) const;
  void overflow();
  void move_to(State state);
  void take_over();
  void finish(bool well);

  State state_ = State::Off;
  Step step_ = Step::None;
  unsigned failures_ = 0;
  bool surprised_ = false;
  bool changed_meanwhile_ = false;
  Time started_at_{};
  Time due_at_{};
  std::string fingerprint_, found_;
  // Of the reading so far: what makes changes itself, by its oids, who leads to whom, and what was read.
  std::set<std::string> roots_;
  RoutineGraph graph_;
  std::size_t bodies_bytes_ = 0, code_bytes_ = 0, rows_ = 0;
  std::size_t tokens_left_ = 0;
  std::deque<Unread> unread_;
  Names names_, names_found_;
  Deeds deeds_, deeds_found_;               // what names lead to
  Deeds::Set all_found_ = Deeds::kNothing;  // all that was found
  bool overflows_ = false, overflow_found_ = false, overflowed_ = false;
  // Most words of a text begin like none of the names. Letters of either case share a place.
  std::bitset<32> first_letters_;
  bool utf8_ = true;                                // the encoding of the database
  protocol::SqlChanges anywhere_, anywhere_found_;  // may be done by a text that names nothing
  protocol::SqlChanges types_, types_found_;        // ... to which a value of a user's type is bound
  // Anything of this database's own may be run by what names none of it: ANALYZE, TRUNCATE ... CASCADE.
  protocol::SqlChanges upkeep_, upkeep_found_;
  protocol::SqlChanges ddl_, ddl_found_;  // by event triggers
  bool empty_ = true;
  mutable std::uint64_t work_ = 0;
  std::uint32_t version_ = 1;
  std::uint32_t epoch_ = 0;
};

}  // namespace pgweir
