// pooler/session_statements.cc - SessionCore: prepared statements, whatever server they come to be used on.
#include <algorithm>
#include <array>
#include <utility>

#include "pooler/base/check.h"
#include "pooler/base/planted.h"
#include "pooler/session_core.h"
#include "pooler/session_parts.h"
#include "protocol/messages.h"
#include "protocol/sql_lexer.h"
#include "protocol/sql_words.h"

namespace pgweir {

using protocol::Frame;
using protocol::kHeaderBytes;
using protocol::Owed;
using protocol::Pipeline;
using Whose = Pipeline::Whose;

namespace {
constexpr std::size_t kStatementNameMax = (8 << 10) - 1;
constexpr std::size_t kServerNameMost = 32;  // Statement::server_name: a prefix and a number
// No statement has this name: closing it finds nothing, binding it fails.
constexpr Bytes kNoStatement = "pgweir_none";
constexpr Bytes kGoneStatement = "pgweir_gone";

// Whether a Bind, `tail` is what follows the names in it, leaves the columns' formats to the columns: it
// names none, or one for all.
bool fits_any(Bytes tail) {
  protocol::Reader in(tail);
  in.bytes(std::size_t{2} * in.u16());
  for (std::uint16_t left = in.u16(); left > 0 && in.ok(); --left)
    if (const std::uint32_t size = in.u32(); size != 0xffffffff) in.bytes(size);
  return in.u16() <= 1 || !in.ok();
}

Error name_too_long() {
  return {sqlstate::kProgramLimit,
          "name of a prepared statement or portal too long: at most " + std::to_string(kStatementNameMax) +
              " bytes are allowed",
          {},
          "Use a shorter name."};
}
}  // namespace

KeptText SessionCore::asked(Bytes held) const {
  KeptText text;
  Frame frame;
  if (held.size() < kHeaderBytes || !protocol::read_header(held, protocol::kClientMessageLimits, frame))
    return text;
  const Bytes body = held.substr(kHeaderBytes, frame.size - kHeaderBytes);
  if (frame.type == 'Q') {
    text.keep(sql_of(body), whole(frame, held));
  } else if (frame.type == 'P' || frame.type == 'B') {
    // Both have two names in front: the Parse a statement's and the text, the Bind a portal's and a
    // statement's.
    protocol::Reader in(body);
    const Bytes first = in.c_string();
    if (!in.ok()) return text;
    const Bytes second = sql_of(in.rest());
    const StatementRef* const used = names_ && !second.empty() ? names_->find(second) : nullptr;
    if (frame.type == 'P')
      text.keep(second, first.size() + second.size() + 2 <= body.size());
    else if (second.empty())
      text.keep(sql_of(unnamed_), true);
    else if (used)
      text.keep(sql_of((*used)->content), true);
  }
  return text;
}

SessionCore::Step SessionCore::relay_parse(const Frame& frame, Bytes rest, Actions& out) {
  const Bytes body = rest.substr(kHeaderBytes, frame.size - kHeaderBytes);
  const std::size_t name_size = body.substr(0, kStatementNameMax + 1).find('\0');
  if (name_size == Bytes::npos) {
    if (body.size() > kStatementNameMax)
      return refuse_statement(name_too_long(), out), skip(frame, rest, out), Step::Next;
    if (!whole(frame, rest)) return Step::NeedMore;
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
  if (names_unsure()) return stall(out);
  bool lent = false;
  switch (lend(sql_of(content), lent, out)) {
    case Name::Ready: break;
    case Name::Refused: return skip(frame, rest, out), Step::Next;
    case Name::Later: return stall(out);
  }
  StatementRef statement = intern(content, parsing());
  if (statement && reading_unsure_) statement->unsure = true;
  if (pending_elsewhere(name, statement ? statement->id : 0)) return stall(out);
  if (statement && coming(*statement)) return stall(out);
  if (statement && look_for_sequences(statement->words, ClientText(*statement), out) == Name::Later)
    return stall(out);
  out.consumed += frame.size;
  if (names_ && names_->find(name)) {
    // What is wrong with the text, or with the transaction, comes first.
    out.to_server.own([&](std::string& bytes) { put_gone(kGoneStatement, content, bytes); });
    refuse_statement({sqlstate::kDuplicateStatement,
                      "prepared statement \"" + std::string(name) + "\" already exists",
                      {},
                      {}},
                     out);
    return Step::Next;
  }
  if (const auto beyond = refuse_statement_beyond(name.size() + content.size())) {
    pin_book_->refuse_statement(beyond->limit, beyond->error, sql_of(content));
    return refuse_statement(beyond->error, out), Step::Next;
  }
  if (!statement || !has_room(ClientStatements::cost(name))) {
    refuse_statement(no_room(), out);
    return Step::Next;
  }
  try_name(name, content, out);
  // Also where the server knows the text: what this client is told must be true now, and in this transaction.
  if (server_->statements.take(statement->id))
    evict(statement->id, out);
  else
    make_room_on_server(out);
  if (push_op(Owed::Parse, Whose::Clients,
              {StatementOp::Kind::Prepare, 0, statement->id, std::string(name), statement}))
    names().set(name, statement);
  ++statement->parses;
  ++out.client_parses;
  ++out.server_parses;
  if (PGWEIR_PLANTED(REGISTER_EARLY)) server_->statements.add(statement->id);
  out.to_server.own([&](std::string& bytes) { protocol::put_parse(bytes, statement->server_name, content); });
  return Step::Next;
}

std::optional<SessionCore::StatementBeyond> SessionCore::refuse_statement_beyond(std::size_t bytes) const {
  const tiers::Tenant& tenant = pin_book_->tenant();
  const tiers::Tier& tier = tenant.limits;
  const auto beyond = [&](tiers::Limit limit, std::size_t has, std::size_t allowed, const char* things) {
    return StatementBeyond{
        limit,
        {sqlstate::kConfigurationLimit,
         "no room for another prepared statement of this client of tenant \"" + tenant.name + '"',
         std::string(tiers::row_of(limit).key) + " of tier " + tier.name + ": " + std::to_string(has) +
             " of " + std::to_string(allowed) + " " + things + " are in use.",
         pin_book_->remedy("Close statements that are not needed (DEALLOCATE)", limit)}};
  };
  const std::size_t count = tier.max_client_statements, size = tier.max_client_statement_bytes;
  if (count > 0 && statement_count() >= count)
    return beyond(tiers::Limit::Statements, statement_count(), count, "statements");
  if (size > 0 && statement_bytes() + bytes > size)
    return beyond(tiers::Limit::StatementBytes, statement_bytes(), size, "bytes");
  return {};
}

SessionCore::Step SessionCore::relay_bind(const Frame& frame, Bytes rest, Actions& out) {
  const Bytes body = rest.substr(kHeaderBytes, frame.size - kHeaderBytes);
  const bool unnamed_portal = body.starts_with('\0');  // nearly always
  const std::size_t portal_size = unnamed_portal ? 0 : body.substr(0, kStatementNameMax + 1).find('\0');
  const std::size_t name_at = portal_size == Bytes::npos ? Bytes::npos : portal_size + 1;
  const std::size_t name_size =
      name_at == Bytes::npos ? Bytes::npos : body.substr(name_at, kStatementNameMax + 1).find('\0');
  if (name_size == Bytes::npos) {
    if (body.size() - (name_at == Bytes::npos ? 0 : name_at) > kStatementNameMax)
      return refuse_statement(name_too_long(), out), skip(frame, rest, out), Step::Next;
    if (!whole(frame, rest)) return Step::NeedMore;
    return violation("invalid name in Bind message", out), Step::Stop;
  }
  // With the server's name for the statement it would be longer than Postgres takes, which would end.
  if (frame.size > protocol::kLargeMessage - kServerNameMost && name_size > 0)
    return violation("invalid message length", out), Step::Stop;
  const Bytes name = body.substr(name_at, name_size);
  const StatementRef* held = names_ ? names_->find(name) : nullptr;
  const Bytes next = rest.substr(std::min(rest.size(), frame.size));
  const bool asks = next.size() > kHeaderBytes && next[0] == 'D' && next[kHeaderBytes] == 'P';
  const bool learned = held && !(*held)->stale && server_->statements.knows((*held)->id);
  const bool told = asks && !learned &&
                    (!held || !may_have_changed(**held) || fits_any(body.substr(name_at + name_size + 1)));
  const For use = told ? For::RunningTold : For::Running;
  if (held && (*held)->stale) {
    if (!replace_stale(name, use)) return refuse_stale(out), skip(frame, rest, out), Step::Next;
    held = names_->find(name);
  }
  Bytes server_name;
  resets_all_ = false;
  switch (look_for_sequences(held, name.empty() ? Bytes(unnamed_) : Bytes(), out)) {
    case Name::Ready: break;
    case Name::Refused: refuse_statement(others_sequence(), out); return skip(frame, rest, out), Step::Next;
    case Name::Later: return stall(out);
  }
  switch (find_statement(name, use, held, server_name, out)) {
    case Name::Ready: break;
    case Name::Refused: return skip(frame, rest, out), Step::Next;
    case Name::Later: return stall(out);
  }
  if (resets_all_ && portal_size > 0) {
    refuse_statement({sqlstate::kFeatureNotSupported,
                      "RESET ALL cannot be bound to a named portal",
                      {},
                      "The tier's ceilings were lowered while this session kept its server. Use the unnamed "
                      "portal."},
                     out);
    return skip(frame, rest, out), Step::Next;
  }
  bound_ = true;
  if (portal_size == 0) reset_bound_ = resets_all_;
  const StatementRef* const used = name.empty() ? nullptr : held;
  Bytes sql;  // if it may be a DEALLOCATE
  if (used) {
    server_->bound(**used);
    ++(*used)->binds;
    if ((*used)->words == protocol::SqlWords::State && ClientText(**used).has(TextWord::Deallocate))
      sql = (*used)->sql;
    if (trail_) trail_->runs((*used)->sql);
  } else if (name.empty()) {
    unnamed_bound_ = true;
    if (unnamed_noteworthy_) sql = sql_of(unnamed_);
    if (trail_ && !unnamed_.empty()) trail_->runs(sql_of(unnamed_));
  }
  const bool runs =
      lowered_ ? push_op(Owed::Bind, Whose::Clients,
                         {StatementOp::Kind::Tell, 0, 0, std::move(*std::exchange(lowered_, nullptr)), {}})
               : server_->pipeline.push(Owed::Bind);
  if (runs) portal_used_ = portal_size == 0 && used;
  if (runs && (!sql.empty() || deallocating_portals_)) note_portal(body.substr(0, portal_size), sql);
  if (name_size == 0) return forward(frame, rest, out), Step::Next;
  ++out.binds;
  const std::size_t head = kHeaderBytes + name_at + name_size;  // up to the end of the statement's name
  out.to_server.own([&](std::string& bytes) {
    char header[kHeaderBytes + 1] = {'B'};  // and the end of the portal's name, which is nearly always empty
    protocol::store_u32(header + 1,
                        static_cast<std::uint32_t>(frame.size - 1 - name_size + server_name.size()));
    bytes.append(header, kHeaderBytes + (unnamed_portal ? 1 : 0));
    if (!unnamed_portal) bytes.append(body.substr(0, name_at));
    bytes.append(server_name);
  });
  const Bytes tail = rest.substr(head, frame.size - head);
  out.to_server.borrow(tail);
  expect_body(frame.size - head - tail.size(), false);
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
    const bool of_use = portal_used_ && name.empty() && !server_->uses.empty();
    Statement* const used = of_use ? server_->uses.back().statement.get() : nullptr;
    if (kind == Owed::Describe && used && used->columns == 0 && names_settled())
      push_op(kind, Whose::Clients, {StatementOp::Kind::Columns, 0, 0, {}, tenant_statements_->hold(*used)});
    else
      server_->pipeline.push(kind);
    return forward(frame, rest, out), Step::Next;
  }
  if (kind == Owed::Describe) {
    Bytes server_name;
    const StatementRef* held = names_ && !name.empty() ? names_->find(name) : nullptr;
    switch (find_statement(name, For::Describing, held, server_name, out)) {
      case Name::Ready: break;
      case Name::Refused: return skip(frame, rest, out), Step::Next;
      case Name::Later: return stall(out);
    }
    if (held && (*held)->columns == 0 && names_settled())
      push_op(kind, Whose::Clients, {StatementOp::Kind::Columns, 0, 0, {}, *held});
    else
      server_->pipeline.push(kind);
    if (name.empty()) return forward(frame, rest, out), Step::Next;
    out.to_server.own(
        [&](std::string& bytes) { protocol::Writer(bytes, 'D').u8('S').c_string(server_name); });
  } else if (name.empty()) {
    if (replace_unnamed(kind)) drop_unnamed();
    return forward(frame, rest, out), Step::Next;
  } else {
    if (names_unsure() || pending_elsewhere(name, 0)) return stall(out);
    if (const StatementRef* held = names_ ? names_->find(name) : nullptr) {
      if (push_op(kind, Whose::Clients, {StatementOp::Kind::Forget, 0, 0, std::string(name), *held}))
        names_->erase(name);
    } else {
      server_->pipeline.push(kind);
    }
    const Pins may_have = pins_ | (suspicion_ ? suspicion_->pins : Pins{0});
    const bool by_sql = (may_have & (pin::kStatement | pin::kSession)) && !is_like_ours(name);
    out.to_server.own(
        [&](std::string& bytes) { protocol::put_close_statement(bytes, by_sql ? name : kNoStatement); });
  }
  out.consumed += frame.size;
  return Step::Next;
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
    if (op.batch == batch) return false;
    if (op.kind == StatementOp::Kind::Refuse || op.kind == StatementOp::Kind::Tell ||
        op.kind == StatementOp::Kind::Supplied || op.kind == StatementOp::Kind::Unsupplied ||
        op.kind == StatementOp::Kind::Unnamed)
      return std::any_of(op.taken.begin(), op.taken.end(),
                         [name](const auto& each) { return each.name == name; });
    return (!name.empty() && op.name == name) || (id != 0 && op.id == id);
  });
}

