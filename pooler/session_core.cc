#include "pooler/session_core.h"

#include <algorithm>
#include <array>

#include "pooler/base/check.h"
#include "pooler/base/planted.h"
#include "pooler/session_parts.h"
#include "protocol/messages.h"

namespace pgweir {

using protocol::Frame;
using protocol::kHeaderBytes;
using protocol::Owed;

namespace {
// How far into what a client sends a server is chosen by what it says.
constexpr std::size_t kBuffersNamedWithin = 4096;
// What Postgres says, for the log: of the values that the client has asked for, it quotes what it does not
// like.
std::string without_values(std::string text, const SettingsMap& wanted) {
  for (const auto& [name, value] : wanted.values) {
    const std::string quoted = '"' + value + '"';
    for (std::size_t at = 0; !value.empty() && (at = text.find(quoted, at)) != std::string::npos;)
      text.replace(at, quoted.size(), "\"***\"");
  }
  return text;
}

}  // namespace

SessionCore::~SessionCore() { PGWEIR_CHECK(server_ == nullptr && pins_ == 0 && !claimed_); }

// A Parse that is kept is looked at as a whole, and so is a text that may be looked through; of all else its
// first bytes are enough.
bool SessionCore::enough_to_begin(const Frame& frame, Bytes rest) const {
  if (whole(frame, rest)) return true;
  if (rest.size() < kWholeBeforeServer) return false;
  if (frame.type == 'Q') return frame.size > protocol::kSqlTextMax;
  return frame.type != 'P' || frame.size > (rest[kHeaderBytes] == '\0' ? kUnnamedMax : kNamedParseMax);
}

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
      if (auditing_ || telling()) return void(out.stalled = true);
      if (server_->introduction && resting()) introduce(out);
      if (introducing_ && !server_->settled()) return void(out.stalled = true);
      introducing_ = false;
      if (Frame frame; channels_ && resting() && in.size() >= kHeaderBytes &&
                       protocol::read_header(in, protocol::kClientMessageLimits, frame) &&
                       must_catch_up(frame, in, out))
        return;
      relay(in, out);
      return after_relay(out);
    case State::Closed: out.consumed = in.size(); return;
  }
}

