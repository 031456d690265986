// pooler/session_query.cc - SessionCore: simple queries.
#include <algorithm>
#include <utility>

#include "pooler/base/check.h"
#include "pooler/session_core.h"
#include "pooler/session_parts.h"
#include "protocol/messages.h"
#include "protocol/sql_lexer.h"

namespace pgweir {

using protocol::Frame;
using protocol::kHeaderBytes;
using protocol::Owed;
using protocol::Pipeline;
using Whose = Pipeline::Whose;

namespace {
// Nearly all texts have one, and no ';' but a last one.
std::size_t statements_in(Bytes sql) {
  if (sql.find_first_not_of("; \t\r\n", std::min(sql.find(';'), sql.size())) == Bytes::npos) return 1;
  std::size_t count = 0;
  bool begun = false;
  for (protocol::SqlLexer lexer(sql);;) {
    const protocol::SqlToken token = lexer.next();
    const bool end = token.kind == protocol::SqlToken::Kind::End;
    if (!end && lexer.text_of(token) != ";") {
      begun = true;
      continue;
    }
    count += std::exchange(begun, false) ? 1 : 0;
    if (end) return std::max<std::size_t>(count, 1);
  }
}
}  // namespace

// How the server is sent a simple query: as it came, or otherwise.
struct SessionCore::Draft {
  std::unique_ptr<Ruling> ruling;
  std::string renamed;  // the text, if it is to be another one
  Needs needs;          // statements that the server must have for it
  std::vector<StatementOp::Taken> taken;
  bool fails_again = false;  // its transaction, which it leaves, in front of it
  std::size_t statements = kStatementsCounted;