// Whether what is owed takes names from the client, if it comes to run.
bool SessionCore::takes_names() const {
  return std::any_of(server_->ops.begin(), server_->ops.end(),
                     [](const StatementOp& op) { return !op.taken.empty(); });
}

// Whether what is owed may turn out to be skipped, so that a name remains which the text might use.
bool SessionCore::may_give_back_names(Bytes sql) const {
  const bool any = std::any_of(server_->ops.begin(), server_->ops.end(),
                               [](const StatementOp& op) { return op.kind == StatementOp::Kind::Forget; });
  return any && (mentions(sql, "execute") || mentions(sql, "prepare") || mentions(sql, "deallocate"));
}

// Whether what is owed decides which names the client has.
bool SessionCore::names_unsure() const {
  return names_unsure_ || (drops_names_ && server_->pipeline.owed() > 0);
}

// Whether a request of this batch makes the statement known.
bool SessionCore::coming(const Statement& statement) const {
  // The last word about it counts: an Evict may stand behind a Parse.
  const auto last = std::find_if(server_->ops.rbegin(), server_->ops.rend(),
                                 [&](const StatementOp& op) { return op.id == statement.id; });
  return last != server_->ops.rend() && last->kind != StatementOp::Kind::Evict;
}

SessionCore::Name SessionCore::find_statement(Bytes name, For use, const StatementRef*& held,
                                              Bytes& server_name, Actions& out) {
  if (name.empty()) return find_unnamed(use, out);
  if (names_unsure()) return Name::Later;
  if (!server_->ops.empty() && pending_elsewhere(name, held ? (*held)->id : 0)) return Name::Later;
  if (!held) {
    // It may have been prepared by SQL in this transaction; but a name like ours must not reach another
    // client's statement.
    server_name = name;
    if (!is_like_ours(name)) return Name::Ready;
    refuse_statement({sqlstate::kInvalidStatementName,
                      "prepared statement \"" + std::string(name) + "\" does not exist",
                      {},
                      {}},
                     out);
    return Name::Refused;
  }
  bool known = server_->statements.use((*held)->id);
  if (!known && (*held)->columns != 0) {
    if (const Name renewed = renew(name, use, out); renewed != Name::Ready) return renewed;
    held = names_->find(name);
    known = server_->statements.use((*held)->id);
  }
  const StatementRef kept = known ? *held : learnable(name);
  if (!kept) return refuse_statement(no_room(), out), Name::Refused;
  if (!known && !server_->ops.empty() && pending_elsewhere({}, kept->id)) return Name::Later;
  Statement& statement = *kept;
  server_name = statement.server_name;
  const bool noteworthy = guard_->minds(statement.words) || holds_something() || suspects_held() ||
                          server_->apart || (!books_->routines.empty() && may_run_routines(statement)) ||
                          !can_read(ClientText(statement));
  bool lent = false;
  if (statement.words == protocol::SqlWords::State || noteworthy) {
    if (const Name lending = lend(ClientText(statement), lent, out); lending != Name::Ready) return lending;
    held = names_->find(name);
  }
  // What it was made of here may have been another client's.
  if (lent && server_->statements.take(statement.id)) evict(statement.id, out);
  if (use != For::Describing && noteworthy)
    if (const auto ruling = note_text(ClientText(statement))) {
      if (ruling->refused) return refuse_statement(*ruling->refused, out), Name::Refused;
      return put_lowered(name, *ruling, server_name, out);
    }
  if ((known && !lent) || server_->statements.use(statement.id) || coming(statement)) return Name::Ready;
  if (server_->pipeline.owes_client() && !readings_of(statement).empty()) return Name::Later;
  inject(kept, out);
  return Name::Ready;
}

