#include "pooler/routines.h"

#include <algorithm>
#include <array>
#include <utility>

#include "pooler/base/check.h"
#include "pooler/base/planted.h"
#include "pooler/routine_names.h"
#include "pooler/routine_queries.h"
#include "protocol/sql_body.h"
#include "protocol/sql_dynamic.h"
#include "protocol/sql_lexer.h"
#include "protocol/wire.h"

namespace pgweir {

namespace {

// The columns of a DataRow in text.
std::optional<std::vector<std::optional<std::string>>> columns_of(Bytes row) {
  protocol::Reader in(row);
  std::vector<std::optional<std::string>> columns(in.u16());
  for (std::optional<std::string>& column : columns) {
    const std::uint32_t size = in.u32();
    if (size != 0xffffffff) column = std::string(in.bytes(size));
  }
  if (!in.ok() || !in.empty()) return {};
  return columns;
}

bool is_oid(Bytes text) {
  return !text.empty() && text.size() <= 10 && text.find_first_not_of("0123456789") == Bytes::npos;
}

// The oid of a catalog, and one in that.
bool is_key(Bytes text) {
  const std::size_t space = text.find(' ');
  return space != Bytes::npos && is_oid(text.substr(0, space)) && is_oid(text.substr(space + 1));
}

bool is_utf8(Bytes fingerprint) { return fingerprint.ends_with(" UTF8"); }

constexpr unsigned kStringsDeep = 8;  // deeper than any honest code

// Of what texts do that name nothing, whoever reads a sequence or takes something away is not looked for.
bool does_something(const protocol::SqlChanges& changes) {
  return changes.leave_something() || changes.set_locally();
}

bool any_of_users(Bytes types) {
  constexpr std::uint32_t kFirstUsersOid = 16384;
  protocol::Reader in(types);
  for (unsigned left = in.u16(); left > 0 && in.ok(); --left)
    if (in.u32() >= kFirstUsersOid) return true;
  return false;
}

// Whether every statement of the text is one that evaluates no expression but constants, so that no operator,
// cast or function is used. COMMIT may, as SET CONSTRAINTS: of what is deferred.
bool evaluates_nothing(Bytes sql) {
  using Kind = protocol::SqlToken::Kind;
  constexpr std::array<Bytes, 9> kPlain = {"begin",     "start",   "set",      "show", "reset",
                                           "savepoint", "release", "rollback", "abort"};
  enum class Place : std::uint8_t { Start, Set, Constants, Inside } place = Place::Start;
  protocol::SqlLexer lexer(sql);
  for (protocol::SqlToken token = lexer.next(); token.kind != Kind::End; token = lexer.next()) {
    const Bytes text = lexer.text_of(token);
    if (text == ";") {
      place = Place::Start;
    } else if (place == Place::Start) {
      if (token.kind != Kind::Word) return false;
      const auto is = [text](Bytes word) { return protocol::equals(text, word); };
      place = is("select") ? Place::Constants : is("set") ? Place::Set : Place::Inside;
      if (place != Place::Constants && std::none_of(kPlain.begin(), kPlain.end(), is)) return false;
    } else if (place == Place::Constants) {
      const bool constant =
          token.kind == Kind::Number || token.kind == Kind::Parameter || token.kind == Kind::String;
      if (!constant && text != ",") return false;
    } else if (std::exchange(place, Place::Inside) == Place::Set && protocol::equals(text, "constraints")) {
      return false;
    }
  }
  return true;
}

}  // namespace

void RoutineBook::follow(bool on) {
  if (on == (state_ != State::Off)) return;
  const std::uint32_t version = version_;
  *this = RoutineBook();
  version_ = version + 1;
  state_ = on ? State::Awaited : State::Off;
}

void RoutineBook::move_to(State state) {
  if (unsure() != (state == State::Awaited || state == State::Blind)) ++version_;
  state_ = state;
}

void RoutineBook::definitions_changed(By by) {
  if (state_ == State::Off) return;
  ++epoch_;
  changed_meanwhile_ = true;
  if (failures_ > 0) return move_to(State::Blind);  // as it is, until the next try
  const bool waits = by == By::Own || state_ == State::Awaited;
  due_at_ = waits ? Time{} : std::min(due_at_, started_at_ + kPause);
  move_to(waits ? State::Awaited : State::Blind);
}

void RoutineBook::wait_no_longer() {
  if (state_ == State::Awaited) move_to(State::Blind);
}

void RoutineBook::ended(Time now) {
  if (state_ != State::Read) return;
  const Duration took = now - started_at_;
  due_at_ = std::max(due_at_, started_at_ + std::min<Duration>(kShare * took, kFreshMost));
}

void RoutineBook::confirm(const RoutineBook& other) {
  if (state_ != State::Read || other.state_ != State::Read || fingerprint_ != other.fingerprint_) return;
  due_at_ = std::max(due_at_, other.due_at_);
}

std::string RoutineBook::start(Time now) {
  step_ = Step::Fingerprint;
  started_at_ = now;
  changed_meanwhile_ = surprised_ = overflowed_ = false;
  found_.clear();
  return routine_queries::fingerprint();
}

bool RoutineBook::row(Bytes row) {
  if (row.empty()) return overflow(), true;
  ++rows_;
  auto columns = columns_of(row);
  if (!columns) return false;
  switch (step_) {
    case Step::None: return false;
    case Step::Fingerprint:
      if (columns->size() != 1 || !columns->front()) return false;
      found_ = *columns->front();
      return true;
    case Step::Bodies:
    case Step::Stored: return body(*columns);
    case Step::Users: return user(*columns);
    case Step::Code: return code(*columns);
  }
  return false;
}

bool RoutineBook::body(std::vector<std::optional<std::string>>& columns) {
  if (columns.size() != 4 || !columns[0] || !columns[2] || !is_key(*columns[0])) return false;
  bodies_bytes_ += columns[3] ? columns[3]->size() : 0;
  if (bodies_bytes_ > kBodiesMost) columns[3].reset();
  unread_.push_back({std::move(*columns[0]), std::move(*columns[2]), std::move(columns[3])});
  return true;
}

bool RoutineBook::read_some() {
  const std::size_t tokens_before = tokens_left_;
  std::size_t bytes = 0;
  while (!unread_.empty() && bytes < kBytesAtOnce && tokens_before - tokens_left_ < kTokensAtOnce) {
    const Unread next = std::move(unread_.front());
    unread_.pop_front();
    bytes += next.key.size() + (next.code ? next.code->size() : 0);
    step_ == Step::Code ? look_through(next) : read(next);
  }
  if (!unread_.empty()) return true;
  return step_ == Step::Code && graph_.go_on(deeds_found_, [this](const RoutineGraph::Thing& thing,
                                                                  Deeds::Set set) { found(thing, set); });
}

void RoutineBook::read(const Unread& body) {
  const protocol::BodyLanguage language = protocol::body_language(body.language);
  protocol::SqlChanges changes =
      body.code ? protocol::read_body(*body.code, language, tokens_left_) : unseen();
  if (!body.code) changes.unfollowable = protocol::is_script(language);
  if (!changes.concern_session() && !changes.set_locally()) return;
  if (roots_.size() == kNamesMost && !roots_.contains(body.key)) return overflow();
  roots_.insert(body.key);
  Deeds::add(upkeep_found_, changes);
  graph_.makes(body.key, deeds_found_.of(std::move(changes)), deeds_found_);
}

// Nobody knows what is not in the book.
void RoutineBook::overflow() {
  overflow_found_ = true;
  anywhere_found_.add(unseen());
}

bool RoutineBook::user(std::vector<std::optional<std::string>>& columns) {
  if (columns.size() != 4 || !columns[0] || !is_key(*columns[0])) return false;
  if (columns[1]) {
    if (!is_key(*columns[1])) return false;
    graph_.leads(*columns[0], *columns[1]);
    return true;
  }
  if (!columns[3]) return false;
  const auto has = [&](char flag) { return columns[3]->find(flag) != std::string::npos; };
  graph_.add(*columns[0], {std::move(columns[2]), has('h'), has('t'), has('d')});
  return true;
}

bool RoutineBook::code(std::vector<std::optional<std::string>>& columns) {
  if (columns.size() != 2 || !columns[0] || !is_key(*columns[0])) return false;
  code_bytes_ += columns[1] ? columns[1]->size() : 0;
  if (code_bytes_ > kBodiesMost) columns[1].reset();
  unread_.push_back({std::move(*columns[0]), {}, std::move(columns[1])});
  return true;
}

// What cannot be looked through may mention all that changes something.
void RoutineBook::look_through(const Unread& body) {
  if (body.code)
    graph_.mentions(body.key, *body.code);
  else
    graph_.makes(body.key, all_found_, deeds_found_);
}

void RoutineBook::found(const RoutineGraph::Thing& thing, Deeds::Set set) {
  const auto add_to = [&](protocol::SqlChanges& all) {
    for (const Deeds::Deed deed : deeds_found_.in(set)) Deeds::add(all, deeds_found_.what(deed));
  };
  if (thing.type) add_to(types_found_);
  if (thing.ddl) return add_to(ddl_found_);
  if (thing.hidden) return;
  if (!thing.name) return add_to(anywhere_found_);
  const Bytes name = folded(*thing.name, is_utf8(found_));
  const auto known = names_found_.find(name);
  if (known != names_found_.end())
    known->second = deeds_found_.joined(known->second, set);
  else if (names_found_.size() < kNamesMost)
    names_found_.emplace(name, set);
  else
    overflow();
}

std::optional<std::string> RoutineBook::next(bool answered) {
  if (!answered) return finish(false), std::nullopt;
  PGWEIR_CHECK(unread_.empty());
  const bool cut = std::exchange(rows_, 0) >= (step_ == Step::Users ? kUserRowsMost : kBodyRowsMost);
  if (cut && step_ != Step::Fingerprint) overflow();
  switch (step_) {
    case Step::None: return {};
    case Step::Fingerprint:
      if (found_ == fingerprint_) return finish(true), std::nullopt;
      roots_.clear();
      names_found_.clear();
      deeds_found_ = Deeds();
      graph_ = RoutineGraph(is_utf8(found_));
      overflow_found_ = false;
      bodies_bytes_ = code_bytes_ = 0;
      tokens_left_ = kTokensMost;
      anywhere_found_ = types_found_ = upkeep_found_ = ddl_found_ = {};
      step_ = Step::Bodies;
      if (found_.starts_with("0 ")) break;
      return routine_queries::bodies(kBodyRowsMost);
    case Step::Bodies: step_ = Step::Stored; return routine_queries::stored(kBodyRowsMost);
    case Step::Stored:
      step_ = Step::Users;
      if (roots_.empty()) break;
      return routine_queries::users(roots_, kUserRowsMost);
    case Step::Users:
      step_ = Step::Code;
      all_found_ = deeds_found_.of(upkeep_found_);
      return routine_queries::code(kBodyRowsMost);
    case Step::Code:
      if (graph_.full()) overflow();
      break;
  }
  fingerprint_ = found_;
  take_over();
  finish(true);
  return {};
}

void RoutineBook::take_over() {
  names_ = std::exchange(names_found_, {});
  deeds_ = std::exchange(deeds_found_, Deeds());
  overflowed_ = overflow_found_ && !overflows_;
  overflows_ = overflow_found_;
  anywhere_ = std::exchange(anywhere_found_, {});
  types_ = std::exchange(types_found_, {});
  upkeep_ = std::exchange(upkeep_found_, {});
  ddl_ = std::exchange(ddl_found_, {});
  utf8_ = is_utf8(found_);
  empty_ = names_.empty() && !does_something(anywhere_) && !does_something(upkeep_);
  surprised_ = state_ == State::Read && !empty_;
  first_letters_.reset();
  for (const auto& [name, set] : names_)
    if (!utf8_ && !name.empty() && static_cast<unsigned char>(name[0]) >= 0x80)
      first_letters_.set();
    else if (!name.empty())
      first_letters_.set(place_of(name[0]));
  ++version_;
}

void RoutineBook::stopped() {
  const bool waits = awaited() && failures_ == 0;
  finish(false);
  if (waits) move_to(State::Awaited);
}

void RoutineBook::finish(bool well) {
  step_ = Step::None;
  unread_.clear();
  graph_ = RoutineGraph();
  failures_ = well ? 0 : failures_ + 1;
  const unsigned doubled = std::min(failures_ < 2 ? 0 : failures_ - 2, 4U);
  if (!well) {
    due_at_ = failures_ == 1 ? Time{} : started_at_ + std::min(kRetry * (1U << doubled), kRetryMost);
    return move_to(State::Blind);
  }
  if (changed_meanwhile_) return;  // definitions_changed() has said what is to be done
  due_at_ = started_at_ + kFresh;
  move_to(State::Read);
}

// What a text was found to do, each deed once.
class RoutineBook::Found {
 public:
  explicit Found(const Deeds& deeds) : deeds_(deeds) {}

