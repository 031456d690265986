// pooler/session_deallocate.cc - SessionCore: SQL's DEALLOCATE of statements that the protocol has prepared.
#include "pooler/session_core.h"
#include "pooler/session_parts.h"
#include "protocol/messages.h"

namespace pgweir {

using protocol::Frame;
using protocol::kHeaderBytes;
using protocol::Owed;
using protocol::Pipeline;
using Whose = Pipeline::Whose;

// What the DEALLOCATEs of the text, which stands among other statements, will find: of each name, one made
// for it.
void SessionCore::make_deallocated(Bytes text, std::vector<StatementOp::Taken>& taken, Actions& out) {
  const bool in_batch = server_->pipeline.batch_open();
  out.to_server.own([&](std::string& bytes) {
    for (const protocol::SqlStatement& each : books_->texts.read(sql_of(text)).statements) {
      if (each.kind != protocol::SqlStatement::Kind::Deallocate) continue;
      StatementOp::Taken& one = taken.emplace_back();
      const StatementRef* const held = names_->find(each.name);
      if (!held || is_like_ours(each.name)) continue;
      if (!put_gone(each.name, kEmptyContent, bytes)) continue;
      one = {each.name, *held, names_->made(each.name)};
      names_->erase(each.name);
    }
    if (!in_batch) server_->end_batch(bytes);
  });
}

// No statement of the text has taken it; what was made for that may be there.
void SessionCore::give_back(StatementOp::Taken& taken) {
  if (!taken.statement) return;
  suspicion().pins |= pin::kStatement;
  suspicion().occupied = true;
  names().set(taken.name, std::move(taken.statement), taken.made);
}

void SessionCore::on_deallocated(StatementOp& op) {
  deallocating_ = false;
  for (std::size_t i = op.deallocated; i < op.taken.size(); ++i) give_back(op.taken[i]);
}

// What the portal runs from now on: only a DEALLOCATE is noted, with the name that it will take.
void SessionCore::note_portal(Bytes portal, Bytes sql) {
  books_->texts.worked(sql.size());
  const protocol::SqlStatement* const one = mentions(sql, "deallocate") ? lone_deallocate(sql) : nullptr;
  if (deallocating_portals_)
    if (const auto place = deallocating_portals_->find(portal); place != deallocating_portals_->end())
      deallocating_portals_->erase(place);
  if (!one || is_like_ours(one->name)) return;
  if (!deallocating_portals_)
    deallocating_portals_ = std::make_unique<decltype(deallocating_portals_)::element_type>();
  if (deallocating_portals_->size() < kPortalsNoted) deallocating_portals_->emplace(portal, one->name);
}

// A DEALLOCATE of what the protocol has prepared finds a statement of that name, made for it. False where it
// must wait.
bool SessionCore::push_execute(const Frame& frame, Bytes rest, Actions& out) {
  if (deallocating_portals_ && names_) {
    protocol::Reader in(rest.substr(kHeaderBytes, frame.size - kHeaderBytes));
    const auto portal = deallocating_portals_->find(in.c_string());
    const std::string name = portal == deallocating_portals_->end() ? std::string() : portal->second;
    // One that an earlier batch may have taken may come back.
    if (!name.empty() && (names_unsure() || pending_elsewhere(name, 0))) return false;
    if (const StatementRef* const held = name.empty() ? nullptr : names_->find(name)) {
      StatementOp op{StatementOp::Kind::Tell, 0, 0, {}, {}};
      op.taken.push_back({name, *held, names_->made(name)});
      out.to_server.own([&](std::string& bytes) { put_gone(name, kEmptyContent, bytes); });
      if (push_op(Owed::Execute, Whose::Clients, std::move(op))) names_->erase(name);
      return true;
    }
  }
  if (unlent_)
    push_op(Owed::Execute, Whose::Clients, unlent());
  else
    server_->pipeline.push(Owed::Execute);
  return true;
}

// Prepares `content` under a name that nobody uses. False when the server will skip it.
bool SessionCore::put_gone(Bytes name, Bytes content, std::string& bytes) {
  protocol::put_close_statement(bytes, name);
  protocol::put_parse(bytes, name, content);
  const bool runs = server_->pipeline.push(Owed::Close, Whose::Ours);
  push_op(Owed::Parse, Whose::Ours, {StatementOp::Kind::Try, 0, 0, {}, {}});
  return runs;
}

}  // namespace pgweir