// Where the server would learn the statement only now, after definitions or the path to them have changed, it
// would know other columns than the client was told of. Postgres refuses that, so it is asked for them first.
// `name` has told columns, and is unknown to the server.
SessionCore::Name SessionCore::renew(Bytes name, For use, Actions& out) {
  if (PGWEIR_PLANTED(TRUST_COLUMNS)) return Name::Ready;
  const StatementRef& held = *names_->find(name);
  if (!may_have_changed(*held) || coming(*held)) return Name::Ready;
  // What a text with EXECUTE answers depends on more than definitions.
  if (!names_settled() || held->words == protocol::SqlWords::State) return Name::Ready;
  const StatementRef fresh = intern(held->content_as_told(), parsing_here(*held));
  if (!fresh) return Name::Ready;
  fresh->unsure = fresh->unsure || held->unsure || reading_unsure_;
  if (fresh->columns == 0) {
    if (asks_columns(*fresh) || pending_elsewhere({}, fresh->id)) return Name::Later;
    const bool known = server_->statements.use(fresh->id) || coming(*fresh);
    if (!known && server_->pipeline.owes_client() && !readings_of(*fresh).empty()) return Name::Later;
    if (!known) inject(fresh, out);
    out.to_server.own(
        [&](std::string& bytes) { protocol::Writer(bytes, 'D').u8('S').c_string(fresh->server_name); });
    // Behind an error nothing is run.
    const bool runs = push_op(Owed::Describe, Whose::Ours, {StatementOp::Kind::Columns, 0, 0, {}, fresh});
    return runs ? Name::Later : Name::Ready;
  }
  const bool same =
      held->columns == fresh->columns || held->columns == kUnreadColumns || fresh->columns == kUnreadColumns;
  if (!same && use != For::RunningTold) return refuse_stale(out), Name::Refused;
  names_->replace(name, fresh);
  return Name::Ready;
}

