// pooler/session_channels.cc - SessionCore: LISTEN and UNLISTEN of its client, and the hand-over of its
// channels to the connection that listens for the whole group.
//
//   audit finds channels -> want() -> [the connection LISTENs] -> fence on the server -> UNLISTEN * there
//
// Until its end the client stays on its server, whose notifications it is told as they come.
#include <algorithm>
#include <array>

#include "pooler/base/check.h"
#include "pooler/base/planted.h"
#include "pooler/session_core.h"
#include "pooler/session_parts.h"

namespace pgweir {

using Doing = ClientChannels::Doing;
using protocol::kHeaderBytes;

namespace {
// Of hearing.
bool mentions_end(Bytes text) {
  constexpr std::array<Bytes, 2> kWords = {"unlisten", "discard"};
  return std::any_of(kWords.begin(), kWords.end(), [text](Bytes word) {
    return std::search(text.begin(), text.end(), word.begin(), word.end(), [](char a, char b) {
             return (a >= 'A' && a <= 'Z' ? static_cast<char>(a | 0x20) : a) == b;
           }) != text.end();
  });
}

std::string letters_and_digits(Bytes name) {
  std::string out;
  for (const char c : name) {
    if (c >= 'A' && c <= 'Z') out.push_back(static_cast<char>(c | 0x20));
    if ((c >= 'a' && c <= 'z') || (c >= '0' && c <= '9')) out.push_back(c);
  }
  return out;
}
}  // namespace

// The shared connection speaks the database's own encoding: a client with another one keeps its server.
bool SessionCore::may_share() const {
  if (!hearer_ || mode_ != tiers::PoolMode::Transaction) return false;
  if (!wanted_->values.contains(kClientEncoding)) return true;
  const auto base = books_->settings.baseline().find(kClientEncoding);
  return base != books_->settings.baseline().end() &&
         letters_and_digits(wanted_->told(kClientEncoding)) == letters_and_digits(base->second);
}

void SessionCore::note_unlistens(const protocol::SqlEffects& effects) {
  using Kind = protocol::SqlStatement::Kind;
  suspicion().pins |= pin::kListen;
  ClientChannels::Names names;
  for (const protocol::SqlStatement& statement : effects.statements) {
    if (statement.kind == Kind::Rollback || statement.kind == Kind::RollbackTo) return;
    if (statement.kind == Kind::Unlisten) names.names.push_back(statement.name);
    if (statement.kind == Kind::UnlistenAll) names.all = true;
  }
  channels_->unlistens(std::move(names));
}

// Postgres tells a session all that was notified before it looks at the next request; so before one by which
// the client may stop to hear, what was committed by now must have come. Within a transaction nothing is
// told.
bool SessionCore::must_catch_up(const protocol::Frame& frame, Bytes rest, Actions& out) {
  if (channels_->heard.empty() || !hearer_) return false;
  ListenerCore& listener = books_->listener;
  if (channels_->tide == 0) {
    if (!may_unlisten(frame, rest) || listener.failing()) return false;
    if (PGWEIR_PLANTED(UNLISTEN_AHEAD)) return false;
    channels_->tide = listener.catch_up(*hearer_);
  }
  if (!listener.caught_up(channels_->tide)) return out.stalled = true;
  listener.stop_waiting(*hearer_);
  channels_->tide = 0;
  return false;
}

// The same of a request that stands behind others, whose answers come first. With them the transaction is
// over, and the request is looked at as the first of the next one; or it goes on, and nothing is told. A
// batch that has no Sync yet is no transaction to the client, who hears in the middle of it.
bool SessionCore::must_hear_first(const protocol::Frame& frame, Bytes rest, Actions& out) {
  if (channels_->heard.empty() || !may_unlisten(frame, rest)) return false;
  if (server_->pipeline.owes_client()) return stall(out), true;
  return server_->pipeline.batch_open() && server_->tx_status == 'I' && must_catch_up(frame, rest, out);
}

bool SessionCore::may_unlisten(const protocol::Frame& frame, Bytes rest) const {
  Bytes text = rest.substr(kHeaderBytes, frame.size - kHeaderBytes);
  if (frame.type == 'B') {
    text.remove_prefix(std::min(text.find('\0'), text.size() - 1) + 1);
    const Bytes name = sql_of(text);
    // In the batch of its Parse that has waited.
    if (name.empty()) return !(server_ && server_->pipeline.batch_open()) && mentions_end(unnamed_);
    const StatementRef* const statement = names_ ? names_->find(name) : nullptr;
    return statement && mentions_end((*statement)->content);
  }
  return (frame.type == 'Q' || frame.type == 'P') && mentions_end(text);
}

// Behind a request that is complete.
void SessionCore::mark_unlistens(Actions& out) {
  if (!channels_ || !channels_->unmarked() || body_left_ > 0) return;
  if (PGWEIR_PLANTED(FORGET_UNLISTEN)) return channels_->forget_request();
  tell(channels_->take_mark(), out);
}

// The pin that follows from what the server listens to.
Pins SessionCore::found_channels(const Findings& findings) {
  if (!channels_) {
    if (findings.channels.empty()) return 0;
    channels_ = std::make_unique<ClientChannels>();
  }
  const bool too_many = findings.pins & pin::kListen;
  const ChannelNames gone = channels_->found(findings.channels);
  if (hearer_) books_->listener.forget(*hearer_, gone);
  if (channels_->here.empty()) return 0;
  // While the shared connection fails, it is told all the same: it comes back.
  const bool wanted = may_share() && !too_many && books_->listener.want(*hearer_, channels_->here);
  return wanted && can_share() ? pin::kSharing : pin::kListen;
}

// True when the server has been sent something, and the client must wait for its answer.
void SessionCore::tell(Bytes sql, Actions& out) {
  server_->tell(sql, out.to_server);
  lose_unnamed();
}

bool SessionCore::begin_channels(Actions& out) {
  if (!channels_ || state_ != State::Linked) return false;
  if ((pins_ & pin::kSharing) && !channels_->here.empty() && books_->listener.ready(channels_->here)) {
    channels_->doing = Doing::Fencing;
    channels_->fence_passed = false;
    channels_->fence = books_->listener.fence(*hearer_, channels_->here);
    const std::string& name = books_->listener.fence_name();
    tell("LISTEN " + name + ";NOTIFY " + name + ",'" + std::to_string(channels_->fence) + "'", out);
    return true;
  }
  if (channels_->leave && channels_->here.empty()) {
    if (PGWEIR_PLANTED(KEEP_LISTENING)) {
      channels_->leave = false;
      return set_pins(static_cast<Pins>(pins_ & ~pin::kSharing)), false;
    }
    channels_->doing = Doing::Leaving;
    tell("UNLISTEN *", out);
    return true;
  }
  if (channels_->idle()) channels_.reset();
  return false;
}

void SessionCore::on_told(bool well, bool after_error) {
  if (!channels_) return;  // discarded meanwhile
  switch (std::exchange(channels_->doing, Doing::None)) {
    case Doing::None: return channels_->marked(well && !after_error);
    case Doing::Fencing:
      if (well && channels_->fence_passed) {
        channels_->heard.merge(channels_->here);
        channels_->here.clear();
      } else {
        // Perhaps a cancel that was meant for the client's request: its server keeps the channels.
        books_->listener.forget(*hearer_, channels_->here);
        set_pins(static_cast<Pins>((pins_ & ~pin::kSharing) | pin::kListen));
      }
      return;
    case Doing::Leaving:
      channels_->leave = false;
      if (!well) server_->dirty = true;
      set_pins(static_cast<Pins>(pins_ & ~(pin::kSharing | pin::kListen)));
      return;
  }
}

// From the server: what the shared connection tells, too, is told once.
bool SessionCore::on_notification(Bytes body) {
  if (!channels_) return true;
  const Notification notification(body);
  if (notification.channel == books_->listener.fence_name()) {
    if (notification.payload == std::to_string(channels_->fence)) channels_->fence_passed = true;
    return false;
  }
  if (channels_->here.contains(notification.channel) && PGWEIR_PLANTED(DROP_ON_HANDOVER)) return false;
  if (PGWEIR_PLANTED(HEAR_TWICE)) return true;
  // What stands behind the fence is the shared connection's.
  if (telling() && channels_->fence_passed && channels_->here.contains(notification.channel)) return false;
  return !hears(notification.channel);
}

void SessionCore::listener_changed(Actions& out) {
  if (state_ != State::Linked || !channels_ || channels_->here.empty() || telling()) return;
  if (!(pins_ & (pin::kSharing | pin::kListen))) return;
  const Pins how = can_share() ? pin::kSharing : pin::kListen;
  const auto others = static_cast<Pins>(pins_ & ~(pin::kSharing | pin::kListen));
  if (Pins now = static_cast<Pins>(others | how); now != pins_) set_pins(now);
  if (resting() && !suspicion_) begin_channels(out);
}

// It hears nothing any more, but for what its server tells it.
void SessionCore::leave_channels() {
  if (!channels_) return;
  if (hearer_) {
    books_->listener.forget(*hearer_, channels_->heard);
    books_->listener.forget(*hearer_, channels_->here);
    books_->listener.stop_waiting(*hearer_);
  }
  channels_->tide = 0;
  channels_->heard.clear();
  channels_->here.clear();
  if (!server_) channels_.reset();
}

// The server goes, and with it what it listened to.
void SessionCore::part_channels() {
  if (!channels_) return;
  if (hearer_) books_->listener.forget(*hearer_, channels_->here);
  channels_->part();
  if (channels_->idle()) channels_.reset();
}

}  // namespace pgweir