void SessionCore::idle(Bytes in, Actions& out) {
  while (out.consumed < in.size()) {
    const Bytes rest = in.substr(out.consumed);
    if (body_left_ > 0) {
      const auto part = static_cast<std::uint32_t>(std::min<std::size_t>(rest.size(), body_left_));
      body_left_ -= part;
      out.consumed += part;
      continue;
    }
    if (rest.size() < kHeaderBytes) return;
    if (out.to_client.size() > kAnsweredAtOnce) return void(out.more = true);
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
  if (frame.type == 'H' && !skip_to_sync_ && frame.size != kHeaderBytes)
    return violation("invalid message format", out), Step::Stop;
  // Postgres ignores COPY messages outside of COPY (a client may still send some after an error), and
  // everything between an error and the next Sync.
  if (skip_to_sync_ || frame.type == 'H' || frame.type == 'd' || frame.type == 'c' || frame.type == 'f') {
    skip(frame, rest, out);
    return Step::Next;
  }
  if (!enough_to_begin(frame, rest)) return Step::NeedMore;
  if (channels_ && must_catch_up(frame, rest, out)) return Step::Stop;
  if (frame.type == 'Q' && whole(frame, rest)) {
    const Bytes text = rest.substr(kHeaderBytes, frame.size - kHeaderBytes);
    if (begins_like_local(text) && answer_here(text, out)) {
      out.consumed += frame.size;
      return Step::Next;
    }
  }
  if (mode_ == tiers::PoolMode::Session) {
    if (!pin_book_->has_room())
      return refuse_request(frame, rest, pin_book_->refuse(pin::kSession), out), Step::Next;
    claim();
  }
  if (books_->temp_used && !books_->buffers_named)
    books_->buffers_named =
        wanted_->values.contains(kTempBuffers) || mentions(rest.substr(0, kBuffersNamedWithin), kTempBuffers);
  state_ = State::Waiting;
  out.ask_server = true;
  return Step::Stop;
}

void SessionCore::granted(ServerCore& server, Bytes held, Actions& out) {
  PGWEIR_CHECK(state_ == State::Waiting && server_ == nullptr);
  PGWEIR_CHECK(server.clean() && server.ops.empty());  // pairs with the check in Group::lend
  server_ = &server;
  state_ = State::Linked;
  statements_left_ = 0;
  unnamed_here_ = dirty_batch_ = names_unsure_ = worked_ = wait_behind_ = redefined_ = made_code_ = false;
  new_starts_ = 0;
  unlent_ = portal_used_ = drops_names_ = sequences_checked_ = false;
  reading_unsure_ = was_odd_ = false;
  outgrown_ = look_first_ = bound_ = resets_all_ = reset_bound_ = reset_ran_ = false;
  server.code_epoch = books_->routines.epoch();
  // In front of the client's own timeouts.
  if (server.introduction && !proving_) introduce(out);
  if (!PGWEIR_PLANTED(FORGET_SETTINGS)) {
    if (!proving_ && server.applied != wanted_ && may_keep_others(server)) introducing_ = true;
    server.apply_settings(wanted_, out.to_server);
  }
  if (server.last_client != 0 && server.last_client != number_) server.others_sequences = true;
  server.last_client = number_;
  if (!proving_) forget_sequences(out);
  if (mode_ == tiers::PoolMode::Session && !proving_) set_pins(pin::kSession);
  if (introducing_) return void(out.stalled = true);
  if (!proving_) relay(held, out);
  after_relay(out);
}

// Whether it may refuse to take back what another client has set, because the role may not.
bool SessionCore::may_keep_others(const ServerCore& server) const {
  const SettingsMap::Values& had = server.applied->values;
  return std::any_of(had.begin(), had.end(), [this](const auto& each) {
    return !wanted_->values.contains(each.first) && !books_->settings.returns(each.first);
  });
}

// Nothing of the client's was sent.
void SessionCore::try_another(Actions& out) {
  ours_failed_.reset();
  proving_ = false;
  unlink(Actions::Server::Drop, out);
  state_ = State::Idle;
}

// Its answer is waited for: were it to fail, the client's request would run for whoever was there before.
void SessionCore::introduce(Actions& out) {
  server_->introduce(out.to_server);
  introducing_ = true;
}

void SessionCore::refused(const Error& error, Bytes held, Actions& out) {
  PGWEIR_CHECK(state_ == State::Waiting);
  out.leave_queue = true;
  if (proving_ || walsender()) return fail(error, out);
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

void SessionCore::server_bytes(Bytes in, Actions& out) {
  PGWEIR_CHECK(state_ == State::Linked);
  const ServerCore::Outcome outcome = server_->read(in, out.to_client, *this);
  out.queries += outcome.readies;
  out.ends += outcome.ends;
  out.statements += outcome.statements;
  if (outcome.readies > 0) {
    canceled_as_.reset();
    server_->database_taken.clear();
  }
  statements_left_ -= std::min(statements_left_, outcome.statements);
  if (server_->pipeline.empty()) {
    statements_left_ = 0;
    commanding_ = false;
  }
  if (ours_failed_ && server_->keeps_others && (proving_ || introducing_)) return try_another(out);
  if (outcome.undone && suspicion_) suspicion_->undone = true;
  // The client's own requests may be running without its settings: end it before it hears their answers.
  if (ours_failed_ && !proving_) {
    const std::string why = protocol::parse_error(*ours_failed_).message;
    unlink(Actions::Server::Drop, out);
    return end({sqlstate::kConnectionFailure,
                "the server no longer accepts this session's settings: " + why,
                {},
                {}},
               out);
  }
  if (outcome.broken) {
    // 08P01 would blame the client.
    fail({sqlstate::kConnectionFailure, "server connection broke the protocol",
          std::string("The server ") + outcome.broken + ".",
          "The transaction was not committed unless its COMMIT was answered. Connect again and retry it; if "
          "that does not help, something else than Postgres may answer at its address."},
         out);
    out.reason = std::string("server ") + outcome.broken;
    return;
  }
  if (outcome.poisoned) return violation("requests pipelined behind COPY FROM STDIN", out);
  if (misread_)
    return fail(
        {sqlstate::kFeatureNotSupported,
         "client_encoding or standard_conforming_strings was changed so that statements cannot be read",
         {},
         "The tier has ceilings. Use client_encoding UTF8 and leave standard_conforming_strings on."},
        out);
  if (outcome.fatal) {
    // Its own last words have been passed on; the rest is the closing of the connection.
    (at_boundary() ? out.close_client : out.reset_client) = true;
    out.reason = "server is going away";
    return unlink(Actions::Server::Drop, out);
  }
  if (names_unsure_ && server_->pipeline.owed() == 0) names_unsure_ = false;
  if ((reading_unsure_ || was_odd_) && !server_->pipeline.owes_client() && !server_->pipeline.batch_open()) {
    reading_unsure_ = false;
    was_odd_ = was_odd_ && server_->tx_status != 'I';
  }
  after_step(out);
}

void SessionCore::after_step(Actions& out) {
  if (introducing_) return;
  if (state_ == State::Linked && auditing_ && server_->settled() && server_->tx_status != 'I') {
    block_canceled_ = audit_canceled_ && server_->tx_status == 'E';
    auditing_ = audit_canceled_ = false;
    if (server_->tx_status != 'T') return;
    if (loses_start()) server_->apply_settings(wanted_, out.to_server);
    if (suspicion_ && !suspicion_->above.empty())
      server_->give_values(std::exchange(suspicion_->above, {}), out.to_server);
    return;
  }
  if (state_ != State::Linked) return;
  // What is skipped of a refused message needs no server.
  const bool over = server_->quiet() && (body_left_ == 0 || skip_body_);
  const bool early = server_->tx_status == 'I' && out.queries > 0 && PGWEIR_PLANTED(RELEASE_EARLY);
  if (!over && !early) return;
  if (proving_ && ours_failed_) {
    // Postgres has rolled our batch back, so the server is as before; the client gets Postgres's own words.
    const protocol::ErrorFields why = protocol::parse_error(*ours_failed_);
    out.to_client.own([&](std::string& bytes) { protocol::put_error(bytes, "FATAL", why); });
    out.close_client = true;
    out.reason = without_values(why.message, *wanted_);
    out.sqlstate = why.sqlstate;
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
    const bool canceled = std::exchange(audit_canceled_, false);
    if (canceled && !suspicion_) server_->dirty = true;  // while it was to close what was adopted
    if (canceled && begin_audit(out)) return;
    if (give_up_adopted(out)) return;
    if (over_budget_ != 0) return end_over_budget(out);
  } else {
    if (worked_) ++out.transactions;
    if (std::exchange(redefined_, false)) books_->statements.definitions_changed();
    out.new_starts = std::exchange(new_starts_, NewStarts{0});
    if (std::exchange(made_code_, false)) {
      // What was made may have run, too.
      out.made_code = server_->dirty = server_->temp_used = true;
      suspicion().pins |= pin::kProvable;
    }
    if (worked_ && server_->code_epoch != books_->routines.epoch()) {
      // So may what others have made meanwhile.
      server_->dirty = true;
      suspicion().pins |= pin::kProvable;
      if (!books_->routines.unsure()) server_->code_epoch = books_->routines.epoch();
    }
    worked_ = sequences_checked_ = false;
    deallocating_portals_.reset();
    if ((suspicion_ || look_first_) && begin_audit(out)) return;
  }
  wait_behind_ = look_first_ && pins_ != 0;
  if (channels_ && begin_channels(out)) return;
  if (pins_ != 0) {
    // What a RESET took away of what the client connected with.
    if (server_->applied != wanted_ && !walsender()) server_->apply_settings(wanted_, out.to_server);
    return;
  }
  // A server whose answers can no longer be counted is of no use to anybody.
  const bool useless =
      server_->pipeline.unfit() || server_->spoiled || (server_->temp_used && has_temp_buffers());
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
      if ((pins_ != 0 || suspicion_) && !PGWEIR_PLANTED(LEAVE_PINNED)) server_->dirty = true;
      unlink(left_behind(out), out);
      break;
    }
  }
  state_ = State::Closed;
}

