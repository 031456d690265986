// pooler/session_texts.cc - SessionCore: what the client's SQL texts mean for its virtual session.
#include <algorithm>
#include <array>

#include "pooler/base/check.h"
#include "pooler/base/planted.h"
#include "pooler/session_core.h"
#include "pooler/session_parts.h"
#include "pooler/tenant_token.h"
#include "protocol/messages.h"
#include "protocol/sql_words.h"

namespace pgweir {

using Kind = protocol::SqlStatement::Kind;

namespace {
constexpr Bytes kDefaultWords[] = {"default", "local"};

bool is_space(char c) { return c == ' ' || c == '\t' || c == '\r' || c == '\n'; }
char lower(char c) { return c >= 'A' && c <= 'Z' ? static_cast<char>(c | 0x20) : c; }

// Tag and effect of the statements that touch nothing but the virtual session while it has no server.
struct Local {
  Kind kind;
  Bytes tag;
  bool settings;    // are as when the client connected
  bool statements;  // are all gone
};
constexpr std::array<Local, 8> kLocal = {{
    {Kind::DiscardAll, "DISCARD ALL", true, true},
    {Kind::DiscardPlans, "DISCARD PLANS", false, false},
    {Kind::DiscardSequences, "DISCARD SEQUENCES", false, false},
    {Kind::DiscardTemp, "DISCARD TEMP", false, false},
    {Kind::ResetAll, "RESET", true, false},
    {Kind::DeallocateAll, "DEALLOCATE ALL", false, true},
    {Kind::UnlistenAll, "UNLISTEN", false, false},
    {Kind::CloseAll, "CLOSE CURSOR ALL", false, false},
}};

// A cheap look before a text is read in earnest: whether it begins like kLocal and DEALLOCATE.
bool may_be_local(Bytes sql) {
  constexpr std::array<Bytes, 5> kFirst = {"discard", "deallocate", "reset", "unlisten", "close"};
  constexpr std::size_t kLongest = 128;
  if (sql.size() > kLongest) return false;
  while (!sql.empty() && is_space(sql[0])) sql.remove_prefix(1);
  return std::any_of(kFirst.begin(), kFirst.end(), [sql](Bytes first) {
    return sql.size() >= first.size() &&
           std::equal(first.begin(), first.end(), sql.begin(), [](char a, char b) { return a == lower(b); });
  });
}

std::unique_ptr<Ruling> refusal(Error why) {
  auto ruling = std::make_unique<Ruling>();
  ruling->refused = std::move(why);
  return ruling;
}

const Local* local_of(const protocol::SqlEffects& effects) {
  if (effects.statements.size() != 1) return nullptr;
  const auto* local = std::find_if(kLocal.begin(), kLocal.end(), [&](const Local& each) {
    return each.kind == effects.statements[0].kind;
  });
  return local == kLocal.end() ? nullptr : local;
}

// SET ... TO DEFAULT, SET TIME ZONE LOCAL.
bool sets_to_default(Bytes statement) {
  const std::size_t end = statement.find_last_not_of(" \t\r\n");
  statement = statement.substr(0, end == Bytes::npos ? 0 : end + 1);
  return std::any_of(std::begin(kDefaultWords), std::end(kDefaultWords), [statement](Bytes word) {
    return statement.size() > word.size() && mentions(statement.substr(statement.size() - word.size()), word);
  });
}

// What clients prepare by the protocol has a number.
bool may_go(const protocol::SqlStatement& statement) {
  const Bytes own = Bytes(statement.name).substr(kOurPrefix.size());
  return !own.empty() && own[0] >= '0' && own[0] <= '9';
}

// Our own statements set values, and tell what is left behind: none of a client's may run, drop or replace
// them.
std::unique_ptr<Ruling> refuse_ours(const protocol::SqlEffects& effects) {
  for (const protocol::SqlStatement& statement : effects.statements) {
    if (!is_like_ours(statement.name)) continue;
    switch (statement.kind) {
      case Kind::Prepare:
        return refusal({sqlstate::kInsufficientPrivilege,
                        "prepared statement name \"" + statement.name + "\" is reserved",
                        {},
                        "Names that begin with pgweir_ are the pooler's own."});
      case Kind::Deallocate:
        if (may_go(statement)) break;
        [[fallthrough]];
      case Kind::Execute:
        return refusal({sqlstate::kInvalidStatementName,
                        "prepared statement \"" + statement.name + "\" does not exist",
                        {},
                        {}});
      default: break;
    }
  }
  return nullptr;
}

// A text that may keep what it could do for those that come: in a view, a default, a check ... A DO that does
// is opaque, and its tag does not tell.
bool may_make_code(const protocol::SqlEffects& effects, const ClientText& text) {
  const protocol::SqlChanges& changes = effects.changes;
  const auto& assigned = effects.reach.assignments;
  const bool calls = changes.opaque || changes.advisory_lock || changes.advisory_unlock ||
                     changes.reads_sequence || changes.unfollowable || effects.reach.hidden_setting ||
                     effects.reach.other_session ||
                     std::any_of(assigned.begin(), assigned.end(), [](const protocol::SqlAssignment& each) {
                       return each.where == protocol::SqlAssignment::Where::Argument;
                     });
  return calls && (text.has(TextWord::Create) || text.has(TextWord::Alter));
}

bool runs_code(const protocol::SqlEffects& effects) {
  return std::any_of(effects.statements.begin(), effects.statements.end(), [](const auto& statement) {
    return statement.kind == Kind::Do || statement.kind == Kind::Call;
  });
}

// What an EXECUTE of it may do.
protocol::SqlEffects of_body(const protocol::SqlStatement& prepare) {
  protocol::SqlEffects effects;
  effects.changes = prepare.changes;
  return effects;
}

// What the text may leave on the server.
Pins may_come_of(const protocol::SqlEffects& effects) {
  using Statement = protocol::SqlStatement;
  const auto has = [&](std::initializer_list<Kind> kinds) {
    return std::any_of(effects.statements.begin(), effects.statements.end(),
                       [kinds](const Statement& statement) {
                         return std::find(kinds.begin(), kinds.end(), statement.kind) != kinds.end();
                       });
  };
  const protocol::SqlChanges& changes = effects.changes;
  const auto pin_if = [](bool yes, Pins pin) { return yes ? pin : Pins{0}; };
  // An opaque text's other flags say nothing.
  const bool settings = changes.any_setting && !changes.opaque && !has({Kind::DiscardAll, Kind::ResetAll});
  return static_cast<Pins>(pin_if(changes.opaque, pin::kProvable) | pin_if(changes.temp, pin::kTemp) |
                           pin_if(changes.hold_cursor && !PGWEIR_PLANTED(FORGET_CURSOR), pin::kCursor) |
                           pin_if(changes.advisory_lock, pin::kLock) | pin_if(changes.listens, pin::kListen) |
                           pin_if(has({Kind::Prepare}), pin::kStatement) |
                           pin_if(settings || changes.unfollowable, pin::kSettings));
}

// The same of its PREPAREs' bodies.
Pins may_come(const protocol::SqlEffects& effects) {
  Pins pins = may_come_of(effects);
  for (const protocol::SqlStatement& each : effects.statements)
    if (each.kind == Kind::Prepare) pins |= may_come_of(of_body(each));
  return pins;
}
}  // namespace

bool SessionCore::needs_no_server(Bytes text) const {
  if (!may_be_local(text)) return false;
  const Bytes sql = sql_of(text);
  if (!can_read(sql)) return false;
  if (deallocates_ours(text)) return true;
  if (mode_ != tiers::PoolMode::Transaction) return false;
  const Local* local = local_of(books_->texts.read_fully(sql));
  // What the client is to be told then is known as long as the baseline is.
  return local && (!local->settings || wanted_ == started_ || books_->settings.has_baseline());
}

bool SessionCore::answer_here(Bytes text, Actions& out) {
  if (!needs_no_server(text)) return false;
  const protocol::SqlEffects& effects = books_->texts.read_fully(sql_of(text));
  const Local* local = local_of(effects);
  const SettingsRef before = wanted_;
  if (!local)
    names_->erase(effects.statements[0].name);
  else if (local->statements)
    names_.reset();
  if (local && (local->kind == Kind::UnlistenAll || local->kind == Kind::DiscardAll)) leave_channels();
  if (local && local->settings)
    wanted_ = local->kind == Kind::ResetAll ? books_->settings.reset(*wanted_, started_) : started_;
  say_done(local ? local->tag : "DEALLOCATE", *before, out);
  return true;
}

// `before`: the settings that the client believes in.
void SessionCore::say_done(Bytes tag, const SettingsMap& before, Actions& out) {
  drop_unnamed();  // as every simple query does
  out.to_client.own([&](std::string& bytes) {
    protocol::put_command_complete(bytes, tag);
    put_news(before, bytes);
    protocol::put_ready(bytes, server_ ? server_->tx_status : 'I');
  });
}

// What the client is told of a change from `before`.
void SessionCore::put_news(const SettingsMap& before, std::string& bytes) const {
  if (&before == wanted_.get() || !books_->settings.has_baseline()) return;
  const SettingsMap::Values was = books_->settings.welcome(before);
  for (const auto& [name, value] : books_->settings.welcome(*wanted_))
    if (const auto old = was.find(name); old == was.end() || old->second != value)
      protocol::put_parameter_status(bytes, name, value);
}

// The text, if it is a DEALLOCATE of one statement. Lives until another text is read.
const protocol::SqlStatement* SessionCore::lone_deallocate(Bytes sql) const {
  if (!can_read(sql)) return nullptr;
  const auto& statements = books_->texts.read(sql).statements;
  return statements.size() == 1 && statements[0].kind == Kind::Deallocate ? &statements[0] : nullptr;
}

// Whether the text is one DEALLOCATE of a statement that the client prepared by the protocol: the server
// knows it by another name, and has nothing by this one.
bool SessionCore::deallocates_ours(Bytes text) const {
  if (!names_ || occupied() || !may_be_local(text)) return false;
  const protocol::SqlStatement* const one = lone_deallocate(sql_of(text));
  return one && names_->find(one->name);
}

// The same of a text with other statements, too.
bool SessionCore::deallocates_ours_among(const ClientText& text) const {
  if (!names_) return false;
  if (!text.has(TextWord::Deallocate) || !can_read(text)) return false;
  const auto& statements = effects_of(text, Also::Nothing).statements;
  return std::any_of(statements.begin(), statements.end(), [this](const auto& each) {
    return each.kind == Kind::Deallocate && names_->find(each.name);
  });
}

Suspicion& SessionCore::suspicion() {
  if (!suspicion_) suspicion_ = std::make_unique<Suspicion>();
  return *suspicion_;
}

// A text of which it is kept is looked up no more.
const protocol::SqlEffects& SessionCore::effects_of(const ClientText& text, Also also) const {
  constexpr std::size_t kKeptFrom = 4 << 10;  // what is smaller is looked up in no time
  static const protocol::SqlEffects plain;
  protocol::SqlCache& texts = books_->texts;
  Statement* const statement = text.statement();
  if (statement == nullptr || text.sql().size() < kKeptFrom)
    return also == Also::Values ? texts.read_settings(text.sql()) : texts.read(text.sql());
  if (statement->words != protocol::SqlWords::State &&
      (also == Also::Nothing || statement->words == protocol::SqlWords::Harmless))
    return plain;
  if (!statement->effects) {
    const auto& effects = texts.share(text.sql());
    books_->statements.remember(*statement, effects, protocol::heap_of(*effects));
    return *effects;
  }
  return *statement->effects;
}

std::unique_ptr<Ruling> SessionCore::note_text(const ClientText& text) {
  const Bytes sql = text.sql();
  const bool inspects = guard_->inspects();
  if (!text.looked_through()) books_->texts.worked(sql.size());
  note_resumed(text);
  resets_all_ = rereads_ = false;
  const bool prepares = text.has(TextWord::Prepare);
  const std::string under(prepares ? parsing() : Bytes());
  note_parsing_end(text);
  if (!can_read(text)) return note_misread(text);
  // What holds a pinned client to its server may go by words that are harmless for all others.
  if ((pins_ & pin::kProvable) && (text.has(TextWord::Drop) || text.has(TextWord::Close)))
    suspicion().pins |= pins_ & pin::kProvable;
  if (channels_ && text.has(TextWord::Rollback)) channels_->forget_request();
  const protocol::SqlEffects& effects = effects_of(text, inspects ? Also::Values : Also::Nothing);
  std::unique_ptr<Ruling> ruling;
  switch (effects.read) {
    case protocol::SqlEffects::Read::Plain:
      if (const Pins no_room = note_routines(effects, text)) return refusal(pin_book_->refuse(no_room, sql));
      break;
    case protocol::SqlEffects::Read::Parsed:
      if ((ruling = refuse_ours(effects))) return ruling;
      if (inspects) {
        const std::optional<Outgrown> more = outgrown();
        ruling = guard_->rule(effects, sql, more ? &*more : nullptr);
        if (ruling && ruling->refused) return ruling;
        resets_all_ = more && std::any_of(effects.reach.taken_back.begin(), effects.reach.taken_back.end(),
                                          [](const auto& each) { return each.name.empty(); });
        // To a walsender what is no SQL may be a command.
        if (effects.reach.code || (walsender() && effects.in_part)) suspect_held();
        if (effects.changes.opaque || resets_all_ || runs_code(effects)) look_behind();
      }
      if (const Pins no_room = find_room(effects)) return refusal(pin_book_->refuse(no_room, sql));
      if (const Pins no_room = note_routines(effects, text)) return refusal(pin_book_->refuse(no_room, sql));
      note_effects(effects, text);
      if (prepares) note_prepared(effects, under);
      break;
    case protocol::SqlEffects::Read::Unknown:
      if (inspects) {
        if ((ruling = guard_->rule(effects, sql))) return ruling;
        look_behind();
        if (!protocol::may_leave_state(sql)) break;
      }
      doubt_reading();
      lose_literals();
      lose_parsing();
      forget_prepared();
      if (!PGWEIR_PLANTED(KEEP_DIRTY)) server_->dirty = dirty_batch_ = true;
      server_->temp_used = true;
      if (text.has(TextWord::Lastval) || text.has(TextWord::Currval))
        asks_sequence_ = books_->reads_sequences = true;
      suspicion().pins |= pin::kProvable;
      break;
  }
  if (!rereads_ || !suspicion_) return ruling;
  suspicion_->readings_changed = true;
  if (server_->pipeline.owes_client() || server_->pipeline.batch_open()) forget_prepared();
  return ruling;
}

std::unique_ptr<Ruling> SessionCore::note_unnamed() {
  if (!unnamed_.empty() && unnamed_misread_) return note_text(ClientText::read_otherwise(sql_of(unnamed_)));
  if (!unnamed_.empty()) return note_text({sql_of(unnamed_), types_of(unnamed_)});
  return unnamed_here_ ? note_unread(kUnnamedMax) : nullptr;
}

// What it does is not known, only that it leaves nothing behind its transaction.
std::unique_ptr<Ruling> SessionCore::note_misread(const ClientText& text) {
  const SettingsBook& book = books_->settings;
  doubt_reading();
  lose_literals();
  lose_parsing();
  forget_prepared();
  if (guard_->inspects())
    return guard_->rule_misread(
        text.sql(), book.plain_sql(*wanted_) ? std::nullopt : std::optional(book.odd_setting(*wanted_)));
  server_->dirty = dirty_batch_ = true;
  if (pins_ != 0) suspicion().pins |= pins_ & pin::kProvable;
  return nullptr;
}

// It is too long to be kept and looked through.
std::unique_ptr<Ruling> SessionCore::note_unread(std::size_t size) {
  if (guard_->inspects()) {
    if (auto ruling = guard_->rule_unread(size)) return ruling;
    look_behind();
  }
  doubt_reading();
  lose_literals();
  lose_parsing();
  forget_prepared();
  server_->dirty = dirty_batch_ = server_->temp_used = true;
  suspicion().any_set = suspicion().all_set_back = true;
  suspicion().pins |= pin::kProvable;
  return nullptr;
}

void SessionCore::suspect_held() { suspicion().held = true; }

// Not only when the transaction has ended, but in front of the next request.
void SessionCore::look_behind() {
  suspect_held();
  wait_behind_ = true;
}

// In a transaction that has run what nobody has read, more of it may come to run by words that are harmless
// for all others, or what was set back may be undone.
void SessionCore::note_resumed(const ClientText& text) {
  if (!suspects_held() || wait_behind_) return;
  constexpr std::array<TextWord, 6> kWords = {TextWord::Rollback, TextWord::Commit,  TextWord::Fetch,
                                              TextWord::Move,     TextWord::Execute, TextWord::Constraints};
  wait_behind_ = std::any_of(kWords.begin(), kWords.end(), [&text](TextWord word) { return text.has(word); });
}

// Answers the pins for which there is none.
Pins SessionCore::find_room(const protocol::SqlEffects& effects) {
  // A LISTEN keeps its server only until the shared connection has it, a PREPARE until its transaction ends.
  auto keeps = static_cast<Pins>(~Pins{0});
  if (can_share() && !effects.changes.opaque) keeps &= static_cast<Pins>(~pin::kListen);
  if (can_adopt(effects)) keeps &= static_cast<Pins>(~pin::kStatement);
  const auto pins = static_cast<Pins>(may_come(effects) & keeps);
  if (pins == 0 || (pins_ & ~(pin::kSharing | pin::kListen)) != 0 || claimed_) return 0;
  // Where the shared connection is lost, a LISTEN keeps its server without having been asked whether it may.
  const bool counted = pins_ & pin::kListen;
  if (!pin_book_->has_room(counted) && !PGWEIR_PLANTED(EXCEED_PINS)) return pins;
  if (!effects.changes.opaque && !counted) claim();
  return 0;
}

std::optional<protocol::SqlChanges> SessionCore::changes_by_names(const ClientText& text,
                                                                  RoutineBook::Strings strings,
                                                                  RoutineBook::Told told) const {
  const RoutineBook& routines = books_->routines;
  const std::uint64_t before = routines.work();
  auto changes = routines.changes_of(text.sql(), strings, text.types(), told);
  books_->texts.worked(routines.work() - before);
  return changes;
}

// What the functions that the text names may do, and those that it may call without a name. Answers the pins
// for which there is no room; what no name tells is cleaned away then.
Pins SessionCore::note_routines(const protocol::SqlEffects& effects, const ClientText& text) {
  if (books_->routines.empty()) return 0;
  // A replication connection keeps its server for life: what nobody has read reaches nobody else.
  auto changes = changes_by_names(text, strings_of(effects),
                                  walsender() ? RoutineBook::Told::Named : RoutineBook::Told::All);
  if (!changes) return 0;
  const std::vector<std::string>& held = guard_->names();
  const auto has = [](const std::vector<std::string>& names, const std::string& name) {
    return std::binary_search(names.begin(), names.end(), name);
  };
  const bool raises = changes->any_setting || changes->any_local || changes->opaque ||
                      std::any_of(held.begin(), held.end(), [&](const std::string& name) {
                        return has(changes->settings, name) || has(changes->local_settings, name);
                      });
  const auto& local = changes->local_settings;
  const auto reads = [](const std::string& name) { return is_reading(setting_key(name)); };
  if (changes->any_local || std::any_of(local.begin(), local.end(), reads)) lose_literals();
  if (!changes->concern_session()) {
    if (raises && guard_->inspects()) look_behind();
    return 0;
  }
  // Settings that are named at run time are the transaction's only, as those of a DO.
  const bool prepares = std::any_of(effects.statements.begin(), effects.statements.end(),
                                    [](const auto& each) { return each.kind == Kind::Prepare; });
  if (changes->any_setting) {
    lose_literals();
    lose_parsing();
  }
  if (std::exchange(changes->any_setting, changes->opaque) || prepares) server_->dirty = true;
  protocol::SqlEffects through;
  through.changes = std::move(*changes);
  if (guard_->inspects()) raises ? look_behind() : suspect_held();
  if (find_room(through) != 0) {
    auto named = changes_by_names(text, strings_of(effects), RoutineBook::Told::Named);
    if (named) named->any_setting = named->opaque;
    through.changes = named ? std::move(*named) : protocol::SqlChanges();
    if (const Pins no_room = find_room(through)) return no_room;
    server_->dirty = dirty_batch_ = server_->temp_used = true;
  }
  note_effects(through, text);
  return 0;
}

// Whether the text asks what nextval() has said in this session.
bool SessionCore::reads_sequence(const ClientText& text) const {
  if (!can_read(text)) return text.has(TextWord::Lastval) || text.has(TextWord::Currval);
  const protocol::SqlEffects& effects = effects_of(text, Also::Nothing);
  if (effects.changes.reads_sequence) return true;
  if (books_->routines.empty()) return false;
  const auto changes = changes_by_names(text, strings_of(effects));
  return changes && changes->reads_sequence;
}

// Of a text that is prepared: what is to be forgotten can be so in front of its batch only.
SessionCore::Name SessionCore::look_for_sequences(protocol::SqlWords words, const ClientText& text,
                                                  Actions& out) {
  const bool looks = words == protocol::SqlWords::State || !books_->routines.empty();
  if (!looks || (books_->reads_sequences && !server_->others_sequences)) return Name::Ready;
  if (!reads_sequence(text)) return Name::Ready;
  return own_sequences(out) == Name::Later ? Name::Later : Name::Ready;
}

// Of a statement that is to be run: one that is `held`, or else the unnamed one.
SessionCore::Name SessionCore::look_for_sequences(const StatementRef* held, Bytes unnamed, Actions& out) {
  if (books_->reads_sequences && !server_->others_sequences) return Name::Ready;
  const bool routines = !books_->routines.empty();
  const bool looks =
      held ? (*held)->words == protocol::SqlWords::State || (routines && may_run_routines(**held))
           : unnamed_noteworthy_ || routines;
  if (!looks) return Name::Ready;
  const bool reads = held ? reads_sequence(ClientText(**held))
                          : reads_sequence(ClientText(sql_of(unnamed), types_of(unnamed)));
  return reads ? own_sequences(out) : Name::Ready;
}

// Where clients ask what their own nextval() said, they must not hear of another's: not even the first one.
// In an open transaction the client may have called nextval() itself, which Postgres can tell; what its open
// batch has done nobody can.
SessionCore::Name SessionCore::own_sequences(Actions& out) {
  books_->reads_sequences = true;
  if (!server_->others_sequences || sequences_checked_) return Name::Ready;
  if (server_->pipeline.batch_open()) return Name::Refused;
  if (server_->pipeline.owes_client()) return Name::Later;
  forget_sequences(out);
  if (server_->tx_status != 'T') return Name::Ready;
  server_->forget_unused_sequences(out.to_server);
  lose_unnamed();
  sequences_checked_ = true;
  return Name::Ready;
}

// Of others than the client, at the beginning of its transaction.
void SessionCore::forget_sequences(Actions& out) {
  if (!books_->reads_sequences || !server_->others_sequences) return;
  if (server_->tx_status != 'I' || server_->pipeline.owes_client() || server_->pipeline.batch_open()) return;
  server_->forget_sequences(out.to_server);
  lose_unnamed();
}

// Whether its text is to be looked at for that, where there are any.
bool SessionCore::may_run_routines(Statement& statement) const {
  const RoutineBook& routines = books_->routines;
  if (statement.routines_version != routines.version()) {
    statement.routines_version = routines.version();
    statement.runs_routines = changes_by_names(ClientText(statement), RoutineBook::Strings::Data).has_value();
  }
  return statement.runs_routines;
}

void SessionCore::note_effects(const protocol::SqlEffects& effects, const ClientText& text) {
  constexpr std::size_t kEach = 64;  // what it takes to note one, in bytes that are looked through
  const protocol::SqlChanges& changes = effects.changes;
  note_parsing(effects);
  books_->texts.worked(kEach * (effects.statements.size() + changes.settings.size()));
  std::vector<Bytes> plainly_set;
  for (const protocol::SqlStatement& statement : effects.statements) {
    switch (statement.kind) {
      case Kind::DiscardAll:
        suspicion().all_set_back = dirty_batch_ = drops_names_ = true;
        suspicion().pins |= pins_ & pin::kProvable;
        break;
      case Kind::ResetAll: suspicion().all_set_back = true; break;
      case Kind::Reset:
      case Kind::Set:
        plainly_set.push_back(statement.name);
        if (statement.kind == Kind::Reset || sets_to_default(text.sql().substr(statement.at, statement.size)))
          suspicion().add_set_back(setting_key(statement.name));
        break;
      case Kind::Deallocate:
        // The client's own, or another one's.
        if (is_like_ours(statement.name)) server_->dirty = dirty_batch_ = true;
        suspicion().pins |= pins_ & pin::kStatement;
        break;
      case Kind::DeallocateAll:
        dirty_batch_ = drops_names_ = true;
        suspicion().pins |= pins_ & pin::kStatement;
        break;
      case Kind::Prepare:
        // It may be executed in this transaction, where nobody knows the name.
        if (statement.changes.leave_something() || statement.changes.reads_sequence)
          note_effects(of_body(statement), text);
        break;
      case Kind::CreateTemp: server_->temp_used = true; break;
      case Kind::EmptyDatabase:
        // Beside others, in a block, or behind what still runs, that may be what takes long.
        if (effects.statements.size() == 1 && server_->tx_status == 'I' &&
            !server_->pipeline.owes_client_ready())
          server_->database_taken = statement.name;
        break;
      case Kind::DiscardTemp: suspicion().pins |= pins_ & pin::kTemp; break;
      default: break;
    }
  }
  if (changes.opaque) server_->dirty = dirty_batch_ = true;
  made_code_ = made_code_ || may_make_code(effects, text);
  if (changes.temp) server_->temp_used = true;
  if (text.has(TextWord::TempBuffers)) books_->buffers_named = true;
  if (changes.reads_sequence) asks_sequence_ = books_->reads_sequences = true;
  if (changes.unfollowable) server_->spoiled = true;
  const auto pin_if = [](bool yes, Pins pin) { return yes ? pin : Pins{0}; };
  const auto gone = static_cast<Pins>(
      pin_if(changes.temp_gone, pin::kTemp) | pin_if(changes.cursor_gone, pin::kCursor) |
      pin_if(changes.advisory_unlock, pin::kLock) | pin_if(changes.unlistens, pin::kListen));
  // A path that cannot be read is hardly ever one that makes tables temporary: no room is needed for it.
  const auto pins =
      static_cast<Pins>(may_come(effects) | pin_if(changes.temp_path, pin::kTemp) | (gone & pins_));
  if (pins) suspicion().pins |= pins;
  if (channels_ && changes.unlistens) note_unlistens(effects);
  std::sort(plainly_set.begin(), plainly_set.end());
  for (const std::string& name : changes.settings) {
    suspicion().add_setting(name);
    if (!std::binary_search(plainly_set.begin(), plainly_set.end(), Bytes(name)))
      suspicion_->add_doubted(name);
  }
  wait_behind_ = wait_behind_ || loses_start();
  note_token(changes);
}

// A transaction that goes on must still have its tenant. What the client sets in its place it has.
void SessionCore::note_token(const protocol::SqlChanges& changes) {
  if (server_->introduced.tenant.empty()) return;
  if (!changes.any_setting && !(suspicion_ && suspicion_->may_set_back(kTokenSetting))) return;
  server_->introduced = {};
  wait_behind_ = true;
}

// Whether the open transaction may have taken back something that the client connected with.
bool SessionCore::loses_start() const {
  const SettingsMap::Values& values = started_->values;
  return std::any_of(values.begin(), values.end(), [&](const auto& each) { return set_back(each.first); });
}

// ... this.
bool SessionCore::set_back(Bytes name) const {
  if (PGWEIR_PLANTED(FORGET_STARTED)) return false;
  // To a walsender they are what it was opened with.
  return suspicion_ && suspicion_->may_set_back(name) && started_->values.contains(name) && !walsender();
}

}  // namespace pgweir
