// pooler/session_relay.cc - SessionCore: what its client sends to the server that it has.
#include <algorithm>
#include <array>

#include "pooler/base/check.h"
#include "pooler/session_core.h"
#include "pooler/session_parts.h"
#include "protocol/messages.h"
#include "protocol/sql_functions.h"
#include "protocol/sql_lexer.h"

namespace pgweir {

using protocol::Frame;
using protocol::kHeaderBytes;
using protocol::Owed;
using protocol::Pipeline;

namespace {
// Functions of Postgres's own for large objects: they leave nothing in the session.
bool of_large_objects(std::uint32_t oid) {
  constexpr std::array<std::uint32_t, 20> kOids = {715, 764, 765,  767,  952,  953,  954,  955,  956,  957,
                                                   958, 964, 1004, 3170, 3171, 3172, 3457, 3458, 3459, 3460};
  return std::find(kOids.begin(), kOids.end(), oid) != kOids.end();
}

// The first argument of a FunctionCall, as far as it is there.
Bytes first_argument(Bytes body) {
  protocol::Reader in(body);
  in.u32();
  in.bytes(std::size_t{2} * in.u16());
  const std::uint16_t count = in.u16();
  const std::uint32_t size = in.u32();
  const Bytes value = in.bytes(size);
  return in.ok() && count > 0 && size != 0xffffffff ? value : Bytes();
}

// What belongs to a request that has been sent.
bool goes_on_copying(char type) { return type == 'd' || type == 'c' || type == 'f'; }

bool is_copy_message(char type) { return goes_on_copying(type) || type == 'S' || type == 'H' || type == 'X'; }
}  // namespace

void SessionCore::relay(Bytes in, Actions& out) {
  constexpr std::size_t kMessage = 256;  // what one takes without its text, in bytes that are looked through
  protocol::SqlCache& texts = books_->texts;
  const std::uint64_t began = texts.work();
  while (out.consumed < in.size() && state_ == State::Linked) {
    const Bytes rest = in.substr(out.consumed);
    if (body_left_ > 0) {
      const Bytes part = rest.substr(0, body_left_);
      if (!skip_body_) out.to_server.borrow(part);
      body_left_ -= static_cast<std::uint32_t>(part.size());
      out.consumed += part.size();
      continue;
    }
    if (rest.size() < kHeaderBytes) return;
    if (texts.work() - began > kWorkAtOnce) return void(out.more = true);
    texts.worked(kMessage);
    Frame frame;
    if (!protocol::read_header(rest, protocol::kClientMessageLimits, frame))
      return violation("invalid message type or length from client", out);
    if (server_->pipeline.full() || deallocating_ ||
        (!server_->ops.empty() && server_->ops.size() >= kOpsMax))
      return void(stall(out));
    if (wait_behind_ && !server_->pipeline.batch_open() && !goes_on_copying(frame.type)) {
      if (!server_->settled()) return void(stall(out));
      if (server_->introduction && server_->tx_status == 'T') {
        introduce(out);
        return void(out.stalled = true);
      }
      wait_behind_ = false;
      if (server_->tx_status == 'T' && begin_recovery(out)) return void(out.stalled = true);
      if (look_first_ && server_->tx_status == 'I' && begin_audit(out)) return void(out.stalled = true);
    }
    if (server_->pipeline.copy_in() && !is_copy_message(frame.type))
      return violation("unexpected message during COPY from stdin", out);
    if (channels_ && must_hear_first(frame, rest, out)) return;
    if (block_canceled_ && refuse_canceled(frame, rest, out)) continue;
    if (relay_message(frame, rest, out) != Step::Next) return;
    if (!worked_ && server_) worked_ = !server_->pipeline.empty();
  }
}

// The cancel that has met a question of ours is answered by the client's next request, as if that were what
// it met: a COMMIT would say ROLLBACK, and no error why. True: the message goes no further.
bool SessionCore::refuse_canceled(const Frame& frame, Bytes rest, Actions& out) {
  if (server_->tx_status != 'E') return block_canceled_ = false;
  const bool query = frame.type == 'Q';
  if (!query && Bytes("PBDCE").find(frame.type) == Bytes::npos) return false;
  block_canceled_ = false;
  if (query && whole(frame, rest)) {
    const Bytes sql = sql_of(rest.substr(kHeaderBytes, frame.size - kHeaderBytes));
    protocol::SqlLexer lexer(sql);
    const Bytes first = lexer.text_of(lexer.next());
    for (const Bytes undoes : {"rollback", "abort"})
      if (first.size() == undoes.size() && mentions(first, undoes)) return false;
  }
  const Error canceled{sqlstate::kQueryCanceled, "canceling statement due to user request", {}, {}};
  if (!query) return refuse_statement(canceled, out), false;
  push_refusal(Owed::Query, canceled);
  out.to_server.own([](std::string& bytes) { protocol::put_query(bytes, kNoQuery); });
  skip(frame, rest, out);
  return true;
}

SessionCore::Step SessionCore::relay_message(const Frame& frame, Bytes rest, Actions& out) {
  switch (frame.type) {
    case 'Q': return relay_query(frame, rest, out);
    case 'P': return relay_parse(frame, rest, out);
    case 'B': return relay_bind(frame, rest, out);
    case 'D':
    case 'C': return relay_describe_or_close(frame, rest, out);
    case 'E': return relay_execute(frame, rest, out);
    case 'S': return relay_sync(frame, rest, out);
    case 'F': return relay_function(frame, rest, out);
    default: return relay_other(frame, rest, out);
  }
}

// Like a Flush, it is small, and a half one would keep the server from being released.
SessionCore::Step SessionCore::relay_sync(const Frame& frame, Bytes rest, Actions& out) {
  if (!whole(frame, rest)) return Step::NeedMore;
  server_->pipeline.push(Owed::Sync);
  end_batch();
  if (trail_) trail_->sent();
  forward(frame, rest, out);
  if (channels_) mark_unlistens(out);
  return Step::Next;
}

SessionCore::Step SessionCore::relay_other(const Frame& frame, Bytes rest, Actions& out) {
  Pipeline& pipeline = server_->pipeline;
  switch (frame.type) {
    case 'H':
      if (!whole(frame, rest)) return Step::NeedMore;
      break;
    case 'd': break;
    case 'c':
    case 'f': pipeline.push(Owed::CopyEnd); break;
    case 'X':
      // What was asked before the goodbye is carried out, as Postgres does.
      if (pipeline.owes_ready()) return stall(out);
      out.consumed += rest.size();
      (at_boundary() ? out.close_client : out.reset_client) = true;
      client_gone(out);
      return Step::Stop;
    default: return violation("unexpected message type", out), Step::Stop;
  }
  forward(frame, rest, out);
  return Step::Next;
}

SessionCore::Step SessionCore::relay_execute(const Frame& frame, Bytes rest, Actions& out) {
  if (!whole(frame, rest)) return Step::NeedMore;
  const bool unnamed = frame.size > kHeaderBytes && rest[kHeaderBytes] == '\0';
  if (reset_ran_) {
    refuse_statement(
        {sqlstate::kFeatureNotSupported,
         "nothing may follow RESET ALL in the same request",
         {},
         "The tier's ceilings were lowered while this session kept its server. Send a Sync first."},
        out);
    return skip(frame, rest, out), Step::Next;
  }
  if (!push_execute(frame, rest, out)) return stall(out);
  reset_ran_ = reset_bound_ && unnamed;
  // What was bound in an earlier batch may be what nobody has read.
  if (reset_ran_ || (suspects_held() && !(unnamed && bound_))) wait_behind_ = true;
  expect_statements(1);
  return forward(frame, rest, out), Step::Next;
}

SessionCore::Step SessionCore::relay_function(const Frame& frame, Bytes rest, Actions& out) {
  constexpr std::size_t kOidBytes = 4;
  constexpr std::uint32_t kFirstUsersOid = 16384;
  using protocol::SqlFunction;
  const bool named = frame.size >= kHeaderBytes + kOidBytes;
  if (named && rest.size() < kHeaderBytes + kOidBytes) return Step::NeedMore;
  const std::uint32_t oid = named ? protocol::load_u32(rest.data() + kHeaderBytes) : 0;
  const SqlFunction does = named ? protocol::sql_function(oid) : SqlFunction::Other;
  const bool sets = does == SqlFunction::SetConfig;
  if (sets && !whole(frame, rest) && frame.size <= kWholeBeforeServer) return Step::NeedMore;
  if (named && guard_->inspects()) {
    if (const auto error = guard_->refuse_function(oid)) {
      push_refusal(Owed::Function, *error);
      if (trail_) trail_->sent();
      out.to_server.own([](std::string& bytes) { protocol::put_no_function(bytes); });
      return skip(frame, rest, out), Step::Next;
    }
    // Postgres's own, such as those of large objects, raise nothing.
    oid < kFirstUsersOid ? suspect_held() : look_behind();
  }
  if (sets || oid >= kFirstUsersOid) lose_parsing();
  std::string name;
  if (sets) name = first_argument(rest.substr(kHeaderBytes, frame.size - kHeaderBytes));
  const bool seeds = setting_key(name) == "seed";
  std::optional<Error> refused;
  if (does == SqlFunction::ReadsSequence) {
    const Name own = own_sequences(out);
    if (own == Name::Later) return stall(out);
    if (own == Name::Refused) refused = others_sequence();
  } else if (does == SqlFunction::Unfollowable || seeds) {
    protocol::SqlEffects effects;
    effects.changes.unfollowable = true;
    if (const Pins no_room = find_room(effects))
      refused = pin_book_->refuse(no_room);
    else
      note_effects(effects, ClientText(Bytes()));
  } else if (oid >= kFirstUsersOid || does == SqlFunction::Executor || does == SqlFunction::CodeByName) {
    // It may be dblink_connect() as well: of whose function it is only the number is known.
    server_->spoiled = true;
  }
  if (refused) {
    push_refusal(Owed::Function, *refused);
    if (trail_) trail_->sent();
    out.to_server.own([](std::string& bytes) { protocol::put_no_function(bytes); });
    return skip(frame, rest, out), Step::Next;
  }
  if (sets && !seeds) {
    const bool plain =
        !name.empty() && std::all_of(name.begin(), name.end(), [](char c) { return c > ' ' && c < 127; });
    if (plain) {
      suspicion().add_setting(name);
      suspicion().add_doubted(name);
    } else {
      suspicion().any_set = true;
    }
  } else if (named && !seeds && !of_large_objects(oid)) {
    suspicion().pins |= pin::kProvable;
    server_->temp_used = true;
  }
  server_->dirty = true;
  server_->pipeline.push(Owed::Function);
  if (trail_) trail_->sent();
  expect_statements(1);
  return forward(frame, rest, out), Step::Next;
}

void SessionCore::expect_statements(std::size_t more) {
  statements_left_ =
      static_cast<std::uint32_t>(std::min(statements_left_ + more, std::size_t{kStatementsCounted}));
}

SessionCore::Step SessionCore::stall(Actions& out) {
  // The answers that we wait for may lie in the server's buffer until it is asked for them.
  if (server_->pipeline.batch_open())
    out.to_server.own([](std::string& bytes) { protocol::Writer(bytes, 'H'); });
  out.stalled = true;
  return Step::Stop;
}

void SessionCore::forward(const Frame& frame, Bytes rest, Actions& out) {
  const Bytes part = rest.substr(0, frame.size);
  out.to_server.borrow(part);
  expect_body(frame.size - part.size(), false);
  out.consumed += part.size();
}

// A message is 1 GB at most.
void SessionCore::expect_body(std::size_t bytes, bool skipped) {
  body_left_ = static_cast<std::uint32_t>(bytes);
  skip_body_ = skipped;
}

void SessionCore::skip(const Frame& frame, Bytes rest, Actions& out) {
  const std::size_t part = std::min(rest.size(), frame.size);
  expect_body(frame.size - part, true);
  out.consumed += part;
}

}  // namespace pgweir
