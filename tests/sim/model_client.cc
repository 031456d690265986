#include "tests/sim/model_client.h"

#include <algorithm>
#include <chrono>
#include <utility>

#include "pooler/base/check.h"
#include "protocol/frame.h"
#include "protocol/messages.h"
#include "protocol/secret.h"
#include "tests/sim/stage.h"

namespace pgweir::sim {

namespace {
constexpr Duration kPatience =
    std::chrono::seconds(40);                           // then it gives its connection up, where it may break
constexpr Duration kDrains = std::chrono::seconds(19);  // a bit less than shutdown_timeout
constexpr Duration kArrives = std::chrono::milliseconds(30);  // what was sent so long ago is with the pooler
constexpr Duration kOutrage = std::chrono::seconds(200);      // no request may hang for longer
constexpr std::uint32_t kMessageMost = 1 << 28;

std::string printable(Bytes text) {
  std::string out;
  for (const char c : text.substr(0, 160)) out += c >= 32 && c < 127 ? c : '.';
  return out;
}
}  // namespace

// Asks for a cancel on a connection of its own.
class ModelClient::CancelConnection final : public net::Handler {
 public:
  explicit CancelConnection(ModelClient& client) : client_(client) {
    protocol::put_cancel_request(packet_, client.cancel_pid_, client.cancel_key_);
    stream_ = client.loop_.connect(client.plan_.to, *this, {});
    client.world_.after(kPatience, &client.loop_, [&network = client.loop_.network(), id = id()] {
      if (SimStream* left = network.find(id); left && left->state() != SimStream::State::Dead) left->reset();
    });
  }