// What becomes of the server whose client has vanished.
Actions::Server SessionCore::left_behind(Actions& out) const {
  if (PGWEIR_PLANTED(LEAVE_CLEAN)) return Actions::Server::Release;
  if (walsender()) return Actions::Server::Drop;
  const bool half_sent = body_left_ > 0 && !skip_body_;
  if (half_sent || !out.to_server.empty() || server_->spoiled || server_->pipeline.unfit())
    return Actions::Server::Drop;
  if (server_->quiet()) return Actions::Server::Release;
  return server_->pipeline.copy_in() ? Actions::Server::Drop : Actions::Server::Abandon;
}

void SessionCore::server_gone(const std::string& why, Actions& out) {
  PGWEIR_CHECK(state_ == State::Linked);
  if (walsender()) return walsender_gone(out);
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
  const bool boundary = at_boundary() || PGWEIR_PLANTED(ERROR_INSIDE_ROW);
  if (server_) unlink(Actions::Server::Drop, out);
  if (boundary) return end(error, out);
  out.reset_client = true;
  out.reason = error.message;
  state_ = State::Closed;
}

void SessionCore::canceling(const Error& why) {
  canceled_as_ = std::make_unique<std::string>();
  protocol::put_error(*canceled_as_, "ERROR", why);
}

