// pooler/listener_core.h - the channels that the clients of one server group listen to, and what the one
// connection that listens for all of them must ask of Postgres. Rules only: no socket, no clock.
//
//   want() ... ready() -> fence() ... the fence passes -> hears()      one client, some channels
//
// A client's LISTEN commits on a server of the pool, which has its notifications until this connection takes
// over. Postgres keeps the notifications of a database in one queue, which every connection reads in order.
// So a NOTIFY of ours on a channel that nobody else knows, the fence, cuts the queue at the same place for
// both: what stands in front of it is the server's to deliver, what comes behind is this connection's.
// Nothing is lost and nothing comes twice.
//
// Who is about to stop listening catches up first: a NOTIFY of the connection's own, a tide, comes behind all
// that was committed before it was asked for.
//
// While the connection is down nothing is heard, as from a Postgres that is down; once it is back it listens
// to all of it again.
#pragma once

#include <cstdint>
#include <map>
#include <set>
#include <string>
#include <utility>
#include <vector>

#include "pooler/base/bytes.h"

namespace pgweir {

using ChannelNames = std::set<std::string, std::less<>>;

// A NotificationResponse, by its body. Views into it.
struct Notification {
  Bytes channel, payload;
  bool well_formed = false;
  explicit Notification(Bytes body);
};

// A channel as SQL writes it.
std::string quoted_channel(Bytes name);

class ListenerCore {
 public:
  static constexpr std::size_t kChannelsMost = 1000;  // of a group: whoever wants more keeps its server

  // One client. Called by the connection's driver, outside of any call into this.
  class Hearer {
   public:
    virtual ~Hearer() = default;
    // What ready() and failing() say may have changed.
    virtual void on_listener_changed() = 0;
    virtual void on_notification(Bytes message) = 0;
  };

  // `fence`: a name in lower case that nobody can guess.
  void name_fence(std::string fence) { fence_ = std::move(fence); }
  const std::string& fence_name() const { return fence_; }

  // From clients. False when there is no room: then nothing is wanted.
  bool want(Hearer& hearer, const ChannelNames& names);
  // The connection listens to all of them, and to the fence.
  bool ready(const ChannelNames& names) const;
  // The number that the server must notify the fence with; behind it the client hears `names`, which are
  // ready().
  std::uint64_t fence(Hearer& hearer, const ChannelNames& names);
  void forget(Hearer& hearer, const ChannelNames& names);
  bool failing() const { return failing_; }
  // The number of a tide that brings all that is committed by now; the hearer is told when it has come.
  std::uint64_t catch_up(Hearer& hearer);
  // Also where it will not come.
  bool caught_up(std::uint64_t tide) const { return !connected_ || tides_come_ >= tide; }
  void stop_waiting(Hearer& hearer);

  // From the connection.
  void connected();
  void lost();    // also: could not be made
  void closed();  // by us, because nobody listened
  // What it must be told next; one request at a time. Empty: nothing, or its last answer has not come.
  std::string next_request();
  // The answer to it; false: it cannot be used.
  bool answered(bool well);
  // Whoever hears this notification; a fence changes who hears the next ones.
  std::vector<Hearer*> notified(const Notification& notification);
  bool hears(const Hearer& hearer, Bytes channel) const;
  // Those who wait to be told of a change.
  std::vector<Hearer*> waiting() const;

  bool needed() const { return !channels_.empty() && wanted_ > 0; }
  // Something was changed by clients: the driver must look. It says when it has.
  bool changed() const { return changed_; }
  void looked() { changed_ = false; }
  std::size_t size() const { return channels_.size(); }

 private:
  // Of one channel, at Postgres.
  enum class Place : std::uint8_t { Absent, Coming, Here, Going };
  struct Share {
    Hearer* hearer;
    bool hears = false;
    std::uint64_t fence = 0;  // behind which it hears; 0: not decided
  };
  struct Channel {
    Place place = Place::Absent;
    std::vector<Share> shares;  // in the order of their coming
  };
  static Share* share_of(Channel& channel, const Hearer& hearer);

  std::map<std::string, Channel, std::less<>> channels_;
  std::size_t wanted_ = 0;  // shares, of all channels
  std::string fence_ = "pgweir_fence";
  std::uint64_t fences_ = 0;
  std::uint64_t tides_asked_ = 0, tides_come_ = 0;
  std::vector<std::pair<Hearer*, std::uint64_t>> catching_up_;  // with the tide that each waits for
  bool tide_wanted_ = false;
  bool connected_ = false;
  bool failing_ = false;
  bool fence_here_ = false;
  bool asked_ = false;  // next_request() waits for its answer
  bool changed_ = false;
};

}  // namespace pgweir
