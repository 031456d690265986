#include "tests/sim/model_backend.h"

#include <algorithm>
#include <chrono>
#include <utility>

#include "protocol/frame.h"
#include "protocol/messages.h"
#include "protocol/secret.h"
#include "tests/sim/model_postgres.h"

namespace pgweir::sim {

using protocol::kHeaderBytes;

namespace {
constexpr std::size_t kUnsentMost = 32 << 10;  // then a real backend would block in send
constexpr unsigned kAskingPercent = 40;
// A Bind of what the pooler asks when a transaction has ended.
bool asks(Bytes bind) {
  constexpr Bytes kQuestions[] = {"value", "origin", "temp", "cursors", "locks", "listens", "statements"};
  const Bytes statement = bind.substr(std::min(bind.size(), bind.find('\0') + 1));
  return std::any_of(std::begin(kQuestions), std::end(kQuestions), [statement](Bytes question) {
    return statement.starts_with("pgweir_" + std::string(question) + '\0');
  });
}
std::uint32_t auth_limit(char type) { return type == 'p' ? protocol::kMaxAuthMessage : 0; }
}  // namespace

ModelBackend::ModelBackend(ModelPostgres& postgres, std::unique_ptr<net::Stream> stream, std::uint32_t pid)
    : postgres_(postgres), stream_(std::move(stream)), pid_(pid), since_(postgres.world.now()) {
  key_.resize(4);
  protocol::store_u32(key_.data(), static_cast<std::uint32_t>(postgres.world.rng().u64()));
  stream_->set_handler(*this);
}

void ModelBackend::violation(const std::string& what) const {
  postgres_.world.violation("backend " + std::to_string(pid_) + " (" + where_ + "): " + what);
}

void ModelBackend::on_bytes(Bytes in) {
  if (state_ == State::Ended) {
    // After Terminate there is nothing more to say; in other ends the peer may not know yet.
    if (looked_at_ == 1) violation("bytes after Terminate");
    return;
  }
  if (postgres_.frozen()) {
    if (!in.empty()) unheard_since_ = std::min(unheard_since_, postgres_.world.now());
    return;
  }
  in_.append(in);
  look_at_arrivals();
  pump();
}

// Checks messages as they come, before their turn: a request for one client must not queue behind another's.
void ModelBackend::look_at_arrivals() {
  while (state_ == State::Ready && in_.size() - looked_at_ >= kHeaderBytes) {
    const Bytes rest = Bytes(in_).substr(looked_at_);
    protocol::Frame frame;
    if (!protocol::read_header(rest, protocol::client_message_limit, frame))
      return violation("malformed message from the pooler");
    if (rest.size() < frame.size) return;
    // What was committed by now is told before the next request is looked at.
    if (state_ == State::Ready && session_->at_rest()) tell_notifications();
    looked_at_ += frame.size;
    const Token token = token_in(rest.substr(kHeaderBytes, frame.size - kHeaderBytes));
    const int owner = token.client;
    // A batch that has no Sync yet goes on, whatever came between.
    const bool goes_on = std::string_view("PBDECH").find(last_type_) != std::string_view::npos;
    last_type_ = frame.type;
    std::string shown(rest.substr(kHeaderBytes, std::min<std::size_t>(frame.size - kHeaderBytes, 40)));
    for (char& c : shown) c = c >= 32 && c < 127 ? c : '.';
    postgres_.world.trace("backend {} gets {} {}", pid_, frame.type, shown);
    if (owner < 0) continue;
    if (postgres_.standby())
      return violation("a request of client " + std::to_string(owner) + " on a standby");
    if (owner_ >= 0 && owner_ != owner)
      return violation("a request of client " + std::to_string(owner) + " while client " +
                       std::to_string(owner_) + " is still owed an answer");
    if (owner_ < 0) owner_since_ = postgres_.world.now();
    const bool begins = std::exchange(owner_, owner) < 0;
    owner_serial_ = token.serial;
    postgres_.on_request(owner, token.serial, where_);
    if (!std::exchange(served_, true)) postgres_.check_served(where_);
    if (begins && !goes_on) postgres_.check_working(owner);
  }
}

bool ModelBackend::working() const {
  return state_ == State::Ready && owner_ >= 0 && postgres_.oracle.is_current(owner_, owner_serial_);
}

void ModelBackend::notified(std::uint32_t by, const PgSession::Notified& notified) {
  if (state_ != State::Ready) return;
  notifications_.emplace_back(by, notified);
  postgres_.world.after(postgres_.world.between(Duration(0), Duration(2'000)), &postgres_.loop(),
                        [&postgres = postgres_, pid = pid_] {
                          ModelBackend* backend = postgres.find(pid);
                          if (!backend || backend->state_ != State::Ready || !backend->session_->at_rest())
                            return;
                          backend->tell_notifications();
                          backend->flush_answers();
                        });
}

// What is no longer listened to is lost.
void ModelBackend::tell_notifications() {
  for (; !notifications_.empty(); notifications_.pop_front())
    if (session_->listens_to(notifications_.front().second.channel))
      session_->notify(notifications_.front().first, notifications_.front().second);
}

void ModelBackend::check_held() const {
  const auto check = [&](Duration most, Duration took, const char* what) {
    if (most.count() > 0 && owner_ >= 0 && held() && took > most)
      violation(what + std::string(" of client ") + std::to_string(owner_) + " took " +
                std::to_string(took.count() / 1000) + " ms");
  };
  check(postgres_.options().held_most, postgres_.world.now() - owner_since_, "a transaction");
  check(postgres_.options().statement_most, postgres_.world.now() - busy_since_, "a statement");
}

void ModelBackend::check_traces(int owner) const {
  if (owner < 0) return;
  for (const auto& [name, value] : session_->traces())
    if (owner_of(value) != owner)
      violation("client " + std::to_string(owner) + " finds " + name + " = " + value);
}

void ModelBackend::later(Duration delay) {
  waits_ = true;
  postgres_.world.after(delay, &postgres_.loop(), [&postgres = postgres_, pid = pid_] {
    ModelBackend* backend = postgres.find(pid);
    if (!backend || !backend->waits_ || postgres.frozen()) return;
    backend->waits_ = false;
    if (backend->session_ && backend->session_->busy()) {
      backend->check_held();
      backend->session_->resume();
      backend->flush_answers();
    }
    backend->pump();
  });
}

void ModelBackend::pump() {
  while (!postgres_.frozen() && !waits_ && state_ != State::Ended) {
    if (stream_ && stream_->unsent() > kUnsentMost) return;
    if (state_ == State::Ready && session_->busy())
      return later(std::chrono::milliseconds(session_->sleep_ms()) +
                   postgres_.world.between(Duration(1), Duration(200)));
    if (state_ == State::First) {
      const auto size = protocol::first_packet_size(in_);
      if (!size) return violation("malformed first packet");
      if (*size == 0 || in_.size() < *size) break;
      first_packet();
      continue;
    }
    if (in_.size() < kHeaderBytes) break;
    protocol::Frame frame;
    if (!protocol::read_header(in_, state_ == State::Ready ? protocol::client_message_limit : auth_limit,
                               frame))
      return violation("malformed message from the pooler");
    if (in_.size() < frame.size) break;
    const std::string message = in_.substr(0, frame.size);
    in_.erase(0, frame.size);
    const Bytes body = Bytes(message).substr(kHeaderBytes);
    if (state_ != State::Ready) {
      password(body);
      continue;
    }
    looked_at_ -= frame.size;
    if (frame.type == 'X') {
      if (!in_.empty()) return violation("bytes after Terminate");
      end_session();
      looked_at_ = 1;  // see on_bytes
      if (stream_) stream_->close();
      break;
    }
    // The pooler's own request to replace what is there is not yet the client's.
    if (frame.type != 'B' || body.find("pgweir_set") == Bytes::npos) check_traces(owner_of(body));
    session_->message(frame.type, body);
    asking_ = frame.type == 'B' && asks(body) && !session_->at_rest();
    busy_since_ = postgres_.world.now();
    flush_answers();
    // A question takes long enough to be canceled.
    if (postgres_.world.chance(asking_ ? kAskingPercent : postgres_.options().dawdle_percent))
      later(postgres_.world.between(Duration(5), Duration(asking_ ? 5'000 : 1'500)));
  }
  // The client is gone and all that it has sent is done.
  if (!stream_ && !waits_) postgres_.ended(*this);
}

void ModelBackend::flush_answers() {
  std::string out;
  for (Answer& answer : session_->take_answers()) out += answer.bytes;
  for (const std::string& row : session_->take_committed()) postgres_.oracle.executed(row, true);
  for (const std::string& row : session_->take_aborted()) postgres_.oracle.executed(row, false);
  if (stream_ && !out.empty()) stream_->write(Bytes(out));
  if (!in_.empty() || !session_->at_rest()) return;
  if (owner_ >= 0) postgres_.on_worked(owner_, owner_since_);
  owner_ = -1;
  if (const std::size_t kept = session_->shared_statements(); kept > postgres_.options().statements_most)
    violation("the pooler keeps " + std::to_string(kept) + " statements there, allowed are " +
              std::to_string(postgres_.options().statements_most));
  if (!session_->temp().empty()) postgres_.check_temps();
}

Token ModelBackend::kept_for() const {
  if (state_ != State::Ready || !held() || !session_->at_rest()) return {};
  const std::string temp = session_->temp();
  return temp.empty() ? Token{} : token_in(temp);
}

void ModelBackend::cancel() {
  if (state_ != State::Ready) return;
  // What is executed next is a question of the pooler's.
  const bool asking = waits_ && asking_;
  if (!asking && (!session_->busy() || session_->stubborn())) return;
  // Whoever did not ask for it will complain of the 57014. Not here: the pooler also cancels for a client
  // whose connection has broken, which that client may learn later.
  postgres_.world.trace("backend {} is canceled{}", pid_, asking ? " while it is asked" : "");
  waits_ = false;
  session_->cancel();
  flush_answers();
  pump();
}

void ModelBackend::die() {
  end_session();
  if (stream_) stream().die();
}

void ModelBackend::terminate(const char* sqlstate, const char* why) {
  if (state_ == State::Ended) return;
  refuse(sqlstate, why);
}

void ModelBackend::refuse(const std::string& sqlstate, const std::string& why) {
  protocol::ErrorFields fields;
  fields.severity = "FATAL";
  fields.sqlstate = sqlstate;
  fields.message = why;
  std::string out;
  protocol::put_error(out, "FATAL", fields);
  end_session();
  if (!stream_) return;
  stream_->write(Bytes(out));
  stream_->close();
}

void ModelBackend::end_session() {
  state_ = State::Ended;
  looked_at_ = 0;
  waits_ = false;
  in_.clear();
}

void ModelBackend::on_closed(const net::Closed&) {
  stream_.reset();
  if (postgres_.frozen()) return;
  // A backend that is at work, or has more to read, may finish that before it notices.
  const bool goes_on =
      state_ == State::Ready && (session_->busy() || !in_.empty()) && postgres_.world.chance(50);
  if (!goes_on) return postgres_.ended(*this);
  if (!waits_) pump();
}

void ModelBackend::first_packet() {
  const std::size_t size = *protocol::first_packet_size(in_);
  auto packet = protocol::parse_first_packet(Bytes(in_).substr(0, size));
  if (!packet) return violation("malformed first packet: " + packet.error().message);
  in_.erase(0, size);
  if (std::holds_alternative<protocol::SslRequest>(*packet) ||
      std::holds_alternative<protocol::GssRequest>(*packet)) {
    stream_->write(Bytes("N"));
  } else if (const auto* cancel = std::get_if<protocol::CancelRequest>(&*packet)) {
    const std::uint32_t pid = cancel->pid;
    const std::string key = cancel->key;
    end_session();
    // Real ones take a moment, too, and close afterwards.
    postgres_.world.after(postgres_.world.between(Duration(10), Duration(3'000)), &postgres_.loop(),
                          [&postgres = postgres_, pid, key, self = pid_] {
                            postgres.cancel(pid, key);
                            if (ModelBackend* left = postgres.find(self); left && left->stream_)
                              left->stream_->close();
                          });
  } else {
    start_up(std::get<protocol::Startup>(*packet));
  }
}

void ModelBackend::start_up(const protocol::Startup& startup) {
  user_ = startup.user;
  where_ = startup.database + "/" + startup.user;
  for (const auto& [name, value] : startup.settings) settings_[name] = value;
  if (!postgres_.options().databases.empty() && !postgres_.options().databases.contains(startup.database))
    return refuse("3D000", "database \"" + startup.database + "\" does not exist");
  ask_password();
}

void ModelBackend::ask_password() {
  std::string out;
  switch (postgres_.options().auth) {
    case ModelPostgres::Auth::Trust: return welcome();
    case ModelPostgres::Auth::Password:
      state_ = State::Password;
      protocol::put_auth(out, protocol::AuthRequest::CleartextPassword);
      break;
    case ModelPostgres::Auth::Md5:
      state_ = State::Password;
      salt_ = "salt";
      protocol::put_auth(out, protocol::AuthRequest::Md5Password, salt_);
      break;
    case ModelPostgres::Auth::Scram:
      state_ = State::SaslFirst;
      protocol::put_auth(out, protocol::AuthRequest::Sasl, Bytes("SCRAM-SHA-256\0\0", 15));
      break;
  }
  stream_->write(Bytes(out));
}

void ModelBackend::password(Bytes body) {
  const auto& users = postgres_.options().users;
  const auto found = users.find(user_);
  const auto wrong = [this] { refuse("28P01", "password authentication failed for user \"" + user_ + "\""); };
  if (found == users.end()) return wrong();
  const ModelPostgres::User& user = found->second;
  std::string out;
  if (state_ == State::Password) {
    const std::string given(body.substr(0, body.find('\0')));
    const std::string right =
        salt_.empty() ? user.password
                      : protocol::md5_response(protocol::md5_hash_user(user.password, user_), salt_);
    return given == right ? welcome() : wrong();
  }
  if (state_ == State::SaslFirst) {
    protocol::Reader in(body);
    if (in.c_string() != "SCRAM-SHA-256") return violation("unknown SASL mechanism");
    const std::uint32_t size = in.u32();
    scram_.emplace(user.verifier, "nonce" + std::to_string(pid_));
    auto first = scram_->client_first(in.bytes(size));
    if (!first) return violation("SCRAM: " + first.error().message);
    protocol::put_auth(out, protocol::AuthRequest::SaslContinue, *first);
    state_ = State::SaslFinal;
    stream_->write(Bytes(out));
    return;
  }
  auto final = scram_->client_final(body);
  if (!final) return wrong();
  protocol::put_auth(out, protocol::AuthRequest::SaslFinal, *final);
  stream_->write(Bytes(out));
  welcome();
}

void ModelBackend::welcome() {
  if (const std::string no = postgres_.may_log_in(*this); !no.empty())
    return refuse(no,
                  no == "53300" ? "sorry, too many clients already" : "the database system is starting up");
  if (const auto bad = PgSession::bad_setting(settings_)) return refuse("22023", *bad);
  session_.emplace(PgSession::Identity{where_, pid_}, settings_);
  session_->share(postgres_.tables);
  session_->idle = [this] {
    for (const PgSession::Notified& each : session_->take_notified()) postgres_.notify(*this, each);
    tell_notifications();
  };
  session_->in_recovery = [this] { return postgres_.standby(); };
  session_->terminate = [this](std::uint32_t pid) {
    if (!postgres_.is_side(where_)) violation("ends another process without the side role");
    return postgres_.terminate(pid);
  };
  state_ = State::Ready;
  std::string out;
  protocol::put_auth(out, protocol::AuthRequest::Ok);
  for (const auto& [name, value] : session_->reported()) protocol::put_parameter_status(out, name, value);
  for (const auto& [name, value] : postgres_.role_told()) protocol::put_parameter_status(out, name, value);
  protocol::put_backend_key(out, pid_, key_);
  protocol::put_ready(out, 'I');
  stream_->write(Bytes(out));
  look_at_arrivals();
}

}  // namespace pgweir::sim