// The columns, for this client since it was told of them.
bool SessionCore::may_have_changed(const Statement& statement) {
  return statement.stale || books_->statements.outdated(statement) ||
         !same_path(statement.parsing(), parsing());
}

// Whether the server owes an answer that will tell them.
bool SessionCore::asks_columns(const Statement& statement) const {
  return std::any_of(server_->ops.begin(), server_->ops.end(), [&](const StatementOp& op) {
    return op.kind == StatementOp::Kind::Columns && op.statement.get() == &statement;
  });
}

void SessionCore::refuse_stale(Actions& out) {
  StatementOp op{StatementOp::Kind::Refuse, 0, 0, {}, {}};
  put_stale_statement(op.name);
  push_op(Owed::Bind, Whose::Clients, std::move(op));
  out.to_server.own([](std::string& bytes) { protocol::put_bind_text(bytes, kNoStatement, {}); });
}

ClientStatements& SessionCore::names() {
  if (!names_) names_ = std::make_unique<ClientStatements>(*tenant_statements_);
  return *names_;
}

Error SessionCore::no_room() const {
  const tiers::Tenant& tenant = pin_book_->tenant();
  return {sqlstate::kConfigurationLimit,
          "no room for another prepared statement of tenant \"" + tenant.name + "\" (tier " +
              tenant.limits.name + ")",
          "pool.prepared_statement_bytes: " + std::to_string(tenant_statements_->bytes()) + " of " +
              std::to_string(books_->statements.bytes_max()) +
              " bytes are used by all clients of this tenant.",
          "Close statements that are not needed, or raise pool.prepared_statement_bytes."};
}