  void add(const protocol::SqlChanges& changes) {
    constexpr std::size_t kEach = 64;
    if (!all_) all_.emplace();
    work_ += kEach * (1 + Deeds::add(*all_, changes));
  }
  void add(Deeds::Set set) {
    added_.resize(deeds_.size());
    for (const Deeds::Deed deed : deeds_.in(set)) {
      if (added_[deed]) continue;
      added_[deed] = true;
      add(deeds_.what(deed));
    }
  }
  // ... which stands for something that a text may say often.
  void add_once(const protocol::SqlChanges& changes, bool& added) {
    if (!std::exchange(added, true)) add(changes);
  }
  std::optional<protocol::SqlChanges> take() { return std::move(all_); }
  std::size_t work() const { return work_; }

  bool upkeep = false, ddl = false, unseen = false;  // were added

 private:
  std::size_t work_ = 0;
  const Deeds& deeds_;
  std::vector<bool> added_;
  std::optional<protocol::SqlChanges> all_;
};

std::optional<protocol::SqlChanges> RoutineBook::changes_of(Bytes sql, Strings strings, Bytes types,
                                                            Told told) const {
  if (empty() || PGWEIR_PLANTED(FORGET_FUNCTIONS)) return {};
  Found found(deeds_);
  const bool users_types = any_of_users(types);
  if (told == Told::All && (unsure() || does_something(anywhere_)) &&
      (!evaluates_nothing(sql) || (unsure() && users_types)))
    found.add(unsure() ? unseen() : anywhere_);
  look_for_names(sql, strings == Strings::Code ? kStringsDeep : 0, found);
  if (does_something(types_) && users_types) found.add(types_);
  constexpr std::size_t kLookForNames = 4;
  work_ += found.work() + kLookForNames * sql.size();
  return found.take();
}

// `deep`: in how many strings within strings.
void RoutineBook::look_for_names(Bytes sql, unsigned deep, Found& found) const {
  using Kind = protocol::SqlToken::Kind;
  const bool upkeeps = does_something(upkeep_), ddls = does_something(ddl_);
  protocol::SqlLexer lexer(sql);
  bool point = false;
  for (protocol::SqlToken token = lexer.next(); token.kind != Kind::End; token = lexer.next()) {
    const Bytes text = lexer.text_of(token);
    const bool behind_point = std::exchange(point, text == ".");
    if (token.kind == Kind::Unicode) {
      found.add_once(unseen(), found.unseen);
    } else if (token.kind == Kind::String && deep > 0) {
      // Quotes that are doubled in it end and begin strings of no content there.
      const std::size_t tag = text.find_first_of("'$");
      const std::size_t open = text[tag] == '$' ? text.find('$', tag + 1) + 1 : tag + 1;
      const std::size_t closing = text[tag] == '$' ? open : 1;
      const bool escapes = tag > 0 && text.find('\\') != Bytes::npos;
      if (escapes || deep == 1) found.add_once(unseen(), found.unseen);
      if (text.size() > open + closing)
        look_for_names(text.substr(open, text.size() - open - closing), deep - 1, found);
    } else if (token.kind == Kind::Word || token.kind == Kind::Quoted) {
      const bool quotes = token.kind == Kind::Quoted;
      if (!quotes && upkeeps && is_upkeep(text)) found.add_once(upkeep_, found.upkeep);
      if (!quotes && ddls && is_ddl(text)) found.add_once(ddl_, found.ddl);
      if (text.size() < (quotes ? 2 : 1) || !first_letters_[place_of(text[quotes ? 1 : 0])]) continue;
      std::array<char, kNameMax> room;
      const auto named = names_.find(folded(name_in(text, quotes, room), utf8_));
      if (named != names_.end() && (quotes || behind_point || !is_reserved(text))) found.add(named->second);
    }
  }
}

}  // namespace pgweir