void SessionCore::end(const Error& error, Actions& out) {
  out.to_client.own([&](std::string& bytes) { protocol::put_error(bytes, "FATAL", error); });
  out.close_client = true;
  out.reason = error.message;
  out.sqlstate = error.sqlstate;
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
  } else if (how == Actions::Server::Abandon) {
    server_->disown();
  }
  server_->introduction.reset();
  server_->apart.reset();
  server_->kept.clear();
  server_->keeps_more = false;
  server_->database_taken.clear();
  if (outgrown_) forget_outgrown();
  shrink_unnamed();
  const bool lower = server_->temp_used && guard_->inspects() && !walsender();
  server_ = nullptr;
  if (lower) lower_settings();  // what was in use there
  suspicion_.reset();
  canceled_as_.reset();
  set_pins(0);
  if (channels_) part_channels();
  over_budget_ = 0;
  auditing_ = audit_canceled_ = introducing_ = deallocating_ = outgrown_ = look_first_ = false;
}

void SessionCore::set_pins(Pins pins) {
  constexpr auto kCounted = static_cast<Pins>(~pin::kSharing);
  pin_book_->change(pins_ & kCounted, pins & kCounted);
  pins_ = pins;
  if (std::exchange(claimed_, false)) pin_book_->drop_claim();
}

void SessionCore::claim() {
  PGWEIR_CHECK(!claimed_ && (pins_ & ~pin::kSharing) == 0);
  claimed_ = true;
  pin_book_->claim();
}

// The client's, as its server has it.
Bytes SessionCore::encoding() const {
  if (wanted_->values.contains(kClientEncoding)) return wanted_->told(kClientEncoding);
  const auto began = server_->fresh->find(kClientEncoding);
  return began == server_->fresh->end() ? Bytes() : Bytes(began->second);
}

