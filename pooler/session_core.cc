#include "pooler/session_core.h"

#include <algorithm>

#include "pooler/base/check.h"
#include "protocol/messages.h"
#include "protocol/sql_words.h"

namespace pgweir {

using protocol::Frame;
using protocol::kHeaderBytes;
using protocol::Owed;
using protocol::Pipeline;
using Whose = Pipeline::Whose;

namespace {
// A client that is slow to finish a message of ordinary size does not hold a server meanwhile.
constexpr std::size_t kWholeBeforeServer = 16 << 10;
constexpr std::size_t kNamedParseMax = 1 << 20;
constexpr std::size_t kUnnamedKeptMax = 256 << 10;
constexpr std::size_t kStatementNameMax = 8 << 10;
constexpr std::size_t kOpsMax = 1024;
// No statement has this name: closing it finds nothing, binding it fails.
constexpr Bytes kNoStatement = "pgweir_none";
constexpr Bytes kGoneStatement = "pgweir_gone";
constexpr Bytes kOurPrefix = "pgweir_";
// No statement: Postgres refuses it before it looks at anything else, and its log tells who sent it.
constexpr Bytes kNoQuery = "refused_by_pgweir";

Bytes sql_of(Bytes text) { return text.substr(0, text.find('\0')); }

bool whole(const Frame& frame, Bytes rest) { return rest.size() >= frame.size; }

// A Parse that is kept is looked at as a whole; of all else its first bytes are enough.
bool enough_to_begin(const Frame& frame, Bytes rest) {
  if (whole(frame, rest)) return true;
  if (rest.size() < kWholeBeforeServer) return false;
  return frame.type != 'P' || frame.size > (rest[kHeaderBytes] == '\0' ? kUnnamedKeptMax : kNamedParseMax);
}

bool is_copy_message(char type) {
  return type == 'd' || type == 'c' || type == 'f' || type == 'S' || type == 'H' || type == 'X';
}
}  // namespace

void Actions::clear() {
  consumed = 0;
  to_client.clear();
  to_server.clear();
  ask_server = leave_queue = proven = stalled = close_client = reset_client = false;
  server = Server::Keep;
  reason.clear();
  queries = transactions = client_parses = server_parses = binds = 0;
}

SessionCore::~SessionCore() { PGWEIR_CHECK(server_ == nullptr && pins_ == 0 && !claimed_); }

void SessionCore::prove(Actions& out) {
  PGWEIR_CHECK(state_ == State::Idle && !proving_);
  proving_ = true;
  state_ = State::Waiting;
  out.ask_server = true;
}

void SessionCore::client_bytes(Bytes in, Actions& out) {
  switch (state_) {
    case State::Idle: return idle(in, out);
    case State::Waiting: return;
    case State::Linked:
      if (proving_) return;
      if (auditing_) return void(out.stalled = true);
      relay(in, out);
      return after_step(out);
    case State::Closed: out.consumed = in.size(); return;
  }
}

void SessionCore::idle(Bytes in, Actions& out) {
  while (out.consumed < in.size()) {
    const Bytes rest = in.substr(out.consumed);
    if (body_left_ > 0) {
      const std::size_t part = std::min(rest.size(), body_left_);
      body_left_ -= part;
      out.consumed += part;
      continue;
    }
    if (rest.size() < kHeaderBytes) return;
    Frame frame;
    if (!protocol::read_header(rest, protocol::kClientMessageLimits, frame))
      return violation("invalid message type or length from client", out);
    if (idle_message(frame, rest, out) != Step::Next) return;
  }
}

SessionCore::Step SessionCore::idle_message(const Frame& frame, Bytes rest, Actions& out) {
  if (frame.type == 'X') {
    state_ = State::Closed;
    out.consumed += rest.size();
    out.close_client = true;
    return Step::Stop;
  }
  if (frame.type == 'S') {
    if (frame.size != kHeaderBytes) return violation("invalid message format", out), Step::Stop;
    skip_to_sync_ = false;
    out.to_client.own([](std::string& bytes) { protocol::put_ready(bytes, 'I'); });
    out.consumed += frame.size;
    return Step::Next;
  }
  // Postgres ignores COPY messages outside of COPY (a client may still send some after an error), and
  // everything between an error and the next Sync.
  if (skip_to_sync_ || frame.type == 'H' || frame.type == 'd' || frame.type == 'c' || frame.type == 'f') {
    skip(frame, rest, out);
    return Step::Next;
  }
  if (!enough_to_begin(frame, rest)) return Step::NeedMore;
  if (frame.type == 'Q' && whole(frame, rest) &&
      answer_here(rest.substr(kHeaderBytes, frame.size - kHeaderBytes), out)) {
    out.consumed += frame.size;
    return Step::Next;
  }
  if (mode_ == tiers::PoolMode::Session) {
    if (!pin_book_->has_room())
      return refuse_request(frame, rest, pin_book_->refuse(pin::kSession), out), Step::Next;
    claim();
  }
  state_ = State::Waiting;
  out.ask_server = true;
  return Step::Stop;
}

void SessionCore::granted(ServerCore& server, Bytes held, Actions& out) {
  PGWEIR_CHECK(state_ == State::Waiting && server_ == nullptr);
  PGWEIR_CHECK(server.clean() && server.ops.empty());  // pairs with the check in Group::lend
  server_ = &server;
  state_ = State::Linked;
  unnamed_here_ = dirty_batch_ = names_unsure_ = worked_ = false;
#ifndef PGWEIR_PLANT_FORGET_SETTINGS
  server.apply_settings(wanted_, out.to_server);
#endif
  if (mode_ == tiers::PoolMode::Session && !proving_) set_pins(pin::kSession);
  if (!proving_) relay(held, out);
  after_step(out);
}

void SessionCore::refused(const Error& error, Bytes held, Actions& out) {
  PGWEIR_CHECK(state_ == State::Waiting);
  out.leave_queue = true;
  if (proving_) return fail(error, out);
  set_pins(0);
  state_ = State::Idle;
  Frame frame;
  PGWEIR_CHECK(held.size() >= kHeaderBytes &&
               protocol::read_header(held, protocol::kClientMessageLimits, frame));
  refuse_request(frame, held, error, out);
  idle(held, out);
}

void SessionCore::refuse_request(const Frame& frame, Bytes rest, const Error& error, Actions& out) {
  out.to_client.own([&](std::string& bytes) {
    protocol::put_error(bytes, "ERROR", error);
    if (frame.type == 'Q' || frame.type == 'F')
      protocol::put_ready(bytes, 'I');
    else
      skip_to_sync_ = true;
  });
  skip(frame, rest, out);
}

void SessionCore::relay(Bytes in, Actions& out) {
  while (out.consumed < in.size() && state_ == State::Linked) {
    const Bytes rest = in.substr(out.consumed);
    if (body_left_ > 0) {
      const Bytes part = rest.substr(0, body_left_);
      if (!skip_body_) out.to_server.borrow(part);
      body_left_ -= part.size();
      out.consumed += part.size();
      continue;
    }
    if (rest.size() < kHeaderBytes) return;
    Frame frame;
    if (!protocol::read_header(rest, protocol::kClientMessageLimits, frame))
      return violation("invalid message type or length from client", out);
    if (server_->pipeline.full() || (!server_->ops.empty() && server_->ops.size() >= kOpsMax))
      return void(stall(out));
    if (server_->pipeline.copy_in() && !is_copy_message(frame.type))
      return violation("unexpected message during COPY from stdin", out);
    if (relay_message(frame, rest, out) != Step::Next) return;
    if (server_ && !server_->pipeline.empty()) worked_ = true;
  }
}

SessionCore::Step SessionCore::relay_message(const Frame& frame, Bytes rest, Actions& out) {
  Pipeline& pipeline = server_->pipeline;
  switch (frame.type) {
    case 'Q': return relay_query(frame, rest, out);
    case 'P': return relay_parse(frame, rest, out);
    case 'B': return relay_bind(frame, rest, out);
    case 'D':
    case 'C': return relay_describe_or_close(frame, rest, out);
    case 'E':
    case 'S':
    case 'H':
      // Small, and a half one would keep the server from being released.
      if (!whole(frame, rest)) return Step::NeedMore;
      if (frame.type == 'E') pipeline.push(Owed::Execute);
      if (frame.type == 'S') {
        pipeline.push(Owed::Sync);
        end_batch();
        forward(frame, rest, out);
        return end_with_restore(out), Step::Next;
      }
      break;
    case 'F':
      server_->dirty = true;
      pipeline.push(Owed::Function);
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

SessionCore::Step SessionCore::relay_query(const Frame& frame, Bytes rest, Actions& out) {
  Pins no_room = 0;
  if (!whole(frame, rest)) {
    if (frame.size <= kWholeBeforeServer) return Step::NeedMore;
    server_->dirty = dirty_batch_ = true;  // too long to be looked through
  } else {
    const Bytes text = rest.substr(kHeaderBytes, frame.size - kHeaderBytes);
    // Outside of a transaction no server is needed, inside of one not for a name that it does not know: what
    // it is to be depends on the answers to what came before.
    if (!server_->pipeline.batch_open() && needs_no_server(text)) {
      if (!server_->settled()) return stall(out);
      if (deallocates_ours(text) && server_->tx_status != 'E') {
        PGWEIR_CHECK(answer_here(text, out));
        out.consumed += frame.size;
        return Step::Next;
      }
    }
    no_room = note_text(text);
  }
  // An error in an open batch may make the server skip this, too: then only the Sync may be followed by us.
  const bool in_batch = server_->pipeline.batch_open();
  const bool runs =
      no_room ? push_refusal(Owed::Query, pin_book_->refuse(no_room)) : server_->pipeline.push(Owed::Query);
  end_batch();
  if (no_room) {
    out.to_server.own([](std::string& bytes) { protocol::put_query(bytes, kNoQuery); });
    skip(frame, rest, out);
  } else {
    forward(frame, rest, out);
  }
  if (!runs) return restore_.reset(), Step::Next;
  unnamed_.clear();
  if (!in_batch) end_with_restore(out);
  return Step::Next;
}

SessionCore::Step SessionCore::relay_unnamed_parse(const Frame& frame, Bytes rest, Actions& out) {
  const Bytes text = rest.substr(kHeaderBytes + 1, frame.size - kHeaderBytes - 1);
  unnamed_noteworthy_ = true;
  if (whole(frame, rest)) {
    if (deallocates_ours(text)) return replace_deallocate(frame, text, out);
    unnamed_noteworthy_ = !books_->settings.plain_sql(*wanted_) || protocol::may_leave_state(sql_of(text));
  } else if (frame.size <= kUnnamedKeptMax) {
    return Step::NeedMore;
  }
  if (server_->pipeline.push(Owed::Parse)) {
    if (whole(frame, rest) && frame.size <= kUnnamedKeptMax)
      unnamed_.assign(text);
    else
      unnamed_.clear();
    unnamed_here_ = true;
  }
  forward(frame, rest, out);
  return Step::Next;
}

// Shown to the server as the deallocation of a statement that is there for nothing else, so that its answers
// come at their time and a second execution fails.
SessionCore::Step SessionCore::replace_deallocate(const Frame& frame, Bytes text, Actions& out) {
  Pipeline& pipeline = server_->pipeline;
  out.to_server.own([&](std::string& bytes) {
    protocol::put_close_statement(bytes, kGoneStatement);
    if (pipeline.push(Owed::Close, Whose::Ours))
      names_->erase(books_->texts.read(sql_of(text)).statements[0].name);
    protocol::put_parse(bytes, kGoneStatement, Bytes("\0\0\0", 3));
    pipeline.push(Owed::Parse, Whose::Ours);
    unnamed_.assign("DEALLOCATE ").append(kGoneStatement).append(3, '\0');
    protocol::put_parse(bytes, "", unnamed_);
    pipeline.push(Owed::Parse);
  });
  unnamed_here_ = true;
  unnamed_noteworthy_ = false;
  out.consumed += frame.size;
  return Step::Next;
}

SessionCore::Step SessionCore::relay_parse(const Frame& frame, Bytes rest, Actions& out) {
  const Bytes body = rest.substr(kHeaderBytes, frame.size - kHeaderBytes);
  const std::size_t name_size = body.substr(0, kStatementNameMax).find('\0');
  if (name_size == Bytes::npos) {
    if (!whole(frame, rest) && body.size() < kStatementNameMax) return Step::NeedMore;
    return violation("invalid statement name in Parse message", out), Step::Stop;
  }
  if (name_size == 0) return relay_unnamed_parse(frame, rest, out);

  if (frame.size > kNamedParseMax) {
    refuse_statement({sqlstate::kProgramLimit,
                      "prepared statement too long: " + std::to_string(frame.size) + " bytes, allowed are " +
                          std::to_string(kNamedParseMax),
                      {},
                      "Send it without a name, or shorten it by parameters."},
                     out);
    skip(frame, rest, out);
    return Step::Next;
  }
  if (!whole(frame, rest)) return Step::NeedMore;
  const Bytes name = body.substr(0, name_size);
  const Bytes content = body.substr(name_size + 1);
  if (content.find('\0') == Bytes::npos) return violation("invalid Parse message", out), Step::Stop;
  if (names_unsure_) return stall(out);
  StatementRef statement = books_->statements.intern(content, wanted_->parsing);
  if (pending_elsewhere(name, statement ? statement->id : 0)) return stall(out);
  out.consumed += frame.size;
  if (!names_) names_ = std::make_unique<ClientStatements>(books_->statements);
  if (names_->find(name)) {
    refuse_statement({sqlstate::kDuplicateStatement,
                      "prepared statement \"" + std::string(name) + "\" already exists",
                      {},
                      {}},
                     out);
    return Step::Next;
  }
  if (!statement || !names_->room_for(name)) {
    refuse_statement(
        {sqlstate::kConfigurationLimit,
         "no room for another prepared statement: " + std::to_string(books_->statements.bytes()) + " of " +
             std::to_string(books_->statements.bytes_max()) + " bytes are used",
         {},
         "Close statements that are not needed, or raise pool.prepared_statement_bytes."},
        out);
    return Step::Next;
  }
  const bool known = server_->statements.use(statement->id) || coming(*statement);
  if (!known) make_room_on_server(out);
  if (push_op(known ? Owed::ParseKnown : Owed::Parse, Whose::Clients,
              {StatementOp::Kind::Prepare, 0, statement->id, std::string(name), statement}))
    names_->set(name, statement);
  ++out.client_parses;
  if (!known) ++out.server_parses;
#ifdef PGWEIR_PLANT_REGISTER_EARLY
  server_->statements.add(statement->id);
#endif
  out.to_server.own([&](std::string& bytes) {
    if (known)
      protocol::put_close_statement(bytes, kNoStatement);
    else
      protocol::put_parse(bytes, statement->server_name, content);
  });
  return Step::Next;
}

SessionCore::Step SessionCore::relay_bind(const Frame& frame, Bytes rest, Actions& out) {
  const Bytes body = rest.substr(kHeaderBytes, frame.size - kHeaderBytes);
  const std::size_t portal_size = body.substr(0, kStatementNameMax).find('\0');
  const std::size_t name_at = portal_size == Bytes::npos ? Bytes::npos : portal_size + 1;
  const std::size_t name_size =
      name_at == Bytes::npos ? Bytes::npos : body.substr(name_at, kStatementNameMax).find('\0');
  if (name_size == Bytes::npos) {
    if (!whole(frame, rest) && body.size() < 2 * kStatementNameMax) return Step::NeedMore;
    return violation("invalid name in Bind message", out), Step::Stop;
  }
  const Bytes name = body.substr(name_at, name_size);
  const StatementRef* held = names_ ? names_->find(name) : nullptr;
  if (held && (*held)->stale && !replace_stale(name, rest.substr(std::min(rest.size(), frame.size)))) {
    refuse_statement({sqlstate::kFeatureNotSupported, "cached plan must not change result type", {}, {}},
                     out);
    return skip(frame, rest, out), Step::Next;
  }
  Bytes server_name;
  switch (find_statement(name, For::Running, server_name, out)) {
    case Name::Ready: break;
    case Name::Refused: return skip(frame, rest, out), Step::Next;
    case Name::Later: return stall(out);
  }
  if (const StatementRef* used = names_ && !name.empty() ? names_->find(name) : nullptr) {
    // Where answers never pause, the oldest have come by then.
    if (server_->pipeline.owed() == 0) server_->uses.clear();
    if (server_->uses.size() == kOpsMax)
      server_->uses.erase(server_->uses.begin(), server_->uses.begin() + kOpsMax / 2);
    server_->uses.push_back({server_->pipeline.binds(), *used});
  }
  server_->pipeline.push(Owed::Bind);
  if (name_size == 0) return forward(frame, rest, out), Step::Next;
  ++out.binds;
  const std::size_t head = kHeaderBytes + name_at + name_size + 1;  // through the statement's name
  out.to_server.own([&](std::string& bytes) {
    char length[4];
    protocol::store_u32(length, static_cast<std::uint32_t>(frame.size - 1 - name_size + server_name.size()));
    bytes.push_back('B');
    bytes.append(length, 4).append(body.substr(0, name_at)).append(server_name).push_back('\0');
  });
  const Bytes tail = rest.substr(head, frame.size - head);
  out.to_server.borrow(tail);
  body_left_ = frame.size - head - tail.size();
  skip_body_ = false;
  out.consumed += head + tail.size();
  return Step::Next;
}

SessionCore::Step SessionCore::relay_describe_or_close(const Frame& frame, Bytes rest, Actions& out) {
  if (!whole(frame, rest)) return Step::NeedMore;
  const Bytes body = rest.substr(kHeaderBytes, frame.size - kHeaderBytes);
  if (body.size() < 2 || body.find('\0', 1) != body.size() - 1)
    return violation("invalid Describe or Close message", out), Step::Stop;
  const Bytes name = body.substr(1, body.size() - 2);
  const Owed kind = frame.type == 'D' ? Owed::Describe : Owed::Close;
  if (body[0] != 'S') {
    server_->pipeline.push(kind);
    return forward(frame, rest, out), Step::Next;
  }
  if (kind == Owed::Describe) {
    Bytes server_name;
    switch (find_statement(name, For::Describing, server_name, out)) {
      case Name::Ready: break;
      case Name::Refused: return skip(frame, rest, out), Step::Next;
      case Name::Later: return stall(out);
    }
    server_->pipeline.push(kind);
    if (name.empty()) return forward(frame, rest, out), Step::Next;
    out.to_server.own(
        [&](std::string& bytes) { protocol::Writer(bytes, 'D').u8('S').c_string(server_name); });
  } else if (name.empty()) {
    if (server_->pipeline.push(kind)) unnamed_.clear();
    return forward(frame, rest, out), Step::Next;
  } else {
    if (names_unsure_ || pending_elsewhere(name, 0)) return stall(out);
    if (const StatementRef* held = names_ ? names_->find(name) : nullptr) {
      if (push_op(kind, Whose::Clients, {StatementOp::Kind::Forget, 0, 0, std::string(name), *held}))
        names_->erase(name);
    } else {
      server_->pipeline.push(kind);
    }
    out.to_server.own([](std::string& bytes) { protocol::put_close_statement(bytes, kNoStatement); });
  }
  out.consumed += frame.size;
  return Step::Next;
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
  body_left_ = frame.size - part.size();
  skip_body_ = false;
  out.consumed += part.size();
}

void SessionCore::skip(const Frame& frame, Bytes rest, Actions& out) {
  const std::size_t part = std::min(rest.size(), frame.size);
  body_left_ = frame.size - part;
  skip_body_ = true;
  out.consumed += part;
}

bool SessionCore::push_op(Owed kind, Whose whose, StatementOp op) {
  op.batch = server_->pipeline.batch();
  if (!server_->pipeline.push(kind, whose, Pipeline::Op::Statement)) return false;
  server_->ops.push_back(std::move(op));
  return true;
}

// The server must raise the error itself, so that it aborts the transaction and skips to Sync as always; then
// its text is replaced by ours.
bool SessionCore::push_refusal(Owed kind, const Error& error) {
  StatementOp op{StatementOp::Kind::Refuse, 0, 0, {}, {}};
  protocol::put_error(op.name, "ERROR", error);
  return push_op(kind, Whose::Clients, std::move(op));
}

// Binding a statement that does not exist is the cheapest error there is.
void SessionCore::refuse_statement(const Error& error, Actions& out) {
  push_refusal(Owed::Bind, error);
  out.to_server.own([](std::string& bytes) { protocol::put_bind_text(bytes, kNoStatement, {}); });
}

// Whether an earlier batch, which may yet fail, has something to say about this name or statement.
bool SessionCore::pending_elsewhere(Bytes name, StatementId id) const {
  const std::uint32_t batch = server_->pipeline.batch();
  return std::any_of(server_->ops.begin(), server_->ops.end(), [&](const StatementOp& op) {
    if (op.batch == batch || op.kind == StatementOp::Kind::Refuse) return false;
    return (!name.empty() && op.name == name) || (id != 0 && op.id == id);
  });
}

// Whether a request of this batch makes the statement known.
bool SessionCore::coming(const Statement& statement) const {
  // The last word about it counts: an Evict may stand behind a Parse.
  const auto last = std::find_if(server_->ops.rbegin(), server_->ops.rend(),
                                 [&](const StatementOp& op) { return op.id == statement.id; });
  return last != server_->ops.rend() && last->kind != StatementOp::Kind::Evict;
}

SessionCore::Name SessionCore::find_statement(Bytes name, For use, Bytes& server_name, Actions& out) {
  if (name.empty()) return find_unnamed(use, out);
  if (names_unsure_) return Name::Later;
  const StatementRef* held = names_ ? names_->find(name) : nullptr;
  if (!server_->ops.empty() && pending_elsewhere(name, held ? (*held)->id : 0)) return Name::Later;
  if (!held) {
    // It may have been prepared by SQL in this transaction; but a name like ours must not reach another
    // client's statement.
    server_name = name;
    if (name.substr(0, kOurPrefix.size()) != kOurPrefix) return Name::Ready;
    refuse_statement({sqlstate::kInvalidStatementName,
                      "prepared statement \"" + std::string(name) + "\" does not exist",
                      {},
                      {}},
                     out);
    return Name::Refused;
  }
  const Statement& statement = **held;
  server_name = statement.server_name;
  const bool noteworthy =
      statement.leaves_state || (pins_ & pin::kProvable) || !books_->settings.plain_sql(*wanted_);
  if (use == For::Running && noteworthy)
    if (const Pins no_room = note_text(statement.content))
      return refuse_statement(pin_book_->refuse(no_room), out), Name::Refused;
  if (server_->statements.use(statement.id) || coming(statement)) return Name::Ready;
  ++out.server_parses;
  make_room_on_server(out);
  out.to_server.own([&](std::string& bytes) {
    protocol::put_parse(bytes, statement.server_name, statement.content);
    push_op(Owed::Parse, Whose::Ours, {StatementOp::Kind::Inject, 0, statement.id, {}, *held});
  });
  return Name::Ready;
}

void SessionCore::make_room_on_server(Actions& out) {
  if (server_->statements.size() == 0 || server_->statements.size() < books_->statements_per_server) return;
  const StatementId oldest = server_->statements.take_oldest();
  out.to_server.own([&](std::string& bytes) {
    protocol::put_close_statement(bytes, std::string(kOurPrefix) + std::to_string(oldest));
  });
  if (!push_op(Owed::Close, Whose::Ours, {StatementOp::Kind::Evict, 0, oldest, {}, {}}))
    server_->statements.add(oldest);
}

bool SessionCore::replace_stale(Bytes name, Bytes after_bind) {
  const bool told_anew =
      after_bind.size() > kHeaderBytes && after_bind[0] == 'D' && after_bind[kHeaderBytes] == 'P';
  if (!told_anew) return false;
  StatementRef fresh = books_->statements.intern((*names_->find(name))->content, wanted_->parsing);
  if (!fresh) return false;
  names_->set(name, std::move(fresh));
  return true;
}

SessionCore::Name SessionCore::find_unnamed(For use, Actions& out) {
  if (use == For::Running && (unnamed_noteworthy_ || (pins_ & pin::kProvable)))
    if (const Pins no_room = note_unnamed())
      return refuse_statement(pin_book_->refuse(no_room), out), Name::Refused;
  if (unnamed_here_) return Name::Ready;
  if (unnamed_.empty()) {
    refuse_statement({sqlstate::kInvalidStatementName, "unnamed prepared statement does not exist", {}, {}},
                     out);
    return Name::Refused;
  }
  out.to_server.own([&](std::string& bytes) { protocol::put_parse(bytes, "", unnamed_); });
  if (push_op(Owed::Parse, Whose::Ours, {StatementOp::Kind::Inject, 0, 0, {}, {}})) unnamed_here_ = true;
  return Name::Ready;
}

void SessionCore::server_bytes(Bytes in, Actions& out) {
  PGWEIR_CHECK(state_ == State::Linked);
  const ServerCore::Outcome outcome = server_->read(in, out.to_client, *this);
  out.queries += outcome.readies;
  // The client's own requests may be running without its settings: end it before it believes their answers.
  // Ours came first, so the client has seen nothing yet of what this server said.
  if (ours_failed_ && !proving_) {
    const std::string why = protocol::parse_error(*ours_failed_).message;
    out.to_client.clear();
    unlink(Actions::Server::Drop, out);
    return end({sqlstate::kConnectionFailure,
                "the server no longer accepts this session's settings: " + why,
                {},
                {}},
               out);
  }
  if (outcome.broken) {
    fail({sqlstate::kConnectionFailure, "server connection broke the protocol", {}, {}}, out);
    out.reason = std::string("server ") + outcome.broken;
    return;
  }
  if (outcome.poisoned) return violation("requests pipelined behind COPY FROM STDIN", out);
  if (outcome.fatal) {
    // Its own last words have been passed on; the rest is the closing of the connection.
    (at_boundary() ? out.close_client : out.reset_client) = true;
    out.reason = "server is going away";
    return unlink(Actions::Server::Drop, out);
  }
  if (names_unsure_ && server_->pipeline.owed() == 0) names_unsure_ = false;
  after_step(out);
}

void SessionCore::after_step(Actions& out) {
#ifdef PGWEIR_PLANT_RELEASE_EARLY
  if (state_ != State::Linked || (!server_->quiet() && (server_->tx_status != 'I' || out.queries == 0)))
    return;
#else
  if (state_ != State::Linked || !server_->quiet() || body_left_ > 0) return;
#endif
  if (proving_ && ours_failed_) {
    // Postgres has rolled our batch back, so the server is as before; the client gets Postgres's own words.
    const protocol::ErrorFields why = protocol::parse_error(*ours_failed_);
    out.to_client.own([&](std::string& bytes) { protocol::put_error(bytes, "FATAL", why); });
    out.close_client = true;
    out.reason = why.message;
    unlink(Actions::Server::Release, out);
    state_ = State::Closed;
    return;
  }
  if (proving_) {
    proving_ = false;
    out.proven = true;
    books_->settings.mark_proven(wanted_);
  } else if (auditing_) {
    auditing_ = false;
    if (std::exchange(audit_canceled_, false) && begin_audit(out)) return;
  } else {
    if (worked_) ++out.transactions;
    worked_ = false;
    if (begin_audit(out)) return;
  }
  if (pins_ != 0) return;
  // A server whose answers can no longer be counted is of no use to anybody.
  const bool useless = server_->pipeline.unfit() || server_->spoiled;
  unlink(useless ? Actions::Server::Drop : Actions::Server::Release, out);
  state_ = State::Idle;
}

void SessionCore::client_gone(Actions& out) {
  switch (state_) {
    case State::Idle:
    case State::Closed: break;
    case State::Waiting:
      out.leave_queue = true;
      set_pins(0);
      break;
    case State::Linked: {
#ifndef PGWEIR_PLANT_LEAVE_PINNED
      if (pins_ != 0 || suspicion_) server_->dirty = true;
#endif
      unlink(left_behind(out), out);
      break;
    }
  }
  state_ = State::Closed;
}

// What becomes of the server whose client has vanished.
Actions::Server SessionCore::left_behind(Actions& out) const {
#ifdef PGWEIR_PLANT_LEAVE_CLEAN
  return Actions::Server::Release;
#endif
  const bool half_sent = body_left_ > 0 && !skip_body_;
  if (half_sent || !out.to_server.empty() || server_->spoiled || server_->pipeline.unfit())
    return Actions::Server::Drop;
  if (server_->quiet()) return Actions::Server::Release;
  return server_->pipeline.copy_in() ? Actions::Server::Drop : Actions::Server::Abandon;
}

void SessionCore::server_gone(const std::string& why, Actions& out) {
  PGWEIR_CHECK(state_ == State::Linked);
  fail({sqlstate::kConnectionFailure,
        "server connection lost: " + why,
        {},
        "The transaction was not committed unless its COMMIT was answered. Connect again and retry it."},
       out);
}

void SessionCore::fail(const Error& error, Actions& out) {
  if (state_ == State::Closed) return;
  if (state_ == State::Waiting) {
    out.leave_queue = true;
    set_pins(0);
  }
#ifdef PGWEIR_PLANT_ERROR_INSIDE_ROW
  const bool boundary = true;
#else
  const bool boundary = at_boundary();
#endif
  if (server_) unlink(Actions::Server::Drop, out);
  if (boundary) return end(error, out);
  out.reset_client = true;
  out.reason = error.message;
  state_ = State::Closed;
}

void SessionCore::end(const Error& error, Actions& out) {
  out.to_client.own([&](std::string& bytes) { protocol::put_error(bytes, "FATAL", error); });
  out.close_client = true;
  out.reason = error.message;
  state_ = State::Closed;
}

void SessionCore::violation(const char* what, Actions& out) {
  fail({sqlstate::kProtocolViolation, what, {}, {}}, out);
}

void SessionCore::unlink(Actions::Server how, Actions& out) {
  out.server = how;
  if (how == Actions::Server::Drop) {
    server_->ops.clear();
    server_->uses.clear();
    state_ = State::Closed;
  }
  server_ = nullptr;
  suspicion_.reset();
  restore_.reset();
  set_pins(0);
  auditing_ = false;
}

void SessionCore::set_pins(Pins pins) {
  pin_book_->change(pins_, pins);
  pins_ = pins;
  if (std::exchange(claimed_, false)) pin_book_->drop_claim();
}

void SessionCore::claim() {
  PGWEIR_CHECK(!claimed_ && pins_ == 0);
  claimed_ = true;
  pin_book_->claim();
}

bool SessionCore::on_parameter(Bytes name, Bytes value) {
  server_->applied = books_->settings.changed(server_->applied, name, value);
  const SettingsRef before = std::exchange(wanted_, books_->settings.changed(wanted_, name, value));
  return before != wanted_;
}

void SessionCore::on_op_dropped(StatementOp& op) {
  switch (op.kind) {
    case StatementOp::Kind::Prepare:
#ifndef PGWEIR_PLANT_KEEP_SKIPPED_PARSE
      if (names_) names_->erase(op.name);
#endif
      break;
    case StatementOp::Kind::Forget:
      if (!names_) names_ = std::make_unique<ClientStatements>(books_->statements);
      names_->set(op.name, std::move(op.statement));
      break;
    case StatementOp::Kind::Inject:
      if (op.id == 0) unnamed_here_ = false;
      break;
    case StatementOp::Kind::Evict:
    case StatementOp::Kind::Refuse: break;
  }
}

void SessionCore::on_all_deallocated() { names_.reset(); }

void SessionCore::on_all_discarded() {
  if (!server_->spoiled && (pins_ & pin::kSettings)) set_pins(pins_ & static_cast<Pins>(~pin::kSettings));
}

void SessionCore::on_ours_failed(Bytes error_body) {
  if (auditing_ && protocol::parse_error(error_body).sqlstate == sqlstate::kQueryCanceled) {
    audit_canceled_ = true;
    return;
  }
  if (!ours_failed_) ours_failed_ = std::make_unique<std::string>(error_body);
}

}  // namespace pgweir
