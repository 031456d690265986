// pooler/session_unnamed.cc - SessionCore: the statement without a name, which is the client's own on every
// server.
#include <algorithm>

#include "pooler/base/planted.h"
#include "pooler/session_core.h"
#include "pooler/session_parts.h"
#include "protocol/messages.h"
#include "protocol/sql_words.h"

namespace pgweir {

using protocol::Frame;
using protocol::kHeaderBytes;
using protocol::Owed;
using protocol::Pipeline;
using Whose = Pipeline::Whose;

SessionCore::Step SessionCore::relay_unnamed_parse(const Frame& frame, Bytes rest, Actions& out) {
  const Bytes text = rest.substr(kHeaderBytes + 1, frame.size - kHeaderBytes - 1);
  if (server_->pipeline.owed() > 0 && unnamed_.size() > kUnnamedOwedMax && !unnamed_sure()) return stall(out);
  bool noteworthy = true, misread = false;
  if (whole(frame, rest)) {
    const protocol::SqlWords words = protocol::sql_words(sql_of(text));
    misread = !can_read(sql_of(text));
    noteworthy = misread || guard_->minds(words);
    if (look_for_sequences(words, sql_of(text), out) == Name::Later) return stall(out);
    bool lent = false;
    switch (noteworthy ? lend(sql_of(text), lent, out) : Name::Ready) {
      case Name::Ready: break;
      case Name::Refused: return skip(frame, rest, out), Step::Next;
      case Name::Later: return stall(out);
    }
  } else if (frame.size <= kUnnamedMax) {
    return Step::NeedMore;
  } else if (names_ && names_->any_by_sql()) {
    // It is too long to be looked through.
    if (server_->pipeline.owes_client()) return stall(out);
    const Needs needs = all_names();
    unlent_ = unlent_ || needs.unlent;
    out.to_server.own([&](std::string& bytes) { lend_all(needs.names, StatementOp::Kind::Lend, bytes); });
  }
  if (replace_unnamed(Owed::Parse)) {
    drop_unnamed();
    if (whole(frame, rest) && frame.size <= kUnnamedMax)
      unnamed_.assign(text);
    else
      unnamed_given_up_ = true;
    unnamed_here_ = true;
    unnamed_noteworthy_ = noteworthy;
    unnamed_misread_ = misread;
  }
  // What is not kept is told here; else its Bind does.
  if (trail_ && unnamed_.empty()) trail_->runs(sql_of(text), whole(frame, rest));
  forward(frame, rest, out);
  return Step::Next;
}

// Whether the server runs what comes next, and nothing that it still owes decides about the unnamed
// statement.
bool SessionCore::unnamed_sure() const {
  const Pipeline& pipeline = server_->pipeline;
  return pipeline.owed() == 0 || (!pipeline.batch_open() && !pipeline.owes_client());
}

// Now, or when what was to replace it turns out to be skipped.
bool SessionCore::may_have_unnamed() const {
  return !unnamed_.empty() ||
         std::any_of(server_->ops.begin(), server_->ops.end(), [](const StatementOp& op) {
           return op.kind == StatementOp::Kind::Unnamed && !op.name.empty();
         });
}

// By the client's request of this kind, a Parse or a Close; false when the server will skip it. Where it may
// yet be skipped, what was there is kept until it is answered.
bool SessionCore::replace_unnamed(Owed kind) {
  const bool sure = unnamed_sure();
  Pipeline& pipeline = server_->pipeline;
  if (!pipeline.push(kind, Whose::Clients, sure ? Pipeline::Op::None : Pipeline::Op::Statement)) return false;
  if (sure) return true;
  StatementOp& op = server_->ops.emplace_back();
  op.kind = StatementOp::Kind::Unnamed;
  op.batch = pipeline.batch();
  op.name = std::exchange(unnamed_, {});
  op.here = unnamed_here_;
  op.misread = unnamed_misread_;
  return true;
}

// Whether an earlier batch, which may yet fail, decides what it is, or whether this server has it. Where it
// has not, it has another client's.
bool SessionCore::unnamed_pending_elsewhere() const {
  if (PGWEIR_PLANTED(TRUST_UNNAMED)) return false;
  const auto& ops = server_->ops;
  const auto last = std::find_if(ops.rbegin(), ops.rend(), [](const StatementOp& op) {
    return op.kind == StatementOp::Kind::Unnamed || (op.kind == StatementOp::Kind::Inject && op.id == 0);
  });
  return last != ops.rend() && last->batch != server_->pipeline.batch();
}

// As it is behind all that has been answered: what is owed may have replaced it again.
SessionCore::Unnamed SessionCore::unnamed_answered() {
  unnamed_noteworthy_ = true;
  const auto next = std::find_if(server_->ops.begin(), server_->ops.end(),
                                 [](const StatementOp& op) { return op.kind == StatementOp::Kind::Unnamed; });
  if (next != server_->ops.end()) return {next->name, next->here, next->misread};
  return {unnamed_, unnamed_here_, unnamed_misread_};
}

void SessionCore::drop_unnamed() {
  unnamed_.clear();
  unnamed_here_ = unnamed_bound_ = unnamed_given_up_ = false;
}

// What waits for its next use without a server must not be much.
void SessionCore::shrink_unnamed() {
  if (unnamed_.size() <= kUnnamedKeptMax || !unnamed_bound_) return;
  drop_unnamed();
  unnamed_.shrink_to_fit();
  unnamed_given_up_ = true;
}

// A simple query of ours comes, which ends the server's.
void SessionCore::lose_unnamed() {
  unnamed_here_ = false;
  for (StatementOp& op : server_->ops) op.here = false;
}

// As every Parse does, it has first taken away the one before.
void SessionCore::on_unnamed_failed() {
  const Unnamed now = unnamed_answered();
  now.content.clear();
  now.here = false;
  if (&now.here == &unnamed_here_) unnamed_given_up_ = false;
}

SessionCore::Name SessionCore::find_unnamed(For use, Actions& out) {
  if (!server_->ops.empty() && unnamed_pending_elsewhere()) return Name::Later;
  const bool noteworthy = unnamed_noteworthy_ || holds_something() || suspects_held() || server_->apart ||
                          !books_->routines.empty();
  bool lent = false;
  if (noteworthy && !unnamed_.empty())
    if (const Name lending = lend(sql_of(unnamed_), lent, out); lending != Name::Ready) return lending;
  if (use != For::Describing && noteworthy)
    if (const auto ruling = note_unnamed()) {
      if (ruling->refused) return refuse_statement(*ruling->refused, out), Name::Refused;
      unnamed_.replace(0, unnamed_.find('\0'), ruling->text);
      unnamed_here_ = false;
      lowered_ = notices_of(*ruling);
    }
  if (unnamed_here_) return Name::Ready;
  if (unnamed_.empty() && unnamed_given_up_) {
    refuse_statement(
        {sqlstate::kProgramLimit, "unnamed prepared statement too long to be used later",
         "Of more than " + std::to_string(kUnnamedKeptMax) + " bytes it can be used in one " +
             "transaction, of more than " + std::to_string(kUnnamedMax) + " only in that of its Parse.",
         "Give it a name, or shorten it by parameters."},
        out);
    return Name::Refused;
  }
  if (unnamed_.empty()) {
    refuse_statement({sqlstate::kInvalidStatementName, "unnamed prepared statement does not exist", {}, {}},
                     out);
    return Name::Refused;
  }
  out.to_server.own([&](std::string& bytes) { protocol::put_parse(bytes, "", unnamed_); });
  if (push_op(Owed::Parse, Whose::Ours, {StatementOp::Kind::Inject, 0, 0, {}, {}})) unnamed_here_ = true;
  return Name::Ready;
}

}  // namespace pgweir
