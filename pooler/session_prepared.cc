// pooler/session_prepared.cc - SessionCore: statements that SQL prepares and executes, whatever server they
// come to be used on.
#include <algorithm>
#include <set>

#include "pooler/base/check.h"
#include "pooler/base/planted.h"
#include "pooler/session_core.h"
#include "pooler/session_parts.h"
#include "protocol/messages.h"
#include "protocol/wire.h"

namespace pgweir {

using protocol::Owed;
using Kind = protocol::SqlStatement::Kind;
using Made = ClientStatements::Made;
using Whose = protocol::Pipeline::Whose;

namespace {
std::size_t characters_in(Bytes text) {
  return static_cast<std::size_t>(std::count_if(
      text.begin(), text.end(), [](char c) { return (static_cast<unsigned char>(c) & 0xC0U) != 0x80; }));
}

// What the one PREPARE of this name in the text prepares, behind blanks for what stands in front of it:
// errors tell places in the whole. Empty when it cannot be told.
std::string body_in(const protocol::SqlEffects& effects, Bytes sql, Bytes name) {
  const auto prepares = [name](const protocol::SqlStatement& each) {
    return each.kind == Kind::Prepare && each.name == name;
  };
  const auto found = std::find_if(effects.statements.begin(), effects.statements.end(), prepares);
  if (found == effects.statements.end() || std::any_of(found + 1, effects.statements.end(), prepares))
    return {};
  const Bytes body = sql.substr(found->body_at, found->at + found->size - found->body_at);
  if (body.empty()) return {};
  return std::string(characters_in(sql.substr(0, found->body_at)), ' ').append(body);
}
}  // namespace

// All that a text might name.
SessionCore::Needs SessionCore::all_names() const {
  Needs needs{names_->made_by_sql()};
  std::size_t bytes = 0;
  for (const std::string& name : needs.names) bytes += (*names_->find(name))->content.size();
  needs.unlent = needs.names.size() > kLentMost || bytes > kLentBytesMost;
  if (needs.unlent) needs.names.clear();
  return needs;
}

// Code that puts its SQL together may have in it the names of statements that SQL has not used so far.
void SessionCore::add_others(Bytes sql, Needs& needs) const {
  constexpr std::size_t kWorkMost = 16 << 20;  // beyond it such a name is not found
  if (names_->size() * sql.size() > kWorkMost) return;
  books_->texts.worked(names_->size() * sql.size() / 8);
  std::vector<std::string> others = names_->others_in(sql);
  if (needs.names.size() + others.size() > kLentMost) return;
  for (std::string& name : others)
    if (!is_like_ours(name)) needs.names.push_back(std::move(name));
}

// The client's statements that the text may use, by names of their own.
SessionCore::Needs SessionCore::names_used(const ClientText& text) const {
  if (!names_) return {};
  const bool by_sql = names_->any_by_sql();
  if (!can_read(text)) return by_sql ? all_names() : Needs{};
  if (!text.looked_through()) books_->texts.worked(text.sql().size());
  if (!by_sql && !text.has(TextWord::Execute) && !text.has(TextWord::Prepare)) return {};
  const protocol::SqlEffects& effects = effects_of(text, Also::Nothing);
  bool opaque = effects.changes.opaque || effects.read == protocol::SqlEffects::Read::Unknown;
  if (by_sql && !opaque && !books_->routines.empty()) {
    const auto changes = changes_by_names(text, strings_of(effects));
    opaque = changes && changes->opaque;
  }
  Needs needs = by_sql && opaque ? all_names() : Needs{};
  if (effects.changes.opaque && !needs.unlent) add_others(text.sql(), needs);
  const auto has = [](const std::vector<std::string>& names, const std::string& name) {
    return std::find(names.begin(), names.end(), name) != names.end();
  };
  const auto add = [&](Kind kind, std::vector<std::string>& names) {
    for (const protocol::SqlStatement& each : effects.statements)
      if (each.kind == kind && !is_like_ours(each.name) && names_->find(each.name) &&
          !has(needs.names, each.name) && !has(names, each.name))
        names.push_back(each.name);
  };
  add(Kind::Execute, needs.names);
  if (!needs.names.empty()) add(Kind::Deallocate, needs.names);
  add(Kind::Prepare, needs.occupied);
  return needs;
}

// Noted with a request that may miss one: if that is why it fails, this is what the client is told.
StatementOp SessionCore::unlent() const {
  StatementOp op{StatementOp::Kind::Unsupplied, 0, 0, {}, {}};
  std::size_t count = 0, bytes = 0;
  if (names_)
    for (const std::string& name : names_->made_by_sql()) {
      ++count;
      bytes += (*names_->find(name))->content.size();
    }
  const Error error{
      sqlstate::kProgramLimit,
      "not all prepared statements of this client could be given to the code that it runs",
      "Code that may EXECUTE any of them is given " + std::to_string(kLentMost) + " of " +
          std::to_string(kLentBytesMost) + " bytes at most; the client has " + std::to_string(count) +
          " of " + std::to_string(bytes) + ".",
      "DEALLOCATE those that are not needed, or EXECUTE the statement by a request of its own."};
  protocol::put_error(op.name, "ERROR", error);
  return op;
}

bool SessionCore::can_adopt(const protocol::SqlEffects& effects) const {
  if (effects.changes.opaque || mode_ != tiers::PoolMode::Transaction || sets_readings(effects)) return false;
  std::size_t bytes = 0;
  for (const protocol::SqlStatement& each : effects.statements) {
    if (each.kind != Kind::Prepare) continue;
    if (each.at + each.size > kAdoptedTextMax) return false;
    bytes += each.at + each.size + StatementBook::kStatementCost + StatementBook::kNameCost;
  }
  return has_room(bytes);
}

// What was found may be what was lent: it means what it did, whatever its transaction has set since.
StatementRef SessionCore::lent_as(const Findings::Statement& found) const {
  const auto lent = suspicion_->lent.find(found.name);
  if (PGWEIR_PLANTED(REREAD_LENT)) return {};
  if (found.from_sql || lent == suspicion_->lent.end() || lent->second->sql != Bytes(found.text)) return {};
  return lent->second;
}

// What cannot be taken over stays on its server, and the client with it.
void SessionCore::adopt(Findings& findings) {
  const bool plain = books_->settings.plain_sql(*wanted_);
  const auto was_plain = [&](const std::string& name) {
    const auto noted = suspicion_->prepared_under.find(name);
    if (noted == suspicion_->prepared_under.end()) return !suspicion_->readings_changed;
    return noted->second && books_->settings.plain_parsing(*noted->second);
  };
  std::set<std::string> kept;
  if (findings.pins & pin::kStatement) server_->keeps_more = true;
  for (const Findings::Statement& found : findings.statements) {
    if (found.text.empty() && names_ && names_->find(found.name)) {
      server_->adopted.push_back(found.name);  // made for a DEALLOCATE that has not run
      continue;
    }
    StatementRef statement = server_->kept.contains(found.name) ? StatementRef() : lent_as(found);
    std::string content = statement || found.text.size() > kAdoptedTextMax ? std::string() : found.text;
    if (found.from_sql && !content.empty())
      content = (plain && was_plain(found.name)) || reads_alike(found.text)
                    ? body_in(books_->texts.read(found.text), found.text, found.name)
                    : "";
    const auto under = content.empty() ? std::nullopt : parsed_under(found, content);
    if (under) {
      content.push_back('\0');
      char number[4];
      protocol::store_u32(number, static_cast<std::uint32_t>(found.types.size()));
      content.append(number + 2, 2);
      for (const std::uint32_t type : found.types) {
        protocol::store_u32(number, type);
        content.append(number, 4);
      }
      statement = intern(content, *under);
    }
    if (!statement || refuse_statement_beyond(found.name.size() + content.size()) ||
        !has_room(ClientStatements::cost(found.name))) {
      findings.pins |= pin::kStatement;
      kept.insert(found.name);
      continue;
    }
    if (!PGWEIR_PLANTED(FORGET_PREPARED)) names().set(found.name, std::move(statement), Made::BySql);
    server_->adopted.push_back(found.name);
  }
  server_->kept = std::move(kept);
}

bool SessionCore::give_up_adopted(Actions& out) {
  if (server_->adopted.empty()) return false;
  server_->close_statements(std::exchange(server_->adopted, {}), out.to_server);
  return auditing_ = true;
}

// What the statements that the text executes will do.
void SessionCore::note_executed(const ClientText& text, std::unique_ptr<Ruling>& ruling) {
  if (!can_read(text)) return;
  std::set<std::string> names;
  for (const protocol::SqlStatement& each : effects_of(text, Also::Nothing).statements)
    if (each.kind == Kind::Execute && names_->find(each.name)) names.insert(each.name);
  for (const std::string& name : names) {
    const StatementRef held = *names_->find(name);
    std::unique_ptr<Ruling> of_body = note_text(ClientText(*held));
    if (rereads_) forget_prepared();
    if (!of_body) continue;
    if (!of_body->refused) {
      if (StatementRef lowered = lowered_statement(name, *of_body))
        names_->replace(name, std::move(lowered));
      else
        of_body->refused = no_room();
    }
    of_body->text.clear();
    if (of_body->refused || !ruling)
      ruling = std::move(of_body);
    else
      ruling->lowered.insert(ruling->lowered.end(), of_body->lowered.begin(), of_body->lowered.end());
    if (ruling->refused) return;
  }
}

// Sends, ahead of a simple query, what it needs; answers what is to be noted with it. `text`, if it is not
// empty, is what the server is to be sent in place of `sql`; where a name in that is enough, it is replaced
// there.
StatementOp SessionCore::supply(const std::vector<std::string>& names, Bytes sql, std::string& text,
                                Actions& out) {
  StatementOp query{StatementOp::Kind::Supplied, 0, 0, {}, {}};
  const bool in_batch = server_->pipeline.batch_open();
  const bool plain = text.empty() && names.size() == 1 && can_read(sql);
  const protocol::SqlEffects& effects = books_->texts.read(sql);
  const protocol::SqlStatement* const only =
      plain && effects.statements.size() == 1 ? &effects.statements[0] : nullptr;
  if (!only || only->kind != Kind::Execute || only->name_size == 0 || only->name != names.front()) {
    out.to_server.own([&](std::string& bytes) {
      lend_all(names, in_batch ? StatementOp::Kind::Lend : StatementOp::Kind::Supply, bytes);
      if (!in_batch) server_->end_batch(bytes);
    });
    return query;
  }
  const std::size_t end = only->name_at + only->name_size;
  query.statement = *names_->find(only->name);
  query.called = {only->name, characters_in(sql.substr(only->name_at, only->name_size)),
                  characters_in(sql.substr(0, end)), characters_in(sql)};
  const Statement& statement = *query.statement;
  text.append(sql.substr(0, only->name_at)).append(statement.server_name).append(sql.substr(end));
  if (server_->statements.use(statement.id)) return query;
  if (in_batch) return inject(query.statement, out), query;
  ++out.server_parses;
  make_room_on_server(out);
  out.to_server.own([&](std::string& bytes) {
    put_parse_of(statement, statement.server_name,
                 {StatementOp::Kind::Supply, 0, statement.id, {}, query.statement}, bytes);
    server_->end_batch(bytes);
  });
  return query;
}

// The same in a batch, whose own error it is when something is wrong with one of them.
SessionCore::Name SessionCore::lend(const ClientText& text, bool& lent, Actions& out) {
  if (names_ && may_give_back_names(text.sql()) && server_->pipeline.owes_client()) return Name::Later;
  const Needs needs = names_used(text);
  const std::vector<std::string>& names = needs.names;
  if (names.empty() && needs.occupied.empty() && (!needs.unlent || unlent_)) return Name::Ready;
  if (server_->pipeline.owes_client()) return Name::Later;
  if (needs.unlent && server_->tx_status != 'E') unlent_ = true;
  occupy(needs.occupied, true, out);
  if (names.empty()) return Name::Ready;
  std::unique_ptr<Ruling> ruling;
  asks_sequence_ = false;
  note_executed(text, ruling);
  if (asks_sequence_ && own_sequences(out) == Name::Refused)
    return refuse_statement(others_sequence(), out), Name::Refused;
  if (ruling && ruling->refused) return refuse_statement(*ruling->refused, out), Name::Refused;
  out.to_server.own([&](std::string& bytes) { lend_all(names, StatementOp::Kind::Lend, bytes); });
  lent = true;
  return Name::Ready;
}

void SessionCore::lend_all(const std::vector<std::string>& names, StatementOp::Kind kind,
                           std::string& bytes) {
  for (const std::string& name : names) {
    const StatementRef held = *names_->find(name);
    note_lent(*held);
    if (occupied() && !PGWEIR_PLANTED(KEEP_OCCUPIED)) {
      protocol::put_close_statement(bytes, name);
      server_->pipeline.push(Owed::Close, Whose::Ours);
    }
    if (put_parse_of(*held, name, {kind, 0, 0, name, held}, bytes)) names_->erase(name);
    suspicion().lent[name] = held;
  }
  suspicion().pins |= pin::kStatement;
}

// A PREPARE of what the client has finds a statement of that name: one that does nothing, since the client's
// own may not be one that this server could learn. `in_batch`: it is in one of the client's, which comes.
void SessionCore::occupy(const std::vector<std::string>& names, bool in_batch, Actions& out) {
  if (names.empty()) return;
  const bool own_batch = !in_batch && !server_->pipeline.batch_open();
  out.to_server.own([&](std::string& bytes) {
    for (const std::string& name : names) put_gone(name, kEmptyContent, bytes);
    if (own_batch) server_->end_batch(bytes);
  });
  suspicion().pins |= pin::kStatement;
  suspicion().occupied = true;
}

// Until the transaction ends only the server knows the name: a later EXECUTE of it is not asked what it does.
void SessionCore::note_lent(Statement& statement) {
  const ClientText text(statement);
  if (statement.words != protocol::SqlWords::State || !can_read(text)) return;
  const protocol::SqlEffects& effects = effects_of(text, Also::Nothing);
  if (effects.read == protocol::SqlEffects::Read::Unknown)
    server_->dirty = true;
  else
    note_effects(effects, text);
}

// The server may have a statement of the client's under this name: then it says so. In session mode nobody
// has asked it.
void SessionCore::try_name(Bytes name, Bytes content, Actions& out) {
  const Pins may_have = pins_ | (suspicion_ ? suspicion_->pins : Pins{0});
  if (!(may_have & (pin::kStatement | pin::kSession))) return;
  out.to_server.own([&](std::string& bytes) {
    protocol::put_parse(bytes, name, content);
    protocol::put_close_statement(bytes, name);
    push_op(Owed::Parse, Whose::Ours, {StatementOp::Kind::Try, 0, 0, {}, {}});
    server_->pipeline.push(Owed::Close, Whose::Ours);
  });
}

}  // namespace pgweir
