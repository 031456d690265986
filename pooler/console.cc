#include "pooler/console.h"

#include <fmt/format.h>

#include <algorithm>
#include <optional>
#include <utility>

#include "pooler/console_columns.h"
#include "pooler/console_state.h"
#include "pooler/console_told.h"
#include "pooler/repeats.h"
#include "protocol/frame.h"
#include "protocol/messages.h"
#include "protocol/secret.h"

namespace pgweir {

using console::Action;
using console::Request;
using console::Role;

namespace {

constexpr std::size_t kKeyBytes = 4;
constexpr std::size_t kUnsentMax = 64 << 10;  // whatever comes next waits until what there is has gone
constexpr std::size_t kPiece = 32 << 10;      // of rows, that are written in one turn of the loop
constexpr unsigned kMessagesAtOnce = 100;     // that are dealt with in one turn

// Outcomes of a command in the log; others are SQLSTATEs.
constexpr std::string_view kDone = "ok", kClientGone = "client gone";
constexpr std::string_view kUnread = "(unread)";  // the command of a text that is not understood

std::uint32_t message_limit(char type) {
  const std::uint32_t limit = protocol::client_message_limit(type);
  return std::min<std::uint32_t>(limit, ConsoleSession::kQueryMax);
}

}  // namespace

bool is_console_database(Bytes name) { return name == "pgweir" || name == "pgbouncer"; }

ConsoleSession::ConsoleSession(Worker& worker, std::unique_ptr<net::Stream> stream,
                               const protocol::Startup& startup, ConsoleBy by)
    : state_(std::make_shared<State>(worker, std::move(stream), startup, by)) {
  state_->stream->set_handler(*this);
}

ConsoleSession::~ConsoleSession() = default;

void ConsoleSession::start(Bytes held) {
  state_->greet();
  if (!held.empty()) on_bytes(held);
}

void ConsoleSession::end() {
  state_->close({sqlstate::kAdminShutdown, "terminating connection: the pooler is shutting down", {}, {}});
}

const std::string& ConsoleSession::user() const { return state_->user; }
const std::string& ConsoleSession::database() const { return state_->database_asked; }
const std::string& ConsoleSession::application_name() const { return state_->application_name; }
const net::Stream& ConsoleSession::stream() const { return *state_->stream; }
Time ConsoleSession::connected_at() const { return state_->connected_at; }
Time ConsoleSession::requested_at() const { return state_->requested_at; }
std::uint32_t ConsoleSession::id() const { return state_->id; }
bool ConsoleSession::cancel_key_is(Bytes key) const {
  return protocol::equal_secret(key, state_->cancel_key);
}
void ConsoleSession::cancel() {
  state_->canceled = state_->running;
  if (state_->running) state_->call_off_move();
}

void ConsoleSession::on_bytes(Bytes in) {
  if (state_->closing) return;
  state_->held.append(in);
  state_->pump();
}

void ConsoleSession::on_drained() {
  if (state_->closing) return;
  if (!state_->sending.empty()) return state_->send_more();
  state_->next();
  state_->pump();
}

void ConsoleSession::on_closed(const net::Closed&) {
  state_->closing = true;
  if (state_->running) state_->audit(state_->requests.front(), kClientGone);
  state_->worker.console_ended(*this);
}

void ConsoleSession::State::greet() {
  std::string out;
  const std::pair<const char*, std::string> parameters[] = {
      {"server_version", version()},
      {"client_encoding", "UTF8"},
      {"server_encoding", "UTF8"},
      {"DateStyle", "ISO"},
      {"TimeZone", "UTC"},
      {"standard_conforming_strings", "on"},
      {"is_superuser", role() == Role::Admin ? "on" : "off"}};
  for (const auto& [name, value] : parameters) protocol::put_parameter_status(out, name, value);
  cancel_key.resize(kKeyBytes);
  worker.rng().fill(cancel_key.data(), cancel_key.size());
  protocol::put_backend_key(out, id, cancel_key);
  protocol::put_ready(out, tx_status);
  stream->write(out);
}

Role ConsoleSession::State::role() const {
  const Snapshot& snapshot = worker.snapshot();  // a reload may have taken it away
  if (snapshot.is_admin(user) || (by == ConsoleBy::Peer && snapshot.config().console_peer))
    return Role::Admin;
  return snapshot.is_console_user(user) ? Role::Stats : Role::None;
}

void ConsoleSession::State::pump() {
  std::size_t used = 0;
  unsigned messages = 0;
  while (!closing && !turn_over && requests.empty() && stream->unsent() <= kUnsentMax &&
         held.size() - used >= protocol::kHeaderBytes) {
    if (++messages > kMessagesAtOnce) {
      end_turn();
      break;
    }
    const Bytes rest = Bytes(held).substr(used);
    protocol::Frame frame;
    if (!protocol::read_header(rest, message_limit, frame)) {
      const bool long_query = message_limit(frame.type) == kQueryMax && frame.size > kQueryMax;
      violation(long_query ? "a query of the console has at most 64 kB" : "unknown message or length");
      break;
    }
    if (rest.size() < frame.size) break;
    used += frame.size;
    message(frame.type, rest.substr(protocol::kHeaderBytes, frame.size - protocol::kHeaderBytes));
  }
  held.erase(0, used);
  if (closing || reads_paused == (held.size() > kQueryMax + protocol::kHeaderBytes)) return;
  reads_paused = !reads_paused;
  if (reads_paused)
    stream->pause_reads();
  else
    stream->resume_reads();
}

void ConsoleSession::State::message(char type, Bytes body) {
  std::string out;
  requested_at = worker.loop().now();
  if (type == 'X') {
    closing = true;
    return stream->close();
  }
  if (type == 'S') {
    skip_to_sync = false;
    portals.sync(tx_status == 'T');
    protocol::put_ready(out, tx_status);
    return stream->write(out);
  }
  if (skip_to_sync || type == 'H') return;
  if (type == 'Q') {
    protocol::Reader reader(body);
    const Bytes text = reader.c_string();
    if (!reader.ok() || !reader.empty()) return violation("malformed Query message");
    return query(text);
  }
  Expected<void> good;
  switch (type) {
    case 'P': good = portals.parse(body, out); break;
    case 'B': good = portals.bind(body, out); break;
    case 'D': good = portals.describe(body, out); break;
    case 'C': good = portals.close(body, out); break;
    case 'E': return execute(body);
    case 'F': return refuse_call();
    default: return violation("a message that has no place here");
  }
  if (!good) return failed_batch(Request{}, good.error());
  stream->write(out);
}

void ConsoleSession::State::execute(Bytes body) {
  std::string out;
  auto request = portals.execute(body, out);
  if (!request) return failed_batch(Request{}, request.error());
  if (!*request) return stream->write(out);
  extended = true;
  requests.push_back(std::move(**request));
  next();
}

void ConsoleSession::State::refuse_call() {
  std::string out;
  protocol::put_error(out, "ERROR",
                      Error{sqlstate::kFeatureNotSupported, "the console has no functions to call", {}, {}});
  protocol::put_ready(out, tx_status);
  stream->write(out);
}

void ConsoleSession::State::failed_batch(const Request& request, const Error& error) {
  audit(request, error.sqlstate);
  std::string out;
  protocol::put_error(out, "ERROR", error);
  skip_to_sync = true;
  stream->write(out);
}

// What only administrators may order is logged whatever log.level says, as it leaves no other trace; and what
// one of them says, however often (see Repeats).
void ConsoleSession::State::audit(const Request& request, std::string_view outcome) {
  const std::string_view command = request.command ? request.command->words : kUnread;
  const std::string argument = console::told_argument(request);
  const net::Peer peer = stream->peer();
  Log& log = worker.log();
  if (log.enabled(LogLevel::Info) || (request.command && request.command->least == Role::Admin))
    log.write(LogLevel::Info, "console_command",
              {{"user", user},
               {"role", role() == Role::Admin ? Repeats::kAdmin : std::string_view("stats")},
               {"addr", peer.host},
               {"port", peer.port},
               {"client", id},
               {"command", command},
               {"argument", argument},
               {"outcome", outcome}});
  AuditStream* const trail = worker.audit();
  if (!trail) return;
  const bool good = outcome == kDone, gone = outcome == kClientGone;
  trail->record(AuditEvent::ConsoleCommand,
                good   ? AuditOutcome::Success
                : gone ? AuditOutcome::Unknown
                       : AuditOutcome::Failure,
                {{AuditKey::User, user},
                 {AuditKey::Address, peer.host},
                 {AuditKey::Port, peer.port},
                 {AuditKey::Client, id},
                 {AuditKey::Command, command},
                 {AuditKey::Argument, argument},
                 {AuditKey::Reason, gone ? outcome : ""},
                 {AuditKey::Sqlstate, good || gone ? "" : outcome}});
}

void ConsoleSession::State::query(Bytes text) {
  auto parsed = console::parse(text, console::shape);
  std::string out;
  if (!parsed) {
    audit(Request{}, parsed.error().sqlstate);
    protocol::put_error(out, "ERROR", parsed.error());
  } else if (parsed->empty()) {
    protocol::Writer(out, 'I');  // EmptyQueryResponse
  } else {
    requests.assign(std::make_move_iterator(parsed->begin()), std::make_move_iterator(parsed->end()));
    return next();
  }
  protocol::put_ready(out, tx_status);
  stream->write(out);
}

// Runs the front request, unless one runs already or the client has not taken what there is.
void ConsoleSession::State::next() {
  if (running || turn_over || requests.empty() || stream->unsent() > kUnsentMax) return;
  running = true;
  canceled = false;
  moving_home = nullptr;
  run(requests.front());
}

void ConsoleSession::State::show(std::string table) {
  done(console::selected(std::move(table), requests.front().places));
}

// `result`: rows and notices.
void ConsoleSession::State::done(std::string result) {
  const Request request = std::move(requests.front());
  requests.pop_front();
  running = false;
  audit(request, kDone);
  std::string out;
  if (std::exchange(extended, false)) {
    portals.ran(std::move(result), out);
  } else {
    out = std::move(result);
    protocol::put_command_complete(out, request.command->tag);
    if (requests.empty()) protocol::put_ready(out, tx_status);
  }
  send(std::move(out));
}

// Megabytes take the system a while, and who else is on this loop is not to wait for that.
void ConsoleSession::State::send(std::string answer) {
  turn_over = true;
  sending = std::move(answer);
  sent = 0;
  send_more();
}

// Whole messages, so that close() may say why at any time.
void ConsoleSession::State::send_more() {
  const Bytes rest = Bytes(sending).substr(sent);
  std::size_t size = 0;
  while (size < rest.size() && size < kPiece) size += console::size_of_first(rest.substr(size));
  sent += size;
  stream->write(rest.substr(0, size));
  if (sent == sending.size()) {
    sending.clear();
    sending.shrink_to_fit();
    return end_turn();
  }
  if (stream->unsent() == 0) worker.loop().post(if_here([](State& state) { state.send_more(); }));
}

void ConsoleSession::State::failed(const Error& error) {
  const Request request = std::move(requests.front());
  requests.clear();
  running = false;
  if (std::exchange(extended, false)) {
    failed_batch(request, error);
  } else {
    audit(request, error.sqlstate);
    std::string out;
    protocol::put_error(out, "ERROR", error);
    protocol::put_ready(out, tx_status);
    stream->write(out);
  }
  end_turn();
}

void ConsoleSession::State::end_turn() {
  turn_over = true;
  worker.loop().post(if_here([](State& state) {
    state.turn_over = false;
    state.next();
    state.pump();
  }));
}

void ConsoleSession::State::violation(const char* what) {
  close({sqlstate::kProtocolViolation, fmt::format("protocol violation: {}", what), {}, {}});
}

void ConsoleSession::State::close(const Error& error) {
  if (closing) return;
  closing = true;
  std::string out;
  protocol::put_error(out, "FATAL", error);
  stream->write(out);
  stream->close();
}

}  // namespace pgweir