std::optional<Bytes> SessionCore::on_parameter(Bytes name, Bytes value) {
  SettingsBook& book = books_->settings;
  // No client can do that: a standby has been promoted, and may not be what is wanted any more.
  if (name == Bytes("in_hot_standby")) server_->spoiled = true;
  // Letters beyond ASCII that the session has set are known in the encoding of then only.
  if (name == kClientEncoding && !wanted_->ascii() && encoding() != value) suspicion().pins |= pin::kSettings;
  was_odd_ = was_odd_ || (pgweir::decides_reading(name) && !book.plain_sql(*wanted_));
  server_->applied = book.changed(server_->applied, name, value);
  const auto began = server_->fresh->find(name);
  const bool fresh = began != server_->fresh->end() && began->second == value;
  if (guard_->inspects()) {
    // Of whom nothing is run under it, it may be what the server began with.
    if (!reads_plainly(name, value) && book.plain_sql(*wanted_)) misread_ = true;
    // It does not follow the client.
    Findings::Setting found{std::string(name), std::string(value)};
    if (!fresh) guard_->enforce(found);
    if (found.value != value) return value;
  }
  // The default of a server is not what the client connected with. It has that again as soon as the
  // transaction has ended, and is told so now, when Postgres would.
  const bool back = set_back(name);
  const SettingsRef before = wanted_;
  wanted_ = back && fresh ? book.taken_back(wanted_, name, *started_) : book.changed(wanted_, name, value);
  if (before != wanted_ && suspicion_ && is_reading(name)) {
    if (!rereads_) forget_prepared();  // no text has shown it
    suspicion_->readings_changed = true;
  }
  if (!back) return value;
  if (before == wanted_) return std::nullopt;
  return wanted_->values.contains(name) ? Bytes(wanted_->told(name)) : value;
}

void SessionCore::on_all_discarded() {
  leave_channels();
  if (!server_->spoiled && (pins_ & pin::kSettings)) set_pins(pins_ & static_cast<Pins>(~pin::kSettings));
}

// Now for this client, at the end of its transaction for all others.
void SessionCore::on_definitions_changed(Bytes tag) {
  constexpr std::array<Bytes, 6> kCode = {"FUNCTION",  "PROCEDURE", "EXTENSION",
                                          "AGGREGATE", "OPERATOR",  "CAST"};
  const Bytes what = tag.substr(std::min(tag.size(), tag.find(' ') + 1));
  // What another role could not name it may from now on.
  made_code_ = made_code_ || tag.starts_with("GRANT") || !books_->routines.empty() ||
               std::find(kCode.begin(), kCode.end(), what) != kCode.end();
  redefined_ = true;
  books_->statements.definitions_changed();
  note_new_starts(what);
}

// The tag does not say whose. A superuser may alter all of them, others themselves and their database.
void SessionCore::note_new_starts(Bytes what) {
  const bool of_role = what == "ROLE", of_database = what == "DATABASE";
  if (!of_role && !of_database) return;
  const auto superuser = server_->fresh->find("is_superuser");
  const bool any = superuser != server_->fresh->end() && superuser->second == "on";
  const NewStarts own = of_role ? starts::kOfUser : starts::kOfDatabase;
  new_starts_ = static_cast<NewStarts>(new_starts_ | (any ? starts::kOfAll : own));
}

bool SessionCore::on_ours_failed(Bytes error_body) {
  if (auditing_ && protocol::parse_error(error_body).sqlstate == sqlstate::kQueryCanceled) {
    audit_canceled_ = true;
    return true;
  }
  // What only a superuser may ask for. Who else has set it is a function of such a one's: it does not follow.
  if (auditing_ && suspicion_ && server_->tx_status == 'I' && suspicion_->doubts(server_->refused_name) &&
      !server_->refused_name.empty() &&
      protocol::parse_error(error_body).sqlstate == sqlstate::kInsufficientPrivilege) {
    suspicion_->hidden.push_back(std::exchange(server_->refused_name, {}));
    server_->dirty = audit_canceled_ = true;
    return true;
  }
  if (!ours_failed_) ours_failed_ = std::make_unique<std::string>(error_body);
  return proving_ && !server_->keeps_others;
}

void SessionCore::on_applied(const SettingsMap& before) {
  if (!introducing_ && !proving_) return;
  for (const auto& [name, value] : before.values)
    if (!wanted_->values.contains(name)) books_->settings.mark_returned(name);
}

}  // namespace pgweir