  bool plain() const { return !ruling && !needs.lends() && taken.empty() && !fails_again; }
};

SessionCore::Step SessionCore::relay_query(const Frame& frame, Bytes rest, Actions& out) {
  // What runs is one thing at a time: SQL, which has its limits, or a command, which has none.
  if (walsender() && server_->pipeline.owed() > 0) return stall(out);
  // It ends the unnamed statement, unless it is skipped; what was sent before may do so, too.
  if (!unnamed_sure() && may_have_unnamed()) return stall(out);
  const bool all_here = whole(frame, rest);
  const Bytes text = rest.substr(kHeaderBytes, frame.size - kHeaderBytes);
  if (all_here) {
    // Outside of a transaction no server is needed, inside of one not for a name that it does not know: what
    // it is to be depends on the answers to what came before.
    if (begins_like_local(text) && !server_->pipeline.batch_open() && needs_no_server(text)) {
      if (!server_->settled()) return stall(out);
      if (deallocates_ours(text) && server_->tx_status != 'E') {
        PGWEIR_CHECK(answer_here(text, out));
        out.consumed += frame.size;
        return Step::Next;
      }
    }
    if (is_ordinary(text)) {
      forget_sequences(out);
      const bool runs = server_->pipeline.push(Owed::Query);
      query_sent(text, true, 1);
      forward(frame, rest, out);
      if (runs) drop_unnamed();
      return Step::Next;
    }
  }
  Draft draft;
  const Step step = all_here ? draft_query(text, draft, out) : draft_unread(frame, draft, out);
  if (step != Step::Next) return step;
  if (all_here && asks_sequence_ && !has_own_sequences(draft, out)) return stall(out);
  if (walsender()) draft.ruling = refuse_unwatched(std::move(draft.ruling));
  // An error in an open batch may make the server skip this, too: then only the Sync may be followed by us.
  const bool in_batch = server_->pipeline.batch_open();
  forget_sequences(out);
  const bool runs = draft.plain() ? server_->pipeline.push(Owed::Query)
                                  : push_query(all_here ? sql_of(text) : Bytes(), draft, out);
  query_sent(text, all_here, draft.statements);
  if (!draft.renamed.empty()) {
    out.to_server.own([&](std::string& bytes) { protocol::put_query(bytes, draft.renamed); });
    skip(frame, rest, out);
  } else {
    forward(frame, rest, out);
  }
  if (runs) {
    drop_unnamed();
  }
  if (channels_ && runs && !in_batch) mark_unlistens(out);
  return Step::Next;
}

// Of a client that holds nothing and may do nothing that a text without such words could concern, as nearly
// all are: draft_query() would find nothing to note.
bool SessionCore::is_ordinary(Bytes text) {
  if (names_ || suspicion_ || channels_ || pins_ != 0 || was_odd_ || reading_unsure_ || walsender())
    return false;
  if (server_->apart || !books_->routines.empty() || !books_->settings.plain_sql(*wanted_)) return false;
  if (!text.ends_with('\0') || !books_->texts.knows_ordinary(text.substr(0, text.size() - 1))) return false;
  resets_all_ = asks_sequence_ = commanding_ = false;
  return true;
}

void SessionCore::query_sent(Bytes text, bool all_here, std::size_t statements) {
  if (trail_) {
    trail_->runs(sql_of(text), all_here);
    trail_->sent();
  }
  expect_statements(statements);
  end_batch();
}

// Of a text that is too long to be read.
SessionCore::Step SessionCore::draft_unread(const Frame& frame, Draft& draft, Actions& out) {
  if (frame.size <= protocol::kSqlTextMax) return Step::NeedMore;
  if (names_) draft.needs = all_names();
  if (draft.needs.any() && server_->pipeline.owes_client()) return stall(out);
  draft.ruling = note_unread(frame.size);
  return Step::Next;
}

SessionCore::Step SessionCore::draft_query(Bytes text, Draft& draft, Actions& out) {
  const ClientText said(sql_of(text));
  if (names_) {
    // A name that is taken by what is still to be answered may come back.
    if ((takes_names() || may_give_back_names(said.sql())) && server_->pipeline.owes_client())
      return stall(out);
    draft.needs = names_used(said);
    const bool takes = draft.needs.names.empty() && deallocates_ours_among(said);
    if (draft.needs.any() || takes) {
      if (server_->pipeline.owes_client()) return stall(out);
      if (server_->tx_status == 'E' && !recover(said.sql(), draft, out)) {
        draft.needs = {};
      } else {
        occupy(draft.needs.occupied, false, out);
        if (takes) make_deallocated(text, draft.taken, out);
      }
    }
  }
  draft.statements = statements_in(said.sql());
  asks_sequence_ = false;
  commanding_ = walsender() && commands(text);
  if (!commanding_) draft.ruling = note_text(said);
  const bool refused = draft.ruling && draft.ruling->refused;
  if (!draft.needs.names.empty() && !refused) note_executed(said, draft.ruling);
  return Step::Next;
}

// False where that can be told only when what is owed has been answered.
bool SessionCore::has_own_sequences(Draft& draft, Actions& out) {
  switch (own_sequences(out)) {
    case Name::Ready: break;
    case Name::Refused:
      draft.ruling = std::make_unique<Ruling>();
      draft.ruling->refused = others_sequence();
      break;
    case Name::Later:
      for (StatementOp::Taken& each : draft.taken) give_back(each);
      return false;
  }
  return true;
}

// In a failed transaction nothing can be prepared. Where the text begins by leaving it, it is left before:
// the text will find an empty one of the same kind, or does again what has been done. False where it does not
// begin so.
bool SessionCore::recover(Bytes sql, Draft& draft, Actions& out) {
  using Kind = protocol::SqlStatement::Kind;
  if (!can_read(sql) || !server_->settled()) return false;
  const auto& statements = books_->texts.read(sql).statements;
  if (statements.empty()) return false;
  const protocol::SqlStatement& first = statements.front();
  switch (first.kind) {
    case Kind::RollbackTo: server_->recover(sql.substr(first.at, first.size), out.to_server); break;
    case Kind::Commit:
      draft.fails_again = true;  // or it would not say ROLLBACK
      [[fallthrough]];
    case Kind::Rollback:
      server_->recover("ROLLBACK AND CHAIN", out.to_server);
      recovered_ = true;
      break;
    default: return false;
  }
  lose_unnamed();
  return true;
}

// `sql`: empty where it is not known. Answers whether the server will run it.
bool SessionCore::push_query(Bytes sql, Draft& draft, Actions& out) {
  std::unique_ptr<Ruling>& ruling = draft.ruling;
  const Needs& needs = draft.needs;
  if (ruling && ruling->refused) {
    draft.renamed = kNoQuery;
    for (StatementOp::Taken& each : draft.taken) give_back(each);
    return push_refusal(Owed::Query, *ruling->refused);
  }
  if (!ruling && draft.taken.empty() && needs.unlent && needs.names.empty()) {
    if (draft.fails_again) server_->fail_again(kNoQuery, out.to_server);
    return push_op(Owed::Query, Whose::Clients, unlent());
  }
  StatementOp op{StatementOp::Kind::Tell, 0, 0, {}, {}};
  if (ruling && !ruling->text.empty()) draft.renamed = std::move(ruling->text);
  if (!needs.names.empty()) op = supply(needs.names, sql, draft.renamed, out);
  if (draft.fails_again) server_->fail_again(kNoQuery, out.to_server);
  if (ruling) op.name = std::move(*notices_of(*ruling));
  const bool takes = !draft.taken.empty();
  op.taken = std::move(draft.taken);
  const bool runs = push_op(Owed::Query, Whose::Clients, std::move(op));
  deallocating_ = runs && takes;
  return runs;
}

}  // namespace pgweir