// Null when there is no room for it.
StatementRef SessionCore::lowered_statement(Bytes name, const Ruling& ruling) {
  const Bytes content = (*names_->find(name))->content;
  return intern(ruling.text + std::string(content.substr(content.find('\0'))), parsing());
}

// The client's name means the lowered text from now on.
SessionCore::Name SessionCore::put_lowered(Bytes name, const Ruling& ruling, Bytes& server_name,
                                           Actions& out) {
  const StatementRef fresh = lowered_statement(name, ruling);
  if (!fresh) return refuse_statement(no_room(), out), Name::Refused;
  if (!server_->ops.empty() && pending_elsewhere({}, fresh->id)) return Name::Later;
  names_->replace(name, fresh);
  server_name = fresh->server_name;
  lowered_ = notices_of(ruling);
  if (!server_->statements.use(fresh->id) && !coming(*fresh)) inject(fresh, out);
  return Name::Ready;
}

void SessionCore::inject(const StatementRef& statement, Actions& out) {
  ++out.server_parses;
  make_room_on_server(out);
  out.to_server.own([&](std::string& bytes) {
    put_parse_of(*statement, statement->server_name,
                 {StatementOp::Kind::Inject, 0, statement->id, {}, statement}, bytes);
  });
}

// Each ceiling once in the life of a session.
std::unique_ptr<std::string> SessionCore::notices_of(const Ruling& ruling) {
  auto notices = std::make_unique<std::string>();
  if (!noticed_) noticed_ = std::make_unique<std::set<std::string>>();
  for (const std::string& each : ruling.lowered)
    if (noticed_->insert(each).second) protocol::put_notice(*notices, each);
  return notices;
}

