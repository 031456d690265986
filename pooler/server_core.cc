#include "pooler/server_core.h"

#include <algorithm>

#include "pooler/base/check.h"
#include "pooler/base/planted.h"
#include "protocol/frame.h"
#include "protocol/messages.h"

namespace pgweir {

using protocol::Frame;
using protocol::Gather;
using protocol::kHeaderBytes;
using protocol::Owed;
using protocol::Pipeline;
using Verdict = Pipeline::Reply::Verdict;

namespace {
// Messages that must be here whole before anything is done with them; all of them are small.
constexpr std::size_t kWholeErrorMax = 16 << 10;
constexpr std::size_t kWholeTagMax = 80;
// A row for us: what a client may have of settings, and what stands around it.
constexpr std::size_t kWholeRowMax = kSettingsBytesMost + 64;
bool needs_whole(const Frame& frame) {
  switch (frame.type) {
    case 'S':
    case 'Z': return true;
    case 'C': return frame.size <= kWholeTagMax;
    case 'A':
    case 'E': return frame.size <= kWholeErrorMax;
    default: return false;
  }
}

bool is_ready(Bytes message) {
  return message.size() == kHeaderBytes + 1 &&
         (message.back() == 'I' || message.back() == 'T' || message.back() == 'E');
}

bool is_parameter_description(Bytes message) {
  if (message.size() < kHeaderBytes) return false;
  protocol::Reader in(message.substr(kHeaderBytes));
  in.bytes(4 * std::size_t{in.u16()});
  return in.ok() && in.empty();
}

bool forgets_statements(Bytes tag) {
  return tag == Bytes("DISCARD ALL\0", 12) || tag == Bytes("DEALLOCATE ALL\0", 15);
}

// CREATE, ALTER and DROP of whatever, and GRANT.
bool changes_definitions(const char* tag) {
  return (tag[0] == 'C' && tag[1] == 'R') || (tag[0] == 'G' && tag[1] == 'R') ||
         (tag[0] == 'A' && tag[1] == 'L') || (tag[0] == 'D' && tag[1] == 'R');
}

bool tells_of_rollback(const char* tag) { return tag[0] == 'R' && tag[1] == 'O'; }

// These, DISCARD ALL and DEALLOCATE ALL, and not the DELETE that many rows are told of.
bool is_noted(const char* tag) {
  return changes_definitions(tag) || tells_of_rollback(tag) ||
         (tag[0] == 'D' && !(tag[1] == 'E' && tag[2] == 'L'));
}

// "cached plan must not change result type", in any language.
bool says_stale(Bytes error) {
  constexpr char kRoutine[] = "\0RRevalidateCachedQuery";
  return error.find(Bytes(kRoutine, sizeof kRoutine)) != Bytes::npos &&
         protocol::parse_error(error.substr(kHeaderBytes)).sqlstate == sqlstate::kFeatureNotSupported;
}

// A Bind that asks for the formats of more columns, or of fewer, than there are; in any language.
bool says_other_columns(Bytes error) {
  constexpr char kRoutine[] = "\0RPortalSetResultFormat";
  return error.find(Bytes(kRoutine, sizeof kRoutine)) != Bytes::npos &&
         protocol::parse_error(error.substr(kHeaderBytes)).sqlstate == sqlstate::kProtocolViolation;
}

// CommandComplete, EmptyQueryResponse, PortalSuspended, ErrorResponse
bool ends_statement(char type) { return type == 'C' || type == 'I' || type == 's' || type == 'E'; }

bool is_canceled(Bytes error) {
  return protocol::parse_error(error.substr(kHeaderBytes)).sqlstate == sqlstate::kQueryCanceled;
}

// No such statement, or a transaction that has failed before.
bool says_missing(Bytes error) {
  const std::string code = protocol::parse_error(error.substr(kHeaderBytes)).sqlstate;
  return code == sqlstate::kInvalidStatementName || code == sqlstate::kInFailedTransaction;
}

bool tells(StatementOp::Kind kind) {
  return kind == StatementOp::Kind::Tell || kind == StatementOp::Kind::Supplied;
}

bool is_last_word(Bytes error_body) {
  const std::string severity = protocol::parse_error(error_body).severity;
  return severity == "FATAL" || severity == "PANIC";
}
bool says_shut_down(Bytes error_body) {
  const std::string code = protocol::parse_error(error_body).sqlstate;
  return code == "57P01" || code == "57P02";
}
}  // namespace

ServerCore::Outcome ServerCore::read(Bytes in, Gather& to_client, Audience& audience) {
  Outcome outcome;
  while (!in.empty()) {
    if (outcome.fatal && body_left_ == 0) return outcome;  // nothing behind the last words counts
    if (body_left_ > 0) {
      const Bytes part = in.substr(0, body_left_);
      if (forward_body_) to_client.borrow(part);
      body_left_ -= part.size();
      in.remove_prefix(part.size());
      continue;
    }
    if (!partial_.empty()) {
      const Bytes part = in.substr(0, partial_size_ - partial_.size());
      partial_.append(part);
      in.remove_prefix(part.size());
      if (partial_.size() < partial_size_) return outcome;
      // The message dies with this step: what goes to the client is copied.
      const std::string whole = std::exchange(partial_, {});
      Gather copied;
      const bool go_on = on_message(whole[0], whole, copied, audience, outcome);
      for (const Bytes slice : copied.slices()) to_client.copy(slice);
      if (!go_on) return outcome;
      continue;
    }
    if (head_size_ == 0) {
      if (const std::size_t passed = pass_on(in, outcome); passed > 0) {
        to_client.borrow(in.substr(0, passed));
        in.remove_prefix(passed);
        continue;
      }
    }
    Bytes header = in.substr(0, kHeaderBytes);
    const bool cut = head_size_ > 0 || in.size() < kHeaderBytes;
    if (cut) {
      const Bytes part = in.substr(0, kHeaderBytes - head_size_);
      std::copy(part.begin(), part.end(), head_.begin() + head_size_);
      head_size_ = static_cast<std::uint8_t>(head_size_ + part.size());
      in.remove_prefix(part.size());
      if (head_size_ < kHeaderBytes) return outcome;
      header = Bytes(head_.data(), kHeaderBytes);
      head_size_ = 0;
    }
    Frame frame;
    if (!protocol::read_header(header, protocol::kServerMessageLimits, frame)) {
      outcome.broken = "sent a message of unknown type or impossible length";
      return outcome;
    }
    if (needs_whole(frame) && frame.size == kHeaderBytes) {
      outcome.broken = "sent an empty message";
      return outcome;
    }
    if (!cut && in.size() >= frame.size) {
      const Bytes whole = in.substr(0, frame.size);
      in.remove_prefix(frame.size);
      if (!on_message(frame.type, whole, to_client, audience, outcome)) return outcome;
      continue;
    }
    const bool row = frame.type == 'D' && frame.size <= kWholeRowMax && busy_with_ours();
    const bool columns =
        (frame.type == 'T' || frame.type == 't') && frame.size <= kWholeErrorMax && awaits_columns();
    if (needs_whole(frame) || ((row || columns) && frame.size > kHeaderBytes)) {
      partial_size_ = frame.size;
      partial_.assign(header);
      if (!cut) in.remove_prefix(kHeaderBytes);
      continue;
    }
    Gather head;
    if (!on_message(frame.type, header, head, audience, outcome)) return outcome;
    for (const Bytes slice : head.slices()) to_client.copy(slice);
    body_left_ = frame.size - kHeaderBytes;
    if (!cut) in.remove_prefix(kHeaderBytes);
  }
  return outcome;
}

// Nearly all that comes is whole and for the client: it is passed on in one piece. What is odd about a
// message is left to on_message.
std::size_t ServerCore::pass_on(Bytes in, Outcome& outcome) {
  std::size_t end = 0;
  while (in.size() - end >= kHeaderBytes) {
    const char* const message = in.data() + end;
    const std::size_t size = std::size_t{protocol::load_u32(message + 1)} + 1;
    if (size < kHeaderBytes || size > in.size() - end) break;
    switch (message[0]) {
      case 'D':
      case 'T':
      case 't':
        if (size == kHeaderBytes || !pipeline.pass(message[0])) return end;
        break;
      case 'C':
        if (size < kHeaderBytes + 4 || is_noted(message + kHeaderBytes) || !pipeline.pass('C')) return end;
        ++outcome.statements;
        break;
      case 'Z':
        if (!is_ready({message, size}) || !pipeline.pass('Z')) return end;
        tx_status = message[kHeaderBytes];
        last_failed_ = std::exchange(request_failed_, false);
        ++outcome.readies;
        outcome.ends += tx_status == 'I' ? 1 : 0;
        break;
      default:
        if (size != kHeaderBytes || !pipeline.pass(message[0])) return end;
        outcome.statements += message[0] == 's' ? 1 : 0;
    }
    end += size;
  }
  return end;
}

// The batch of ours that is being answered changes settings, of which the client is not to hear.
bool ServerCore::sets_itself() const {
  if (errands_.empty()) return false;
  const Errand::Kind kind = errands_.front().kind;
  return kind == Errand::Kind::Settings || kind == Errand::Kind::Introduce || kind == Errand::Kind::Clean;
}

void ServerCore::bound(Statement& statement) {
  constexpr std::size_t kUsesMost = 1024;
  const std::uint32_t bind = pipeline.binds();
  if (pipeline.owed() == 0) {
    if (uses.size() == 1 && uses[0].statement.get() == &statement) return void(uses[0].bind = bind);
    uses.clear();
  }
  // Where answers never pause, the oldest have come by then.
  if (uses.size() == kUsesMost) uses.erase(uses.begin(), uses.begin() + kUsesMost / 2);
  uses.push_back({bind, KeptStatement(statement)});
}

// Of Binds that are answered only the last one may be asked for.
void ServerCore::forget_uses() {
  const auto answered = std::partition_point(uses.begin(), uses.end(), [this](const Use& each) {
    return static_cast<std::int32_t>(each.bind - pipeline.binds_answered()) < 0;
  });
  if (answered != uses.begin()) uses.erase(uses.begin(), answered - (answered == uses.end() ? 1 : 0));
}

void ServerCore::disown() {
  uses.clear();
  for (StatementOp& op : ops) {
    op.statement = {};
    op.taken.clear();
    if (op.kind == StatementOp::Kind::Columns) op.kind = StatementOp::Kind::Try;
  }
}

bool ServerCore::on_message(char type, Bytes whole, Gather& to_client, Audience& audience, Outcome& outcome) {
  const bool asked = pipeline.owed() > 0;
  Pipeline::Reply reply = pipeline.reply(type);
  forward_body_ = false;
  if (type == 'Z' && !is_ready(whole)) {
    outcome.broken = "sent a malformed ReadyForQuery";
    return false;
  }
  if (type == 'E' && (!asked || is_last_word(whole.substr(kHeaderBytes)))) {
    // Whatever it was to answer, the client must hear why its connection ends.
    outcome.fatal = true;
    shut_down = says_shut_down(whole.substr(kHeaderBytes));
    reply.verdict = Verdict::Forward;
  }
  if (type == 'A' && whole.size() > kHeaderBytes && !audience.on_notification(whole.substr(kHeaderBytes)))
    reply.verdict = Verdict::Swallow;
  if (reply.verdict == Verdict::Swallow && !errands_.empty() &&
      errands_.front().kind == Errand::Kind::Recover)
    outcome.undone = true;
  // A request of ours that fails inside the client's transaction takes back what that has set.
  if (type == 'S' && reply.verdict == Verdict::Swallow && !sets_itself()) reply.verdict = Verdict::Forward;
  if (type == 'S' && reply.verdict == Verdict::Forward &&
      tell_parameter(whole.substr(kHeaderBytes), to_client, audience))
    return true;
  if (reply.of_op && tells(ops.front().kind)) {
    const std::string notices = std::exchange(ops.front().name, {});
    if (type != 'E') to_client.copy(notices);
  }
  if (reply.of_op && type == 't' && awaits_columns() && is_parameter_description(whole)) {
    Statement& statement = *ops.front().statement;
    statement.book->tell_types(statement, whole.substr(kHeaderBytes));
  }
  if (reply.of_op && type == 'C') note_deallocated(whole.substr(kHeaderBytes));
  if (reply.of_op && type == 'E' && !outcome.fatal && ops.front().kind == StatementOp::Kind::Supply) {
    fail_supply(whole, reply.dropped_ops, audience);
    reply.verdict = Verdict::Swallow;
  }
  switch (reply.verdict) {
    case Verdict::Violation: outcome.broken = "sent a message that answers nothing"; return false;
    case Verdict::Poisoned: outcome.poisoned = true; return false;
    case Verdict::Forward: {
      if (type == 'E') request_failed_ = outcome.undone = true;
      const bool refused =
          type == 'E' && !outcome.fatal && reply.op && ops.front().kind == StatementOp::Kind::Refuse;
      const bool unsupplied = type == 'E' && !outcome.fatal && reply.op &&
                              ops.front().kind == StatementOp::Kind::Unsupplied && says_missing(whole);
      const std::string* instead = refused || unsupplied ? &ops.front().name : nullptr;
      if (!instead && type == 'E' && !outcome.fatal && is_canceled(whole)) instead = audience.on_canceled();
      if (ends_statement(type)) ++outcome.statements;
      const bool renamed =
          !instead && type == 'E' && !outcome.fatal &&
          ((reply.op && tell_supplied(whole, to_client)) || tell_bound(whole, reply, to_client, audience));
      forward_body_ = instead == nullptr && !renamed;
      if (instead)
        to_client.copy(*instead);
      else if (!renamed)
        to_client.borrow(whole);
      break;
    }
    case Verdict::Swallow:
      if (PGWEIR_PLANTED(SHOW_OURS)) {
        to_client.borrow(whole);
        forward_body_ = true;
      }
      break;
  }
  if (reply.op && reply.finished) {
    PGWEIR_CHECK(!ops.empty());
    StatementOp op = std::move(ops.front());
    ops.pop_front();
    if (op.id != 0 && reply.kind == Owed::Parse) statements.add(op.id);
    if (op.kind == StatementOp::Kind::Columns) op.statement->columns = columns_of(type, whole);
    if (!op.taken.empty()) audience.on_deallocated(op);
    // Nobody pays for it: what used it is not to keep it.
    if (op.statement && op.statement->names == 0) forget_uses();
  }
  const bool unnamed_failed = type == 'E' && reply.kind == Owed::Parse && reply.verdict == Verdict::Forward &&
                              (!reply.of_op || ops.front().kind == StatementOp::Kind::Unnamed);
  if (reply.dropped_ops > 0) drop_ops(reply.dropped_ops, audience);
  if (unnamed_failed) audience.on_unnamed_failed();
  if (type == 'E' && reply.kind == Owed::Bind && reply.verdict == Verdict::Forward && says_stale(whole)) {
    if (const Use* const use = use_of(reply)) audience.on_stale(*use->statement);
  }
  if (reply.dropped_ops > 0) forget_uses();
  if (reply.ours_failed && !outcome.fatal && !on_ours_failed(whole.substr(kHeaderBytes), audience))
    return false;
  if (type == 'C' && reply.verdict == Verdict::Forward && whole.size() > kHeaderBytes + 1 &&
      tells_of_rollback(whole.data() + kHeaderBytes))
    outcome.undone = true;
  if ((type == 'C' || type == 'Z') && whole.size() > kHeaderBytes)
    on_whole(type, whole.substr(kHeaderBytes), reply, audience);
  if (reply.verdict == Verdict::Swallow && !errands_.empty() &&
      !on_ours(type, whole.substr(kHeaderBytes), reply, to_client, audience)) {
    outcome.broken = "answered a question of ours with a malformed row";
    return false;
  }
  if (reply.ready && reply.verdict == Verdict::Forward) {
    last_failed_ = std::exchange(request_failed_, false);
    ++outcome.readies;
    outcome.ends += tx_status == 'I' ? 1 : 0;
  }
  return true;
}

void ServerCore::note_deallocated(Bytes tag) {
  StatementOp& op = ops.front();
  if (tag == Bytes("DEALLOCATE\0", 11)) ++op.deallocated;
  // Whatever becomes of the rest of the query, there is nothing to be given back.
  if (forgets_statements(tag))
    for (StatementOp::Taken& each : op.taken) each.statement = {};
}

void ServerCore::on_whole(char type, Bytes body, const Pipeline::Reply& reply, Audience& audience) {
  if (type == 'Z') {
    tx_status = body[0];
  } else if (forgets_statements(body)) {
    if (!PGWEIR_PLANTED(FORGET_DISCARD)) {
      statements.clear();
      set_prepared_ = set_doubted_ = false;
      questions_prepared_ = questions_doubted_ = 0;
    }
    introduced = {};
    if (reply.verdict != Verdict::Forward) return;
    audience.on_all_deallocated();
    if (body.substr(0, 3) == "DIS") audience.on_all_discarded();
  } else if (reply.verdict == Verdict::Forward && body.size() > 1 && changes_definitions(body.data())) {
    audience.on_definitions_changed(body.substr(0, body.size() - 1));
  }
}

// False when the message is the client's as it is.
bool ServerCore::tell_parameter(Bytes body, Gather& to_client, Audience& audience) {
  protocol::Reader in(body);
  const Bytes name = in.c_string();
  const Bytes value = in.c_string();
  if (!in.ok()) return false;
  const std::optional<Bytes> told = audience.on_parameter(name, value);
  if (told == value) return false;
  if (told) to_client.own([&](std::string& out) { protocol::put_parameter_status(out, name, *told); });
  return true;
}

// The query behind it fails, too, by what is missing then, unless it can do without.
void ServerCore::fail_supply(Bytes error, std::size_t dropped_ops, Audience& audience) {
  const std::string* canceled = is_canceled(error) ? audience.on_canceled() : nullptr;
  const bool whole = error.size() == std::size_t{protocol::load_u32(error.data() + 1)} + 1;
  if (dropped_ops >= ops.size() || ops[dropped_ops].kind != StatementOp::Kind::Supplied || !whole) return;
  ops[dropped_ops].kind = StatementOp::Kind::Unsupplied;
  ops[dropped_ops].name = canceled ? *canceled : std::string(error);
}

// Where the client's text was sent with another name in it.
bool ServerCore::tell_supplied(Bytes error, Gather& to_client) {
  const StatementOp& op = ops.front();
  if (op.kind != StatementOp::Kind::Supplied || !op.statement) return false;
  if (error.size() != std::size_t{protocol::load_u32(error.data() + 1)} + 1) return false;
  to_client.own([&](std::string& out) {
    const StatementOp::Called& called = op.called;
    protocol::put_renamed_error(
        out, error.substr(kHeaderBytes),
        {op.statement->server_name, called.name, called.size, called.end, called.whole});
  });
  return true;
}

const ServerCore::Use* ServerCore::use_of(const Pipeline::Reply& reply) const {
  if (reply.kind != Owed::Bind) return nullptr;
  const auto use =
      std::find_if(uses.begin(), uses.end(), [&](const Use& each) { return each.bind == reply.bind; });
  return use == uses.end() ? nullptr : &*use;
}

// What the client calls it, or has called it until a Close that is skipped now.
std::string ServerCore::name_of(const Statement& statement, Audience& audience) const {
  const auto closed = std::find_if(ops.begin(), ops.end(), [&](const StatementOp& op) {
    return op.kind == StatementOp::Kind::Forget && op.statement.get() == &statement;
  });
  return closed != ops.end() ? closed->name : audience.name_of(statement);
}

// Where a Bind fails for what is wrong with its statement.
bool ServerCore::tell_bound(Bytes error, const Pipeline::Reply& reply, Gather& to_client,
                            Audience& audience) {
  const Use* const use = use_of(reply);
  if (!use || error.size() != std::size_t{protocol::load_u32(error.data() + 1)} + 1) return false;
  Statement& statement = *use->statement;
  if (says_other_columns(error) && statement.book->outdated(statement)) {
    // A server that had it before would refuse to give other columns; so it is for one that has not.
    audience.on_stale(statement);
    to_client.own([](std::string& out) { put_stale_statement(out); });
    return true;
  }
  const Bytes server_name = statement.server_name;
  if (error.find(server_name) == Bytes::npos) return false;
  const std::string name = name_of(statement, audience);
  if (name.empty()) return false;
  to_client.own([&](std::string& out) {
    protocol::put_renamed_error(out, error.substr(kHeaderBytes),
                                {server_name, name, 0, std::string::npos, 0});
  });
  return true;
}

void ServerCore::drop_ops(std::size_t count, Audience& audience) {
  PGWEIR_CHECK(count <= ops.size());
  const auto end = ops.begin() + static_cast<std::ptrdiff_t>(count);
  std::vector<StatementOp> dropped(std::make_move_iterator(ops.begin()), std::make_move_iterator(end));
  ops.erase(ops.begin(), end);
  for (auto op = dropped.rbegin(); op != dropped.rend(); ++op) {
    if (op->kind == StatementOp::Kind::Evict) statements.add(op->id);
    audience.on_op_dropped(*op);
  }
}

}  // namespace pgweir