 private:
  std::uint64_t id() const { return static_cast<SimStream&>(*stream_).id(); }
  void on_connected() override { stream_->write(Bytes(packet_)); }
  void on_bytes(Bytes) override { client_.violation("a cancel request was answered"); }
  void on_closed(const net::Closed&) override {
    auto& all = client_.cancels_;
    all.erase(std::find_if(all.begin(), all.end(), [this](const auto& each) { return each.get() == this; }));
  }
  ModelClient& client_;
  std::string packet_;
  std::unique_ptr<net::Stream> stream_;
};

ModelClient::ModelClient(World& world, SimLoop& loop, Oracle& oracle, Notifications& notifications, Plan plan)
    : world_(world),
      loop_(loop),
      oracle_(oracle),
      notifications_(notifications),
      plan_(std::move(plan)),
      script_(world, oracle, plan_.manners, plan_.id),
      steps_left_(plan_.steps) {}

ModelClient::~ModelClient() = default;

std::string ModelClient::describe() const {
  const char* const names[] = {"Off", "Connecting", "Login", "Running", "Leaving", "Done"};
  std::string text = fmt::format("client {} ({}@{}) is {}, {} steps left, {} requests unanswered", plan_.id,
                                 plan_.user, plan_.database, names[static_cast<int>(state_)], steps_left_,
                                 pending_.size() + expected_.size());
  if (!expected_.empty()) text += ", expects " + printable(expected_.front().bytes);
  if (!pending_.empty())
    text += ", asked " + std::string(1, pending_.front().first) + " " + printable(pending_.front().second);
  return text;
}

void ModelClient::violation(const std::string& what) const { world_.violation(what + "\n  " + describe()); }

void ModelClient::later(Duration delay, void (ModelClient::*what)()) {
  world_.after(delay, &loop_, [this, what, epoch = epoch_] {
    if (epoch == epoch_) (this->*what)();
  });
}

void ModelClient::start(Duration after) { later(after, &ModelClient::connect); }

void ModelClient::connect() {
  state_ = State::Connecting;
  ++epoch_;
  ++connections_;
  in_.clear();
  pending_.clear();
  expected_.clear();
  phases_.clear();
  told_.clear();
  owed_.clear();
  ended_by_.clear();
  scram_.reset();
  awaiting_ = false;
  channels_.clear();
  block_pid_.clear();
  in_block_ = false;
  session_.emplace(PgSession::Identity{plan_.where, 0}, plan_.settings);
  oracle_.connected(plan_.id, script_.serial() + 1);
  if (plan_.door) plan_.door->comes(plan_.tenant, plan_.id);
  seen_at_.clear();
  connecting_since_ = world_.now();
  stream_ = loop_.connect(plan_.to, *this, {});
  waiting_since_ = world_.now();
  watch();
}

void ModelClient::seen_at(const std::string& where, std::uint64_t serial) {
  if (!oracle_.is_current(plan_.id, serial) || where == seen_at_) return;
  if (!seen_at_.empty()) violation("works in " + where + ", and worked in " + seen_at_ + " before");
  if (!plan_.led_to(where, connecting_since_))
    violation("works in " + where + ", where its tenant has not been since it came");
  seen_at_ = where;
  if (session_) session_->be_at(where);
}

// Looks every few seconds whether this connection hangs.
void ModelClient::watch() {
  if (state_ == State::Connecting || state_ == State::Login || awaiting_) {
    const Duration waited = world_.now() - waiting_since_;
    if (waited > kOutrage) violation("a request was not answered for 200 s");
    if (waited > kPatience && plan_.may_break) {
      stream_->reset();
      return;
    }
  }
  later(std::chrono::seconds(5), &ModelClient::watch);
}

bool ModelClient::pending_says(const char* word) const {
  return std::any_of(pending_.begin(), pending_.end(),
                     [word](const auto& each) { return each.second.find(word) != std::string::npos; });
}

void ModelClient::heard(Bytes body) {
  protocol::Reader in(body);
  in.u32();
  const std::string channel(in.c_string());
  const std::string payload(in.c_string());
  // Prepared by name, a text may be about to run that is not in sight.
  const bool may = channels_.contains(channel) || session_->listens_to(channel) || pending_says("listen");
  notifications_.heard(plan_.id, channel, payload, may);
  if (session_->tx_status() != 'I') violation("hears inside a transaction: " + payload);
}

void ModelClient::on_connected() {
  state_ = State::Login;
  std::string out;
  protocol::Settings settings(plan_.settings.begin(), plan_.settings.end());
  protocol::put_startup(out, protocol::kVersion30, plan_.user, plan_.database, settings);
  stream_->write(Bytes(out));
  if (!plan_.eager || !plan_.must_fail.empty()) return;
  // The first request comes before anybody has said that it is welcome.
  Phase early = std::move(script_.sign_of_life().front());
  send(early);
  awaiting_ = true;
}

void ModelClient::on_bytes(Bytes in) {
  in_.append(in);
  while (state_ == State::Login || state_ == State::Running) {
    if (in_.size() < protocol::kHeaderBytes) break;
    const std::uint32_t length = protocol::load_u32(in_.data() + 1);
    if (length < 4 || length > kMessageMost) violation("malformed message: " + printable(in_));
    if (in_.size() < length + 1) break;
    const std::string message = in_.substr(0, length + 1);
    in_.erase(0, length + 1);
    if (!ended_by_.empty()) violation("a message behind a FATAL error: " + printable(message));
    world_.trace("client {} is told {} {}", plan_.id, message[0], printable(Bytes(message).substr(5, 40)));
    const Bytes body = Bytes(message).substr(protocol::kHeaderBytes);
    if (message[0] == 'E' && protocol::parse_error(body).severity == "FATAL") {
      fatal(body);
    } else if (state_ == State::Login) {
      login_message(message[0], body);
    } else {
      answer(message);
    }
  }
}

void ModelClient::fatal(Bytes body) {
  const protocol::ErrorFields fields = protocol::parse_error(body);
  ended_by_ = fields.sqlstate;
  if (fields.sqlstate == plan_.must_fail && state_ == State::Login) return;
  if (fields.sqlstate == "57P01" && state_ == State::Running && awaiting_ && drains_since_ != kNever &&
      waiting_since_ + kArrives < drains_since_ && world_.now() < drains_since_ + kDrains)
    violation("had asked before the pooler was told to end, and was turned away");
  if (plan_.suspended && fields.message.find("is suspended") != std::string::npos) {
    // Who is in the middle of its login may be one of those that are closed.
    if (fields.sqlstate != "57P01" && (fields.sqlstate != "28000" || state_ != State::Login))
      violation("FATAL " + fields.sqlstate + " " + fields.message);
    if (fields.message.find(kSuspendedFor) == std::string::npos)
      violation("is not told why: " + fields.message);
    if (in_block_) violation("its tenant was suspended inside of its transaction, which was cut off");
    return;
  }
  if (plan_.door && fields.sqlstate == "53300" && state_ == State::Login)
    plan_.door->turned_away(plan_.tenant, plan_.id);
  if (!plan_.may_fail.contains(fields.sqlstate)) violation("FATAL " + fields.sqlstate + " " + fields.message);
}

void ModelClient::login_message(char type, Bytes body) {
  protocol::Reader in(body);
  switch (type) {
    case 'R': return authenticate(body);
    case 'N': return;
    case 'S': {
      const std::string name(in.c_string());
      told_[name] = in.c_string();
      return;
    }
    case 'K':
      cancel_pid_ = in.u32();
      cancel_key_ = in.rest();
      return;
    case 'Z':
      if (plan_.suspended && plan_.suspended(waiting_since_))
        violation("was let in, though its tenant has been suspended since before it came");
      if (!plan_.must_fail.empty()) violation("was let in, " + plan_.must_fail + " expected");
      for (const auto& [name, value] : session_->reported())
        if (told_[name] != value)
          violation("was told at login that " + name + " is '" + told_[name] + "', not '" + value + "'");
      if (cancel_key_.empty()) violation("no BackendKeyData");
      state_ = State::Running;
      if (plan_.door) plan_.door->let_in(plan_.tenant, plan_.id);
      if (const Duration waited = world_.now() - waiting_since_;
          plan_.welcome_within.count() > 0 && waited > plan_.welcome_within)
        violation(fmt::format("waited {} ms to be let in, though its tenant is sure of a server",
                              waited.count() / 1000));
      waiting_since_ = world_.now();
      if (awaiting_) return;
      // What tells where it is before it is asked for.
      if (plan_.led_to) phases_.push_back(std::move(script_.sign_of_life().front()));
      return next_phase();
    default: violation("unexpected message at login: " + std::string(1, type));
  }
}

void ModelClient::authenticate(Bytes body) {
  protocol::Reader in(body);
  const auto request = static_cast<protocol::AuthRequest>(in.u32());
  std::string out;
  switch (request) {
    case protocol::AuthRequest::Ok: return;
    case protocol::AuthRequest::CleartextPassword: protocol::put_password(out, plan_.password); break;
    case protocol::AuthRequest::Md5Password:
      protocol::put_password(
          out, protocol::md5_response(protocol::md5_hash_user(plan_.password, plan_.user), in.bytes(4)));
      break;
    case protocol::AuthRequest::Sasl:
      scram_.emplace("clientnonce" + std::to_string(plan_.id));
      protocol::put_sasl_initial(out, "SCRAM-SHA-256", scram_->client_first());
      break;
    case protocol::AuthRequest::SaslContinue: {
      if (!scram_) violation("SASLContinue before SASL");
      const auto challenge = scram_->server_first(in.rest());
      if (!challenge) violation("SCRAM: " + challenge.error().message);
      const auto salted =
          protocol::scram_salted_password(plan_.password, challenge->salt, challenge->iterations);
      protocol::put_sasl_response(
          out, scram_->client_final(protocol::scram_client_key(salted), protocol::scram_server_key(salted)));
      break;
    }
    case protocol::AuthRequest::SaslFinal:
      if (!scram_ || !scram_->server_final(in.rest())) violation("the server did not prove itself");
      return;
  }
  stream_->write(Bytes(out));
}

void ModelClient::collect() {
  for (Answer& each : session_->take_answers()) expected_.push_back(std::move(each));
}

void ModelClient::skip_silent() {
  while (expected_.empty() && !pending_.empty() && session_->silent(pending_.front().first)) {
    session_->message(pending_.front().first, pending_.front().second);
    pending_.pop_front();
    collect();
  }
}

bool ModelClient::aside(char type, Bytes message) {
  // The pooler may tell a client that it waits; such a notice speaks of nobody. What it owed of parameters
  // may come now.
  return (type == 'N' && owner_of(message) < 0) || (type == 'S' && owed_.erase(std::string(message)) > 0);
}

// Lets the oracle go one step further, so that there is an answer to expect.
void ModelClient::expect_more(char type, Bytes message) {
  const std::string state =
      type == 'E' ? protocol::parse_error(message.substr(protocol::kHeaderBytes)).sqlstate : "";
  const bool canceled = state == "57014" && (plan_.timed || oracle_.may_cancel(plan_.id, script_.serial()));
  if (session_->busy()) {
    canceled ? session_->cancel() : session_->resume();
  } else if (pending_.empty()) {
    violation("an answer to nothing: " + printable(message));
  } else {
    const auto [asked, body] = std::move(pending_.front());
    pending_.pop_front();
    // Postgres itself has refused what might have pinned the client, wherever that was.
    const bool no_room = state == "53400" && !plan_.pace && (asked == 'Q' || asked == 'B' || asked == 'D');
    const auto has = [&body = body](Bytes word) { return body.find(word) != Bytes::npos; };
    const bool may_pin = has("temp") || has("listen") || (has("prepare") && has("TimeZone"));
    if (asked == 'Q' && no_room && !plan_.session_mode && !may_pin)
      violation("had no room for a pin by " + printable(body));
    // Where its batch tells the columns, a statement may be prepared anew.
    const bool told = !pending_.empty() && pending_.front().first == 'D' && pending_.front().second[0] == 'P';
    if (asked == 'B' && type != 'E' && told) session_->renew(body);
    // A cancel that comes late may meet the next request of its transaction.
    const bool late = canceled && session_->tx_status() == 'T' && Bytes("QPB").find(asked) != Bytes::npos;
    if (late || ((session_->at_rest() || no_room) && (canceled || plan_.may_refuse.contains(state)))) {
      refused_step_ = refused_now_ = true;
      session_->refused(asked, std::string(message));
    } else {
      session_->message(asked, body);
    }
  }
  collect();
  skip_silent();
}

// Whether it tells of nothing, or of something older of the client's own, instead of a value of its own.
bool ModelClient::lost(Bytes message, Bytes right) const {
  if (message[0] != 'D' || right[0] != 'D') return false;
  constexpr std::size_t kInFront = 11;  // of the value of the only column
  const std::string own = fmt::format("c{}_", plan_.id);
  const Bytes told = message.substr(std::min(message.size(), kInFront));
  return right.substr(std::min(right.size(), kInFront)).starts_with(own) &&
         (told.empty() || told == "none" || told.starts_with(own));
}

void ModelClient::answer(Bytes message) {
  const char type = message[0];
  if (type == 'A') return heard(message.substr(protocol::kHeaderBytes));
  if (expected_.empty() && aside(type, message)) return;
  while (expected_.empty()) expect_more(type, message);
  // A value that a RESET takes away is given back behind it, and the client told then: before the answer to
  // its next request.
  const auto late = [&] {
    const bool told = std::any_of(expected_.begin(), expected_.end(),
                                  [&](const Answer& each) { return each.bytes == message; });
    return type == 'Z' || (type == 'S' && expected_.front().bytes != message && told);
  };
  while (expected_.front().bytes[0] == 'S' && late()) {
    owed_.emplace(std::move(expected_.front().bytes), 0);
    expected_.pop_front();
  }
  const Answer& right = expected_.front();
  const bool same = message == right.bytes || (!right.other.empty() && message == right.other) ||
                    (right.wild && type == right.bytes[0]) || (plan_.may_lose && lost(message, right.bytes));
  if (!same && aside(type, message)) return;
  if (!same) {
    // Errors of the pooler's own wording must at least have the right code.
    const auto state = [](Bytes text) { return protocol::parse_error(text.substr(5)).sqlstate; };
    if (type != 'E' || right.bytes[0] != 'E' || state(message) != state(right.bytes))
      violation("was told " + printable(message) + "\n  instead of " + printable(right.bytes));
  }
  if (right.wild && session_->tx_status() != 'I') {
    const std::string pid(message.substr(5));
    if (!block_pid_.empty() && block_pid_ != pid) violation("moved to another server inside a transaction");
    block_pid_ = pid;
  }
  expected_.pop_front();
  matched(type);
}

void ModelClient::matched(char type) {
  const Duration waited = world_.now() - waiting_since_;
  if (awaiting_ && plan_.answers_within.count() > 0 && waited > plan_.answers_within)
    violation(fmt::format("waited {} ms for an answer, though its tenant is sure of a server",
                          waited.count() / 1000));
  if (awaiting_ && canceling_ && plan_.canceled_within.count() > 0 && waited > plan_.canceled_within)
    violation(fmt::format("waited {} ms for the answer to what it has canceled", waited.count() / 1000));
  waiting_since_ = world_.now();
  if (type == 'Z') {
    ++answered_;
    const bool refused = std::exchange(refused_now_, false);
    if (plan_.pace)
      refused ? plan_.pace->refused(plan_.tenant) : plan_.pace->answered(plan_.tenant, sent_at_);
    for (auto& [message, answers] : owed_)
      if (answers++ > 0) violation("was never told " + printable(message));
    in_block_ = session_->tx_status() != 'I';
    if (!in_block_) {
      block_pid_.clear();
      channels_ = session_->channels();
      if (!pending_says("unlisten") && !pending_says("discard"))
        notifications_.listens(plan_.id, database(), channels_);
    }
    for (const std::string& row : session_->take_committed()) oracle_.acknowledged(row);
    for (const std::string& row : session_->take_aborted()) oracle_.rolled_back(row);
  }
  skip_silent();
  if (!awaiting_ || !answered_all()) return;
  awaiting_ = false;
  next_phase();
}

void ModelClient::on_closed(const net::Closed& why) {
  const bool orderly = why.by == net::Closed::By::Peer && why.error.empty();
  const bool ours = why.by == net::Closed::By::Us;
  stream_.reset();
  ++epoch_;
  if (plan_.door) plan_.door->leaves(plan_.tenant, plan_.id);
  oracle_.disconnected(plan_.id, script_.serial() + 1);
  notifications_.gone(plan_.id);
  world_.trace("client {} is cut off: {}", plan_.id, why.error);
  if (state_ != State::Leaving && !ours && ended_by_.empty()) {
    if (orderly && plan_.orderly) {
      if (!in_.empty()) violation("the connection ended in order inside a message: " + printable(in_));
      violation("the connection ended without a word");
    }
    if (!plan_.may_break) violation("the connection broke: " + why.error);
  }
  const bool refused_for_good = !plan_.must_fail.empty() && ended_by_ == plan_.must_fail;
  const bool through = steps_left_ == 0 && (winding_up_ || signs_left_ == 0);
  if (refused_for_good || through) {
    state_ = State::Done;
    return;
  }
  state_ = State::Off;
  later(world_.between(Duration(1'000), Duration(600'000)), &ModelClient::connect);
}

void ModelClient::next_phase() {
  if (state_ != State::Running || !ended_by_.empty()) return;
  if (phases_.empty()) return finish_step();
  Phase phase = std::move(phases_.front());
  phases_.pop_front();
  run_phase(std::move(phase));
}

// Steps are taken one after the other, until the plan is done and the client has shown signs of life.
void ModelClient::finish_step() {
  canceling_ = false;
  if (plan_.onlooker && steps_left_ == 0 && !winding_up_)
    return later(std::chrono::milliseconds(200), &ModelClient::finish_step);
  const bool late = world_.now() >= plan_.alive_after;
  std::vector<Phase> more;
  if (steps_left_ > 0 || (!late && !winding_up_)) {
    if (steps_left_ > 0) --steps_left_;
    more = script_.next();
    // Where time must pass there is no hurry.
    if (steps_left_ == 0)
      more.push_back({{}, {}, Phase::Then::Pause, world_.between(Duration(50'000), Duration(900'000))});
  } else if (signs_left_ > 0 && !winding_up_) {
    if (answered_ > 0 && !refused_step_) --signs_left_;
    refused_step_ = false;
    more = script_.sign_of_life();
  } else if (!winding_up_ && session_->tx_status() == 'I' && notifications_.waits(plan_.id)) {
    return later(std::chrono::milliseconds(200), &ModelClient::finish_step);
  } else {
    steps_left_ = signs_left_ = 0;
    depart();
    std::string out;
    protocol::put_terminate(out);
    stream_->write(Bytes(out));
    stream_->close();
    return;
  }
  for (Phase& phase : more) phases_.push_back(std::move(phase));
  later(world_.between(Duration(0), Duration(3'000)), &ModelClient::next_phase);
}

void ModelClient::depart() {
  state_ = State::Leaving;
  if (plan_.door) plan_.door->leaves(plan_.tenant, plan_.id);
}

void ModelClient::send(const Phase& phase) {
  sent_at_ = world_.now();
  if (plan_.pace && !phase.messages.empty()) plan_.pace->sent(plan_.tenant);
  std::string out;
  const auto ends = [](Bytes text) {
    return text.find("unlisten") != Bytes::npos || text.find("discard") != Bytes::npos;
  };
  // Inside of a transaction nothing is told.
  const auto end = std::find_if(phase.messages.begin(), phase.messages.end(),
                                [&](const auto& each) { return ends(each.second); });
  const bool outside = session_->tx_status() == 'I' && !pending_says("begin") &&
                       std::none_of(phase.messages.begin(), end, [](const auto& each) {
                         return each.second.find("begin") != std::string::npos;
                       });
  for (const auto& [type, body] : phase.messages) {
    protocol::Writer(out, type).bytes(body);
    pending_.emplace_back(type, body);
  }
  out += phase.tail;
  if (ends(out))
    notifications_.unsure(plan_.id, outside ? Notifications::Until::Now : Notifications::Until::Unknown);
  if (!out.empty()) stream_->write(Bytes(out));
  if (answered_all() && !awaiting_) waiting_since_ = world_.now();
  skip_silent();
}

void ModelClient::run_phase(Phase phase) {
  send(phase);
  switch (phase.then) {
    case Phase::Then::Await:
      awaiting_ = !answered_all();
      waiting_since_ = world_.now();
      if (!awaiting_) later(Duration(1), &ModelClient::next_phase);
      return;
    case Phase::Then::Go: return later(Duration(1), &ModelClient::next_phase);
    case Phase::Then::Pause: return later(phase.pause, &ModelClient::next_phase);
    case Phase::Then::SlowRead:
      stream_->pause_reads();
      world_.after(phase.pause, &loop_, [this, epoch = epoch_] {
        if (epoch != epoch_) return;
        stream_->resume_reads();
        next_phase();
      });
      return;
    case Phase::Then::Cancel:
      canceling_ = true;
      oracle_.asks_cancel(plan_.id);
      later(phase.pause, &ModelClient::send_cancel);
      return later(phase.pause + Duration(1), &ModelClient::next_phase);
    case Phase::Then::Terminate: {
      std::string out;
      protocol::put_terminate(out);
      stream_->write(Bytes(out));
      depart();
      oracle_.disconnected(plan_.id, script_.serial() + 1);
      notifications_.gone(plan_.id);
      return stream_->close();
    }
    case Phase::Then::Close:
      depart();
      oracle_.disconnected(plan_.id, script_.serial() + 1);
      notifications_.gone(plan_.id);
      return stream_->close();
    case Phase::Then::Reset:
      depart();
      oracle_.disconnected(plan_.id, script_.serial() + 1);
      notifications_.gone(plan_.id);
      return stream_->reset();
  }
}

void ModelClient::send_cancel() {
  if (state_ == State::Running) cancels_.push_back(std::make_unique<CancelConnection>(*this));
}

}  // namespace pgweir::sim