void SessionCore::make_room_on_server(Actions& out) {
  if (server_->statements.size() == 0 || server_->statements.size() < books_->statements_per_server) return;
  if (PGWEIR_PLANTED(KEEP_STATEMENTS)) return;
  evict(server_->statements.take_oldest(), out);
}

// `id` has been taken from the server's statements.
void SessionCore::evict(StatementId id, Actions& out) {
  out.to_server.own([&](std::string& bytes) {
    protocol::put_close_statement(bytes, std::string(kOurPrefix) + std::to_string(id));
  });
  if (!push_op(Owed::Close, Whose::Ours, {StatementOp::Kind::Evict, 0, id, {}, {}}))
    server_->statements.add(id);
}

bool SessionCore::replace_stale(Bytes name, For use) {
  if (use != For::RunningTold) return false;
  StatementRef fresh = intern((*names_->find(name))->content_as_told(), parsing());
  if (!fresh) return false;
  fresh->unsure = fresh->unsure || (*names_->find(name))->unsure || reading_unsure_;
  names_->replace(name, std::move(fresh));
  return true;
}

void SessionCore::on_op_dropped(StatementOp& op) {
  switch (op.kind) {
    case StatementOp::Kind::Prepare:
      if (names_ && !PGWEIR_PLANTED(KEEP_SKIPPED_PARSE)) names_->erase(op.name);
      break;
    case StatementOp::Kind::Forget: names().set(op.name, std::move(op.statement)); break;
    case StatementOp::Kind::Inject:
      if (op.id == 0) unnamed_answered().here = false;
      break;
    case StatementOp::Kind::Unnamed: {
      if (PGWEIR_PLANTED(KEEP_SKIPPED_UNNAMED)) break;
      const Unnamed now = unnamed_answered();
      now.content = std::move(op.name);
      now.here = op.here;
      now.misread = op.misread;
      break;
    }
    case StatementOp::Kind::Lend:
    case StatementOp::Kind::Supply:
      if (op.name.empty()) break;
      names().set(op.name, std::move(op.statement), ClientStatements::Made::BySql);
      break;
    case StatementOp::Kind::Try:
    case StatementOp::Kind::Evict:
    case StatementOp::Kind::Refuse:
    case StatementOp::Kind::Supplied:
    case StatementOp::Kind::Unsupplied:
    case StatementOp::Kind::Columns: break;
    case StatementOp::Kind::Tell:
      if (!op.taken.empty()) on_deallocated(op);
      break;
  }
}

void SessionCore::on_all_deallocated() { names_.reset(); }

}  // namespace pgweir
