// pooler/session_parsing.cc - SessionCore: under which settings a statement was parsed, and is when a server
// learns it.
//
// Clients share what servers have prepared, so a statement's key says what it means: its text under the
// settings that decide it. In a transaction these may be others than the client's own, and be known to nobody
// but the server; then the statement is nobody else's.
#include <algorithm>
#include <array>

#include "pooler/base/planted.h"
#include "pooler/session_core.h"
#include "pooler/session_parts.h"
#include "protocol/messages.h"
#include "protocol/sql_lexer.h"
#include "protocol/sql_words.h"

namespace pgweir {

using protocol::Owed;
using Kind = protocol::SqlStatement::Kind;
using Whose = protocol::Pipeline::Whose;

namespace {
// Reads literals otherwise, until it is run without a value: then as before, which the server keeps
// meanwhile.
constexpr Bytes kReadStatement = "pgweir_read";
constexpr char kReadText[] =
    "SELECT pg_catalog.set_config(was,CASE WHEN $2::pg_catalog.text IS NULL THEN "
    "pg_catalog.current_setting(was)"
    " ELSE pg_catalog.current_setting($1) END,true),"
    "pg_catalog.set_config($1,COALESCE($2,pg_catalog.current_setting(was)),true)"
    " FROM (VALUES ('pgweir_was.' OPERATOR(pg_catalog.||) $1)) v(was)\0\0";  // text, NUL, no parameter types
constexpr Bytes kReadContent{kReadText, sizeof kReadText};

// What Postgres does with its literals before it is run. Of others, some must be the first of a transaction.
bool reads_literals(Bytes sql) {
  constexpr std::array<Bytes, 8> kFirst = {"select", "insert", "update", "delete",
                                           "merge",  "with",   "values", "table"};
  protocol::SqlLexer lexer(sql);
  const Bytes first = lexer.text_of(lexer.next());
  return first == "(" || std::any_of(kFirst.begin(), kFirst.end(), [first](Bytes word) {
           return first.size() == word.size() && mentions(first, word);
         });
}

bool has_strings(Bytes sql) {
  using protocol::SqlToken;
  protocol::SqlLexer lexer(sql);
  for (SqlToken token = lexer.next(); token.kind != SqlToken::Kind::End; token = lexer.next())
    if (token.kind == SqlToken::Kind::String || token.kind == SqlToken::Kind::Unicode) return true;
  return false;
}

bool is_ascii(Bytes text) {
  return std::all_of(text.begin(), text.end(), [](char c) { return static_cast<unsigned char>(c) < 0x80; });
}

bool may_leave_block(const ClientText& text) {
  constexpr std::array<TextWord, 4> kWords = {TextWord::Abort, TextWord::Commit, TextWord::End,
                                              TextWord::Rollback};
  return std::any_of(kWords.begin(), kWords.end(), [&text](TextWord word) { return text.has(word); });
}

// Whether the text may set something back that its transaction has set, or is the last of it.
bool may_end_block(const ClientText& text) { return may_leave_block(text) || text.has(TextWord::Prepare); }
}  // namespace

// Settings that decide parsing, as they are in the open transaction.
Bytes SessionCore::parsing() {
  if (!server_->apart) return wanted_->parsing;
  // The transaction has ended, and what it has left is known.
  if (server_->tx_status == 'I' && server_->pipeline.empty() && !suspicion_) {
    server_->apart.reset();
    return wanted_->parsing;
  }
  if (!server_->pipeline.owes_client() && !server_->pipeline.batch_open()) server_->apart->answered();
  return server_->apart->parsing(wanted_);
}

ParsingApart& SessionCore::apart() {
  if (!server_->apart) server_->apart = std::make_unique<ParsingApart>();
  return *server_->apart;
}

void SessionCore::lose_parsing() { apart().lose(++books_->apart); }

// Before it is sent: by what nobody has read.
void SessionCore::lose_literals() {
  rereads_ = true;
  apart().doubt_literals(++books_->apart);
}

// By any text, before it is sent.
void SessionCore::note_parsing_end(const ClientText& text) {
  if (server_->apart && may_leave_block(text)) rereads_ = true;
  if (was_odd_ && may_end_block(text)) doubt_reading();
  if (!server_->apart || !may_end_block(text)) return;
  if (server_->apart->differs()) return lose_parsing();
  server_->apart->doubt_literals(++books_->apart);
}

// What a server has changed of it is known when it is Ready. Under ceilings nobody changes it: see misread_.
void SessionCore::doubt_reading() {
  if (guard_->inspects()) return;
  reading_unsure_ = true;
  apart().doubt(++books_->apart);
}

bool SessionCore::can_read(const ClientText& text) const {
  if (const Statement* const statement = text.statement())
    return statement->alike || (!statement->unsure && books_->settings.plain_parsing(statement->parsing()));
  const bool plain = !text.misread() && !reading_unsure_ && books_->settings.plain_sql(*wanted_);
  return plain || reads_alike(text.sql());
}

// Whether texts may be read otherwise behind it. What was taken back is as the server began, or the client.
bool SessionCore::decides_reading(const protocol::SqlEffects& effects) const {
  using Where = protocol::SqlAssignment::Where;
  const SettingsBook& book = books_->settings;
  const auto odd = [](const protocol::SqlAssignment& each) {
    const std::string key = setting_key(each.name);
    return each.where != Where::Stored && pgweir::decides_reading(key) &&
           !(each.value && reads_plainly(key, *each.value));
  };
  const auto& assignments = effects.reach.assignments;
  const auto& taken_back = effects.reach.taken_back;
  if (std::any_of(assignments.begin(), assignments.end(), odd)) return true;
  if (!taken_back.empty() && !(book.plain_sql(*started_) && book.plain_sql(*book.empty()))) return true;
  const auto by_code = [&](const std::string& name) {
    const std::string key = setting_key(name);
    const auto same = [&key](const protocol::SqlAssignment& each) { return setting_key(each.name) == key; };
    return pgweir::decides_reading(key) && std::none_of(assignments.begin(), assignments.end(), same) &&
           std::none_of(taken_back.begin(), taken_back.end(), same);
  };
  const auto& settings = effects.changes.settings;
  return std::any_of(settings.begin(), settings.end(), by_code);
}

bool sets_readings(const protocol::SqlEffects& effects) {
  const auto reads = [](const std::string& name) { return name.empty() || is_reading(setting_key(name)); };
  const auto sets = [&reads](const protocol::SqlAssignment& each) {
    return each.where != protocol::SqlAssignment::Where::Stored && reads(each.name);
  };
  const auto& assignments = effects.reach.assignments;
  const auto& taken_back = effects.reach.taken_back;
  const auto& settings = effects.changes.settings;
  return std::any_of(assignments.begin(), assignments.end(), sets) ||
         std::any_of(taken_back.begin(), taken_back.end(), sets) ||
         std::any_of(settings.begin(), settings.end(), reads);
}

void SessionCore::note_parsing(const protocol::SqlEffects& effects) {
  using Where = protocol::SqlAssignment::Where;
  const protocol::SqlChanges& changes = effects.changes;
  const protocol::SqlReach& reach = effects.reach;
  bool decides = false, told = true;
  const auto add = [&](const std::string& name) {
    const std::string key = setting_key(name);
    const bool all = name.empty();
    decides = decides || all || decides_parsing(key);
    told = told && !all && (is_reading(key) || !decides_parsing(key));
  };
  for (const auto* list : {&reach.assignments, &reach.taken_back})
    for (const protocol::SqlAssignment& each : *list)
      if (each.where != Where::Stored) add(each.name);
  for (const std::string& name : changes.settings) add(name);
  if (changes.opaque || changes.any_setting || changes.temp_path || reach.hidden_setting ||
      reach.hidden_sql || reach.code) {
    doubt_reading();
    lose_literals();
    if (changes.opaque || reach.code) forget_prepared();
    return lose_parsing();
  }
  if (!decides) return;
  if (sets_readings(effects)) lose_literals();
  if (decides_reading(effects)) doubt_reading();
  // Of what is not reported it is known what one SET does in a block, whose end it is when it fails.
  const bool one =
      effects.statements.size() == 1 && reach.assignments.size() == 1 && reach.assignments[0].value &&
      reach.taken_back.empty() &&
      (reach.assignments[0].where == Where::Set || reach.assignments[0].where == Where::SetLocal);
  const bool in_block =
      server_->tx_status == 'T' && !server_->pipeline.owes_client() && !server_->pipeline.batch_open();
  if (!told && (!one || !in_block || apart().lost())) return lose_parsing();
  if (told) return;
  apart().set(setting_key(reach.assignments[0].name), *reach.assignments[0].value);
  apart().doubt(++books_->apart);
}

// Whether a request of ours may set it otherwise for a moment.
bool SessionCore::may_read_as_then() const {
  return !wanted_->hasty && (server_->tx_status != 'E' || recovered_);
}

// Under which settings this server would learn the statement: those of its key, or where these cannot be had
// for a moment those of now.
std::string SessionCore::parsing_here(const Statement& statement) {
  const Bytes then = statement.parsing(), now = parsing();
  if (then == now || (!may_read_as_then() && reads_literals(statement.sql))) return std::string(now);
  if (may_be_read_as(then, now)) return std::string(then);
  // Postgres reads it anew where it looks for names elsewhere, which another role alone hardly ever makes.
  if (!tells_literals(then) || !same_but_for_speaker(then, now)) return std::string(now);
  return with_literals_of(now, then);
}

// Of a text that has been noted, and is sent under `under`. What it does before it prepares something,
// or behind that, may decide how the literals of that are read.
void SessionCore::note_prepared(const protocol::SqlEffects& effects, Bytes under) {
  const auto takes_back = [this](const protocol::SqlStatement& each) {
    return server_->apart && (each.kind == Kind::Commit || each.kind == Kind::Rollback ||
                              each.kind == Kind::RollbackTo || each.kind == Kind::PrepareTransaction);
  };
  const bool alone =
      !effects.in_part && std::none_of(effects.statements.begin(), effects.statements.end(), takes_back);
  std::optional<std::string> known;
  if (alone && !rereads_ && tells_literals(under)) known = with_literals_of({}, under);
  auto& prepared = suspicion().prepared_under;
  for (const protocol::SqlStatement& each : effects.statements) {
    if (each.kind != Kind::Prepare) continue;
    if (prepared.size() == Findings::kStatementsRead && !prepared.contains(each.name)) continue;
    const auto [place, first] = prepared.try_emplace(each.name, known);
    if (!first && place->second != known) place->second.reset();  // it is one of the two
  }
}

// What runs with it may have prepared those names, too, or prepares them only later.
void SessionCore::forget_prepared() {
  if (!suspicion_) return;
  suspicion_->readings_changed = true;
  for (auto& [name, under] : suspicion_->prepared_under) under.reset();
}

// Under what the server has parsed it, its names as now. Nothing: nobody knows how its literals were read.
std::optional<std::string> SessionCore::parsed_under(const Findings::Statement& found, Bytes sql) {
  const Bytes now = parsing();
  if (PGWEIR_PLANTED(READ_AS_LEFT)) return std::string(now);
  if (!has_strings(sql)) return std::string(now);
  if (server_->kept.contains(found.name)) return std::nullopt;
  const Suspicion& seen = *suspicion_;
  const auto noted = seen.prepared_under.find(found.name);
  if (noted == seen.prepared_under.end()) {  // by code, or it is one of too many
    const bool unsure = seen.readings_changed || server_->keeps_more ||
                        seen.prepared_under.size() == Findings::kStatementsRead;
    return unsure ? std::nullopt : std::optional<std::string>(now);
  }
  const auto& then = noted->second;
  // What the server tells of it comes in the encoding of now.
  if (!then || !(same_encoding(*then, now) || is_ascii(sql))) return std::nullopt;
  return with_literals_of(now, *then);
}

// The statement that the client calls so, or in its place one of the same text that this server can learn.
StatementRef SessionCore::learnable(Bytes name) {
  const StatementRef held = *names_->find(name);
  if (server_->statements.knows(held->id) || coming(*held)) return held;
  const std::string here = parsing_here(*held);
  const bool as_told = !held->told_types.empty() && may_have_changed(*held);
  if (here == held->parsing() && !as_told) return held;
  StatementRef fresh = intern(as_told ? held->content_as_told() : std::string(held->content), here);
  if (!fresh) return {};
  fresh->unsure = fresh->unsure || held->unsure || reading_unsure_;
  if (fresh->columns == 0 && same_path(held->parsing(), here) && !books_->statements.outdated(*held))
    fresh->columns = held->columns;
  names_->replace(name, fresh);
  return fresh;
}

// Literals are read when a statement is parsed: under the settings of then, which may be others now.
std::vector<Reading> SessionCore::readings_of(const Statement& statement) {
  if (!may_read_as_then() || !reads_literals(statement.sql)) return {};
  // What the end of a failed transaction takes back is not known before it is answered.
  if (recovered_ && server_->apart) server_->apart->doubt_literals(++books_->apart);
  return readings(statement.parsing(), parsing(), *server_->fresh);
}

// Under `name`. False when the server will skip it.
bool SessionCore::put_parse_of(const Statement& statement, Bytes name, StatementOp op, std::string& bytes) {
  const std::vector<Reading> readings = readings_of(statement);
  if (!readings.empty()) {
    protocol::put_close_statement(bytes, kReadStatement);
    protocol::put_parse(bytes, kReadStatement, kReadContent);
    for (const Owed each : {Owed::Close, Owed::Parse}) server_->pipeline.push(each, Whose::Ours);
    put_readings(readings, true, bytes);
  }
  protocol::put_parse(bytes, name, statement.content);
  const bool runs = push_op(Owed::Parse, Whose::Ours, std::move(op));
  if (readings.empty()) return runs;
  put_readings(readings, false, bytes);
  protocol::put_close_statement(bytes, kReadStatement);
  server_->pipeline.push(Owed::Close, Whose::Ours);
  return runs;
}

// `then`: as the readings say, or as it was before.
void SessionCore::put_readings(const std::vector<Reading>& readings, bool then, std::string& bytes) {
  for (const Reading& each : readings) {
    const auto value = then ? std::optional<Bytes>(each.value) : std::nullopt;
    protocol::put_bind_text(bytes, kReadStatement, {Bytes(each.name), value});
    protocol::put_execute(bytes);
    for (const Owed owed : {Owed::Bind, Owed::Execute}) server_->pipeline.push(owed, Whose::Ours);
  }
}

}  // namespace pgweir
